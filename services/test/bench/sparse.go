package main

import (
	"cmp"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/pandodb/pando/services/test/vectors"
)

// sparseSet is sparse vectors with exact answers.
type sparseSet struct {
	base, queries []sparseVector
	worst         []float64 // score of the k-th best, for the first queries
}

type sparseVector struct {
	indices []uint32
	values  []float32
}

// loadSparse gives nil where there is no such folder.
func loadSparse(dir string) (*sparseSet, error) {
	if _, err := os.Stat(dir); err != nil {
		return nil, nil
	}
	s := &sparseSet{}
	for part, to := range map[string]*[]sparseVector{"base": &s.base, "queries": &s.queries} {
		var err error
		if *to, err = rowsOf(dir, part); err != nil {
			return nil, err
		}
	}
	var err error
	s.worst, err = kth(filepath.Join(dir, "scores.f32.npy"))
	return s, err
}

// rowsOf reads a matrix in compressed rows.
func rowsOf(dir, part string) (out []sparseVector, err error) {
	var columns [3][]float32
	for i, pattern := range []string{".indptr.*", ".indices.*", ".values.*"} {
		name, err := one(dir, part+pattern)
		if err != nil {
			return nil, err
		}
		rows, err := vectors.Matrix(name) // values below 2^24, which a float32 holds
		if err != nil {
			return nil, err
		}
		columns[i] = slices.Concat(rows...)
	}
	pointers, indices, values := columns[0], columns[1], columns[2]
	for i := range len(pointers) - 1 {
		from, to := int(pointers[i]), int(pointers[i+1])
		if from > to || to > len(indices) || to > len(values) {
			return nil, fmt.Errorf("%s: row %d of %s is from %d to %d", dir, i, part, from, to)
		}
		v := sparseVector{values: values[from:to]}
		for _, x := range indices[from:to] {
			v.indices = append(v.indices, uint32(x))
		}
		if !slices.IsSorted(v.indices) {
			v = v.sorted()
		}
		out = append(out, v)
	}
	return out, nil
}

func (v sparseVector) sorted() sparseVector {
	order := make([]int, len(v.indices))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(v.indices[a], v.indices[b]) })
	var out sparseVector
	for _, i := range order {
		out.indices, out.values = append(out.indices, v.indices[i]), append(out.values, v.values[i])
	}
	return out
}

// scan is the plain way: the inner product with every row, and the best k of them. It gives how long a query took.
func (s *sparseSet) scan(queries int) (took time.Duration, ids [][]uint64) {
	var length uint32
	for _, v := range s.base {
		length = max(length, v.last()+1)
	}
	dense := make([]float32, length)
	type hit struct {
		score float32
		row   uint64
	}
	begin := time.Now()
	for _, q := range s.queries[:queries] {
		for i, x := range q.indices {
			if x < length {
				dense[x] = q.values[i]
			}
		}
		best := make([]hit, 0, k+1) // ascending
		for row, v := range s.base {
			var sum float32
			for i, x := range v.indices {
				sum += dense[x] * v.values[i]
			}
			if len(best) < k || sum > best[0].score {
				at, _ := slices.BinarySearchFunc(best, sum, func(h hit, s float32) int { return cmp.Compare(h.score, s) })
				if best = slices.Insert(best, at, hit{sum, uint64(row)}); len(best) > k {
					best = best[:copy(best, best[1:])]
				}
			}
		}
		for _, x := range q.indices {
			if x < length {
				dense[x] = 0
			}
		}
		found := make([]uint64, len(best))
		for i, h := range best {
			found[i] = h.row
		}
		ids = append(ids, found)
	}
	return time.Since(begin) / time.Duration(queries), ids
}

func (v sparseVector) last() uint32 {
	if len(v.indices) == 0 {
		return 0
	}
	return v.indices[len(v.indices)-1]
}

// recall of answers by score.
func (s *sparseSet) recall(ids [][]uint64) float64 {
	hits := 0
	for q := range s.worst {
		weights := map[uint32]float64{}
		for i, x := range s.queries[q].indices {
			weights[x] = float64(s.queries[q].values[i])
		}
		for _, id := range distinct(ids[q]) {
			var sum float64
			for i, x := range s.base[id].indices {
				sum += weights[x] * float64(s.base[id].values[i])
			}
			if sum >= s.worst[q]-1e-6*math.Max(1, s.worst[q]) {
				hits++
			}
		}
	}
	return float64(hits) / float64(k*len(s.worst))
}
