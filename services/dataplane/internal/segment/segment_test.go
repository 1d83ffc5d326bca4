package segment

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"math"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/payload"
	"github.com/pandodb/pando/services/dataplane/internal/point"
	"github.com/pandodb/pando/services/dataplane/internal/query"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/vfs"
	"github.com/pandodb/pando/services/internal/vfs/memfs"
	"pgregory.net/rapid"
)

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

const dir = "segments"

// folder is a new file system with the folder, durably.
func folder(t testing.TB) *memfs.FS {
	m := memfs.New()
	ok(t, m.MkdirAll(dir, 0o750))
	ok(t, vfs.SyncDir(m, "."))
	return m
}

// schema has one dense vector of each datatype, two kinds that stay in records, and
// lacks the names that some points have.
func schema() Spec {
	return Spec{Part: 7, Vectors: []query.VectorSchema{
		{Name: "", Size: 3, Distance: query.Dot},
		{Name: "few", Size: 20, Distance: query.Dot, Datatype: query.Turbo4},
		{Name: "half", Size: 5, Datatype: query.Float16},
		{Name: "image", Size: 20, Datatype: query.Uint8},
		{Name: "many", Kind: query.Multi, Size: 2},
		{Name: "words", Kind: query.Sparse},
	}}
}

// genVector gives elements that often fit the datatypes, and often do not.
func genVector(t *rapid.T, name string) []float32 {
	size := map[string]int{"": 3, "few": 20, "half": 5, "image": 20}[name]
	if size == 0 || rapid.IntRange(0, 9).Draw(t, "odd size") == 0 {
		size = rapid.IntRange(1, 24).Draw(t, "size")
	}
	element := rapid.SampledFrom([]*rapid.Generator[float32]{
		rapid.Map(rapid.IntRange(0, 255), func(n int) float32 { return float32(n) }),
		rapid.Map(rapid.IntRange(-2048, 2048), func(n int) float32 { return float32(n) / 1024 }),
		rapid.SampledFrom([]float32{0, float32(math.Copysign(0, -1)), 1, 65504, -65504, 0x1p-24, 0x1p-14, 65505, 0x1p-25, 256, -1, 0.5}),
		rapid.Float32Range(-math.MaxFloat32, math.MaxFloat32),
	}).Draw(t, "elements")
	v := rapid.SliceOfN(element, size, size).Draw(t, name)
	if name == "few" && rapid.Bool().Draw(t, "rounded") {
		if r, err := (query.VectorSchema{Size: size, Distance: query.Dot, Datatype: query.Turbo4}).Stored(op.Vector{Data: v}); err == nil {
			return r.Data
		}
	}
	return v
}

func genDoc(t *rapid.T) payload.Doc {
	var w payload.Writer
	for _, k := range slices.Sorted(slices.Values(rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "b", "city"}), 0, 3, rapid.ID[string]).Draw(t, "keys"))) {
		w.Field(k, payload.AppendInt(nil, rapid.Int64().Draw(t, k)))
	}
	return w.Doc()
}

func genNames(t *rapid.T) []string {
	names := []string{"", "few", "half", "image", "many", "other", "words"}
	return slices.Sorted(slices.Values(rapid.SliceOfNDistinct(rapid.SampledFrom(names), 0, 6, rapid.ID[string]).Draw(t, "names")))
}

// genPoint makes a living point by a history of operations, so that every kind of
// stamp occurs.
func genPoint(t *rapid.T, id topology.PointID) point.Point {
	p := point.Point{ID: id}
	vectors := func() (vs []op.Vector) {
		for _, n := range genNames(t) {
			vs = append(vs, op.Vector{Name: n, Data: genVector(t, n)})
		}
		return vs
	}
	at := op.HLC(rapid.IntRange(1, 1<<40).Draw(t, "hlc"))
	stamp := func() point.Stamp {
		at++
		return point.Stamp{HLC: at, Origin: topology.PeerID(rapid.IntRange(1, 300).Draw(t, "origin"))}
	}
	p.Apply(stamp(), point.Change{Kind: op.Upsert, Vectors: vectors(), Payload: genDoc(t)})
	for range rapid.IntRange(0, 4).Draw(t, "changes") {
		c := point.Change{Kind: rapid.SampledFrom([]op.Kind{op.SetPayload, op.OverwritePayload, op.DeletePayload, op.ClearPayload, op.UpdateVectors, op.DeleteVectors}).Draw(t, "kind")}
		switch c.Kind {
		case op.UpdateVectors:
			c.Vectors = vectors()
		case op.DeleteVectors:
			c.Names = genNames(t)
		case op.DeletePayload:
			c.Names = []string{"a"}
		default:
			c.Payload = genDoc(t)
		}
		p.Apply(stamp(), c)
	}
	if rapid.Bool().Draw(t, "fold") {
		p.Fold(at - 1)
	}
	return p
}

func genPoints(t *rapid.T) []point.Point {
	id := rapid.OneOf(rapid.Map(rapid.Uint64(), topology.NumberID), rapid.Map(rapid.Uint64Range(0, 50), topology.NumberID),
		rapid.Custom(func(t *rapid.T) topology.PointID {
			var b [16]byte
			copy(b[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "uuid"))
			return topology.UUIDID(b)
		}))
	ids := rapid.SliceOfNDistinct(id, 0, 40, rapid.ID[topology.PointID]).Draw(t, "ids")
	slices.SortFunc(ids, topology.PointID.Compare)
	ps := make([]point.Point, len(ids))
	for i, id := range ids {
		ps[i] = genPoint(t, id)
	}
	return ps
}

// staged is schema with two earlier stages.
func staged() Spec {
	s := schema()
	s.Earlier = []topology.Seq{2, 5}
	return s
}

// stageOf is the stage that a row is written with, of so many before the last.
func stageOf(row, earlier int) uint8 { return uint8((row*row + row/3) % (earlier + 1)) }

func each(ps []point.Point, earlier int) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		for i := range ps {
			if !yield(Row{&ps[i], stageOf(i, earlier)}, nil) {
				return
			}
		}
	}
}

func write(fsys vfs.FS, spec Spec, ps []point.Point) (Description, error) {
	return Write(context.Background(), fsys, dir, spec, len(ps), each(ps, len(spec.Earlier)))
}

// same holds an open segment against the points that it was written from.
func same(s *Segment, spec Spec, ps []point.Point) error {
	var digest point.Digest
	count := map[string]int{}
	for i := range ps {
		row, want := uint32(i), ps[i]
		var got point.Point
		if err := s.Point(row, &got); err != nil {
			return err
		}
		form := want.AppendBinary(nil)
		one, _ := point.DigestOf(want.ID, form, nil)
		digest = digest.Add(one)
		if !bytes.Equal(got.AppendBinary(nil), form) || got.ID != want.ID || s.ID(row) != want.ID {
			return fmt.Errorf("row %d: %+v, want %+v", row, got, want)
		}
		if s.Version(row) != want.Version() || !bytes.Equal(s.Payload(row), want.Payload) {
			return fmt.Errorf("row %d: version %d, payload %x", row, s.Version(row), s.Payload(row))
		}
		if stages := s.Stages(); stages.At(row) != stageOf(i, len(spec.Earlier)) {
			return fmt.Errorf("row %d: stage %d", row, stages.At(row))
		}
		if at, ok := s.Find(want.ID); !ok || at != row || s.Seek(want.ID) != row {
			return fmt.Errorf("row %d: found at %d, %v", row, at, ok)
		}
		for _, v := range want.Vectors {
			if vs, ok := s.Vectors(v.Name); ok && vs.Has(row) {
				count[v.Name]++
			}
		}
	}
	for _, v := range spec.Vectors {
		if vs, ok := s.Vectors(v.Name); ok != (count[v.Name] > 0) || vs.Len != count[v.Name] || ok && vs.VectorSchema != v {
			return fmt.Errorf("vectors %q: %v, %d of %d rows", v.Name, ok, vs.Len, count[v.Name])
		}
	}
	if got := s.Stages(); !slices.Equal(got.Earlier, spec.Earlier) || len(spec.Earlier) == 0 && got.Of != nil {
		return fmt.Errorf("stages %v", got.Earlier)
	}
	if d := s.Description(); s.Rows() != len(ps) || d.Rows != len(ps) || d.Digest != digest || d.Part != spec.Part {
		return fmt.Errorf("description %+v", d)
	}
	return nil
}

func contents(t testing.TB, fsys vfs.FS) map[string]string {
	t.Helper()
	names, err := fsys.List(dir)
	ok(t, err)
	out := map[string]string{}
	for _, n := range names {
		b, err := vfs.ReadFile(fsys, filepath.Join(dir, n))
		ok(t, err)
		out[n] = string(b)
	}
	return out
}

func fileNames(d Description) (names []string) {
	for _, f := range d.Files {
		names = append(names, f.FileName())
	}
	return names
}

// TestRoundTrip: what is read is what was written, byte for byte in stored form, and
// equal points make equal files.
func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		spec := rapid.SampledFrom([]Spec{schema(), staged()}).Draw(rt, "spec")
		ps := genPoints(rt)
		disk, other := folder(t), folder(t)
		d, err := write(disk, spec, ps)
		ok(t, err)
		again, err := write(other, spec, ps)
		ok(t, err)
		if !reflect.DeepEqual(d, again) || !reflect.DeepEqual(contents(t, disk), contents(t, other)) {
			rt.Fatalf("%+v and %+v of the same points", d, again)
		}
		back, err := DecodeDescription(d.AppendBinary(nil))
		ok(t, err)
		place := func(Kind, string) Placement { return Placement(rapid.IntRange(0, 2).Draw(rt, "placement")) }
		s, err := Open(disk, dir, spec, back, place)
		ok(t, err)
		if err := same(s, spec, ps); err != nil {
			rt.Fatal(err)
		}
		ok(t, s.Close())
	})
}
