package quant

import (
	"bytes"
	"encoding/binary"
	"errors"
	"flag"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pandodb/pando/services/dataplane/internal/query"
)

var update = flag.Bool("update", false, "write golden files of kinds that have none")

// small are the codes of a golden file.
func small(t testing.TB, d query.Distance, q query.Quantization) *Codes {
	t.Helper()
	v := Vectors{Dim: 5, Stride: 5}
	for i := range 6 * 5 {
		v.Data = append(v.Data, float32(i*i*7%31-12)/4)
	}
	v.Skip = func(row uint32) bool { return row == 2 }
	return build(t, v, d, q, 1)
}

// TestGolden: format 1 is read for ever, and a build gives it byte by byte on
// every machine.
func TestGolden(t *testing.T) {
	each(t, func(t *testing.T, d query.Distance, q query.Quantization) {
		_, name, _ := strings.Cut(t.Name(), "/")
		name = filepath.Join("testdata", name+".v1.golden")
		built := encoded(t, small(t, d, q))
		want, err := os.ReadFile(name)
		if *update && errors.Is(err, os.ErrNotExist) {
			want, err = built, os.WriteFile(name, built, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(built, want) {
			t.Error("a new build has other bytes")
		}
		c, err := Open(want)
		if err != nil {
			t.Fatal(err)
		}
		if err := Verify(want); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(encoded(t, c), want) {
			t.Error("what was opened encodes differently")
		}
		vec := []float32{1, -2, 0.5, 0, 3}
		var s Scratch
		raws, again := make([]float32, 6), make([]float32, 6)
		small(t, d, q).Prepare(vec, &s).Range(0, raws)
		c.Prepare(vec, &s).Range(0, again)
		for i := range raws {
			if raws[i] != again[i] {
				t.Errorf("row %d: built %v, opened %v", i, raws[i], again[i])
			}
		}
	})
}

// TestDamage: no flipped bit and no missing or added byte is overlooked, and one
// in the rows breaks nothing.
func TestDamage(t *testing.T) {
	each(t, func(t *testing.T, d query.Distance, q query.Quantization) {
		b := encoded(t, small(t, d, q))
		var s Scratch
		for i := range b {
			if len(b) > 20000 && i%97 != 0 {
				continue // tables are much alike
			}
			for bit := range 8 {
				b[i] ^= 1 << bit
				if err := Verify(b); !errors.Is(err, ErrCorrupt) {
					t.Fatalf("bit %d of byte %d: %v", bit, i, err)
				}
				if c, err := Open(b); err == nil {
					c.Prepare(make([]float32, 5), &s).Range(0, make([]float32, 6))
				}
				b[i] ^= 1 << bit
			}
			if _, err := Open(b[:i]); !errors.Is(err, ErrCorrupt) {
				t.Fatalf("%d bytes: %v", i, err)
			}
		}
		if _, err := Open(append(b, 0)); !errors.Is(err, ErrCorrupt) {
			t.Errorf("one byte more: %v", err)
		}
	})
}

// FuzzOpen: whatever is opened can be asked and has one form. Checksums are made
// to match, so that what they hide is reached.
func FuzzOpen(f *testing.F) {
	for _, q := range kinds() {
		for _, d := range distances {
			f.Add(encoded(f, small(f, d, q)))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		seal(b)
		c, err := Open(b)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatal(err)
			}
			return
		}
		if !bytes.Equal(encoded(t, c), b) {
			t.Fatal("opened and encoded, the bytes differ")
		}
		if c.Rows() > 1000 {
			return
		}
		var s Scratch
		p := c.Prepare(make([]float32, c.Dim()), &s)
		p.Range(0, make([]float32, c.Rows()))
		if c.Rows() > 0 {
			p.Gather([]uint32{uint32(c.Rows() - 1)}, make([]float32, 1))
			p.Deviations([]uint32{0}, make([]float32, 1))
		}
	})
}

// seal makes the checksums of b match, as far as it looks like codes.
func seal(b []byte) {
	if len(b) < fixed {
		return
	}
	at := padded(fixed+4*int(binary.LittleEndian.Uint32(b[48:])), align)
	if at > len(b) {
		return
	}
	for _, c := range []struct{ at, from, to int }{{52, at, len(b)}, {56, fixed, at}, {60, 0, 60}} {
		binary.LittleEndian.PutUint32(b[c.at:], crc32.Checksum(b[c.from:c.to], castagnoli()))
	}
}
