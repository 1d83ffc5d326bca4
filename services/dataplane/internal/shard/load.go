package shard

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/RoaringBitmap/roaring/v2"
	"github.com/cockroachdb/pebble/v2"
	"github.com/pandodb/pando/services/dataplane/internal/point"
	"github.com/pandodb/pando/services/dataplane/internal/segment"
	"github.com/pandodb/pando/services/dataplane/internal/shard/part"
	"github.com/pandodb/pando/services/internal/topology"
)

// segmentsDir is the folder of segments in that of a shard.
const segmentsDir = "segments"

func (s *Shard) segments() string { return filepath.Join(s.opts.Dir, segmentsDir) }

// load brings what is stored into view.
func (s *Shard) load() error {
	a, form := &s.apply, byte(formVersion)
	if err := s.loadRecord(metaKey(), func(v []byte) (err error) {
		a.meta, form, err = decodeMeta(v)
		return err
	}); err != nil {
		return err
	}
	if err := s.store.upgrade(a.meta, form); err != nil {
		return err
	}
	if err := s.loadRecord(partsKey(), func(v []byte) (err error) {
		a.manifest, err = decodeManifest(v)
		return err
	}); err != nil {
		return err
	}
	var err error
	if a.settings, err = s.opts.settings(a.meta.settings); err != nil {
		return fmt.Errorf("%w: %s: settings: %w", ErrCorrupt, s.opts.Dir, err)
	}
	if s.state.tail, err = s.newTail(nil); err != nil {
		return err
	}
	if err := s.opts.FS.MkdirAll(s.segments(), 0o750); err != nil {
		return err
	}
	if err := s.clean(a.manifest); err != nil {
		return err
	}
	l := loader{Shard: s}
	err = l.all()
	for _, p := range l.opened {
		err = errors.Join(err, p.release())
	}
	if err != nil {
		return err
	}
	if l.digest != a.meta.digest {
		return fmt.Errorf("%w: %s: digest of the points is %s, was %s when they were written", ErrCorrupt, s.opts.Dir, l.digest, a.meta.digest)
	}
	if err := s.stageConfig(); err != nil {
		return err
	}
	err = a.change.perform(s)
	a.change = nil
	s.state.points = s.state.tail.Points()
	for _, p := range s.state.sealed.list {
		s.state.points += p.Alive()
	}
	s.state.publish(&a.meta)
	return err
}

// loadRecord reads one record if there is one.
func (s *Shard) loadRecord(key []byte, read func([]byte) error) error {
	v, closer, err := s.store.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(read(v), closer.Close())
}

// clean removes the files of segments that m, which is durable, does not name. Nothing
// may be writing any.
func (s *Shard) clean(m manifest) error {
	keep := map[string]bool{}
	m.files(func(f segment.File) { keep[f.FileName()] = true })
	err := segment.Clean(s.opts.FS, s.segments(), func(f segment.File) bool { return keep[f.FileName()] })
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return s.store.classify(err)
}

// loader opens the parts of a manifest and says which of their rows are dead.
type loader struct {
	*Shard
	digest point.Digest
	list   []*sealed
	opened []*sealed // held until the state has hold of them
	hash   []byte
}

func (l *loader) all() error {
	a := &l.apply
	for i := range a.manifest.parts {
		if err := l.entry(&a.manifest.parts[i]); err != nil {
			return err
		}
	}
	slices.SortFunc(l.list, func(p, q *sealed) int { return int(p.Number) - int(q.Number) })
	l.state.sealed = newParts(l.list)
	digest, err := l.store.readAll(a.manifest.active, l.state.tail, func(id topology.PointID, buried bool) { a.dead[id] = buried })
	if err != nil {
		return err
	}
	l.digest = l.digest.Add(digest)
	l.shadow()
	return l.mourn()
}

// entry opens what a part is, or is to be made of.
func (l *loader) entry(e *entry) error {
	if len(e.sources) == 0 {
		_, err := l.origin(&e.origin)
		return err
	}
	j := &job{number: e.number}
	for i := range e.sources {
		src := &e.sources[i]
		p, err := l.origin(&src.origin)
		if err != nil {
			return err
		}
		in := input{sealed: p, dead: src.rows}
		if in.dead == nil {
			in.dead = roaring.New()
			for _, id := range src.ids {
				row, ok := p.Find(id)
				if !ok {
					return fmt.Errorf("%w: %s: manifest: part %d lacks the point %s", ErrCorrupt, l.opts.Dir, p.Number, id)
				}
				in.dead.Add(row)
			}
		}
		j.sources = append(j.sources, in)
	}
	l.apply.jobs = append(l.apply.jobs, j)
	return nil
}

// origin opens a sealed part.
func (l *loader) origin(o *origin) (*sealed, error) {
	if o.segment != nil {
		p, err := l.open(*o, l.apply.settings)
		if err != nil {
			return nil, err
		}
		l.digest = l.digest.Add(o.segment.Digest)
		l.opened, l.list = append(l.opened, p), append(l.list, p)
		return p, nil
	}
	t, err := l.newTail(nil)
	if err != nil {
		return nil, err
	}
	digest, err := l.store.readTail(o.gen, t)
	if err != nil {
		return nil, err
	}
	l.digest = l.digest.Add(digest)
	p := &sealed{Part: t.Seal(o.number), gen: o.gen}
	l.list = append(l.list, p)
	return p, nil
}

// shadow lets rows be dead of which a later part, the tail or the dead have the id.
func (l *loader) shadow() {
	for i, p := range l.list {
		for _, later := range l.list[i+1:] {
			part.Shadow(p.Part, later.Part)
		}
		kill := func(id topology.PointID) {
			if row, ok := p.Find(id); ok {
				p.Dead.Kill(row, 0)
			}
		}
		l.state.tail.IDs(kill)
		for id := range l.apply.dead {
			kill(id)
		}
	}
}

// mourn takes the dead rows out of the digest.
func (l *loader) mourn() (err error) {
	for _, p := range l.list {
		p.Dead.Each(func(row uint32, _ uint64) {
			if err != nil {
				return
			}
			x := &staged{Point: point.Point{ID: p.ID(row)}, from: p, row: row}
			if err = l.loadSealed(x); err == nil {
				l.digest = l.digest.Sub(x.old)
			}
		})
	}
	return err
}

// segmentError classifies an error of a segment.
func segmentError(err error) error {
	switch {
	case errors.Is(err, segment.ErrVersion):
		return fmt.Errorf("%w: %w", ErrVersion, err)
	case errors.Is(err, segment.ErrCorrupt):
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	default:
		return err
	}
}
