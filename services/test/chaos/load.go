package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/pandodb/pando/services/internal/fault"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/test/fleet"
)

// How many clients there are, and how long each rests between two requests on average.
const (
	writers = 6
	readers = 4
	rest    = 4 * time.Millisecond
)

// A client gives up on a peer a little after the peer should have given up itself, repeats a write that has an
// id of its own for a while, and leaves a peer alone that has just failed.
const (
	giveUp      = time.Second
	repeatFor   = 20 * time.Second
	leaveAlone  = 500 * time.Millisecond
	long        = 3 * time.Second // such a wait is worth a line
	betweenTrys = 50 * time.Millisecond
)

// load is the clients of one collection and what they saw.
type load struct {
	fleet      *fleet.Fleet
	collection string
	history    *history
	// hurt tells whether a peer is being hurt, or has been since; current, what is going on at the moment.
	hurt    func(peer int, since time.Time) bool
	current func() occurrence
	note    func(format string, args ...any)

	mu    sync.Mutex
	looks []look
	tally
	avoid map[int]time.Time
}

// look is a point as a read found it.
type look struct {
	id         int
	found      state
	peer       int
	start, end time.Duration
}

// tally is what clients saw.
type tally struct {
	acknowledged, unknown, notThere, refused int            // writes, by how they ended
	reads                                    int            // that were answered
	failedReads, failedWrites                int            // attempts that failed at a peer that was well
	failedHurt                               int            // attempts that failed at one that was hurt
	pause                                    pauses         // through peers that were well
	failures                                 map[string]int // at peers that were well, by what they said
}

// occurrence is one of the times that a fault happens; the zero value: none does.
type occurrence struct {
	fault string
	n     int // from 1
}

// request is what a client had an answer to.
type request struct {
	side side
	kind string
}

// side tells requests that change something from those that do not.
type side int

const (
	ofReads side = iota
	ofWrites
)

// pauses are the longest times that a client was without an answer, by the request that was answered in the end, and
// by what was going on.
type pauses map[request]map[occurrence]time.Duration

func (p pauses) note(r request, at occurrence, took time.Duration) {
	if p[r] == nil {
		p[r] = map[occurrence]time.Duration{}
	}
	p[r][at] = max(p[r][at], took)
}

// longest of one side, during all faults that bear a name; "": of all.
func (p pauses) longest(of side, fault string) (d time.Duration) {
	for r, by := range p {
		for at, took := range by {
			if r.side == of && (fault == "" || at.fault == fault) {
				d = max(d, took)
			}
		}
	}
	return d
}

// perFault are the longest pauses of a kind of request, one for each time that a fault happened.
func (p pauses) perFault(r request) (all []time.Duration) {
	for at, took := range p[r] {
		if at.n > 0 {
			all = append(all, took)
		}
	}
	return all
}

func newTally() tally {
	return tally{pause: pauses{}, failures: map[string]int{}}
}

func newLoad(f *fleet.Fleet, collection string) *load {
	return &load{fleet: f, collection: collection, history: newHistory(), tally: newTally(), avoid: map[int]time.Time{}}
}

// run has all clients work until ctx ends. What is under way then is finished.
func (l *load) run(ctx context.Context, rng *rand.Rand) {
	var group sync.WaitGroup
	for i := range writers + readers {
		c := &client{load: l, rng: rand.New(rand.NewPCG(rng.Uint64(), uint64(i))), peer: i % len(l.fleet.Peers())}
		c.do = c.write
		if i >= writers {
			c.do = c.read
		}
		group.Go(func() { c.run(ctx) })
	}
	group.Wait()
}

// fill writes large points into one shard until a peer says that its disk is full, or a replica there is Active no more,
// or enough is written to need another segment of the log.
func (l *load) fill(ctx context.Context, through int, shard uint64, shards int, active func() bool) {
	const enough = 40
	id := points
	for rule := (topology.HashRule{N: shards}); uint64(rule.Slot(topology.NumberID(uint64(id)))) != shard; {
		id++
	}
	for n := 0; n < enough && active() && ctx.Err() == nil; n++ {
		w := write{n: l.history.number(), kind: upsert, ids: []int{id}, large: true}
		e := event{n: w.n, kind: upsert, start: l.history.now()}
		conn := l.fleet.Public(through)
		if conn == nil {
			return
		}
		ctx, cancel := context.WithTimeout(ctx, writeSeconds*time.Second+giveUp)
		var err error
		e.outcome, err = w.overGRPC(ctx, conn, l.collection)
		cancel()
		e.end = l.history.now()
		l.history.note(e, id)
		if fault.ReasonOf(err) == fault.DiskFull {
			return
		}
	}
}

// client asks one peer as long as it answers, then the next one.
type client struct {
	*load
	rng   *rand.Rand
	peer  int
	do    func(context.Context) bool
	asked request    // for last
	since time.Time  // it has been waiting for an answer; zero: it is not
	under occurrence // what was going on when that began
	last  string     // what it asked for last, in full
}

func (c *client) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(rand.N(2 * rest)):
		}
		if c.since.IsZero() {
			c.since, c.under = time.Now(), c.current()
		}
		if !c.do(ctx) || c.since.IsZero() {
			continue
		}
		c.mu.Lock()
		label := c.under
		if label.n == 0 { // it may have begun since
			label = c.current()
		}
		took := time.Since(c.since)
		c.pause.note(c.asked, label, took)
		c.mu.Unlock()
		if took > long {
			c.note("%v: %s", took.Round(ms), c.last)
		}
		c.since = time.Time{}
	}
}

// choose finds a peer that can be asked, -1 if none runs; rather one that has not just failed.
func (c *client) choose() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, last := len(c.fleet.Peers()), -1
	for k := range n {
		p := (c.peer + k) % n
		if c.fleet.Peers()[p].Process() == nil {
			continue
		}
		if time.Now().After(c.avoid[p]) {
			c.peer = p
			return p
		}
		last = p
	}
	return last
}

// write draws a write and carries it out, more than once if it has an id of its own and its outcome is not known.
func (c *client) write(ctx context.Context) bool {
	w := c.drawWrite()
	c.asked = request{ofWrites, w.kind.String()}
	e := event{n: w.n, kind: w.kind, outcome: refused, start: c.history.now(), maybe: w.insertOnly}
	var said error
	for begun := time.Now(); ; {
		out, err := c.tryWrite(ctx, w)
		said = err
		if out != refused { // what may have happened once is not undone by a later refusal
			e.outcome = out
		}
		if err == nil || w.opID == "" || notThere(err) || time.Since(begun) > repeatFor || ctx.Err() != nil {
			break
		}
		<-time.After(betweenTrys)
	}
	if e.outcome == refused && len(w.ids) > 1 && !errors.Is(said, errNotSent) {
		e.outcome = unknown // one shard has refused it, others may have taken it
	}
	e.end = c.history.now()
	c.history.note(e, w.ids...)
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case e.outcome == committed || e.outcome == applied:
		c.acknowledged++
	case e.outcome == unknown:
		c.unknown++
	case notThere(said):
		c.notThere++
	default:
		c.refused++
	}
	return said == nil || notThere(said)
}

var missing = regexp.MustCompile(`No point with id`)

// notThere: the write names a point that is not there, which is an answer like any other.
func notThere(err error) bool { return err != nil && missing.MatchString(err.Error()) }

func (c *client) tryWrite(ctx context.Context, w write) (out outcome, err error) {
	p := c.choose()
	if p < 0 {
		return refused, errNotSent
	}
	begun := time.Now()
	conn, process := c.fleet.Public(p), c.fleet.Peers()[p].Process()
	if conn == nil || process == nil {
		return refused, errNotSent
	}
	c.last = fmt.Sprintf("%v of %v at peer %d (wait: %v)", w.kind, w.ids, c.fleet.Peers()[p].ID, w.wait)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeSeconds*time.Second+giveUp)
	defer cancel()
	if c.rng.IntN(2) == 0 {
		out, err = w.overGRPC(ctx, conn, c.collection)
	} else {
		out, err = w.overREST(ctx, process.REST, c.collection)
	}
	if errors.Is(err, errNotSent) {
		out = refused
	}
	c.at(p, begun)
	if err != nil && !notThere(err) {
		c.failed(p, begun, w.kind.String(), &c.failedWrites, err)
	}
	return out, err
}

// at forgets how long the client has waited if that was at a peer that was hurt: pauses are those through the others.
func (c *client) at(p int, begun time.Time) {
	if c.hurt(p, begun) {
		c.since = time.Time{}
	}
}

// failed counts an attempt that failed, and lets all clients ask others for a while.
func (c *client) failed(p int, begun time.Time, what string, counter *int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.avoid[p] = time.Now().Add(leaveAlone)
	if c.hurt(p, begun) {
		c.failedHurt++
		return
	}
	*counter++
	c.failures[fmt.Sprintf("%s, %s: %s", c.current().fault, what, general(err))]++
}

var numbers = regexp.MustCompile(`[0-9a-f-]{36}|[0-9]+(\.[0-9]+)*`)

// general takes out of a text what differs each time.
func general(err error) string { return numbers.ReplaceAllString(err.Error(), "#") }

// drawWrite makes up a write.
func (c *client) drawWrite() write {
	w := write{n: c.history.number(), wait: c.rng.IntN(2) == 0}
	if c.rng.IntN(4) == 0 {
		id := uuid.UUID{}
		for i := range id {
			id[i] = byte(c.rng.Uint32())
		}
		w.opID = id.String()
	}
	one := c.rng.IntN(points)
	switch k := c.rng.IntN(100); {
	case k < 30:
		w.kind, w.ids = upsert, []int{one}
	case k < 45:
		w.kind = upsert
		w.ids = c.rng.Perm(points)[:2+c.rng.IntN(6)]
	case k < 50:
		w.kind, w.ids, w.insertOnly = upsert, []int{one}, true
	case k < 62:
		w.kind, w.ids = remove, []int{one}
	case k < 65:
		w.kind, w.ids, w.byFilter = remove, membersOf(groupOf(one)), true
	case k < 75:
		w.kind, w.ids = setNote, []int{one}
	case k < 85:
		w.kind, w.ids, w.byFilter = setNote, membersOf(groupOf(one)), true
	case k < 90:
		w.kind, w.ids = eraseNote, []int{one}
	case k < 93:
		w.kind, w.ids, w.byFilter = eraseNote, membersOf(groupOf(one)), true
	default:
		w.kind, w.ids = setVector, []int{one}
	}
	return w
}

// read draws a read and keeps what it found.
func (c *client) read(ctx context.Context) bool {
	p := c.choose()
	if p < 0 {
		return false
	}
	begun := time.Now()
	conn, process := c.fleet.Public(p), c.fleet.Peers()[p].Process()
	if conn == nil || process == nil {
		return false
	}
	r := read{kind: readKind(c.rng.IntN(int(readKinds))), ids: membersOf(c.rng.IntN(points / groupSize))}
	c.asked = request{ofReads, r.kind.String()}
	c.last = fmt.Sprintf("%v of %v at peer %d", r.kind, r.ids, c.fleet.Peers()[p].ID)
	start := c.history.now()
	found, err := map[int]state(nil), error(nil)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readSeconds*time.Second+giveUp)
	defer cancel()
	if c.rng.IntN(2) == 0 {
		found, err = r.overGRPC(ctx, conn, c.collection)
	} else {
		found, err = r.overREST(ctx, process.REST, c.collection)
	}
	end := c.history.now()
	c.at(p, begun)
	if err != nil {
		c.failed(p, begun, r.kind.String(), &c.failedReads, err)
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reads++
	if r.kind == get || r.kind == scroll {
		for _, id := range r.ids {
			c.looks = append(c.looks, look{id: id, found: found[id], peer: p, start: start, end: end})
		}
	}
	return true
}
