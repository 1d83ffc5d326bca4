// Package sparse finds the points with the greatest inner products of sparse
// vectors, exactly: by inverted lists whose blocks know their extreme weights, so
// that what cannot enter the result is not read. It knows rows, as package index
// does, no disks and no goroutines.
//
// An Index is immutable and lies in the bytes that it was opened from; a Tail
// takes and loses rows. Both answer bit-equal scores, and so does every replica:
//
//	score = float32( Σ q·w )
//
// over the dimensions that query and row share, ascending, from +0, in float64.
// A product of two float32 is exact there, so that a fused multiply-add changes
// nothing. A row that shares no dimension with the query is not answered; one that
// shares a weight of 0 is, with what the others give it.
//
// Weights have a datatype: both forms keep Round of what they are given, and score
// by that.
package sparse

import (
	"errors"
	"fmt"

	"github.com/pandodb/pando/services/dataplane/internal/index"
	"github.com/pandodb/pando/services/dataplane/internal/index/rank"
)

// ErrVector reports indices that do not ascend, or that are not as many as weights.
var ErrVector = errors.New("sparse vector is malformed")

// Vector holds the weights of some dimensions; the others are 0.
type Vector struct {
	Indices []uint32 // ascending, each once
	Weights []float32
}

// check gives ErrVector.
func (v Vector) check() error {
	if len(v.Indices) != len(v.Weights) {
		return fmt.Errorf("%w: %d indices, %d weights", ErrVector, len(v.Indices), len(v.Weights))
	}
	for i := 1; i < len(v.Indices); i++ {
		if v.Indices[i] <= v.Indices[i-1] {
			return fmt.Errorf("%w: index %d follows %d", ErrVector, v.Indices[i], v.Indices[i-1])
		}
	}
	return nil
}

// Query is one search. Vector of the embedded query holds the weights.
type Query struct {
	index.Query
	// Indices are the dimensions of Vector, ascending, each once. Those that no row
	// has are passed over.
	Indices []uint32
	// Dead tells rows that are never answered; nil: none. It must be cheap: it is
	// asked before Accept.
	Dead func(row uint32) bool
	// FullScan is up to how many of Rows are scored by their own vectors, if Stored
	// is not nil; more are looked up in the lists. Their scores are equal.
	FullScan int
	// Stored gives a row's vector, false if it has none. What it gives is used until
	// the next call. An Index needs it for a Rank, by which rows are scored that share
	// no dimension with an example, too.
	Stored func(row uint32) (Vector, bool)
}

func (q *Query) check() error {
	if err := (Vector{q.Indices, q.Vector}).check(); err != nil {
		return fmt.Errorf("search: %w", err)
	}
	for i, e := range q.Rank.Examples() {
		if err := (Vector{e.Indices, e.Data}).check(); err != nil {
			return fmt.Errorf("search: example %d: %w", i, err)
		}
	}
	return rank.CheckRows(&q.Query)
}

// dims counts the dimensions of all vectors of the query.
func (q *Query) dims() int {
	n := len(q.Indices)
	for _, e := range q.Rank.Examples() {
		n += len(e.Indices)
	}
	return n
}
