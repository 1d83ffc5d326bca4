// Package payload is the indexes on fields of payloads: for each indexed path,
// which rows have which values. From them a filter becomes a set of rows that
// holds at least every row which satisfies it; where the set is not exact the
// filter is asked about each of its rows. So an index changes how fast an answer
// is, never what it says.
//
// It lives in memory, is filled by whoever shows rows, and keeps nothing on a
// disk. It reads values as package filter does: all values at the path, the
// elements of lists one level deep.
//
// Concurrency: one writer (Put), and no reader beside it; readers do not disturb
// each other.
package payload

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/RoaringBitmap/roaring/v2"
	"github.com/google/uuid"

	"github.com/pandodb/pando/services/dataplane/internal/filter"
	doc "github.com/pandodb/pando/services/dataplane/internal/payload"
	"github.com/pandodb/pando/services/dataplane/internal/query"
)

// Set is the indexes of a shard. The zero Set has none.
type Set struct{ fields []*field }

// field is the index on one path.
type field struct {
	query.FieldIndex
	path doc.Path
	name string // the path in its one text form

	typed  *roaring.Bitmap // rows with a value of the type
	filled *roaring.Bitmap // rows with a value that is_empty does not hold for
	nulls  *roaring.Bitmap // rows that is_null holds for

	words postings[string]    // KeywordField
	ids   postings[uuid.UUID] // UUIDField
	whole postings[int64]     // IntegerField with Lookup; BoolField, 1 is true
	order *ranked             // by orderOf: IntegerField with Range, FloatField; by microseconds: DatetimeField
}

// Change makes the set that specs ask for. What was indexed the same way before
// is shared with s; fresh has the rest, still empty: Put every row into it before
// next is used. Errors: doc.ErrPath, filter.ErrFilter for a type that is unknown.
func (s *Set) Change(specs []query.FieldIndex) (next, fresh *Set, err error) {
	next, fresh = &Set{}, &Set{}
	for _, spec := range specs {
		if i := slices.IndexFunc(s.fields, func(f *field) bool { return f.FieldIndex == spec }); i >= 0 {
			next.fields = append(next.fields, s.fields[i])
			continue
		}
		f, err := newField(spec)
		if err != nil {
			return nil, nil, err
		}
		next.fields, fresh.fields = append(next.fields, f), append(fresh.fields, f)
	}
	return next, fresh, nil
}

func newField(spec query.FieldIndex) (*field, error) {
	path, err := doc.ParsePath(spec.Key)
	if err != nil {
		return nil, err
	}
	f := &field{FieldIndex: spec, path: path, name: path.String(), typed: roaring.New(), filled: roaring.New(), nulls: roaring.New()}
	switch spec.Type {
	case query.KeywordField:
		f.words = postings[string]{}
	case query.UUIDField:
		f.ids = postings[uuid.UUID]{}
	case query.BoolField:
		f.whole = postings[int64]{}
	case query.FloatField, query.DatetimeField:
		f.order = &ranked{}
	case query.IntegerField:
		if spec.Lookup {
			f.whole = postings[int64]{}
		}
		if spec.Range {
			f.order = &ranked{}
		}
	default:
		return nil, fmt.Errorf("%w: index on %q has the unknown type %d", filter.ErrFilter, spec.Key, spec.Type)
	}
	return f, nil
}

// Empty tells that nothing is indexed.
func (s *Set) Empty() bool { return len(s.fields) == 0 }

// Count is how many rows have a value of its type, by the key of each index; rows in
// but do not count, nil: all do.
func (s *Set) Count(but *roaring.Bitmap) map[string]uint64 {
	out := make(map[string]uint64, len(s.fields))
	for _, f := range s.fields {
		out[f.Key] = f.typed.GetCardinality()
		if but != nil {
			out[f.Key] -= f.typed.AndCardinality(but)
		}
	}
	return out
}

// Put replaces the payload of a row, old as it was put before, by fresh; nil is
// a row without payload, or none. It keeps nothing of either.
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

func (f *field) set(row uint32, d doc.Doc) {
	f.path.Walk(d, func(v doc.Value) bool {
		if filter.Filled(v) {
			f.filled.Add(row)
		}
		if filter.Null(v) {
			f.nulls.Add(row)
		}
		return true
	})
	f.values(d, func(v doc.Value) {
		if t, ok := f.read(v); ok {
			f.typed.Add(row)
			f.put(row, t)
		}
	})
}

func (f *field) clear(row uint32, d doc.Doc) {
	f.filled.Remove(row)
	f.nulls.Remove(row)
	f.typed.Remove(row)
	f.values(d, func(v doc.Value) {
		if t, ok := f.read(v); ok {
			f.take(row, t)
		}
	})
}

// value is a value as the index keeps it; which fields count says its type.
type value struct {
	word  string
	id    uuid.UUID
	whole int64
	is    bool // whole counts
	rank  int64
}

// read tells whether v is of the index's type, and what is kept of it.
func (f *field) read(v doc.Value) (out value, ok bool) {
	kind := v.Kind()
	switch f.Type {
	case query.KeywordField:
		return value{word: v.Str()}, kind == doc.String
	case query.UUIDField:
		id, ok := uuidOf(v)
		return value{id: id}, ok
	case query.BoolField:
		if v.Bool() {
			out.whole = 1
		}
		out.is = true
		return out, kind == doc.Bool
	case query.DatetimeField:
		out.rank, ok = doc.Micros(v.Str())
		return out, ok
	default:
		n, ok := v.Number()
		return value{whole: v.Int(), is: kind == doc.Integer, rank: orderOf(n)}, ok
	}
}

func uuidOf(v doc.Value) (uuid.UUID, bool) {
	if v.Kind() != doc.String {
		return uuid.UUID{}, false
	}
	id, err := uuid.Parse(v.Str())
	return id, err == nil
}

func (f *field) put(row uint32, v value) {
	if f.words != nil {
		f.words.add(v.word, row, strings.Clone)
	}
	if f.ids != nil {
		f.ids.add(v.id, row, same)
	}
	if f.whole != nil && v.is {
		f.whole.add(v.whole, row, same)
	}
	if f.order != nil {
		f.order.add(v.rank, row)
	}
}

func same[K any](k K) K { return k }

func (f *field) take(row uint32, v value) {
	if f.words != nil {
		f.words.remove(v.word, row)
	}
	if f.ids != nil {
		f.ids.remove(v.id, row)
	}
	if f.whole != nil && v.is {
		f.whole.remove(v.whole, row)
	}
	if f.order != nil {
		f.order.remove(v.rank, row)
	}
}
