package shard

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"

	"github.com/pandodb/pando/services/dataplane/internal/query"
	"github.com/pandodb/pando/services/dataplane/internal/segment"
	"github.com/pandodb/pando/services/dataplane/internal/shard/vector"
	"github.com/pandodb/pando/services/internal/topology"
)

// indexRows is from how many rows on an index on a payload field is kept in a file
// instead of being made at every start.
const indexRows = 1 << 14

// lacks are the artefacts that p should have and does not.
func (p *sealed) lacks(s query.Settings) []vector.Want {
	return slices.DeleteFunc(p.wants(s), func(w vector.Want) bool { return p.artefact(w.Kind, w.Name, w.Of) != nil })
}

// surplus is an artefact that p has and should not; nil: there is none. One that
// another is going to replace serves until then.
func (p *sealed) surplus(s query.Settings) *attached {
	wants := p.wants(s)
	for _, f := range p.Fields() {
		if x, ok := f.Vectors.(*vector.Sealed); ok {
			if w, ok := x.Basic(); ok {
				wants = append(wants, w)
			}
		}
	}
	for i, a := range p.artefacts {
		serves := func(w vector.Want) bool {
			return w.Kind == a.Kind && w.Name == a.Name && (w.Of == a.of || p.artefact(w.Kind, w.Name, w.Of) == nil)
		}
		if !slices.ContainsFunc(wants, serves) {
			return &p.artefacts[i]
		}
	}
	return nil
}

// wants are the artefacts that p should have besides those that it cannot be searched
// without.
func (p *sealed) wants(s query.Settings) (out []vector.Want) {
	if p.seg == nil {
		return nil
	}
	groups := p.groups(s.Fields)
	for _, f := range p.Fields() {
		x := f.Vectors.(*vector.Sealed)
		if at := slices.IndexFunc(s.Vectors, func(v query.VectorSettings) bool { return v.Name == f.Name }); at >= 0 {
			out = append(out, x.Wants(s.Vectors[at], s.Optimizers.IndexingThresholdKB<<10, uint64(p.Number), groups)...)
		}
	}
	for _, spec := range s.Fields {
		if p.Rows() >= indexRows {
			out = append(out, vector.Want{Kind: segment.KindFields, Name: spec.Key, Of: nameOf(spec), Make: func(context.Context) (func(io.Writer) error, error) {
				made, err := p.index([]query.FieldIndex{spec})
				return func(w io.Writer) error {
					_, err := w.Write(made[0])
					return err
				}, err
			}})
		}
	}
	return out
}

// groups are the rows with one value of a field of keywords each.
func (p *sealed) groups(specs []query.FieldIndex) vector.Groups {
	var of []string
	for _, spec := range specs {
		if spec.Type == query.KeywordField && !spec.NoGraph {
			of = append(of, spec.Key)
		}
	}
	return vector.Groups{Of: strings.Join(of, " "), Rows: func() (all [][]uint32) {
		for _, key := range of {
			all = append(all, p.Indexes().Groups(key)...)
		}
		return all
	}}
}

// derive makes the first artefact that is wanted and not there, those of the largest
// parts first; false: there is none.
func (s *Shard) derive(ctx context.Context, settings query.Settings) (bool, error) {
	p, w := s.lacking(settings)
	if p == nil {
		return s.strip(settings)
	}
	release, err := s.admit(ctx)
	if err == nil {
		err = s.deriveOne(ctx, p, w, settings)
		release()
	}
	return err == nil, errors.Join(err, p.release())
}

func (s *Shard) deriveOne(ctx context.Context, p *sealed, w vector.Want, settings query.Settings) error {
	write, err := w.Make(ctx)
	if err != nil {
		return err
	}
	s.work.writing.Lock()
	defer s.work.writing.Unlock()
	a, err := s.derived(w, write, settings)
	if err != nil {
		return err
	}
	return s.adorn(p.Number, a, settings)
}

// derived writes and opens an artefact.
func (s *Shard) derived(w vector.Want, write func(io.Writer) error, settings query.Settings) (attached, error) {
	f, err := segment.WriteArtefact(s.opts.FS, s.segments(), w.Kind, w.Name, write)
	if err != nil {
		return attached{}, segmentError(err)
	}
	return s.attach(artefact{f, w.Of}, settings)
}

// complete gives p what it cannot be searched without.
func (s *Shard) complete(ctx context.Context, p *sealed, settings query.Settings) (*sealed, error) {
	for _, f := range p.Fields() {
		w, ok := f.Vectors.(*vector.Sealed).Basic()
		if !ok {
			continue
		}
		write, err := w.Make(ctx)
		if err != nil {
			return p, err
		}
		a, err := s.derived(w, write, settings)
		if err != nil {
			return p, err
		}
		next, err := p.adorned(a, settings)
		if err != nil {
			return p, errors.Join(err, a.file.Close())
		}
		p = next
	}
	return p, nil
}

// lacking is the part that lacks something, held for the caller, and what.
func (s *Shard) lacking(settings query.Settings) (*sealed, vector.Want) {
	s.apply.Lock()
	defer s.apply.Unlock()
	soon := due(settings.Optimizers, s.weights(), false)
	var largest *sealed
	var what vector.Want
	for _, p := range s.state.sealed.list {
		if slices.Contains(soon, p.Number) {
			continue // it is about to be merged
		}
		if l := p.lacks(settings); len(l) > 0 && (largest == nil || p.Rows() > largest.Rows()) {
			largest, what = p, l[0]
		}
	}
	if largest != nil {
		largest.hold()
	}
	return largest, what
}

// adorn gives a part an artefact, if the part is still there.
func (s *Shard) adorn(number topology.Seq, f attached, settings query.Settings) error {
	a := &s.apply
	a.Lock()
	defer a.Unlock()
	i := slices.IndexFunc(s.state.sealed.list, func(x *sealed) bool { return x.Number == number })
	if a.closed || i < 0 {
		return f.file.Close()
	}
	if err := s.store.err(); err != nil {
		return errors.Join(err, f.file.Close())
	}
	old := s.state.sealed.list[i]
	old.hold()
	next, err := old.adorned(f, a.settings)
	if err != nil {
		return errors.Join(err, f.file.Close(), old.release())
	}
	c := s.begin()
	c.sealed = slices.Clone(s.state.sealed.list)
	c.sealed[i] = next
	c.manifest.derived(number, next.origin().artefacts)
	a.batch, a.change = s.store.NewBatch(), c
	if err := s.commit(); err != nil {
		return errors.Join(s.giveUp(err), next.release())
	}
	return next.release()
}

// derived notes the artefacts of a segment, wherever it stands.
func (m *manifest) derived(number topology.Seq, artefacts []artefact) {
	for i := range m.parts {
		e := &m.parts[i]
		if e.number == number && len(e.sources) == 0 {
			e.origin.artefacts = artefacts
		}
		e.sources = slices.Clone(e.sources)
		for j := range e.sources {
			if e.sources[j].number == number {
				e.sources[j].artefacts = artefacts
			}
		}
	}
}

// strip takes the first artefact off that is not wanted any more; false: there is none.
func (s *Shard) strip(settings query.Settings) (bool, error) {
	a := &s.apply
	a.Lock()
	defer a.Unlock()
	if a.closed || s.store.err() != nil {
		return false, s.store.err()
	}
	for i, p := range s.state.sealed.list {
		if p.seg == nil {
			continue
		}
		x := p.surplus(settings)
		if x == nil {
			continue
		}
		next, err := p.without(x, settings)
		if err != nil {
			return false, err
		}
		c := s.begin()
		c.sealed = slices.Clone(s.state.sealed.list)
		c.sealed[i] = next
		c.manifest.derived(p.Number, next.origin().artefacts)
		a.batch, a.change = s.store.NewBatch(), c
		if err := s.commit(); err != nil {
			return false, s.giveUp(err)
		}
		return true, nil
	}
	return false, nil
}
