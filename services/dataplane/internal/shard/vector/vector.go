// Package vector is one named vector of a part of a shard: dense, sparse or multi,
// in a tail or in a segment, with the artefacts that make it quick to search.
package vector

import (
	"context"
	"slices"

	"github.com/pandodb/pando/services/dataplane/internal/index"
	"github.com/pandodb/pando/services/dataplane/internal/index/flat"
	"github.com/pandodb/pando/services/dataplane/internal/index/multi"
	"github.com/pandodb/pando/services/dataplane/internal/index/sparse"
	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/query"
	"github.com/pandodb/pando/services/dataplane/internal/shard/part"
	"github.com/pandodb/pando/services/dataplane/internal/shard/part/arena"
)

// NewStore makes the store of a tail, a part.Store.
func NewStore(v query.VectorSchema) (part.Vectors, error) {
	switch v.Kind {
	case query.Sparse:
		return &sparseStore{v.Name, sparse.NewTail(v.Datatype), map[uint32]op.Vector{}}, nil
	case query.Multi:
		t, err := multi.NewTail(multi.Space{Dim: v.Size, Distance: v.Distance, Datatype: v.Datatype})
		return &multiStore{v.Name, t}, err
	default:
		x, err := flat.New(v.Size, v.Distance, flat.Options{Bytes: v.Datatype == query.Uint8, Turbo: v.Datatype == query.Turbo4})
		return &denseStore{name: v.Name, index: x}, err
	}
}

// denseStore keeps dense vectors in an index.
type denseStore struct {
	name  string
	index index.Index
	has   arena.Bits
}

func (d *denseStore) Put(row uint32, v op.Vector) error {
	if err := d.index.Put(row, v.Data); err != nil {
		return err
	}
	d.has.Set(row)
	return nil
}

func (d *denseStore) Delete(row uint32) {
	d.index.Delete(row)
	d.has.Clear(row)
}

func (d *denseStore) Has(row uint32) bool { return d.has.Has(row) }

func (d *denseStore) Len() int { return d.index.Len() }

func (d *denseStore) Vector(row uint32) (op.Vector, bool) {
	v, ok := d.index.Vector(row, nil)
	return op.Vector{Name: d.name, Data: v}, ok
}

// Search leaves it to whoever has rows die that they are not accepted; so do the
// other stores.
func (d *denseStore) Search(ctx context.Context, qs []part.Query, _ uint64) ([][]index.Hit, error) {
	in := make([]index.Query, len(qs))
	for i := range qs {
		in[i] = qs[i].Query
	}
	return d.index.SearchBatch(ctx, in)
}

// sparseStore keeps sparse vectors, as they are stored beside their rounded weights.
type sparseStore struct {
	name   string
	tail   *sparse.Tail
	stored map[uint32]op.Vector
}

func (s *sparseStore) Put(row uint32, v op.Vector) error {
	if err := s.tail.Put(row, sparse.Vector{Indices: v.Indices, Weights: v.Data}); err != nil {
		return err
	}
	s.stored[row] = op.Vector{Name: s.name, Data: slices.Clone(v.Data), Indices: slices.Clone(v.Indices)}
	return nil
}

func (s *sparseStore) Delete(row uint32) {
	s.tail.Delete(row)
	delete(s.stored, row)
}

func (s *sparseStore) Has(row uint32) bool { _, ok := s.stored[row]; return ok }

func (s *sparseStore) Len() int { return len(s.stored) }

func (s *sparseStore) Vector(row uint32) (op.Vector, bool) {
	v, ok := s.stored[row]
	return v, ok
}

func (s *sparseStore) Frequency(dim uint32) uint64 { return uint64(s.tail.Frequency(dim)) }

func (s *sparseStore) Search(ctx context.Context, qs []part.Query, _ uint64) (out [][]index.Hit, err error) {
	out = make([][]index.Hit, len(qs))
	for i := range qs {
		q := sparse.Query{Query: qs[i].Query, Indices: qs[i].Indices}
		if out[i], err = s.tail.Search(ctx, &q, nil); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// multiStore keeps multi-vectors.
type multiStore struct {
	name string
	tail *multi.Tail
}

func (m *multiStore) Put(row uint32, v op.Vector) error { return m.tail.Put(row, v.Data) }

func (m *multiStore) Delete(row uint32) { m.tail.Delete(row) }

func (m *multiStore) Has(row uint32) bool {
	_, n := m.tail.Vector(row, nil)
	return n > 0
}

func (m *multiStore) Len() int { return m.tail.Len() }

func (m *multiStore) Vector(row uint32) (op.Vector, bool) {
	data, n := m.tail.Vector(row, nil)
	return op.Vector{Name: m.name, Data: data, Count: n}, n > 0
}

func (m *multiStore) Search(ctx context.Context, qs []part.Query, _ uint64) ([][]index.Hit, error) {
	in := make([]multi.Query, len(qs))
	for i := range qs {
		in[i] = multi.Query{Query: qs[i].Query}
	}
	return m.tail.SearchBatch(ctx, in)
}
