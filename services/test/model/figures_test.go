package model

import (
	"fmt"
	"strings"
)

// count names what a run counts.
type count int

const (
	acks count = iota
	provisionalAcks
	linearReads
	snapshots
	logCuts
	reproposals
	listings
	configs
	floors
	confirms
	refusals
	failovers
	handovers
	cleanHandovers
	deaths
	promotions
	growths
	drops
	activeDrops
	forced
	lostShards
	discards
	rottenCopies
	wipes
	crashes
	diskLosses
	lostMessages
	duplicates
	linkCuts
	outages
	falseAlarms
	clockJumps
	leaned
	stuckBySwap
	stuckByDrop
	stuckByForce
	lostBySwap
	lostByDrop
	lostByForce
	countKinds
)

func (c count) String() string {
	return [countKinds]string{"acknowledgements", "provisional", "linearizable reads", "snapshots", "log cuts", "re-proposals", "listed re-proposals", "config entries",
		"floor entries", "confirms", "refused swaps", "new primaries", "handovers", "handovers, all drained", "Active to Dead", "promotions", "growths", "drops",
		"drops of an Active", "forced removals", "lost by force", "deleted copies", "rotten copies", "wipes", "crashes", "disk losses", "lost messages", "duplicated", "link changes",
		"control outages", "false alarms", "clock jumps", "swaps leaning on a replica that had just gone", "stuck by a swap", "stuck by a drop", "stuck by force",
		"lost by a swap", "lost by a drop", "lost by force after all"}[c]
}

type figures [countKinds]int64

func (f *figures) add(g figures) {
	for i, n := range g {
		f[i] += n
	}
}

func (f *figures) String() string {
	var b strings.Builder
	for i, n := range f {
		if n > 0 {
			fmt.Fprintf(&b, "%s %d, ", count(i), n)
		}
	}
	return strings.TrimSuffix(b.String(), ", ")
}
