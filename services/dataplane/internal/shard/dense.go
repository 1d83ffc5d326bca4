package shard

import (
	"context"
	"errors"
	"fmt"
	"io"
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
	"github.com/pandodb/pando/services/internal/topology"
)

// vectors are the schema's, sorted by name.
func (s *Shard) vectors() []query.VectorSchema {
	vs := slices.Clone(s.opts.Schema.Vectors)
	slices.SortFunc(vs, func(a, b query.VectorSchema) int { return strings.Compare(a.Name, b.Name) })
	return vs
}

// open opens a segment as a sealed part, without indexes on payload fields.
func (s *Shard) open(number topology.Seq, d segment.Description, artefacts []artefact, settings query.Settings) (*sealed, error) {
	vs := s.vectors()
	seg, err := segment.Open(s.opts.FS, s.segments(), segment.Spec{Part: d.Part, Vectors: vs}, d, func(k segment.Kind, name string) segment.Placement { return place(settings, k, name) })
	if err != nil {
		return nil, segmentError(err)
	}
	p := &sealed{seg: seg, files: &files{open: []io.Closer{seg}}, artefacts: artefacts}
	fields, err := s.fields(p, settings)
	if err != nil {
		return nil, errors.Join(err, p.files.discard())
	}
	p.Part = part.NewSealed(number, seg, fields, &fieldindex.Set{})
	p.mortal(p.Dead)
	return p, nil
}

// mortal tells the vectors of p which rows are dead.
func (p *sealed) mortal(dead *mask.Mask) {
	for _, f := range p.Fields() {
		f.Vectors.(*dense).dead = dead
	}
}

// discard closes files that nobody has taken.
func (f *files) discard() error {
	f.refs.Store(1)
	return f.release()
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

// fields are the named vectors of a segment, with the graphs that there are.
func (s *Shard) fields(p *sealed, settings query.Settings) ([]part.Field, error) {
	var out []part.Field
	for _, v := range s.vectors() {
		d := &dense{name: v.Name}
		out = append(out, part.Field{VectorSchema: v, Vectors: d})
		vs, ok := p.seg.Vectors(v.Name)
		if !ok || vs.Len == 0 {
			continue
		}
		d.vectors = vs
		space := hnsw.Vectors{Data: vs.F32, Dim: vs.Size, Stride: vs.Stride, Distance: v.Distance}
		g, err := s.graph(p, v.Name, space, settings)
		if err != nil {
			return nil, err
		}
		if d.index, err = hnsw.Open(space, g, nil); err != nil {
			return nil, fmt.Errorf("%w: %s: vector %q: %w", ErrCorrupt, s.opts.Dir, v.Name, err)
		}
	}
	return out, nil
}

// graph opens the graph over the vectors of a name; one without links if there is
// none.
func (s *Shard) graph(p *sealed, name string, space hnsw.Vectors, settings query.Settings) (*hnsw.Graph, error) {
	for _, a := range p.artefacts {
		if a.Kind != segment.KindGraph || a.Name != name {
			continue
		}
		f, err := segment.OpenArtefact(s.opts.FS, s.segments(), a.File, place(settings, segment.KindGraph, name))
		if err != nil {
			return nil, segmentError(err)
		}
		p.files.open = append(p.files.open, f)
		g, err := hnsw.Decode(f.Bytes())
		if err != nil {
			return nil, fmt.Errorf("%w: %s: %w", ErrCorrupt, a.FileName(), err)
		}
		return g, nil
	}
	return hnsw.Build(context.Background(), space, hnsw.Params{M: 0, EfConstruct: 1}, hnsw.BuildOptions{})
}

// dense is one named vector of a segment.
type dense struct {
	name    string
	vectors segment.Vectors
	index   *hnsw.Index // nil: no row has one
	dead    *mask.Mask
}

func (d *dense) Has(row uint32) bool { return d.index != nil && d.vectors.Has(row) }

func (d *dense) Len() int { return d.vectors.Len }

func (d *dense) Vector(row uint32) (op.Vector, bool) {
	if !d.Has(row) {
		return op.Vector{}, false
	}
	from := int(row) * d.vectors.Stride
	return op.Vector{Name: d.name, Data: slices.Clone(d.vectors.F32[from : from+d.vectors.Size])}, true
}

func (d *dense) Search(ctx context.Context, qs []part.Query, at uint64) ([][]index.Hit, error) {
	out := make([][]index.Hit, len(qs))
	if d.index == nil {
		return out, nil
	}
	for i := range qs {
		q := hnsw.Query{Query: qs[i].Query, Ef: qs[i].Ef, Estimate: qs[i].Estimate}
		accept := q.Accept
		q.Accept = func(row uint32) bool {
			return d.vectors.Has(row) && !d.dead.Dead(row, at) && (accept == nil || accept(row))
		}
		var err error
		if out[i], err = d.index.Search(ctx, &q, nil); err != nil {
			return nil, err
		}
	}
	return out, nil
}
