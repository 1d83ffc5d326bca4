package shard

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/pandodb/pando/services/dataplane/internal/index/hnsw"
	"github.com/pandodb/pando/services/dataplane/internal/query"
	"github.com/pandodb/pando/services/dataplane/internal/segment"
	"github.com/pandodb/pando/services/internal/topology"
)

// wanted is an artefact that a segment should have: which, made from which settings.
type wanted struct {
	kind segment.Kind
	name string
	of   string
	// make writes it. It follows from segment and settings to the byte.
	make func(context.Context) (func(io.Writer) error, error)
}

// wants are the artefacts that p should have.
func (p *sealed) wants(s query.Settings) (out []wanted) {
	if p.seg == nil || s.Optimizers.IndexingThresholdKB == 0 {
		return nil
	}
	for i := range p.Fields() {
		f := &p.Fields()[i]
		d, ok := f.Vectors.(*dense)
		at := slices.IndexFunc(s.Vectors, func(v query.VectorSettings) bool { return v.Name == f.Name })
		if !ok || at < 0 || d.index == nil {
			continue
		}
		h := s.Vectors[at].HNSW
		if big := uint64(d.vectors.Len)*uint64(d.vectors.Size)*4 >= s.Optimizers.IndexingThresholdKB<<10; !big || h.M < 2 {
			continue
		}
		out = append(out, wanted{segment.KindGraph, f.Name, fmt.Sprintf("m=%d ef=%d", h.M, h.EfConstruct), func(ctx context.Context) (func(io.Writer) error, error) {
			return d.build(ctx, f.VectorSchema, h, uint64(p.Number))
		}})
	}
	return out
}

// lacks are the artefacts that p should have and does not.
func (p *sealed) lacks(s query.Settings) []wanted {
	return slices.DeleteFunc(p.wants(s), func(w wanted) bool {
		return slices.ContainsFunc(p.artefacts, func(a artefact) bool { return a.Kind == w.kind && a.Name == w.name && a.of == w.of })
	})
}

// build makes the graph over d.
func (d *dense) build(ctx context.Context, v query.VectorSchema, h query.HNSW, seed uint64) (func(io.Writer) error, error) {
	space := hnsw.Vectors{Data: d.vectors.F32, Dim: v.Size, Stride: d.vectors.Stride, Distance: v.Distance}
	skip := hnsw.NewMask(d.vectors.Len)
	g, err := hnsw.Build(ctx, space, hnsw.Params{M: h.M, EfConstruct: h.EfConstruct}, hnsw.BuildOptions{Threads: 1, Seed: seed, Skip: skip})
	if err != nil {
		return nil, err
	}
	return func(w io.Writer) error {
		_, err := w.Write(g.Append(nil))
		return err
	}, nil
}

// derive makes the first artefact that is wanted and not there, those of the largest
// parts first; false: there is none.
func (s *Shard) derive(ctx context.Context, settings query.Settings) (bool, error) {
	p, w := s.lacking(settings)
	if p == nil {
		return false, nil
	}
	defer func() {
		if err := p.files.release(); err != nil {
			_ = s.store.fail(err)
		}
	}()
	release, err := s.admit(ctx)
	if err != nil {
		return false, err
	}
	defer release()
	write, err := w.make(ctx)
	if err != nil {
		return false, err
	}
	s.work.writing.Lock()
	defer s.work.writing.Unlock()
	f, err := segment.WriteArtefact(s.opts.FS, s.segments(), w.kind, w.name, write)
	if err != nil {
		return false, err
	}
	artefacts := slices.DeleteFunc(slices.Clone(p.artefacts), func(a artefact) bool { return a.Kind == w.kind && a.Name == w.name })
	artefacts = append(artefacts, artefact{f, w.of})
	next, err := s.open(p.Number, p.seg.Description(), artefacts, settings)
	if err != nil {
		return false, err
	}
	done, err := s.replace(p, next)
	if !done {
		err = errors.Join(err, next.files.discard())
	}
	return true, err
}

// lacking is the part that lacks something, kept open for the caller, and what.
func (s *Shard) lacking(settings query.Settings) (*sealed, wanted) {
	s.apply.Lock()
	defer s.apply.Unlock()
	var largest *sealed
	var what wanted
	for _, p := range s.state.sealed.list {
		if l := p.lacks(settings); len(l) > 0 && (largest == nil || p.Rows() > largest.Rows()) {
			largest, what = p, l[0]
		}
	}
	if largest != nil {
		largest.files.refs.Add(1)
	}
	return largest, what
}

// replace puts next, which is p opened with other artefacts, in its place. false: p is
// not there any more.
func (s *Shard) replace(p, next *sealed) (bool, error) {
	a := &s.apply
	a.Lock()
	defer a.Unlock()
	i := slices.IndexFunc(s.state.sealed.list, func(x *sealed) bool { return x.Number == p.Number })
	if a.closed || i < 0 {
		return false, nil
	}
	now := s.state.sealed.list[i]
	next.Part = now.With(next.Fields(), nil)
	next.mortal(next.Dead)
	c := s.begin()
	c.sealed = slices.Clone(s.state.sealed.list)
	c.sealed[i] = next
	c.manifest.derived(p.Number, next.artefacts)
	a.batch, a.change = s.store.NewBatch(), c
	if err := s.commit(); err != nil {
		return false, s.giveUp(err)
	}
	return true, nil
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
