package seats

import (
	"cmp"
	"fmt"
	"slices"
)

const (
	// maxVoters and maxLearners bound the members; every other process runs none.
	maxVoters, maxLearners = 5, 2
	// lag is how many raft entries a learner may be behind and still count as caught up.
	lag = 100
)

// Member of the control plane, as the leader sees it.
type Member struct {
	ID      uint64
	Process string
	Learner bool
	Up      bool   // its process answered lately, and runs this member
	Applied uint64 // raft index, by that answer
	Lost    bool   // it has run, and its process has lost its data: it will never run again
}

// Process that is known.
type Process struct {
	ID      string
	Belongs bool // otherwise it was taken out of the cluster
	Alive   bool // it has a session
}

// Situation is all that a decision rests on.
type Situation struct {
	Self      uint64 // the leader's member
	Applied   uint64 // its raft index
	Members   []Member
	Processes []Process
}

// Act is a kind of step.
type Act int

// The acts. Each is one change that raft orders, so that a leader that dies after it leaves a situation from which its
// successor goes on.
const (
	Rest    Act = iota
	Add         // the process becomes a learner
	Promote     // the learner gets a vote
	Remove      // the member goes; its process may become a learner again
	Hand        // the voter takes over the leadership
)

func (a Act) String() string { return [...]string{"rest", "add", "promote", "remove", "hand over"}[a] }

// Step is what to do next.
type Step struct {
	Act     Act
	Member  uint64 // of Promote, Remove, Hand
	Process string
	Why     string
}

// Decide says what to do next, and while the number of voters is even, why it is and what is awaited or done about it.
//
// The number of voters is to be odd: 1, 3 or 5. Learners are promoted in pairs. Where a voter is lost to a removal, a
// learner takes its place, or a process that can become one; with none, a second voter that does not lead is removed, and
// as a process without a seat becomes a learner again. A member whose data are lost is removed, too: Raft would take what it
// forgot for what it remembers. No step leaves fewer voters that answer than a majority.
func Decide(s Situation) (step Step, even string) {
	d := &decision{s: s, processes: map[string]Process{}, up: 0}
	for _, p := range s.Processes {
		d.processes[p.ID] = p
	}
	for _, m := range slices.SortedFunc(slices.Values(s.Members), func(a, b Member) int { return cmp.Compare(a.ID, b.ID) }) {
		switch {
		case m.Learner:
			d.learners = append(d.learners, m)
		default:
			d.voters = append(d.voters, m)
			if d.answers(m) {
				d.up++
			}
		}
	}
	for _, rule := range []func() bool{d.powerless, d.expel, d.bury, d.even, d.grow, d.admit} {
		if rule() {
			break
		}
	}
	if n := len(d.voters); n%2 == 0 && n > 0 {
		even = fmt.Sprintf("%d voters: %s", n, cmp.Or(d.wait, d.step.Why))
	}
	return d.step, even
}

type decision struct {
	s                Situation
	processes        map[string]Process
	voters, learners []Member // by id
	up               int      // voters that answer
	step             Step
	wait             string // what is awaited
}

func (d *decision) answers(m Member) bool { return m.Up || m.ID == d.s.Self }

// belongs is true for a process of which nothing is known: nobody is removed for a lack of knowledge.
func (d *decision) belongs(process string) bool {
	p, known := d.processes[process]
	return !known || p.Belongs
}

func (d *decision) alive(process string) bool { return d.processes[process].Alive }

func majority(n int) int { return n/2 + 1 }

// take decides. It answers true, so that no further rule is asked.
func (d *decision) take(act Act, m Member, format string, args ...any) bool {
	d.step = Step{act, m.ID, m.Process, fmt.Sprintf(format, args...)}
	return true
}

// await decides to wait.
func (d *decision) await(format string, args ...any) bool {
	d.wait = fmt.Sprintf(format, args...)
	return true
}

// ready are the learners that could vote at once.
func (d *decision) ready() []Member {
	var out []Member
	for _, m := range d.learners {
		if m.Up && m.Applied+lag >= d.s.Applied && d.belongs(m.Process) {
			out = append(out, m)
		}
	}
	return out
}

// afterPromoting tells whether n learners that answer can get votes, one after the other, with a majority that answers at
// each moment.
func (d *decision) afterPromoting(n int) bool {
	for i := 1; i <= n; i++ {
		if d.up+i < majority(len(d.voters)+i) {
			return false
		}
	}
	return true
}

// without tells whether a majority of the voters that are left answers.
func (d *decision) without(m Member) bool {
	up := d.up
	if d.answers(m) {
		up--
	}
	return up >= majority(len(d.voters)-1)
}

// powerless waits where no change could be agreed upon.
func (d *decision) powerless() bool {
	return d.up < majority(len(d.voters)) && d.await("too few of them answer to change that")
}

// expel removes the members of processes that were taken out of the cluster; a leader hands over first.
func (d *decision) expel() bool {
	const why = "its process was taken out of the cluster"
	for _, m := range d.learners {
		if !d.belongs(m.Process) {
			return d.take(Remove, m, why)
		}
	}
	var self *Member
	for i, m := range d.voters {
		switch {
		case d.belongs(m.Process):
		case m.ID == d.s.Self:
			self = &d.voters[i]
		case d.without(m):
			return d.take(Remove, m, why)
		}
	}
	if self == nil {
		return false
	}
	for _, m := range d.voters {
		if m.Up && m.ID != self.ID && d.belongs(m.Process) {
			return d.take(Hand, m, "the leader's process was taken out of the cluster")
		}
	}
	if ready := d.ready(); len(ready) > 0 && d.afterPromoting(1) {
		return d.take(Promote, ready[0], "the leader's process was taken out of the cluster")
	}
	return false
}

// bury removes members that will never run again. Their processes get new ones.
func (d *decision) bury() bool {
	for _, m := range slices.Concat(d.learners, d.voters) {
		if m.Lost && (m.Learner || d.without(m)) {
			return d.take(Remove, m, "its data are lost")
		}
	}
	return false
}

// even makes an even number of voters odd again.
func (d *decision) even() bool {
	if len(d.voters)%2 == 1 {
		return false
	}
	ready := d.ready()
	if len(ready) > 0 && d.afterPromoting(1) {
		return d.take(Promote, ready[0], "process %s gets a vote", ready[0].Process)
	}
	for _, m := range d.learners {
		if d.alive(m.Process) {
			return d.await("process %s gets a vote when it has caught up", m.Process)
		}
	}
	if d.admit() {
		return true
	}
	var worst *Member
	for i, m := range d.voters {
		if m.ID != d.s.Self && d.without(m) && (worst == nil || worst.Up || !m.Up) {
			worst = &d.voters[i]
		}
	}
	if worst == nil {
		return d.await("too few of them answer to change that")
	}
	return d.take(Remove, *worst, "no process can take the place of the voter that is gone: process %s becomes a learner", worst.Process)
}

// grow promotes two learners one after the other; the second one by the rule for an even number.
func (d *decision) grow() bool {
	ready := d.ready()
	if len(d.voters)+2 > maxVoters || len(ready) < 2 || !d.afterPromoting(2) {
		return false
	}
	return d.take(Promote, ready[0], "processes %s and %s get votes", ready[0].Process, ready[1].Process)
}

// admit makes a living process without a seat a learner; if no place is free, that of a learner whose process is gone.
func (d *decision) admit() bool {
	seated := map[string]bool{}
	for _, m := range d.s.Members {
		seated[m.Process] = true
	}
	var candidates []string
	for id, p := range d.processes {
		if p.Belongs && p.Alive && !seated[id] {
			candidates = append(candidates, id)
		}
	}
	if len(candidates) == 0 {
		return false
	}
	if len(d.learners) < maxLearners {
		id := slices.Min(candidates)
		return d.take(Add, Member{Process: id}, "process %s becomes a learner", id)
	}
	for _, m := range d.learners {
		if !m.Up && !d.alive(m.Process) {
			return d.take(Remove, m, "its process is gone, and process %s can take the place", slices.Min(candidates))
		}
	}
	return false
}
