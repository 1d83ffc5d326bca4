package hnsw

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/pandodb/pando/services/dataplane/internal/index/hnsw/levels"
)

// extra is links beside those of layer 0, between rows of groups: those of row r lie
// in links from starts[r] to starts[r+1].
type extra struct {
	starts []uint32
	links  []uint32
}

func (e *extra) of(row uint32) []uint32 {
	if e.starts == nil {
		return nil
	}
	return e.links[e.starts[row]:e.starts[row+1]]
}

// percolate bounds groups: where rows have k links in the mean, walks over one in
// k/percolate of them or more find their way without links of their own.
const percolate = 4

// linked tells whether a group of so many rows gets links of its own.
func (b *builder) linked(rows int, degree float64) bool {
	p := b.g.params
	if rows <= p.defaultEf()*p.PayloadM {
		return false // it will be scanned, but by searches with a small ef
	}
	return b.g.layers == nil || float64(rows) <= percolate*float64(b.v.rows)/degree
}

// defaultEf is that of a search.
func (p Params) defaultEf() int { return p.EfConstruct * 3 / 2 }

// link makes the extra links: for each group a graph of one layer.
func (b *builder) linkGroups(ctx context.Context, o BuildOptions) error {
	g := b.g
	if g.params.PayloadM == 0 {
		return nil
	}
	degree := 1.0
	if g.layers != nil {
		n := 0
		for _, id := range g.layers[0].links {
			if id != none {
				n++
			}
		}
		degree = max(1, float64(n)/float64(len(b.order)))
	}
	lists := make([][]uint32, b.v.rows)
	for i, rows := range o.Groups {
		rows = b.members(rows, o)
		if !b.linked(len(rows), degree) {
			continue
		}
		rand.New(rand.NewPCG(o.Seed, uint64(i))).Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
		if err := b.linkGroup(ctx, rows, len(b.linkers), lists); err != nil {
			return err
		}
	}
	g.extra.starts = make([]uint32, 1, b.v.rows+1)
	for r, list := range lists {
		slices.Sort(list)
		list = slices.Compact(list)
		if len(g.extra.links)+len(list) > math.MaxUint32 {
			list = nil // what its number does not fit into
		}
		for _, id := range list {
			if g.layers == nil || !slices.Contains(g.layers[0].of(uint32(r)), id) {
				g.extra.links = append(g.extra.links, id)
			}
		}
		g.extra.starts = append(g.extra.starts, uint32(len(g.extra.links)))
	}
	return nil
}

// members are the rows of a group that get links.
func (b *builder) members(group []uint32, o BuildOptions) (rows []uint32) {
	for i, r := range group {
		if int(r) < b.v.rows && (i == 0 || r != group[i-1]) && o.takes(b.v, r) {
			rows = append(rows, r)
		}
	}
	return rows
}

// linkGroup adds the links between rows to lists. Rows are the tops of a graph whose
// lowest layer is 1, so that its memory is in proportion to them.
func (b *builder) linkGroup(ctx context.Context, rows []uint32, threads int, lists [][]uint32) error {
	p := Params{M: b.g.params.PayloadM, EfConstruct: b.g.params.EfConstruct}
	g := &Graph{params: p, rows: b.v.rows, tops: rows, layers: []layer{{}, newLayer(len(rows), 2*p.M)}}
	in := &builder{v: b.v, g: g, order: rows, tops: len(rows), base: 1, grown: []growth{{}, newGrowth(len(rows), 2*p.M)}}
	in.step = &levels.Order{Rows: rows, Heights: []int{len(rows), len(rows)}}
	for place := range rows {
		in.places = append(in.places, uint32(place))
	}
	in.employ(threads)
	if err := in.insertAll(ctx, 1, len(rows)); err != nil {
		return err
	}
	if err := in.repair(ctx); err != nil {
		return err
	}
	for place, row := range rows {
		for _, to := range g.layers[1].of(uint32(place)) {
			if to == none {
				break
			}
			lists[row] = append(lists[row], rows[to])
		}
	}
	return nil
}

// within tells whether rows that pass have, in the mean, half as many links or more
// to others that pass as a group gives: a walk over those alone finds its way.
func (s *searcher) within() bool {
	g := s.x.g
	if len(g.extra.links) == 0 || s.query.Bits == nil && s.query.Accept == nil {
		return false
	}
	rng := rand.NewPCG(5, 6)
	asked, found := 0, 0
	for range sample {
		row := s.draw(rng)
		if !s.passes(row) {
			continue
		}
		for _, id := range g.extra.of(row) {
			if s.passes(id) {
				found++
			}
		}
		if g.layers != nil {
			for _, id := range g.layers[0].of(row) {
				if id != none && s.passes(id) {
					found++
				}
			}
		}
		if asked++; asked == seeds {
			break
		}
	}
	return asked > 0 && found >= asked*g.params.PayloadM/2
}
