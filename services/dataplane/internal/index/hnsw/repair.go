package hnsw

import "context"

// tree spans the rows to which links of layer 0 lead from the entry point.
type tree struct {
	set
	parent []uint32 // of rows in the set
}

func (g *Graph) reach() *tree {
	t := &tree{set{bits: make([]uint64, (g.rows+63)/64)}, make([]uint32, g.rows)}
	t.spread(g, g.tops[0], none)
	return t
}

// spread adds row, a child of parent, and all that can be reached from it.
func (t *tree) spread(g *Graph, row, parent uint32) {
	next := len(t.list)
	t.add(row)
	t.parent[row] = parent
	for ; next < len(t.list); next++ {
		from := t.list[next]
		for _, n := range g.layers[0].of(from) {
			if n == none {
				break
			}
			if !t.has(n) {
				t.add(n)
				t.parent[n] = from
			}
		}
	}
}

// repair links to every row of the order that cannot be reached: choosing links
// drops the last one to a row now and then. A link that the tree needs is never
// given up; as a tree has fewer edges than rows, and a list has room for four links
// or more, there is always a list with room.
func (b *builder) repair(ctx context.Context) error {
	t := b.g.reach()
	w := newLinker(b)
	next := 0 // rows of t.list before it have no room left
	for i, row := range b.order {
		if i%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		if t.has(row) {
			continue
		}
		from, ok := w.rescuer(row, t)
		for ; !ok; next++ {
			from = t.list[next]
			ok = b.join(t, from, row)
		}
		t.spread(b.g, row, from)
	}
	return nil
}

// rescuer links to row from the nearest row in reach that a walk finds and that has
// room, and gives it.
func (w *linker) rescuer(row uint32, t *tree) (from uint32, ok bool) {
	b, g := w.b, w.b.g
	w.q.stand(b.v, row)
	// A build looks at its context between rows.
	_ = w.beam(context.Background(), b.v, g, 0, g.params.EfConstruct, g.asNode(0, w.descend(b.v, g, 0)))
	for _, k := range w.pool {
		if from = nodeOf(k); t.has(from) && b.join(t, from, row) {
			return from, true
		}
	}
	return 0, false
}

// join makes row a neighbour of from, in place of the last link that the tree does
// not need if the list is full.
func (b *builder) join(t *tree, from, row uint32) bool {
	list, n := b.g.layers[0].of(from), &b.grown[0].degree[from]
	if int(*n) < len(list) {
		list[*n] = row
		*n++
		return true
	}
	for i := len(list) - 1; i >= 0; i-- {
		if t.parent[list[i]] != from || !t.has(list[i]) {
			list[i] = row
			return true
		}
	}
	return false
}
