package hnsw

import "context"

// rounds bounds the repair: a link that is moved to one row may have been the
// last to another.
const rounds = 4

// repair gives every row of the order that no walk from the entry point reaches
// in layer 0 a link from a near row that one does: choosing links drops the last
// one to a row now and then.
func (b *builder) repair(ctx context.Context) error {
	w := newLinker(b)
	for range rounds {
		reached, lost := b.g.reach(), 0
		for _, row := range b.order {
			if reached.has(row) {
				continue
			}
			if lost++; lost%64 == 0 && ctx.Err() != nil {
				return ctx.Err()
			}
			w.rescue(row)
			b.g.spread(&reached, row)
		}
		if lost == 0 {
			break
		}
	}
	return nil
}

// reach is the set of rows to which links of layer 0 lead from the entry point.
func (g *Graph) reach() set {
	s := set{bits: make([]uint64, (g.rows+63)/64)}
	g.spread(&s, g.tops[0])
	return s
}

// spread adds row and all that can be reached from it to s.
func (g *Graph) spread(s *set, row uint32) {
	first := len(s.list)
	for s.add(row); first < len(s.list); first++ {
		for _, n := range g.layers[0].of(s.list[first]) {
			if n == none {
				break
			}
			if !s.has(n) {
				s.add(n)
			}
		}
	}
}

// rescue links to row from the nearest row that a walk finds and that has room,
// or else from the nearest, instead of its farthest link.
func (w *linker) rescue(row uint32) {
	b, g := w.b, w.b.g
	w.q = b.v.row(row)
	from := g.asNode(0, w.descend(b.v, g, 0))
	_ = w.beam(context.Background(), b.v, g, 0, g.params.EfConstruct, from)
	best := w.pool[0]
	for _, k := range w.pool {
		if int(b.grown[0].degree[nodeOf(k)]) < g.layers[0].width {
			best = k
			break
		}
	}
	node := nodeOf(best)
	list, n := g.layers[0].of(node), &b.grown[0].degree[node]
	if int(*n) < len(list) {
		*n++
	}
	list[*n-1] = row
}
