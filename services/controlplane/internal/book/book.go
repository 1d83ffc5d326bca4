// Package book is the address book of the cluster's processes: where each one listens now. It is pure; who persists it and
// who passes it on is the business of others.
package book

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/pandodb/pando/services/internal/topology"
)

// Domain is the suffix of every stable process name. Names are never resolved by DNS.
const Domain = ".pando.internal"

// NameOf gives the stable name of a process from its id: what etcd stores in its membership, and what keys the book.
func NameOf(id string) string { return id + Domain + ":6335" }

// IDOf is the id in a stable name.
func IDOf(name string) string { return strings.TrimSuffix(name, NameOf("")) }

// Address is where a process was last known to listen. The higher generation wins.
type Address struct {
	Addr       string          `json:"addr"` // host:port of the internal port
	Generation uint64          `json:"generation"`
	Peer       topology.PeerID `json:"peer,omitempty"`   // data-plane peer in the process; 0 = none
	Member     string          `json:"member,omitempty"` // etcd member in the process; "" = none
}

// Book maps stable names to addresses. It is a value: every method returns a new one and changes nothing.
// Merging is commutative, associative and idempotent, so rumours may arrive in any order and any number.
type Book struct {
	entries map[string]Address
}

// New makes a book of the entries.
func New(entries map[string]Address) Book { return Book{entries: maps.Clone(entries)} }

// Lookup answers the address of a name.
func (b Book) Lookup(name string) (Address, bool) {
	a, ok := b.entries[name]
	return a, ok
}

// Names lists all names in order.
func (b Book) Names() []string { return slices.Sorted(maps.Keys(b.entries)) }

// Entries copies the book into a map.
func (b Book) Entries() map[string]Address { return maps.Clone(b.entries) }

// Announce sets what a process says of itself, under a generation above the one it has: now (microseconds of the wall
// clock) or, if the clock went back, one more than the last. It changes nothing if nothing else differs.
func (b Book) Announce(name string, self Address, now uint64) Book {
	last, known := b.entries[name]
	self.Generation = last.Generation
	if known && last == self {
		return b
	}
	self.Generation = max(now, last.Generation+1)
	entries := maps.Clone(b.entries)
	if entries == nil {
		entries = map[string]Address{}
	}
	entries[name] = self
	return Book{entries: entries}
}

// Merge takes every entry of other that is newer and names those that changed. Equal generations with unlike addresses,
// which two lives of one process could only make within a microsecond, go to the greater address, alike everywhere.
func (b Book) Merge(other Book) (merged Book, changed []string) {
	merged = b
	for _, name := range other.Names() {
		theirs := other.entries[name]
		mine, known := b.entries[name]
		if known && !newer(theirs, mine) {
			continue
		}
		if len(changed) == 0 {
			merged = Book{entries: maps.Clone(b.entries)}
		}
		if merged.entries == nil {
			merged.entries = map[string]Address{}
		}
		merged.entries[name] = theirs
		changed = append(changed, name)
	}
	return merged, changed
}

func newer(a, b Address) bool {
	if a.Generation != b.Generation {
		return a.Generation > b.Generation
	}
	return cmp.Or(strings.Compare(a.Addr, b.Addr), cmp.Compare(a.Peer, b.Peer), strings.Compare(a.Member, b.Member)) > 0
}
