package multi

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"slices"
	"testing"
	"unsafe"

	"github.com/pandodb/pando/services/dataplane/internal/index"
	"github.com/pandodb/pando/services/dataplane/internal/query"
)

const golden = "testdata/v1.golden"

// small are the rows of the golden file.
func small(t query.Datatype) *model {
	m := &model{Space{5, query.Manhattan, t}, map[uint32][]float32{}}
	for i := range 6 {
		for j := range 5 * (1 + i*3) {
			m.rows[uint32(2*i)] = append(m.rows[uint32(2*i)], float32(j*i%9)+float32(i)/4)
		}
	}
	return m
}

// at64 copies bytes to where they would be mapped.
func at64(b []byte) []byte {
	room := make([]byte, len(b)+align)
	from := int(-uintptr(unsafe.Pointer(unsafe.SliceData(room))) % align)
	return append(room[from:from:from+len(b)], b...)
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
		one := at64(b[4 : 4+n])
		b = b[4+n:]
		m := small(datatype)
		x, err := Open(one)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(m.encoded(t), one) {
			t.Errorf("datatype %d: a new build has other bytes", datatype)
		}
		if x.Space() != m.space || x.Rows() != 11 || x.Len() != 6 || x.Vectors() != 6+3*15 {
			t.Errorf("%+v, %d of %d rows, %d vectors", x.Space(), x.Len(), x.Rows(), x.Vectors())
		}
		q := &Query{Query: index.Query{Vector: []float32{1, 2, 3, 4, 5, 6, 5, 4, 3, 2}, K: 9}}
		if got, err := x.Search(t.Context(), q, nil); err != nil || !slices.Equal(got, m.search(q)) {
			t.Errorf("datatype %d: %v, %v", datatype, got, err)
		}
	}
	if len(b) > 0 {
		t.Errorf("%d bytes are left", len(b))
	}
}

// TestDamage: no cut and no added byte is overlooked, nor a changed one before the
// elements that would lead a search astray; none makes one panic.
func TestDamage(t *testing.T) {
	whole := small(query.Float16).encoded(t)
	for n := range whole {
		if _, err := Open(at64(whole[:n])); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("%d of %d bytes: %v", n, len(whole), err)
		}
	}
	if _, err := Open(at64(append(slices.Clone(whole), 0))); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a byte more: %v", err)
	}
	if _, err := Open(at64(append([]byte{0}, whole...))[1:]); !errors.Is(err, ErrAlign) {
		t.Errorf("at an odd address: %v", err)
	}
	for i := range whole {
		for bit := range 8 {
			b := at64(whole)
			b[i] ^= 1 << bit
			survives(t, b)
		}
	}
	empty := &model{small(query.Uint8).space, nil}
	if x, err := Open(empty.encoded(t)); err != nil || x.Len()+x.Rows() != 0 {
		t.Errorf("without rows: %v", err)
	}
}

// survives searches what may be an index.
func survives(t testing.TB, b []byte) {
	t.Helper()
	x, err := Open(b)
	if err != nil {
		if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrAlign) {
			t.Fatal(err)
		}
		return
	}
	if x.space.Dim > 1000 {
		return
	}
	q := &Query{Query: index.Query{Vector: make([]float32, 2*x.space.Dim), K: 3}}
	hits, err := x.Search(t.Context(), q, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range hits {
		if _, n := x.Vector(h.Row, nil); n == 0 {
			t.Fatalf("row %d has no vectors", h.Row)
		}
	}
}

func FuzzOpen(f *testing.F) {
	for datatype := query.Float32; datatype <= query.Uint8; datatype++ {
		f.Add(small(datatype).encoded(f))
	}
	f.Fuzz(func(t *testing.T, b []byte) { survives(t, at64(b)) })
}
