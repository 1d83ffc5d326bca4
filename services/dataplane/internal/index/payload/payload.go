// Package payload is the indexes on fields of payloads: for each indexed path,
// which rows have which values. From them a filter becomes a set of rows that
// holds at least every row which satisfies it; where the set is not exact the
// filter is asked about each of its rows. So an index changes how fast an answer
// is, never what it says. What an index on text changes is in the filter already,
// since that is bound to it (filter.Texts).
//
// A Set is of a tail, lives in memory and follows Put; or it is opened from the
// files that a Builder made of rows that do not change (docs/format/fields.md). It
// reads values as package filter does: all values at the path, the elements of
// lists one level deep.
//
// Concurrency: a tail has one writer (Put), and no reader beside it. What was
// opened is immutable and read by many, without locks. Readers do not disturb
// each other.
package payload

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/RoaringBitmap/roaring/v2"
	"github.com/google/uuid"

	"github.com/pandodb/pando/services/dataplane/internal/filter"
	"github.com/pandodb/pando/services/dataplane/internal/filter/analysis"
	doc "github.com/pandodb/pando/services/dataplane/internal/payload"
	"github.com/pandodb/pando/services/dataplane/internal/query"
)

// Set is the indexes of a tail or of a sealed part. The zero Set has none.
type Set struct {
	fields []*field
	sealed bool // opened: rows that are dead meanwhile are still in it
}

// field is the index on one path.
type field struct {
	query.FieldIndex
	path     doc.Path
	name     string             // the path in its one text form
	analyzer *analysis.Analyzer // TextField

	typed  *roaring.Bitmap // rows with a value of the type
	filled *roaring.Bitmap // rows with a value that is_empty does not hold for
	nulls  *roaring.Bitmap // rows that is_null holds for
	mixed  *roaring.Bitmap // filled rows with more than one value, or with a null

	words inverted // nil, or by key: keyword, integer with lookup, bool, UUID; words of a text
	order ordered  // nil, or by rank: integer with range, float, datetime, geo
	lines *lines   // nil, or the words of each row in order: text with phrases, of an opened set

	own   postings // words, of a tail
	pairs *ranked  // order, of a tail
}

// inverted is the rows by value.
type inverted interface {
	get(key string) posting
	// prefixed visits the rows of all keys that begin so; each visits everything. Both
	// in no order; a posting that was visited lasts until the next.
	prefixed(prefix string, visit func(posting))
	each(visit func(key string, p posting))
}

// ordered is pairs of value and row in ascending order.
type ordered interface {
	// count is how many pairs have values in [low, high], without visiting them.
	count(low, high int64) int
	// mark sets the bits of the rows with values in [low, high]; list appends these
	// rows, in the order of the values.
	mark(low, high int64, dense []uint64)
	list(low, high int64, dst []uint32) []uint32
	// walk visits pairs in ascending order from a value on, or descending from it
	// down, until visit answers false.
	walk(from int64, down bool, visit func(pair) bool)
}

// Texts are the analyzers of what is indexed as text: what filters are to be bound
// to. Where two indexes are on one path it is that of the first.
func (s *Set) Texts() filter.Texts {
	var out filter.Texts
	for _, f := range s.fields {
		if f.analyzer == nil || out[f.name] != nil {
			continue
		}
		if out == nil {
			out = filter.Texts{}
		}
		out[f.name] = f.analyzer
	}
	return out
}

// Change makes the set that specs ask for, of a tail. What was indexed the same
// way before is shared with s; fresh has the rest, still empty: Put every row into
// it before next is used. Errors: doc.ErrPath, analysis.ErrParams,
// filter.ErrFilter for a type that is unknown.
func (s *Set) Change(specs []query.FieldIndex) (next, fresh *Set, err error) {
	next, fresh = &Set{}, &Set{}
	for _, spec := range specs {
		if i := slices.IndexFunc(s.fields, func(f *field) bool { return f.Index() == spec.Index() }); i >= 0 {
			next.fields = append(next.fields, s.fields[i])
			continue
		}
		f, err := newField(spec)
		if err != nil {
			return nil, nil, err
		}
		if f.keyed() {
			f.own = postings{}
			f.words = f.own
		}
		if f.ranks() {
			f.pairs = &ranked{}
			f.order = f.pairs
		}
		next.fields, fresh.fields = append(next.fields, f), append(fresh.fields, f)
	}
	return next, fresh, nil
}

// newField is the index before it has rows, or a place for them.
func newField(spec query.FieldIndex) (*field, error) {
	path, err := doc.ParsePath(spec.Key)
	if err != nil {
		return nil, err
	}
	f := &field{FieldIndex: spec, path: path, name: path.String(), typed: roaring.New(), filled: roaring.New(), nulls: roaring.New(), mixed: roaring.New()}
	switch {
	case spec.Type < query.KeywordField || spec.Type > query.TextField:
		return nil, fmt.Errorf("%w: index on %q has the unknown type %d", filter.ErrFilter, spec.Key, spec.Type)
	case spec.Type == query.TextField:
		if f.analyzer, err = analysis.New(spec.Text); err != nil {
			return nil, fmt.Errorf("index on %q: %w", spec.Key, err)
		}
	}
	return f, nil
}

// keyed tells whether the index has rows by key.
func (f *field) keyed() bool {
	switch f.Type {
	case query.KeywordField, query.UUIDField, query.BoolField, query.TextField:
		return true
	default:
		return f.Type == query.IntegerField && f.Lookup
	}
}

// ranks tells whether the index has rows by rank.
func (f *field) ranks() bool {
	switch f.Type {
	case query.FloatField, query.DatetimeField, query.GeoField:
		return true
	default:
		return f.Type == query.IntegerField && f.Range
	}
}

// Empty tells that nothing is indexed.
func (s *Set) Empty() bool { return len(s.fields) == 0 }

// Specs are what is indexed.
func (s *Set) Specs() []query.FieldIndex {
	return each(s.fields, func(f *field) query.FieldIndex { return f.FieldIndex })
}

// Count is how many rows have a value of its type, by the key of each index; of an
// opened set the dead ones too, unless live says which are not.
func (s *Set) Count(live ...*roaring.Bitmap) map[string]uint64 {
	out := make(map[string]uint64, len(s.fields))
	for _, f := range s.fields {
		out[f.Key] = f.typed.GetCardinality()
		for _, rows := range live {
			out[f.Key] = f.typed.AndCardinality(rows)
		}
	}
	return out
}

// Put replaces the payload of a row of a tail, old as it was put before, by fresh;
// nil is a row without payload, or none. It keeps nothing of either.
func (s *Set) Put(row uint32, old, fresh doc.Doc) {
	for _, f := range s.fields {
		was, had := old.Get(f.path.Top())
		is, has := fresh.Get(f.path.Top())
		if had == has && bytes.Equal(was, is) {
			continue
		}
		if had {
			f.clear(row, old)
		}
		if has {
			f.set(row, fresh)
		}
	}
}

// values visits what conditions on the field are about: all values at the path,
// lists replaced by their elements.
func (f *field) values(d doc.Doc, visit func(doc.Value)) {
	f.path.Walk(d, func(v doc.Value) bool {
		if v.Kind() != doc.List {
			visit(v)
		}
		for e := range v.Elements() {
			visit(e)
		}
		return true
	})
}

// shape is what can be said of the values at a path without their type.
type shape struct{ filled, null, mixed bool }

func (f *field) shape(d doc.Doc) (s shape) {
	values, elements := 0, 0
	f.path.Walk(d, func(v doc.Value) bool {
		values++
		elements += int(filter.Size(v))
		s.filled = s.filled || filter.Filled(v)
		s.null = s.null || filter.Null(v)
		return true
	})
	s.mixed = s.filled && (values > 1 || elements > 1 || s.null)
	return s
}

func (f *field) set(row uint32, d doc.Doc) {
	s := f.shape(d)
	for _, b := range []struct {
		is  bool
		set *roaring.Bitmap
	}{{s.filled, f.filled}, {s.null, f.nulls}, {s.mixed, f.mixed}} {
		if b.is {
			b.set.Add(row)
		}
	}
	f.values(d, func(v doc.Value) {
		if f.read(v, func(t value) { f.put(row, t) }) {
			f.typed.Add(row)
		}
	})
}

func (f *field) clear(row uint32, d doc.Doc) {
	for _, set := range []*roaring.Bitmap{f.filled, f.nulls, f.mixed, f.typed} {
		set.Remove(row)
	}
	f.values(d, func(v doc.Value) { f.read(v, func(t value) { f.take(row, t) }) })
}

// value is what an index keeps of a value.
type value struct {
	key    string
	is     bool // key counts
	rank   int64
	number float64
}

// read tells whether v is of the index's type, and emits what is kept of it.
func (f *field) read(v doc.Value, emit func(value)) (ok bool) {
	kind := v.Kind()
	var out value
	switch f.Type {
	case query.KeywordField:
		out, ok = value{key: v.Str(), is: true}, kind == doc.String
	case query.TextField:
		if kind == doc.String {
			f.analyzer.Words(v.Str(), func(word string) bool {
				emit(value{key: word, is: true})
				return true
			})
		}
		return kind == doc.String
	case query.UUIDField:
		var id uuid.UUID
		id, ok = uuidOf(v)
		out = value{key: string(id[:]), is: true}
	case query.BoolField:
		out, ok = value{key: boolKey(v.Bool()), is: true}, kind == doc.Bool
	case query.DatetimeField:
		out.rank, ok = doc.Micros(v.Str())
	case query.GeoField:
		var at filter.Place
		at, ok = filter.PlaceOf(v)
		out.rank = cellOf(at)
	default:
		out.number, ok = v.Number()
		out.rank = orderOf(out.number)
		if f.Lookup && kind == doc.Integer {
			out.key, out.is = intKey(v.Int()), true
		}
	}
	if ok {
		emit(out)
	}
	return ok
}

func boolKey(b bool) string {
	if b {
		return "\x01"
	}
	return "\x00"
}

// intKey has the order of numbers.
func intKey(n int64) string {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], uint64(n)^1<<63)
	return string(b[:])
}

func intOf(key string) int64 { return int64(binary.BigEndian.Uint64([]byte(key)) ^ 1<<63) }

func uuidOf(v doc.Value) (uuid.UUID, bool) {
	if v.Kind() != doc.String {
		return uuid.UUID{}, false
	}
	id, err := uuid.Parse(v.Str())
	return id, err == nil
}

func (f *field) put(row uint32, v value) {
	if f.own != nil && v.is {
		f.own.add(v.key, row)
	}
	if f.pairs != nil {
		f.pairs.add(v.rank, row)
	}
}

func (f *field) take(row uint32, v value) {
	if f.own != nil && v.is {
		f.own.remove(v.key, row)
	}
	if f.pairs != nil {
		f.pairs.remove(v.rank, row)
	}
}
