package hnsw

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/pandodb/pando/services/dataplane/internal/index/mask"
)

// maxLayers bounds what chance can make of levels: with m = 2 a node passes it
// once in 2^31.
const maxLayers = 32

// alone is how many rows are inserted by one goroutine before others join in:
// several that start at once make islands.
const alone = 256

// BuildOptions tune a build, not its result's quality.
type BuildOptions struct {
	// Threads is the number of goroutines; less than 1 counts as 1. With 1 the graph follows
	// from vectors, Params and Seed to the byte; with more its links depend on who
	// comes first.
	Threads int
	Seed    uint64
	// Skip are rows that get no links, beside those without a vector; nil: none.
	Skip *mask.Mask
}

// builder links the rows of order, which has the highest levels first. So the
// entry point never changes, and layer l consists of the first rows of order.
type builder struct {
	v     *space
	g     *Graph
	order []uint32
	grown []growth // per layer
	locks [1024]sync.Mutex
}

// growth is what of a layer is needed only while it grows. A node's part is
// guarded by the node's lock, as are its links against other writers.
type growth struct {
	orders  []uint32 // of the distance of each link
	degree  []uint16
	settled []uint16 // so many first links have passed choose together
}

func (b *builder) lock(node uint32) *sync.Mutex { return &b.locks[node%uint32(len(b.locks))] }

// Build links the rows of v. Errors: ErrParams, about v, or ctx's.
func Build(ctx context.Context, vectors Vectors, p Params, o BuildOptions) (*Graph, error) {
	if err := p.validate(); err != nil {
		return nil, err
	}
	v, err := newSpace(vectors)
	if err != nil {
		return nil, err
	}
	b := &builder{v: &v, g: &Graph{params: p, distance: v.Distance, dim: v.Dim, rows: v.rows}}
	if b.plan(o); b.g.layers == nil {
		return b.g, ctx.Err()
	}
	var next atomic.Int64
	next.Store(1) // order[0] is the entry point: it has nobody to link to yet
	if err := b.work(ctx, &next, alone); err != nil {
		return nil, fmt.Errorf("build of a graph: %w", err)
	}
	next.Store(min(alone, int64(len(b.order))))
	errs := make([]error, max(1, o.Threads))
	var group sync.WaitGroup
	for t := range errs {
		group.Go(func() { errs[t] = b.work(ctx, &next, len(b.order)) })
	}
	group.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, fmt.Errorf("build of a graph: %w", err)
		}
	}
	if err := b.repair(ctx); err != nil {
		return nil, fmt.Errorf("build of a graph: %w", err)
	}
	return b.g, nil
}

// plan draws the levels and the order of rows, and makes the layers.
func (b *builder) plan(o BuildOptions) {
	m := b.g.params.M
	if m == 0 {
		return
	}
	rng := rand.New(rand.NewPCG(o.Seed, 0x9e3779b97f4a7c15))
	for r := range uint32(b.v.rows) {
		if b.v.has(r) && !o.Skip.Dead(r, mask.Now) {
			b.order = append(b.order, r)
		}
	}
	if len(b.order) == 0 {
		return
	}
	rng.Shuffle(len(b.order), func(i, j int) { b.order[i], b.order[j] = b.order[j], b.order[i] })
	counts := make([]int, 1, maxLayers) // rows of each layer
	var high [maxLayers][]uint32
	var rest []uint32
	for _, r := range b.order {
		level := 0 // at least l with probability m^-l
		for u, p := rng.Float64(), 1/float64(m); u < p && level < maxLayers-1; p /= float64(m) {
			level++
		}
		if level == 0 {
			rest = append(rest, r)
			continue
		}
		high[level] = append(high[level], r)
	}
	b.order = b.order[:0]
	for level, rows := range slices.Backward(high[:]) {
		b.order = append(b.order, rows...)
		if len(b.order) > 0 && level > 0 {
			counts = append(counts, len(b.order))
		}
	}
	slices.Reverse(counts[1:])
	b.g.tops = slices.Clone(b.order)
	b.order = append(b.order, rest...)
	if len(b.g.tops) == 0 {
		b.g.tops = []uint32{b.order[0]}
	}
	counts[0] = b.v.rows
	for l, n := range counts {
		width := m
		if l == 0 {
			width = 2 * m
		}
		b.g.layers = append(b.g.layers, newLayer(n, width))
		b.grown = append(b.grown, growth{make([]uint32, n*width), make([]uint16, n), make([]uint16, n)})
	}
}

// work inserts rows until there are none before end.
func (b *builder) work(ctx context.Context, next *atomic.Int64, end int) error {
	end = min(end, len(b.order))
	w := newLinker(b)
	for {
		i := int(next.Add(1)) - 1
		if i >= end {
			return nil
		}
		if i%64 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		w.insert(i)
	}
}

// linker inserts rows, one at a time.
type linker struct {
	walker
	b      *builder
	chosen [maxLayers][]uint64 // the links of the new row
	keys   []uint64            // of a list that overflows
	kept   []uint64
	p      probe // a candidate
	rivals [4]uint64
}

func newLinker(b *builder) *linker {
	w := &linker{b: b}
	w.fit(b.v.rows, b.g.layers[0].width+1)
	w.reserve(b.g.params.EfConstruct)
	return w
}

// insert links row i of the order. It looks in all layers before it links in any,
// and links from below, so whoever meets the row in a layer can go on from there.
func (w *linker) insert(i int) {
	b, g := w.b, w.b.g
	row := b.order[i]
	level := 0
	for level+1 < len(g.layers) && i < g.layers[level+1].nodes() {
		level++
	}
	w.q.stand(b.v, row)
	from := w.descend(b.v, g, level)
	for l := level; l >= 0; l-- {
		// The context is looked at between rows.
		_ = w.beam(context.Background(), b.v, g, l, g.params.EfConstruct, g.asNode(l, from))
		from = w.pool[0] &^ flag
		for j := range w.pool {
			w.pool[j] &^= flag
		}
		w.chosen[l] = append(w.chosen[l][:0], w.choose(l, w.pool, g.params.M)...)
	}
	for l := range level + 1 {
		node := uint32(i)
		if l == 0 {
			node = row
		}
		w.write(l, node, w.chosen[l])
		for _, k := range w.chosen[l] {
			w.linkBack(l, nodeOf(k), key(orderOf(k), node))
		}
	}
}

// write sets the links of node, all of which have passed choose.
func (w *linker) write(l int, node uint32, keys []uint64) {
	mu := w.b.lock(node)
	mu.Lock()
	defer mu.Unlock()
	w.set(l, node, keys)
}

// set is write for who has the lock.
func (w *linker) set(l int, node uint32, keys []uint64) {
	layer, grown := &w.b.g.layers[l], &w.b.grown[l]
	list := layer.of(node)
	orders := grown.orders[int(node)*layer.width:]
	for i, k := range keys {
		atomic.StoreUint32(&list[i], nodeOf(k))
		orders[i] = orderOf(k)
	}
	for i := len(keys); i < int(grown.degree[node]); i++ {
		atomic.StoreUint32(&list[i], none)
	}
	grown.degree[node], grown.settled[node] = uint16(len(keys)), uint16(len(keys))
}

// linkBack adds the link k to node. A list that is full is chosen anew.
func (w *linker) linkBack(l int, node uint32, k uint64) {
	layer, grown := &w.b.g.layers[l], &w.b.grown[l]
	mu := w.b.lock(node)
	mu.Lock()
	defer mu.Unlock()
	list := layer.of(node)
	orders := grown.orders[int(node)*layer.width:]
	if n := grown.degree[node]; int(n) < layer.width {
		orders[n] = orderOf(k)
		atomic.StoreUint32(&list[n], nodeOf(k))
		grown.degree[node]++
		return
	}
	w.keys = append(w.keys[:0], k)
	for i, id := range list {
		old := key(orders[i], id)
		if i < int(grown.settled[node]) {
			old |= flag
		}
		w.keys = append(w.keys, old)
	}
	slices.Sort(w.keys)
	w.set(l, node, w.choose(l, w.keys, layer.width))
}

// choose keeps, of candidates in order of distance from a node, those that are
// nearer to the node than to any one kept, at most m: links in all directions
// instead of into one crowd. Of rows that are equal to the node it keeps one, lest
// they have links to each other only. Candidates with flag have passed together
// before and need no comparison with each other.
func (w *linker) choose(l int, candidates []uint64, m int) []uint64 {
	kept := w.kept[:0]
	for _, c := range candidates {
		if w.stands(l, c, kept) {
			if kept = append(kept, c); len(kept) == m {
				break
			}
		}
	}
	w.kept = kept
	return kept
}

func (w *linker) stands(l int, c uint64, kept []uint64) bool {
	v, g := w.b.v, w.b.g
	n := 0
	for i, k := range kept {
		if c&k&flag == 0 {
			w.rivals[n] = k
			w.nodes[n] = nodeOf(k)
			n++
		}
		if n == len(w.rivals) || n > 0 && i == len(kept)-1 {
			if !w.beats(v, g, l, c, n) {
				return false
			}
			n = 0
		}
	}
	return true
}

// beats tells whether c is nearer to the node than to each of w.rivals[:n], whose
// numbers are w.nodes[:n].
func (w *linker) beats(v *space, g *Graph, l int, c uint64, n int) bool {
	a := nodeOf(c)
	if l > 0 {
		a = g.tops[a]
	}
	w.p.stand(v, a)
	v.gather(&w.p, g.rowsOf(l, w.nodes[:n], w.rows), w.raws[:n])
	for i, k := range w.rivals[:n] {
		between := v.order(w.raws[i])
		if between < orderOf(c) || between == orderOf(c) && orderOf(c) == orderOf(k) {
			return false
		}
	}
	return true
}
