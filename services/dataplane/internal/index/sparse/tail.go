package sparse

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/pandodb/pando/services/dataplane/internal/index"
	"github.com/pandodb/pando/services/dataplane/internal/query"
)

// Tail is the mutable form. Its caller's lock keeps writers from everybody else;
// any number of searches may run at once.
//
// A row that is put gets the next slot, so that lists only grow at their ends; slots
// of rows that are gone stay until they are as many as the others.
type Tail struct {
	datatype query.Datatype
	lists    lists
	slots    map[uint32]uint32 // of rows
	rows     []uint32          // of slots; gone: none
	vectors  []Vector          // of slots; weights are rounded, gone: empty
	scratch  sync.Pool         // *searcher
	stored   func(row uint32) (Vector, bool)
}

// none is the row of a slot that is gone.
const none = ^uint32(0)

// slack is how many slots that are gone are not worth a new beginning.
const slack = 1024

// NewTail makes an empty one whose weights have a datatype.
func NewTail(t query.Datatype) *Tail {
	x := &Tail{datatype: t}
	x.scratch.New, x.stored = newSearcher, x.Vector
	x.reset(0)
	return x
}

func (x *Tail) reset(rows int) {
	x.lists, x.slots, x.rows, x.vectors = lists{}, make(map[uint32]uint32, rows), nil, nil
}

// Put stores a copy of v at row, in place of what was there. An empty vector counts
// as one. Errors: ErrVector, index.ErrRow; nothing is stored then.
func (x *Tail) Put(row uint32, v Vector) error {
	if row > index.MaxRow {
		return fmt.Errorf("put: %w: %d", index.ErrRow, row)
	}
	if err := v.check(); err != nil {
		return fmt.Errorf("put: %w", err)
	}
	x.Delete(row)
	v = Vector{slices.Clone(v.Indices), slices.Clone(v.Weights)}
	for i, w := range v.Weights {
		v.Weights[i] = Round(x.datatype, w)
	}
	x.put(row, v)
	return nil
}

func (x *Tail) put(row uint32, v Vector) {
	slot := uint32(len(x.rows))
	x.slots[row] = slot
	x.rows, x.vectors = append(x.rows, row), append(x.vectors, v)
	x.lists.add(slot, v, x.datatype)
}

// Delete takes row out and tells whether it held a vector.
func (x *Tail) Delete(row uint32) bool {
	slot, ok := x.slots[row]
	if !ok {
		return false
	}
	for _, dim := range x.vectors[slot].Indices {
		x.lists[dim].dead++
	}
	delete(x.slots, row)
	x.rows[slot], x.vectors[slot] = none, Vector{}
	if gone := len(x.rows) - len(x.slots); gone > len(x.slots)+slack {
		x.compact()
	}
	return true
}

// compact numbers the slots anew.
func (x *Tail) compact() {
	rows, vectors := x.rows, x.vectors
	x.reset(len(x.slots))
	for slot, row := range rows {
		if row != none {
			x.put(row, vectors[slot])
		}
	}
}

// Vector is the vector of row with its rounded weights; false if there is none. It
// must not be changed, and not be used beside a writer.
func (x *Tail) Vector(row uint32) (Vector, bool) {
	slot, ok := x.slots[row]
	if !ok {
		return Vector{}, false
	}
	return x.vectors[slot], true
}

// Len counts the rows that hold a vector.
func (x *Tail) Len() int { return len(x.slots) }

// Frequency counts the rows that have a dimension.
func (x *Tail) Frequency(dim uint32) int {
	if p := x.lists[dim]; p != nil {
		return len(p.slots) - p.dead
	}
	return 0
}

// Search appends to dst at most q.K hits, the best first. Errors: ErrVector,
// index.ErrRow, or ctx's when it ended before the search did.
func (x *Tail) Search(ctx context.Context, q *Query, dst []index.Hit) ([]index.Hit, error) {
	if err := q.check(); err != nil {
		return dst, err
	}
	s := x.scratch.Get().(*searcher)
	defer func() { s.release(); x.scratch.Put(s) }()
	s.begin(q, x.datatype, len(x.rows), x.rows)
	if q.Rank != nil {
		s.stored = x.stored
	}
	if s.scans() {
		return s.run(ctx, dst)
	}
	if q.Rows != nil {
		s.only = s.only[:0]
		for _, row := range q.Rows {
			if slot, ok := x.slots[row]; ok {
				s.only = append(s.only, slot)
			}
		}
	}
	s.look(func(dim uint32, weight float32) {
		if p := x.lists[dim]; p != nil {
			s.term(weight, p)
		}
	})
	return s.run(ctx, dst)
}
