package sparse

import (
	"slices"

	"github.com/pandodb/pando/services/dataplane/internal/query"
)

// perBlock is how many postings a block holds; the last of a list may hold fewer.
const perBlock = 128

// list is what a search reads of one dimension.
type list interface {
	// blocks is how many there are, at least one.
	blocks() int
	// extent is the first slot and the least and the greatest weight of a block.
	extent(b int) (first uint32, lo, hi float32)
	// load reads a block.
	load(b int, to *block) error
}

// block is a block as read.
type block struct {
	n       int
	slots   [perBlock]uint32 // ascending
	weights [perBlock]float32
}

// postings is a list in memory.
type postings struct {
	slots   []uint32
	weights []float32 // rounded
	lo, hi  []float32 // of each block
	dead    int       // postings of slots that are gone
}

// add appends a posting; slots ascend.
func (p *postings) add(slot uint32, w float32) {
	if n := len(p.slots); n%perBlock == 0 {
		p.lo, p.hi = append(p.lo, w), append(p.hi, w)
	} else {
		b := n / perBlock
		p.lo[b], p.hi[b] = min(p.lo[b], w), max(p.hi[b], w)
	}
	p.slots, p.weights = append(p.slots, slot), append(p.weights, w)
}

func (p *postings) blocks() int { return len(p.lo) }

func (p *postings) extent(b int) (first uint32, lo, hi float32) {
	return p.slots[b*perBlock], p.lo[b], p.hi[b]
}

func (p *postings) load(b int, to *block) error {
	from := b * perBlock
	to.n = copy(to.slots[:], p.slots[from:])
	copy(to.weights[:], p.weights[from:])
	return nil
}

// lists are those of all dimensions.
type lists map[uint32]*postings

// add appends the postings of a vector.
func (l lists) add(slot uint32, v Vector, t query.Datatype) {
	for i, dim := range v.Indices {
		p := l[dim]
		if p == nil {
			p = &postings{}
			l[dim] = p
		}
		p.add(slot, Round(t, v.Weights[i]))
	}
}

// dims are the dimensions in order.
func (l lists) dims() []uint32 {
	out := make([]uint32, 0, len(l))
	for dim := range l {
		out = append(out, dim)
	}
	slices.Sort(out)
	return out
}
