package main

import (
	"math/rand/v2"
	"path/filepath"

	"github.com/pandodb/pando/services/test/vectors"
)

// set is vectors and what is searched for.
type set struct {
	name          string
	base, queries [][]float32
}

func (s set) dim() int { return len(s.base[0]) }

// real reads vectors of a data set.
func real(dir string, rows int) (s set, err error) {
	s.name = filepath.Base(dir)
	s.base, s.queries, err = vectors.Searched(dir, top)
	s.base = s.base[:min(rows, len(s.base))]
	return s, err
}

// long makes vectors of 1536 numbers around a hundred centres, always the same.
func long() set {
	const dim, centres, rows, queries = 1536, 100, 10_000, 200
	rng := rand.New(rand.NewPCG(1536, 1))
	normal := func(around []float32) []float32 {
		v := make([]float32, dim)
		for i := range v {
			v[i] = float32(rng.NormFloat64())
			if around != nil {
				v[i] = around[i] + 0.7*v[i]
			}
		}
		return v
	}
	var middle [][]float32
	for range centres {
		middle = append(middle, normal(nil))
	}
	s := set{name: "made-1536"}
	for range rows {
		s.base = append(s.base, normal(middle[rng.IntN(centres)]))
	}
	for range queries {
		s.queries = append(s.queries, normal(middle[rng.IntN(centres)]))
	}
	return s
}
