// Package proof keeps what the replicas of a shard say of marks in its log: equal digests
// at one mark are the proof that they are equal.
package proof

import (
	"fmt"
	"maps"
	"slices"

	"github.com/pandodb/pando/services/dataplane/internal/point"
	"github.com/pandodb/pando/services/internal/topology"
)

// Verified is what all Active replicas said of one mark.
type Verified struct {
	Ref     uint64 // whose question it answers
	Epoch   topology.Epoch
	Seq     topology.Seq // of the mark
	Reports map[topology.PeerID]Report
}

// Report is what one replica said of a mark.
type Report struct {
	Digest  point.Digest
	Applied topology.Seq // when it said so
}

// Book is what a primary knows of marks that somebody asked for. The zero value is empty.
type Book struct {
	asks    []ask // in the order of their marks
	reports map[topology.Seq]map[topology.PeerID]Report
}

type ask struct {
	ref  uint64
	from topology.Seq
}

// Ask notes a question: a mark at a place, or any after it, answers it.
func (b *Book) Ask(ref uint64, from topology.Seq) { b.asks = append(b.asks, ask{ref, from}) }

// Asked tells whether questions are open.
func (b *Book) Asked() bool { return len(b.asks) > 0 }

// Hear notes what a replica says of its newest mark, if somebody asks.
func (b *Book) Hear(from topology.PeerID, k point.Mark, applied topology.Seq) {
	if !b.Asked() || k.Seq < b.asks[0].from {
		return
	}
	if b.reports == nil {
		b.reports = map[topology.Seq]map[topology.PeerID]Report{}
	}
	if b.reports[k.Seq] == nil {
		b.reports[k.Seq] = map[topology.PeerID]Report{}
	}
	b.reports[k.Seq][from] = Report{k.Digest, applied}
}

// Conclude answers the questions whose mark, or one after it, the primary and all these
// others have told of. A replica tells of its newest mark alone, so one that many ask for may be
// passed over.
func (b *Book) Conclude(epoch topology.Epoch, self topology.PeerID, applied topology.Seq, own []point.Mark, others []topology.PeerID) (out []Verified) {
	for _, k := range own {
		b.Hear(self, k, applied)
	}
	b.asks = slices.DeleteFunc(b.asks, func(a ask) bool {
		for _, s := range slices.Sorted(maps.Keys(b.reports)) {
			silent := func(p topology.PeerID) bool { _, ok := b.reports[s][p]; return !ok }
			if s >= a.from && !silent(self) && !slices.ContainsFunc(others, silent) {
				out = append(out, Verified{a.ref, epoch, s, maps.Clone(b.reports[s])})
				return true
			}
		}
		return false
	})
	if len(out) > 0 {
		maps.DeleteFunc(b.reports, func(s topology.Seq, _ map[topology.PeerID]Report) bool { return len(b.asks) == 0 || s < b.asks[0].from })
	}
	return out
}

// GiveUp forgets all questions.
func (b *Book) GiveUp(each func(ref uint64)) {
	for _, a := range b.asks {
		each(a.ref)
	}
	*b = Book{}
}

// Differs says in words that a digest is not the primary's.
func Differs(theirs, own point.Mark) string {
	return fmt.Sprintf("its copy differs from the primary's at entry %d: digest %s, not %s", own.Seq, theirs.Digest, own.Digest)
}
