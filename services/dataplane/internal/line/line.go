// Package line names places in the logs of a shard's replicas, and finds where two logs
// part. It is pure.
package line

import (
	"cmp"
	"slices"

	"github.com/pandodb/pando/services/internal/topology"
)

// TermStart says where the entries of a term begin in the log.
type TermStart struct {
	topology.Term
	First topology.Seq
}

// Position names an entry: equal positions imply equal prefixes (I4).
type Position struct {
	topology.Term
	Seq topology.Seq
}

// TermAt gives the term of the entry at a place, if the history reaches so far.
func TermAt(h []TermStart, s topology.Seq) (topology.Term, bool) {
	i, exact := slices.BinarySearchFunc(h, s, func(t TermStart, s topology.Seq) int { return cmp.Compare(t.First, s) })
	if !exact {
		i--
	}
	if i < 0 {
		return topology.Term{}, false
	}
	return h[i].Term, true
}

// Ordered tells whether a list is a history: terms and places ascend.
func Ordered(h []TermStart) bool {
	for i := 1; i < len(h); i++ {
		if !h[i-1].Less(h[i].Term) || h[i-1].First >= h[i].First {
			return false
		}
	}
	return true
}

// Common is the last place at which two logs have the same entry (I4); false if
// the histories do not reach back to it.
func Common(a []TermStart, lastA topology.Seq, b []TermStart, lastB topology.Seq) (topology.Seq, bool) {
	s := min(lastA, lastB)
	for s > 0 {
		ta, okA := TermAt(a, s)
		tb, okB := TermAt(b, s)
		if !okA || !okB {
			return 0, false
		}
		if ta == tb {
			return s, true
		}
		s = max(startOf(a, s), startOf(b, s)) - 1
	}
	return 0, true
}

func startOf(h []TermStart, s topology.Seq) topology.Seq {
	first := topology.Seq(0)
	for _, t := range h {
		if t.First > s {
			break
		}
		first = t.First
	}
	return first
}

// Line is what a replica holds as committed: how far, and under which terms.
type Line struct {
	History []TermStart
	Commit  topology.Seq
}

// Clashes tells whether a state at a place, of another history, lacks a committed entry
// of this line: by I2 none does, but after F1.
func (l Line) Clashes(history []TermStart, at topology.Seq) bool {
	last := min(l.Commit, at)
	mine, ok := TermAt(l.History, last)
	theirs, known := TermAt(history, last)
	return ok && known && mine != theirs
}
