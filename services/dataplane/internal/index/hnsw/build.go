package hnsw

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/pandodb/pando/services/dataplane/internal/index/hnsw/levels"
	"github.com/pandodb/pando/services/dataplane/internal/index/mask"
	"github.com/pandodb/pando/services/internal/vfs"
)

// round is how many rows are inserted at once at most. Those of a round do not meet
// on their walks, but are compared with each other.
const round = 64

// BuildOptions tune a build.
type BuildOptions struct {
	// Threads is the number of goroutines; less than 1 counts as 1. The graph follows
	// from vectors, Params, seeds, stages and Skip to the byte, whatever it is.
	Threads int
	Seed    uint64
	// Earlier are the seeds of the stages before the last, and Stage has a number for
	// each row: its place there, or len(Earlier). Rows of a stage are added to the graph
	// of those before. nil: all rows are of one stage.
	Earlier []uint64
	Stage   []uint8
	// Base, if not nil, is the graph of the rows of the first stages, built with their
	// seeds over equal vectors. If M and EfConstruct are the same, it need not be built
	// again: the result is the same to the byte.
	Base *Graph
	// Skip are rows that get no links, beside those without a vector; nil: none.
	Skip *mask.Mask
	// Groups are sets of rows, each ascending, that filters will ask for: those with
	// one value of a field. With PayloadM, those that walks over other links would lose
	// their way in, and that are too large for scans, get extra links. The graph
	// follows from them too, order included.
	Groups [][]uint32
}

// takes tells whether row gets links.
func (o *BuildOptions) takes(v *space, row uint32) bool {
	return v.has(row) && !o.Skip.Dead(row, mask.Now)
}

// builder links the rows of order, of which the first are linked already. Those of a
// stage have the highest levels first, so the entry point never changes.
type builder struct {
	v       *space
	g       *Graph
	order   []uint32
	known   int           // rows of order that were linked before this stage
	tops    int           // rows of order behind which there are none above layer 0
	step    *levels.Order // order from known on
	places  []uint32      // in tops, of the rows of order from known on
	base    int           // the lowest layer: 0, or 1 in a graph of a group
	grown   []growth      // per layer
	linkers []*linker
	drafts  [round]draft
	// starts are the keys of the places in tops that the rows of order behind tops
	// descend to.
	starts []uint64
}

// growth is what of a layer is needed only while it grows.
type growth struct {
	orders  []uint32 // of the distance of each link
	degree  []uint16
	settled []uint16 // so many first links have passed choose together
}

func newGrowth(nodes, width int) growth {
	return growth{make([]uint32, nodes*width), make([]uint16, nodes), make([]uint16, nodes)}
}

// draft is the links of a new row per layer, before they are made.
type draft [][]uint64

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
	if err := b.run(ctx, o); err != nil {
		return nil, fmt.Errorf("build of a graph: %w", err)
	}
	if err := b.linkGroups(ctx, o); err != nil {
		return nil, fmt.Errorf("build of a graph: %w", err)
	}
	return b.g, nil
}

// employ makes a linker for each goroutine.
func (b *builder) employ(threads int) {
	for range max(1, threads) {
		b.linkers = append(b.linkers, newLinker(b))
	}
}

// run builds step by step.
func (b *builder) run(ctx context.Context, o BuildOptions) error {
	steps, rows, err := b.plan(o)
	old := &Graph{}
	if rows != nil {
		old = o.Base
	}
	for i := 0; err == nil && i < len(steps); i++ {
		b.lay(old, rows, &steps[i])
		if b.linkers == nil {
			b.employ(o.Threads)
		}
		err = b.grow(ctx)
		old, rows = b.g, nil
	}
	if b.linkers == nil {
		b.employ(o.Threads)
	}
	if err == nil {
		err = ctx.Err()
	}
	return err
}

// grow links the rows of a step.
func (b *builder) grow(ctx context.Context) error {
	if err := b.measure(ctx); err != nil {
		return err
	}
	// The entry point has nobody to link to yet.
	if err := b.insertAll(ctx, max(1, b.known), b.tops); err != nil {
		return err
	}
	if err := b.settle(ctx); err != nil {
		return err
	}
	if err := b.insertAll(ctx, b.tops, len(b.order)); err != nil {
		return err
	}
	return b.repair(ctx)
}

// each calls f for 0..n-1, by all goroutines.
func (b *builder) each(n int, f func(w *linker, i int)) {
	var next atomic.Int64
	b.all(n, func(w *linker, _ int) {
		for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
			f(w, i)
		}
	})
}

// eachOf is each for more than would pass between two looks at the context.
func (b *builder) eachOf(ctx context.Context, n int, f func(w *linker, i int)) error {
	const part = 1024
	for from := 0; from < n; from += part {
		if err := ctx.Err(); err != nil {
			return err
		}
		b.each(min(part, n-from), func(w *linker, i int) { f(w, from+i) })
	}
	return nil
}

// all calls f by each goroutine, or by one if n things to do are too few.
func (b *builder) all(n int, f func(w *linker, part int)) {
	var group vfs.Group
	defer group.Wait()
	for part := 1; part < b.parts(n); part++ {
		group.Go(func() { f(b.linkers[part], part) })
	}
	f(b.linkers[0], 0)
}

func (b *builder) parts(n int) int { return max(1, min(len(b.linkers), n/4)) }

// insertAll inserts the rows from..to-1 of the order in rounds, each against the
// graph of those before it.
func (b *builder) insertAll(ctx context.Context, from, to int) error {
	for from < to {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := min(to-from, max(1, min(from/16, round)))
		b.each(n, func(w *linker, i int) { w.draft(from, from+i) })
		parts := b.parts(n)
		b.all(n, func(w *linker, part int) { w.link(from, n, part, parts) })
		from += n
	}
	return nil
}

// settle puts the rows behind tops into an order in which those that follow each
// other are near, so that what one walk has read is in the cache for the next.
func (b *builder) settle(ctx context.Context) error {
	rest := b.order[b.tops:]
	b.starts = make([]uint64, len(rest))
	if err := b.eachOf(ctx, len(rest), func(w *linker, i int) {
		w.q.stand(b.v, rest[i])
		b.starts[i] = w.descend(b.v, b.g, 0)
	}); err != nil {
		return err
	}
	rank := b.tour()
	type arrival struct {
		row   uint32
		start uint64
	}
	list := make([]arrival, len(rest))
	for i, r := range rest {
		list[i] = arrival{r, b.starts[i]}
	}
	// The rows are still random, so each part has rows of all regions.
	for from, n := 0, 2*len(b.g.tops); from < len(list); from, n = from+n, 2*n {
		slices.SortStableFunc(list[from:min(len(list), from+n)], func(x, y arrival) int {
			return cmp.Compare(rank[nodeOf(x.start)], rank[nodeOf(y.start)])
		})
	}
	for i, a := range list {
		rest[i], b.starts[i] = a.row, a.start
	}
	return nil
}

// tour numbers the places in tops in the order of a walk that goes on to the
// nearest unseen neighbour.
func (b *builder) tour() []uint32 {
	rank := make([]uint32, len(b.g.tops))
	if len(b.g.layers) == 1 {
		return rank
	}
	for i := range rank {
		rank[i] = none
	}
	next := uint32(0)
	var stack []uint32
	for p := range rank {
		stack = append(stack, uint32(p))
		for len(stack) > 0 {
			at := stack[len(stack)-1]
			stack = stack[:len(stack)-1]
			if rank[at] != none {
				continue
			}
			rank[at] = next
			next++
			list := b.g.layers[1].of(at)
			n := int(b.grown[1].degree[at])
			near := make([]uint64, n)
			for i, id := range list[:n] {
				near[i] = key(b.grown[1].orders[int(at)*b.g.layers[1].width+i], id)
			}
			slices.Sort(near)
			for _, k := range slices.Backward(near) {
				if rank[nodeOf(k)] == none {
					stack = append(stack, nodeOf(k))
				}
			}
		}
	}
	return rank
}

// linker is what a goroutine of a build works with.
type linker struct {
	walker
	b      *builder
	keys   []uint64 // of a list that overflows
	kept   []uint64
	p      probe // a candidate
	rivals [4]uint64
}

func newLinker(b *builder) *linker {
	w := &linker{b: b}
	width, nodes := 0, 0
	if b.base < len(b.g.layers) {
		width, nodes = b.g.layers[b.base].width, b.g.layers[b.base].nodes()
	}
	w.fit(nodes, max(round, together*width))
	w.reserve(b.g.params.EfConstruct)
	return w
}

// draft looks for the links of row i of the order in all its layers, among the rows
// before first and those of the round before it.
func (w *linker) draft(first, i int) {
	b, g := w.b, w.b.g
	d := &b.drafts[i-first]
	*d = (*d)[:0]
	level := b.step.Of(i - b.known)
	w.q.stand(b.v, b.order[i])
	var from uint64
	if at := i - b.tops; at >= 0 {
		from = b.starts[at]
	} else {
		from = w.descend(b.v, g, level)
	}
	for len(*d) <= level {
		*d = slices.Grow(*d, 1)[:len(*d)+1]
	}
	for l := level; l >= b.base; l-- {
		// The context is looked at between rounds.
		_ = w.beam(context.Background(), b.v, g, l, g.params.EfConstruct, g.asNode(l, from))
		for j := range w.pool {
			w.pool[j] &^= flag
		}
		from = w.pool[0]
		w.meet(l, first, i)
		(*d)[l] = append((*d)[l][:0], w.choose(l, w.pool, g.params.M)...)
	}
}

// meet puts rows first..i-1 of the order into the pool, as far as they are near
// enough and of layer l.
func (w *linker) meet(l, first, i int) {
	b, g := w.b, w.b.g
	n := 0
	for j := first; j < i; j++ {
		w.nodes[n] = b.node(l, j)
		n++
	}
	w.score(b.v, g, l, n)
	w.take(b.v, g.params.EfConstruct, n)
}

// link makes the links of n drafts, and those back, as far as they are of nodes of a
// part. What happens to one node happens in the order of the rows.
func (w *linker) link(first, n, part, parts int) {
	for i, d := range w.b.drafts[:n] {
		for l := w.b.base; l < len(d); l++ {
			chosen, node := d[l], w.b.node(l, first+i)
			if int(node)%parts == part {
				w.set(l, node, chosen)
			}
			for _, k := range chosen {
				if int(nodeOf(k))%parts == part {
					w.linkBack(l, nodeOf(k), key(orderOf(k), node))
				}
			}
		}
	}
}

// set gives node links that have passed choose.
func (w *linker) set(l int, node uint32, keys []uint64) {
	layer, grown := &w.b.g.layers[l], &w.b.grown[l]
	list := layer.of(node)
	orders := grown.orders[int(node)*layer.width:]
	for i, k := range keys {
		list[i] = nodeOf(k)
		orders[i] = orderOf(k)
	}
	for i := len(keys); i < int(grown.degree[node]); i++ {
		list[i] = none
	}
	grown.degree[node], grown.settled[node] = uint16(len(keys)), uint16(len(keys))
}

// linkBack adds the link k to node. A list that is full is chosen anew.
func (w *linker) linkBack(l int, node uint32, k uint64) {
	layer, grown := &w.b.g.layers[l], &w.b.grown[l]
	list := layer.of(node)
	orders := grown.orders[int(node)*layer.width:]
	if n := grown.degree[node]; int(n) < layer.width {
		orders[n] = orderOf(k)
		list[n] = nodeOf(k)
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
