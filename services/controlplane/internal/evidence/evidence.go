// Package evidence keeps what observers hold of peers and replicas, and concludes from it. It is pure: time is an argument, and the
// same words in the same order conclude alike.
//
// The leader of the control plane keeps the only ledger, in memory, for one term of office; the observers tell a new leader
// everything. A conclusion changes no placement by itself: what follows from it is decided elsewhere, under the rules of the
// replica set.
package evidence

import (
	"fmt"
	"slices"
	"time"

	"github.com/pandodb/pando/services/controlplane/internal/placement"
	"github.com/pandodb/pando/services/internal/topology"
)

// State is what one observer holds of a subject, and what is concluded from all of them.
type State uint8

// The states, in the order of falling trust.
const (
	// Unknown: nobody has said anything that counts.
	Unknown State = iota
	// Alive: probes succeed.
	Alive
	// Suspect: probes fail, not yet long enough or not at enough observers.
	Suspect
	// Dead: probes failed for long, at more than half of the observers.
	Dead
)

// String names the state.
func (s State) String() string {
	switch s {
	case Alive:
		return "Alive"
	case Suspect:
		return "Suspect"
	case Dead:
		return "Dead"
	}
	return "Unknown"
}

// Opinion is one observer's state of a subject.
type Opinion struct {
	Observer topology.PeerID
	// SameProcess: the observer lives in the subject's own process. It is not counted.
	SameProcess bool
	State       State
}

// Conclude is Dead only if more than half of the assigned observers say so, not counting the one in the subject's own
// process. An observer that has not reported counts as assigned. With no observer elsewhere nothing is concluded.
func Conclude(assigned []topology.PeerID, opinions []Opinion) State {
	return count(assigned, opinions).conclude()
}

// tally counts the votes of the assigned observers elsewhere.
type tally struct{ dead, suspect, alive, foreign int }

func count(assigned []topology.PeerID, opinions []Opinion) tally {
	t := tally{foreign: len(assigned)}
	for _, o := range opinions {
		switch {
		case !slices.Contains(assigned, o.Observer):
		case o.SameProcess:
			t.foreign--
		case o.State == Dead:
			t.dead++
		case o.State == Suspect:
			t.suspect++
		case o.State == Alive:
			t.alive++
		}
	}
	return t
}

func (t tally) conclude() State {
	switch {
	case 2*t.dead > t.foreign:
		return Dead
	case 2*t.alive > t.foreign:
		return Alive
	case t.dead+t.suspect > 0:
		return Suspect
	}
	return Unknown
}

// Replica names a replica.
type Replica struct {
	Shard topology.Shard
	Peer  topology.PeerID
}

// Said is one verdict with what it rests on, for people.
type Said struct {
	State State
	Why   string
}

// Report is what one observer tells.
type Report struct {
	Observer topology.PeerID
	Own      topology.PeerID // the peer in the observer's process; 0 = none
	Full     bool            // what it said before is void
	Peers    map[topology.PeerID]Said
	Replicas map[Replica]Said
}

// Fresh is how long an observer's word counts after its last report. Observers report several times in it.
const Fresh = 3 * time.Second

// Ledger holds what every observer said last. The zero value is empty and ready.
type Ledger struct {
	observers map[topology.PeerID]*observer
}

type observer struct {
	own      topology.PeerID
	heard    time.Time
	peers    map[topology.PeerID]Said
	replicas map[Replica]Said // only those that are not Alive
}

// Take learns from a report. It answers whether anything is held otherwise than before.
func (l *Ledger) Take(now time.Time, r Report) (changed bool) {
	if l.observers == nil {
		l.observers = map[topology.PeerID]*observer{}
	}
	o := l.observers[r.Observer]
	if o == nil || r.Full {
		changed, o = true, &observer{peers: map[topology.PeerID]Said{}, replicas: map[Replica]Said{}}
		l.observers[r.Observer] = o
	}
	changed = changed || now.Sub(o.heard) > Fresh // one that was silent tells only what is new since it was heard
	o.heard, o.own = now, r.Own
	for p, said := range r.Peers {
		changed = changed || o.peers[p].State != said.State
		o.peers[p] = said
	}
	for p, said := range r.Replicas {
		changed = changed || max(o.replicas[p].State, Alive) != max(said.State, Alive)
		if o.replicas[p] = said; said.State == Alive || said.State == Unknown {
			delete(o.replicas, p)
		}
	}
	return changed
}

// Conclusion is what follows from the opinions on one subject.
type Conclusion struct {
	State State
	Why   string // of Dead, for people
}

// Peer concludes on a peer from its assigned observers.
func (l *Ledger) Peer(now time.Time, p topology.PeerID, assigned []topology.PeerID) Conclusion {
	return l.conclude(now, p, assigned, func(o *observer) (Said, bool) { said, ok := o.peers[p]; return said, ok })
}

// DeadReplicas concludes on all replicas that somebody complains of and gives those that are Dead.
func (l *Ledger) DeadReplicas(now time.Time, assigned func(topology.PeerID) []topology.PeerID) map[Replica]Conclusion {
	out := map[Replica]Conclusion{}
	for _, o := range l.observers {
		for r := range o.replicas {
			if _, done := out[r]; done {
				continue
			}
			out[r] = l.conclude(now, r.Peer, assigned(r.Peer), func(o *observer) (Said, bool) { said, ok := o.replicas[r]; return said, ok })
		}
	}
	for r, c := range out {
		if c.State != Dead {
			delete(out, r)
		}
	}
	return out
}

func (l *Ledger) conclude(now time.Time, p topology.PeerID, assigned []topology.PeerID, said func(*observer) (Said, bool)) Conclusion {
	var opinions []Opinion
	why := ""
	for _, id := range assigned {
		o := l.observers[id]
		if o == nil || now.Sub(o.heard) > Fresh {
			continue
		}
		if s, ok := said(o); ok {
			opinions = append(opinions, Opinion{Observer: id, SameProcess: o.own == p, State: s.State})
			if s.State == Dead && o.own != p && why == "" {
				why = s.Why
			}
		}
	}
	t := count(assigned, opinions)
	c := Conclusion{State: t.conclude()}
	if c.State == Dead {
		c.Why = fmt.Sprintf("%d of %d observers: %s", t.dead, t.foreign, why)
	}
	return c
}

// Assignment says whom an observer is to watch. The revision differs between terms of office, so that a new leader is told everything.
type Assignment struct {
	Revision uint64
	Subjects []topology.PeerID // ascending
}

// Duties say who watches whom.
type Duties struct {
	Of map[topology.PeerID][]topology.PeerID // subjects by observer, ascending
	By map[topology.PeerID][]topology.PeerID // observers by subject
}

// Assign gives every peer k observers out of the processes that have a session, by the rule of placement.Observers.
func Assign(peers, observers []topology.PeerID, k int) Duties {
	d := Duties{Of: map[topology.PeerID][]topology.PeerID{}, By: map[topology.PeerID][]topology.PeerID{}}
	peers = slices.Sorted(slices.Values(peers))
	for _, p := range peers {
		d.By[p] = placement.Observers(p, observers, k)
		for _, o := range d.By[p] {
			d.Of[o] = append(d.Of[o], p)
		}
	}
	return d
}

// Subjects of an observer, ascending: its duties, and the peer in its own process, whose replicas it may well know best.
func (d Duties) Subjects(o, own topology.PeerID) []topology.PeerID {
	out := slices.Clone(d.Of[o])
	_, known := d.By[own]
	if at, found := slices.BinarySearch(out, own); !found && known {
		out = slices.Insert(out, at, own)
	}
	return out
}
