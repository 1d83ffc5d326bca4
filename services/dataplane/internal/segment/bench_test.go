package segment

import (
	"context"
	"fmt"
	"iter"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/pandodb/pando/services/dataplane/internal/point"
	"github.com/pandodb/pando/services/dataplane/internal/query"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/vfs"
)

const benchSize = 128

func benchSpec() Spec {
	return Spec{Part: 1, Vectors: []query.VectorSchema{{Size: benchSize}}}
}

// flow makes n points with vectors and payloads. A point is good until the next.
func flow(n int, id func(i int) topology.PointID) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		rng := rand.New(rand.NewPCG(1, 2))
		data := make([]float32, benchSize)
		p := point.Point{Alive: true, Vectors: []point.Vector{{Data: data}}}
		for i := range n {
			data[i%benchSize] = rng.Float32()
			p.ID, p.Base, p.Payload = id(i), point.Stamp{HLC: 1 << 50, Origin: 9}, numbered(i)
			if !yield(Row{Point: &p}, nil) {
				return
			}
		}
	}
}

func even(i int) topology.PointID { return topology.NumberID(uint64(2 * i)) }

// uuid spreads ids over the whole range, ascending.
func uuid(i int) topology.PointID {
	var b [16]byte
	u := uint64(i)<<40 | uint64(i*7919)&(1<<40-1)
	for k := range 8 {
		b[k] = byte(u >> (56 - 8*k))
	}
	return topology.UUIDID(b)
}

func benchFolder(b *testing.B) string {
	path := filepath.Join(b.TempDir(), dir)
	ok(b, vfs.OS().MkdirAll(path, 0o750))
	return path
}

func size(d Description) (n int64) {
	for _, f := range d.Files {
		n += f.Size
	}
	return n
}

// BenchmarkWrite writes 100,000 points to a real disk, syncs included.
func BenchmarkWrite(b *testing.B) {
	const n = 100_000
	path := benchFolder(b)
	for b.Loop() {
		d, err := Write(context.Background(), vfs.OS(), path, benchSpec(), n, flow(n, even))
		ok(b, err)
		b.SetBytes(size(d))
	}
}

// BenchmarkOpen opens files that are in the page cache.
func BenchmarkOpen(b *testing.B) {
	for _, n := range []int{100_000, 1_000_000} {
		path := benchFolder(b)
		d, err := Write(context.Background(), vfs.OS(), path, benchSpec(), n, flow(n, even))
		ok(b, err)
		for p, name := range []string{"cold", "cached", "pinned"} {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				b.SetBytes(size(d))
				for b.Loop() {
					s, err := Open(vfs.OS(), path, benchSpec(), d, func(Kind, string) Placement { return Placement(p) })
					ok(b, err)
					ok(b, s.Close())
				}
			})
		}
	}
}

// BenchmarkFind looks up random ids among 1,000,000.
func BenchmarkFind(b *testing.B) {
	const n = 1_000_000
	for name, id := range map[string]func(int) topology.PointID{"number": even, "uuid": uuid} {
		path := benchFolder(b)
		d, err := Write(context.Background(), vfs.OS(), path, Spec{}, n, flow(n, id))
		ok(b, err)
		s, err := Open(vfs.OS(), path, Spec{}, d, nil)
		ok(b, err)
		rng := rand.New(rand.NewPCG(3, 4))
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				i := rng.IntN(n)
				if row, ok := s.Find(id(i)); !ok || int(row) != i {
					b.Fatal(i, row)
				}
			}
		})
		ok(b, s.Close())
	}
}
