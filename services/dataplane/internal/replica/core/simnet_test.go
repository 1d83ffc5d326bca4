package core

import (
	"slices"

	"github.com/pandodb/pando/services/dataplane/internal/line"
	"github.com/pandodb/pando/services/dataplane/internal/point"
	"github.com/pandodb/pando/services/internal/topology"
)

// What goes between the simulator's peers: messages, and copies.

// partition cuts a peer off: from all or one, in one direction or both.
func (w *world) partition(p topology.PeerID) {
	only := topology.PeerID(0)
	if w.chance(50) {
		only = topology.PeerID(1 + w.rng.IntN(simPeers))
	}
	for _, o := range w.hosts {
		if only != 0 && o.id != only {
			continue
		}
		w.cut[[2]topology.PeerID{p, o.id}] = true
		if w.chance(60) {
			w.cut[[2]topology.PeerID{o.id, p}] = true
		}
	}
	if w.chance(40) {
		w.cp.cut[p] = true
	}
	w.note("cut %v control plane %v", w.cut, w.cp.cut)
}

func (w *world) linked(a, b topology.PeerID) bool {
	switch {
	case a == b:
		return true
	case a == 0:
		return !w.cp.down && !w.cp.cut[b]
	case b == 0:
		return !w.cp.down && !w.cp.cut[a]
	}
	return !w.cut[[2]topology.PeerID{a, b}]
}

func (w *world) send(m simMsg) {
	if len(w.net) > 80 { // something old is lost
		i := w.rng.IntN(len(w.net))
		w.net = slices.Delete(w.net, i, i+1)
	}
	w.net = append(w.net, m)
}

// deliver hands one message over, mostly in order, or loses or repeats it.
func (w *world) deliver() {
	if len(w.net) == 0 {
		return
	}
	i := 0
	if !w.healing && w.chance(20) {
		i = w.rng.IntN(len(w.net))
	}
	m := w.net[i]
	if w.healing || !w.chance(3) {
		w.net = slices.Delete(w.net, i, i+1)
	} else {
		w.counts["repeated messages"]++
	}
	if !w.linked(m.from, m.to) || !w.healing && w.chance(w.faults) {
		w.counts["lost messages"]++
		return
	}
	if m.to == 0 {
		w.cp.receive(w, m)
		return
	}
	h := w.host(m.to)
	if h.m == nil || h.failed {
		return
	}
	if !w.awake(h) {
		w.send(m)
		return
	}
	switch x := m.what.(type) {
	case Message:
		w.do(h, Received{m.from, x})
	case PlacementSeen, HandOver:
		w.do(h, x.(Event))
	case simConfirm:
		w.do(h, PlacementSeen{Placement: x.rec, Config: Config{w.conf, []byte("settings")}})
		if h.m != nil {
			w.send(simMsg{from: h.id, what: simConfirmed{x.nonce, h.disk.inc, h.m.Status().Placement.Epoch}, lease: h.lease})
		}
	}
}

// read answers a Read, now or never.
func (w *world) read(h *simHost, r Read) {
	d, out := &h.disk, ReadDone{Read: r}
	if r.From > d.front && r.From <= d.end() {
		es := d.log[r.From-d.front-1:]
		out.Entries = slices.Clone(es[:min(len(es), 1+w.rng.IntN(3))])
	}
	w.do(h, out)
}

// copying moves a transfer on.
func (w *world) copying(h *simHost) {
	switch {
	case h.copied != nil:
		if c := h.copied; !w.mut.ignoreClash && h.m != nil && h.m.Line().Clashes(c.terms, c.at.Seq) {
			h.copied = nil
			w.do(h, FetchFailed{Clash: true})
			return
		}
		w.do(h, Fetched{h.copied.at.Seq})
	case h.fetching != 0:
		src := w.host(h.fetching)
		h.fetching = 0
		if src.m == nil || src.failed || src.m.Status().Role != Primary || !w.linked(h.id, src.id) || !w.linked(src.id, h.id) || w.chance(20) {
			w.do(h, FetchFailed{})
			return
		}
		h.copied = &simCopy{state: src.eng.clone(), other: src.overruled, line: src.line}
		h.copied.state.mark = point.Mark{} // what it did not compute itself proves nothing
		at := src.eng.applied
		t, ok := line.TermAt(src.disk.terms, at)
		if !ok && at > 0 {
			w.fail("term of applied %d unknown at %d", at, src.id)
		}
		h.copied.at = Position{Term: t, Seq: at}
		for _, s := range src.disk.terms {
			if s.First <= at {
				h.copied.terms = append(h.copied.terms, s)
			}
		}
		w.counts["copies"]++
		w.do(src, Pinned{h.id, at})
	}
}
