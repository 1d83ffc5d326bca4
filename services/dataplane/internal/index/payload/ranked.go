package payload

import (
	"cmp"
	"math"
	"slices"
	"sort"
)

// blockPairs is the greatest number of pairs in a block.
const blockPairs = 512

// pair is a row and a value of it, as an integer of the same order.
type pair struct {
	value int64
	row   uint32
}

func (p pair) compare(q pair) int {
	if c := cmp.Compare(p.value, q.value); c != 0 {
		return c
	}
	return cmp.Compare(p.row, q.row)
}

// ranked holds pairs in ascending order, in blocks without pointers, none of
// them empty.
type ranked struct{ blocks [][]pair }

// find is the place of p, or where it would be: past the end of a block only in
// the last one.
func (r *ranked) find(p pair) (block, at int, there bool) {
	block = sort.Search(len(r.blocks), func(i int) bool {
		b := r.blocks[i]
		return b[len(b)-1].compare(p) >= 0
	})
	if block == len(r.blocks) {
		if block == 0 {
			return 0, 0, false
		}
		return block - 1, len(r.blocks[block-1]), false
	}
	at, there = slices.BinarySearchFunc(r.blocks[block], p, pair.compare)
	return block, at, there
}

func (r *ranked) add(value int64, row uint32) {
	p := pair{value, row}
	block, at, there := r.find(p)
	switch {
	case there:
		return
	case len(r.blocks) == 0:
		r.blocks = [][]pair{{p}}
		return
	}
	b := slices.Insert(r.blocks[block], at, p)
	if len(b) <= blockPairs {
		r.blocks[block] = b
		return
	}
	// Values often come in their order: a block that overflows at its end stays full.
	cut := len(b) / 2
	if at == len(b)-1 {
		cut = at
	}
	upper := append(make([]pair, 0, blockPairs+1), b[cut:]...)
	r.blocks[block] = b[:cut]
	r.blocks = slices.Insert(r.blocks, block+1, upper)
}

func (r *ranked) remove(value int64, row uint32) {
	block, at, there := r.find(pair{value, row})
	if !there {
		return
	}
	b := slices.Delete(r.blocks[block], at, at+1)
	r.blocks[block] = b
	switch next := block + 1; {
	case len(b) == 0:
		r.blocks = slices.Delete(r.blocks, block, next)
	case len(b) < blockPairs/4 && next < len(r.blocks) && len(b)+len(r.blocks[next]) < blockPairs/2:
		r.blocks[block] = append(b, r.blocks[next]...)
		r.blocks = slices.Delete(r.blocks, next, next+1)
	}
}

// span is the values in [low, high].
type span struct{ low, high int64 }

// within is the term of the rows, of so many, that have a value in one of spans. A
// row with several of them is counted several times in the bound.
func within(r ordered, rows int, spans ...span) term {
	most := 0
	for _, s := range spans {
		most += r.count(s.low, s.high)
	}
	return counted(term{most: most, costs: true, rows: func() found {
		if most < rows/64 { // a bit for every row would cost more than sorting them
			list := make([]uint32, 0, most)
			for _, s := range spans {
				list = r.list(s.low, s.high, list)
			}
			slices.Sort(list)
			return found{list: slices.Compact(list), exact: true, share: 1}
		}
		dense := make([]uint64, (rows+63)/64)
		for _, s := range spans {
			r.mark(s.low, s.high, dense)
		}
		return found{dense: dense, exact: true, share: 1}
	}})
}

// count reads two blocks only.
func (r *ranked) count(low, high int64) (n int) {
	if low > high || len(r.blocks) == 0 {
		return 0
	}
	first, from, _ := r.find(pair{value: low})
	last, to, there := r.find(pair{high, math.MaxUint32})
	if there {
		to++
	}
	for i := first; i < last; i++ {
		n += len(r.blocks[i])
	}
	return n + to - from
}

// runs visits the pairs with values in [low, high], ascending, some at a time.
func (r *ranked) runs(low, high int64, visit func([]pair)) {
	if low > high {
		return
	}
	block, at, _ := r.find(pair{value: low})
	for ; block < len(r.blocks); block, at = block+1, 0 {
		b := r.blocks[block]
		end := len(b)
		if b[end-1].value > high {
			end, _ = slices.BinarySearchFunc(b, high, func(p pair, v int64) int {
				if p.value <= v {
					return -1
				}
				return 1
			})
		}
		if at < end {
			visit(b[at:end])
		}
		if end < len(b) {
			return
		}
	}
}

func (r *ranked) mark(low, high int64, dense []uint64) {
	r.runs(low, high, func(b []pair) {
		for _, p := range b {
			dense[p.row/64] |= 1 << (p.row % 64)
		}
	})
}

func (r *ranked) list(low, high int64, dst []uint32) []uint32 {
	r.runs(low, high, func(b []pair) {
		for _, p := range b {
			dst = append(dst, p.row)
		}
	})
	return dst
}

func (r *ranked) walk(from int64, down bool, visit func(pair) bool) {
	if !down {
		block, at, _ := r.find(pair{value: from})
		for ; block < len(r.blocks); block, at = block+1, 0 {
			for _, p := range r.blocks[block][at:] {
				if !visit(p) {
					return
				}
			}
		}
		return
	}
	block, at, there := r.find(pair{from, math.MaxUint32})
	if there {
		at++
	}
	for ; block >= 0 && block < len(r.blocks); block-- {
		for i := at - 1; i >= 0; i-- {
			if !visit(r.blocks[block][i]) {
				return
			}
		}
		if block > 0 {
			at = len(r.blocks[block-1])
		}
	}
}

// orderOf maps numbers to integers of the same order; the two zeros are equal.
func orderOf(f float64) int64 {
	b := int64(math.Float64bits(f + 0))
	if b < 0 {
		return math.MinInt64 - b
	}
	return b
}

// none is the span of no value.
func none() span { return span{1, 0} }

// bounds turns the four bounds of a range into one closed interval. value maps a
// bound; none holds for what is not comparable.
func bounds[T any](gt, gte, lt, lte *T, value func(T) int64) span {
	low, high := int64(math.MinInt64), int64(math.MaxInt64)
	if gte != nil {
		low = value(*gte)
	}
	if gt != nil {
		v := value(*gt)
		if v == math.MaxInt64 {
			return none()
		}
		low = max(low, v+1)
	}
	if lte != nil {
		high = value(*lte)
	}
	if lt != nil {
		v := value(*lt)
		if v == math.MinInt64 {
			return none()
		}
		high = min(high, v-1)
	}
	return span{low, high}
}
