package main

import (
	"fmt"
	"math"
	"slices"
)

// recall is the share of neighbours that are as near as the k-th true one, for queries in their order. Fewer than k rows
// that pass a filter are all to be found. A row that does not pass is an error, and so is one that is not there.
func (d *dataset) recall(ids [][]uint64, f *filterSet) (float64, error) {
	worst := d.worst
	if f != nil {
		worst = f.worst
	}
	if len(ids) == 0 || len(ids) > len(worst) {
		return 0, fmt.Errorf("%d answers to %d queries", len(ids), len(worst))
	}
	hits, wanted := 0, 0
	for q, found := range ids {
		want := k
		if f != nil {
			want = min(k, len(f.pass[f.of(q)]))
		}
		wanted += want
		norm := d.norms(d.queries[q : q+1])[0]
		for _, id := range distinct(found[:min(len(found), k)]) {
			if id >= uint64(len(d.base)) {
				return 0, fmt.Errorf("query %d: there is no row %d", q, id)
			}
			if f != nil && !f.pass[f.of(q)][id] {
				return 0, fmt.Errorf("query %d: row %d does not pass %s", q, id, f.name)
			}
			row := d.base[id : id+1]
			if d.between(d.queries[q], row[0], norm, d.norms(row)[0]) <= worst[q]+1e-6*math.Max(1, worst[q]) {
				hits++
			}
		}
	}
	return float64(hits) / float64(wanted), nil
}

func distinct(ids []uint64) []uint64 {
	return slices.Compact(slices.Sorted(slices.Values(ids)))
}

// sample is one place on a curve over ef.
type sample struct {
	ef                            int
	recall, qps, cpuQPS, p50, p99 float64 // qps per second of time, cpuQPS per second of CPU time
}

// at gives the greatest value that goes with the recall or a better one: between two neighbours on the curve, which is in
// the order of ef, the logarithm of the value is interpolated. above tells that no ef has so low a recall, so that the value
// is one at a better recall. NaN: the recall is not reached.
func at(curve []sample, recall float64, value func(sample) float64) (best float64, above bool) {
	best, above = math.NaN(), true
	take := func(v float64) {
		if math.IsNaN(best) || v > best {
			best = v
		}
	}
	for i, s := range curve {
		if s.recall >= recall {
			take(value(s))
		}
		if s.recall <= recall {
			above = false
		}
		if i == 0 {
			continue
		}
		if low := curve[i-1]; low.recall < recall && s.recall >= recall {
			share := (recall - low.recall) / (s.recall - low.recall)
			take(math.Exp(math.Log(value(low))*(1-share) + math.Log(value(s))*share))
		}
	}
	return best, above
}

// latencyAt is at for what grows with ef.
func latencyAt(curve []sample, recall float64, value func(sample) float64) float64 {
	v, _ := at(curve, recall, func(s sample) float64 { return 1 / value(s) })
	return 1 / v
}

func qps(s sample) float64    { return s.qps }
func cpuQPS(s sample) float64 { return s.cpuQPS }
func p50(s sample) float64    { return s.p50 }
func p99(s sample) float64    { return s.p99 }

func median(all []float64) float64 {
	s := slices.Sorted(slices.Values(slices.DeleteFunc(slices.Clone(all), math.IsNaN)))
	if len(s) == 0 {
		return math.NaN()
	}
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}
