package view

import (
	"context"
	"slices"

	"github.com/pandodb/pando/services/dataplane/internal/filter"
	"github.com/pandodb/pando/services/dataplane/internal/query"
	"github.com/pandodb/pando/services/dataplane/internal/shard/part"
)

// counted counts the rows of sparse vectors that have an index.
type counted interface{ Frequency(index uint32) uint64 }

// Frequencies counts the points with a sparse vector, and those of them that have
// each index. Without a corpus, rows that died since their segment was made are
// counted until it is merged, and so are those that an overlay hides.
func (s *Reads) Frequencies(ctx context.Context, q query.Frequencies) (points uint64, each []uint64, err error) {
	r := s.read()
	defer r.end()
	if f := r.tail.Field(q.Using); f == nil || f.Kind != query.Sparse {
		return 0, nil, &part.VectorNameError{Name: q.Using}
	}
	m, err := r.compile(&q.Corpus)
	if err != nil {
		return 0, nil, err
	}
	each = make([]uint64, len(q.Indices))
	err = r.each(func(v part.View) error {
		f := v.Field(q.Using)
		exact := r.inTail && v.Hides()
		if x, ok := f.Vectors.(counted); ok && m.All() && !exact {
			points += uint64(f.Len())
			for i, dim := range q.Indices {
				each[i] += x.Frequency(dim)
			}
			return nil
		}
		return countRows(ctx, v, f, m, &q, &points, each)
	})
	return points, each, err
}

// countRows looks at the vectors of the rows of a corpus.
func countRows(ctx context.Context, v part.View, f *part.Field, m *filter.Matcher, q *query.Frequencies, points *uint64, each []uint64) error {
	return v.Scan(ctx, v.Choose(m, q.Corpus), func(row uint32) {
		x, ok := f.Vector(row)
		if !ok {
			return
		}
		*points++
		for i, dim := range q.Indices {
			if _, has := slices.BinarySearch(x.Indices, dim); has {
				each[i]++
			}
		}
	})
}
