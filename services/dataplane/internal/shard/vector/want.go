package vector

import (
	"context"
	"fmt"
	"io"

	"github.com/pandodb/pando/services/dataplane/internal/index/hnsw"
	"github.com/pandodb/pando/services/dataplane/internal/index/multi"
	"github.com/pandodb/pando/services/dataplane/internal/index/quant"
	"github.com/pandodb/pando/services/dataplane/internal/index/sparse"
	"github.com/pandodb/pando/services/dataplane/internal/kernel"
	"github.com/pandodb/pando/services/dataplane/internal/point"
	"github.com/pandodb/pando/services/dataplane/internal/query"
	"github.com/pandodb/pando/services/dataplane/internal/segment"
)

// Want is an artefact that a vector of a segment should have.
type Want struct {
	Kind segment.Kind
	Name string // the key of the vector
	// Of tells from what it is made; two that differ in it are not the same.
	Of string
	// Threads are the most that it is worth; 0: any number.
	Threads int
	// Make gives what writes it, with so many threads. It follows from segment and Of
	// to the byte.
	Make func(ctx context.Context, threads int) (func(io.Writer) error, error)
}

// Basic is what s cannot be searched without; false: there is nothing of the kind. Its
// Make answers nil where no row has a value, and nothing is needed.
func (s *Sealed) Basic() (Want, bool) {
	switch s.schema.Kind {
	case query.Sparse:
		of := fmt.Sprintf("sparse %d", s.schema.Datatype)
		return Want{segment.KindPostings, s.key, of, 1, s.makePostings}, true
	case query.Multi:
		of := fmt.Sprintf("multi %d %d %d", s.schema.Size, s.schema.Distance, s.schema.Datatype)
		return Want{segment.KindMulti, s.key, of, 1, s.makeMulti}, true
	}
	return Want{}, false
}

func (s *Sealed) makePostings(ctx context.Context, _ int) (func(io.Writer) error, error) {
	b := sparse.NewBuilder(s.schema.Datatype)
	return s.gather(ctx, b, func(row uint32, v point.Vector) error {
		return b.Add(row, sparse.Vector{Indices: v.Indices, Weights: v.Data})
	})
}

// writing is what WriteTo does.
func writing(b io.WriterTo) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := b.WriteTo(w)
		return err
	}
}

func (s *Sealed) makeMulti(ctx context.Context, _ int) (func(io.Writer) error, error) {
	b, err := multi.NewBuilder(multi.Space{Dim: s.schema.Size, Distance: s.schema.Distance, Datatype: s.schema.Datatype})
	if err != nil {
		return nil, err
	}
	return s.gather(ctx, b, func(row uint32, v point.Vector) error {
		if len(v.Data)%s.schema.Size != 0 {
			return nil // of another schema
		}
		return b.Add(row, v.Data)
	})
}

// gather adds the values of all rows to what into writes; nil: there are none.
func (s *Sealed) gather(ctx context.Context, into io.WriterTo, add func(row uint32, v point.Vector) error) (func(io.Writer) error, error) {
	some := false
	for row := range uint32(s.seg.Rows()) {
		if v, ok := s.stored(row); ok {
			if err := add(row, v); err != nil {
				return nil, err
			}
			some = true
		}
		if row%(1<<12) == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	if !some {
		return nil, nil
	}
	return writing(into), nil
}

// Groups are rows that filters ask for together.
type Groups struct {
	Of   string // tells of which fields
	Rows func() [][]uint32
}

// Wants are the artefacts that the settings ask for beside the basic one. Vectors of
// less than threshold bytes are compared one by one; 0: all are. base are the vectors of
// the rows of the first stages; nil: there are none.
func (s *Sealed) Wants(v query.VectorSettings, threshold uint64, groups Groups, base *Sealed) (out []Want) {
	if s.index == nil || threshold == 0 || uint64(s.dense.Len)*uint64(s.dense.Size)*4 < threshold {
		return nil
	}
	if q := v.Quantization; q.Kind != query.NoQuantization {
		q.AlwaysRAM = false // not about the codes
		out = append(out, Want{segment.KindCodes, s.key, fmt.Sprintf("codes %+v", q), v.HNSW.Threads, func(ctx context.Context, threads int) (func(io.Writer) error, error) {
			c, err := quant.Build(ctx, s.floats(), s.schema.Distance, q, threads)
			return writing(c), err
		}})
	}
	if h := v.HNSW; h.M >= 2 {
		if h.PayloadM == 0 {
			h.PayloadM = h.M
		}
		of := fmt.Sprintf("graph m=%d ef=%d", h.M, h.EfConstruct)
		if h.PayloadM > 0 && groups.Of != "" {
			of += fmt.Sprintf(" payload_m=%d %s", h.PayloadM, groups.Of)
		}
		out = append(out, Want{segment.KindGraph, s.key, of, h.Threads, func(ctx context.Context, threads int) (func(io.Writer) error, error) {
			o := s.stages()
			if o.Threads = threads; base != nil && base.key == s.key {
				o.Base = base.whole()
			}
			p := hnsw.Params{M: h.M, EfConstruct: h.EfConstruct}
			if h.PayloadM > 0 && groups.Of != "" {
				p.PayloadM, o.Groups = h.PayloadM, groups.Rows()
			}
			g, err := hnsw.Build(ctx, s.space(), p, o)
			return func(w io.Writer) error {
				_, err := w.Write(g.Append(nil))
				return err
			}, err
		}})
	}
	return out
}

// stages are the seeds of a graph and when it takes up which rows.
func (s *Sealed) stages() hnsw.BuildOptions {
	stages := s.seg.Stages()
	o := hnsw.BuildOptions{Seed: uint64(s.seg.Description().Part), Stage: stages.Of}
	for _, n := range stages.Earlier {
		o.Earlier = append(o.Earlier, uint64(n))
	}
	return o
}

// whole is the graph, if there is one and its file has not been damaged since it was
// opened: another is going to be grown from it.
func (s *Sealed) whole() *hnsw.Graph {
	if s == nil || s.graph == nil {
		return nil
	}
	g, err := hnsw.View(s.files[segment.KindGraph])
	if err != nil {
		return nil
	}
	return g
}

// floats are the rows as codes are made of them.
func (s *Sealed) floats() quant.Vectors {
	d := &s.dense
	v := quant.Vectors{Data: d.F32, Dim: d.Size, Stride: d.Stride, Skip: s.without()}
	if d.F32 != nil {
		return v
	}
	v.Rows = s.seg.Rows()
	v.Read = func(row uint32, dst []float32) {
		d.Read(row, dst)
		if d.U8 != nil && s.schema.Distance == query.Cosine {
			kernel.Normalize(dst)
		}
	}
	return v
}

// without tells which rows have no vector. Rows that are dead by now are made codes
// and links of like the others: those must not depend on when they are made.
func (s *Sealed) without() func(uint32) bool {
	if s.dense.Present == nil {
		return nil
	}
	return func(row uint32) bool { return !s.dense.Has(row) }
}
