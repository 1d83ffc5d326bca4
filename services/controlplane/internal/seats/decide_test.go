package seats

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// situation reads one from a line: a word for each process, its member and what is known of it.
//
//	a:V   voter          a:L  learner that has caught up     a:l  learner that has not
//	a:-   no member      *    leads      !  does not answer and has no session      x  taken out of the cluster
//	?     its process has lost its data
func situation(line string) Situation {
	s := Situation{Applied: 1000}
	for i, word := range strings.Fields(line) {
		id, what, _ := strings.Cut(word, ":")
		p := Process{ID: id, Belongs: !strings.Contains(what, "x"), Alive: !strings.ContainsAny(what, "!x")}
		s.Processes = append(s.Processes, p)
		m := Member{ID: uint64(i + 1), Process: id, Up: !strings.ContainsAny(what, "!?"), Applied: 1000, Lost: strings.Contains(what, "?")}
		switch what[0] {
		case '-':
			continue
		case 'L':
			m.Learner = true
		case 'l':
			m.Learner, m.Applied = true, 10
		}
		if strings.Contains(what, "*") {
			s.Self = m.ID
		}
		s.Members = append(s.Members, m)
	}
	return s
}

func TestDecide(t *testing.T) {
	for _, tc := range []struct{ now, want, even string }{
		// Growth.
		{"a:V*", "rest", ""},
		{"a:V* b:-", "add b", ""},
		{"a:V* b:-!", "rest", ""},
		{"a:V* b:l", "rest", ""},
		{"a:V* b:L", "rest", ""},
		{"a:V* b:L c:-", "add c", ""},
		{"a:V* b:L c:l", "rest", ""},
		{"a:V* b:L c:L", "promote b", ""},
		{"a:V* b:V c:L", "promote c", "2 voters: process c gets a vote"},
		{"a:V* b:V c:l", "rest", "2 voters: process c gets a vote when it has caught up"},
		{"a:V* b:V c:V d:-", "add d", ""},
		{"a:V* b:V c:V d:L e:L", "promote d", ""},
		{"a:V* b:V! c:V d:L e:L", "promote d", ""},
		{"a:V* b:V! c:V d:L! e:L", "rest", ""},
		{"a:V* b:V c:V d:V e:V f:L g:L h:-", "rest", ""},
		{"a:V* b:V c:V d:V e:V f:L g:-", "add g", ""},
		// A learner whose process is gone gives its place away, if somebody wants it.
		{"a:V* b:V c:V d:L! e:L", "rest", ""},
		{"a:V* b:V c:V d:L! e:L f:-", "remove d", ""},
		// A voter has gone.
		{"a:V* b:V", "remove b", "2 voters: no process can take the place of the voter that is gone: process b becomes a learner"},
		{"a:V* b:V!", "rest", "2 voters: too few of them answer to change that"},
		{"a:V* b:V c:V d:V", "remove d", "4 voters: no process can take the place of the voter that is gone: process d becomes a learner"},
		{"a:V b:V c:V d:V*", "remove c", "4 voters: no process can take the place of the voter that is gone: process c becomes a learner"},
		{"a:V* b:V! c:V d:V", "remove b", "4 voters: no process can take the place of the voter that is gone: process b becomes a learner"},
		{"a:V* b:V c:V d:V e:L", "promote e", "4 voters: process e gets a vote"},
		{"a:V* b:V c:V d:V e:-", "add e", "4 voters: process e becomes a learner"},
		{"a:V* b:V c:V d:V e:L!", "remove d", "4 voters: no process can take the place of the voter that is gone: process d becomes a learner"},
		{"a:V* b:V c:V d:V e:L! f:L! g:-", "remove e", "4 voters: its process is gone, and process g can take the place"},
		// Data are lost.
		{"a:V* b:V c:V?", "remove c", ""},
		{"a:V* b:V c:V? d:L", "remove c", ""},
		{"a:V* b:V! c:V?", "rest", ""}, // no majority answers
		{"a:V* b:V c:V! d:V? e:V", "remove d", ""},
		{"a:V* b:L?", "remove b", ""},
		{"a:V* b:V?", "rest", "2 voters: too few of them answer to change that"},
		// Taken out of the cluster.
		{"a:V* b:Lx", "remove b", ""},
		{"a:V* b:V c:V!x", "remove c", ""},
		{"a:V* b:V!  c:Vx", "rest", ""}, // it is needed until another one answers
		{"a:V* b:Vx", "remove b", "2 voters: its process was taken out of the cluster"},
		{"a:V*x b:V c:V", "hand over b", ""},
		{"a:V*x b:L", "promote b", ""},
		{"a:V*x b:V", "hand over b", "2 voters: the leader's process was taken out of the cluster"},
		{"a:V*x", "rest", ""},
		{"a:V*x b:-", "add b", ""},
	} {
		step, even := Decide(situation(tc.now))
		got := step.Act.String()
		if step.Act != Rest {
			got += " " + step.Process
		}
		if got != tc.want || even != tc.even {
			t.Errorf("%s: %s, %q; want %s, %q", tc.now, got, even, tc.want, tc.even)
		}
	}
}

// TestUnknownProcessIsNotRemoved: a member of which the address book knows nothing stays.
func TestUnknownProcessIsNotRemoved(t *testing.T) {
	s := situation("a:V* b:V c:V")
	s.Processes = s.Processes[:1]
	if step, _ := Decide(s); step.Act != Rest {
		t.Errorf("%+v", step)
	}
}

// world is a cluster that obeys.
type world struct {
	*rand.Rand
	Situation
	next uint64
}

// do performs a step as raft does: an emptied or new member has caught up some time later.
func (w *world) do(t *testing.T, step Step) {
	w.next++
	at := slices.IndexFunc(w.Members, func(m Member) bool { return m.ID == step.Member })
	switch step.Act {
	case Add:
		w.Members = append(w.Members, Member{ID: w.next + 100, Process: step.Process, Learner: true, Up: true})
	case Promote:
		if !w.Members[at].Learner {
			t.Fatalf("promoted a voter: %+v", step)
		}
		w.Members[at].Learner = false
	case Remove:
		if w.Members[at].ID == w.Self {
			t.Fatalf("the leader removes itself: %+v", w.Situation)
		}
		w.Members = slices.Delete(w.Members, at, at+1)
	case Hand:
		w.Self = step.Member
	}
	voters, up, learners := 0, 0, 0
	for _, m := range w.Members {
		switch {
		case m.Learner:
			learners++
		default:
			voters++
			if m.Up {
				up++
			}
		}
	}
	if up < majority(voters) || voters > maxVoters || learners > maxLearners {
		t.Fatalf("after %+v: %d voters, %d of them answer, %d learners", step, voters, up, learners)
	}
}

// upset lets something happen to a process.
func (w *world) upset() {
	p := &w.Processes[w.IntN(len(w.Processes))]
	switch w.IntN(8) {
	case 0, 1:
		w.set(p, false)
	case 2, 3, 4:
		w.set(p, p.Belongs)
	case 5:
		p.Belongs = len(w.Processes) < 3 || w.IntN(4) > 0
	case 6:
		if len(w.Processes) < 9 {
			w.Processes = append(w.Processes, Process{ID: fmt.Sprint("p", len(w.Processes)), Belongs: true, Alive: true})
		}
	case 7:
		for i := range w.Members {
			w.Members[i].Applied = w.Applied
		}
	}
}

func (w *world) set(p *Process, alive bool) {
	p.Alive = alive
	for i := range w.Members {
		if w.Members[i].Process == p.ID {
			w.Members[i].Up = alive
		}
	}
}

// elect finds a leader among the voters that answer; false without a majority.
func (w *world) elect() bool {
	var up []uint64
	voters := 0
	for _, m := range w.Members {
		if !m.Learner {
			voters++
			if m.Up {
				up = append(up, m.ID)
			}
		}
	}
	if len(up) < majority(voters) {
		return false
	}
	if !slices.Contains(up, w.Self) {
		w.Self = up[w.IntN(len(up))]
	}
	return true
}

// TestSettles: whatever happens on the way, no step costs the majority, and in the end the number of voters is odd and as
// large as the processes allow.
func TestSettles(t *testing.T) {
	for seed := range uint64(300) {
		w := &world{Rand: rand.New(rand.NewPCG(seed, 0))}
		w.Applied, w.Self = 1000, 1
		w.Members = []Member{{ID: 1, Process: "p0", Up: true, Applied: 1000}}
		w.Processes = []Process{{ID: "p0", Belongs: true, Alive: true}}
		for range 200 {
			w.upset()
			if w.elect() && w.IntN(3) > 0 {
				step, _ := Decide(w.Situation)
				w.do(t, step)
			}
		}
		if !slices.ContainsFunc(w.Processes, func(p Process) bool { return p.Belongs }) {
			continue
		}
		belong := 0
		for i := range w.Processes {
			if p := &w.Processes[i]; p.Belongs {
				belong++
			}
			w.set(&w.Processes[i], true)
		}
		var step Step
		var even string
		for range 60 {
			for i := range w.Members {
				w.Members[i].Applied = w.Applied
			}
			if !w.elect() {
				t.Fatalf("seed %d: no majority although all are back: %+v", seed, w.Situation)
			}
			if step, even = Decide(w.Situation); step.Act == Rest {
				break
			}
			w.do(t, step)
		}
		voters, learners := 0, 0
		for _, m := range w.Members {
			if m.Learner {
				learners++
			} else {
				voters++
			}
		}
		wantVoters := min((belong-1)/2*2+1, maxVoters)
		if step.Act != Rest || even != "" || voters != wantVoters || learners != min(belong-wantVoters, maxLearners) {
			t.Errorf("seed %d: %d processes, %d voters, %d learners, %q, next %+v", seed, belong, voters, learners, even, step)
		}
	}
}
