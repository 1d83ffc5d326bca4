package model

type opKind int8

const (
	upsert opKind = iota
	remove
	update        // of one field
	updatePresent // of one field, refused if the point is missing: has to be evaluated (W3)
)

// maxParts is how many parts an operation has at most. The second one does to the
// other point what the first one does to its own.
const maxParts = 2

const maxOps = 72

// operation is what a client asked for, under one id for all its retries (W1).
type operation struct {
	kind         opKind
	point, field int8
	parts        int8
	byClient     bool  // the client made the id, and may repeat it for longer (D2a)
	deadline     int64 // a coordinator gives up then, whatever is on the way (D3)
	acked        bool  // somebody answered that it is done
	known        bool  // the answer reached the client
	shown        bool  // a read may have shown it
	excused      bool  // provisional, and all its disks are lost
	seq          int   // where its last part is committed
	// after is, per point, the highest stamp committed before the operation was issued (I7).
	after [points]int64
}

func (o *operation) target(part int8) int8 { return (o.point + part) % points }

// request issues an operation or repeats one, at any peer and at the primary that
// another one knows.
func (w *world) request() {
	var op int
	if w.rng.IntN(3) > 0 && len(w.ops) < maxOps {
		o := operation{kind: opKind(w.rng.IntN(3)), point: int8(w.rng.IntN(points)), field: int8(w.rng.IntN(fields)), parts: 1,
			deadline: w.now + retryTime, after: w.highest}
		if o.kind == update && w.chance(4) {
			o.kind = updatePresent
		}
		if o.kind <= remove && w.chance(3) {
			o.parts = maxParts
		}
		if w.chance(3) {
			o.byClient, o.deadline = true, w.now+clientTime
		}
		w.ops = append(w.ops, o)
		op = len(w.ops) - 1
	} else {
		op = max(len(w.ops)-1-w.rng.IntN(8+16*w.rng.IntN(2)), 0)
		if w.off[retriesEnd] {
			op = w.rng.IntN(len(w.ops))
		}
	}
	o := &w.ops[op]
	if op == 0 || o.known || w.now > o.deadline && !w.off[retriesEnd] {
		return
	}
	via := w.pick()
	w.send(via, w.pick(), propose{int32(op)})
	w.send(via, w.replicas[via].placement.primary, propose{int32(op)})
}

// acknowledge answers a client; by is nil for a provisional write. The answer may
// be lost.
func (w *world) acknowledge(by *replica, op int32) {
	o := &w.ops[op]
	o.acked = true
	o.known = o.known || w.rng.IntN(10) < 7
	if by == nil {
		w.count[provisionalAcks]++
		return
	}
	w.count[acks]++
	e := by.promised.epoch
	if w.lostEpoch > 0 && e >= w.lostEpoch {
		w.fail("C0", "replica %d acknowledges in epoch %d, the shard is lost since %d", by.id, e, w.lostEpoch)
	}
	if p, ok := w.ackedBy[e]; ok && p != by.id {
		w.fail("I5", "replicas %d and %d acknowledge in epoch %d", p, by.id, e)
	}
	w.ackedBy[e] = by.id
}
