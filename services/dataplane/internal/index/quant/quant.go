// Package quant makes short codes of the vectors of a sealed segment, and
// estimates from them how near rows are to a query. Codes follow from vectors and
// settings to the byte, on every machine and with any number of threads, so that
// replicas agree. It searches nothing, keeps no vectors and knows no files.
//
// Numbers that belong to a row of codes lie at its end, in the cache line that is
// being read anyway. Rows that vector code reads are a multiple of 32 bytes, so
// that AVX2 takes them whole.
package quant

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/pandodb/pando/services/dataplane/internal/index"
	"github.com/pandodb/pando/services/dataplane/internal/index/rank"
	"github.com/pandodb/pando/services/dataplane/internal/kernel"
	"github.com/pandodb/pando/services/dataplane/internal/query"
	"github.com/pandodb/pando/services/internal/vfs"
)

// ErrSettings reports a quantization that there is not, or a parameter of it
// outside of its range.
var ErrSettings = errors.New("unknown quantization settings")

// unit is what the bytes of a row are a multiple of, if vector code reads it.
const unit = 32

// some is how many rows are worked on at a time.
const some = 256

// Vectors are the rows of one vector space, in the form in which they are stored
// (of length 1 for Cosine).
type Vectors struct {
	// Data holds row i from float i*Stride on. Where rows are of another type it is nil,
	// and Read, which several goroutines call, sets dst to a row of Rows.
	Data []float32
	Rows int
	Read func(row uint32, dst []float32)
	// Dim is the length of a vector, Stride how far rows are apart: at least Dim.
	Dim, Stride int
	// Skip tells which rows have no vector, or are dead: they get codes of zeros,
	// and the others' do not depend on them. Nil: none. It is called by several
	// goroutines.
	Skip func(row uint32) bool
}

func (v Vectors) rows() int {
	if v.Read != nil {
		return v.Rows
	}
	return len(v.Data) / v.Stride
}

func (v Vectors) row(r int) []float32 { return v.Data[r*v.Stride:][:v.Dim] }

// read is row r of any type, good until the next with the same memory.
func (v Vectors) read(r int, memory *[]float32) []float32 {
	if v.Read == nil {
		return v.row(r)
	}
	v.Read(uint32(r), room(memory, v.Dim))
	return *memory
}

func (v Vectors) skip(r int) bool { return v.Skip != nil && v.Skip(uint32(r)) }

// sample gives at most n rows, evenly spaced among those that are not skipped.
func (v Vectors) sample(n int) []int {
	var all []int
	for r := range v.rows() {
		if !v.skip(r) {
			all = append(all, r)
		}
	}
	if len(all) <= n {
		return all
	}
	for i := range n {
		all[i] = all[i*len(all)/n]
	}
	return all[:n]
}

// scheme is one kind of codes, with what was learned from the vectors.
type scheme interface {
	// size is how many bytes a row takes.
	size() int
	// encoder makes a function that writes the codes of v to dst, which is zero. The
	// function has memory of its own, so each goroutine needs one.
	encoder() func(dst []byte, v []float32)
	// prepare makes s ready for a query.
	prepare(c *Codes, q []float32, s *Scratch) Scorer
	// tables are what was learned, for the codec.
	tables() []float32
}

// Codes are the codes of all rows. They do not change, so any number of goroutines may use them.
type Codes struct {
	rows, dim int
	metric    rank.Metric
	settings  query.Quantization
	scheme    scheme
	stride    int // bytes from row to row
	data      []byte
}

// Rows counts the rows, with those that were skipped.
func (c *Codes) Rows() int { return c.rows }

// Dim is the length of a vector.
func (c *Codes) Dim() int { return c.dim }

// Distance is what the codes were made for.
func (c *Codes) Distance() query.Distance { return c.metric.Distance }

// Settings are those of the codes, without AlwaysRAM, which is not about them.
func (c *Codes) Settings() query.Quantization { return c.settings }

// RowBytes is what one row takes.
func (c *Codes) RowBytes() int { return c.stride }

// Scorer estimates raw values of rank.Metric between a query and rows: inner
// products, squared Euclidean or Manhattan distances. It is good until its
// Scratch prepares another query, for one goroutine at a time.
type Scorer interface {
	// Gather sets raws[i] to the estimate for rows[i]. It panics if that row does
	// not exist, or if rows and raws differ in length.
	Gather(rows []uint32, raws []float32)
	// Range sets raws[i] to the estimate for row from+i. It panics if there is none.
	Range(from uint32, raws []float32)
	// Deviations sets sds[i] to the standard deviation of the error of the estimate
	// for rows[i], and is false if the kind of codes does not know it. Three of them
	// hold for all but one row in a thousand.
	Deviations(rows []uint32, sds []float32) bool
}

// Scratch is the memory of a query, used again by the next. The zero value is
// ready. It is for one goroutine at a time.
type Scratch struct {
	floats       []float32
	bytes        []uint8
	sums, totals [some]int64
	scalar       scalarScorer
	bits         bitsScorer
	levels       levelScorer
	tables       [][kernel.Columns]float32
	product      productScorer
}

// room gives s of length n, with old contents.
func room[E any](s *[]E, n int) []E {
	if cap(*s) < n {
		*s = make([]E, n)
	}
	*s = (*s)[:n]
	return *s
}

// Prepare encodes a query into the memory of s. For Cosine, raws are in proportion
// to the query's length. It panics if query has another dimension.
func (c *Codes) Prepare(query []float32, s *Scratch) Scorer {
	if len(query) != c.dim {
		panic("quant: the query has another dimension")
	}
	return c.scheme.prepare(c, query, s)
}

// newCodes checks what describes codes.
func newCodes(rows, dim int, d query.Distance, q query.Quantization) (*Codes, error) {
	m, ok := rank.MetricOf(d)
	switch {
	case !ok:
		return nil, fmt.Errorf("quant: unknown distance %d", d)
	case dim < 1 || dim > kernel.MaxDim:
		return nil, fmt.Errorf("quant: %w: %d is not in 1..%d", index.ErrDim, dim, kernel.MaxDim)
	case rows > int(index.MaxRow)+1:
		return nil, fmt.Errorf("quant: %w: %d rows", index.ErrRow, rows)
	}
	// What the kind does not use must not make a difference.
	s := query.Quantization{Kind: q.Kind}
	switch q.Kind {
	case query.ScalarQuantization:
		if s.Quantile = q.Quantile; q.Quantile == 0 {
			s.Quantile = 1
		}
		if !(s.Quantile >= 0.5 && s.Quantile <= 1) {
			return nil, fmt.Errorf("quant: %w: quantile %v is not in 0.5..1", ErrSettings, q.Quantile)
		}
	case query.ProductQuantization:
		s.Compression = q.Compression
		if x := q.Compression; x < 4 || x > 64 || x&(x-1) != 0 {
			return nil, fmt.Errorf("quant: %w: product compression %d is not 4, 8, 16, 32 or 64", ErrSettings, x)
		}
	case query.BinaryQuantization:
		s.Encoding, s.Query = q.Encoding, q.Query
		if s.Encoding > query.OneAndHalfBits || s.Query != query.OneBit && s.Query != query.Scalar4Bits && s.Query != query.Scalar8Bits {
			return nil, fmt.Errorf("quant: %w: binary encoding %d, of queries %d", ErrSettings, q.Encoding, q.Query)
		}
	case query.TurboQuantization:
		s.Encoding = q.Encoding
		if s.Encoding > query.OneAndHalfBits && s.Encoding != query.FourBits {
			return nil, fmt.Errorf("quant: %w: turbo encoding %d", ErrSettings, q.Encoding)
		}
	default:
		return nil, fmt.Errorf("quant: %w: kind %d", ErrSettings, q.Kind)
	}
	return &Codes{rows: rows, dim: dim, metric: m, settings: s}, nil
}

// Build makes codes of the rows of v, by so many goroutines. Errors: ErrSettings,
// about v, or ctx's.
func Build(ctx context.Context, v Vectors, d query.Distance, q query.Quantization, threads int) (*Codes, error) {
	if v.Dim < 1 || v.Read == nil && (v.Stride < v.Dim || len(v.Data)%v.Stride != 0) {
		return nil, fmt.Errorf("quant: %d floats are not rows of %d, %d apart", len(v.Data), v.Dim, v.Stride)
	}
	c, err := newCodes(v.rows(), v.Dim, d, q)
	if err != nil {
		return nil, err
	}
	switch c.settings.Kind {
	case query.ScalarQuantization:
		c.scheme, err = learnScalar(ctx, c, &v, threads)
	case query.ProductQuantization:
		c.scheme, err = learnProduct(ctx, c, &v, threads)
	case query.BinaryQuantization, query.TurboQuantization:
		c.scheme = newFew(c, learnSpread(&v))
	}
	if err != nil {
		return nil, fmt.Errorf("codes: %w", err)
	}
	c.stride = c.scheme.size()
	c.data = make([]byte, c.rows*c.stride)
	err = share(ctx, threads, (c.rows+some-1)/some, func() func(int) {
		encode := c.scheme.encoder()
		var memory []float32
		return func(block int) {
			for r := block * some; r < min(c.rows, (block+1)*some); r++ {
				if !v.skip(r) {
					encode(c.data[r*c.stride:][:c.stride], v.read(r, &memory))
				}
			}
		}
	})
	if err != nil {
		return nil, fmt.Errorf("codes: %w", err)
	}
	return c, nil
}

func padded(n, to int) int { return (n + to - 1) / to * to }

// share does n pieces of work that do not depend on each other. Each goroutine
// asks for its worker once.
func share(ctx context.Context, threads, n int, worker func() func(piece int)) error {
	var next atomic.Int64
	var group vfs.Group
	for range max(1, min(threads, n)) {
		group.Go(func() {
			work := worker()
			for i := int(next.Add(1)) - 1; i < n && ctx.Err() == nil; i = int(next.Add(1)) - 1 {
				work(i)
			}
		})
	}
	group.Wait()
	return ctx.Err()
}
