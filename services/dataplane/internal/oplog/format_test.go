package oplog

import (
	"bytes"
	"encoding/binary"
	"flag"
	"hash/crc32"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/internal/vfs"
	"github.com/pandodb/pando/services/internal/vfs/memfs"
)

var rewriteGolden = flag.Bool("rewrite", false, "write the golden files anew")

const goldenDir = "testdata/v1"

// goldenLog has two sealed segments, of which the first one is truncated away,
// and an active one, after a clean end.
func goldenLog(t testing.TB) (*memfs.FS, []op.Entry) {
	m := memfs.New()
	l := mustOpen(t, m)
	want := append(batch(term(1, 1), 1, 3, 1200), batch(term(2, 1), 4, 3, 1200)...)
	want = append(want, batch(term(2, 2), 7, 3, 45)...)
	for i := range want {
		ok(t, l.Append(want[i:i+1]))
	}
	ok(t, l.TruncateFront(3))
	ok(t, l.Close())
	return m, want[3:]
}

// The files of format 1 are what they were when it was fixed: written so, byte
// for byte, and read.
func TestGolden(t *testing.T) {
	m, want := goldenLog(t)
	if *rewriteGolden {
		ok(t, vfs.OS().MkdirAll(goldenDir, 0o750))
		for _, name := range append(segments(t, m), chainName) {
			data := used(name, readAll(t, m, "log/"+name))
			ok(t, vfs.WriteFileAtomic(vfs.OS(), filepath.Join(goldenDir, name), data))
		}
	}
	names, err := vfs.OS().List(goldenDir)
	ok(t, err)
	old := memfs.New()
	ok(t, old.MkdirAll("log", 0o750))
	for _, name := range names {
		golden := readAll(t, vfs.OS(), filepath.Join(goldenDir, name))
		if got := used(name, readAll(t, m, "log/"+name)); !bytes.Equal(got, golden) {
			t.Errorf("%s differs from what this version writes", name)
		}
		if name != chainName {
			golden = append(golden, make([]byte, 64)...)
		}
		ok(t, vfs.WriteFileAtomic(old, "log/"+name, golden))
	}
	if !slices.Equal(names, append(segments(t, m), chainName)) {
		t.Fatalf("golden files %q", names)
	}
	l := mustOpen(t, old)
	same(t, all(t, l), want)
	history := []TermStart{{Term: term(1, 1), First: 1}, {Term: term(2, 1), First: 4}, {Term: term(2, 2), First: 7}}
	if d := cmp.Diff(history, l.History()); d != "" {
		t.Fatal(d)
	}
	ok(t, l.Verify())
}

// used leaves out the zeros at the end of a segment.
func used(name string, data []byte) []byte {
	if name == chainName {
		return data
	}
	return bytes.TrimRight(data, "\x00")
}

func FuzzDecodeRecord(f *testing.F) {
	for _, size := range []int{0, 1, 8, 100} {
		e := makeEntry(term(1, 2), 3, size)
		f.Add(appendRecord(nil, 7, 72, 72, &e), uint32(7), uint32(72))
	}
	f.Fuzz(func(t *testing.T, data []byte, seed, off uint32) {
		r, err := decodeRecord(data, seed, int64(off))
		if err == nil {
			checkRoundTrip(t, data, seed, off, r)
			return
		}
		if !isBad(err) {
			t.Fatalf("unexpected error %v", err)
		}
		// Give the fuzzer a way past the checksum.
		size, err := peekSize(data)
		if err != nil || size > int64(len(data)) {
			return
		}
		data = bytes.Clone(data[:size])
		binary.LittleEndian.PutUint32(data, crc32.Update(seed^off, crcTable(), data[4:]))
		r, err = decodeRecord(data, seed, int64(off))
		if err != nil {
			t.Fatal(err)
		}
		again := appendRecord(nil, seed, int64(off), r.durable, &r.entry)
		clear(data[recordHead+len(r.entry.Body):]) // padding is whatever the checksum covers
		binary.LittleEndian.PutUint32(data, crc32.Update(seed^off, crcTable(), data[4:]))
		if !bytes.Equal(again, data) {
			t.Fatal("decoding and encoding differ")
		}
	})
}

func checkRoundTrip(t *testing.T, data []byte, seed, off uint32, r record) {
	t.Helper()
	if r.size > int64(len(data)) || r.size%align != 0 {
		t.Fatalf("size %d of %d", r.size, len(data))
	}
	if _, err := decodeRecord(data, seed, int64(off)+8); err == nil {
		t.Fatal("the same bytes pass in another place")
	}
	if _, err := decodeRecord(data, seed+1, int64(off)); err == nil {
		t.Fatal("the same bytes pass in another segment")
	}
}

func FuzzDecodeChain(f *testing.F) {
	m, _ := goldenLog(f)
	c, err := loadChain(m, "log/chain")
	ok(f, err)
	f.Add(c.encode())
	f.Add((&chain{shard: testShard}).encode())
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := decodeChain(data)
		if err == nil && !bytes.Equal(c.encode(), data) {
			t.Fatal("decoding and encoding differ")
		}
	})
}

// A log of random bytes behind a good header is a torn tail or damage, never a
// panic and never an entry.
func FuzzOpenTail(f *testing.F) {
	m := memfs.New()
	l := mustOpen(f, m)
	ok(f, l.Append(batch(term(1, 1), 1, 2, 40)))
	_, err := l.Sync()
	ok(f, err)
	end := l.active().end
	name := "log/" + segments(f, m)[0]
	e := makeEntry(term(1, 1), 3, 40)
	f.Add(appendRecord(nil, l.active().seed, end, end, &e)[1:])
	f.Add(appendRecord(nil, l.active().seed+1, end, end, &e))
	rng := rand.New(rand.NewPCG(1, 1))
	noise := make([]byte, 500)
	for i := range noise {
		noise[i] = byte(rng.Uint32())
	}
	f.Add(noise)
	disk := m.StrictClone()
	f.Fuzz(func(t *testing.T, data []byte) {
		m := disk.StrictClone()
		overwrite(t, m, name, end, data[:min(len(data), minSegmentBytes)])
		l, err := Open(options(m))
		if err != nil {
			isCorrupt(t, err)
			return
		}
		if n := len(all(t, l)); n < 2 {
			t.Fatalf("%d entries", n)
		}
	})
}
