// Package verdict concludes from probes whether a subject (a peer, or one
// replica on it) is Alive, Suspect or Dead. It is a pure state machine: time
// comes in with each observation, nothing is read from a clock.
//
//	          a failure                 no success for DeadAfter
//	Alive ───────────────► Suspect ──────────────────────────────► Dead
//	  ▲   Recover successes  │                                        │
//	  └──────────────────────┴──────── Recover (+ damping) successes ─┘
//
// What it is not: the decision. A verdict of one observer is evidence; the
// control plane counts the observers, and it alone changes a placement.
package verdict

import (
	"fmt"
	"time"
)

// State is what one observer holds of a subject.
type State uint8

// The states, in the order of falling trust.
const (
	// Unknown: not probed yet.
	Unknown State = iota
	// Alive: probes succeed.
	Alive
	// Suspect: probes fail, not yet long enough.
	Suspect
	// Dead: no probe succeeded for Rules.DeadAfter.
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

// Rules are the thresholds of the hysteresis.
type Rules struct {
	// Interval between probes; replication.md §15 gives 250 ms.
	Interval time.Duration
	// DeadAfter without a success makes a Suspect Dead. At least 3 Intervals.
	DeadAfter time.Duration
	// Recover is how many successes in a row bring a subject back.
	Recover int
	// FlapWindow: each return from Dead within it doubles Recover for the next
	// one, up to MaxRecover.
	FlapWindow time.Duration
	MaxRecover int
	// Pause: when the observer itself did not run for so long, it forgets what
	// it held against others. A detector that was paused must not judge.
	Pause time.Duration
}

// DefaultRules give a Dead verdict 1.5 s after the last success, which leaves
// half of the 3 s budget to the report, the majority and the swap.
func DefaultRules() Rules {
	return Rules{Interval: 250 * time.Millisecond, DeadAfter: 1500 * time.Millisecond, Recover: 2,
		FlapWindow: time.Minute, MaxRecover: 64, Pause: time.Second}
}

// Validate says which rule does not fit the others.
func (r Rules) Validate() error {
	switch {
	case r.Interval <= 0:
		return fmt.Errorf("probe interval %v must be positive", r.Interval)
	case r.DeadAfter < 3*r.Interval:
		return fmt.Errorf("dead after %v must be at least three probe intervals of %v", r.DeadAfter, r.Interval)
	case r.Recover < 1 || r.MaxRecover < r.Recover:
		return fmt.Errorf("recover %d must be from 1 to max recover %d", r.Recover, r.MaxRecover)
	case r.Pause < 2*r.Interval:
		return fmt.Errorf("pause %v must be at least two probe intervals of %v", r.Pause, r.Interval)
	}
	return nil
}

// Observation is the outcome of one probe. At is the observer's monotonic time.
type Observation struct {
	At  time.Duration
	OK  bool
	Why string // of a failure, for people
}

// Subject is what an observer remembers. The zero value knows nothing.
type Subject struct {
	State State
	// Since is when State was entered; Why is the evidence.
	Since time.Duration
	Why   string

	lastSeen    time.Duration // last observation
	lastOK      time.Duration // last success, or the first observation
	successes   int           // in a row
	need        int           // successes needed to return
	lastReturn  time.Duration
	everReturns bool
}

// Step gives the subject after an observation. Observations must come in the
// order of At.
func Step(r Rules, s Subject, o Observation) Subject {
	if s.State == Unknown {
		s.lastOK, s.need = o.At, r.Recover
	} else if o.At-s.lastSeen > r.Pause {
		s.lastOK = o.At
	}
	s.lastSeen = o.At
	if o.OK {
		return succeed(r, s, o)
	}
	s.successes = 0
	switch s.State {
	case Unknown, Alive:
		s = s.enter(Suspect, o)
	case Suspect, Dead:
		s.Why = o.Why
	}
	if s.State == Suspect && o.At-s.lastOK >= r.DeadAfter {
		s = s.enter(Dead, o)
	}
	return s
}

func succeed(r Rules, s Subject, o Observation) Subject {
	s.successes++
	s.lastOK = o.At
	switch s.State {
	case Unknown:
		s = s.enter(Alive, o)
	case Suspect:
		if s.successes >= r.Recover {
			s = s.enter(Alive, o)
		}
	case Dead:
		if s.everReturns && o.At-s.lastReturn >= r.FlapWindow {
			s.need = r.Recover
		}
		if s.successes < s.need {
			break
		}
		s.need = min(2*s.need, r.MaxRecover)
		s.lastReturn, s.everReturns = o.At, true
		s = s.enter(Alive, o)
	}
	return s
}

func (s Subject) enter(to State, o Observation) Subject {
	s.State, s.Since, s.Why = to, o.At, o.Why
	return s
}
