package shard

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
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
	// make gives what writes it. It follows from segment and settings to the byte.
	make func(context.Context) (func(io.Writer) error, error)
}

// wants are the artefacts that p should have.
func (p *sealed) wants(s query.Settings) (out []wanted) {
	if p.seg == nil || s.Optimizers.IndexingThresholdKB == 0 {
		return nil
	}
	for _, f := range p.Fields() {
		d, ok := f.Vectors.(*dense)
		at := slices.IndexFunc(s.Vectors, func(v query.VectorSettings) bool { return v.Name == f.Name })
		if !ok || at < 0 || d.index == nil {
			continue
		}
		h := s.Vectors[at].HNSW
		big := uint64(d.vectors.Len)*uint64(d.vectors.Size)*4 >= s.Optimizers.IndexingThresholdKB<<10
		if !big || h.M < 2 {
			continue
		}
		out = append(out, wanted{segment.KindGraph, f.Name, fmt.Sprintf("m=%d ef=%d", h.M, h.EfConstruct), func(ctx context.Context) (func(io.Writer) error, error) {
			return d.build(ctx, h, uint64(p.Number))
		}})
	}
	return out
}

// lacks are the artefacts that p should have and does not.
func (p *sealed) lacks(s query.Settings) []wanted {
	return slices.DeleteFunc(p.wants(s), func(w wanted) bool {
		return slices.ContainsFunc(p.artefacts, func(a attached) bool { return a.Kind == w.kind && a.Name == w.name && a.of == w.of })
	})
}

// build makes the graph over d. Rows that are dead by now are in it like the others:
// it must not depend on when it is made.
func (d *dense) build(ctx context.Context, h query.HNSW, seed uint64) (func(io.Writer) error, error) {
	g, err := hnsw.Build(ctx, d.space(), hnsw.Params{M: h.M, EfConstruct: h.EfConstruct}, hnsw.BuildOptions{Threads: runtime.GOMAXPROCS(0), Seed: seed})
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
	release, err := s.admit(ctx)
	if err == nil {
		err = s.deriveOne(ctx, p, w, settings)
		release()
	}
	return err == nil, errors.Join(err, p.release())
}

func (s *Shard) deriveOne(ctx context.Context, p *sealed, w wanted, settings query.Settings) error {
	write, err := w.make(ctx)
	if err != nil {
		return err
	}
	s.work.writing.Lock()
	defer s.work.writing.Unlock()
	f, err := segment.WriteArtefact(s.opts.FS, s.segments(), w.kind, w.name, write)
	if err != nil {
		return segmentError(err)
	}
	return s.adorn(p.Number, artefact{f, w.of}, settings)
}

// lacking is the part that lacks something, held for the caller, and what.
func (s *Shard) lacking(settings query.Settings) (*sealed, wanted) {
	s.apply.Lock()
	defer s.apply.Unlock()
	soon := due(settings.Optimizers, s.weights(), false)
	var largest *sealed
	var what wanted
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
func (s *Shard) adorn(number topology.Seq, f artefact, settings query.Settings) error {
	a := &s.apply
	a.Lock()
	defer a.Unlock()
	i := slices.IndexFunc(s.state.sealed.list, func(x *sealed) bool { return x.Number == number })
	if a.closed || i < 0 {
		return nil
	}
	if err := s.store.err(); err != nil {
		return err
	}
	old := s.state.sealed.list[i]
	old.hold()
	next, err := s.attach(old, f, settings)
	if err != nil {
		return errors.Join(err, old.release())
	}
	if next == old {
		return old.release()
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
