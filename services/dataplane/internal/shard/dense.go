package shard

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/pandodb/pando/services/dataplane/internal/index"
	"github.com/pandodb/pando/services/dataplane/internal/index/hnsw"
	"github.com/pandodb/pando/services/dataplane/internal/index/mask"
	fieldindex "github.com/pandodb/pando/services/dataplane/internal/index/payload"
	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/query"
	"github.com/pandodb/pando/services/dataplane/internal/segment"
	"github.com/pandodb/pando/services/dataplane/internal/shard/part"
)

// vectors are the schema's, sorted by name.
func (s *Shard) vectors() []query.VectorSchema {
	vs := slices.Clone(s.opts.Schema.Vectors)
	slices.SortFunc(vs, func(a, b query.VectorSchema) int { return strings.Compare(a.Name, b.Name) })
	return vs
}

// place says where a file of a segment is read from.
func place(settings query.Settings, k segment.Kind, name string) segment.Placement {
	for _, v := range settings.Vectors {
		if v.Name == name && (k == segment.KindVectors && v.OnDisk || k == segment.KindGraph && v.HNSW.OnDisk) {
			return segment.Cold
		}
	}
	if k == segment.KindVectors || k == segment.KindGraph {
		return segment.Pinned
	}
	return segment.Cached
}

// open opens a segment as a sealed part, without indexes on payload fields. The
// caller has hold of it.
func (s *Shard) open(o origin, settings query.Settings) (*sealed, error) {
	spec := segment.Spec{Part: o.segment.Part, Vectors: s.vectors()}
	seg, err := segment.Open(s.opts.FS, s.segments(), spec, *o.segment, func(k segment.Kind, name string) segment.Placement {
		return place(settings, k, name)
	})
	if err != nil {
		return nil, segmentError(err)
	}
	p := &sealed{seg: seg, files: []*file{{Closer: seg}}}
	p.hold()
	dead, fields := mask.New(seg.Rows()), []part.Field(nil)
	for _, v := range spec.Vectors {
		d := &dense{name: v.Name, distance: v.Distance, dead: dead}
		if vs, ok := seg.Vectors(v.Name); ok && vs.Len > 0 {
			d.vectors = vs
			d.index, err = hnsw.Open(d.space(), nil, dead, hnsw.Options{})
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("%w: %s: vector %q: %w", ErrCorrupt, s.opts.Dir, v.Name, err), p.release())
		}
		fields = append(fields, part.Field{VectorSchema: v, Vectors: d})
	}
	p.Part = part.NewSealed(o.number, seg, dead, fields, &fieldindex.Set{})
	for _, a := range o.artefacts {
		next, err := s.attach(p, a, settings)
		if err != nil {
			return nil, errors.Join(err, p.release())
		}
		p = next
	}
	return p, nil
}

// attach is p with an artefact, in the place of the one that it may have had. What
// the caller had hold of p by holds the result instead; p stays as it is.
func (s *Shard) attach(p *sealed, a artefact, settings query.Settings) (*sealed, error) {
	i := slices.IndexFunc(p.Fields(), func(f part.Field) bool { return f.Name == a.Name })
	if i < 0 || a.Kind != segment.KindGraph {
		return p, nil // of a vector that there is no more
	}
	f, err := segment.OpenArtefact(s.opts.FS, s.segments(), a.File, place(settings, a.Kind, a.Name))
	if err != nil {
		return nil, segmentError(err)
	}
	d := *p.Fields()[i].Vectors.(*dense)
	g, err := hnsw.Decode(f.Bytes())
	if err == nil {
		d.index, err = hnsw.Open(d.space(), g, d.dead, hnsw.Options{})
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%w: %s: %w", ErrCorrupt, a.FileName(), err), f.Close())
	}
	next := *p
	fields := slices.Clone(p.Fields())
	fields[i].Vectors = &d
	next.Part = p.With(fields, nil)
	next.artefacts = slices.DeleteFunc(slices.Clone(p.artefacts), func(b attached) bool { return b.Kind == a.Kind && b.Name == a.Name })
	next.artefacts = append(next.artefacts, attached{a, &file{Closer: f}})
	next.hold()
	return &next, p.release()
}

// dense is one named vector of a segment.
type dense struct {
	name     string
	distance query.Distance
	vectors  segment.Vectors
	index    *hnsw.Index // nil: no row has one
	dead     *mask.Mask
}

func (d *dense) space() hnsw.Vectors {
	v := &d.vectors
	return hnsw.Vectors{Float32: v.F32, Float16: v.F16, Uint8: v.U8, Dim: v.Size, Stride: v.Stride, Distance: d.distance, Has: v.Present}
}

func (d *dense) Has(row uint32) bool { return d.index != nil && d.vectors.Has(row) }

func (d *dense) Len() int { return d.vectors.Len }

func (d *dense) Vector(row uint32) (op.Vector, bool) {
	if !d.Has(row) {
		return op.Vector{}, false
	}
	return op.Vector{Name: d.name, Data: d.vectors.At(row)}, true
}

func (d *dense) Search(ctx context.Context, qs []part.Query, at uint64) ([][]index.Hit, error) {
	if d.index == nil {
		return make([][]index.Hit, len(qs)), nil
	}
	in := make([]hnsw.Query, len(qs))
	for i := range qs {
		in[i] = hnsw.Query{Query: qs[i].Query, At: at, Exact: qs[i].Exact, Ef: qs[i].Ef, Estimate: qs[i].Estimate}
	}
	return d.index.SearchBatch(ctx, in)
}
