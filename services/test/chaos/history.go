package main

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"time"
)

// kind of a write, by what it does to a point.
type kind uint8

const (
	upsert    kind = iota // makes the point anew: both fields are as it has them
	remove                // takes it away
	setNote               // sets the field note, if the point is there
	eraseNote             // takes the field note away
	setVector             // sets the field vector, if the point is there
	nothing               // no write
)

var kinds = [...]string{"upsert", "delete", "set payload", "delete payload", "update vectors", "nothing"}

func (k kind) String() string { return kinds[k] }

// outcome of a write.
type outcome uint8

const (
	unknown   outcome = iota // it may have happened, and may still happen
	committed                // acknowledged
	applied                  // acknowledged, and every replica that counts shows it
	refused                  // nothing has happened, and nothing will
)

var outcomes = [...]string{"unknown", "committed", "applied", "refused"}

// never is the end of what may still happen.
const never = time.Duration(math.MaxInt64)

// event is a write as one point sees it. Its number is the value that it leaves in the fields which it sets.
type event struct {
	n          int
	kind       kind
	outcome    outcome
	start, end time.Duration // since the history began: when it was sent, and answered; never if its outcome is unknown
	// maybe: whether it does anything depends on what the point is like.
	maybe bool
}

// state is what a point was found to be. A field is the number of the write that set it.
type state struct {
	there        bool
	base         int // the upsert that made it
	vector, note int // note 0: none
}

func (s state) String() string {
	if !s.there {
		return "not there"
	}
	return fmt.Sprintf("made by write %d, vector of %d, note of %d", s.base, s.vector, s.note)
}

// history is everything that was done to the points of a collection. Numbers begin at 1.
type history struct {
	mu     sync.Mutex
	began  time.Time
	last   int
	points map[int][]event // in any order
}

func newHistory() *history { return &history{began: time.Now(), points: map[int][]event{}} }

func (h *history) now() time.Duration { return time.Since(h.began) }

// number gives the next write its number.
func (h *history) number() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.last++
	return h.last
}

// note adds a write that is over to the points that it was about.
func (h *history) note(e event, ids ...int) {
	if e.outcome == unknown {
		e.end = never
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, id := range ids {
		h.points[id] = append(h.points[id], e)
	}
}

// settled says why a point cannot be what it was found to be when everything was over; nil if it can.
func (h *history) settled(id int, found state) error {
	acknowledged := func(e event) bool { return e.outcome == committed || e.outcome == applied }
	possible := func(e event) bool { return e.outcome != refused }
	return explain(h.points[id], found, acknowledged, possible)
}

// visible says why a read between two moments cannot have found a point as it did; nil if it can. What was applied
// before it began must be seen, whatever was sent before it ended may be.
func (h *history) visible(id int, found state, start, end time.Duration) error {
	shown := func(e event) bool { return e.outcome == applied && e.end < start }
	possible := func(e event) bool { return e.outcome != refused && e.start < end }
	return explain(h.points[id], found, shown, possible)
}

// explain looks for an order of writes that ends in what was found: one that holds all that must be in it, beside
// others that may be, and in which what was answered before another was sent comes first. It tests pairs of writes, so
// it calls nothing wrong that is right.
func explain(events []event, found state, must, may func(event) bool) error {
	by := func(n int) (event, bool) {
		i := slices.IndexFunc(events, func(e event) bool { return e.n == n })
		if i < 0 || !may(events[i]) {
			return event{}, false
		}
		return events[i], true
	}
	// after finds a write that has to be there and comes after e, whatever the order.
	after := func(e event, of func(event) bool) (event, bool) {
		i := slices.IndexFunc(events, func(x event) bool { return must(x) && !x.maybe && of(x) && e.end < x.start })
		if i < 0 {
			return event{}, false
		}
		return events[i], true
	}
	if !found.there {
		return explainAbsence(events, may, after)
	}
	base, ok := by(found.base)
	if !ok || base.kind != upsert {
		return fmt.Errorf("made by write %d, which cannot have done that", found.base)
	}
	if x, lost := after(base, event.whole); lost {
		return fmt.Errorf("write %d (%s, acknowledged) is lost: the point is that of write %d, which was over before", x.n, x.kind, base.n)
	}
	for _, f := range []struct {
		what       string
		set, erase kind
		value      int
		asMade     bool
	}{{"vector", setVector, nothing, found.vector, found.vector == found.base}, {"note", setNote, eraseNote, found.note, found.note == 0}} {
		touches := func(e event) bool { return e.kind == f.set || e.kind == f.erase }
		if f.asMade {
			if err := explainUnset(events, base, f.set, f.erase, may, after); err != nil {
				return fmt.Errorf("%s: %w", f.what, err)
			}
			continue
		}
		e, ok := by(f.value)
		if !ok || e.kind != f.set {
			return fmt.Errorf("%s of write %d, which cannot have set it", f.what, f.value)
		}
		if e.end < base.start {
			return fmt.Errorf("%s of write %d, which was over before write %d made the point anew", f.what, e.n, base.n)
		}
		if x, lost := after(e, func(x event) bool { return x.whole() || touches(x) }); lost {
			return fmt.Errorf("write %d (%s, acknowledged) is lost: %s is that of write %d, which was over before", x.n, x.kind, f.what, e.n)
		}
	}
	return nil
}

// whole tells that nothing of what was there before is left.
func (e event) whole() bool { return e.kind == upsert || e.kind == remove }

// beginning is before all writes, when no point was there.
func beginning() event { return event{kind: remove, start: -1, end: -1} }

// explainAbsence looks for a deletion, or the beginning, after which nothing has to have made the point.
func explainAbsence(events []event, may func(event) bool, after func(event, func(event) bool) (event, bool)) (err error) {
	makes := func(e event) bool { return e.kind == upsert }
	for _, e := range append([]event{beginning()}, events...) {
		if e.kind != remove || e.n > 0 && !may(e) {
			continue
		}
		x, lost := after(e, makes)
		if !lost {
			return nil
		}
		err = fmt.Errorf("write %d (%s, acknowledged) is lost: the point is not there, and no deletion can have come later", x.n, x.kind)
	}
	return err
}

// explainUnset looks for the write that made the point, or one that erased the field, after which nothing has to have
// set it.
func explainUnset(events []event, base event, set, erase kind, may func(event) bool, after func(event, func(event) bool) (event, bool)) (err error) {
	sets := func(e event) bool { return e.kind == set }
	for _, e := range append([]event{base}, events...) {
		if e.n != base.n && (e.kind != erase || !may(e) || e.end < base.start) {
			continue
		}
		x, lost := after(e, sets)
		if !lost {
			return nil
		}
		err = fmt.Errorf("write %d (%s, acknowledged) is lost: it is not set, and nothing can have erased it since", x.n, x.kind)
	}
	return err
}

// tell lists the last writes of a point, for people.
func (h *history) tell(id int) string {
	const last = 12
	events := slices.Clone(h.points[id])
	slices.SortFunc(events, func(a, b event) int { return cmp.Compare(a.start, b.start) })
	var out strings.Builder
	for _, e := range events[max(0, len(events)-last):] {
		end := e.end.Round(time.Millisecond).String()
		if e.end == never {
			end = "?"
		}
		fmt.Fprintf(&out, "    %6d %-14s %-9s %v to %s\n", e.n, e.kind, outcomes[e.outcome], e.start.Round(time.Millisecond), end)
	}
	return out.String()
}
