package proof

import (
	"testing"

	"github.com/pandodb/pando/services/dataplane/internal/point"
	"github.com/pandodb/pando/services/internal/topology"
)

// Questions are answered in one place of the log by all, those before it too, once.
func TestBook(t *testing.T) {
	var b Book
	others := []topology.PeerID{2, 3}
	mark := func(s topology.Seq) point.Mark { return point.Mark{Seq: s, Digest: point.Digest{A: uint64(s)}} }
	conclude := func(own ...point.Mark) []Verified { return b.Conclude(4, 1, 20, own, others) }
	b.Hear(2, mark(9), 9)
	b.Ask(1, 10)
	b.Ask(2, 12)
	b.Ask(3, 14)
	b.Hear(2, mark(10), 10)
	b.Hear(2, mark(12), 13)
	b.Hear(3, mark(12), 12) // has passed over 10
	if got := b.Conclude(4, 1, 20, nil, others); got != nil {
		t.Errorf("the primary has not told: %+v", got)
	}
	got := conclude(mark(10), mark(12))
	if len(got) != 2 || got[0].Ref != 1 || got[1].Ref != 2 || got[0].Seq != 12 || got[0].Epoch != 4 || len(got[0].Reports) != 3 || got[0].Reports[2].Applied != 13 {
		t.Errorf("%+v", got)
	}
	if got := conclude(mark(10), mark(12), mark(14)); got != nil || len(b.reports) != 1 {
		t.Errorf("%+v, kept %v", got, b.reports)
	}
	others = nil // both are out
	if got := conclude(mark(14)); len(got) != 1 || got[0].Ref != 3 || len(b.reports) != 0 {
		t.Errorf("%+v, kept %v", got, b.reports)
	}
	b.Ask(4, 16)
	n := 0
	b.GiveUp(func(ref uint64) { n += int(ref) })
	if b.GiveUp(func(uint64) { n = -1 }); n != 4 {
		t.Errorf("given up: %d", n)
	}
}
