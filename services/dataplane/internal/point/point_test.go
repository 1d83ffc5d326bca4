package point

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/payload"
	"github.com/pandodb/pando/services/internal/topology"
	"pgregory.net/rapid"
)

type event struct {
	stamp  Stamp
	change Change
}

func build(fields map[string]int64) payload.Doc {
	var w payload.Writer
	for _, k := range slices.Sorted(maps.Keys(fields)) {
		w.Field(k, payload.AppendInt(nil, fields[k]))
	}
	return w.Doc()
}

var (
	nameGen   = rapid.SampledFrom([]string{"", "a", "b", "c"})
	namesGen  = rapid.SliceOfNDistinct(nameGen, 0, 3, rapid.ID[string])
	docGen    = rapid.Map(rapid.MapOfN(nameGen, rapid.Int64(), 0, 3), build)
	vectorGen = rapid.Custom(func(t *rapid.T) []op.Vector {
		var vs []op.Vector
		for _, n := range slices.Sorted(slices.Values(namesGen.Draw(t, "names"))) {
			v := op.Vector{Name: n, Data: []float32{rapid.Float32Range(-9, 9).Draw(t, "x")}}
			switch rapid.IntRange(0, 5).Draw(t, "kind") {
			case 0:
				v.Indices = []uint32{rapid.Uint32().Draw(t, "index")}
			case 1:
				v.Data, v.Indices = []float32{}, []uint32{}
			case 2:
				v.Data, v.Count = append(v.Data, 1), 2
			}
			vs = append(vs, v)
		}
		return vs
	})
	changeGen = rapid.Custom(func(t *rapid.T) Change {
		c := Change{Kind: rapid.SampledFrom([]op.Kind{op.Upsert, op.Delete, op.SetPayload, op.OverwritePayload,
			op.DeletePayload, op.EditPayload, op.ClearPayload, op.UpdateVectors, op.DeleteVectors}).Draw(t, "kind")}
		switch c.Kind {
		case op.Upsert:
			c.Vectors, c.Payload = vectorGen.Draw(t, "vectors"), docGen.Draw(t, "payload")
		case op.UpdateVectors:
			c.Vectors = vectorGen.Draw(t, "vectors")
		case op.SetPayload, op.OverwritePayload:
			c.Payload = docGen.Draw(t, "payload")
		case op.DeletePayload, op.DeleteVectors:
			c.Names = namesGen.Draw(t, "names")
		case op.EditPayload: // a key is set or removed, not both
			c.Payload = docGen.Draw(t, "payload")
			c.Names = slices.DeleteFunc(namesGen.Draw(t, "names"), func(n string) bool { _, set := c.Payload.Get(n); return set })
		}
		return c
	})
	eventsGen = rapid.Custom(func(t *rapid.T) []event {
		stamps := rapid.SliceOfNDistinct(rapid.Custom(func(t *rapid.T) Stamp {
			return Stamp{op.HLC(rapid.IntRange(1, 12).Draw(t, "hlc")), topology.PeerID(rapid.IntRange(1, 2).Draw(t, "origin"))}
		}), 0, 12, rapid.ID[Stamp]).Draw(t, "stamps")
		es := make([]event, len(stamps))
		for i, s := range stamps {
			es[i] = event{s, changeGen.Draw(t, "change")}
		}
		return es
	})
)

// naive builds the point from the definition: for each field the latest
// operation on it that is not older than its base, looked up in the whole set.
func naive(id topology.PointID, es []event) Point {
	p := Point{ID: id}
	var base, part event
	for _, e := range es {
		switch e.change.Kind {
		case op.Upsert, op.Delete:
			if e.stamp.After(base.stamp) {
				base = e
			}
		case op.OverwritePayload, op.ClearPayload:
			if e.stamp.After(part.stamp) {
				part = e
			}
		}
	}
	p.Base, p.Alive = base.stamp, base.change.Kind == op.Upsert
	bottom := base
	if part.stamp.After(base.stamp) {
		bottom, p.PayloadBase = part, part.stamp
	}
	vectors, keys := map[string]Vector{}, map[string]Key{}
	values := map[string]payload.Value{}
	for _, v := range base.change.Vectors {
		vectors[v.Name] = Vector{Name: v.Name, Data: v.Data, Indices: v.Indices, Count: v.Count}
	}
	for k, v := range bottom.change.Payload.All() {
		values[k] = v
	}
	slices.SortFunc(es, func(a, b event) int { return a.stamp.Compare(b.stamp) })
	for _, e := range es {
		if c := e.change; e.stamp.After(base.stamp) && c.Kind == op.UpdateVectors {
			for _, v := range c.Vectors {
				vectors[v.Name] = Vector{Name: v.Name, Data: v.Data, Indices: v.Indices, Count: v.Count, Stamp: e.stamp}
			}
		} else if e.stamp.After(base.stamp) && c.Kind == op.DeleteVectors {
			for _, n := range c.Names {
				vectors[n] = Vector{Name: n, Stamp: e.stamp}
			}
		} else if e.stamp.After(bottom.stamp) && (c.Kind == op.SetPayload || c.Kind == op.DeletePayload || c.Kind == op.EditPayload) {
			for k, v := range c.Payload.All() {
				values[k], keys[k] = v, Key{k, e.stamp}
			}
			for _, k := range c.Names {
				delete(values, k)
				keys[k] = Key{k, e.stamp}
			}
		}
	}
	for _, n := range slices.Sorted(maps.Keys(vectors)) {
		p.Vectors = append(p.Vectors, vectors[n])
	}
	for _, n := range slices.Sorted(maps.Keys(keys)) {
		p.Keys = append(p.Keys, keys[n])
	}
	var w payload.Writer
	for _, n := range slices.Sorted(maps.Keys(values)) {
		w.Field(n, values[n])
	}
	p.Payload = w.Doc()
	return p
}

func bytesOf(p *Point) []byte { return p.AppendBinary(nil) }

// TestFold: P5. Any order and any repetition leaves the bytes of the definition.
func TestFold(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id := topology.NumberID(7)
		es := eventsGen.Draw(t, "events")
		want := naive(id, slices.Clone(es))
		order := slices.Clone(es)
		if len(es) > 0 {
			order = append(order, rapid.SliceOfN(rapid.SampledFrom(es), 0, 6).Draw(t, "again")...)
			order = rapid.Permutation(order).Draw(t, "order")
		}
		got := Point{ID: id}
		for _, e := range order {
			got.Apply(e.stamp, e.change)
			if stored, err := Decode(id, bytesOf(&got)); err != nil {
				t.Fatal(err)
			} else if got = stored; rapid.Bool().Draw(t, "repeat") {
				before := bytesOf(&got)
				if got.Apply(e.stamp, e.change); !bytes.Equal(before, bytesOf(&got)) {
					t.Fatalf("repetition of %+v changed the point", e)
				}
			}
		}
		if !bytes.Equal(bytesOf(&got), bytesOf(&want)) {
			t.Fatalf("order %+v\ngot  %+v\nwant %+v", order, got, want)
		}
	})
}

func seen(p *Point) string {
	if !p.Alive {
		return "none"
	}
	var b strings.Builder
	for _, v := range p.Vectors {
		if v.Data != nil {
			fmt.Fprintf(&b, "%q=%v %v/%d ", v.Name, v.Data, v.Indices, v.Count)
		}
	}
	return b.String() + hex.EncodeToString(p.Payload)
}

// TestFloor: folding old stamps away changes nothing that is seen, now or after
// later operations, and is idempotent.
func TestFloor(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		floor := op.HLC(rapid.IntRange(0, 14).Draw(t, "floor"))
		es := eventsGen.Draw(t, "events")
		var plain, folded Point
		for _, e := range es {
			if e.stamp.HLC < floor {
				plain.Apply(e.stamp, e.change)
				folded.Apply(e.stamp, e.change)
			}
		}
		gone := folded.Fold(floor)
		if gone && seen(&plain) != "none" {
			t.Fatalf("a point was forgotten that is seen: %+v", plain)
		}
		if gone {
			folded = Point{}
		}
		if len(folded.Keys) > 0 || folded.PayloadBase != (Stamp{}) || (!folded.Alive && len(folded.Vectors)+len(folded.Payload) > 0) {
			t.Fatalf("old stamps stay: %+v", folded)
		}
		if !gone && folded.Alive != folded.Settled() {
			t.Fatalf("Settled: %+v", folded)
		}
		for i := range len(es) + 1 {
			if seen(&plain) != seen(&folded) {
				t.Fatalf("after %d: %s and, folded, %s", i, seen(&plain), seen(&folded))
			}
			if i < len(es) && es[i].stamp.HLC >= floor {
				plain.Apply(es[i].stamp, es[i].change)
				folded.Apply(es[i].stamp, es[i].change)
			}
		}
		a, b := folded, folded
		a.Fold(floor)
		b.Fold(floor)
		b.Fold(floor)
		if !bytes.Equal(bytesOf(&a), bytesOf(&b)) {
			t.Fatal("Fold is not idempotent")
		}
	})
}

func TestEffect(t *testing.T) {
	at := func(h int) Stamp { return Stamp{op.HLC(h), 1} }
	p := Point{}
	for _, c := range []struct {
		h    int
		c    Change
		want Effect
	}{
		{5, Change{Kind: op.Upsert, Payload: build(map[string]int64{"a": 1, "b": 1})}, Whole},
		{4, Change{Kind: op.Delete}, Lost},
		{8, Change{Kind: op.SetPayload, Payload: build(map[string]int64{"a": 2})}, Whole},
		{7, Change{Kind: op.SetPayload, Payload: build(map[string]int64{"a": 3, "b": 3})}, Partly},
		{6, Change{Kind: op.DeletePayload, Names: []string{"a", "b"}}, Lost},
		{9, Change{Kind: op.UpdateVectors, Vectors: []op.Vector{{Name: "v", Data: []float32{1}}}}, Whole},
		{6, Change{Kind: op.DeleteVectors, Names: []string{"v", "w"}}, Partly},
		{6, Change{Kind: op.Upsert, Payload: build(map[string]int64{"a": 9})}, Partly},
		{12, Change{Kind: op.ClearPayload}, Whole},
		{11, Change{Kind: op.OverwritePayload}, Lost},
		{13, Change{Kind: op.Delete}, Whole},
		{14, Change{Kind: op.EpochStart}, Whole},
	} {
		if got := p.Apply(at(c.h), c.c); got != c.want {
			t.Errorf("%d: kind %d: effect %d, want %d", c.h, c.c.Kind, got, c.want)
		}
		if c.h == 9 && p.Version() != 9 {
			t.Errorf("version %d, want 9", p.Version())
		}
	}
	if p.Alive || p.Base != at(13) || p.Version() != 13 {
		t.Errorf("deleted at 13: %+v", p)
	}
}

func TestDigest(t *testing.T) {
	id := topology.NumberID(1)
	a, scratch := DigestOf(id, []byte("x"), nil)
	b, _ := DigestOf(topology.NumberID(2), []byte("x"), scratch)
	if a == b || a.Add(b).Sub(b) != a || a.Add(b) != b.Add(a) {
		t.Error("not an additive hash")
	}
	if got := a.String(); got != goldenDigest {
		t.Errorf("digest %s, want %s", got, goldenDigest)
	}
}

// goldenDigest is the contribution of number 1 with the form "x"; it never changes.
const goldenDigest = "05570f51847050531a0f31159af64c5e"

// golden is a point with everything, and its stored form for ever.
func golden() (Point, string) {
	p := Point{ID: topology.NumberID(1)}
	at := func(h int) Stamp { return Stamp{op.HLC(h), 300} }
	p.Apply(at(1), Change{Kind: op.Upsert, Vectors: []op.Vector{{Name: "", Data: []float32{1, 2}}, {Name: "v", Data: []float32{1}}}})
	p.Apply(at(2), Change{Kind: op.OverwritePayload, Payload: build(map[string]int64{"a": 1, "b": 2})})
	p.Apply(at(3), Change{Kind: op.DeletePayload, Names: []string{"a"}})
	p.Apply(at(4), Change{Kind: op.DeleteVectors, Names: []string{"v"}})
	return p, "0103" + "0100000000000000ac02" + "0200000000000000ac02" + // flags, base, payload base
		"14" + "060f00000001000000" + "016202" + "0200000000000000" + // {"b": 2}
		"01" + "0161" + "0300000000000000ac02" + // a was removed at 3
		"02" + "0001" + "020000803f00000040" + "017602" + "0400000000000000ac02"
}

func TestGolden(t *testing.T) {
	p, want := golden()
	if got := hex.EncodeToString(bytesOf(&p)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	for _, c := range []struct {
		b    []byte
		want error
	}{
		{nil, op.ErrCorrupt}, {[]byte{3, 0}, op.ErrVersion}, {append([]byte{2}, bytesOf(&p)[1:]...), op.ErrCorrupt}, {append(bytesOf(&p), 0), op.ErrCorrupt}, {bytesOf(&p)[:20], op.ErrCorrupt},
	} {
		if _, err := Decode(p.ID, c.b); !errors.Is(err, c.want) {
			t.Errorf("% x: %v", c.b, err)
		}
	}
}

// goldenKinds is a point with vectors of all kinds, and its stored form for ever.
func goldenKinds() (Point, string) {
	p := Point{ID: topology.NumberID(1)}
	at := func(h int) Stamp { return Stamp{op.HLC(h), 300} }
	p.Apply(at(1), Change{Kind: op.Upsert, Vectors: []op.Vector{{Name: "", Data: []float32{1}}, {Name: "e", Data: []float32{}, Indices: []uint32{}},
		{Name: "m", Data: []float32{1, 2}, Count: 2}}})
	p.Apply(at(2), Change{Kind: op.UpdateVectors, Vectors: []op.Vector{{Name: "s", Data: []float32{2}, Indices: []uint32{300}}}})
	p.Apply(at(3), Change{Kind: op.DeleteVectors, Names: []string{"z"}})
	return p, "0201" + "0100000000000000ac02" + // flags, base
		"00" + "00" + "05" + // no payload, no keys, five vectors
		"0001" + "00" + "010000803f" +
		"016501" + "01" + "00" +
		"016d01" + "02" + "02" + "020000803f00000040" +
		"017303" + "0200000000000000ac02" + "01" + "01ac02" + "00000040" +
		"017a02" + "0300000000000000ac02"
}

func TestGoldenKinds(t *testing.T) {
	p, want := goldenKinds()
	if got := hex.EncodeToString(bytesOf(&p)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	back, err := Decode(p.ID, bytesOf(&p))
	if err != nil || back.Vectors[1].Data == nil || !bytes.Equal(bytesOf(&back), bytesOf(&p)) {
		t.Errorf("%+v, %v", back, err)
	}
}

func FuzzDecode(f *testing.F) {
	p, _ := golden()
	f.Add(bytesOf(&p))
	k, _ := goldenKinds()
	f.Add(bytesOf(&k))
	f.Add(bytesOf(&Point{}))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := Decode(topology.NumberID(1), b)
		if err != nil {
			return
		}
		if !bytes.Equal(bytesOf(&p), b) {
			t.Fatalf("% x is written back as % x", b, bytesOf(&p))
		}
		p.Apply(Stamp{5, 5}, Change{Kind: op.SetPayload, Payload: build(map[string]int64{"a": 1})})
		p.Fold(4)
		if _, err := Decode(topology.NumberID(1), bytesOf(&p)); err != nil {
			t.Fatal(err)
		}
	})
}
