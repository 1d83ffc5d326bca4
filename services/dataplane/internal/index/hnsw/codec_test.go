package hnsw

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"os"
	"runtime"
	"testing"

	"pgregory.net/rapid"

	"github.com/pandodb/pando/services/dataplane/internal/index"
	"github.com/pandodb/pando/services/dataplane/internal/query"
)

const golden = "testdata/v1.golden"

// small is the graph of the golden file: 40 points on a line, 28 of which are a group.
func small(t testing.TB) *Graph {
	t.Helper()
	v := Vectors{Dim: 1, Stride: 1, Distance: query.Euclid}
	for r := range 40 {
		v.Float32 = append(v.Float32, float32(r*17%40))
	}
	var group []uint32
	for r := range uint32(28) {
		group = append(group, r)
	}
	g, err := Build(context.Background(), v, Params{M: 3, EfConstruct: 8, PayloadM: 2}, BuildOptions{Threads: 1, Seed: 7, Groups: [][]uint32{group}})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// TestGolden: format 1 is read for ever, and a build gives it byte by byte on
// every machine.
func TestGolden(t *testing.T) {
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	g, err := Decode(want)
	if err != nil {
		t.Fatal(err)
	}
	check(t, g, nil)
	if len(g.layers) < 3 || len(g.extra.links) < 10 || g.Params() != (Params{M: 3, EfConstruct: 8, PayloadM: 2}) || g.Rows() != 40 {
		t.Errorf("%d layers, %d extra links, %+v, %d rows", len(g.layers), len(g.extra.links), g.Params(), g.Rows())
	}
	if !bytes.Equal(g.Append(nil), want) {
		t.Error("what was decoded encodes differently")
	}
	if !bytes.Equal(small(t).Append(nil), want) {
		t.Error("a new build has other bytes")
	}
}

func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(0, 200).Draw(rt, "rows")
		v := random(rapid.Uint64().Draw(rt, "seed"), n, 4, 2, 0.1, query.Cosine)
		g, err := Build(context.Background(), v, Params{M: rapid.SampledFrom([]int{0, 2, 5}).Draw(rt, "m"), EfConstruct: 10}, BuildOptions{Threads: 2})
		if err != nil {
			rt.Fatal(err)
		}
		b := g.Append([]byte("before"))[6:]
		again, err := Decode(b)
		if err != nil {
			rt.Fatal(err)
		}
		if !bytes.Equal(again.Append(nil), b) {
			rt.Fatal("the bytes differ")
		}
		for shift := range 2 { // copied, and as they are
			seen, err := View(append(make([]byte, shift, shift+len(b)), b...)[shift:])
			if err != nil || !bytes.Equal(seen.Append(nil), b) {
				rt.Fatalf("viewed, the bytes differ: %v", err)
			}
		}
	})
}

// TestDamage: no flipped bit and no missing or added byte is overlooked.
func TestDamage(t *testing.T) {
	b := small(t).Append(nil)
	for i := range b {
		for bit := range 8 {
			b[i] ^= 1 << bit
			if _, err := View(b); !errors.Is(err, ErrCorrupt) {
				t.Fatalf("bit %d of byte %d: %v", bit, i, err)
			}
			b[i] ^= 1 << bit
		}
		if _, err := Decode(b[:i]); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("%d bytes: %v", i, err)
		}
	}
	if _, err := Decode(append(b, 0)); !errors.Is(err, ErrCorrupt) {
		t.Errorf("one byte more: %v", err)
	}
}

// TestRowsWithoutBytes: a graph without layers may say that it has any number of rows; it
// takes no memory for them.
func TestRowsWithoutBytes(t *testing.T) {
	g, err := Build(t.Context(), random(1, 0, 2, 1, 0, query.Dot), Params{EfConstruct: 4}, BuildOptions{})
	if err != nil {
		t.Fatal(err)
	}
	b := g.Append(nil)
	binary.LittleEndian.PutUint32(b[16:], index.MaxRow)
	seal(b)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	g, err = Decode(b)
	runtime.ReadMemStats(&after)
	if err != nil || g.Rows() != int(index.MaxRow) {
		t.Fatalf("%v", err)
	}
	if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
		t.Errorf("%d bytes of a graph take %d bytes of memory", len(b), n)
	}
}

// FuzzDecode: whatever is decoded can be searched and has one form. Checksums are
// made to match, so that what they hide is reached.
func FuzzDecode(f *testing.F) {
	f.Add(small(f).Append(nil))
	for _, n := range []int{0, 1, 5} {
		g, err := Build(context.Background(), random(1, n, 2, 1, 0, query.Dot), Params{M: 2, EfConstruct: 4}, BuildOptions{})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(g.Append(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		seal(b)
		g, err := Decode(b)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatal(err)
			}
			return
		}
		if !bytes.Equal(g.Append(nil), b) {
			t.Fatal("decoded and encoded, the bytes differ")
		}
		if g.rows > 1000 || g.dim > 100 || g.params.EfConstruct > 1000 {
			return
		}
		v := Vectors{Float32: make([]float32, g.rows*g.dim), Dim: g.dim, Stride: g.dim, Distance: g.distance}
		x, err := Open(v, g, nil, Options{})
		if err != nil {
			t.Fatal(err)
		}
		for _, accept := range []func(uint32) bool{nil, func(r uint32) bool { return r%2 == 0 }} {
			q := Query{Query: index.Query{Vector: make([]float32, g.dim), K: 3, Accept: accept}, ScanBelow: 1}
			if _, err := x.Search(t.Context(), &q, nil); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// seal makes the checksums of b match, as far as it looks like a graph.
func seal(b []byte) {
	const fixed, perPart = 48, 8 // docs/format/hnsw.md
	padded := func(n int) int { return (n + 63) &^ 63 }
	if len(b) < fixed {
		return
	}
	u32 := func(at int) int { return int(binary.LittleEndian.Uint32(b[at:])) }
	parts, m := u32(36)+1, u32(28)
	if u32(40) > 0 {
		parts += 2
	}
	end := fixed + perPart*parts
	if parts > 100 || m > MaxM || len(b) < end+4 {
		return
	}
	width := func(section, layers int) int {
		switch {
		case section == 0 || section > layers:
			return 1
		case section == 1:
			return 2 * m
		}
		return m
	}
	at := padded(end + 4)
	for i := range parts {
		entry := fixed + perPart*i
		next := padded(at) + 4*width(i, u32(36))*u32(entry)
		if next > len(b) {
			break
		}
		binary.LittleEndian.PutUint32(b[entry+4:], crc32.Checksum(b[padded(at):next], crc32.MakeTable(crc32.Castagnoli)))
		at = next
	}
	binary.LittleEndian.PutUint32(b[end:], crc32.Checksum(b[:end], crc32.MakeTable(crc32.Castagnoli)))
}
