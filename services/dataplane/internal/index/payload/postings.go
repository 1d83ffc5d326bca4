package payload

import (
	"slices"

	"github.com/RoaringBitmap/roaring/v2"
)

// few is how many rows of a value are kept as a plain list: most values of a
// field like an id have one row, for which a bitmap is large.
const few = 16

// posting is the set of rows that have one value.
type posting struct {
	list []uint32 // ascending; while many is nil
	many *roaring.Bitmap
}

func (p *posting) len() int {
	if p.many != nil {
		return int(p.many.GetCardinality())
	}
	return len(p.list)
}

// bitmap must not be changed.
func (p *posting) bitmap() *roaring.Bitmap {
	if p.many != nil {
		return p.many
	}
	return roaring.BitmapOf(p.list...)
}

// postings are the rows by value.
type postings[K comparable] map[K]posting

// add gives row the value; keep makes the key of one that is new.
func (ps postings[K]) add(value K, row uint32, keep func(K) K) {
	p, known := ps[value]
	if !known {
		value = keep(value)
	}
	if p.many != nil {
		p.many.Add(row)
		return
	}
	at, there := slices.BinarySearch(p.list, row)
	if there {
		return
	}
	if p.list = slices.Insert(p.list, at, row); len(p.list) > few {
		p = posting{many: roaring.BitmapOf(p.list...)}
	}
	ps[value] = p
}

// remove takes the value from row.
func (ps postings[K]) remove(value K, row uint32) {
	p := ps[value]
	if p.many != nil {
		if p.many.Remove(row); p.many.IsEmpty() {
			delete(ps, value)
		}
		return
	}
	at, there := slices.BinarySearch(p.list, row)
	switch {
	case !there:
	case len(p.list) == 1:
		delete(ps, value)
	default:
		p.list = slices.Delete(p.list, at, at+1)
		ps[value] = p
	}
}

// of is the term of the rows that have one of values.
func (ps postings[K]) of(values ...K) term {
	most := 0
	for _, v := range values {
		p := ps[v]
		most += p.len()
	}
	return term{known: true, most: most, costs: len(values) > 1, rows: func() (*roaring.Bitmap, bool) {
		if len(values) == 1 {
			p := ps[values[0]]
			return p.bitmap(), true
		}
		sets := make([]*roaring.Bitmap, 0, len(values))
		for _, v := range values {
			if p, ok := ps[v]; ok {
				sets = append(sets, p.bitmap())
			}
		}
		return roaring.FastOr(sets...), true
	}}
}
