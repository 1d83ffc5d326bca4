package vector

import (
	"context"
	"fmt"
	"slices"

	"github.com/pandodb/pando/services/dataplane/internal/index"
	"github.com/pandodb/pando/services/dataplane/internal/index/hnsw"
	"github.com/pandodb/pando/services/dataplane/internal/index/mask"
	"github.com/pandodb/pando/services/dataplane/internal/index/multi"
	"github.com/pandodb/pando/services/dataplane/internal/index/quant"
	"github.com/pandodb/pando/services/dataplane/internal/index/rank"
	"github.com/pandodb/pando/services/dataplane/internal/index/sparse"
	"github.com/pandodb/pando/services/dataplane/internal/kernel"
	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/point"
	"github.com/pandodb/pando/services/dataplane/internal/query"
	"github.com/pandodb/pando/services/dataplane/internal/segment"
	"github.com/pandodb/pando/services/dataplane/internal/shard/part"
)

// Sealed is one named vector of a segment.
type Sealed struct {
	schema query.VectorSchema
	key    string // of the schema
	seg    *segment.Segment
	dead   *mask.Mask
	files  map[segment.Kind][]byte // artefacts

	dense  segment.Vectors
	index  *hnsw.Index // Dense; nil: no row has one
	graph  *hnsw.Graph
	codes  *quant.Codes
	sparse *sparse.Index // nil: no row has one, or the index is not there
	multi  *multi.Index
}

// Open puts a vector of a segment together out of its artefacts, which must stay as
// they are. Errors are about the artefacts.
func Open(v query.VectorSchema, seg *segment.Segment, dead *mask.Mask, files map[segment.Kind][]byte) (*Sealed, error) {
	s := &Sealed{schema: v, key: v.Key(), seg: seg, dead: dead, files: files}
	var err error
	switch v.Kind {
	case query.Sparse:
		if b := files[segment.KindPostings]; b != nil {
			s.sparse, err = sparse.Open(b)
		}
	case query.Multi:
		if b := files[segment.KindMulti]; b != nil {
			s.multi, err = multi.Open(b)
		}
	default:
		err = s.openDense()
	}
	if err != nil {
		return nil, fmt.Errorf("vector %q: %w", v.Name, err)
	}
	return s, nil
}

func (s *Sealed) openDense() error {
	vs, ok := s.seg.Vectors(s.key)
	if !ok || vs.Len == 0 {
		return nil
	}
	s.dense = vs
	var err error
	if b := s.files[segment.KindGraph]; b != nil {
		if s.graph, err = hnsw.View(b); err != nil {
			return err
		}
	}
	if b := s.files[segment.KindCodes]; b != nil {
		if s.codes, err = quant.Open(b); err != nil {
			return err
		}
	}
	var o hnsw.Options
	if s.codes != nil {
		o.Codes = coder{s.codes}
	}
	s.index, err = hnsw.Open(s.space(), s.graph, s.dead, o)
	return err
}

// coder is codes as an index asks them.
type coder struct{ *quant.Codes }

func (c coder) Scorer() hnsw.Scorer {
	m, _ := rank.MetricOf(c.Distance())
	return &scorer{codes: c.Codes, metric: m, each: make([]estimate, 1)}
}

// scorer estimates the raw values of a query.
type scorer struct {
	codes  *quant.Codes
	metric rank.Metric
	rank   *query.Rank
	each   []estimate // of its examples; without one, of the vector
	sum    []float32
	blend  rank.Blend
}

// estimate is that of one vector.
type estimate struct {
	unit    []float32
	scratch quant.Scratch
	quant.Scorer
}

// Prepare implements hnsw.Scorer.
func (s *scorer) Prepare(q *index.Query) {
	s.rank = nil
	if q.Rank == nil {
		s.aim(0, q.Vector)
		return
	}
	var ok bool
	if s.sum, ok = s.metric.Sum(q.Rank, s.sum); ok {
		s.each[0].Scorer = s.codes.Prepare(s.sum, &s.each[0].scratch)
		return
	}
	s.rank = q.Rank
	for i, e := range s.rank.Examples() {
		if i == len(s.each) {
			s.each = append(s.each, estimate{})
		}
		s.aim(i, e.Data)
	}
}

// aim takes a vector of any length, as a search by the vectors does.
func (s *scorer) aim(i int, v []float32) {
	e := &s.each[i]
	if s.metric.Normalize {
		e.unit = append(e.unit[:0], v...)
		kernel.Normalize(e.unit)
		v = e.unit
	}
	e.Scorer = s.codes.Prepare(v, &e.scratch)
}

// Gather implements hnsw.Scorer.
func (s *scorer) Gather(rows []uint32, raws []float32) {
	if s.rank == nil {
		s.each[0].Gather(rows, raws)
		return
	}
	s.blend.Raws(&s.metric, s.rank, raws, func(i, from int, raws []float32) { s.each[i].Gather(rows[from:from+len(raws)], raws) })
}

// Range implements hnsw.Scorer.
func (s *scorer) Range(from uint32, raws []float32) {
	if s.rank == nil {
		s.each[0].Range(from, raws)
		return
	}
	s.blend.Raws(&s.metric, s.rank, raws, func(i, at int, raws []float32) { s.each[i].Range(from+uint32(at), raws) })
}

// space is the rows as graphs see them.
func (s *Sealed) space() hnsw.Vectors {
	v := &s.dense
	return hnsw.Vectors{Float32: v.F32, Float16: v.F16, Uint8: v.U8, Turbo: v.Turbo, Dim: v.Size, Stride: v.Stride, Distance: s.schema.Distance, Has: v.Present}
}

// With is s with another artefact.
func (s *Sealed) With(k segment.Kind, b []byte) (*Sealed, error) {
	files := map[segment.Kind][]byte{k: b}
	for kind, old := range s.files {
		if kind != k {
			files[kind] = old
		}
	}
	return Open(s.schema, s.seg, s.dead, files)
}

// Has implements part.Vectors.
func (s *Sealed) Has(row uint32) bool {
	if s.schema.Kind == query.Dense {
		return s.index != nil && s.dense.Has(row)
	}
	_, ok := s.Vector(row)
	return ok
}

// Len implements part.Vectors.
func (s *Sealed) Len() int {
	switch {
	case s.sparse != nil:
		return s.sparse.Len()
	case s.multi != nil:
		return s.multi.Len()
	}
	return s.dense.Len
}

// Indexed is how many living vectors a search finds by an index.
func (s *Sealed) Indexed() int {
	switch {
	case s.sparse != nil:
		return s.sparse.Len()
	case s.graph == nil:
		return 0
	}
	n := s.dense.Len
	s.dead.Each(func(row uint32, _ uint64) {
		if s.dense.Has(row) {
			n--
		}
	})
	return n
}

// Vector implements part.Vectors.
func (s *Sealed) Vector(row uint32) (op.Vector, bool) {
	if s.schema.Kind == query.Dense {
		if !s.Has(row) {
			return op.Vector{}, false
		}
		return op.Vector{Name: s.schema.Name, Data: s.dense.At(row)}, true
	}
	v, ok := s.stored(row)
	return op.Vector{Name: s.schema.Name, Data: slices.Clone(v.Data), Indices: slices.Clone(v.Indices), Count: v.Count}, ok
}

// stored finds the value in a row's record.
func (s *Sealed) stored(row uint32) (point.Vector, bool) {
	var p point.Point
	if err := s.seg.Point(row, &p); err != nil {
		return point.Vector{}, false // its bytes were checked when the segment was opened
	}
	for _, v := range p.Vectors {
		if v.Name == s.key && v.Data != nil {
			return v, s.schema.Kind == query.Sparse && v.Indices != nil || s.schema.Kind == query.Multi && v.Count > 0
		}
	}
	return point.Vector{}, false
}

// Search implements part.Vectors.
func (s *Sealed) Search(ctx context.Context, qs []part.Query, at uint64) ([][]index.Hit, error) {
	switch {
	case s.index != nil:
		return s.searchDense(ctx, qs, at)
	case s.sparse != nil:
		return s.searchSparse(ctx, qs, at)
	case s.multi != nil:
		in := make([]multi.Query, len(qs))
		for i := range qs {
			in[i] = multi.Query{Query: qs[i].Query, Dead: s.deadAt(at)}
		}
		return s.multi.SearchBatch(ctx, in)
	}
	return make([][]index.Hit, len(qs)), nil
}

func (s *Sealed) deadAt(at uint64) func(uint32) bool {
	if s.dead.Len() == 0 {
		return nil
	}
	return func(row uint32) bool { return s.dead.Dead(row, at) }
}

func (s *Sealed) searchDense(ctx context.Context, qs []part.Query, at uint64) ([][]index.Hit, error) {
	in := make([]hnsw.Query, 0, len(qs))
	for i := range qs {
		p := &qs[i].Params
		q := hnsw.Query{Query: qs[i].Query, Bits: qs[i].Bits, At: at, Exact: p.Exact, Ef: p.Ef, Estimate: qs[i].Estimate, ScanBelow: qs[i].FullScan,
			IgnoreCodes: p.IgnoreCodes, Rescore: p.Rescore == nil || *p.Rescore, Oversampling: p.Oversampling}
		if qs[i].IndexedOnly && s.graph == nil {
			q.K = 0
		}
		in = append(in, q)
	}
	return s.index.SearchBatch(ctx, in)
}

func (s *Sealed) searchSparse(ctx context.Context, qs []part.Query, at uint64) (out [][]index.Hit, err error) {
	out = make([][]index.Hit, len(qs))
	for i := range qs {
		q := sparse.Query{Query: qs[i].Query, Indices: qs[i].Indices, Dead: s.deadAt(at), FullScan: qs[i].FullScan, Stored: s.weights}
		if out[i], err = s.sparse.Search(ctx, &q, nil); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// weights of a sparse vector.
func (s *Sealed) weights(row uint32) (sparse.Vector, bool) {
	v, ok := s.stored(row)
	return sparse.Vector{Indices: v.Indices, Weights: v.Data}, ok
}

// Frequency counts the rows that have an index of sparse vectors, those that died
// since the segment was made included.
func (s *Sealed) Frequency(dim uint32) uint64 {
	if s.sparse == nil {
		return 0
	}
	return uint64(s.sparse.Frequency(dim))
}
