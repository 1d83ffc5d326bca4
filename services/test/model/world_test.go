package model

import (
	"fmt"
	"io"
	"math/rand/v2"
)

const peers = 4

// Times, on clocks that advance by one a step on average.
const (
	sessionTTL    = 60  // of a key after its last renewal
	confirmWithin = 45  // T_confirm, less than the TTL
	maxSkew       = 20  // of a wall clock, to either side
	retryTime     = 90  // a coordinator's, of ids that it made
	clientTime    = 320 // a client's, of ids that it made
	requestLife   = 90  // of a provisional copy
	// The windows exceed that by the difference of two wall clocks and by what stamps
	// may run ahead of them.
	coordinatorWindow = retryTime + 2*maxSkew + 30
	clientWindow      = clientTime + 2*maxSkew + 30
)

// mix is what a seed is about.
type mix uint

const (
	detachable mix = 1 << iota // replicas go detached
	steady                     // the control plane stays reachable: more failovers
	crashy                     // more crashes and restarts
	slow                       // more cut links, long delays
	moving                     // more growth, drops and handovers
	calm                       // fewer of the other faults
	forcing                    // the operator forces peers out
	jumping                    // wall clocks jump far, where nobody detaches
	someMix                    // set in every mix that is given
)

func mixOf(seed uint64) mix {
	m := mix(seed%64) | someMix
	if m&moving != 0 && seed/64%4 == 0 {
		m |= forcing
	}
	if m&detachable == 0 && seed/64%4 == 1 {
		m |= jumping
	}
	return m
}

// options of a run.
type options struct {
	seed  uint64
	steps int
	off   [ruleCount]bool
	mix   mix // 0: by seed
	// countStuck: what C2a guards is counted, not asserted.
	countStuck bool
	trace      io.Writer
}

// world is one run: one shard, its peers, its control plane, its clients, and what
// the checker knows.
type world struct {
	options
	rng      *rand.Rand
	step     int
	now      int64 // true time; wall clocks are skewed against it
	healing  bool
	replicas [peers]*replica
	control  control
	cut      [peers][peers]bool
	flying   []message
	ops      []operation // 0 is none

	incarnations, sessions, asks int32

	canon      []entry       // the committed log
	canonState []state       // before and after each of its entries
	waited     int           // greatest seq that wait=true was answered for
	ackedBy    map[int32]int // by epoch
	highest    [points]int64
	gone       [peers]int64
	lostEpoch  int32
	stuck      bool
	stuckBy    cause
	count      figures
}

func newWorld(o options) *world {
	w := &world{options: o, rng: rand.New(rand.NewPCG(o.seed, 0)), ops: make([]operation, 1), canonState: make([]state, 1), ackedBy: map[int32]int{}}
	if w.mix == 0 {
		w.mix = mixOf(o.seed)
	}
	w.control = control{w: w, up: true, record: placement{epoch: 1, primary: nobody}, leaving: nobody}
	factor := 2 + w.rng.IntN(2)
	for i := range peers {
		w.incarnations++
		w.replicas[i] = &replica{w: w, id: i, skew: w.skew(), disk: disk{incarnation: w.incarnations, placement: placement{primary: nobody}}}
		w.replicas[i].restart()
		if i < factor {
			w.control.record.member[i].status = initializing
		}
	}
	return w
}

func (w *world) chance(oneIn int) bool { return w.rng.IntN(oneIn) == 0 }

func (w *world) skew() int64 { return int64(w.rng.IntN(2*maxSkew+1) - maxSkew) }

func (w *world) note(format string, args ...any) {
	if w.trace != nil {
		fmt.Fprintf(w.trace, "%d "+format+"\n", append([]any{w.step}, args...)...)
	}
}

// pick gives a member of the shard, seldom another peer.
func (w *world) pick() int {
	i := w.rng.IntN(peers)
	if w.control.record.member[i].status == absent && w.rng.IntN(4) > 0 {
		i = w.rng.IntN(peers)
	}
	return i
}

// result of a run.
type result struct {
	steps int
	count figures
	found *violation
}

// run does one run, up to the first violation.
func run(o options) (res result) {
	w := newWorld(o)
	defer func() {
		res.steps, res.count = w.step, w.count
		p := recover()
		if p == nil {
			return
		}
		v, ok := p.(violation)
		if !ok {
			panic(p)
		}
		w.note("%s", v)
		res.found = &v
	}()
	events := w.events()
	total := 0
	for _, e := range events {
		total += e.weight
	}
	for range o.steps {
		w.advanceTime()
		x := w.rng.IntN(total)
		for _, e := range events {
			if x -= e.weight; x < 0 {
				e.do(w)
				break
			}
		}
		w.check()
		if w.trace != nil {
			w.picture()
		}
	}
	w.heal()
	w.final()
	return res
}

func (w *world) advanceTime() {
	w.step++
	w.now += int64(w.rng.IntN(3))
	w.control.tick()
	if !w.control.born && w.chance(6) {
		w.contact(w.pick())
	}
}

func (w *world) picture() {
	for i, r := range w.replicas {
		w.note("  %d up %v disk %d log %d durable %d commit %d applied %d leader %v promised %v epoch %d provisional %v", i, r.up, r.incarnation,
			len(r.log), r.synced, r.commit, r.applied, r.leader, r.promised, r.placement.epoch, r.provisional)
	}
}
