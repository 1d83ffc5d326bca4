package hnsw

import (
	"context"
	"fmt"
	"slices"

	"github.com/pandodb/pando/services/dataplane/internal/index/hnsw/levels"
)

// stageOf is the stage of a row.
func (o *BuildOptions) stageOf(row int) int {
	if o.Stage == nil {
		return len(o.Earlier)
	}
	return int(o.Stage[row])
}

// plan gives the steps in which the graph grows: of no rows, or, if rows is not nil, of
// the base, whose rows those are. Errors: ErrMismatch.
func (b *builder) plan(o BuildOptions) (steps []levels.Step, rows []uint32, err error) {
	if o.Stage != nil && len(o.Stage) != b.v.rows {
		return nil, nil, fmt.Errorf("%w: %d rows have stages, of %d", ErrMismatch, len(o.Stage), b.v.rows)
	}
	linked, all := make([][]uint32, len(o.Earlier)+1), make([]int, len(o.Earlier)+1)
	for r := range b.v.rows {
		s := o.stageOf(r)
		if s >= len(all) {
			return nil, nil, fmt.Errorf("%w: row %d is of stage %d of %d", ErrMismatch, r, s, len(all))
		}
		if all[s]++; b.g.params.M > 0 && o.takes(b.v, uint32(r)) {
			linked[s] = append(linked[s], uint32(r))
		}
	}
	steps = levels.Plan(linked, b.g.params.M, append(slices.Clip(o.Earlier), o.Seed))
	g := o.Base
	if g == nil || g.params.M != b.g.params.M || g.params.EfConstruct != b.g.params.EfConstruct {
		return steps, nil, nil
	}
	n, have := 0, 0
	for ; n < len(all) && have < g.rows; n++ {
		have += all[n]
	}
	if have != g.rows || g.dim != b.v.Dim || g.distance != b.v.Distance {
		return nil, nil, fmt.Errorf("%w: the base has %d rows of dimension %d, distance %d; the first stages %d of %d, %d", ErrMismatch,
			g.rows, g.dim, g.distance, have, b.v.Dim, b.v.Distance)
	}
	if len(steps) == 0 || steps[0].Stage >= n {
		return steps, nil, nil // it is not built upon
	}
	for r := range b.v.rows {
		if o.stageOf(r) < n {
			rows = append(rows, uint32(r))
		}
	}
	steps = slices.DeleteFunc(steps, func(s levels.Step) bool { return s.Stage < n })
	if len(steps) == 0 {
		steps = []levels.Step{{Before: slices.Concat(linked[:n]...)}}
	}
	return steps, rows, nil
}

// lay makes the layers of a step with the links that old has, whose row i is rows[i];
// nil: row i. Rows of a level that are added come behind those that are there.
func (b *builder) lay(old *Graph, rows []uint32, s *levels.Step) {
	b.order, b.known, b.step = slices.Concat(s.Before, s.Rows), len(s.Before), &s.Order
	b.tops = b.known + s.Above(1)
	if b.known == 0 {
		b.tops = max(1, b.tops) // there must be an entry point
	}
	before := levels.Order{}
	for l := range old.layers {
		before.Heights = append(before.Heights, old.layers[l].nodes())
	}
	tops := make([]uint32, len(old.tops)+b.tops-b.known)
	place := func(node uint32) uint32 { return node + uint32(s.Above(before.Of(int(node))+1)) }
	row := func(node uint32) uint32 {
		if rows == nil {
			return node
		}
		return rows[node]
	}
	for p, r := range old.tops {
		tops[place(uint32(p))] = row(r)
	}
	b.places = make([]uint32, b.tops-b.known)
	for i := range b.places {
		b.places[i] = uint32(i + before.Above(s.Of(i)))
		tops[b.places[i]] = s.Rows[i]
	}
	g := &Graph{params: b.g.params, distance: b.g.distance, dim: b.g.dim, rows: b.g.rows, tops: tops}
	b.grown = nil
	for l := range max(len(old.layers), len(s.Heights)) {
		nodes, width, number := before.Above(l)+s.Above(l), g.params.M, place
		if l == 0 {
			nodes, width, number = b.v.rows, 2*width, row
		}
		var at layer
		if l == 0 && rows == nil && len(old.layers) > 0 {
			at = old.layers[0] // a builder's own
		} else if at = newLayer(nodes, width); l < len(old.layers) {
			at.adopt(&old.layers[l], number)
		}
		g.layers = append(g.layers, at)
		b.grown = append(b.grown, newGrowth(nodes, width))
	}
	b.g = g
}

// adopt takes the links of old over, whose nodes have new numbers.
func (l *layer) adopt(old *layer, number func(node uint32) uint32) {
	for node := range uint32(old.nodes()) {
		list := l.of(number(node))
		for i, id := range old.of(node) {
			if id == none {
				break
			}
			list[i] = number(id)
		}
	}
}

// measure finds out how many links nodes have, and how long they are.
func (b *builder) measure(ctx context.Context) error {
	if b.known == 0 {
		return nil
	}
	for l := range b.g.layers {
		layer, grown := &b.g.layers[l], &b.grown[l]
		if err := b.eachOf(ctx, layer.nodes(), func(w *linker, node int) {
			n := 0
			for list := layer.of(uint32(node)); n < len(list) && list[n] != none; n++ {
				w.nodes[n] = list[n]
			}
			if grown.degree[node] = uint16(n); n == 0 {
				return
			}
			r := uint32(node)
			if l > 0 {
				r = b.g.tops[node]
			}
			w.q.stand(b.v, r)
			w.score(b.v, b.g, l, n)
			for i, raw := range w.raws[:n] {
				grown.orders[node*layer.width+i] = b.v.order(raw)
			}
		}); err != nil {
			return err
		}
	}
	return nil
}
