package quant

import (
	"encoding/binary"
	"math"
	"unsafe"

	"github.com/pandodb/pando/services/dataplane/internal/kernel"
)

// scalar codes map each element to one signed byte: x ≈ offset + scale*c. A query
// has a scale of its own, for its elements need not lie in the range of the rows:
//
//	dot  <x,q>   = offset*sum(q) + scale*step*<c,f>                    q ≈ step*f
//	L2   |x-q|²  = scale²*|c|² + step²*|f|² - 2*scale*step*<c,f>       q-offset ≈ step*f
//	L1           = scale*sum|c-f| + what of q lies outside of the range
//
// A row of L2 ends with scale²*|c|². The kernels add bytes up exactly, so all 255
// codes but -128 are used.
type scalar struct {
	dim           int
	metric        kernel.Metric
	offset, scale float32
}

const (
	top         = 127     // greatest code
	scalarFloat = 1 << 20 // of about so many elements quantiles are taken
)

func learnScalar(c *Codes, v *Vectors) *scalar {
	var lo, hi float32
	if c.settings.Quantile == 1 {
		lo, hi = v.extremes()
	} else {
		rows := v.sample(max(128, scalarFloat/c.dim))
		pool := make([]float32, 0, len(rows)*c.dim)
		for _, r := range rows {
			pool = append(pool, v.row(r)...)
		}
		lo, hi = quantiles(pool, float64(c.settings.Quantile))
	}
	s := &scalar{dim: c.dim, metric: c.metric.Raw}
	s.offset = float32((float64(lo) + float64(hi)) / 2)
	s.scale = float32((float64(hi) - float64(lo)) / (2 * top))
	return s
}

// extremes are the least and the greatest element.
func (v Vectors) extremes() (lo, hi float32) {
	first := true
	for r := range v.rows() {
		if v.skip(r) {
			continue
		}
		row := v.row(r)
		if first {
			lo, hi, first = row[0], row[0], false
		}
		for _, x := range row {
			if x < lo {
				lo = x
			}
			if x > hi {
				hi = x
			}
		}
	}
	return lo, hi
}

func (s *scalar) size() int {
	if s.metric == kernel.L2 {
		return padded(s.dim, 4) + 4
	}
	return s.dim
}

func (s *scalar) tables() []float32 { return []float32{s.offset, s.scale} }

// inverse is 0 if x is.
func inverse(x float32) float32 {
	if inv := 1 / x; x != 0 && !math.IsInf(float64(inv), 0) {
		return inv
	}
	return 0
}

// toByte rounds (x-offset)*inv to the nearest code; NaN is 0.
func toByte(x, offset, inv float32) int8 {
	t := float32((x - offset) * inv)
	switch {
	case t >= top:
		return top
	case t <= -top:
		return -top
	case t != t:
		return 0
	}
	const whole = 3 << 22 // from here on float32 has no fractions
	return int8(math.Float32bits(t + whole))
}

func (s *scalar) encoder() func(dst []byte, v []float32) {
	inv := inverse(s.scale)
	return func(dst []byte, v []float32) {
		var squares int64
		for i, x := range v {
			c := toByte(x, s.offset, inv)
			dst[i] = uint8(c)
			squares += int64(c) * int64(c)
		}
		if s.metric == kernel.L2 {
			norm := float32(float64(s.scale) * float64(s.scale) * float64(squares))
			binary.LittleEndian.PutUint32(dst[len(dst)-4:], math.Float32bits(norm))
		}
	}
}

// scalarScorer is a query against scalar codes: raw = base + times*sum + the row's term.
type scalarScorer struct {
	c           *Codes
	q           []int8 // as long as a row, with zeros behind the vector
	sums        []int64
	base, times float64
	metric      kernel.Metric // of the bytes
	term        bool          // a row ends with a number to add
}

func (s *scalar) prepare(c *Codes, q []float32, sc *Scratch) Scorer {
	raw := room(&sc.bytes, min(c.stride, kernel.MaxDim))
	p := &sc.scalar
	*p = scalarScorer{c: c, q: signed(raw), sums: sc.sums[:], metric: kernel.Dot}
	clear(p.q[s.dim:])
	var sum, squares, outside float64
	var most float32
	lo, hi := s.offset-top*s.scale, s.offset+top*s.scale
	centre := float32(0)
	if s.metric == kernel.L2 {
		centre = s.offset
	}
	for _, x := range q {
		sum += float64(x)
		outside += float64(max(0, x-hi) + max(0, lo-x))
		most = max(most, max(x-centre, centre-x))
	}
	step := most / top
	if s.metric == kernel.L1 {
		step, centre = s.scale, s.offset
	}
	inv := inverse(step)
	for i, x := range q {
		f := toByte(x, centre, inv)
		p.q[i] = f
		squares += float64(int64(f) * int64(f))
	}
	scale, wide := float64(s.scale), float64(step)
	switch s.metric {
	case kernel.Dot:
		p.base, p.times = float64(s.offset)*sum, scale*wide
	case kernel.L2:
		p.base, p.times, p.term = wide*wide*squares, -2*scale*wide, true
	default:
		p.metric, p.base, p.times = kernel.L1, outside, scale
	}
	return p
}

func signed(b []uint8) []int8 {
	return unsafe.Slice((*int8)(unsafe.Pointer(unsafe.SliceData(b))), len(b))
}

// Deviations implements Scorer: what quantiles cut off is no random error.
func (p *scalarScorer) Deviations([]uint32, []float32) bool { return false }

// Gather implements Scorer.
func (p *scalarScorer) Gather(rows []uint32, raws []float32) {
	if len(rows) != len(raws) {
		panic("quant: rows do not fit raws")
	}
	table := kernel.Rows[int8]{Data: signed(p.c.data), Stride: p.c.stride}
	for len(rows) > 0 {
		n := min(some, len(rows))
		p.metric.GatherInt8(p.q, table, rows[:n], p.sums[:n])
		for i, sum := range p.sums[:n] {
			raws[i] = p.raw(sum, int(rows[i]))
		}
		rows, raws = rows[n:], raws[n:]
	}
}

// Range implements Scorer.
func (p *scalarScorer) Range(from uint32, raws []float32) {
	for at := int(from); len(raws) > 0; {
		n := min(some, len(raws))
		p.metric.Int8(p.q, kernel.Rows[int8]{Data: signed(p.c.data[at*p.c.stride:]), Stride: p.c.stride}, p.sums[:n])
		for i, sum := range p.sums[:n] {
			raws[i] = p.raw(sum, at+i)
		}
		raws, at = raws[n:], at+n
	}
}

func (p *scalarScorer) raw(sum int64, row int) float32 {
	raw := p.base + float64(p.times*float64(sum))
	if p.term {
		raw = max(0, raw+float64(float(p.c.data[(row+1)*p.c.stride-4:])))
	}
	return float32(raw)
}

func float(b []byte) float32 { return math.Float32frombits(binary.LittleEndian.Uint32(b)) }
