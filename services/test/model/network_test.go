package model

import "slices"

// controlPlane is its address; peers are 0 to peers-1.
const controlPlane = peers

// maxFlying bounds the messages on the way; beyond it a random one is lost.
const maxFlying = 60

// message is on its way until it is delivered, once or twice, or lost.
type message struct {
	from, to int
	sent     int64
	body     any
}

// Between replicas.
type (
	appendEntries struct {
		term      term
		prev      int
		prevTerm  term
		entries   []entry
		commit    int
		complete  bool // commit includes the primary's own start entry (R2a)
		placement placement
		session   int32 // the receiver's, echoed (R2a)
		round     int32 // of proofs for reads (R3)
		gap       bool  // only with noGap off
	}
	appendAck struct {
		term             term // echoed
		durable, applied int
		digest           state
		session          int32
		provisionals     int
		round            int32
		lowest           lowest
	}
	stale    struct{ placement placement }
	mismatch struct {
		term      term
		terms     []term // of each entry, in place of the epoch history
		placement placement
		session   int32
	}
	snapshot struct {
		term      term
		placement placement
		prefix    []entry
		state     state
		round     int32
	}
	// diverged: the receiver's copy has another digest at a place.
	diverged struct {
		term        term
		incarnation int32
		at          int
	}
	provisionalCopy struct{ op provisional }
	reconcile       struct {
		ops    []provisional
		lowest lowest
		joined int32
	}
	reconciled struct {
		ops  []provisional
		seqs []int // 0: not committed yet
	}
)

// Between replicas and the control plane, and from clients.
type (
	report struct{ incarnation, lease int32 }
	told   struct{ placement placement }
	// confirm is C2a's Confirm.
	confirm struct {
		nonce     int32
		placement placement
	}
	confirmed struct{ nonce, incarnation, epoch, lease int32 }
	setState  struct {
		epoch, lease, incarnation int32
		target                    int
		to                        status
	}
	handOver struct{ to int }
	move     struct {
		epoch, lease, incarnation int32
		to                        int
		ask                       int32
	}
	propose struct{ op int32 }
)

func (w *world) send(from, to int, body any) {
	if to < 0 {
		return
	}
	m := message{from, to, w.now, body}
	if len(w.flying) >= maxFlying {
		w.flying[w.rng.IntN(len(w.flying))] = m
		w.count[lostMessages]++
		return
	}
	w.flying = append(w.flying, m)
}

func (w *world) linked(a, b int) bool {
	c := &w.control
	switch {
	case a == controlPlane:
		return c.up && !c.cut[b]
	case b == controlPlane:
		return c.up && !c.cut[a]
	}
	return !w.cut[a][b]
}

// deliver hands over one message: the oldest or, for long delays, any.
func (w *world) deliver() {
	if len(w.flying) == 0 {
		return
	}
	k := 0
	if w.mix&slow != 0 || w.chance(2) {
		k = w.rng.IntN(len(w.flying))
	}
	m := w.flying[k]
	if w.chance(12) {
		w.count[duplicates]++
	} else {
		w.flying = slices.Delete(w.flying, k, k+1)
	}
	if w.chance(25) || !w.linked(m.from, m.to) || m.to != controlPlane && !w.replicas[m.to].up {
		w.count[lostMessages]++
		return
	}
	w.receive(m)
}

func (w *world) receive(m message) {
	w.note("%d to %d: %T%+v", m.from, m.to, m.body, m.body)
	if m.to == controlPlane {
		w.control.receive(m)
		return
	}
	r := w.replicas[m.to]
	switch b := m.body.(type) {
	case appendEntries:
		r.onAppend(m.from, b)
	case snapshot:
		r.onSnapshot(m.from, b)
	case appendAck:
		r.onAck(m.from, b)
	case stale:
		if !w.off[fence] {
			r.adopt(b.placement)
		}
	case diverged:
		r.onDiverged(b)
	case mismatch:
		r.onMismatch(m.from, b)
	case told:
		r.adopt(b.placement)
	case confirm:
		r.adopt(b.placement)
		w.send(r.id, controlPlane, confirmed{b.nonce, r.incarnation, r.placement.epoch, r.lease})
	case handOver:
		r.handOver(b.to)
	case propose:
		if w.now <= w.ops[b.op].deadline || w.off[retriesEnd] {
			r.propose(b.op)
		}
	case provisionalCopy:
		if w.now-m.sent <= requestLife {
			r.keepCopy(b.op)
		}
	case reconcile:
		r.onReconcile(m.from, b)
	case reconciled:
		r.onReconciled(b)
	}
}
