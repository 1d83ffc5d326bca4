package core

import (
	"fmt"
	"strings"

	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/internal/topology"
)

// brief prints what a run does so that it can be read, and so that two runs of a
// seed print the same bytes.
func brief(x any) string {
	switch v := x.(type) {
	case Received:
		return fmt.Sprintf("from %d %s", v.From, brief(v.Message))
	case Append:
		extra := ""
		if v.Placement != nil {
			extra = " with " + brief(*v.Placement)
		}
		return fmt.Sprintf("append %s prev %s %s commit %d %v session %d%s", term(v.Term), at(v.Prev), entries(v.Entries), v.Commit, v.Complete, v.Session, extra)
	case Ack:
		return fmt.Sprintf("ack %s durable %d applied %d mark %d session %d", term(v.Term), v.Durable, v.Applied, v.Mark.Seq, v.Session)
	case Mismatch:
		return fmt.Sprintf("mismatch %s last %d history %d session %d", term(v.Term), v.Last, len(v.History), v.Session)
	case Stale:
		return fmt.Sprintf("stale %s, is %s", term(v.Term), brief(v.Placement))
	case topology.Placement:
		var b strings.Builder
		fmt.Fprintf(&b, "epoch %d primary %d", v.Epoch, v.Primary)
		for _, r := range v.Replicas {
			fmt.Fprintf(&b, " %d=%v/%d", r.Peer, r.State, r.Incarnation[0])
		}
		return b.String()
	case PlacementSeen:
		return fmt.Sprintf("sees %s config %d", brief(v.Placement), v.Config.Revision)
	case Propose:
		var b strings.Builder
		b.WriteString("propose")
		for _, p := range v.Proposals {
			fmt.Fprintf(&b, " %d:op%d", p.Ref, simNumber(p.ID))
		}
		return b.String()
	case Start:
		return fmt.Sprintf("start applied %d last %s", v.Applied, at(v.Last))
	case ReadDone:
		return fmt.Sprintf("read for %d from %d: %s", v.Peer, v.From, entries(v.Entries))
	case Copy:
		return fmt.Sprintf("copy epoch %d upto %d %s", v.Placement.Epoch, v.Upto, operations(v.Entries))
	case Reconcile:
		return fmt.Sprintf("reconcile %s seen %v", operations(v.Entries), v.Seen)
	case Reconciled:
		var b strings.Builder
		for _, x := range v.Settled {
			fmt.Fprintf(&b, " op%d at %d", simNumber(x.ID), x.Seq)
		}
		return "reconciled" + b.String()
	case Effects:
		return v.brief()
	}
	return strings.TrimPrefix(fmt.Sprintf("%T%+v", x, x), "core.")
}

func (fx Effects) brief() string {
	var b strings.Builder
	if fx.Hard != nil {
		fmt.Fprintf(&b, " hard(%s run %d pending %v)", term(fx.Hard.Promised), fx.Hard.Run, fx.Hard.Pending.Peers)
	}
	if fx.Cut != nil {
		fmt.Fprintf(&b, " cut %d", fx.Cut.After)
	}
	if len(fx.Append) > 0 {
		fmt.Fprintf(&b, " append %s", entries(fx.Append))
	}
	if len(fx.Keep) > 0 {
		fmt.Fprintf(&b, " keep %s %s", entries(fx.Keep), operations(fx.Keep))
	}
	if len(fx.Lift)+len(fx.Late) > 0 {
		fmt.Fprintf(&b, " lift %d late %s release %d", len(fx.Lift), operations(fx.Late), fx.Release)
	}
	if len(fx.Apply) > 0 {
		fmt.Fprintf(&b, " apply %s", entries(fx.Apply))
	}
	if fx.Truncate > 0 {
		fmt.Fprintf(&b, " truncate %d", fx.Truncate)
	}
	for _, e := range fx.Send {
		fmt.Fprintf(&b, " ->%d{%s}", e.To, brief(e.Message))
	}
	for _, a := range fx.Ask {
		fmt.Fprintf(&b, " ask %d %v (%s)", a.Peer, a.To, a.Reason)
	}
	if fx.Move != nil {
		fmt.Fprintf(&b, " move to %d", fx.Move.To)
	}
	if fx.Fetch != 0 || fx.Copy != 0 || fx.Wipe != "" || len(fx.Read) > 0 {
		fmt.Fprintf(&b, " fetch %d copy %d wipe %q read %v", fx.Fetch, fx.Copy, fx.Wipe, fx.Read)
	}
	if len(fx.Answers) > 0 {
		fmt.Fprintf(&b, " answers %v", fx.Answers)
	}
	return b.String()
}

func term(t topology.Term) string { return fmt.Sprintf("%d.%d", t.Epoch, t.Run) }
func at(p Position) string        { return fmt.Sprintf("%d@%s", p.Seq, term(p.Term)) }

func entries(es []op.Entry) string {
	if len(es) == 0 {
		return "[]"
	}
	return fmt.Sprintf("[%d..%d]", es[0].Seq, es[len(es)-1].Seq)
}

func operations(es []op.Entry) string {
	var b strings.Builder
	for _, e := range es {
		if e.ID.IsLast() {
			fmt.Fprintf(&b, " op%d", simNumber(e.ID))
		}
	}
	return "[" + b.String() + " ]"
}
