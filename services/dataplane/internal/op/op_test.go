package op

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pandodb/pando/services/dataplane/internal/payload"
	"github.com/pandodb/pando/services/internal/topology"
	"pgregory.net/rapid"
)

func rewrite() bool {
	f := flag.Lookup("rewrite")
	return f != nil && f.Value.String() == "true"
}

func TestMain(m *testing.M) {
	flag.Bool("rewrite", false, "write golden files anew")
	flag.Parse()
	os.Exit(m.Run())
}

var equalIDs = cmp.Comparer(func(a, b topology.PointID) bool { return a == b })

var idGen = rapid.Custom(func(t *rapid.T) topology.PointID {
	if rapid.Bool().Draw(t, "uuid") {
		return topology.UUIDID([16]byte(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "bytes")))
	}
	return topology.NumberID(rapid.Uint64().Draw(t, "number"))
})

var docGen = rapid.Custom(func(t *rapid.T) payload.Doc {
	var b payload.Builder
	b.BeginObject()
	for i := range rapid.IntRange(0, 3).Draw(t, "keys") {
		b.Key(fmt.Sprint("k", i))
		b.Str(rapid.StringN(0, 30, 60).Draw(t, "value"))
	}
	b.End()
	d, err := b.Doc()
	if err != nil {
		t.Fatal(err)
	}
	return d
})

var vectorsGen = rapid.Custom(func(t *rapid.T) []Vector {
	var vs []Vector
	for _, name := range []string{"", "image", "text"} {
		if rapid.Bool().Draw(t, "has") {
			v := valueGen.Draw(t, "value")
			v.Name = name
			vs = append(vs, v)
		}
	}
	return vs
})

// valueGen makes all kinds of vectors, most of them dense.
var valueGen = rapid.Custom(func(t *rapid.T) Vector {
	data := func(n int) []float32 {
		return rapid.SliceOfN(rapid.Float32Range(-1e30, 1e30), n, n).Draw(t, "data")
	}
	switch rapid.IntRange(0, 5).Draw(t, "kind") {
	case 0:
		v := Vector{Indices: []uint32{}}
		next := uint64(0)
		for range rapid.IntRange(0, 5).Draw(t, "size") {
			next += uint64(rapid.Uint32Max(1<<29).Draw(t, "gap"))
			v.Indices = append(v.Indices, uint32(next))
			next++
		}
		v.Data = data(len(v.Indices))
		return v
	case 1:
		rows, dim := rapid.IntRange(1, 3).Draw(t, "rows"), rapid.IntRange(1, 4).Draw(t, "dim")
		return Vector{Count: rows, Data: data(rows * dim)}
	}
	return Vector{Data: data(rapid.IntRange(1, 5).Draw(t, "size"))}
})

var opGen = rapid.Custom(func(t *rapid.T) Op {
	o := Op{Kind: rapid.SampledFrom([]Kind{EpochStart, Upsert, Delete, SetPayload, OverwritePayload, DeletePayload,
		ClearPayload, UpdateVectors, DeleteVectors, Config, Floor, Mark, Seal, Merge, EditPayload}).Draw(t, "kind")}
	ids := rapid.SliceOfN(idGen, 0, 20)
	switch o.Kind {
	case Upsert, UpdateVectors:
		o.Points = make([]Point, rapid.IntRange(0, 9).Draw(t, "points"))
		for i := range o.Points {
			o.Points[i] = Point{ID: idGen.Draw(t, "id"), Vectors: vectorsGen.Draw(t, "vectors")}
			if o.Kind == Upsert {
				o.Points[i].Payload = docGen.Draw(t, "payload")
			}
		}
	case SetPayload, OverwritePayload, EditPayload:
		o.Groups = make([]Group, rapid.IntRange(0, 4).Draw(t, "groups"))
		for i := range o.Groups {
			o.Groups[i] = Group{IDs: ids.Draw(t, "ids"), Payload: docGen.Draw(t, "payload")}
		}
		if o.Kind == EditPayload {
			o.Names = rapid.SliceOfN(rapid.SampledFrom([]string{"", "a", "ü"}), 0, 3).Draw(t, "names")
		}
	case Delete, ClearPayload:
		o.IDs = ids.Draw(t, "ids")
	case DeletePayload, DeleteVectors:
		o.IDs, o.Names = ids.Draw(t, "ids"), rapid.SliceOfN(rapid.SampledFrom([]string{"", "a", "ü"}), 0, 3).Draw(t, "names")
	case Config:
		o.Revision, o.Settings = rapid.Uint64().Draw(t, "revision"), rapid.SliceOfN(rapid.Byte(), 1, 9).Draw(t, "settings")
	case Floor:
		o.Floor = HLC(rapid.Uint64().Draw(t, "floor"))
	case Merge:
		parts := rapid.SliceOfNDistinct(rapid.Uint64(), 1, 5, rapid.ID).Draw(t, "parts")
		slices.Sort(parts)
		for _, p := range parts {
			o.Parts = append(o.Parts, topology.Seq(p))
		}
	}
	return o
})

func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := opGen.Draw(t, "op")
		body := o.Append(nil)
		got, err := Decode(body)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(o, got, equalIDs); d != "" {
			t.Fatal(d)
		}
		for n := range body {
			if short, err := Decode(body[:n]); err == nil && o.Kind != Config {
				t.Fatalf("cut at %d of %d: %+v", n, len(body), short)
			}
		}
	})
}

// flat names everything that an operation does, one line each, in order.
func flat(ops ...Op) (out []string) {
	for _, o := range ops {
		for _, p := range o.Points {
			out = append(out, fmt.Sprint(o.Kind, p))
		}
		for _, g := range o.Groups {
			for _, id := range g.IDs {
				out = append(out, fmt.Sprint(o.Kind, id, g.Payload))
			}
		}
		for _, id := range o.IDs {
			out = append(out, fmt.Sprint(o.Kind, id, o.Names))
		}
	}
	return out
}

func TestSplit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := opGen.Draw(t, "op")
		room := rapid.IntRange(40, 400).Draw(t, "max")
		parts, err := Split(o, room)
		if errors.Is(err, ErrTooLarge) {
			if len(o.Append(nil)) <= 30 { // a count may be short, and bodies of dense vectors lack kinds
				t.Fatal("small operation refused")
			}
			return
		}
		if err != nil || len(parts) == 0 {
			t.Fatalf("%d parts, %v", len(parts), err)
		}
		for _, p := range parts {
			if n := len(p.Append(nil)); n > room {
				t.Fatalf("part of %d bytes, at most %d allowed", n, room)
			}
			if p.Kind != o.Kind {
				t.Fatal("kind changed")
			}
		}
		if !slices.Equal(flat(o), flat(parts...)) {
			t.Fatal("parts do something else")
		}
	})
	big := Op{Kind: Upsert, Points: []Point{{Vectors: []Vector{{Data: make([]float32, MaxVectorSize)}}}}}
	if _, err := Split(big, 1<<18); !errors.Is(err, ErrTooLarge) {
		t.Fatalf("point above the limit: %v", err)
	}
	if parts, err := Split(big, MaxBody); err != nil || len(parts) != 1 {
		t.Fatalf("%d parts, %v", len(parts), err)
	}
}

func TestDecodeRefuses(t *testing.T) {
	vec := func(fs ...float32) []byte {
		return Op{Kind: UpdateVectors, Points: []Point{{Vectors: []Vector{{Data: fs}}}}}.Append(nil)
	}
	kinds := func(value ...byte) []byte {
		head := append([]byte{kindsVersion, byte(UpdateVectors), 1}, topology.NumberID(1).Append(nil)...)
		return append(append(head, 1, 0), value...) // one vector without a name
	}
	if _, err := Decode(kinds(sparseValue, 0)); err != nil {
		t.Errorf("an empty sparse vector: %v", err)
	}
	for _, c := range []struct {
		name string
		body []byte
		want error
	}{
		{"nothing", nil, ErrCorrupt},
		{"version", []byte{3, 1}, ErrVersion},
		{"kinds without need", []byte{2, byte(EpochStart)}, ErrCorrupt},
		{"kinds of dense vectors", kinds(denseValue, 1, 0, 0, 0, 0), ErrCorrupt},
		{"unknown kind", kinds(multiValue + 1), ErrCorrupt},
		{"sparse index above the greatest", kinds(sparseValue, 2, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F, 0, 0, 0, 0, 0, 0, 0, 0, 0), ErrCorrupt},
		{"more indices than values", kinds(sparseValue, 2, 1, 1, 0, 0, 0, 0), ErrCorrupt},
		{"NaN in a sparse vector", kinds(sparseValue, 1, 1, 0, 0, 0xC0, 0x7F), ErrCorrupt},
		{"multi of none", kinds(multiValue, 0, 1, 0, 0, 0, 0), ErrCorrupt},
		{"multi without elements", kinds(multiValue, 1, 0), ErrCorrupt},
		{"multi of unequal rows", kinds(multiValue, 2, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0), ErrCorrupt},
		{"row of a multi too long", Op{Kind: UpdateVectors, Points: []Point{{Vectors: []Vector{{Count: 1, Data: make([]float32, MaxVectorSize+1)}}}}}.Append(nil), ErrCorrupt},
		{"kind", []byte{1, byte(EditPayload) + 1}, ErrVersion},
		{"kind 0", []byte{1, 0}, ErrCorrupt},
		{"tail", []byte{1, byte(EpochStart), 0}, ErrCorrupt},
		{"tail of a mark", []byte{1, byte(Mark), 0}, ErrCorrupt},
		{"count", []byte{1, byte(Delete), 0xFF, 0xFF, 3}, ErrCorrupt},
		{"long number", []byte{1, byte(Delete), 0x80, 0}, ErrCorrupt},
		{"too large", make([]byte, MaxBody+1), ErrCorrupt},
		{"NaN", vec(1, float32(math.NaN())), ErrCorrupt},
		{"parts out of order", Op{Kind: Merge, Parts: []topology.Seq{2, 2}}.Append(nil), ErrCorrupt},
		{"infinity", vec(float32(math.Inf(1))), ErrCorrupt},
		{"empty vector", vec(), ErrCorrupt},
		{"names out of order", Op{Kind: UpdateVectors, Points: []Point{{Vectors: []Vector{{Name: "b", Data: []float32{1}}, {Name: "a", Data: []float32{1}}}}}}.Append(nil), ErrCorrupt},
		{"payload", Op{Kind: OverwritePayload, Groups: []Group{{Payload: payload.Doc{1, 2, 3}}}}.Append(nil), payload.ErrCorrupt},
		{"payload, too", Op{Kind: OverwritePayload, Groups: []Group{{Payload: payload.Doc{1, 2, 3}}}}.Append(nil), ErrCorrupt},
	} {
		if _, err := Decode(c.body); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestEntry(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Uint64()
		e := Entry{
			Term: topology.Term{Epoch: topology.Epoch(n.Draw(t, "epoch")), Run: topology.Run(n.Draw(t, "run"))},
			Seq:  topology.Seq(n.Draw(t, "seq")), HLC: HLC(n.Draw(t, "hlc")), Origin: topology.PeerID(n.Draw(t, "origin")),
			ID:   ID{Request: [16]byte(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "request")), Index: rapid.Uint32().Draw(t, "index"), Part: rapid.Uint32().Draw(t, "part")},
			Body: rapid.SliceOfN(rapid.Byte(), 1, 20).Draw(t, "body"),
		}
		b := e.AppendBinary([]byte("x"))[1:]
		if len(b) != EntryOverhead+len(e.Body) {
			t.Fatalf("%d bytes", len(b))
		}
		got, err := DecodeEntry(b)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(e, got); d != "" {
			t.Fatal(d)
		}
	})
	if _, err := DecodeEntry(make([]byte, EntryOverhead-1)); !errors.Is(err, ErrCorrupt) {
		t.Error(err)
	}
	if _, err := DecodeEntry(make([]byte, EntryOverhead)); !errors.Is(err, ErrVersion) {
		t.Error(err)
	}
	if !(ID{Part: LastPart}).IsLast() || (ID{Part: 1}).IsLast() {
		t.Error("IsLast")
	}
}

func TestClock(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var c Clock
		last := HLC(0)
		for range rapid.IntRange(1, 50).Draw(t, "events") {
			ms := rapid.Uint64Range(0, 1<<47).Draw(t, "wall")
			if rapid.Bool().Draw(t, "observe") {
				c.Observe(HLC(ms) << 16)
				last = max(last, HLC(ms)<<16)
				continue
			}
			h := c.Next(ms)
			if h <= last || h.Ms() < ms || h != c.Last() {
				t.Fatalf("stamp %d after %d at %d ms", h, last, ms)
			}
			last = h
		}
	})
	c := Clock{last: MakeHLC(7, 0xFFFF)}
	if h := c.Next(7); h.Ms() != 8 || h.Counter() != 0 {
		t.Fatalf("overflow: %d ms, counter %d", h.Ms(), h.Counter())
	}
}

func golden() (lines []string) {
	var b payload.Builder
	b.BeginObject()
	b.Key("n")
	b.Int(1)
	b.End()
	doc, err := b.Doc()
	if err != nil {
		panic(err)
	}
	one, two := topology.NumberID(1), topology.UUIDID([16]byte{0xAB, 15: 0xCD})
	vs := []Vector{{Name: "", Data: []float32{1, -0.5}}, {Name: "t", Data: []float32{2}}}
	for _, o := range []Op{
		{Kind: EpochStart},
		{Kind: Upsert, Points: []Point{{one, vs, doc}, {ID: two}}},
		{Kind: Delete, IDs: []topology.PointID{one, two}},
		{Kind: SetPayload, Groups: []Group{{[]topology.PointID{one}, doc}}},
		{Kind: OverwritePayload, Groups: []Group{{[]topology.PointID{one, two}, doc}, {[]topology.PointID{two}, nil}}},
		{Kind: DeletePayload, IDs: []topology.PointID{one}, Names: []string{"n", "m"}},
		{Kind: ClearPayload, IDs: []topology.PointID{two}},
		{Kind: UpdateVectors, Points: []Point{{ID: one, Vectors: vs[1:]}}},
		{Kind: DeleteVectors, IDs: []topology.PointID{one}, Names: []string{""}},
		{Kind: Config, Revision: 300, Settings: []byte("{}")},
		{Kind: Floor, Floor: MakeHLC(5, 6)},
		{Kind: Mark},
		{Kind: Seal},
		{Kind: Merge, Parts: []topology.Seq{7, 300}},
		{Kind: EditPayload, Groups: []Group{{[]topology.PointID{one}, doc}, {[]topology.PointID{two}, nil}}, Names: []string{"m"}},
	} {
		lines = append(lines, fmt.Sprintf("%d %s", o.Kind, hex.EncodeToString(o.Append(nil))))
	}
	e := Entry{Term: topology.Term{Epoch: 1, Run: 2}, Seq: 3, HLC: MakeHLC(4, 5), Origin: 6,
		ID: ID{Request: [16]byte{7, 15: 8}, Index: 9 | ClientIndexBit, Part: LastPart}, Body: []byte{1, 1}}
	return append(lines, "entry "+hex.EncodeToString(e.AppendBinary(nil)))
}

// goldenKinds are bodies with vectors of all kinds.
func goldenKinds() (lines []string) {
	vs := []Vector{{Name: "", Data: []float32{1, -0.5}}, {Name: "m", Data: []float32{1, 2, 3, 4}, Count: 2},
		{Name: "s", Indices: []uint32{0, 1, 300, 1<<32 - 1}, Data: []float32{1, 2, 3, 4}}, {Name: "t", Indices: []uint32{}, Data: []float32{}}}
	one := topology.NumberID(1)
	for _, o := range []Op{{Kind: Upsert, Points: []Point{{ID: one, Vectors: vs}, {ID: topology.NumberID(2), Vectors: vs[:1]}}},
		{Kind: UpdateVectors, Points: []Point{{ID: one, Vectors: vs[1:2]}}}} {
		lines = append(lines, fmt.Sprintf("%d %s", o.Kind, hex.EncodeToString(o.Append(nil))))
	}
	return lines
}

// TestGolden: versions 1 and 2 on disk are read and written like this for ever.
func TestGolden(t *testing.T) {
	for file, lines := range map[string][]string{"testdata/v1.golden": golden(), "testdata/v2.golden": goldenKinds()} {
		got := strings.Join(lines, "\n") + "\n"
		if rewrite() {
			if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Fatalf("%s: got:\n%swant:\n%s", file, got, want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, l := range append(golden(), goldenKinds()...) {
		_, hexed, _ := strings.Cut(l, " ")
		b, err := hex.DecodeString(hexed)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if o, err := Decode(b); err == nil {
			if again := o.Append(nil); !bytes.Equal(again, b) {
				t.Fatalf("% x is written back as % x", b, again)
			}
		}
		if e, err := DecodeEntry(b); err == nil && !bytes.Equal(e.AppendBinary(nil), b) {
			t.Fatalf("entry % x is not written back", b)
		}
	})
}

// D2a: ids of clients are remembered down to the floor, those of coordinators for 2 minutes
// of the 15 by which it lags; without a floor all are.
func TestRemembered(t *testing.T) {
	floor := MakeHLC(1_700_000_000_000, 7)
	client, coordinator := ID{Index: ClientIndexBit}, ID{}
	if client.Remembered(floor, RetryWindowMS) != floor || coordinator.Remembered(0, RetryWindowMS) != 0 {
		t.Error("not down to the floor")
	}
	if got, want := coordinator.Remembered(floor, RetryWindowMS), MakeHLC(1_700_000_000_000+13*60*1000, 7); got != want {
		t.Errorf("%d, want %d", got, want)
	}
}
