package payload

import (
	"math"

	"github.com/RoaringBitmap/roaring/v2"
	"github.com/google/uuid"

	"github.com/pandodb/pando/services/dataplane/internal/filter"
	"github.com/pandodb/pando/services/dataplane/internal/filter/analysis"
	doc "github.com/pandodb/pando/services/dataplane/internal/payload"
	"github.com/pandodb/pando/services/dataplane/internal/query"
	"github.com/pandodb/pando/services/internal/topology"
)

func (p *planner) condition(c filter.Condition, at string) term {
	switch c := c.(type) {
	case *filter.Filter:
		return p.group(c, at)
	case filter.Nested:
		return p.group(&c.Filter, at+filter.Elements(c.Key))
	case filter.HasID:
		if at == "" {
			return p.points(c.IDs)
		}
	case filter.Slice:
		if at == "" {
			return term{likes: 1 / float64(c.Total)}
		}
	case filter.Match:
		return p.on(at, c.Key, func(f *field) term { return f.anyOf([]filter.Scalar{c.Value}) })
	case filter.MatchAny:
		if c.Except {
			return p.on(at, c.Key, func(f *field) term { return p.except(f, c.Values) })
		}
		return p.on(at, c.Key, func(f *field) term { return f.anyOf(c.Values) })
	case filter.Text:
		return p.on(at, c.Key, func(f *field) term { return p.text(f, &c) })
	case filter.Prefix:
		return p.on(at, c.Key, func(f *field) term {
			if f.Type != query.KeywordField {
				return nothing()
			}
			return ofPrefix(f.words, c.Text)
		})
	case filter.Range:
		return p.on(at, c.Key, func(f *field) term { return f.between(&c, p.rows.Len()) })
	case filter.TimeRange:
		return p.on(at, c.Key, func(f *field) term {
			if f.Type != query.DatetimeField {
				return nothing()
			}
			return within(f.order, p.rows.Len(), bounds(c.GT, c.GTE, c.LT, c.LTE, func(n int64) int64 { return n }))
		})
	case filter.GeoBox:
		return p.area(at, c.Key, c)
	case filter.GeoRadius:
		return p.area(at, c.Key, c)
	case filter.GeoPolygon:
		return p.area(at, c.Key, c)
	case filter.ValuesCount:
		return p.on(at, c.Key, func(f *field) term { return p.sizes(f, &c, at == "") })
	case filter.IsNull:
		return p.on(at, c.Key, func(f *field) term { return of(f.nulls) })
	case filter.IsEmpty:
		if at == "" {
			return p.on(at, c.Key, p.unfilled)
		}
	}
	return nothing()
}

// on asks the indexes on a key until one knows something.
func (p *planner) on(at string, key filter.Key, ask func(*field) term) term {
	path, err := doc.ParsePath(at + string(key))
	if err != nil {
		return nothing()
	}
	name := path.String()
	for _, f := range p.set.fields {
		if f.name != name {
			continue
		}
		if t := ask(f); t.known {
			return p.share(t)
		}
	}
	return nothing()
}

func of(set *roaring.Bitmap) term {
	return counted(term{most: int(set.GetCardinality()), rows: func() found { return exactly(set) }})
}

// inexact is t with rows that need not satisfy it.
func inexact(t term) term {
	rows := t.rows
	t.rows = func() found {
		f := rows()
		f.exact = false
		return f
	}
	return t
}

func (p *planner) unfilled(f *field) term {
	return counted(term{most: max(0, p.total-int(f.filled.GetCardinality())), costs: true, rows: func() found {
		return exactly(roaring.AndNot(p.rows.Used(), f.filled))
	}})
}

// points is the term of has_id.
func (p *planner) points(ids []topology.PointID) term {
	return p.share(counted(term{most: min(len(ids), p.total), costs: true, rows: func() found {
		set := roaring.New()
		for _, id := range ids {
			if row, ok := p.rows.Row(id); ok {
				set.Add(row)
			}
		}
		return exactly(set)
	}}))
}

// anyOf is the term of match value and match any.
func (f *field) anyOf(values []filter.Scalar) term {
	kind := filter.StringScalar
	if len(values) > 0 {
		kind = values[0].Kind
	}
	var key func(filter.Scalar) string
	switch {
	case f.Type == query.KeywordField && kind == filter.StringScalar:
		key = func(s filter.Scalar) string { return s.Str }
	case f.Type == query.UUIDField && kind == filter.StringScalar:
		return f.uuids(values)
	case f.Type == query.IntegerField && f.Lookup && kind == filter.IntScalar:
		key = func(s filter.Scalar) string { return intKey(s.Int) }
	case f.Type == query.BoolField && kind == filter.BoolScalar:
		key = func(s filter.Scalar) string { return boolKey(s.Bool) }
	default:
		return nothing()
	}
	return ofKeys(f.words, each(values, key))
}

// uuids is not exact: a UUID has several texts.
func (f *field) uuids(values []filter.Scalar) term {
	keys := make([]string, 0, len(values))
	for _, v := range values {
		id, err := uuid.Parse(v.Str)
		if err != nil {
			return nothing() // a text that is not in the index may equal it
		}
		keys = append(keys, string(id[:]))
	}
	return inexact(ofKeys(f.words, keys))
}

// except is the term of any value but those: of the rows with one value it is
// known, the mixed ones have to be asked.
func (p *planner) except(f *field, values []filter.Scalar) term {
	listed, mixed := f.anyOf(values), of(f.mixed)
	t := of(f.filled)
	if !listed.known || f.Type == query.UUIDField {
		return inexact(t)
	}
	t.costs, t.guess = true, max(0, t.most-listed.most)
	t.rows = func() found {
		return found{set: roaring.Or(roaring.AndNot(f.filled, listed.rows().bitmap()), f.mixed), exact: mixed.most == 0, share: 1}
	}
	return t
}

// sizes is the term of values_count: rows that are not mixed have one value, or
// none if they are not filled. whole: the condition is about points, so that a
// row without the key is one without a value.
func (p *planner) sizes(f *field, c *filter.ValuesCount, whole bool) term {
	holds := func(n uint64) bool {
		return (c.GT == nil || n > *c.GT) && (c.GTE == nil || n >= *c.GTE) && (c.LT == nil || n < *c.LT) && (c.LTE == nil || n <= *c.LTE)
	}
	empty := p.unfilled(f)
	filled, mixed := int(f.filled.GetCardinality()), int(f.mixed.GetCardinality())
	t := counted(term{costs: true, most: mixed, blind: mixed > 0})
	if holds(0) {
		if !whole {
			return nothing()
		}
		t.most += empty.most
	}
	if holds(1) {
		t.most += filled - mixed
	}
	t.guess = t.most - mixed/2
	t.rows = func() found {
		set := f.mixed
		if holds(0) {
			set = roaring.Or(set, empty.rows().bitmap())
		}
		if holds(1) {
			set = roaring.Or(set, f.filled)
		}
		return found{set: set, exact: mixed == 0, share: 1}
	}
	return t
}

func (f *field) between(r *filter.Range, rows int) term {
	if f.order == nil || f.Type == query.DatetimeField || f.Type == query.GeoField {
		return nothing()
	}
	s := bounds(r.GT, r.GTE, r.LT, r.LTE, orderOf)
	for _, b := range []*float64{r.GT, r.GTE, r.LT, r.LTE} {
		if b != nil && math.IsNaN(*b) {
			s = none()
		}
	}
	return within(f.order, rows, s)
}

// area is the term of places: those of the cells that cover it.
func (p *planner) area(at string, key filter.Key, c filter.Condition) term {
	return p.on(at, key, func(f *field) term {
		if f.Type != query.GeoField {
			return nothing()
		}
		return inexact(within(f.order, p.rows.Len(), cover(c)...))
	})
}

// text is the term of words, if they are cut as the index cuts them.
func (p *planner) text(f *field, c *filter.Text) term {
	if f.Type != query.TextField || c.With == nil || c.With.Params() != f.Text {
		return nothing()
	}
	words := c.With.Query(c.Mode, c.Words).Words()
	terms := each(words, func(word string) term {
		if f.Text.Tokenizer == analysis.Prefix {
			return p.share(ofPrefix(f.words, word))
		}
		return p.share(ofKeys(f.words, []string{word}))
	})
	var t term
	switch {
	case len(words) == 0:
		return union(nil)
	case c.Mode == analysis.Any:
		t = p.anyOf(terms)
	default:
		t = p.allOf(terms)
	}
	t.guess = int(math.Round(t.likes * float64(p.total)))
	if c.Mode != analysis.Phrase || len(words) == 1 {
		return t
	}
	if f.lines == nil {
		return inexact(t)
	}
	all := t.rows
	t.rows = func() found {
		return exactly(f.lines.having(all().bitmap(), c.With.Query(c.Mode, c.Words)))
	}
	return t
}
