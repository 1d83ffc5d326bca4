package evidence

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/pandodb/pando/services/internal/topology"
)

func TestConclude(t *testing.T) {
	d, a, s := Dead, Alive, Suspect
	for _, c := range []struct {
		name     string
		assigned []topology.PeerID
		opinions []Opinion
		want     State
	}{
		{"nobody", nil, nil, Unknown},
		{"one of one", []topology.PeerID{1}, []Opinion{{1, false, d}}, Dead},
		{"own process never counts", []topology.PeerID{1}, []Opinion{{1, true, d}}, Unknown},
		{"one of three", []topology.PeerID{1, 2, 3}, []Opinion{{1, false, d}, {2, false, a}, {3, false, a}}, Alive},
		{"two of three", []topology.PeerID{1, 2, 3}, []Opinion{{1, false, d}, {2, false, d}, {3, false, a}}, Dead},
		{"two of two that are elsewhere", []topology.PeerID{1, 2, 3}, []Opinion{{1, true, a}, {2, false, d}, {3, false, d}}, Dead},
		{"half is not a majority", []topology.PeerID{1, 2}, []Opinion{{1, false, d}, {2, false, a}}, Suspect},
		{"a silent observer counts as assigned", []topology.PeerID{1, 2, 3}, []Opinion{{1, false, d}}, Suspect},
		{"not assigned, not counted", []topology.PeerID{1, 2, 3}, []Opinion{{1, false, d}, {8, false, d}, {9, false, d}}, Suspect},
		{"an own process that is not assigned takes no vote away", []topology.PeerID{1, 2}, []Opinion{{7, true, a}, {1, false, d}}, Suspect},
		{"suspicion", []topology.PeerID{1, 2, 3}, []Opinion{{1, false, s}, {2, false, a}, {3, false, a}}, Alive},
	} {
		if got := Conclude(c.assigned, c.opinions); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// TestDeadNeedsAMajorityElsewhere: whatever is said by whomever, Dead takes more than half of those who were asked and are not the
// subject itself, and Alive and Dead exclude each other.
func TestDeadNeedsAMajorityElsewhere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ids := rapid.SliceOfDistinct(rapid.Uint64Range(1, 9), rapid.ID[uint64])
		var assigned []topology.PeerID
		for _, id := range ids.Draw(t, "assigned") {
			assigned = append(assigned, topology.PeerID(id))
		}
		var opinions []Opinion
		votes, foreign := map[State]int{}, len(assigned)
		for _, id := range ids.Draw(t, "said") {
			o := Opinion{Observer: topology.PeerID(id), SameProcess: rapid.Bool().Draw(t, "own"), State: State(rapid.IntRange(0, 3).Draw(t, "state"))}
			opinions = append(opinions, o)
			for _, a := range assigned {
				switch {
				case a == o.Observer && o.SameProcess:
					foreign--
				case a == o.Observer:
					votes[o.State]++
				}
			}
		}
		got := Conclude(assigned, opinions)
		if (got == Dead) != (2*votes[Dead] > foreign) || (got == Alive) != (2*votes[Alive] > foreign && got != Dead) {
			t.Fatalf("%v of %v by %v", got, opinions, assigned)
		}
	})
}

var peers = []topology.PeerID{1, 2, 3}

func said(s State, who ...topology.PeerID) map[topology.PeerID]Said {
	out := map[topology.PeerID]Said{}
	for _, p := range who {
		out[p] = Said{State: s, Why: "no answer"}
	}
	return out
}

func TestLedger(t *testing.T) {
	var l Ledger
	at := time.Unix(1000, 0)
	by := Assign(peers, peers, 3).By
	conclude := func(want string) {
		t.Helper()
		var got []string
		for _, p := range peers {
			c := l.Peer(at, p, by[p])
			got = append(got, strings.TrimSpace(fmt.Sprint(c.State, " ", c.Why)))
		}
		if s := strings.Join(got, ", "); s != want {
			t.Errorf("got %s, want %s", s, want)
		}
	}
	take := func(r Report, want bool) {
		t.Helper()
		if got := l.Take(at, r); got != want {
			t.Errorf("%+v changed something: %v", r, got)
		}
	}
	conclude("Unknown, Unknown, Unknown")
	take(Report{Observer: 1, Own: 1, Full: true, Peers: said(Alive, 1, 2, 3)}, true)
	take(Report{Observer: 2, Own: 2, Full: true, Peers: said(Alive, 1, 2, 3)}, true)
	conclude("Unknown, Unknown, Alive")
	take(Report{Observer: 3, Own: 3, Full: true, Peers: said(Alive, 1, 2, 3)}, true)
	conclude("Alive, Alive, Alive")
	take(Report{Observer: 1, Own: 1}, false)
	take(Report{Observer: 1, Own: 1, Peers: said(Dead, 3)}, true)
	take(Report{Observer: 1, Own: 1, Peers: said(Dead, 3)}, false)
	conclude("Alive, Alive, Suspect")
	take(Report{Observer: 2, Own: 2, Peers: said(Dead, 3)}, true)
	conclude("Alive, Alive, Dead 2 of 2 observers: no answer")
	// An observer that is silent for long does not count; when it is heard again, it tells only what is new.
	at = at.Add(Fresh + 1)
	conclude("Unknown, Unknown, Unknown")
	take(Report{Observer: 1, Own: 1}, true)
	conclude("Unknown, Unknown, Suspect")
	// What a complete report leaves out is void.
	take(Report{Observer: 1, Own: 1, Full: true, Peers: said(Dead, 3)}, true)
	take(Report{Observer: 2, Own: 2, Full: true, Peers: said(Dead, 3)}, true)
	take(Report{Observer: 2, Own: 2, Full: true, Peers: said(Alive, 1)}, true)
	conclude("Unknown, Unknown, Suspect")
}

func TestDeadReplicas(t *testing.T) {
	var l Ledger
	at := time.Unix(1000, 0)
	d := Assign(peers, peers, 3)
	r := Replica{Shard: topology.Shard{Collection: 7, ID: 1}, Peer: 3}
	dead := func() map[Replica]Conclusion {
		return l.DeadReplicas(at, func(p topology.PeerID) []topology.PeerID { return d.By[p] })
	}
	tell := func(o topology.PeerID, s State) bool {
		return l.Take(at, Report{Observer: o, Own: o, Replicas: map[Replica]Said{r: {State: s, Why: "disk"}}})
	}
	if tell(3, Dead); len(dead()) != 0 {
		t.Error("the peer's own observer counted")
	}
	if tell(1, Dead); len(dead()) != 0 {
		t.Error("one of two is enough")
	}
	if tell(2, Dead); dead()[r] != (Conclusion{Dead, "2 of 2 observers: disk"}) {
		t.Errorf("%v", dead())
	}
	if changed := tell(2, Alive); !changed || len(dead()) != 0 {
		t.Errorf("changed %v: %v", changed, dead())
	}
	if tell(2, Alive) {
		t.Error("the same word twice is a change")
	}
}

func TestSubjects(t *testing.T) {
	d := Assign([]topology.PeerID{3, 1, 2}, []topology.PeerID{1, 2}, 3)
	for _, c := range []struct {
		observer, own topology.PeerID
		want          string
	}{
		{1, 1, "[1 2 3]"}, {2, 2, "[1 2 3]"},
		{3, 3, "[3]"}, // without a session it watches its own peer alone
		{77, 0, "[]"}, {77, 9, "[]"},
	} {
		if got := fmt.Sprint(d.Subjects(c.observer, c.own)); got != c.want {
			t.Errorf("observer %d of process %d watches %s, want %s", c.observer, c.own, got, c.want)
		}
	}
	many := make([]topology.PeerID, 50)
	for i := range many {
		many[i] = topology.PeerID(i + 1)
	}
	d = Assign(many, many, 3)
	for _, p := range many {
		if len(d.By[p]) != 3 {
			t.Errorf("peer %d has observers %v", p, d.By[p])
		}
		for _, o := range d.By[p] {
			if o == p {
				t.Errorf("peer %d watches itself", p)
			}
		}
	}
}
