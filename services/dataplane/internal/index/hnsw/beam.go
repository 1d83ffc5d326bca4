package hnsw

import (
	"context"
	"math/bits"
	"slices"
)

// hops is how many times nodes are expanded between two looks at the context.
const hops = 64

// together is how many nodes are expanded at once: the more rows are compared at
// once, the more of them come from memory at the same time. Some are expanded that
// would not have been one by one; they are few, and not quite in vain.
const together = 4

// walker is what a goroutine needs to walk a graph, reused between walks.
type walker struct {
	q      probe
	scorer Scorer   // nil: rows are compared by their vectors
	pool   []uint64 // keys, the nearest first; flag: expanded
	seen   set      // nodes that were scored
	// ties, if not 0, bounds how many nodes of equal distance on each side of another
	// enter the pool: thousands of equal rows would fill it, and nothing behind them
	// would be found.
	ties int
	// Of one expansion:
	nodes, rows []uint32
	raws        []float32
	near        []uint64 // keys
	compared    int      // rows, since the walker was made
	touched     uint32   // keeps the compiler from leaving the touching out
}

// set is a bit for each node, and a list of those to clear.
type set struct {
	bits []uint64
	list []uint32
}

func (s *set) has(n uint32) bool { return s.bits[n>>6]>>(n&63)&1 != 0 }

func (s *set) add(n uint32) {
	s.bits[n>>6] |= 1 << (n & 63)
	s.list = append(s.list, n)
}

func (s *set) clear() {
	for _, n := range s.list {
		s.bits[n>>6] = 0
	}
	s.list = s.list[:0]
}

// fit makes room for n nodes, and for width neighbours.
func (w *walker) fit(n, width int) {
	if words := (n + 63) / 64; len(w.seen.bits) < words {
		w.seen.bits = make([]uint64, words)
	}
	if len(w.raws) < width {
		w.nodes, w.rows, w.raws = make([]uint32, width), make([]uint32, width), make([]float32, width)
		w.near = make([]uint64, width)
	}
}

// score sets w.raws for w.nodes[:n], nodes of layer l.
func (w *walker) score(v *space, g *Graph, l, n int) {
	w.compared += n
	rows := g.rowsOf(l, w.nodes[:n], w.rows)
	if w.scorer != nil {
		w.scorer.Gather(rows, w.raws[:n])
	} else {
		v.gather(&w.q, rows, w.raws[:n])
	}
}

// start is the key of the entry point.
func (w *walker) start(v *space, g *Graph) uint64 {
	w.nodes[0] = g.tops[0]
	w.score(v, g, 0, 1)
	return key(v.order(w.raws[0]), 0)
}

// descend walks from the entry point through the layers above `to`, always to the
// nearest neighbour; the key is of a place in tops.
func (w *walker) descend(v *space, g *Graph, to int) uint64 {
	best := w.start(v, g)
	for l := len(g.layers) - 1; l > to; l-- {
		for from := none; from != nodeOf(best); {
			from = nodeOf(best)
			n := 0
			for list := g.layers[l].of(from); n < len(list); n++ {
				if w.nodes[n] = list[n]; w.nodes[n] == none {
					break
				}
			}
			w.score(v, g, l, n)
			for i, raw := range w.raws[:n] {
				best = min(best, key(v.order(raw), w.nodes[i]))
			}
		}
	}
	return best
}

// asNode turns a key of a place in tops into one of a node of layer l.
func (g *Graph) asNode(l int, k uint64) uint64 {
	if l == 0 {
		return key(orderOf(k), g.tops[nodeOf(k)])
	}
	return k
}

// beam widens the pool, which starts at from, to the ef nodes of layer l that are
// nearest to the query, as far as links lead.
func (w *walker) beam(ctx context.Context, v *space, g *Graph, l, ef int, from uint64) error {
	w.seen.clear()
	w.seen.add(nodeOf(from))
	w.pool = append(w.pool[:0], from)
	for cur, hop := 0, 0; cur < len(w.pool); {
		if hop++; hop%hops == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		n, found := 0, 0
		for at := cur; at < len(w.pool) && found < together; at++ {
			if w.pool[at]&flag == 0 {
				w.pool[at] |= flag
				n = w.neighbours(&g.layers[l], nodeOf(w.pool[at]), n)
				found++
			}
		}
		w.score(v, g, l, n)
		first := w.take(v, ef, n)
		for cur = min(cur, first); cur < len(w.pool) && w.pool[cur]&flag != 0; cur++ {
		}
		w.touch(&g.layers[l], cur)
	}
	return nil
}

// touch reads the first link of the nodes that are expanded next: they miss the
// cache at the same time, instead of one after the other.
func (w *walker) touch(l *layer, cur int) {
	for at, k := cur, 0; at < len(w.pool) && k < together; at++ {
		if w.pool[at]&flag == 0 {
			w.touched ^= l.links[int(nodeOf(w.pool[at]))*l.width]
			k++
		}
	}
}

// neighbours puts those of node that were not seen behind w.nodes[:n]. Whether one
// was seen cannot be guessed, so it is not branched on.
func (w *walker) neighbours(l *layer, node uint32, n int) int {
	from := n
	list := l.of(node)
	seen, nodes := w.seen.bits, w.nodes[:n+len(list)]
	for _, id := range list {
		if id == none {
			break
		}
		word := &seen[id>>6]
		is := *word >> (id & 63) & 1
		*word |= 1 << (id & 63)
		nodes[n] = id
		n += int(is ^ 1)
	}
	w.seen.list = append(w.seen.list, nodes[from:n]...)
	return n
}

// take puts the scored nodes into the pool of at most ef. It gives the first place
// that was filled.
func (w *walker) take(v *space, ef, n int) int {
	pool, first := w.pool, len(w.pool)
	worst := uint64(1<<64 - 1)
	if len(pool) == ef {
		worst = pool[ef-1]
	}
	// Which are near enough cannot be guessed either: they are gathered first.
	near, nodes := w.near[:n], w.nodes[:n]
	m := 0
	for i, raw := range w.raws[:n] {
		near[m] = key(v.order(raw), nodes[i])
		m += less(near[m], worst)
	}
	for _, k := range near[:m] {
		if k >= worst {
			continue
		}
		lo := place(pool, k)
		if w.ties > 0 && tied(pool, lo, w.ties, k) {
			continue
		}
		if len(pool) < ef {
			pool = append(pool, 0)
		}
		copy(pool[lo+1:], pool[lo:])
		pool[lo] = k
		if len(pool) == ef {
			worst = pool[ef-1]
		}
		first = min(first, lo)
	}
	w.pool = pool
	return first
}

// tied tells whether there are n others of k's distance beside place lo.
func tied(pool []uint64, lo, n int, k uint64) bool {
	return lo >= n && orderOf(pool[lo-n]) == orderOf(k) || lo+n <= len(pool) && orderOf(pool[lo+n-1]) == orderOf(k)
}

// place is how many of the sorted pool are less than k.
func place(pool []uint64, k uint64) int {
	lo, n := 0, len(pool)
	for n > 0 {
		half := (n + 1) / 2
		lo += half & -less(pool[lo+half-1], k)
		n -= half
	}
	return lo
}

// less is 1 if a < b and 0 if not, without a branch.
func less(a, b uint64) int {
	_, borrow := bits.Sub64(a, b, 0)
	return int(borrow)
}

// reserve makes room for ef keys and one more.
func (w *walker) reserve(ef int) {
	w.pool = slices.Grow(w.pool[:0], 1<<bits.Len(uint(ef)))
}
