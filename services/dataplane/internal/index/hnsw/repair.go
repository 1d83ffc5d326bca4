package hnsw

import "context"

// tree spans the nodes to which links of a layer lead from one.
type tree struct {
	set
	l      *layer
	parent []uint32 // of nodes in the set
}

// reach is the tree of layer 0 from the entry point on.
func (g *Graph) reach() *tree { return g.layers[0].reach(g.tops[0]) }

func (l *layer) reach(from uint32) *tree {
	t := &tree{set{bits: make([]uint64, (l.nodes()+63)/64)}, l, make([]uint32, l.nodes())}
	t.spread(from, none)
	return t
}

// spread adds node, a child of parent, and all that can be reached from it.
func (t *tree) spread(node, parent uint32) {
	next := len(t.list)
	t.add(node)
	t.parent[node] = parent
	for ; next < len(t.list); next++ {
		from := t.list[next]
		for _, n := range t.l.of(from) {
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

// node is that of row i of the order in layer l. Above layer 0 it must be of this step.
func (b *builder) node(l, i int) uint32 {
	if l == 0 {
		return b.order[i]
	}
	return b.places[i-b.known]
}

// repair links to every node of the lowest layer that cannot be reached: choosing links
// drops the last one to a node now and then. A link that the tree needs is never
// given up; as a tree has fewer edges than nodes, and a list has room for four links
// or more, there is always a list with room.
func (b *builder) repair(ctx context.Context) error {
	t := b.g.layers[b.base].reach(nodeOf(b.g.asNode(b.base, key(0, 0))))
	w := b.linkers[0]
	next := 0 // nodes of t.list before it have no room left
	for i := range b.order {
		if i%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		node := b.node(b.base, i)
		if t.has(node) {
			continue
		}
		from, ok := w.rescuer(i, t)
		for ; !ok; next++ {
			from = t.list[next]
			ok = b.join(t, from, node)
		}
		t.spread(node, from)
	}
	return nil
}

// rescuer links to row i of the order from the nearest node in reach that a walk finds
// and that has room, and gives it.
func (w *linker) rescuer(i int, t *tree) (from uint32, ok bool) {
	b, g := w.b, w.b.g
	w.q.stand(b.v, b.order[i])
	// A build looks at its context between rows.
	_ = w.beam(context.Background(), b.v, g, b.base, g.params.EfConstruct, g.asNode(b.base, w.descend(b.v, g, b.base)))
	for _, k := range w.pool {
		if from = nodeOf(k); t.has(from) && b.join(t, from, b.node(b.base, i)) {
			return from, true
		}
	}
	return 0, false
}

// join makes node a neighbour of from, in place of the last link that the tree does
// not need if the list is full.
func (b *builder) join(t *tree, from, node uint32) bool {
	list, n := t.l.of(from), &b.grown[b.base].degree[from]
	if int(*n) < len(list) {
		list[*n] = node
		*n++
		return true
	}
	for i := len(list) - 1; i >= 0; i-- {
		if t.parent[list[i]] != from || !t.has(list[i]) {
			list[i] = node
			return true
		}
	}
	return false
}
