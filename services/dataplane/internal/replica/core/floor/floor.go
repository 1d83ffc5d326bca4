// Package floor decides below which stamp the replicas of a shard may forget stamps,
// tombstones and operation ids (replication.md D2, D2a). It is pure: the primary asks
// it from time to time.
package floor

import (
	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/internal/topology"
)

// MaxEntries may be remembered for the sake of a replica that is away (D2a).
const MaxEntries = 4 << 20

// Keeper is what a primary remembers for it.
type Keeper struct {
	glances []glance // ascending, a fifteenth of the window apart; the first is the newest that is that old
	at      int64    // when all replicas were there last, and the end of the log then
	seq     topology.Seq
}

// glance is what the clock showed at a time since boot, and where the log ended.
type glance struct {
	mono  int64
	clock op.HLC
	seq   topology.Seq
}

// Limits in milliseconds.
type Limits struct {
	Window  uint64 // in which clients repeat operations
	Away    int64  // how long a replica is waited for
	Entries topology.Seq
}

// State is what the primary sees.
type State struct {
	Mono    int64  // time since boot, ms
	Wall    uint64 // ms since 1970
	Clock   op.HLC // newest stamp
	Floor   op.HLC // so far
	Oldest  op.HLC // at most the stamp of the first client's entry above Floor
	Written op.HLC // at least that of the last one
	End     topology.Seq
	// Seen: every replica has the log up to it. Whole: all are Active and there, and
	// owe no provisional operations.
	Seen  topology.Seq
	Whole bool
}

// Begin is called when a replica becomes primary.
func (k *Keeper) Begin(mono int64, end topology.Seq) { *k = Keeper{at: mono, seq: end} }

// Next is the floor that may be appended; 0: none, yet. It is the clock less the window,
// and at most what the clock showed a window ago, by the time since boot: a wall clock
// that jumps ahead makes nothing older. Whoever was there since has seen that stamp and
// takes no provisional write below it; who was not, or has such writes still, is waited
// for, though not forever. It moves in steps, and only when there is something to forget.
func (k *Keeper) Next(s State, l Limits) op.HLC {
	if s.Whole {
		k.at, k.seq = s.Mono, s.End
	}
	if s.Written <= s.Floor {
		return 0
	}
	step := l.Window / 15
	if n := len(k.glances); n == 0 || s.Mono-k.glances[n-1].mono >= int64(step) {
		k.glances = append(k.glances, glance{s.Mono, s.Clock, s.End})
	}
	for len(k.glances) > 1 && s.Mono-k.glances[1].mono >= int64(l.Window) {
		k.glances = k.glances[1:]
	}
	now, first := max(s.Clock.Ms(), s.Wall), k.glances[0]
	if now < l.Window || s.Mono-first.mono < int64(l.Window) {
		return 0
	}
	waited := s.Mono-k.at >= l.Away || s.End-k.seq >= l.Entries
	if !waited && (!s.Whole || s.Seen < first.seq) {
		return 0
	}
	next := min(op.MakeHLC(now-l.Window, 0), first.clock)
	if next < s.Oldest || next <= s.Floor+op.MakeHLC(step, 0) {
		return 0
	}
	return next
}
