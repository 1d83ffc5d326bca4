package hnsw

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pandodb/pando/services/dataplane/internal/index"
	"github.com/pandodb/pando/services/dataplane/internal/query"
)

func hit(d query.Distance, truth []float32, hits []index.Hit) float64 {
	w := truth[9]
	n := 0
	for _, h := range hits {
		s := h.Score
		if d == query.Cosine {
			s = 1 - s
		}
		if s <= w+1e-6*max(1, w) {
			n++
		}
	}
	return float64(min(n, 10)) / 10
}

func cpu() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano())
}

func compared(x *Index) int {
	s := x.walkers.Get().(*searcher)
	defer x.walkers.Put(s)
	return s.compared
}


func cached(t *testing.T, d *dataset) *Index {
	name := "/tmp/pando/graph-" + d.name
	if b, err := os.ReadFile(name); err == nil {
		g, err := Decode(b)
		if err != nil {
			t.Fatal(err)
		}
		x, err := Open(d.v, g, nil)
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	at := cpu()
	x := build(t, d.v, Params{16, 128}, BuildOptions{Threads: 2, Seed: 1})
	fmt.Println("build cpu", cpu()-at)
	b := x.g.Append(nil)
	if err := os.WriteFile(name, b, 0o644); err != nil {
		t.Fatal(err)
	}
	return x
}


var mode int

func TestModes(t *testing.T) {
	for _, s := range strings.Split(os.Getenv("SET"), ",") {
		d := load(t, os.Getenv("PANDO_DATA")+"/"+s)
		x := cached(t, d)
		best := map[int]time.Duration{}
		for range 5 {
			for mode = range 4 {
				at := cpu()
				for _, q := range d.queries {
					x.Search(t.Context(), &Query{Query: index.Query{Vector: q, K: 10}, Ef: 128}, nil)
				}
				if el := cpu() - at; best[mode] == 0 || el < best[mode] {
					best[mode] = el
				}
			}
		}
		for m := range 4 {
			fmt.Printf("%s mode %d qps %.0f\n", s, m, float64(len(d.queries))/best[m].Seconds())
		}
	}
}

func TestFilters(t *testing.T) {
	for _, s := range strings.Split(os.Getenv("SET"), ",") {
		d := load(t, os.Getenv("PANDO_DATA")+"/"+s)
		x := cached(t, d)
		for _, f := range d.filters {
			for _, ef := range []int{0, 128, 256, 512, 1024} {
				var r float64
				var el time.Duration
				cmp0 := compared(x)
				for i := range f.truth {
					q := Query{Query: index.Query{Vector: d.queries[i], K: 10, Rows: f.rows(i)}, ScanBelow: 1, Ef: ef}
					if ef == 0 {
						q.ScanBelow = 1 << 30
					}
					at := cpu()
					hits, _ := x.Search(t.Context(), &q, nil)
					el += cpu() - at
					r += hit(d.v.Distance, f.truth[i], hits)
				}
				fmt.Printf("  %s (%d) ef %d: recall %.4f %v each, compared %d\n", f.name, len(f.rows(0)), ef, r/float64(len(f.truth)), el/time.Duration(len(f.truth)), (compared(x)-cmp0)/len(f.truth))
			}
		}
	}
}
