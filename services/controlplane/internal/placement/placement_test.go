package placement

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"pgregory.net/rapid"

	"github.com/pandodb/pando/services/internal/topology"
)

// TestScenarios: testdata/place. A line of input is "peer 1 zone=a replicas=3 bytes=9 unfit", "have <shard> <peer>" or
// "wish shards=4 factor=2".
func TestScenarios(t *testing.T) {
	datadriven.RunTest(t, "testdata/place", func(t *testing.T, d *datadriven.TestData) string {
		w, peers, existing := Wish{Collection: 17}, []Peer(nil), []Existing(nil)
		for _, line := range strings.Split(strings.TrimSpace(d.Input), "\n") {
			word, rest, _ := strings.Cut(line, " ")
			switch word {
			case "peer":
				peers = append(peers, parsePeer(t, rest))
			case "have":
				var shard, peer uint64
				scan(t, rest, "%d %d", &shard, &peer)
				existing = append(existing, Existing{Shard: topology.ShardID(shard), Peer: topology.PeerID(peer)})
			case "wish":
				var n int
				scan(t, rest, "shards=%d factor=%d", &n, &w.Factor)
				for i := range n {
					w.Shards = append(w.Shards, topology.ShardID(i))
				}
			default:
				t.Fatalf("unknown word %q", word)
			}
		}
		var b strings.Builder
		for _, a := range Place(w, peers, existing) {
			fmt.Fprintf(&b, "shard %d -> %v", a.Shard, a.Peers)
			if a.Missing > 0 {
				fmt.Fprintf(&b, " missing %d", a.Missing)
			}
			b.WriteByte('\n')
			for _, line := range Explain(a.Rejected) {
				fmt.Fprintf(&b, "  %s\n", line)
			}
		}
		return b.String()
	})
}

func scan(t *testing.T, line, format string, into ...any) {
	t.Helper()
	if _, err := fmt.Sscanf(line, format, into...); err != nil {
		t.Fatalf("%q: %v", line, err)
	}
}

func parsePeer(t *testing.T, line string) Peer {
	t.Helper()
	fields := strings.Fields(line)
	var id uint64
	scan(t, fields[0], "%d", &id)
	p := Peer{ID: topology.PeerID(id)}
	for _, f := range fields[1:] {
		key, value, _ := strings.Cut(f, "=")
		switch key {
		case "zone":
			p.Zone = value
		case "replicas":
			scan(t, value, "%d", &p.Replicas)
		case "bytes":
			scan(t, value, "%d", &p.Bytes)
		case "unfit":
			p.Unfit = NoSession
		default:
			t.Fatalf("unknown field %q", f)
		}
	}
	return p
}

// TestPlaceProperties holds what Place promises on random clusters.
func TestPlaceProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		zones, grown := []string{""}, rapid.Bool().Draw(t, "grown")
		if rapid.Bool().Draw(t, "labelled") {
			zones = []string{"", "a", "b", "c"}
		}
		peers := rapid.SliceOfNDistinct(rapid.Custom(func(t *rapid.T) Peer {
			return Peer{
				ID:       topology.PeerID(rapid.Uint64Range(1, 1<<53-1).Draw(t, "id")),
				Zone:     rapid.SampledFrom(zones).Draw(t, "zone"),
				Replicas: rapid.IntRange(0, 5).Draw(t, "replicas"),
				Bytes:    rapid.Uint64Range(0, 3).Draw(t, "bytes"),
				Unfit:    rapid.SampledFrom([]Reason{Fit, Fit, Fit, NoSession, Leaving}).Draw(t, "unfit"),
			}
		}), 0, 9, func(p Peer) topology.PeerID { return p.ID }).Draw(t, "peers")
		w := Wish{
			Collection: topology.CollectionID(rapid.Uint64().Draw(t, "collection")),
			Factor:     rapid.IntRange(1, 5).Draw(t, "factor"),
		}
		for i := range rapid.IntRange(1, 12).Draw(t, "shards") {
			w.Shards = append(w.Shards, topology.ShardID(i))
		}
		var existing []Existing
		if len(peers) > 0 && grown {
			for _, i := range rapid.SliceOfDistinct(rapid.IntRange(0, len(peers)-1), rapid.ID).Draw(t, "holders of shard 0") {
				existing = append(existing, Existing{Shard: 0, Peer: peers[i].ID})
			}
		}
		got := Place(w, peers, existing)
		checkPlan(t, w, peers, existing, got)

		shuffled := slices.Clone(peers)
		rand.New(rand.NewPCG(1, uint64(len(peers)))).Shuffle(len(peers), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		if again := Place(w, shuffled, existing); fmt.Sprint(again) != fmt.Sprint(got) {
			t.Fatalf("the order of the peers matters:\n%v\n%v", got, again)
		}
	})
}

func checkPlan(t *rapid.T, w Wish, peers []Peer, existing []Existing, got []Assignment) {
	if len(got) != len(w.Shards) {
		t.Fatalf("%d assignments for %d shards", len(got), len(w.Shards))
	}
	byID := map[topology.PeerID]Peer{}
	fit := 0
	for _, p := range peers {
		byID[p.ID] = p
		if p.Unfit == Fit {
			fit++
		}
	}
	load := map[topology.PeerID]int{}
	for _, a := range got {
		holders := map[topology.PeerID]bool{}
		fitHolders := 0
		for _, e := range existing {
			if e.Shard == a.Shard {
				holders[e.Peer] = true
				load[e.Peer]++
				if byID[e.Peer].Unfit == Fit {
					fitHolders++
				}
			}
		}
		had := len(holders)
		for _, id := range a.Peers {
			if p, known := byID[id]; !known || p.Unfit != Fit {
				t.Fatalf("shard %d: peer %d may take nothing", a.Shard, id)
			}
			if holders[id] {
				t.Fatalf("shard %d: two replicas on peer %d", a.Shard, id)
			}
			holders[id] = true
			load[id]++
		}
		want := min(max(w.Factor-had, 0), fit-fitHolders)
		if len(a.Peers) != want || a.Missing != max(w.Factor-had, 0)-want {
			t.Fatalf("shard %d: %d placed and %d missing, want %d placed", a.Shard, len(a.Peers), a.Missing, want)
		}
		if len(a.Rejected)+len(a.Peers) != len(peers) {
			t.Fatalf("shard %d: %d chosen and %d rejected of %d peers", a.Shard, len(a.Peers), len(a.Rejected), len(peers))
		}
		for _, r := range a.Rejected {
			if r.Reason == Fit || r.Reason >= reasons {
				t.Fatalf("shard %d: peer %d is rejected without a reason", a.Shard, r.Peer)
			}
		}
		checkZones(t, a, byID, existing, fit)
	}
	checkEven(t, peers, existing, load)
}

// checkZones: while a zone without a replica of the shard has a fit peer, no zone gets a second one.
func checkZones(t *rapid.T, a Assignment, byID map[topology.PeerID]Peer, existing []Existing, fit int) {
	if len(existing) > 0 {
		return
	}
	used, free := map[string]int{}, false
	for _, id := range a.Peers {
		if z := byID[id].Zone; z != "" {
			used[z]++
		}
	}
	for _, p := range byID {
		if p.Unfit == Fit && !slices.Contains(a.Peers, p.ID) && (p.Zone == "" || used[p.Zone] == 0) {
			free = true
		}
	}
	for zone, n := range used {
		if n > 1 && free {
			t.Fatalf("shard %d: %d replicas in zone %s while another zone has none (%d fit peers)", a.Shard, n, zone, fit)
		}
	}
}

// checkEven: without labels and earlier replicas, the shards of a collection differ by one at most between fit peers.
func checkEven(t *rapid.T, peers []Peer, existing []Existing, load map[topology.PeerID]int) {
	low, high := 1<<30, 0
	for _, p := range peers {
		if p.Zone != "" || len(existing) > 0 {
			return
		}
		if p.Unfit == Fit {
			low, high = min(low, load[p.ID]), max(high, load[p.ID])
		}
	}
	if high > 0 && high-low > 1 {
		t.Fatalf("uneven: between %d and %d replicas on a peer", low, high)
	}
}

func TestPrimary(t *testing.T) {
	term := func(e, r uint64) topology.Term { return topology.Term{Epoch: topology.Epoch(e), Run: topology.Run(r)} }
	for name, tc := range map[string]struct {
		candidates []Candidate
		want       topology.PeerID
	}{
		"nobody":                {nil, 0},
		"longest log":           {[]Candidate{{Peer: 1, LastSeq: 5}, {Peer: 2, LastSeq: 6, Primaries: 9}}, 2},
		"epoch before length":   {[]Candidate{{Peer: 1, Last: term(2, 1), LastSeq: 5}, {Peer: 2, Last: term(1, 9), LastSeq: 6}}, 1},
		"run before length":     {[]Candidate{{Peer: 1, Last: term(1, 1), LastSeq: 9}, {Peer: 2, Last: term(1, 2), LastSeq: 6}}, 2},
		"leads fewest":          {[]Candidate{{Peer: 1, Primaries: 3}, {Peer: 2, Primaries: 2}}, 2},
		"order does not matter": {[]Candidate{{Peer: 2, Primaries: 2}, {Peer: 1, Primaries: 3}}, 2},
	} {
		if got := Primary(1, 1, tc.candidates); got != tc.want {
			t.Errorf("%s: got peer %d, want %d", name, got, tc.want)
		}
	}
}

// TestObservers: each peer has its k, none is its own, the work is spread, and one peer less moves only its own part.
func TestObservers(t *testing.T) {
	var peers []topology.PeerID
	for i := range 100 {
		peers = append(peers, topology.PeerID(i+1))
	}
	load := map[topology.PeerID]int{}
	moved := 0
	for _, p := range peers {
		got := Observers(p, peers, 3)
		if len(got) != 3 || slices.Contains(got, p) {
			t.Fatalf("peer %d is watched by %v", p, got)
		}
		for _, o := range got {
			load[o]++
		}
		if p != 100 && fmt.Sprint(Observers(p, peers[:99], 3)) != fmt.Sprint(got) {
			moved++
		}
	}
	for o, n := range load {
		if n > 12 {
			t.Errorf("observer %d watches %d peers, the mean is 3", o, n)
		}
	}
	if moved != load[100] && moved != load[100]-1 {
		t.Errorf("%d assignments changed when an observer of %d left", moved, load[100])
	}
	if got := Observers(1, []topology.PeerID{1}, 3); len(got) != 0 {
		t.Errorf("a lone peer is watched by %v", got)
	}
}

func BenchmarkPlace(b *testing.B) {
	w := Wish{Collection: 1, Factor: 3}
	for i := range 100 {
		w.Shards = append(w.Shards, topology.ShardID(i))
	}
	var peers []Peer
	for i := range 1000 {
		peers = append(peers, Peer{ID: topology.PeerID(i + 1), Zone: fmt.Sprint(i % 3), Replicas: i % 7})
	}
	b.ReportAllocs()
	for b.Loop() {
		Place(w, peers, nil)
	}
}
