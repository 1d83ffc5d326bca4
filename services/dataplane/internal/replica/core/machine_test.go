package core

import (
	"bytes"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/point"
	"github.com/pandodb/pando/services/internal/topology"
)

const start = 1_700_000_000_000

// now is the time of tests in which none passes.
var now = clock(start)

// clock: the same time has passed on both clocks.
func clock(wall int64) Time { return Time{Wall: wall, Mono: wall - start + 1000} }

func placement(epoch topology.Epoch, primary topology.PeerID, states ...topology.ReplicaState) topology.Placement {
	p := topology.Placement{Epoch: epoch, Primary: primary}
	for i, s := range states {
		p.Replicas = append(p.Replicas, topology.Replica{Peer: topology.PeerID(i + 1), State: s, Incarnation: topology.Incarnation{byte(i + 1)}})
	}
	return p
}

func machine(t *testing.T, st Start) (*Machine, Effects) {
	t.Helper()
	m := New(Options{Self: 1, Incarnation: topology.Incarnation{1}, Session: 7})
	fx := m.Step(now, st)
	if fx.Broken != "" {
		t.Fatal(fx.Broken)
	}
	return m, fx
}

func write(ref uint64, n byte, wait WaitMode, bodies ...string) Proposal {
	p := Proposal{Ref: ref, ID: op.ID{Request: [16]byte{n}}, Wait: wait}
	for _, b := range bodies {
		p.Bodies = append(p.Bodies, []byte(b))
	}
	return p
}

func outcomes(as []Answer) (out []Outcome) {
	for _, a := range as {
		out = append(out, a.Outcome)
	}
	return out
}

func TestBirthThenWrite(t *testing.T) {
	m, fx := machine(t, Start{})
	if m.Status().Role != Idle || fx.Hard == nil || fx.Hard.Incarnation != (topology.Incarnation{1}) {
		t.Fatalf("%+v %+v", m.Status(), fx)
	}
	if as := m.Step(now, Propose{[]Proposal{write(1, 1, WaitCommitted, "a")}}).Answers; !slices.Equal(outcomes(as), []Outcome{NotPrimary}) {
		t.Fatalf("before the birth: %v", as)
	}
	fx = m.Step(now, PlacementSeen{Placement: placement(1, 1, topology.Active), Config: Config{3, []byte("c3")}})
	want := topology.Term{Epoch: 1, Run: 1}
	if fx.Hard == nil || fx.Hard.Promised != want || fx.Hard.Run != 1 || !slices.Equal(m.history, []TermStart{{Term: want, First: 1}}) {
		t.Fatalf("C4: %+v", fx.Hard)
	}
	if len(fx.Append) != 2 || !bytes.Equal(fx.Append[1].Body, op.Op{Kind: op.Config, Revision: 3, Settings: []byte("c3")}.Append(nil)) || !fx.Sync || len(fx.Apply) != 0 {
		t.Fatalf("C4, W11: %+v", fx)
	}
	fx = m.Step(now, Propose{[]Proposal{write(2, 2, WaitCommitted, "p0", "p1", "p2"), write(3, 2, WaitApplied, "p0", "p1", "p2")}})
	var parts []uint32
	for _, e := range fx.Append {
		parts = append(parts, e.ID.Part)
	}
	if !slices.Equal(parts, []uint32{0, 1, op.LastPart}) || len(fx.Answers) != 0 {
		t.Fatalf("parts %v answers %v", parts, fx.Answers)
	}
	if !m.Pending(op.ID{Request: [16]byte{2}}) {
		t.Fatal("W2: not found in the log")
	}
	fx = m.Step(now, Durable{4})
	if len(fx.Apply) != 4 || len(fx.Answers) != 0 {
		t.Fatalf("half an operation answered: %+v", fx)
	}
	fx = m.Step(now, Durable{5})
	if diff := cmp.Diff([]Answer{{2, Committed, 5, 0}}, fx.Answers); diff != "" {
		t.Fatal(diff)
	}
	fx = m.Step(now, AppliedTo{Seq: 5})
	if diff := cmp.Diff([]Answer{{3, Applied, 5, 0}}, fx.Answers); diff != "" {
		t.Fatal(diff)
	}
	dup := write(4, 2, WaitApplied)
	dup.Seen = 5
	if fx = m.Step(now, Propose{[]Proposal{dup}}); len(fx.Append) != 0 || !slices.Equal(fx.Answers, []Answer{{4, Applied, 5, 0}}) {
		t.Fatalf("W2: %+v", fx)
	}
}

// W6: with another Active replica that reports nothing, nothing commits; a new
// epoch without it lets the same waiting clients be answered (C5).
func TestRequiredReplicaBlocksUntilNewEpoch(t *testing.T) {
	m, _ := machine(t, Start{})
	m.Step(now, PlacementSeen{Placement: placement(1, 1, topology.Active, topology.Active)})
	m.Step(now, Propose{[]Proposal{write(1, 1, WaitApplied, "a"), write(2, 2, WaitCommitted, "b")}})
	if fx := m.Step(now, Durable{3}); len(fx.Apply) != 0 || len(fx.Answers) != 0 || m.Status().Commit != 0 {
		t.Fatalf("W6: %+v", fx)
	}
	fx := m.Step(now, PlacementSeen{Placement: placement(2, 1, topology.Active, topology.Dead)})
	if fx.Hard.Promised != (topology.Term{Epoch: 2, Run: 2}) || len(fx.Append) != 1 || fx.Append[0].Seq != 4 {
		t.Fatalf("C5: %+v", fx)
	}
	if len(fx.Apply) != 3 || !slices.Equal(fx.Answers, []Answer{{2, Committed, 3, 0}}) {
		t.Fatalf("C5: %+v", fx)
	}
	if fx = m.Step(now, AppliedTo{Seq: 3}); !slices.Equal(fx.Answers, []Answer{{1, Applied, 2, 0}}) || !m.Status().Ready {
		t.Fatalf("C5: %+v", fx)
	}
}

// W8, C5: who waits for a follower to apply what is applied everywhere else is answered when a new epoch does without it.
func TestApplyIsToldInTheNextEpoch(t *testing.T) {
	m, _ := machine(t, Start{})
	m.Step(now, PlacementSeen{Placement: placement(1, 1, topology.Active, topology.Active)})
	m.Step(now, Propose{[]Proposal{write(1, 1, WaitApplied, "a")}})
	m.Step(now, Durable{2})
	m.Step(now, Received{2, Ack{Term: topology.Term{Epoch: 1, Run: 1}, Durable: 2}})
	if fx := m.Step(now, AppliedTo{Seq: 2}); len(fx.Answers) != 0 || m.Status().Applied != 2 {
		t.Fatalf("W8: %+v, applied %d", fx.Answers, m.Status().Applied)
	}
	fx := m.Step(now, PlacementSeen{Placement: placement(2, 1, topology.Active, topology.Dead)})
	if !slices.Equal(fx.Answers, []Answer{{1, Applied, 2, 0}}) {
		t.Fatalf("C5: %+v", fx.Answers)
	}
}

// W2, W8: a repetition waits for a replica that became required after its entry had been applied by all others.
func TestRepetitionWaitsForPending(t *testing.T) {
	m, _ := machine(t, Start{})
	m.Step(now, PlacementSeen{Placement: placement(1, 1, topology.Active, topology.Partial)})
	m.Step(now, Propose{[]Proposal{write(1, 1, WaitApplied, "a")}})
	m.Step(now, Durable{2})
	if fx := m.Step(now, AppliedTo{Seq: 2}); !slices.Equal(fx.Answers, []Answer{{1, Applied, 2, 0}}) {
		t.Fatalf("W8: %+v", fx.Answers)
	}
	m.Step(now, Received{2, Ack{Term: topology.Term{Epoch: 1, Run: 1}, Durable: 1}})
	again := write(2, 1, WaitApplied)
	again.Seen = 2
	if fx := m.Step(now, Propose{[]Proposal{again}}); len(fx.Answers) != 0 || m.hard.Pending.Epoch != 1 {
		t.Fatalf("C8: %+v, pending %+v", fx.Answers, m.hard.Pending)
	}
	fx := m.Step(now, Received{2, Ack{Term: topology.Term{Epoch: 1, Run: 1}, Durable: 3, Applied: 2}})
	if !slices.Equal(fx.Answers, []Answer{{2, Applied, 2, 0}}) {
		t.Fatalf("W8: %+v", fx.Answers)
	}
}

func TestPendingIsRequired(t *testing.T) {
	h := Hard{Incarnation: topology.Incarnation{1}, Placement: placement(5, 1, topology.Active, topology.Partial), Pending: Pending{5, []topology.PeerID{2}}}
	m, _ := machine(t, Start{Hard: h})
	if fx := m.Step(now, Durable{1}); m.Status().Commit != 0 {
		t.Fatalf("C8: pending replica not required after a restart: %+v", fx)
	}
	fx := m.Step(now, PlacementSeen{Placement: placement(6, 1, topology.Active, topology.Dead)})
	if m.Status().Commit != 1 || fx.Hard.Pending.Epoch != 0 {
		t.Fatalf("C8: %+v", m.Status())
	}
}

// TestBehind: how much a follower lacks is told by the primary's commit index, whether or not what is on its way has come.
func TestBehind(t *testing.T) {
	m, _ := machine(t, Start{Hard: Hard{Incarnation: topology.Incarnation{1}, Placement: placement(5, 2, topology.Partial, topology.Active)}})
	term := topology.Term{Epoch: 5, Run: 1}
	entries := []op.Entry{{Term: term, Seq: 1}, {Term: term, Seq: 2}}
	for i, c := range []struct {
		a    Append
		want topology.Seq
	}{
		{Append{Term: term, Prev: Position{Term: term, Seq: 8}, Commit: 8}, 8}, // does not fit: from where to go on is asked for
		{Append{Term: term, Entries: entries, Commit: 8}, 6},
		{Append{Term: term, Prev: Position{Term: term, Seq: 2}, Commit: 1}, 6}, // late: says less than is known
		{Append{Term: term, Prev: Position{Term: term, Seq: 2}, Commit: 2}, 6},
	} {
		m.Step(now, Received{From: 2, Message: c.a})
		if got := m.Status(); got.Behind != c.want || got.Told != 8 {
			t.Errorf("%d: %d entries behind %d, want %d behind 8", i, got.Behind, got.Told, c.want)
		}
	}
	m.Step(now, Received{From: 2, Message: Append{Term: term, Prev: Position{Term: term, Seq: 2}, Commit: 9, Entries: []op.Entry{{Term: term, Seq: 3}}}})
	if got := m.Status().Behind; got != 6 {
		t.Errorf("%d entries behind 9 with 3", got)
	}
}

func TestStepDown(t *testing.T) {
	other := placement(2, 2, topology.Active, topology.Active)
	dead := placement(2, 2, topology.Dead, topology.Active)
	reborn := placement(2, 1, topology.Active)
	reborn.Replicas[0].Incarnation = topology.Incarnation{99}
	for _, c := range []struct {
		name string
		ev   Event
		role Role
	}{
		{"C5 another primary", PlacementSeen{Placement: other}, Follower},
		{"C5 marked Dead", PlacementSeen{Placement: dead}, Idle},
		{"S3 another incarnation", PlacementSeen{Placement: reborn}, Idle},
		{"taken out", PlacementSeen{Placement: placement(2, 0)}, Idle},
		{"stopped", Stop{}, Stopped},
	} {
		m, _ := machine(t, Start{})
		m.Step(now, PlacementSeen{Placement: placement(1, 1, topology.Active)})
		m.Step(now, Propose{[]Proposal{write(1, 1, WaitApplied, "a"), write(2, 2, WaitCommitted, "b")}})
		fx := m.Step(now, c.ev)
		if got := outcomes(fx.Answers); !slices.Equal(got, []Outcome{Unknown, Unknown}) {
			t.Errorf("%s: W10: %v", c.name, fx.Answers)
		}
		if s := m.Status(); s.Role != c.role || s.Ready || s.Last.Seq != 3 {
			t.Errorf("%s: %+v", c.name, s)
		}
		if fx := m.Step(now, Durable{3}); len(fx.Apply) != 0 {
			t.Errorf("%s: commits by itself", c.name)
		}
		if fx := m.Step(now, PlacementSeen{Placement: placement(1, 1, topology.Active)}); fx.Hard != nil {
			t.Errorf("%s: obeys a lower epoch", c.name)
		}
	}
}

func TestRestart(t *testing.T) {
	old := topology.Term{Epoch: 4, Run: 9}
	log := []op.Entry{{Term: old, Seq: 11, HLC: 1 << 62, ID: op.ID{Request: [16]byte{1}, Part: op.LastPart}}, {Term: old, Seq: 12, HLC: 1<<62 + 1, Body: op.Op{Kind: op.EpochStart}.Append(nil)}}
	h := Hard{Incarnation: topology.Incarnation{1}, Placement: placement(4, 1, topology.Active), Run: 9, Promised: topology.Term{Epoch: 4}, Commit: 11}
	m, fx := machine(t, Start{Hard: h, Applied: 10, Last: Position{Term: old, Seq: 12}, History: []TermStart{{Term: old, First: 7}}, Entries: log, MaxHLC: 1<<62 + 1, Config: 2, Floor: 1<<62 + 1})
	if fx.Hard.Promised != (topology.Term{Epoch: 4, Run: 10}) || len(fx.Apply) != 1 || !fx.Sync || len(fx.Append) != 1 {
		t.Fatalf("S1, S2: %+v", fx)
	}
	if fx.Append[0].HLC <= 1<<62+1 {
		t.Fatalf("W4: %d", fx.Append[0].HLC)
	}
	if fx = m.Step(now, AppendFailed{13}); m.Status().Last != (Position{Term: old, Seq: 12}) {
		t.Fatalf("%+v", m.Status())
	}
	// The disk is full: what was there is synced, committed and readable, writes are refused.
	fx = m.Step(now, Durable{12})
	if m.Step(now, AppliedTo{Seq: 12}); len(fx.Apply) != 1 || !m.Status().Ready {
		t.Fatalf("R2a: %+v", m.Status())
	}
	fx = m.Step(now, Propose{[]Proposal{write(1, 7, WaitApplied, "x")}})
	if len(fx.Append) != 2 || fx.Append[0].Seq != 13 {
		t.Fatalf("C4: %+v", fx.Append)
	}
	if fx = m.Step(now, AppendFailed{13}); !slices.Equal(fx.Answers, []Answer{{1, NoSpace, 14, 0}}) || m.Pending(op.ID{Request: [16]byte{7}}) {
		t.Fatalf("%+v", fx)
	}
	fx = m.Step(now, Tick{})
	if len(fx.Append) != 1 || fx.Hard == nil || m.history[len(m.history)-1] != (TermStart{Term: topology.Term{Epoch: 4, Run: 10}, First: 13}) {
		t.Fatalf("%+v", fx)
	}
}

func TestTruncation(t *testing.T) {
	m, _ := machine(t, Start{})
	m.Step(now, PlacementSeen{Placement: placement(1, 1, topology.Active)})
	m.Step(now, Durable{1})
	m.Step(now, AppliedTo{Seq: 1})
	if fx := m.Step(now, Checkpointed{1}); fx.Truncate != 1 {
		t.Fatalf("C9: %+v", fx)
	}
	m.Step(now, PlacementSeen{Placement: placement(2, 1, topology.Active, topology.Active, topology.Partial)})
	m.Step(now, Durable{2})
	ack := func(from topology.PeerID, s topology.Seq) {
		m.Step(now, Received{from, Ack{Term: topology.Term{Epoch: 2, Run: 2}, Durable: s, Applied: s}})
	}
	ack(2, 2)
	m.Step(now, AppliedTo{Seq: 2})
	if fx := m.Step(now, Checkpointed{2}); fx.Truncate != 0 {
		t.Fatalf("C9: a Partial that has nothing yet: %+v", fx)
	}
	ack(3, 2)
	if fx := m.Step(now, Checkpointed{2}); fx.Truncate != 2 {
		t.Fatalf("C9: %+v", fx)
	}
}

func TestFloor(t *testing.T) {
	m, _ := machine(t, Start{})
	m.Step(now, PlacementSeen{Placement: placement(1, 1, topology.Active)})
	if fx := m.Step(now, Tick{}); len(fx.Append) != 0 {
		t.Fatal("D2: an idle shard writes floors")
	}
	m.Step(now, Propose{[]Proposal{write(1, 1, WaitApplied, "a")}})
	at := func(ms int64) op.HLC {
		fx := m.Step(clock(ms), Tick{})
		if len(fx.Append) == 0 {
			return 0
		}
		o, err := op.Decode(fx.Append[0].Body)
		if err != nil || o.Kind != op.Floor {
			t.Fatalf("%+v %v", o, err)
		}
		return o.Floor
	}
	const window, step = op.RetryWindowMS, op.RetryWindowMS / 15
	if f := at(start); f != 0 {
		t.Errorf("D2: %d at once", f.Ms())
	}
	m.Step(clock(start+2*step), Propose{[]Proposal{write(1, 2, WaitApplied, "a")}})
	if f := at(start + 2*step); f != 0 {
		t.Errorf("D2: %d at once", f.Ms())
	}
	jump := clock(start + 3*step)
	jump.Wall += 10 * window
	if fx := m.Step(jump, Tick{}); len(fx.Append) != 0 {
		t.Errorf("D2: a wall clock that jumps made something old: %+v", fx.Append)
	}
	if f := at(start + window - 1); f != 0 {
		t.Errorf("D2: %d before the window is over", f.Ms())
	}
	if f := at(start + window + 1); f.Ms() != start {
		t.Errorf("D2: %d, not what the clock showed a window ago", f.Ms())
	}
	if f := at(start + window + step); f != 0 {
		t.Errorf("D2: again after less than a step: %d", f.Ms())
	}
	if f := at(start + window + 2*step + 1); f.Ms() != start+2*step {
		t.Errorf("D2: %d after two steps", f.Ms())
	}
	m.Step(now, AppendFailed{m.Status().Last.Seq})
	if f := at(start + window + 2*step + 2); f.Ms() != start+2*step {
		t.Errorf("D2: %d after the disk refused one", f.Ms())
	}
	if f := at(start + 4*window); f != 0 {
		t.Errorf("D2: %d though nothing is above the floor", f.Ms())
	}
}

// TestLateDiverged: the word that a copy differs is about the mark that it names; a newer copy does not go for it.
func TestLateDiverged(t *testing.T) {
	m, _ := machine(t, Start{Applied: 10, Last: Position{Term: topology.Term{Epoch: 1, Run: 1}, Seq: 10}, Mark: point.Mark{Seq: 9}})
	p := placement(2, 2, topology.Partial, topology.Active)
	m.Step(now, PlacementSeen{Placement: p})
	term := topology.Term{Epoch: 2, Run: 1}
	if fx := m.Step(now, Received{From: 2, Message: Diverged{Term: term, Mark: 7}}); fx.Wipe != "" {
		t.Errorf("wiped for a mark of an earlier copy: %s", fx.Wipe)
	}
	if fx := m.Step(now, Received{From: 2, Message: Diverged{Term: term, Mark: 9}}); fx.Wipe == "" {
		t.Error("not wiped for its own mark")
	}
}

// The rules whose breach random runs meet too rarely (replication.md §11: 6, 15, 21).
func TestRareTraps(t *testing.T) {
	active := placement(1, 2, topology.Active, topology.Active)
	late := Append{Term: topology.Term{Epoch: 1, Run: 1}, Complete: true, Session: 6} // sent to the life before this one
	for _, broken := range []bool{false, true} {
		m, _ := machine(t, Start{Hard: Hard{Incarnation: topology.Incarnation{1}, Placement: active}})
		m.mut.anySession = broken
		m.Step(now, Received{2, late})
		if m.Status().Ready != broken {
			t.Errorf("R2a, rule off %v: %+v", broken, m.Status())
		}
		fresh := late
		fresh.Session = 7
		if m.Step(now, Received{2, fresh}); !m.Status().Ready {
			t.Errorf("R2a: %+v", m.Status())
		}
		m, _ = machine(t, Start{Hard: Hard{Incarnation: topology.Incarnation{1}, Placement: active}})
		m.mut.noFence = broken
		for run := topology.Run(2); run >= 1; run-- { // the primary started anew and had lost entry 1 of its first run
			term := topology.Term{Epoch: 1, Run: run}
			m.Step(now, Received{2, Append{Term: term, Entries: []op.Entry{{Term: term, Seq: 1, ID: op.ID{Request: [16]byte{byte(run)}}}}}})
		}
		if (m.Status().Last.Run == 1) != broken {
			t.Errorf("C5, rule off %v: %+v", broken, m.Status())
		}
		h := Hard{Incarnation: topology.Incarnation{1}, Placement: placement(5, 1, topology.Active, topology.Partial), Pending: Pending{5, []topology.PeerID{2}}}
		m = New(Options{Self: 1, Incarnation: topology.Incarnation{1}, Session: 7})
		m.mut.forgetPending = broken
		m.Step(now, Start{Hard: h})
		if m.Step(now, Durable{1}); (m.Status().Commit == 1) != broken {
			t.Errorf("C8, rule off %v: commit %d with a pending replica silent", broken, m.Status().Commit)
		}
	}
}

func TestTiming(t *testing.T) {
	if err := DefaultTiming().Validate(); err != nil {
		t.Error(err)
	}
	for _, change := range []func(*Timing){
		func(x *Timing) { x.Repeat = 0 }, func(x *Timing) { x.Deadline = x.Repeat }, func(x *Timing) { x.Heartbeat = x.Serve },
		func(x *Timing) { x.Silence = x.Heartbeat }, func(x *Timing) { x.Window = 0 },
	} {
		x := DefaultTiming()
		if change(&x); x.Validate() == nil {
			t.Errorf("%+v accepted", x)
		}
	}
}

func TestBrokenInvariantsAreNamed(t *testing.T) {
	for _, ev := range []Event{Durable{9}, AppliedTo{Seq: 1}, Checkpointed{1}, nil, Propose{[]Proposal{write(1, 1, 0)}}} {
		m, _ := machine(t, Start{})
		m.Step(now, PlacementSeen{Placement: placement(1, 1, topology.Active)})
		if fx := m.Step(now, ev); fx.Broken == "" {
			t.Errorf("%T accepted", ev)
		}
	}
	m := New(Options{Self: 1})
	if fx := m.Step(now, Start{Applied: 5, Last: Position{Seq: 4}}); fx.Broken == "" {
		t.Error("I3: a log shorter than the state accepted")
	}
}

func TestNames(t *testing.T) {
	if s := Idle.String() + Role(9).String() + Applied.String() + Outcome(99).String(); s != "idleunknownappliedinvalid" {
		t.Error(s)
	}
}

// A primary whose state was found wrong makes no copy of it Active, which would be a
// vote for it.
func TestOutvotedPrimaryPromotesNobody(t *testing.T) {
	for _, broken := range []bool{false, true} {
		m, _ := machine(t, Start{Hard: Hard{Incarnation: topology.Incarnation{1},
			Placement: placement(1, 1, topology.Active, topology.Active, topology.Active, topology.Partial)}})
		m.mut.promoteOutvoted = broken
		wrong, right := point.Mark{Seq: 5, Digest: point.Digest{A: 1}}, point.Mark{Seq: 5, Digest: point.Digest{A: 2}}
		m.marks = []point.Mark{wrong}
		m.peers[2].mark, m.peers[3].mark = right, right
		m.peers[4].mark, m.peers[4].pending = wrong, true
		fx := m.Step(now, Tick{})
		asked := slices.ContainsFunc(fx.Ask, func(a SetState) bool { return a.Peer == 4 && a.To == topology.Active })
		if asked != broken || m.heir == 0 {
			t.Errorf("rule off %v: asked %+v, heir %d", broken, fx.Ask, m.heir)
		}
	}
}

// What a replica has committed and the shard goes on without (F1) is set aside, whether
// the primary's log tells or only a copy.
func TestOverruled(t *testing.T) {
	h := Hard{Incarnation: topology.Incarnation{1}, Placement: placement(3, 2, topology.Partial, topology.Active), Commit: 2}
	h.Placement.Forced = true
	old := topology.Term{Epoch: 1, Run: 1}
	st := Start{Hard: h, Applied: 2, Last: Position{Term: old, Seq: 2}, History: []TermStart{{Term: old, First: 1}}}
	m, _ := machine(t, st)
	fresh := topology.Term{Epoch: 3, Run: 1}
	fx := m.Step(now, Received{2, Append{Term: fresh, Prev: Position{Term: old, Seq: 1}, Entries: []op.Entry{{Term: fresh, Seq: 2}}}})
	if fx.Wipe == "" || !fx.Aside || m.Status().Role != Stopped || fx.Broken != "" {
		t.Errorf("%+v", fx)
	}
	m, _ = machine(t, st)
	line := m.Line()
	if !line.Clashes([]TermStart{{Term: old, First: 1}, {Term: fresh, First: 2}}, 9) || line.Clashes([]TermStart{{Term: old, First: 1}, {Term: fresh, First: 3}}, 9) || line.Clashes([]TermStart{{Term: old, First: 1}}, 1) {
		t.Errorf("%+v", line)
	}
	if fx := m.Step(now, FetchFailed{Clash: true}); fx.Wipe == "" || !fx.Aside {
		t.Errorf("%+v", fx)
	}
}

// TestDetached: P1 to P3. Who answers has a copy, who does not is waited for once.
func TestDetached(t *testing.T) {
	p := placement(3, 1, topology.Active, topology.Active, topology.Active)
	m := New(Options{Self: 2, Incarnation: topology.Incarnation{2}, Session: 7})
	at := func(ms int64) Time { return Time{Wall: 1_700_000_000_000 + ms, Mono: 1 + ms} }
	m.Step(at(0), Start{Hard: Hard{Incarnation: topology.Incarnation{2}, Placement: p}})
	write := func(ms int64, ref uint64, weak bool) Effects {
		return m.Step(at(ms), Propose{Proposals: []Proposal{{Ref: ref, ID: op.ID{Request: [16]byte{byte(ref)}}, Bodies: [][]byte{{1}}, Weak: weak}}})
	}
	limit := DefaultTiming().Detach
	if fx := write(limit-1, 1, true); len(fx.Answers) != 1 || fx.Answers[0].Outcome != NotPrimary {
		t.Fatalf("before it is detached: %+v", fx.Answers)
	}
	m.Step(at(limit), Tick{})
	if fx := write(limit, 2, false); len(fx.Answers) != 1 || fx.Answers[0].Outcome != Detached || !m.Status().Detached {
		t.Fatalf("a write that is not weak: %+v", fx.Answers)
	}
	fx := write(limit+1, 3, true)
	if len(fx.Keep) != 1 || len(fx.Send) != 2 || len(fx.Answers) != 0 {
		t.Fatalf("keep %v, send %v, answers %v", fx.Keep, fx.Send, fx.Answers)
	}
	m.Step(at(limit+2), KeptTo{Number: 1})
	if fx := m.Step(at(limit+3), Received{3, Kept{Upto: 1}}); len(fx.Answers) != 0 {
		t.Fatalf("answered before the other one is known to be silent: %v", fx.Answers)
	}
	fx = m.Step(at(limit+1+DefaultTiming().Deadline), Tick{})
	if want := (Answer{Ref: 3, Outcome: Provisional, Disks: 2}); len(fx.Answers) != 1 || fx.Answers[0] != want {
		t.Fatalf("answers %+v, want %+v", fx.Answers, want)
	}
	next := placement(4, 3, topology.Dead, topology.Dead, topology.Active)
	fx = m.Step(at(20_000), PlacementSeen{Placement: next})
	if len(fx.Send) != 1 || fx.Send[0].To != 3 || m.Status().Detached { // P7
		t.Fatalf("after the exit: %+v", fx.Send)
	}
	fx = m.Step(at(20_001), Received{3, Reconciled{Settled: []Settled{{ID: op.ID{Request: [16]byte{3}, Part: op.LastPart}, Seq: 9}}}})
	if len(fx.Lift) != 1 || fx.Release != 1 || m.Status().Provisional != 0 {
		t.Fatalf("lift %v, release %d", fx.Lift, fx.Release)
	}
}
