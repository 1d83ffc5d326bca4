package topology

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func uuidID(s string) PointID {
	b, err := hex.DecodeString(strings.ReplaceAll(s, "-", ""))
	if err != nil {
		panic(err)
	}
	return UUIDID([16]byte(b))
}

// The vectors were computed by a second implementation (Python integers), so
// that a change of the rule from point to shard cannot pass unseen.
func TestHashGolden(t *testing.T) {
	for _, c := range []struct {
		id   PointID
		seed uint64
		hash uint64
		of   [3]int // slots among 2, 6 and 1000
	}{
		{NumberID(0), 0, 0xe220a8397b1dcdaf, [3]int{1, 3, 258}},
		{NumberID(1), 0, 0x910a2dec89025cc1, [3]int{0, 3, 527}},
		{NumberID(2), 0, 0x975835de1c9756ce, [3]int{0, 0, 19}},
		{NumberID(42), 0, 0xbdd732262feb6e95, [3]int{0, 0, 151}},
		{NumberID(42), 7, 0xf7e9f3f88cc04ad6, [3]int{1, 4, 796}},
		{NumberID(1 << 32), 0, 0xc42c5a1aa3820138, [3]int{0, 0, 921}},
		{NumberID(1<<64 - 1), 0, 0xe4d971771b652c20, [3]int{0, 3, 650}},
		{uuidID("00000000-0000-0000-0000-000000000000"), 0, 0xa706dd2f4d197e6f, [3]int{1, 4, 952}},
		{uuidID("550e8400-e29b-41d4-a716-446655440000"), 0, 0xbfd10eed3d5ec7c2, [3]int{0, 3, 924}},
		{uuidID("ffffffff-ffff-ffff-ffff-ffffffffffff"), 0, 0x6309143e67a47936, [3]int{0, 5, 524}},
	} {
		if got := HashPoint(c.id, c.seed); got != c.hash {
			t.Errorf("h(%v, seed %d) = %#x, want %#x", c.id, c.seed, got, c.hash)
		}
		for i, n := range []int{2, 6, 1000} {
			r := HashRule{Algorithm: JumpSplitMix, N: n, Seed: c.seed}
			if got := r.Slot(c.id); got != c.of[i] {
				t.Errorf("slot of %v among %d = %d, want %d", c.id, n, got, c.of[i])
			}
		}
	}
}

func TestJumpMovesFewAndSpreadsEvenly(t *testing.T) {
	const keys, n = 60_000, 6
	count := make([]int, n)
	moved := 0
	for k := range uint64(keys) {
		h := HashPoint(NumberID(k), 0)
		a, b := Jump(h, n), Jump(h, n+1)
		count[a]++
		if a != b {
			moved++
			if b != n {
				t.Fatalf("key %d moved from %d to %d, not to the new bucket", k, a, b)
			}
		}
	}
	for i, c := range count {
		if c < keys/n*95/100 || c > keys/n*105/100 {
			t.Errorf("bucket %d holds %d of %d keys", i, c, keys)
		}
	}
	if moved < keys/(n+1)*9/10 || moved > keys/(n+1)*11/10 {
		t.Errorf("%d of %d keys moved, want about %d", moved, keys, keys/(n+1))
	}
}

func genID(t *rapid.T, label string) PointID {
	if rapid.Bool().Draw(t, label+" uuid") {
		return UUIDID([16]byte(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, label)))
	}
	return NumberID(rapid.Uint64().Draw(t, label))
}

func TestPointIDBytesKeepOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := genID(t, "a"), genID(t, "b")
		ab, bb := a.Append(nil), b.Append(nil)
		if got, want := bytes.Compare(ab, bb), a.Compare(b); got != want {
			t.Fatalf("bytes order %d, ids order %d: %v %v", got, want, a, b)
		}
		back, err := DecodePointID(ab)
		if err != nil || back != a {
			t.Fatalf("decode of %v gave %v, %v", a, back, err)
		}
	})
}

func FuzzDecodePointID(f *testing.F) {
	f.Add(NumberID(7).Append(nil))
	f.Add(uuidID("550e8400-e29b-41d4-a716-446655440000").Append(nil))
	f.Add([]byte{2})
	f.Fuzz(func(t *testing.T, b []byte) {
		id, err := DecodePointID(b)
		if err == nil && !bytes.Equal(id.Append(nil), b[:PointIDSize]) {
			t.Fatalf("%x decodes to %v, which encodes otherwise", b, id)
		}
	})
}

func TestPointIDString(t *testing.T) {
	for want, id := range map[string]PointID{
		"18446744073709551615":                 NumberID(1<<64 - 1),
		"550e8400-e29b-41d4-a716-446655440000": uuidID("550e8400-e29b-41d4-a716-446655440000"),
	} {
		if id.String() != want {
			t.Errorf("%q printed as %q", want, id.String())
		}
	}
}

func place(c CollectionID, s ShardID, e Epoch, p PeerID) Placement {
	return Placement{Shard: Shard{c, s}, Epoch: e, Primary: p, Replicas: []Replica{{Peer: p, State: Active}}}
}

func TestMapAppliesDeltasAndKeepsOldMaps(t *testing.T) {
	m0 := NewMap()
	m1 := m0.Apply(Delta{Revision: 5, Reset: true,
		Collections: []Collection{{ID: 1, Name: "a", Revision: 3}, {ID: 2, Name: "b", Revision: 4}},
		Placements:  []Placement{place(1, 1, 1, 10), place(1, 0, 1, 10), place(2, 0, 1, 10)},
		Aliases:     map[string]string{"x": "a"}, Peers: []Peer{{ID: 10, URI: "u"}}})
	c, ok := m1.Resolve("x")
	if !ok || c.ID != 1 || len(c.Shards) != 2 || c.Shards[0].Shard.ID != 0 {
		t.Fatalf("alias x resolves to %+v, %v", c, ok)
	}
	m2 := m1.Apply(Delta{Revision: 6, Placements: []Placement{place(1, 0, 2, 11)}, GoneCollections: []CollectionID{2}})
	if p, _ := m2.Placement(Shard{1, 0}); p.Epoch != 2 || p.Primary != 11 {
		t.Errorf("new placement not in the new map: %+v", p)
	}
	if p, _ := m1.Placement(Shard{1, 0}); p.Epoch != 1 {
		t.Errorf("the old map changed: %+v", p)
	}
	if _, ok := m2.Resolve("b"); ok {
		t.Error("a dropped collection still resolves")
	}
	m3 := m2.Apply(Delta{Revision: 7, Placements: []Placement{place(1, 0, 1, 10)}})
	if p, _ := m3.Placement(Shard{1, 0}); p.Epoch != 2 {
		t.Errorf("a lower epoch was accepted: %+v", p)
	}
	m4 := m3.Apply(Delta{Revision: 8, Reset: true, Peers: []Peer{{ID: 12}}})
	if len(m4.Collections()) != 0 || len(m4.Aliases()) != 0 || len(m4.Peers()) != 1 || m4.Revision() != 8 {
		t.Errorf("a snapshot kept what it does not name: %+v", m4)
	}
}

func TestMapKeepsTransfers(t *testing.T) {
	s := Shard{1, 0}
	m := NewMap().Apply(Delta{Revision: 1, Collections: []Collection{{ID: 1, Name: "a"}, {ID: 2, Name: "b"}},
		Transfers: []Transfer{{Shard: Shard{1, 1}, From: 7, To: 8}, {Shard: s, From: 7, To: 9}, {Shard: s, From: 7, To: 8}, {Shard: Shard{2, 0}, From: 7, To: 8}}})
	if got := m.Transfers(1); len(got) != 3 || got[0].To != 8 || got[1].To != 9 || got[2].Shard.ID != 1 {
		t.Errorf("%v", got)
	}
	next := m.Apply(Delta{Revision: 2, Transfers: []Transfer{{Shard: s, From: 9, To: 8, Move: true}}, GoneTransfers: []Copy{{s, 9}}})
	if got, ok := next.Transfer(Copy{s, 8}); !ok || got.From != 9 || !got.Move || len(next.Transfers(1)) != 2 {
		t.Errorf("%v, of %v", got, next.Transfers(1))
	}
	if got, _ := m.Transfer(Copy{s, 8}); got.From != 7 {
		t.Errorf("the old map changed: %v", got)
	}
	next = next.Apply(Delta{Revision: 3, GoneCollections: []CollectionID{1}})
	if len(next.Transfers(1)) != 0 || len(next.Transfers(2)) != 1 || len(m.Transfers(1)) != 3 {
		t.Errorf("after the end of the collection: %v, %v", next.Transfers(1), next.Transfers(2))
	}
	if next = next.Apply(Delta{Revision: 4, Reset: true}); len(next.Transfers(2)) != 0 {
		t.Errorf("a snapshot kept %v", next.Transfers(2))
	}
}

// A collection dropped and made again under its name must not be confused with
// the first one, in whatever order the news of both arrives in one delta.
func TestMapRecreatedName(t *testing.T) {
	m := NewMap().Apply(Delta{Revision: 1, Collections: []Collection{{ID: 1, Name: "a"}}})
	m = m.Apply(Delta{Revision: 2, GoneCollections: []CollectionID{1}, Collections: []Collection{{ID: 2, Name: "a"}}})
	if c, ok := m.Resolve("a"); !ok || c.ID != 2 {
		t.Errorf("a resolves to %+v, %v", c, ok)
	}
}
