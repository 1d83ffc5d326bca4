package npy

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

func file(version byte, header string, body ...byte) []byte {
	var b bytes.Buffer
	b.WriteString("\x93NUMPY")
	b.Write([]byte{version, 0})
	if version == 1 {
		b.Write(binary.LittleEndian.AppendUint16(nil, uint16(len(header))))
	} else {
		b.Write(binary.LittleEndian.AppendUint32(nil, uint32(len(header))))
	}
	b.WriteString(header)
	b.Write(body)
	return b.Bytes()
}

func header(descr, shape string) string {
	return "{'descr': '" + descr + "', 'fortran_order': False, 'shape': " + shape + ", }   \n"
}

func TestKinds(t *testing.T) {
	f8 := binary.LittleEndian.AppendUint64(nil, math.Float64bits(-2.5))
	for descr, tc := range map[string]struct {
		body []byte
		want []float32
	}{
		"<f2": {[]byte{0x00, 0x3c, 0x00, 0xc0}, []float32{1, -2}},
		"<f4": {[]byte{0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0}, []float32{1, -2}},
		"<f8": {append(f8, f8...), []float32{-2.5, -2.5}},
		"|u1": {[]byte{1, 255}, []float32{1, 255}},
		"|i1": {[]byte{1, 255}, []float32{1, -1}},
		"<i4": {[]byte{1, 0, 0, 0, 0xfe, 0xff, 0xff, 0xff}, []float32{1, -2}},
		"<i8": {[]byte{1, 0, 0, 0, 0, 0, 0, 0, 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, []float32{1, -2}},
	} {
		for version := byte(1); version <= 3; version++ {
			r, err := NewReader(bytes.NewReader(file(version, header(descr, "(1, 2)"), tc.body...)))
			if err != nil {
				t.Fatalf("%s: %v", descr, err)
			}
			row, err := r.Next(nil)
			if err != nil || !slices.Equal(row, tc.want) || r.Rows != 1 || r.Cols != 2 {
				t.Errorf("%s version %d: %v %v", descr, version, row, err)
			}
			if _, err := r.Next(row); err != io.EOF {
				t.Errorf("%s: after the last row: %v", descr, err)
			}
		}
	}
}

func TestVectorAndInts(t *testing.T) {
	r, err := NewReader(bytes.NewReader(file(1, header("<i4", "(2,)"), 7, 0, 0, 0, 8, 0, 0, 0)))
	if err != nil || r.Rows != 2 || r.Cols != 1 {
		t.Fatalf("%v %+v", err, r)
	}
	for _, want := range []int64{7, 8} {
		if got, err := r.NextInts(nil); err != nil || len(got) != 1 || got[0] != want {
			t.Errorf("%v %v", got, err)
		}
	}
}

func TestHalf(t *testing.T) {
	for h, want := range map[uint16]float64{
		0x0000: 0, 0x0001: math.Ldexp(1, -24), 0x03ff: math.Ldexp(1023, -24), 0x0400: math.Ldexp(1, -14), 0x3555: 0.333251953125,
		0x7bff: 65504, 0xfbff: -65504, 0x7c00: math.Inf(1), 0xfc00: math.Inf(-1), 0x8001: -math.Ldexp(1, -24),
	} {
		if got := half(h); got != want {
			t.Errorf("%#04x: %v, want %v", h, got, want)
		}
	}
	if !math.IsNaN(half(0x7e00)) {
		t.Error("0x7e00 is not a number")
	}
}

func TestRefused(t *testing.T) {
	for name, tc := range map[string]struct {
		b    []byte
		says string
	}{
		"empty":       {nil, "magic"},
		"other file":  {[]byte("PK\x03\x04 something else"), "magic"},
		"version":     {file(9, header("<f4", "(1, 1)")), "version 9"},
		"big endian":  {file(1, header(">f4", "(1, 1)")), `'descr' is ">f4"`},
		"no type":     {file(1, "{'fortran_order': False, 'shape': (1, 1), }"), "'descr' is missing"},
		"fortran":     {file(1, "{'descr': '<f4', 'fortran_order': True, 'shape': (1, 1), }"), "'fortran_order' must be False"},
		"complex":     {file(1, header("<c8", "(1, 1)")), `'descr' is "<c8"`},
		"width":       {file(1, header("<f1", "(1, 1)")), `'descr' is "<f1"`},
		"three dims":  {file(1, header("<f4", "(1, 1, 1)")), "'shape' has 3 dimensions"},
		"no dims":     {file(1, header("<f4", "()")), "'shape' has 0 dimensions"},
		"no shape":    {file(1, header("<f4", "None")), "'shape' must be"},
		"huge row":    {file(1, header("<f4", "(1, 99999999999)")), "'shape' has rows of 99999999999 values"},
		"huge number": {file(1, header("<f4", "(1, 99999999999999999999999999)")), "'shape' is (1, 9"},
		"cut header":  {file(1, header("<f4", "(1, 1)"))[:30], "cut off"},
	} {
		if _, err := NewReader(bytes.NewReader(tc.b)); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: %v, want %q", name, err, tc.says)
		}
	}
	r, err := NewReader(bytes.NewReader(file(1, header("<f4", "(2, 1)"), 0, 0, 0, 0, 1)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Next(nil); err != nil {
		t.Fatal(err)
	}
	end := fmt.Sprintf("row 1 of 2, byte %d", 10+len(header("<f4", "(2, 1)"))+5)
	if _, err := r.Next(nil); !errors.Is(err, ErrFormat) || !errors.Is(err, io.ErrUnexpectedEOF) || !strings.Contains(err.Error(), end) {
		t.Errorf("cut off in the second row: %v, want %s", err, end)
	}
}

// TestEnd: what is behind the last row is looked at, for a compressed file is known to be whole only there.
func TestEnd(t *testing.T) {
	broken := errors.New("checksum")
	head := header("<f4", "(1, 1)")
	for says, rest := range map[string]io.Reader{
		fmt.Sprintf("more at byte %d, behind the last of 1 rows", 10+len(head)+4): strings.NewReader("x"),
		"behind the last of 1 rows: checksum":                                     iotest.ErrReader(broken),
	} {
		r, err := NewReader(io.MultiReader(bytes.NewReader(file(1, head, 0, 0, 0, 0)), rest))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.Next(nil); err != nil {
			t.Error(err)
		}
		if _, err := r.Next(nil); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, want %q", err, says)
		}
	}
}

func FuzzReader(f *testing.F) {
	f.Add(file(1, header("<f2", "(2, 2)"), 0, 1, 2, 3, 4, 5, 6, 7))
	f.Add(file(2, header("|u1", "(3,)"), 1, 2))
	f.Add([]byte("\x93NUMPY\x02\x00\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := NewReader(bytes.NewReader(b))
		if err != nil {
			return
		}
		var row []float32
		for n := 0; n <= len(b); n++ { // rows of no bytes can be many
			if row, err = r.Next(row); err != nil {
				return
			}
			if len(row) != r.Cols {
				t.Fatalf("%d values in a row of %d", len(row), r.Cols)
			}
		}
	})
}
