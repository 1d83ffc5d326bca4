// Package sealed is the sealed parts of a shard as they are opened: segments with
// the artefacts beside them, whose files stay open as long as somebody has hold of
// them, and frozen tails whose segments have not been made yet.
package sealed

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"sync/atomic"

	"github.com/pandodb/pando/services/dataplane/internal/index/mask"
	"github.com/pandodb/pando/services/dataplane/internal/point"
	"github.com/pandodb/pando/services/dataplane/internal/segment"
	"github.com/pandodb/pando/services/dataplane/internal/shard/manifest"
	"github.com/pandodb/pando/services/dataplane/internal/shard/part"
	"github.com/pandodb/pando/services/dataplane/internal/shard/store"
	"github.com/pandodb/pando/services/internal/topology"
)

// List is parts, ascending by number.
type List []*Part

// Find is the living row of an id, and its part; nil: none.
func (l List) Find(id topology.PointID) (*Part, uint32) {
	for _, p := range slices.Backward(l) {
		if row, ok := p.Find(id); ok && !p.Dead.Dead(row, mask.Now) {
			return p, row
		}
	}
	return nil, 0
}

// Contains tells whether any has rows of an id, dead or alive.
func (l List) Contains(id topology.PointID) bool {
	return slices.ContainsFunc(l, func(p *Part) bool {
		_, ok := p.Find(id)
		return ok
	})
}

// Index is the place of a part; -1: it is not there.
func (l List) Index(n topology.Seq) int {
	return slices.IndexFunc(l, func(p *Part) bool { return p.Number == n })
}

// Lost are the names of artefacts' files that are lost.
func (l List) Lost() map[string]bool { return l.lost(func(*Artefact) bool { return true }) }

// Spare are those of Lost that a copy can do without: whoever takes it makes them.
func (l List) Spare() map[string]bool { return l.lost(func(a *Artefact) bool { return !a.basic() }) }

func (l List) lost(which func(*Artefact) bool) map[string]bool {
	names := map[string]bool{}
	for _, p := range l {
		for i := range p.artefacts {
			if a := &p.artefacts[i]; a.lost && which(a) {
				names[a.FileName()] = true
			}
		}
	}
	return names
}

// Number finds a part; there must be one.
func (l List) Number(n topology.Seq) *Part { return l[l.Index(n)] }

// Parts are the sealed parts at one time. They stay readable while somebody has
// hold of them.
type Parts struct {
	List
	refs atomic.Int64
}

// NewParts holds on to list once, for the caller.
func NewParts(list List) *Parts {
	for _, p := range list {
		p.Hold()
	}
	ps := &Parts{List: list}
	ps.refs.Store(1)
	return ps
}

// Hold keeps the parts readable until Release. The caller sees to it that somebody
// has hold of them already.
func (ps *Parts) Hold() *Parts {
	ps.refs.Add(1)
	return ps
}

// Release ends a Hold, or that of NewParts. Errors are those of closing files.
func (ps *Parts) Release() error {
	if ps.refs.Add(-1) > 0 {
		return nil
	}
	var err error
	for _, p := range ps.List {
		err = errors.Join(err, p.Release())
	}
	return err
}

// Part is a sealed part and where its points are stored: in a segment, or, as long
// as that has not been made, in a generation of the store.
type Part struct {
	*part.Part
	seg       *segment.Segment // nil: a generation
	gen       topology.Seq
	files     []*file             // what it keeps open besides artefacts
	places    []segment.Placement // of the segment's files
	artefacts []Artefact
}

// Waiting is a tail that was sealed and is stored as a generation.
func Waiting(p *part.Part, gen topology.Seq) *Part { return &Part{Part: p, gen: gen} }

// Generation is where the points of a part are stored that waits for its segment;
// false: they are in a segment.
func (p *Part) Generation() (topology.Seq, bool) { return p.gen, p.seg == nil }

// Origin is where p's points are, as the manifest has it.
func (p *Part) Origin() manifest.Origin {
	o := manifest.Origin{Number: p.Number, Gen: p.gen}
	for _, a := range p.artefacts {
		o.Artefacts = append(o.Artefacts, a.Artefact)
	}
	if p.seg != nil {
		d := p.seg.Description()
		o.Segment = &d
	}
	return o
}

// Stages are those of the segment's rows; of a generation all are of one.
func (p *Part) Stages() segment.Stages {
	if p.seg == nil {
		return segment.Stages{}
	}
	return p.seg.Stages()
}

// Stored reads the point of a row into into. Only of a part in a segment.
// Errors: store.ErrCorrupt, store.ErrVersion.
func (p *Part) Stored(row uint32, into *point.Point) error {
	return classify(p.seg.Point(row, into))
}

// Artefact is an artefact that is open.
type Artefact struct {
	manifest.Artefact
	place segment.Placement
	file  *file // nil: it is not open, since it is lost
	bytes []byte
	// lost: the file is damaged, missing or cannot be read, and is to be made again.
	lost bool
}

// basic tells whether nothing finds the vectors without it.
func (a *Artefact) basic() bool { return a.Kind == segment.KindPostings || a.Kind == segment.KindMulti }

// Close closes an artefact that no part was given.
func (a *Artefact) Close() error { return a.file.Close() }

// file is open as long as somebody has hold of it.
type file struct {
	io.Closer
	refs atomic.Int64
}

// Hold keeps p's files open until Release.
func (p *Part) Hold() {
	for f := range p.opened {
		f.refs.Add(1)
	}
}

// opened visits what p keeps open.
func (p *Part) opened(visit func(*file) bool) {
	for _, f := range p.files {
		visit(f)
	}
	for i := range p.artefacts {
		if f := p.artefacts[i].file; f != nil {
			visit(f)
		}
	}
}

// Release ends a Hold.
func (p *Part) Release() error {
	var err error
	for f := range p.opened {
		if f.refs.Add(-1) == 0 {
			err = errors.Join(err, f.Close())
		}
	}
	return err
}

// classify turns an error of a segment into one of the store.
func classify(err error) error {
	switch {
	case errors.Is(err, store.ErrVersion), errors.Is(err, store.ErrCorrupt):
		return err
	case errors.Is(err, segment.ErrVersion):
		return fmt.Errorf("%w: %w", store.ErrVersion, err)
	case errors.Is(err, segment.ErrCorrupt):
		return fmt.Errorf("%w: %w", store.ErrCorrupt, err)
	default:
		return err
	}
}
