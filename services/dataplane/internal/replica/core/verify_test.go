package core

import (
	"slices"
	"testing"

	"github.com/pandodb/pando/services/dataplane/internal/point"
	"github.com/pandodb/pando/services/dataplane/internal/replica/core/proof"
	"github.com/pandodb/pando/services/internal/topology"
)

// A mark that somebody asks for is told of once all Active replicas have applied it, or one
// after it; one whose primary is replaced is given up.
func TestVerify(t *testing.T) {
	begin := func() *Machine {
		m, _ := machine(t, Start{Hard: Hard{Incarnation: topology.Incarnation{1}, Placement: placement(1, 1, topology.Active, topology.Active, topology.Partial)}})
		return m
	}
	digest := point.Digest{A: 7}
	told := func(m *Machine, at topology.Seq) Effects {
		return m.Step(now, Received{From: 2, Message: Ack{Term: m.term, Durable: at, Applied: at, Mark: point.Mark{Seq: at, Digest: digest}}})
	}
	own := func(m *Machine, at topology.Seq) Effects {
		m.Step(now, Durable{Seq: at})
		m.Step(now, Received{From: 2, Message: Ack{Term: m.term, Durable: at}})
		return m.Step(now, AppliedTo{Seq: at, Mark: point.Mark{Seq: at, Digest: digest}})
	}

	m := begin()
	fx := m.Step(now, Verify{Ref: 1})
	if len(fx.Append) != 1 || len(fx.Verified) != 0 {
		t.Fatalf("no mark: %+v", fx)
	}
	m.Step(now, Verify{Ref: 2})
	at := m.last.Seq // both followers of the mark before it may have skipped that one
	if fx := own(m, at); len(fx.Verified) != 0 {
		t.Errorf("before the follower has told: %+v", fx.Verified)
	}
	fx = told(m, at)
	want := proof.Report{Digest: digest, Applied: at}
	if len(fx.Verified) != 2 || fx.Verified[0].Ref != 1 || fx.Verified[1].Ref != 2 || fx.Verified[0].Seq != at || len(fx.Verified[0].Reports) != 2 || fx.Verified[0].Reports[2] != want {
		t.Errorf("told: %+v", fx.Verified)
	}
	if fx := m.Step(now, Tick{}); len(fx.Verified) != 0 {
		t.Errorf("answered twice: %+v", fx.Verified)
	}

	m.Step(now, Verify{Ref: 3})
	if fx := m.Step(now, AppendFailed{From: m.last.Seq}); len(fx.Answers) != 0 || m.heir == 0 { // the next primary's clients ask anew
		t.Errorf("a full disk: %+v", fx.Answers)
	}
	if fx := m.Step(now, Verify{Ref: 4}); !slices.Equal(outcomes(fx.Answers), []Outcome{NotPrimary}) {
		t.Errorf("during a handover: %+v", fx.Answers)
	}

	m = begin()
	m.Step(now, Verify{Ref: 5})
	if fx := m.Step(now, PlacementSeen{Placement: placement(2, 2, topology.Active, topology.Active, topology.Dead)}); !slices.Equal(outcomes(fx.Answers), []Outcome{NotPrimary}) {
		t.Errorf("another primary: %+v", fx.Answers)
	}
	if fx := m.Step(now, Verify{Ref: 6}); !slices.Equal(outcomes(fx.Answers), []Outcome{NotPrimary}) {
		t.Errorf("a follower: %+v", fx.Answers)
	}

	m = begin()
	m.Step(now, Verify{Ref: 7})
	at = m.last.Seq
	own(m, at)
	if fx := m.Step(now, PlacementSeen{Placement: placement(2, 1, topology.Active, topology.Dead, topology.Partial)}); len(fx.Verified) != 1 || len(fx.Verified[0].Reports) != 1 || fx.Verified[0].Epoch != 2 {
		t.Errorf("the other one is Dead: %+v", fx.Verified)
	}
}
