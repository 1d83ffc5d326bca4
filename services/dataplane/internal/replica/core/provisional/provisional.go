// Package provisional is the list of operations that a replica holds without
// knowing whether they are committed (replication.md P3, P4): what it took while
// detached, what another detached replica gave it to keep, and the end of its log at
// the time when it was cut off. Reads show them over the state until the primary has
// answered that they are in the committed log (P6). It is pure: package core decides,
// the shell keeps the entries in a log of their own, by the numbers given here.
package provisional

import (
	"cmp"
	"slices"

	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/internal/topology"
)

// Op is one operation.
type Op struct {
	ID op.ID // of its last part
	// Parts have their stamps; Seq is their number in the list, no place in the
	// shard's log.
	Parts []op.Entry

	mine    bool         // taken here, so that others keep a copy too (P3)
	settled topology.Seq // its place in the committed log; 0: not known
}

func (o *Op) last() *op.Entry { return &o.Parts[len(o.Parts)-1] }

func (o *Op) size() (n int) {
	for i := range o.Parts {
		n += len(o.Parts[i].Body) + op.EntryOverhead
	}
	return n
}

// List holds them in the order of their numbers. The zero List is empty.
type List struct {
	ops     []*Op
	index   map[op.ID]*Op
	end     topology.Seq // number of the last one that was ever there
	kept    topology.Seq // durable up to here
	bytes   int
	holders map[topology.PeerID]*holder
	waiting []waiter
}

// holder is another replica that keeps copies (P3).
type holder struct {
	acked, sent topology.Seq // numbers
	since       int64        // the oldest that it has not answered was sent then
	sentAt      int64
	silent      bool // it lets others wait for nothing
}

// waiter is a client's.
type waiter struct {
	ref    uint64
	id     op.ID
	number topology.Seq
	factor int
}

// Done tells who need not wait any more, and on how many disks the operation is.
type Done struct {
	Ref   uint64
	Disks int
	// Enough is false if more disks were asked for.
	Enough bool
}

// Load takes what a restart found, and the number of the last one that was ever there.
// An operation that lacks its last part was kept by nobody's word.
func (l *List) Load(es []op.Entry, end topology.Seq) {
	l.end, l.kept = end, end
	for _, parts := range Whole(es) {
		l.put(&Op{ID: parts[len(parts)-1].ID, Parts: parts})
	}
}

// Whole are the operations of which all parts are there, each with its parts.
func Whole(es []op.Entry) (out [][]op.Entry) {
	from := 0
	for i := range es {
		if a, b := es[from].ID, es[i].ID; a.Request != b.Request || a.Index != b.Index {
			from = i // the one before lacks its last part
		}
		if es[i].ID.IsLast() {
			out = append(out, es[from:i+1:i+1])
			from = min(i+1, len(es)-1)
		}
	}
	return out
}

func (l *List) put(o *Op) {
	if l.index == nil {
		l.index, l.holders = map[op.ID]*Op{}, map[topology.PeerID]*holder{}
	}
	if l.index[o.ID] == nil {
		l.ops, l.index[o.ID], l.bytes = append(l.ops, o), o, l.bytes+o.size()
	}
}

// Add takes the parts of one operation, which get their numbers. What it answers has to
// be made durable.
func (l *List) Add(parts []op.Entry, mine bool) []op.Entry {
	for i := range parts {
		l.end++
		parts[i].Term, parts[i].Seq = topology.Term{Epoch: 1, Run: 1}, l.end // one, since logs have terms
	}
	l.put(&Op{ID: parts[len(parts)-1].ID, Parts: parts, mine: mine})
	return parts
}

// Len counts the operations, Bytes what they take.
func (l *List) Len() int   { return len(l.ops) }
func (l *List) Bytes() int { return l.bytes }

// End is the number of the newest part, Kept up to where they are durable.
func (l *List) End() topology.Seq  { return l.end }
func (l *List) Kept() topology.Seq { return l.kept }

// Holds tells whether an operation is there.
func (l *List) Holds(id op.ID) bool { return l.index[id] != nil }

// Keep notes that all up to a number are durable and shown.
func (l *List) Keep(upto topology.Seq) { l.kept = max(l.kept, min(upto, l.end)) }

// Refuse takes back what could not be kept, and tells who waited for it.
func (l *List) Refuse(from topology.Seq) (refs []uint64) {
	l.drop(func(o *Op) bool { return o.last().Seq >= from })
	l.end = min(l.end, max(l.kept, from-1))
	l.waiting = slices.DeleteFunc(l.waiting, func(w waiter) bool {
		if w.number >= from {
			refs = append(refs, w.ref)
		}
		return w.number >= from
	})
	return refs
}

// Await lets a client wait for an operation that is there.
func (l *List) Await(ref uint64, id op.ID, factor int) {
	l.waiting = append(l.waiting, waiter{ref, id, l.index[id].last().Seq, factor})
}

// Waits tells whether a client does.
func (l *List) Waits() bool { return len(l.waiting) > 0 }

// Reach is how many disks may be had: this one and those that are not known to be silent.
func (l *List) Reach(others []topology.PeerID) int {
	n := 1
	for _, p := range others {
		if h := l.holders[p]; h == nil || !h.silent {
			n++
		}
	}
	return n
}

// Copies are the entries that a peer is to keep, up to about so many bytes; upto is the
// number that its answer bears. now and the waits are milliseconds: after repeat
// without an answer they are sent again, after patience nobody waits for it.
func (l *List) Copies(to topology.PeerID, bytes int, now, repeat, patience int64) (es []op.Entry, upto topology.Seq) {
	h := l.holders[to]
	if h == nil {
		if l.holders == nil {
			return nil, 0
		}
		h = &holder{}
		l.holders[to] = h
	}
	if h.sent <= h.acked {
		h.since = now // it owes no answer
	}
	h.silent = h.silent || now-h.since >= patience
	if h.sent > h.acked && now-h.sentAt < repeat {
		return nil, 0
	}
	for _, o := range l.ops {
		if o.mine && o.last().Seq > h.acked && bytes > 0 {
			es, upto, bytes = append(es, o.Parts...), o.last().Seq, bytes-o.size()
		}
	}
	if len(es) > 0 {
		h.sent, h.sentAt = upto, now
	}
	return es, upto
}

// Acked notes that a peer keeps what was sent up to a number.
func (l *List) Acked(from topology.PeerID, upto topology.Seq, now int64) {
	if h := l.holders[from]; h != nil && upto > h.acked {
		h.acked, h.since, h.silent = upto, now, false
	}
}

// Ready are those who need not wait any more: what they wait for is durable here and at
// every other replica that answers.
func (l *List) Ready(others []topology.PeerID) (out []Done) {
	l.waiting = slices.DeleteFunc(l.waiting, func(w waiter) bool {
		d := Done{Ref: w.ref, Disks: 1}
		if !l.Holds(w.id) { // it is in the log meanwhile
			d.Enough = true
			out = append(out, d)
			return true
		}
		for _, p := range others {
			switch h := l.holders[p]; {
			case h == nil || h.acked < w.number && !h.silent:
				return false
			case h.acked >= w.number:
				d.Disks++
			}
		}
		if w.number > l.kept {
			return false
		}
		d.Enough = d.Disks >= w.factor
		out = append(out, d)
		return true
	})
	return out
}

// Open are the operations whose place in the log is not known, oldest stamp first, up
// to about so many bytes, at least one.
func (l *List) Open(bytes int) (out []*Op) {
	for _, o := range l.ops {
		if o.settled == 0 && o.last().Seq <= l.kept {
			out = append(out, o)
		}
	}
	slices.SortStableFunc(out, func(a, b *Op) int { return cmp.Compare(a.last().HLC, b.last().HLC) })
	for i, o := range out {
		if bytes -= o.size(); bytes < 0 && i > 0 {
			return out[:i]
		}
	}
	return out
}

// Settle notes the place of an operation in the committed log.
func (l *List) Settle(id op.ID, at topology.Seq) {
	if o := l.index[id]; o != nil {
		o.settled = at
	}
}

// Take takes out operations that cannot be appended any more (D2a).
func (l *List) Take(id op.ID) []op.Entry {
	o := l.index[id]
	if o == nil {
		return nil
	}
	l.drop(func(x *Op) bool { return x == o })
	return o.Parts
}

// Drop takes out what is settled up to a place, and answers the ids of all its parts.
func (l *List) Drop(upto topology.Seq) []op.ID {
	return l.drop(func(o *Op) bool { return o.settled != 0 && o.settled <= upto })
}

func (l *List) drop(gone func(*Op) bool) (ids []op.ID) {
	l.ops = slices.DeleteFunc(l.ops, func(o *Op) bool {
		if gone(o) {
			delete(l.index, o.ID)
			l.bytes -= o.size()
			for i := range o.Parts {
				ids = append(ids, o.Parts[i].ID)
			}
			return true
		}
		return false
	})
	return ids
}

// Front is the number before the first part that is needed still.
func (l *List) Front() topology.Seq {
	if len(l.ops) == 0 {
		return l.end
	}
	return l.ops[0].Parts[0].Seq - 1
}
