package core

import (
	"slices"

	"github.com/pandodb/pando/services/dataplane/internal/op"
)

// What the simulator's peers keep provisionally (P3, P4).

// keep puts entries where a power loss may find them; full: nothing of them.
func (w *world) keep(h *simHost, fx Effects) (full bool) {
	d := &h.disk
	if full = d.full && len(fx.Keep) > 0; !full {
		for _, e := range fx.Keep {
			if n := len(d.kept); n > 0 && e.Seq <= d.kept[n-1].Seq {
				w.fail("provisional entry %d after %d at %d", e.Seq, d.kept[n-1].Seq, h.id)
			}
			d.kept = append(d.kept, e)
			if o := &w.ops[simNumber(e.ID)]; e.ID.IsLast() {
				w.counts["kept"]++
				o.stamps = append(o.stamps, e.HLC)
			}
		}
	}
	for _, id := range fx.Lift {
		late := slices.ContainsFunc(fx.Late, func(e op.Entry) bool { return e.ID == id })
		if _, has := h.eng.seen[id]; h.m.Status().Ready && !has && !late {
			w.fail("P6: %d serves, and neither state nor overlay has operation %d", h.id, simNumber(id))
		}
		if delete(h.over, id); w.otherLine(h) { // F1: it is in a log that is set aside
			n := simNumber(id)
			w.orphans[n] = w.orphans[n] || w.ops[n].seq == 0
			w.ops[n].acked, w.ops[n].shown = w.ops[n].acked && !w.orphans[n], w.ops[n].shown && !w.orphans[n]
		}
	}
	for _, e := range fx.Late {
		if w.mono-w.wholeAt < simTiming().Away-500 && !w.ops[simNumber(e.ID)].loose {
			w.fail("D2: operation %d comes too late after %d ms", simNumber(e.ID), w.mono-w.wholeAt)
		}
		w.counts["too late"]++
		w.ops[simNumber(e.ID)].late = true
	}
	gone := 0
	for gone < len(d.kept) && d.kept[gone].Seq <= fx.Release {
		gone++
	}
	if d.released = max(d.released, fx.Release); gone > 0 {
		w.counts["released"]++
	}
	d.kept, d.keptSynced = slices.Clone(d.kept[gone:]), max(0, d.keptSynced-gone)
	return full
}

// keepSome ends an fsync of what is kept; it is shown from then on.
func (w *world) keepSome(h *simHost) {
	d := &h.disk
	n := len(d.kept)
	if n == 0 || h.m.list.Kept() >= d.kept[n-1].Seq {
		return
	}
	d.keptSynced = n
	for _, e := range d.kept {
		if e.ID.IsLast() && h.m.list.Holds(e.ID) {
			h.over[e.ID] = true
		}
	}
	w.do(h, KeptTo{d.kept[n-1].Seq})
}

// lookedUp fills in what the engine has of operations (P6), not before they are handed over.
func (w *world) lookedUp(h *simHost, msg Message) Message {
	x, ok := msg.(Reconcile)
	if !ok {
		return msg
	}
	x.Seen = nil
	for _, e := range x.Entries {
		if e.ID.IsLast() {
			x.Seen = append(x.Seen, h.eng.seen[e.ID])
		}
	}
	return x
}

// promise: P3.
func (w *world) promise(h *simHost, n uint32, a Answer) {
	w.ops[n].acked = true
	last := func(e op.Entry) bool { return e.ID == simLast(n) }
	d := &h.disk
	_, has := d.state.seen[simLast(n)]
	if !has && w.ops[n].seq == 0 && !slices.ContainsFunc(d.kept[:d.keptSynced], last) && !slices.ContainsFunc(d.log[:d.synced-d.front], last) {
		w.fail("P3: operation %d is not durable at %d", n, h.id)
	}
	if a.Disks > 1 {
		w.counts["provisional on several"]++
	}
}

// overlaid: P4 and X2, what a replica shows that may be detached.
func (w *world) overlaid(h *simHost, s Status) {
	if len(h.over) > 0 && s.Ready {
		for id := range h.over {
			w.ops[simNumber(id)].shown = true
		}
	}
	if !s.Detached || !s.Ready {
		return
	}
	w.counts["steps detached"]++
	for n := range w.ops {
		_, has := h.eng.seen[simLast(uint32(n))]
		if o := &w.ops[n]; o.under != 0 && o.under <= s.Placement.Epoch && o.seq != 0 && !has && !h.over[simLast(uint32(n))] {
			w.fail("X2: %d, detached in epoch %d, does not show operation %d of epoch %d", h.id, s.Placement.Epoch, n, o.under)
		}
	}
}

// guardKept: P7, operations that are provisional yet must not go with the disk.
func (w *world) guardKept(h *simHost, by string) {
	if len(h.disk.kept) > 0 {
		w.fail("P7: provisional operations at %d are destroyed by %s", h.id, by)
	}
}

// losesKept: with the last disk that has it a provisional operation is lost (X4).
func (w *world) losesKept(h *simHost) {
	for _, e := range h.disk.kept {
		o := &w.ops[simNumber(e.ID)]
		if elsewhere := slices.ContainsFunc(w.hosts, func(x *simHost) bool {
			return x.id != h.id && slices.ContainsFunc(x.disk.kept[:x.disk.keptSynced], func(y op.Entry) bool { return y.ID == e.ID })
		}); o.seq == 0 && !elsewhere {
			o.acked, o.shown = false, false
		}
	}
}

// assemble notes when all replicas are there and owe nothing.
func (w *world) assemble() {
	owing := false
	for _, h := range w.hosts {
		_, in := w.cp.rec.Replica(h.id)
		for _, e := range h.disk.kept {
			w.ops[simNumber(e.ID)].loose = w.ops[simNumber(e.ID)].loose || !in
		}
		owing = owing || len(h.disk.kept) > 0
	}
	if !owing && w.cp.rec.ActiveCount() == len(w.cp.rec.Replicas) {
		w.wholeAt = w.mono
	}
}
