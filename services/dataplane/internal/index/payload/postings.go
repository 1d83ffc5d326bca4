package payload

import (
	"slices"
	"strings"

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

// among is how many of the rows are in set.
func (p *posting) among(set *roaring.Bitmap) (n int) {
	if p.many != nil {
		return int(p.many.AndCardinality(set))
	}
	for _, row := range p.list {
		if set.Contains(row) {
			n++
		}
	}
	return n
}

// postings are the rows by value, of a tail. By pointers: assigning to a string key
// that a map has replaces the key too, and the one at hand is only lent.
type postings map[string]*posting

func (ps postings) get(key string) posting {
	if p := ps[key]; p != nil {
		return *p
	}
	return posting{}
}

func (ps postings) prefixed(prefix string, visit func(posting)) {
	for key, p := range ps {
		if strings.HasPrefix(key, prefix) {
			visit(*p)
		}
	}
}

func (ps postings) each(visit func(string, posting)) {
	for key, p := range ps {
		visit(key, *p)
	}
}

// add gives row the value, which is copied where it is new.
func (ps postings) add(value string, row uint32) {
	p := ps[value]
	if p == nil {
		p = &posting{}
		ps[strings.Clone(value)] = p
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
		*p = posting{many: roaring.BitmapOf(p.list...)}
	}
}

// remove takes the value from row.
func (ps postings) remove(value string, row uint32) {
	p := ps[value]
	if p == nil {
		return
	}
	if p.many != nil {
		p.many.Remove(row)
	} else if at, there := slices.BinarySearch(p.list, row); there {
		p.list = slices.Delete(p.list, at, at+1)
	}
	if p.many != nil && p.many.IsEmpty() || p.many == nil && len(p.list) == 0 {
		delete(ps, value)
	}
}

// union is the term of the rows that are in one of ps.
func union(ps []posting) term {
	most := 0
	for _, p := range ps {
		most += p.len()
	}
	return counted(term{most: most, costs: len(ps) > 1, rows: func() found {
		if len(ps) == 1 {
			return exactly(ps[0].bitmap())
		}
		var list []uint32
		var sets []*roaring.Bitmap
		for _, p := range ps {
			if p.many != nil {
				sets = append(sets, p.many)
			} else {
				list = append(list, p.list...)
			}
		}
		return exactly(roaring.FastOr(append(sets, roaring.BitmapOf(list...))...))
	}})
}

// ofKeys is the term of the rows that have one of keys.
func ofKeys(words inverted, keys []string) term { return union(each(keys, words.get)) }

// ofPrefix is the term of the rows that have a key which begins so.
func ofPrefix(words inverted, prefix string) term {
	var ps []posting
	words.prefixed(prefix, func(p posting) { ps = append(ps, posting{slices.Clone(p.list), p.many}) })
	return union(ps)
}
