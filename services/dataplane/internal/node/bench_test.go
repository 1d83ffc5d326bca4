package node

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/pandodb/pando/services/dataplane/internal/replica"
	"github.com/pandodb/pando/services/internal/vfs"
	"golang.org/x/sync/errgroup"
)

// BenchmarkDurableUpsert writes one point per operation to one shard on the real
// disk, wait=true, from a number of clients at once.
func BenchmarkDurableUpsert(b *testing.B) {
	for _, clients := range []int{1, 8, 64} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			h, err := tryEnter(b, vfs.OS(), b.TempDir(), 0, replica.Limits{})
			if err != nil {
				b.Fatal(err)
			}
			h.birth(1, shard0)
			var next atomic.Int64
			var g errgroup.Group
			b.ReportAllocs()
			b.ResetTimer()
			for range clients {
				g.Go(func() error {
					for n := next.Add(1); n <= int64(b.N); n = next.Add(1) {
						if _, err := h.write(shard0, upsert(uint64(n), 1)); err != nil {
							return err
						}
					}
					return nil
				})
			}
			if err := g.Wait(); err != nil {
				b.Fatal(err)
			}
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "ops/s")
			h.leave()
		})
	}
}
