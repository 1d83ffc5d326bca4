package main

import "math"

// cosineDistance is 1 - cosine similarity, in float64 as the exact answers were computed.
func cosineDistance(a, b []float32) float64 {
	var dot, aa, bb float64
	for i := range a {
		x, y := float64(a[i]), float64(b[i])
		dot, aa, bb = dot+x*y, aa+x*x, bb+y*y
	}
	return 1 - dot/math.Sqrt(aa*bb)
}

// hits counts the rows among the first k of got that belong to the k nearest, by distance and not by name, so that ties
// are not punished: a row is a hit when its true distance is at most the k-th of exact (and a rounding error). A row that
// comes twice, is not in the base, or is refused by keep, is none. Recall is hits over min(k, len(exact)).
func (d *dataset) hits(query []float32, got []uint64, exact []float32, k int, keep func(word) bool) int {
	k = min(k, len(exact))
	limit := float64(exact[k-1])
	limit += 1e-6 * max(1, math.Abs(limit))
	seen := make(map[uint64]bool, k)
	n := 0
	for _, id := range got[:min(k, len(got))] {
		if id >= uint64(len(d.base)) || seen[id] || keep != nil && !keep(d.words[id]) {
			continue
		}
		seen[id] = true
		if cosineDistance(query, d.base[id]) <= limit {
			n++
		}
	}
	return n
}

// sameDirection compares a vector that was stored under Cosine with what was sent: equal up to its length.
func sameDirection(got, sent []float32) bool {
	return len(got) == len(sent) && cosineDistance(got, sent) < 1e-6
}
