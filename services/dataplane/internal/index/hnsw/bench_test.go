package hnsw

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/pandodb/pando/services/dataplane/internal/index"
	"github.com/pandodb/pando/services/dataplane/internal/index/indextest"
	"github.com/pandodb/pando/services/dataplane/internal/index/mask"
	"github.com/pandodb/pando/services/dataplane/internal/op"
)

// The parameters of all figures.
func figures() Params { return Params{M: 16, EfConstruct: 128} }

// BenchmarkBuild builds over the excerpt, and over the sets in the folder that
// PANDO_DATA names, by one thread and by two. cpu-s/op is the CPU time.
func BenchmarkBuild(b *testing.B) {
	for _, dir := range folders(b) {
		d := load(b, dir)
		for threads := 1; threads <= 2; threads++ {
			b.Run(fmt.Sprintf("%s/threads=%d", d.name, threads), func(b *testing.B) {
				from := cpu()
				for b.Loop() {
					if _, err := Build(context.Background(), d.v, figures(), BuildOptions{Threads: threads, Seed: 1}); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric((cpu()-from).Seconds()/float64(b.N), "cpu-s/op")
			})
		}
	}
}

// graph builds, or reads from the folder that PANDO_GRAPHS names what an earlier
// run has built.
func graph(b testing.TB, d *dataset) *Index {
	b.Helper()
	dir := os.Getenv("PANDO_GRAPHS")
	if dir == "" {
		return build(b, d.v, figures(), BuildOptions{Threads: 2, Seed: 1})
	}
	name := filepath.Join(dir, d.name+".hnsw")
	if _, err := os.Stat(name); err != nil {
		if err := os.WriteFile(name, build(b, d.v, figures(), BuildOptions{Threads: 2, Seed: 1}).g.Append(nil), 0o600); err != nil {
			b.Fatal(err)
		}
	}
	raw, err := os.ReadFile(name)
	if err != nil {
		b.Fatal(err)
	}
	g, err := Decode(raw)
	if err != nil {
		b.Fatal(err)
	}
	x, err := Open(d.v, g, mask.New(g.Rows()), Options{})
	if err != nil {
		b.Fatal(err)
	}
	return x
}

// BenchmarkSearch looks for ten neighbours by one thread: without a filter by ef,
// with recall@10, and through each filter at the default ef beside a scan of the
// rows that pass. cpu-qps is searches in a second of CPU time.
func BenchmarkSearch(b *testing.B) {
	for _, dir := range folders(b) {
		d := load(b, dir)
		x := graph(b, d)
		for _, ef := range []int{10, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768} {
			searches(b, fmt.Sprintf("%s/ef=%d", d.name, ef), x, d.queries, d.truth, func(int) Query { return Query{Ef: ef, ScanBelow: 1} })
		}
		for _, f := range d.filters {
			rows := make([][]uint32, len(f.truth))
			for i := range rows {
				rows[i] = f.rows(i)
			}
			for how, below := range map[string]int{"planned": 0, "walk": 1, "scan": 1 << 30} {
				searches(b, fmt.Sprintf("%s/%s/%s", d.name, f.name, how), x, d.queries, f.truth, func(i int) Query {
					return Query{Query: index.Query{Rows: rows[i]}, ScanBelow: below}
				})
			}
		}
	}
}

func searches(b *testing.B, name string, x *Index, queries, truth [][]float32, make func(i int) Query) {
	b.Run(name, func(b *testing.B) {
		recall := measure(b, x, queries, truth, make)
		var hits []index.Hit
		b.ReportAllocs()
		from, i := cpu(), 0
		for b.Loop() {
			q := make(i % len(truth))
			q.Vector, q.K = queries[i%len(truth)], 10
			var err error
			if hits, err = x.Search(context.Background(), &q, hits[:0]); err != nil {
				b.Fatal(err)
			}
			i++
		}
		b.ReportMetric(float64(b.N)/(cpu()-from).Seconds(), "cpu-qps")
		b.ReportMetric(recall, "recall@10")
	})
}

// BenchmarkRanks looks for ten rows by each kind of ranking, by one thread, at the
// default ef. cpu-qps is searches in a second of CPU time.
func BenchmarkRanks(b *testing.B) {
	for _, dir := range folders(b) {
		d := load(b, dir)
		x := graph(b, d)
		rng := rand.New(rand.NewPCG(2, 2))
		var rounds [][]indextest.Ranking
		for range 20 {
			rounds = append(rounds, indextest.Rankings(b, func() op.Vector { return op.Vector{Data: d.queries[rng.IntN(len(d.queries))]} }))
		}
		for kind, r := range rounds[0] {
			b.Run(d.name+"/"+r.Name, func(b *testing.B) {
				var hits []index.Hit
				b.ReportAllocs()
				from, i := cpu(), 0
				for b.Loop() {
					q := Query{Query: index.Query{Rank: rounds[i%len(rounds)][kind].Rank, K: 10}}
					var err error
					if hits, err = x.Search(context.Background(), &q, hits[:0]); err != nil {
						b.Fatal(err)
					}
					i++
				}
				b.ReportMetric(float64(b.N)/(cpu()-from).Seconds(), "cpu-qps")
			})
		}
	}
}
