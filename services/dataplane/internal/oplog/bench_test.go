package oplog

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/vfs"
)

func benchOptions(b *testing.B) Options {
	return Options{FS: vfs.OS(), Dir: b.TempDir() + "/log", Shard: testShard}
}

// BenchmarkAppendSync is one committer: append a batch of 1 KiB entries, sync.
func BenchmarkAppendSync(b *testing.B) {
	for _, n := range []int{1, 8, 64} {
		b.Run(fmt.Sprintf("batch=%d", n), func(b *testing.B) {
			l, err := Open(benchOptions(b))
			ok(b, err)
			entries := batch(term(1, 1), 1, n, 1024)
			b.SetBytes(int64(n) * 1024)
			b.ReportAllocs()
			for b.Loop() {
				ok(b, l.Append(entries))
				_, err := l.Sync()
				ok(b, err)
				for i := range entries {
					entries[i].Seq += topology.Seq(n)
				}
			}
			b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "entries/s")
			ok(b, l.Close())
		})
	}
}

// BenchmarkAppend leaves the sync away: what the log itself costs.
func BenchmarkAppend(b *testing.B) {
	for _, n := range []int{1, 8, 64} {
		b.Run(fmt.Sprintf("batch=%d", n), func(b *testing.B) {
			l, err := Open(benchOptions(b))
			ok(b, err)
			entries := batch(term(1, 1), 1, n, 1024)
			b.SetBytes(int64(n) * 1024)
			b.ReportAllocs()
			for b.Loop() {
				ok(b, l.Append(entries))
				for i := range entries {
					entries[i].Seq += topology.Seq(n)
				}
				if l.Size() > 256<<20 {
					b.StopTimer()
					ok(b, l.Reset(Position{Term: entries[0].Term, Seq: entries[0].Seq - 1}, nil))
					b.StartTimer()
				}
			}
			ok(b, l.Close())
		})
	}
}

// BenchmarkReader streams a log of 64 MiB; BenchmarkOpen finds its end.
func BenchmarkReader(b *testing.B) {
	l, err := Open(benchOptions(b))
	ok(b, err)
	seq := topology.Seq(1)
	for l.Size() < 60<<20 {
		ok(b, l.Append(batch(term(1, 1), seq, 64, 1024)))
		seq += 64
	}
	b.SetBytes(l.Size())
	b.ReportAllocs()
	for b.Loop() {
		for r := l.Reader(1); ; {
			_, err := r.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			ok(b, err)
		}
	}
	ok(b, l.Close())
}

func BenchmarkOpen(b *testing.B) {
	for _, fill := range []int64{0, 30 << 20} {
		b.Run(fmt.Sprintf("MiB=%d", fill>>20), func(b *testing.B) {
			o := benchOptions(b)
			l, err := Open(o)
			ok(b, err)
			for seq := topology.Seq(1); l.Size() < fill; seq += 8 {
				ok(b, l.Append(batch(term(1, 1), seq, 8, 1024)))
			}
			ok(b, l.Close())
			for b.Loop() {
				l, err := Open(o)
				ok(b, err)
				ok(b, l.Close())
			}
		})
	}
}

func BenchmarkEncode(b *testing.B) {
	e := makeEntry(term(1, 1), 1, 1024)
	buf := make([]byte, 0, 2048)
	b.ReportAllocs()
	b.SetBytes(1024)
	for b.Loop() {
		buf = appendRecord(buf[:0], 1, 72, 72, &e)
		r, err := decodeRecord(buf, 1, 72)
		ok(b, err)
		if len(r.entry.Body) != len(e.Body) {
			b.Fatal("body")
		}
	}
}

// A steady append allocates nothing but the index of the segment.
func TestAppendAllocations(t *testing.T) {
	o := Options{FS: vfs.OS(), Dir: t.TempDir() + "/log", Shard: testShard}
	l, err := Open(o)
	ok(t, err)
	entries := batch(term(1, 1), 1, 8, 100)
	ok(t, l.Append(entries))
	perAppend := testing.AllocsPerRun(500, func() {
		for i := range entries {
			entries[i].Seq += 8
		}
		if err := l.Append(entries); err != nil {
			t.Error(err)
		}
	})
	if perAppend > 0 {
		t.Fatalf("%.0f allocations for each append", perAppend)
	}
	ok(t, l.Close())
}
