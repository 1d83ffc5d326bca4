// Package index is the seam between a shard and what finds the nearest vectors
// of one named vector: the contract, not an implementation. index/flat is the
// exact one; index/indextest is the suite that every implementation passes.
//
// An index knows rows, never point ids: the shard numbers rows, keeps row↔id and
// decides when a row may be used again. Vectors arrive in the stored form of the
// log (normalised for Cosine) and are answered bit for bit.
package index

import (
	"context"
	"errors"

	"github.com/pandodb/pando/services/dataplane/internal/query"
)

// ErrDim reports a vector whose length is not the index's.
var ErrDim = errors.New("vector length differs from the index's dimension")

// ErrRow reports a row number above MaxRow.
var ErrRow = errors.New("row number out of range")

// MaxRow is the greatest row number. Rows should be dense: memory is taken for
// the chunks that hold a row.
const MaxRow uint32 = 1<<31 - 1

// Index finds the nearest rows of one vector space.
//
// Concurrency: one writer (Put, Delete) at a time, any number of readers beside
// it. A reader sees every row either before or after a Put or Delete, never torn;
// what was put or deleted before a search began is seen by it. A search that runs
// beside a writer may still answer a row that has been deleted meanwhile, so the
// shard gives a freed row number to another point only when no search that began
// before the Delete is still running (its own read lock suffices).
type Index interface {
	// Put stores a copy of v at row, in place of what was there.
	// Errors: ErrDim, ErrRow; nothing is stored then.
	Put(row uint32, v []float32) error
	// Delete takes row out and tells whether it held a vector.
	Delete(row uint32) bool
	// Vector appends the stored vector of row to dst; false if there is none.
	Vector(row uint32, dst []float32) ([]float32, bool)
	// Search appends to dst at most q.K hits, the best first. Errors: ErrDim,
	// ErrRow (in q.Rows), or ctx's when it ended before the search did.
	Search(ctx context.Context, q *Query, dst []Hit) ([]Hit, error)
	// SearchBatch answers queries as Search would one by one, sharing the passes
	// over memory. The first error fails all.
	SearchBatch(ctx context.Context, qs []Query) ([][]Hit, error)
	// Len counts the rows that hold a vector.
	Len() int
}

// Query is one search. The index keeps nothing of it after the call. It calls
// Accept from one goroutine at a time, Before from several, neither under a lock
// of its own, so both may take the shard's.
type Query struct {
	// Vector to be near to. Cosine: need not be normalised.
	Vector []float32
	// Rank, if not nil, says what to rank by in the place of Vector. Larger scores are
	// better then, whatever the distance.
	Rank *query.Rank
	// K is how many hits are wanted; 0 or less gives none.
	K int
	// Threshold drops worse scores if not nil; an equal score stays.
	Threshold *float32
	// Accept tells whether a row may be answered; nil takes all. It is asked
	// lazily, only for rows that are good enough to enter the result so far: an
	// unfiltered scan plus about K/selectivity·ln(rows) calls, so a costly test
	// (a payload read) need not be run over all rows first.
	Accept func(row uint32) bool
	// Rows restricts the search to these rows if not nil (empty: no hits). Rows
	// without a vector are passed over; a row given twice counts once if Rows is
	// ascending, which is also the fastest order.
	Rows []uint32
	// Before breaks ties: which of two rows with equal scores comes first, and so
	// which one is kept at place K. Shards compare point ids. Nil: lower row.
	Before func(a, b uint32) bool
}

// Hit is a row and its score in the public convention: that of the Rank; Cosine and Dot the inner
// product (larger is better), Euclid the distance (not squared), Manhattan the
// sum of absolute differences (smaller is better).
type Hit struct {
	Row   uint32
	Score float32
}
