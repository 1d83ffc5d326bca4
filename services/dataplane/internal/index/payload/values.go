package payload

import (
	"maps"
	"math"
	"slices"

	"github.com/RoaringBitmap/roaring/v2"
	"github.com/google/uuid"

	"github.com/pandodb/pando/services/dataplane/internal/filter"
	doc "github.com/pandodb/pando/services/dataplane/internal/payload"
	"github.com/pandodb/pando/services/dataplane/internal/query"
)

// Of makes an exact selection of rows, ascending or not.
func Of(rows []uint32) Selection { return OfSet(roaring.BitmapOf(rows...)) }

// OfSet makes an exact selection of a set that stays as it is.
func OfSet(set *roaring.Bitmap) Selection { return Selection{found: exactly(set), Exact: true} }

// Facet counts the rows of sel, which is exact, that have each value of the field
// at key; nil counts all rows, in an opened set the dead ones too. The first limit
// hits in the order of query.CompareFacets are given, all of them with limit 0.
// false: no index can tell.
func (s *Set) Facet(key string, sel *Selection, limit int) ([]query.FacetHit, bool) {
	f := s.find(key, func(f *field) bool { return f.words != nil && f.Type != query.TextField })
	if f == nil {
		return nil, false
	}
	var set *roaring.Bitmap
	if sel != nil {
		set = sel.Set()
	}
	var hits []query.FacetHit
	f.words.each(func(key string, p posting) {
		n := 0
		if sel == nil {
			n = p.len()
		} else {
			n = p.among(set)
		}
		if n > 0 {
			hits = append(hits, query.FacetHit{Value: f.scalar(key), Count: uint64(n)})
		}
	})
	slices.SortFunc(hits, query.CompareFacets)
	if limit > 0 && limit < len(hits) {
		hits = slices.Clip(hits[:limit])
	}
	return hits, true
}

// scalar is the value of a key.
func (f *field) scalar(key string) filter.Scalar {
	switch f.Type {
	case query.UUIDField:
		return filter.Scalar{Kind: filter.StringScalar, Str: uuid.UUID([]byte(key)).String()}
	case query.BoolField:
		return filter.Scalar{Kind: filter.BoolScalar, Bool: key == boolKey(true)}
	case query.IntegerField:
		return filter.Scalar{Kind: filter.IntScalar, Int: intOf(key)}
	default:
		return filter.Scalar{Kind: filter.StringScalar, Str: key}
	}
}

// find is the index on the path of key that fits; nil if there is none.
func (s *Set) find(key string, fits func(*field) bool) *field {
	path, err := doc.ParsePath(key)
	if err != nil {
		return nil
	}
	name := path.String()
	for _, f := range s.fields {
		if f.name == name && fits(f) {
			return f
		}
	}
	return nil
}

// Sorted is the rows in the order of one field.
type Sorted struct {
	f    *field
	from int64
	down bool
}

// Sort finds an index that has the order; false if there is none.
func (s *Set) Sort(o *query.Order) (Sorted, bool) {
	f := s.find(o.Key, func(f *field) bool { return f.order != nil && f.Type != query.GeoField })
	if f == nil {
		return Sorted{}, false
	}
	out := Sorted{f: f, from: math.MinInt64, down: o.Desc}
	switch {
	case o.From == nil && o.Desc:
		out.from = math.MaxInt64
	case o.From == nil:
	case f.Type == query.DatetimeField && !o.From.IsFloat:
		out.from = o.From.Int
	case o.From.IsFloat:
		out.from = orderOf(o.From.Float)
	default:
		out.from = orderOf(float64(o.From.Int))
	}
	return out, true
}

// Groups visits the rows that keep lets through, those of one value together in
// no order; rank tells the values apart. It ends when visit answers false.
func (s Sorted) Groups(keep func(row uint32) bool, visit func(rank int64, rows []uint32) bool) {
	var rows []uint32
	rank, more := int64(0), true
	s.f.order.walk(s.from, s.down, func(p pair) bool {
		if p.value != rank && len(rows) > 0 {
			more = visit(rank, rows)
			rows = rows[:0]
		}
		if rank = p.value; more && keep(p.row) {
			rows = append(rows, p.row)
		}
		return more
	})
	if more && len(rows) > 0 {
		visit(rank, rows)
	}
}

// Value is the value of rank in a payload that has it.
func (s Sorted) Value(rank int64, d doc.Doc) (out query.OrderValue) {
	found := false
	s.f.values(d, func(v doc.Value) {
		s.f.read(v, func(t value) {
			if found || t.rank != rank {
				return
			}
			found = true
			switch {
			case s.f.Type == query.DatetimeField:
				out.Int = rank
			case s.f.Type == query.IntegerField && v.Kind() == doc.Integer:
				out.Int = v.Int()
			default:
				out.Float, out.IsFloat = t.number, true
			}
		})
	})
	return out
}

// Groups are the rows of each value of a field of keywords, in the order of the
// values, each ascending and of two rows at least; none without an index.
func (s *Set) Groups(key string) [][]uint32 {
	f := s.find(key, func(f *field) bool { return f.Type == query.KeywordField })
	if f == nil {
		return nil
	}
	byValue := map[string][]uint32{}
	f.words.each(func(value string, p posting) {
		if p.len() > 1 {
			byValue[value] = p.bitmap().ToArray()
		}
	})
	var out [][]uint32
	for _, value := range slices.Sorted(maps.Keys(byValue)) {
		out = append(out, byValue[value])
	}
	return out
}
