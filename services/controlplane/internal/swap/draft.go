// Package swap holds the rules by which the record of a living shard changes (replication.md §4), once for all who change one: the
// leader's loop, the calls of a primary, and an operator's commands.
//
// A change is drafted from the record as it was read (Draft) and becomes one transaction that compares that record. What marks an
// Active replica Dead, takes one out or moves the primary is a Plan: it needs the word of the replica that is the primary
// afterwards (C2a), which a Performer asks for. Who deserves what is decided elsewhere.
package swap

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/pandodb/pando/services/controlplane/internal/store"
	"github.com/pandodb/pando/services/internal/topology"
)

// ErrLast refuses a draft that would leave the shard without an Active replica (C2).
var ErrLast = errors.New("swap: it is the last Active replica of its shard")

const (
	// steady is how long a replica must have been Active for its earlier returns to be forgotten.
	steady = 10 * time.Minute
	// firstPause and maxPause bound the wait before a replica that failed again is copied anew. The first return is not delayed.
	firstPause = time.Second
	maxPause   = time.Minute
)

// Method is the one way in which shards are copied, whatever was asked for: a name in qdrant.ShardTransferMethod.
const Method = "StreamRecords"

// pause before the next copy, after so many that did not last.
func pause(tries uint32) time.Duration {
	if tries == 0 {
		return 0
	}
	return min(firstPause<<min(tries-1, 10), maxPause)
}

// Copies are the transfers of one shard by receiver.
type Copies = map[topology.PeerID]store.Versioned[store.Transfer]

// Draft is a changed record of a shard with its transfers. Make it with New; nothing is written before Txn's transaction is.
type Draft struct {
	Now store.Shard

	was    store.Versioned[store.Shard]
	copies map[topology.PeerID]store.Transfer
	ended  []topology.PeerID
	at     time.Time
	lose   bool
	forced bool
}

// New drafts from a record and its transfers, which must have been read together with it or after it.
func New(was store.Versioned[store.Shard], copies Copies, at time.Time) *Draft {
	d := &Draft{Now: was.Record, was: was, copies: map[topology.PeerID]store.Transfer{}, at: at.UTC().Truncate(time.Millisecond)}
	d.Now.Replicas = slices.Clone(was.Record.Replicas)
	for to, t := range copies {
		d.copies[to] = t.Record
	}
	return d
}

// Set brings a replica into a state. A return that did not last puts the next one off.
func (d *Draft) Set(peer topology.PeerID, state store.State, why string) {
	r := d.Now.Replica(peer)
	switch {
	case state == store.Partial:
		r.Tries++
	case state == store.Dead && r.State == store.Active && d.at.Sub(r.Since) >= steady:
		r.Tries = 0
	}
	if r.Retry = (time.Time{}); state == store.Dead && r.Tries > 0 {
		r.Retry = d.at.Add(pause(r.Tries))
	}
	r.State, r.Since, r.Why = state, d.at, why
}

// Add lets a peer hold a replica, which begins as Dead (C0, growth).
func (d *Draft) Add(peer topology.PeerID, why string) {
	r := store.Replica{Peer: peer, State: store.Dead, Since: d.at, Why: why}
	at, _ := slices.BinarySearchFunc(d.Now.Replicas, r, func(a, b store.Replica) int { return cmp.Compare(a.Peer, b.Peer) })
	d.Now.Replicas = slices.Insert(d.Now.Replicas, at, r)
}

// Out takes a replica out of the shard.
func (d *Draft) Out(peer topology.PeerID) {
	d.Now.Replicas = slices.DeleteFunc(d.Now.Replicas, func(r store.Replica) bool { return r.Peer == peer })
}

// Lead names the primary.
func (d *Draft) Lead(peer topology.PeerID) { d.Now.Primary = peer }

// Copy begins a transfer, or begins it anew.
func (d *Draft) Copy(t store.Transfer) {
	t.Collection, t.Shard, t.Started, t.Method = d.Now.Collection, d.Now.Shard, d.at, Method
	d.copies[t.To] = t
}

// End takes a transfer away.
func (d *Draft) End(to topology.PeerID) { d.ended = append(d.ended, to) }

// Force makes a replica Active that may lack what was acknowledged, and those that were Active Dead (F1).
func (d *Draft) Force(peer topology.PeerID) {
	for _, other := range d.Now.Actives() {
		d.Set(other, store.Dead, fmt.Sprintf("an operator had the shard go on with the replica on peer %d", peer))
	}
	d.Set(peer, store.Active, "")
	d.Now.Forced, d.Now.Lost, d.forced = true, false, true
}

// Lose lets the last Active replica go, by an operator's word.
func (d *Draft) Lose() { d.lose = true }

// Txn is the draft as one transaction, which compares the record as it was read and what the caller adds. ErrLast if it would leave
// the shard without an Active replica and nobody said Lose.
func (d *Draft) Txn(also ...store.Cond) (store.Txn, error) {
	d.Now.Epoch++
	if len(d.Now.Actives()) == len(d.Now.Replicas) && !d.forced {
		d.Now.Forced = false // whoever has more has come back, or was taken out
	}
	if p := d.Now.Replica(d.Now.Primary); p == nil || p.State != store.Active {
		d.Now.Primary = 0
	}
	if len(d.was.Record.Actives()) > 0 && len(d.Now.Actives()) == 0 {
		if !d.lose {
			return store.Txn{}, fmt.Errorf("shard %d: %w", d.Now.Shard, ErrLast)
		}
		d.Now.Lost = true
	}
	return store.Txn{
		If:   append([]store.Cond{d.was.Unchanged()}, also...),
		Then: append([]store.Op{store.Put(d.Now)}, d.transfers()...),
	}, nil
}

// transfers gives each transfer what the new record means for it.
func (d *Draft) transfers() (ops []store.Op) {
	for _, to := range slices.Sorted(maps.Keys(d.copies)) {
		t, left := settle(d.copies[to], d.Now)
		if slices.Contains(d.ended, to) || !left {
			ops = append(ops, store.Delete(t.Key()))
			continue
		}
		ops = append(ops, store.Put(t))
	}
	return ops
}

// settle says whether a transfer is left under a record, and of whom it copies now: the primary copies, whoever was named at first;
// the source of a move stays the one that is to go.
func settle(t store.Transfer, rec store.Shard) (store.Transfer, bool) {
	to, from := rec.Replica(t.To), rec.Replica(t.From)
	if t.Move && from == nil {
		t.Move = false
	}
	switch {
	case to == nil, to.State == store.Active && !t.Move, to.State == store.Dead && !t.Asked:
		return t, false
	case !t.Move && rec.Primary != 0 && (from == nil || from.State != store.Active):
		t.From = rec.Primary
	}
	return t, true
}
