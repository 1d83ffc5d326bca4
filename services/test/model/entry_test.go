package model

import (
	"cmp"
	"slices"
)

// term orders primaries: the epoch that made one, and its start counter.
type term struct{ epoch, run int32 }

func (t term) less(u term) bool { return t.epoch < u.epoch || t.epoch == u.epoch && t.run < u.run }

type entryKind int8

const (
	startEntry entryKind = iota + 1
	writeEntry
	configEntry
	floorEntry
)

// entry is one place in the log. Two entries are the same iff they are equal.
type entry struct {
	term  term
	kind  entryKind
	part  int8  // of a write: which part of the operation
	again bool  // of a write: re-proposed after detached mode, with its own stamp (P6)
	op    int32 // of a write
	// config is, of a write, the settings under which it was evaluated, and of a
	// config entry those that it brings (W11).
	config int32
	// form is, of a write, how its values are stored: peers differ in how they
	// normalise and convert, so the primary does it (W3a).
	form  int8
	hlc   int64
	floor floor // of a floor entry
}

// floor is D2's, and D2a's: below all nobody re-proposes, and dedup has forgotten
// everything; of the ids that coordinators made, also what is below own.
type floor struct{ all, own int64 }

func (f floor) max(g floor) floor { return floor{max(f.all, g.all), max(f.own, g.own)} }

// forgets tells whether dedup below the floor may have forgotten an operation.
func (f floor) forgets(o *operation, hlc int64) bool {
	return hlc <= f.all || hlc <= f.own && !o.byClient
}

// stamp orders writes on one point (P5).
type stamp struct {
	hlc  int64
	op   int32
	part int8
	form int8 // of the value, it orders nothing
}

func (e entry) stamp() stamp { return stamp{e.hlc, e.op, e.part, e.form} }

func (a stamp) less(b stamp) bool { return a.compare(b) < 0 }

func (a stamp) compare(b stamp) int {
	return cmp.Or(cmp.Compare(a.hlc, b.hlc), cmp.Compare(a.op, b.op), cmp.Compare(a.part, b.part))
}

const (
	points = 2
	fields = 2
)

// point is a stored point: the last write of the whole and, where later, of each
// field. What a field holds is named by the operation that wrote it.
type point struct {
	base  stamp
	alive bool
	field [fields]stamp
}

// state is the fold of a log prefix. It is compared as a digest would be.
type state struct {
	point  [points]point
	config int32
	floor  floor
	rotten int32 // names the damage that a copy came with, 0: none
}

func (w *world) fold(s *state, e entry) {
	switch e.kind {
	case writeEntry:
		w.foldWrite(s, e)
	case configEntry:
		s.config = e.config
	case floorEntry:
		s.prune(e.floor)
	}
}

// foldWrite: P5.
func (w *world) foldWrite(s *state, e entry) {
	o, x := &w.ops[e.op], e.stamp()
	p := &s.point[o.target(e.part)]
	if w.off[perField] && !p.newest().less(x) {
		return
	}
	arrival := w.off[hlcOrder]
	switch {
	case o.kind != upsert && o.kind != remove:
		if arrival || p.base.less(x) && p.field[o.field].less(x) {
			p.field[o.field] = x
		}
	case arrival || p.base.less(x):
		p.base, p.alive = x, o.kind == upsert
		for i := range p.field {
			if arrival || p.field[i].less(x) {
				p.field[i] = stamp{}
			}
		}
	}
}

func (p *point) newest() stamp {
	m := p.base
	for _, f := range p.field {
		if m.less(f) {
			m = f
		}
	}
	return m
}

// prune: D2. Below the floor nobody re-proposes, so stamps of fields and tombstones
// are folded away.
func (s *state) prune(f floor) {
	s.floor = s.floor.max(f)
	floor := s.floor.all
	for i := range s.point {
		p := &s.point[i]
		for k := range p.field {
			switch f := &p.field[k]; {
			case f.hlc > floor:
			case p.alive:
				f.hlc, f.part = 0, 0
			default:
				*f = stamp{}
			}
		}
		if !p.alive && p.base.hlc <= floor {
			p.base = stamp{}
		}
	}
}

// picture is what a client sees: who wrote the point and each of its fields.
type picture [points][1 + fields]int32

func (s *state) picture() (v picture) {
	for i, p := range s.point {
		if p.alive {
			v[i] = [1 + fields]int32{p.base.op, p.field[0].op, p.field[1].op}
		}
	}
	return v
}

// sequential executes the committed writes one after the other in the order of
// their stamps, without any of the above (I9).
func (w *world) sequential() (v picture) {
	es := slices.Clone(w.canon)
	slices.SortStableFunc(es, func(a, b entry) int {
		return a.stamp().compare(b.stamp())
	})
	for _, e := range es {
		if e.kind != writeEntry {
			continue
		}
		o := &w.ops[e.op]
		switch p := &v[o.target(e.part)]; {
		case o.kind == upsert:
			*p = [1 + fields]int32{e.op}
		case o.kind == remove:
			*p = [1 + fields]int32{}
		case p[0] != 0:
			p[1+o.field] = e.op
		}
	}
	return v
}
