package hnsw

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/pandodb/pando/services/dataplane/internal/index"
	"github.com/pandodb/pando/services/dataplane/internal/index/mask"
	"github.com/pandodb/pando/services/dataplane/internal/kernel"
)

// bytesOf are codes of a byte for each element, all in one range.
type bytesOf struct {
	v     *space
	codes []uint8
	sums  []float32 // inner products: of each row's codes; L2: nothing
	width int       // of a row: a multiple of 64
	low   float32
	step  float32
}

func codesOf(v *space) *bytesOf {
	c := &bytesOf{v: v, width: (v.Dim + 63) &^ 63, sums: make([]float32, v.rows)}
	var all []float32
	for r := 0; r < v.rows; r += 1 + v.rows/2000 {
		all = append(all, v.numbers(uint32(r))...)
	}
	slices.Sort(all)
	c.low = all[len(all)/1000]
	c.step = (all[len(all)-1-len(all)/1000] - c.low) / 255
	c.codes = make([]uint8, v.rows*c.width)
	for r := range v.rows {
		c.encode(v.numbers(uint32(r)), c.codes[r*c.width:])
		for _, x := range c.codes[r*c.width:][:v.Dim] {
			c.sums[r] += float32(x)
		}
	}
	return c
}

func (c *bytesOf) encode(v []float32, dst []uint8) {
	for i, x := range v {
		dst[i] = uint8(min(255, max(0, math.Round(float64((x-c.low)/c.step)))))
	}
}

func (c *bytesOf) Rows() int { return c.v.rows }

func (c *bytesOf) Scorer() Scorer {
	return &byteScorer{c: c, q: make([]uint8, c.v.Dim), unit: make([]float32, c.v.Dim), ints: make([]int64, 4096)}
}

type byteScorer struct {
	c    *bytesOf
	q    []uint8
	unit []float32
	sum  float32
	ints []int64
}

func (s *byteScorer) Prepare(q *index.Query) {
	copy(s.unit, q.Vector)
	if s.c.v.metric.Normalize {
		kernel.Normalize(s.unit)
	}
	s.c.encode(s.unit, s.q)
	s.sum = 0
	for _, x := range s.q {
		s.sum += float32(x)
	}
}

func (s *byteScorer) rows() kernel.Rows[uint8] {
	return kernel.Rows[uint8]{Data: s.c.codes, Stride: s.c.width}
}

func (s *byteScorer) Gather(rows []uint32, raws []float32) {
	s.c.v.metric.Raw.GatherUint8(s.q, s.rows(), rows, s.ints[:len(rows)])
	for i, r := range rows {
		raws[i] = s.raw(s.ints[i], r)
	}
}

func (s *byteScorer) Range(from uint32, raws []float32) {
	rows := s.rows()
	rows.Data = rows.Data[int(from)*rows.Stride:]
	s.c.v.metric.Raw.Uint8(s.q, rows, s.ints[:len(raws)])
	for i := range raws {
		raws[i] = s.raw(s.ints[i], from+uint32(i))
	}
}

func (s *byteScorer) raw(n int64, row uint32) float32 {
	c := s.c
	switch c.v.metric.Raw {
	case kernel.Dot:
		return c.step*c.step*float32(n) + c.step*c.low*(c.sums[row]+s.sum) + float32(c.v.Dim)*c.low*c.low
	case kernel.L2:
		return c.step * c.step * float32(n)
	default:
		return c.step * float32(n)
	}
}

// TestCodes: by codes and with scores by vectors, as much is found as by vectors
// alone, walking, filtered and scanning; without, scores are estimates.
func TestCodes(t *testing.T) {
	for _, dir := range folders(t) {
		d := load(t, dir)
		t.Run(d.name, func(t *testing.T) {
			plain := build(t, d.v, Params{M: 16, EfConstruct: 128}, BuildOptions{Threads: 2, Seed: 1})
			x, err := Open(d.v, plain.g, mask.New(plain.v.rows), Options{Codes: codesOf(&plain.v)})
			if err != nil {
				t.Fatal(err)
			}
			for name, q := range map[string]Query{"walk": {ScanBelow: 1}, "scan": {ScanBelow: 1 << 30},
				"filtered":        {Query: index.Query{Accept: func(r uint32) bool { return r%4 > 0 }}, ScanBelow: 1},
				"bits":            {Bits: bitsOf(plain.v.rows, func(r uint32) bool { return r%4 > 0 }), ScanBelow: 1},
				"scan of bits":    {Bits: bitsOf(plain.v.rows, func(r uint32) bool { return r%4 > 0 }), ScanBelow: 1 << 30},
				"scan of a tenth": {Bits: bitsOf(plain.v.rows, func(r uint32) bool { return r%11 == 0 }), ScanBelow: 1 << 30}} {
				missed := 0
				for _, v := range d.queries[:min(70, len(d.queries))] {
					q.Vector, q.K, q.Rescore = v, 10, true
					hits, err := x.Search(t.Context(), &q, nil)
					if err != nil {
						t.Fatal(err)
					}
					q.IgnoreCodes = true
					want, err := x.Search(t.Context(), &q, nil)
					if err != nil {
						t.Fatal(err)
					}
					q.IgnoreCodes = false
					for i, h := range hits {
						if !slices.Contains(want, h) {
							missed++
						} else if i > 0 && x.v.metric.Sign*h.Score > x.v.metric.Sign*hits[i-1].Score {
							t.Fatalf("hits are out of order: %v", hits)
						}
					}
				}
				if t.Logf("%s: %d of 700 missed", name, missed); missed > 10 {
					t.Errorf("%s: %d of 700 that vectors find are missed", name, missed)
				}
			}
			q := Query{Query: index.Query{Vector: d.queries[0], K: 10}}
			hits, err := x.Search(t.Context(), &q, nil)
			if err != nil || len(hits) != 10 {
				t.Fatalf("%d hits, %v", len(hits), err)
			}
			for _, h := range hits {
				exact, _ := x.v.scored(q.Vector, h.Row)
				real := float32(exact)
				if diff := math.Abs(float64(h.Score - real)); diff > 0.03*max(1, math.Abs(float64(real))) {
					t.Errorf("row %d: the estimate is %v for %v", h.Row, h.Score, real)
				}
			}
			if _, err := Open(random(1, 3, d.v.Dim, 1, 0, d.v.Distance), nil, nil, Options{Codes: x.codes}); !errors.Is(err, ErrMismatch) {
				t.Errorf("codes of other vectors: %v", err)
			}
		})
	}
}

// BenchmarkCodes takes turns at searches by vectors and by codes: recall@10 of both,
// and the median ratio of their speeds.
func BenchmarkCodes(b *testing.B) {
	for _, dir := range folders(b) {
		d := load(b, dir)
		plain := graph(b, d)
		x, err := Open(d.v, plain.g, nil, Options{Codes: codesOf(&plain.v)})
		if err != nil {
			b.Fatal(err)
		}
		for _, ef := range []int{24, 48, 96, 192, 384} {
			b.Run(fmt.Sprintf("%s/ef=%d", d.name, ef), func(b *testing.B) {
				ask := func(ignore bool) func(int) Query {
					return func(int) Query { return Query{Ef: ef, ScanBelow: 1, Rescore: true, IgnoreCodes: ignore} }
				}
				var ratios []float64
				var hits []index.Hit
				for b.Loop() {
					var took [2]time.Duration
					for i, ignore := range []bool{true, false} {
						from := cpu()
						for _, v := range d.queries {
							q := ask(ignore)(0)
							q.Vector, q.K = v, 10
							if hits, err = x.Search(b.Context(), &q, hits[:0]); err != nil {
								b.Fatal(err)
							}
						}
						took[i] = cpu() - from
					}
					ratios = append(ratios, took[0].Seconds()/took[1].Seconds())
				}
				slices.Sort(ratios)
				b.ReportMetric(ratios[len(ratios)/2], "speed-ratio")
				b.ReportMetric(measure(b, x, d.queries, d.truth, ask(true)), "recall-vectors")
				b.ReportMetric(measure(b, x, d.queries, d.truth, ask(false)), "recall-codes")
			})
		}
	}
}
