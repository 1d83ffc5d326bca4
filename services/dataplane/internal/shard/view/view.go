// Package view is what reads of a shard see, and the reads. Every read sees one
// applied state (R1); what applies entries is package shard.
package view

import (
	"sync"

	"github.com/pandodb/pando/services/dataplane/internal/filter"
	"github.com/pandodb/pando/services/dataplane/internal/point"
	"github.com/pandodb/pando/services/dataplane/internal/query"
	"github.com/pandodb/pando/services/dataplane/internal/shard/overlay"
	"github.com/pandodb/pando/services/dataplane/internal/shard/part"
	"github.com/pandodb/pando/services/dataplane/internal/shard/sealed"
	"github.com/pandodb/pando/services/dataplane/internal/shard/store"
	"github.com/pandodb/pando/services/internal/topology"
)

// State is what reads see. The lock is held in shared mode while the tail is read,
// and by the one who applies to show what is already stored; what is sealed is read
// without it. Since nobody else changes the state, who applies reads it without the
// lock.
type State struct {
	sync.RWMutex
	Meta   store.Meta
	Points int
	Tail   *part.Tail
	Sealed *sealed.Parts
	// Overlay is shown over all that; nil: there is none. Meta and Points are without it.
	Overlay *overlay.Overlay
	// Settings in effect, and what of them filters on texts are bound to.
	Settings query.Settings
	Texts    filter.Texts
}

// Shown counts the points that reads see.
func (s *State) Shown() int {
	if s.Overlay == nil {
		return s.Points
	}
	return s.Points + s.Overlay.Adds()
}

// Reads are the reads of a shard. Any number may be under way beside each other and
// beside changes of the state.
type Reads struct {
	state   *State
	fail    func(error) error
	scratch *sync.Pool // *nearest
}

// New makes the reads of a state; fail hears when a file that nobody reads any more
// could not be closed, or a mapped one not be read, and says how that is to be told.
func New(s *State, fail func(error) error) Reads {
	return Reads{state: s, fail: fail, scratch: &sync.Pool{New: func() any { return &nearest{} }}}
}

// Applied is the position of the state that reads see.
func (s *Reads) Applied() store.Position {
	s.state.RLock()
	defer s.state.RUnlock()
	return s.state.Meta.Position
}

// Digest is the digest of all stored points, tombstones included, at seq. What is laid
// over them is not in it.
func (s *Reads) Digest() (topology.Seq, point.Digest) {
	s.state.RLock()
	defer s.state.RUnlock()
	return s.state.Meta.Seq, s.state.Meta.Digest
}

// Config gives the last applied Config entry (W11); revision 0 if there is none.
func (s *Reads) Config() (revision uint64, settings []byte) {
	s.state.RLock()
	defer s.state.RUnlock()
	return s.state.Meta.Revision, s.state.Meta.Settings
}

// Fields gives the revision of the settings in effect and, by its key, how many
// points each index on a payload field holds.
func (s *Reads) Fields() (revision uint64, points map[string]uint64) {
	r := s.read()
	defer r.end()
	revision, points = s.state.Meta.Revision, r.tail.FieldCounts()
	for _, v := range r.others() {
		for key, n := range v.FieldCounts() {
			points[key] += n
		}
	}
	return revision, points
}
