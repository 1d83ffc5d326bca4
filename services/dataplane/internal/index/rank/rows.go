package rank

import (
	"fmt"
	"slices"

	"github.com/pandodb/pando/services/dataplane/internal/index"
	"github.com/pandodb/pando/services/dataplane/internal/kernel"
	"github.com/pandodb/pando/services/dataplane/internal/query"
	"github.com/pandodb/pando/services/dataplane/internal/query/turbo"
)

// Check tells whether q can be asked of vectors of dim elements. Errors: index.ErrDim,
// index.ErrRow.
func Check(q *index.Query, dim int) error {
	if q.Rank == nil && len(q.Vector) != dim {
		return fmt.Errorf("search: %w: %d, not %d", index.ErrDim, len(q.Vector), dim)
	}
	for i, e := range q.Rank.Examples() {
		if len(e.Data) != dim {
			return fmt.Errorf("search: example %d: %w: %d, not %d", i, index.ErrDim, len(e.Data), dim)
		}
	}
	return CheckRows(q)
}

// CheckRows gives index.ErrRow if q names rows that cannot be.
func CheckRows(q *index.Query) error {
	if len(q.Rows) > 0 {
		if top := slices.Max(q.Rows); top > index.MaxRow {
			return fmt.Errorf("search: %w: %d", index.ErrRow, top)
		}
	}
	return nil
}

// Rows are vectors in the form in which they are stored, Stride elements apart: one of
// Float32, Float16 (IEEE 754 binary16), Uint8 and Turbo, whose elements are bytes.
type Rows struct {
	Float32 []float32
	Float16 []uint16
	Uint8   []uint8
	Turbo   []uint8
	Stride  int
	Inverse []float32 // Uint8 and Cosine: 1 / length of each row
	Form
}

// Form is how vectors become what rows are compared with; the zero value is that of
// rows of floats.
type Form struct {
	Bytes bool         // rows of Uint8
	Coder *turbo.Coder // not nil: rows of Turbo
}

// Probe is what rows are compared with: a vector in their form, or the examples of a
// Rank. It is for one goroutine at a time.
type Probe struct {
	Floats  []float32
	Bytes   []uint8 // of rows of Uint8
	Inverse float32 // of Bytes, for Cosine: 1 / length
	turbo   turbo.Query

	ints  []int64   // what the kernel gives for Uint8
	own   []float32 // Floats, if they are of a query
	codes []uint8   // and Bytes
	rank  *query.Rank
	each  []Probe // its examples
	blend Blend
}

// Take makes p what a query asks for, of rows of a form.
func (p *Probe) Take(m *Metric, f Form, q *index.Query) {
	p.rank = nil
	if q.Rank == nil {
		p.Aim(m, f, q.Vector)
		return
	}
	if sum, ok := m.Sum(q.Rank, p.own); ok && !f.Bytes {
		if p.own, p.Floats = sum, sum; f.Coder != nil {
			f.Coder.Aim(&p.turbo, sum)
		}
		return
	}
	p.rank = q.Rank
	for i, e := range p.rank.Examples() {
		if i == len(p.each) {
			p.each = append(p.each, Probe{})
		}
		p.each[i].Aim(m, f, e.Data)
	}
}

// Aim makes p a vector, for Cosine of any length.
func (p *Probe) Aim(m *Metric, f Form, v []float32) {
	if f.Bytes {
		p.codes = AppendBytes(p.codes[:0], v)
		p.Bytes, p.Inverse = p.codes, Inverse(p.codes)
		return
	}
	p.own = append(p.own[:0], v...)
	if p.Floats = p.own; m.Normalize {
		kernel.Normalize(p.own)
	}
	if f.Coder != nil {
		f.Coder.Aim(&p.turbo, p.own)
	}
}

// Stand makes p one of rows of dim elements. It may lie in their memory.
func (p *Probe) Stand(r *Rows, dim int, row uint32) {
	at := int(row) * r.Stride
	switch {
	case r.Float32 != nil:
		p.Floats = r.Float32[at : at+dim : at+dim]
	case r.Float16 != nil:
		p.own = slices.Grow(p.own[:0], dim)[:dim]
		kernel.Widen(p.own, r.Float16[at:at+dim])
		p.Floats = p.own
	case r.Turbo != nil:
		r.Coder.Stand(&p.turbo, r.Turbo[at:])
	default:
		p.Bytes = r.Uint8[at : at+dim : at+dim]
		if r.Inverse != nil {
			p.Inverse = r.Inverse[row]
		}
	}
}

// Release forgets the query.
func (p *Probe) Release() { p.rank = nil }

// Gather sets raws[i] to the raw value of p and row rows[i].
func (r *Rows) Gather(m *Metric, p *Probe, rows []uint32, raws []float32) {
	switch {
	case p.rank != nil:
		p.blend.Raws(m, p.rank, raws, func(i, from int, raws []float32) {
			r.Gather(m, &p.each[i], rows[from:from+len(raws)], raws)
		})
	case r.Float32 != nil:
		m.Raw.GatherFloat32(p.Floats, kernel.Rows[float32]{Data: r.Float32, Stride: r.Stride}, rows, raws)
	case r.Float16 != nil:
		m.Raw.GatherFloat16(p.Floats, kernel.Rows[uint16]{Data: r.Float16, Stride: r.Stride}, rows, raws)
	case r.Turbo != nil:
		r.Coder.Compare(m.Raw, &p.turbo, turbo.Rows{Data: r.Turbo, Stride: r.Stride}, rows, raws)
	default:
		ints := p.room(len(raws))
		m.Raw.GatherUint8(p.Bytes, kernel.Rows[uint8]{Data: r.Uint8, Stride: r.Stride}, rows, ints)
		for i, n := range ints {
			raws[i] = float32(n)
		}
		if r.Inverse != nil {
			for i, row := range rows {
				raws[i] *= p.Inverse * r.Inverse[row]
			}
		}
	}
}

// Range sets raws[i] to the raw value of p and row first+i.
func (r *Rows) Range(m *Metric, p *Probe, first int, raws []float32) {
	at := first * r.Stride
	switch {
	case p.rank != nil:
		p.blend.Raws(m, p.rank, raws, func(i, from int, raws []float32) { r.Range(m, &p.each[i], first+from, raws) })
	case r.Float32 != nil:
		m.Raw.Float32(p.Floats, kernel.Rows[float32]{Data: r.Float32[at:], Stride: r.Stride}, raws)
	case r.Float16 != nil:
		m.Raw.Float16(p.Floats, kernel.Rows[uint16]{Data: r.Float16[at:], Stride: r.Stride}, raws)
	case r.Turbo != nil:
		r.Coder.Compare(m.Raw, &p.turbo, turbo.Rows{Data: r.Turbo[at:], Stride: r.Stride}, nil, raws)
	default:
		ints := p.room(len(raws))
		m.Raw.Uint8(p.Bytes, kernel.Rows[uint8]{Data: r.Uint8[at:], Stride: r.Stride}, ints)
		for i, n := range ints {
			raws[i] = float32(n)
		}
		if r.Inverse != nil {
			for i, inv := range r.Inverse[first:][:len(raws)] {
				raws[i] *= p.Inverse * inv
			}
		}
	}
}

// rooms is how many values room is made for at least.
const rooms = 256

func (p *Probe) room(n int) []int64 {
	if len(p.ints) < n {
		p.ints = make([]int64, max(n, rooms))
	}
	return p.ints[:n]
}
