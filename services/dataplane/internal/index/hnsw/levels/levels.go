// Package levels plans how a graph grows: in which order rows enter it, and up to which
// layer each stands. It knows rows by their numbers only, and nothing of links.
package levels

import (
	"math/rand/v2"
	"slices"
)

// Max bounds what chance can make of levels: with m = 2 a row passes it once in 2^31.
const Max = 32

// crowd is how many nodes the highest layer has at most where a stage is built upon:
// rows that are added get no layers of their own, so it grows with every stage.
const crowd = 1024

// Order is rows in the order in which they are inserted.
type Order struct {
	// Rows have the highest levels first, so layer l takes the first so many of them.
	Rows []uint32
	// Heights are how many rows reach each layer, from layer 0 on.
	Heights []int
}

// Of is the level of row i of the order.
func (o *Order) Of(i int) int {
	level := 0
	for level+1 < len(o.Heights) && i < o.Heights[level+1] {
		level++
	}
	return level
}

// Above is how many rows reach a layer; none reach one that there is not.
func (o *Order) Above(l int) int {
	if l >= len(o.Heights) {
		return 0
	}
	return o.Heights[l]
}

// Draw orders rows at random. A row reaches layer l with probability m^-l.
func Draw(rows []uint32, m int, seed uint64) Order {
	rng := rand.New(rand.NewPCG(seed, 0x9e3779b97f4a7c15))
	rows = slices.Clone(rows)
	rng.Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
	var at [Max][]uint32 // rows of each level
	for _, r := range rows {
		level := 0
		for u, p := rng.Float64(), 1/float64(m); u < p && level < Max-1; p /= float64(m) {
			level++
		}
		at[level] = append(at[level], r)
	}
	o := Order{Rows: rows[:0]}
	for _, of := range slices.Backward(at[:]) {
		if o.Rows = append(o.Rows, of...); len(o.Rows) > 0 {
			o.Heights = append(o.Heights, len(o.Rows))
		}
	}
	slices.Reverse(o.Heights)
	return o
}

// Step is rows that are inserted into the graph of those before.
type Step struct {
	Order
	Stage  int
	Before []uint32 // rows that are in the graph already
}

// Plan gives the steps in which the graph of rows of these stages grows, each with its
// seed; stages without rows have none. The first step begins from nothing, and what
// stands before it does not matter: a stage is built upon only if it has layers above
// the lowest, and not too large a highest one. Otherwise its rows are ordered anew with
// those of the next.
func Plan(stages [][]uint32, m int, seeds []uint64) (steps []Step) {
	var before []uint32
	var heights []int
	for i, rows := range stages {
		if len(rows) == 0 {
			continue
		}
		s := Step{Order: Draw(rows, m, seeds[i]), Stage: i, Before: before}
		before = append(slices.Clip(before), rows...)
		// A higher layer than there is would need another entry point.
		for s.Heights = s.Heights[:min(len(s.Heights), len(heights))]; len(s.Heights) < len(heights); {
			s.Heights = append(s.Heights, 0)
		}
		if top := len(heights) - 1; top < 1 || heights[top]+s.Heights[top] > crowd {
			s = Step{Order: Draw(before, m, seeds[i]), Stage: i}
			steps, heights = nil, make([]int, len(s.Heights))
		}
		for l, n := range s.Heights {
			heights[l] += n
		}
		steps = append(steps, s)
	}
	return steps
}
