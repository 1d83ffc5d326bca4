package sparse

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"github.com/pandodb/pando/services/dataplane/internal/index"
	"github.com/pandodb/pando/services/dataplane/internal/query"
)

const golden = "testdata/v1.golden"

// small are the rows of the golden file.
func small(t query.Datatype) *model {
	m := &model{t, map[uint32]Vector{}}
	for i := range uint32(150) {
		m.rows[i*i/7+i] = Vector{[]uint32{3, 10 + i%5, 1000000 + i%20}, []float32{float32(i) / 8, -1 - float32(i%9)/4, 0.3}}
	}
	m.rows[5] = Vector{}
	return m
}

func encoded(t testing.TB, m *model) []byte {
	t.Helper()
	b := NewBuilder(m.t)
	for row, v := range m.all() {
		if err := b.Add(row, v); err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	if n, err := b.WriteTo(&out); err != nil || n != int64(out.Len()) {
		t.Fatal(n, err)
	}
	return out.Bytes()
}

// TestGolden: format 1 is read for ever, and equal rows give it byte by byte. The
// file holds an index of each datatype, behind its length.
func TestGolden(t *testing.T) {
	b, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	for datatype := query.Float32; datatype <= query.Uint8; datatype++ {
		n := binary.LittleEndian.Uint32(b)
		one := b[4 : 4+n]
		b = b[4+n:]
		m := small(datatype)
		x, err := Open(one)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(encoded(t, m), one) {
			t.Errorf("datatype %d: a new build has other bytes", datatype)
		}
		if x.Datatype() != datatype || x.Len() != len(m.rows) || x.Postings() != 3*uint64(len(m.rows)-1) {
			t.Errorf("datatype %d, %d rows, %d postings", x.Datatype(), x.Len(), x.Postings())
		}
		q := &Query{Indices: []uint32{3, 11, 1000015}, Query: index.Query{Vector: []float32{1, -0.5, 4}, K: 400}}
		if got, want := find(t, x, q), m.search(q); !slices.Equal(got, want) {
			t.Errorf("datatype %d:\n got %v\nwant %v", datatype, got, want)
		}
	}
	if len(b) > 0 {
		t.Errorf("%d bytes are left", len(b))
	}
}

func TestEmpty(t *testing.T) {
	for _, rows := range []map[uint32]Vector{{}, {7: {}}} {
		x, err := Open(encoded(t, &model{rows: rows}))
		if err != nil || x.Len() != len(rows) {
			t.Fatal(err)
		}
		q := &Query{Indices: []uint32{3}, Query: index.Query{Vector: []float32{1}, K: 4}}
		if got := find(t, x, q); len(got) != 0 || x.Frequency(3) != 0 {
			t.Errorf("found %v", got)
		}
	}
}

// TestDamage: no cut and no added byte is overlooked, and no changed byte makes a
// search panic or answer rows that cannot be.
func TestDamage(t *testing.T) {
	whole := encoded(t, small(query.Float16))
	for n := range whole {
		if _, err := Open(whole[:n]); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("%d of %d bytes: %v", n, len(whole), err)
		}
	}
	if _, err := Open(append(slices.Clone(whole), 0)); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a byte more: %v", err)
	}
	refused, rng := 0, rand.New(rand.NewPCG(4, 4))
	for i := range whole {
		b := slices.Clone(whole)
		b[i] ^= 1 << rng.IntN(8)
		if !survives(t, b) {
			refused++
		}
	}
	if refused < header {
		t.Errorf("%d of %d flips were noticed", refused, len(whole))
	}
}

// survives searches what may be an index and tells whether it took all searches.
func survives(t testing.TB, b []byte) bool {
	t.Helper()
	x, err := Open(b)
	if err != nil {
		if !errors.Is(err, ErrCorrupt) {
			t.Fatal(err)
		}
		return false
	}
	fine := true
	v := Vector{Indices: []uint32{0, 3, 10, 11, 12, 13, 14, 1000000, 1000009, 1000019}}
	for i := range min(x.numDims, 50) {
		v.Indices = append(v.Indices, u32(x.dims, i))
	}
	slices.Sort(v.Indices)
	v.Indices = slices.Compact(v.Indices)
	for i := range v.Indices {
		v.Weights = append(v.Weights, []float32{1, -2, 0.5}[i%3])
		x.Frequency(v.Indices[i])
	}
	for _, rows := range [][]uint32{nil, {0, 1, 5, 77}} {
		q := &Query{Indices: v.Indices, Query: index.Query{Vector: v.Weights, K: 5, Rows: rows}}
		hits, err := x.Search(context.Background(), q, nil)
		if err != nil && !errors.Is(err, ErrCorrupt) {
			t.Fatal(err)
		}
		fine = fine && err == nil
		for _, h := range hits {
			if int(h.Row) >= x.Rows() {
				t.Fatalf("row %d of %d", h.Row, x.Rows())
			}
		}
	}
	return fine
}

func FuzzOpen(f *testing.F) {
	for datatype := query.Float32; datatype <= query.Uint8; datatype++ {
		f.Add(encoded(f, small(datatype)))
	}
	f.Add(encoded(f, &model{}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) >= 20 { // rows, so that a search of 2^31 of them does not take its time
			b[18], b[19] = 0, 0
		}
		survives(t, b)
	})
}

// TestRoundTrip: widths of gaps, sizes of last blocks.
func TestRoundTrip(t *testing.T) {
	rng := rand.New(rand.NewPCG(8, 8))
	for i := range 300 {
		m := &model{query.Datatype(i % 3), map[uint32]Vector{}}
		row := uint32(0)
		for range rng.IntN(400) {
			row += 1 + rng.Uint32()>>(12+rng.IntN(20))
			m.rows[row] = Vector{[]uint32{9}, []float32{signed(rng)}}
		}
		x, err := Open(encoded(t, m))
		if err != nil {
			t.Fatal(err)
		}
		from, to := x.find(9)
		v, got := view{x, from, to}, &block{}
		var slots []uint32
		var ws []float32
		for b := range v.blocks() {
			if err := v.load(b, got); err != nil {
				t.Fatal(err)
			}
			slots, ws = append(slots, got.slots[:got.n]...), append(ws, got.weights[:got.n]...)
		}
		n := 0
		for row, want := range m.all() {
			if slots[n] != row || ws[n] != Round(m.t, want.Weights[0]) {
				t.Fatal(fmt.Sprint("posting ", n, " is ", slots[n], ws[n], " not ", row, want))
			}
			n++
		}
		if n != len(slots) {
			t.Fatalf("%d postings, not %d", len(slots), n)
		}
	}
}
