package core

// What the simulator's clients do: they write, repeat themselves anywhere, and read.

func (w *world) proposals(h *simHost) {
	if h.syncing > 0 || h.failed {
		return
	}
	if s := h.m.Status(); s.Role != Primary && !s.Detached && w.chance(85) {
		return
	}
	var ps []Proposal
	for range 1 + w.rng.IntN(3) {
		var n uint32
		again := len(w.ops) > 0 && w.chance(35)
		if again { // a repetition, while the client may still repeat it (D2)
			n = uint32(len(w.ops) - 1 - w.rng.IntN(min(len(w.ops), 6)))
			if w.chance(10) {
				n = uint32(len(w.ops) - 1 - w.rng.IntN(min(len(w.ops), 200)))
			}
			again = w.mono-w.ops[n].issued < simRetryWindowMS
		}
		if again {
			w.counts["repetitions"]++
		} else {
			n = uint32(len(w.ops))
			o := simOp{point: w.rng.IntN(simPoints), del: w.chance(30), parts: 1, factor: w.rng.IntN(4), issued: w.mono}
			if w.chance(10) {
				o.parts = 2 + w.rng.IntN(2)
			}
			if o.factor > 1 && w.chance(70) {
				o.factor = 1
			}
			if n%3 == 0 && w.conf > 1 {
				o.routed = w.conf - uint64(n/3%2)
			}
			o.floor = w.maxAck[o.point]
			w.ops = append(w.ops, o)
		}
		w.nextRef++
		o := &w.ops[n]
		p := Proposal{Ref: w.nextRef, ID: simID(n), Wait: WaitMode(w.rng.IntN(2)), Factor: o.factor, Routed: o.routed, Weak: n%5 > 0}
		p.Seen = h.eng.seen[simLast(n)]
		for range o.parts {
			b := []byte{byte(o.point), 0}
			if o.del {
				b[1] = 1
			}
			p.Bodies = append(p.Bodies, b)
		}
		o.tries++
		w.waiting[p.Ref] = simWait{op: n, mode: p.Wait, host: h.id}
		ps = append(ps, p)
	}
	w.do(h, Propose{ps})
}

func (w *world) reads(h *simHost) {
	if h.failed || h.m.Status().Role != Primary && w.chance(85) {
		return
	}
	w.nextRef++
	w.waiting[w.nextRef] = simWait{host: h.id, read: true, need: w.acked}
	w.do(h, Linearize{w.nextRef})
}
