// Package book is the address book of the cluster's processes: where each one listens now, and which were taken out. It is
// pure; package links persists it and passes it on.
package book

import (
	"cmp"
	"encoding/binary"
	"hash/fnv"
	"maps"
	"slices"
	"strings"

	"github.com/pandodb/pando/services/internal/topology"
)

// Address is where a process was last known to listen. The higher generation wins.
type Address struct {
	Addr       string          `json:"addr,omitempty"` // host:port of the internal port
	Generation uint64          `json:"generation"`
	Peer       topology.PeerID `json:"peer,omitempty"`    // data-plane peer in the process; 0 = none
	Member     bool            `json:"member,omitempty"`  // a member of the control plane runs in it
	Removed    bool            `json:"removed,omitempty"` // it was taken out of the cluster; the other fields but Peer are empty
}

// Book maps the ids of processes to addresses. It is a value: every method returns a new one and changes nothing.
// Merging is commutative, associative and idempotent, so rumours may arrive in any order and any number.
type Book struct {
	entries map[string]Address
}

// New makes a book of the entries.
func New(entries map[string]Address) Book { return Book{entries: maps.Clone(entries)} }

// Lookup answers the entry of a process, removed ones included.
func (b Book) Lookup(process string) (Address, bool) {
	a, ok := b.entries[process]
	return a, ok
}

// Processes lists the ids of all processes that were not removed, in order.
func (b Book) Processes() []string {
	var out []string
	for id, a := range b.entries {
		if !a.Removed {
			out = append(out, id)
		}
	}
	slices.Sort(out)
	return out
}

// Entries copies the book into a map.
func (b Book) Entries() map[string]Address { return maps.Clone(b.entries) }

// Announce sets what a process says of itself, under a generation above the one it has: now (microseconds of the wall
// clock) or, if the clock went back, one more than the last. It changes nothing if nothing else differs.
func (b Book) Announce(process string, self Address, now uint64) Book {
	last, known := b.entries[process]
	self.Generation = last.Generation
	if known && last == self {
		return b
	}
	self.Generation = max(now, last.Generation+1)
	return b.with(process, self)
}

// Remove marks a process as taken out, in a generation just above the entry that is known of it: so one that has come back
// meanwhile under a newer entry stays. It changes nothing for an unknown or a removed one.
func (b Book) Remove(process string) Book {
	last, known := b.entries[process]
	if !known || last.Removed {
		return b
	}
	return b.with(process, Address{Generation: last.Generation + 1, Peer: last.Peer, Removed: true})
}

func (b Book) with(process string, a Address) Book {
	entries := maps.Clone(b.entries)
	if entries == nil {
		entries = map[string]Address{}
	}
	entries[process] = a
	return Book{entries: entries}
}

// Merge takes every entry of other that is newer and names those that changed. Equal generations with unlike contents,
// which two lives of one process could only make within a microsecond, go to the greater one, alike everywhere.
func (b Book) Merge(other Book) (merged Book, changed []string) {
	merged = b
	for _, process := range slices.Sorted(maps.Keys(other.entries)) {
		theirs := other.entries[process]
		mine, known := b.entries[process]
		if known && !newer(theirs, mine) {
			continue
		}
		if len(changed) == 0 {
			merged = Book{entries: maps.Clone(b.entries)}
		}
		if merged.entries == nil {
			merged.entries = map[string]Address{}
		}
		merged.entries[process] = theirs
		changed = append(changed, process)
	}
	return merged, changed
}

func newer(a, b Address) bool {
	if a.Generation != b.Generation {
		return a.Generation > b.Generation
	}
	return cmp.Or(strings.Compare(a.Addr, b.Addr), cmp.Compare(a.Peer, b.Peer), compare(a.Member, b.Member), compare(a.Removed, b.Removed)) > 0
}

func compare(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// Digest is equal for equal books and, as good as always, for those alone. Never 0.
func (b Book) Digest() uint64 {
	h := fnv.New64a()
	number := func(n uint64) { _, _ = h.Write(binary.LittleEndian.AppendUint64(nil, n)) } // a hash takes everything
	for _, process := range slices.Sorted(maps.Keys(b.entries)) {
		a := b.entries[process]
		for _, s := range []string{process, a.Addr} {
			number(uint64(len(s)))
			_, _ = h.Write([]byte(s))
		}
		number(a.Generation)
		number(uint64(a.Peer))
		flags := uint64(0)
		if a.Member {
			flags |= 1
		}
		if a.Removed {
			flags |= 2
		}
		number(flags)
	}
	return h.Sum64() | 1
}
