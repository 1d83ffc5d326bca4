package fvecs

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"slices"
	"strings"
	"testing"
)

func file(rows ...[]float32) (b []byte) {
	for _, r := range rows {
		b = binary.LittleEndian.AppendUint32(b, uint32(len(r)))
		for _, x := range r {
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
		}
	}
	return b
}

func TestRows(t *testing.T) {
	want := [][]float32{{1, -2.5}, {0, float32(math.Inf(1))}, {3, math.SmallestNonzeroFloat32}}
	b := file(want...)
	r, err := NewReader(bytes.NewReader(b))
	if err != nil || r.Cols != 2 {
		t.Fatalf("%+v %v", r, err)
	}
	if n, err := r.Rows(int64(len(b))); n != 3 || err != nil {
		t.Errorf("%d rows: %v", n, err)
	}
	var row []float32
	for i := range want {
		if row, err = r.Next(row); err != nil || !slices.Equal(row, want[i]) {
			t.Errorf("row %d: %v %v", i, row, err)
		}
	}
	for range 2 {
		if row, err := r.Next(row); err != io.EOF || len(row) != 0 {
			t.Errorf("after the last row: %v %v", row, err)
		}
	}
}

func TestEmpty(t *testing.T) {
	r, err := NewReader(bytes.NewReader(nil))
	if err != nil {
		t.Fatal(err)
	}
	if n, err := r.Rows(0); n != 0 || err != nil {
		t.Errorf("%d rows: %v", n, err)
	}
	if _, err := r.Next(nil); err != io.EOF {
		t.Error(err)
	}
}

// TestRefused: errors name row and byte.
func TestRefused(t *testing.T) {
	two := file([]float32{1, 2}, []float32{3, 4})
	for name, tc := range map[string]struct {
		b    []byte
		says string
	}{
		"cut length":    {two[:3], "it ends at byte 3, in the length of row 0"},
		"no length":     {file(nil), "row 0 at byte 0 has a length of 0"},
		"negative":      {[]byte{0xff, 0xff, 0xff, 0xff}, "row 0 at byte 0 has a length of -1"},
		"huge":          {[]byte("hello"), "row 0 at byte 0 has a length of 1819043176"},
		"cut first row": {two[:9], "it ends at byte 9, in row 0, which began at byte 0 and is of 12 bytes"},
		"cut row":       {two[:20], "it ends at byte 20, in row 1, which began at byte 12 and is of 12 bytes"},
		"cut in length": {two[:14], "it ends at byte 14, in row 1, which began at byte 12"},
		"other length":  {file([]float32{1, 2}, []float32{3, 4, 5}), "row 1 at byte 12 has a length of 3, row 0 has 2"},
		"shorter":       {file([]float32{1, 2}, []float32{3}), "row 1 at byte 12 has a length of 1, row 0 has 2"},
	} {
		r, err := NewReader(bytes.NewReader(tc.b))
		for err == nil {
			_, err = r.Next(nil)
		}
		if !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: %v, want %q", name, err, tc.says)
		}
	}
	r, err := NewReader(bytes.NewReader(two))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Rows(20); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), "byte 12 begins a row") {
		t.Error(err)
	}
}

// FuzzReader: no bytes make it panic, and what it reads to the end writes to the same bytes.
func FuzzReader(f *testing.F) {
	f.Add(file([]float32{1, 2}, []float32{3, 4}))
	f.Add(file([]float32{1}, []float32{3, 4}))
	f.Add([]byte{0xff, 0xff, 0xff, 0})
	f.Add([]byte{1, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := NewReader(bytes.NewReader(b))
		if err != nil {
			return
		}
		var rows [][]float32
		for {
			row, err := r.Next(nil)
			if err == io.EOF {
				break
			}
			if err != nil {
				if !errors.Is(err, ErrFormat) {
					t.Fatal(err)
				}
				return
			}
			rows = append(rows, row)
		}
		if !bytes.Equal(file(rows...), b) {
			t.Fatalf("%d rows are not the %d bytes", len(rows), len(b))
		}
		if n, err := r.Rows(int64(len(b))); n != len(rows) || err != nil {
			t.Fatalf("%d rows, want %d: %v", n, len(rows), err)
		}
	})
}
