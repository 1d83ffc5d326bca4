package core

// mutations switch single rules off. Only tests set them, to show that the
// simulator notices.
type mutations struct {
	applyUncommitted bool // W7
	answerUnsynced   bool // W6: own fsync not awaited
	ignoreFollowers  bool // W6: the others' fsyncs not awaited
	keepRun          bool // S2: run not incremented
	noDedup          bool // W2
	trustLoaded      bool // S1: what was read counts as durable
	wallClockOnly    bool // W4
	floorByWall      bool // D2
	waitAtCommit     bool // W8
	forgetUnapplied  bool // W2: only the engine's dedup is asked
	ignoreFactor     bool // W9
	ignoreRoute      bool // W12
	lateHard         bool // the term's start is appended without the durable promise
	ackUnsynced      bool // AppendAck before the follower's fsync
	dropOnAsk        bool // C1: not required from the request on
	noFence          bool // C5: lower terms are obeyed
	anyTerm          bool // acknowledgements of other terms count
	skipPending      bool // C8 step 2
	forgetPending    bool // C8: pending lost
	ignoreDigest     bool // C8 step 3
	serveAtOnce      bool // R2a
	neverCompare     bool // Active copies are not compared
	promoteOutvoted  bool // C8: a copy of a primary's state that was found wrong becomes Active
	primaryIsRight   bool // a majority of other copies that agree does not count
	readUnproven     bool // R3: answered without proof
	readByOldRound   bool // R3: proof that may be older than the request
	ignoreClash      bool // F1: what clashes with a committed entry is passed over
	forgetSuffix     bool // P4
	keepUnsynced     bool // P3: answered before it is durable
	freshStamps      bool // P6: re-proposed under a new stamp
	dropUnapplied    bool // P6: dropped when committed, not when applied
	forgetOwed       bool // P7, D2: who owes provisional operations is not waited for
	anySession       bool // R2a: messages from before the start are believed
}
