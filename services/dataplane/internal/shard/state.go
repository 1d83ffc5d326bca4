package shard

import (
	"errors"
	"io"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/RoaringBitmap/roaring/v2"
	"github.com/pandodb/pando/services/dataplane/internal/filter"
	"github.com/pandodb/pando/services/dataplane/internal/index/mask"
	"github.com/pandodb/pando/services/dataplane/internal/point"
	"github.com/pandodb/pando/services/dataplane/internal/query"
	"github.com/pandodb/pando/services/dataplane/internal/segment"
	"github.com/pandodb/pando/services/dataplane/internal/shard/part"
	"github.com/pandodb/pando/services/internal/topology"
)

// state is what reads see. The lock is held in shared mode while the tail is read,
// and by the applier to show what it has already stored; what is sealed is read
// without it.
type state struct {
	sync.RWMutex
	pos    Position
	digest point.Digest
	config meta // revision and settings only
	points int
	tail   *part.Tail
	sealed *parts
	// settings in effect, and what of them filters on texts are bound to.
	settings query.Settings
	texts    filter.Texts
}

// parts are the sealed parts at one time, ascending by number. They stay readable
// while somebody has hold of them.
type parts struct {
	list []*sealed
	refs atomic.Int64
}

// newParts holds on to list once, for the state.
func newParts(list []*sealed) *parts {
	for _, p := range list {
		p.hold()
	}
	ps := &parts{list: list}
	ps.refs.Store(1)
	return ps
}

func (ps *parts) hold() *parts {
	ps.refs.Add(1)
	return ps
}

func (ps *parts) release() error {
	if ps.refs.Add(-1) > 0 {
		return nil
	}
	var err error
	for _, p := range ps.list {
		err = errors.Join(err, p.release())
	}
	return err
}

// find is the living row of an id, and its part; nil: none.
func (ps *parts) find(id topology.PointID) (*sealed, uint32) {
	for _, p := range slices.Backward(ps.list) {
		if row, ok := p.Find(id); ok && !p.Dead.Dead(row, mask.Now) {
			return p, row
		}
	}
	return nil, 0
}

// contain tells whether any has rows of an id, dead or alive.
func (ps *parts) contain(id topology.PointID) bool {
	return slices.ContainsFunc(ps.list, func(p *sealed) bool {
		_, ok := p.Find(id)
		return ok
	})
}

// sealed is a sealed part and where its points are stored: in a segment, or, as
// long as that has not been made, in a generation of the store.
type sealed struct {
	*part.Part
	seg       *segment.Segment // nil: a generation
	gen       topology.Seq
	files     []*file // what it keeps open besides artefacts
	artefacts []attached
}

// attached is an artefact that is open.
type attached struct {
	artefact
	file  *file
	bytes []byte
}

// file is open as long as somebody has hold of it.
type file struct {
	io.Closer
	refs atomic.Int64
}

// hold keeps p's files open until release.
func (p *sealed) hold() {
	for f := range p.opened {
		f.refs.Add(1)
	}
}

// opened visits what p keeps open.
func (p *sealed) opened(visit func(*file) bool) {
	for _, f := range p.files {
		visit(f)
	}
	for i := range p.artefacts {
		visit(p.artefacts[i].file)
	}
}

func (p *sealed) release() error {
	var err error
	for f := range p.opened {
		if f.refs.Add(-1) == 0 {
			err = errors.Join(err, f.Close())
		}
	}
	return err
}

// job makes a segment out of the rows of sources that were alive at its entry.
type job struct {
	number  topology.Seq
	sources []input
	cancel  func() // of the attempt that is under way; nil: none
}

// input is a source of a job without the rows that were dead.
type input struct {
	*sealed
	dead *roaring.Bitmap
}

// inputOf takes the rows of p that are alive now.
func inputOf(p *sealed) input {
	in := input{sealed: p, dead: roaring.New()}
	p.Dead.Each(func(row uint32, _ uint64) { in.dead.Add(row) })
	return in
}
