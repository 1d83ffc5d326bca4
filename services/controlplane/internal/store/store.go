// Package store is the control plane's typed view of a small, strongly ordered key-value store.
//
// It holds the records (what is written under which key, in which form), the transaction language and the
// one interface that the two implementations share: etcdstore (production) and memstore (tests and simulations with
// several peers in one process). Both pass storetest.Run. It decides nothing: who may change what, and when, is the
// business of api and reconcile.
//
// Every change bumps one store-wide revision. A record knows the revision that created it and the one that
// modified it last; transactions compare these, so a lost race is always seen as ErrConflict and never overwrites.
package store

import (
	"context"
	"errors"
	"time"
)

// Sentinels of every implementation. Callers match them with errors.Is.
var (
	// ErrNotFound: no record under this key.
	ErrNotFound = errors.New("store: no such record")
	// ErrConflict: a condition of the transaction does not hold; nothing was written.
	ErrConflict = errors.New("store: a compared record has changed")
	// ErrCompacted: the history before the asked revision is gone. The caller lists again and watches from there.
	ErrCompacted = errors.New("store: revision is compacted")
	// ErrLeaseGone: the lease has expired or never existed. The keys bound to it are gone too.
	ErrLeaseGone = errors.New("store: lease is gone")
	// ErrUnavailable: no quorum, no leader or no answer in time. The outcome of a Commit that ends so is UNKNOWN:
	// it may have been written, or may be written yet; read before deciding anew.
	ErrUnavailable = errors.New("store: unavailable")
	// ErrTooLarge: the transaction has more than MaxOps conditions or operations; nothing was written.
	ErrTooLarge = errors.New("store: transaction too large")
	// ErrVersion: the record was written by a newer release in a form that this one cannot read.
	ErrVersion = errors.New("store: record version not supported")
)

// MaxOps bounds the conditions and, separately, the operations of one transaction. etcd refuses above 128.
const MaxOps = 100

// Store is implemented by etcdstore.Store and memstore.Store.
//
// All methods observe ctx. None starts a goroutine that outlives its call.
type Store interface {
	// Get reads one key at the newest revision, linearizably. ErrNotFound if it is absent.
	Get(ctx context.Context, key Key) (KV, error)
	// List reads a page of a prefix, in key order. ErrCompacted if the pinned revision is gone.
	List(ctx context.Context, r Range) (Page, error)
	// Commit applies txn.Then at one revision if every condition in txn.If holds, and answers that revision.
	// ErrConflict, ErrTooLarge: nothing was written. ErrLeaseGone: an operation names a lease that is gone.
	Commit(ctx context.Context, txn Txn) (int64, error)
	// Watch calls fn, in order and one batch per revision at least, for each change of the prefix from revision
	// `from` on (inclusive; the revision after that of a List gives exactly what follows it). Changes of one revision are never
	// split over two batches. It blocks until ctx ends (nil), fn fails (that error) or history is gone (ErrCompacted).
	Watch(ctx context.Context, prefix Key, from int64, fn func(Batch) error) error
	// Grant makes a lease that ends ttl after the last Renew. Implementations may round ttl up to whole seconds.
	Grant(ctx context.Context, ttl time.Duration) (LeaseID, error)
	// Renew restarts the ttl of a lease. ErrLeaseGone if it has ended.
	Renew(ctx context.Context, id LeaseID) error
}

// LeaseID names a lease; 0 is none.
type LeaseID int64

// KV is one stored record in its encoded form. Value belongs to the reader.
type KV struct {
	Key      Key
	Value    []byte
	Created  int64 // revision that created the key
	Modified int64 // revision of the last write
	Lease    LeaseID
}

// Range selects a page of a prefix.
type Range struct {
	Prefix   Key
	After    Key   // only keys greater than this one; "" = from the start
	Revision int64 // read as of this revision; 0 = the newest
	Limit    int   // at most so many; 0 = all
}

// Page is the answer to a List. Revision is the one it was read at; pass it on to read the next page of the same state.
type Page struct {
	KVs      []KV
	Revision int64
	More     bool
}

// Change is one event of a watch. After a deletion Value is nil and Modified is the revision of the deletion.
type Change struct {
	KV
	Deleted bool
}

// Batch is what one or several successive revisions changed.
type Batch struct {
	Revision int64 // of the last change in it
	Changes  []Change
}

// Txn writes all of Then if all of If holds.
type Txn struct {
	If   []Cond
	Then []Op
}

// Cond is a condition on one key. Make it with Absent, Unchanged, Alive or Leased.
type Cond struct {
	Key      Key
	Created  int64 // compared unless Modified or Lease is given; 0 = the key must not exist
	Modified int64
	Lease    LeaseID
}

// Absent holds while no record is stored under key.
func Absent(key Key) Cond { return Cond{Key: key} }

// Unchanged holds while the record is the one written at revision modified.
func Unchanged(key Key, modified int64) Cond { return Cond{Key: key, Modified: modified} }

// Alive holds while the record that was created at revision created still exists, however often it was rewritten.
// A session key that expired and was registered anew is not the same record.
func Alive(key Key, created int64) Cond { return Cond{Key: key, Created: created} }

// Leased holds while the key is bound to this lease, however often it was rewritten: a session that is still the same one, whatever
// inventory it carries by now.
// Without a lease it never holds.
func Leased(key Key, lease LeaseID) Cond {
	if lease == 0 {
		lease = -1
	}
	return Cond{Key: key, Lease: lease}
}

// Holds evaluates the condition against what is stored now, the zero KV if nothing is.
func (c Cond) Holds(now KV) bool {
	switch {
	case c.Lease != 0:
		return now.Lease == c.Lease
	case c.Modified != 0:
		return now.Modified == c.Modified
	}
	return now.Created == c.Created
}

// Op is one write. Make it with Put, PutLeased or Delete.
type Op struct {
	Key    Key
	Value  []byte // nil deletes
	Lease  LeaseID
	failed error // an encoding error, reported by Check
}

// Delete removes a key; deleting an absent one is no error.
func Delete(key Key) Op { return Op{Key: key} }

// Check reports what is wrong with a transaction before it is sent. Implementations call it first.
func (t Txn) Check() error {
	if len(t.If) > MaxOps || len(t.Then) > MaxOps {
		return ErrTooLarge
	}
	seen := make(map[Key]bool, len(t.Then))
	for _, op := range t.Then {
		if op.failed != nil {
			return op.failed
		}
		if seen[op.Key] {
			return errors.New("store: transaction writes " + string(op.Key) + " twice")
		}
		seen[op.Key] = true
	}
	return nil
}
