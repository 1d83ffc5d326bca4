package query

import (
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pandodb/pando/services/dataplane/internal/kernel"
	"github.com/pandodb/pando/services/dataplane/internal/op"
	"pgregory.net/rapid"
)

func TestStored(t *testing.T) {
	inf := float32(math.Inf(1))
	half := func(d Distance) VectorSchema { return VectorSchema{Size: 2, Distance: d, Datatype: Float16} }
	for _, c := range []struct {
		name     string
		s        VectorSchema
		in, want op.Vector
		err      error
	}{
		{"dense", VectorSchema{Size: 2, Distance: Dot}, op.Vector{Data: []float32{3, 4}}, op.Vector{Data: []float32{3, 4}}, nil},
		{"cosine", VectorSchema{Size: 2, Distance: Cosine}, op.Vector{Data: []float32{3, 4}}, op.Vector{Data: []float32{0.6, 0.8}}, nil},
		{"zero", VectorSchema{Size: 2, Distance: Cosine}, op.Vector{Data: []float32{0, 0}}, op.Vector{Data: []float32{0, 0}}, nil},
		{"rows", VectorSchema{Size: 2, Distance: Cosine, Kind: Multi}, op.Vector{Data: []float32{3, 4, 0, 9}, Count: 2}, op.Vector{Data: []float32{0.6, 0.8, 0, 1}, Count: 2}, nil},
		{"bytes", VectorSchema{Size: 3, Datatype: Uint8, Distance: Cosine}, op.Vector{Data: []float32{float32(math.Copysign(0, -1)), 7.9, 255}}, op.Vector{Data: []float32{0, 7, 255}}, nil},
		{"more than a byte", VectorSchema{Size: 1, Datatype: Uint8}, op.Vector{Data: []float32{256}}, op.Vector{}, ErrVector},
		{"less than a byte", VectorSchema{Size: 1, Datatype: Uint8}, op.Vector{Data: []float32{-0.1}}, op.Vector{}, ErrVector},
		{"halves", half(Dot), op.Vector{Data: []float32{1 + 0x1p-11, 1 + 0x3p-11}}, op.Vector{Data: []float32{1, 1 + 0x1p-9}}, nil},
		{"halves of length 1", half(Cosine), op.Vector{Data: []float32{3e9, 4e9}}, op.Vector{Data: []float32{round16(0.6), round16(0.8)}}, nil},
		{"more than a half", half(Dot), op.Vector{Data: []float32{1, -65505}}, op.Vector{}, ErrVector},
		{"infinite", half(Dot), op.Vector{Data: []float32{1, inf}}, op.Vector{}, ErrNotFinite},
		{"short", half(Dot), op.Vector{Data: []float32{1}}, op.Vector{}, new(DimensionError)},
		{"short rows", VectorSchema{Size: 2, Kind: Multi}, op.Vector{Data: []float32{1, 2, 3}, Count: 3}, op.Vector{}, new(DimensionError)},
		{"no rows", VectorSchema{Size: 2, Kind: Multi}, op.Vector{}, op.Vector{}, ErrVector},
		{"unequal rows", VectorSchema{Size: 2, Kind: Multi}, op.Vector{Data: []float32{1, 2, 3}, Count: 2}, op.Vector{}, ErrVector},
		{"too many rows", VectorSchema{Size: 1, Kind: Multi}, op.Vector{Data: make([]float32, op.MaxMultiSize+1), Count: op.MaxMultiSize + 1}, op.Vector{}, ErrVector},
		{"rows for one", VectorSchema{Size: 2}, op.Vector{Data: []float32{1, 2}, Count: 1}, op.Vector{}, ErrVector},
		{"sparse for one", VectorSchema{Size: 1}, op.Vector{Data: []float32{1}, Indices: []uint32{1}}, op.Vector{}, ErrVector},
		{"one for sparse", VectorSchema{Kind: Sparse}, op.Vector{Data: []float32{1}}, op.Vector{}, ErrVector},
		{"sparse", VectorSchema{Kind: Sparse, Datatype: Uint8}, op.Vector{Data: []float32{-1, 2.5, 3}, Indices: []uint32{9, math.MaxUint32, 1}},
			op.Vector{Data: []float32{3, -1, 2.5}, Indices: []uint32{1, 9, math.MaxUint32}}, nil},
		{"sparse of none", VectorSchema{Kind: Sparse}, op.Vector{Data: []float32{}, Indices: []uint32{}}, op.Vector{Data: []float32{}, Indices: []uint32{}}, nil},
		{"sparse twice", VectorSchema{Kind: Sparse}, op.Vector{Data: []float32{1, 2, 3}, Indices: []uint32{9, 2, 9}}, op.Vector{}, ErrVector},
		{"sparse sizes", VectorSchema{Kind: Sparse}, op.Vector{Data: []float32{1}, Indices: []uint32{9, 2}}, op.Vector{}, ErrVector},
		{"sparse too long", VectorSchema{Kind: Sparse}, op.Vector{Data: make([]float32, op.MaxSparseSize+1), Indices: make([]uint32, op.MaxSparseSize+1)}, op.Vector{}, ErrVector},
		{"sparse infinite", VectorSchema{Kind: Sparse}, op.Vector{Data: []float32{inf}, Indices: []uint32{9}}, op.Vector{}, ErrNotFinite},
	} {
		before := op.Vector{Data: slices.Clone(c.in.Data), Indices: slices.Clone(c.in.Indices)}
		got, err := c.s.Stored(c.in)
		var dim *DimensionError
		switch {
		case errors.As(c.err, &dim):
			if !errors.As(err, &dim) || dim.Want != c.s.Size || dim.Got != 1 {
				t.Errorf("%s: %v", c.name, err)
			}
		case !errors.Is(err, c.err):
			t.Errorf("%s: %v", c.name, err)
		case err == nil && !cmp.Equal(got, c.want):
			t.Errorf("%s: %+v", c.name, got)
		}
		if !slices.Equal(c.in.Data, before.Data) || !slices.Equal(c.in.Indices, before.Indices) {
			t.Errorf("%s: changed what it was given", c.name)
		}
		if err == nil { // what is stored is stored form
			if again, err := c.s.Stored(got); err != nil || c.s.Datatype != Float16 && !cmp.Equal(again, got) {
				t.Errorf("%s: stored again %+v, %v", c.name, again, err)
			}
		}
	}
}

// round16 rounds one element.
func round16(x float32) float32 {
	data := []float32{x}
	if err := Float16.round(data); err != nil {
		panic(err)
	}
	return data[0]
}

// TestRound16: each float16 stays, and others go to the nearest one.
func TestRound16(t *testing.T) {
	all := make([]float32, 0, 1<<16)
	var one [1]float32
	for h := range uint16(0x7C00) {
		kernel.Widen(one[:], []uint16{h})
		all = append(all, one[0])
		for _, x := range []float32{one[0], -one[0]} {
			if got := round16(x); math.Float32bits(got) != math.Float32bits(x) {
				t.Fatalf("%v became %v", x, got)
			}
		}
	}
	if all[len(all)-1] != MaxFloat16 {
		t.Fatalf("the greatest is %v", all[len(all)-1])
	}
	rapid.Check(t, func(t *rapid.T) {
		x := rapid.Float32Range(0, MaxFloat16).Draw(t, "x")
		if rapid.Bool().Draw(t, "small") {
			x *= 0x1p-20
		}
		at, found := slices.BinarySearch(all, x)
		want := all[min(at, len(all)-1)]
		if !found && at > 0 {
			lo, hi := float64(x)-float64(all[at-1]), float64(want)-float64(x)
			if lo < hi || lo == hi && (at-1)%2 == 0 {
				want = all[at-1]
			}
		}
		if got := round16(x); got != want || round16(-x) != -want {
			t.Fatalf("%v became %v, want %v", x, got, want)
		}
	})
}

// FuzzStored: what is stored fits into an entry, comes back as it is and stays so.
func FuzzStored(f *testing.F) {
	f.Add(uint8(0), uint8(2), uint8(1), []byte{0, 0, 0x80, 0x3F, 0, 0, 0, 0x40}, []byte{})
	f.Add(uint8(Multi), uint8(1), uint8(4), []byte{0, 0, 0x80, 0x3F, 0, 0, 0, 0x40}, []byte{})
	f.Add(uint8(Sparse), uint8(0), uint8(0), []byte{0, 0, 0x80, 0x3F, 0, 0, 0, 0x40}, []byte{9, 0, 0, 0, 3, 0, 0, 0})
	f.Fuzz(func(t *testing.T, kind, size, form uint8, data, indices []byte) {
		s := VectorSchema{Kind: VectorKind(kind % 3), Size: int(size%8) + 1, Datatype: Datatype(form % 3), Distance: Distance(form/3%4) + 1}
		v := op.Vector{Name: "v", Data: []float32{}}
		for b := range slices.Chunk(data[:len(data)&^3], 4) {
			v.Data = append(v.Data, math.Float32frombits(binary.LittleEndian.Uint32(b)))
		}
		switch s.Kind {
		case Sparse:
			v.Indices = []uint32{}
			for b := range slices.Chunk(indices[:len(indices)&^3], 4) {
				v.Indices = append(v.Indices, binary.LittleEndian.Uint32(b))
			}
		case Multi:
			v.Count = len(v.Data) / s.Size
		}
		got, err := s.Stored(v)
		if err != nil {
			return
		}
		o := op.Op{Kind: op.UpdateVectors, Points: []op.Point{{Vectors: []op.Vector{got}}}}
		back, err := op.Decode(o.Append(nil))
		if err != nil || !cmp.Equal(back.Points[0].Vectors[0], got) {
			t.Fatalf("%+v: %+v came back as %+v, %v", s, got, back, err)
		}
		if again, err := s.Stored(got); err != nil || !(s.Datatype == Float16 && s.Distance == Cosine) && !cmp.Equal(again, got) {
			t.Fatalf("%+v: %+v is stored again as %+v, %v", s, got, again, err)
		}
	})
}
