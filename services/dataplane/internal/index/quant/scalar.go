package quant

import (
	"context"
	"encoding/binary"
	"math"
	"slices"
	"unsafe"

	"github.com/pandodb/pando/services/dataplane/internal/kernel"
)

// scalar codes map each element to one signed byte: x ≈ offset + scale*c. For
// inner products and Euclidean distances vectors are centred and rotated before,
// and offset is 0: so no few elements widen the range of all. A query has a scale
// of its own, for its elements need not lie in the range of the rows:
//
//	dot  <x,q>   = <centre,q> + scale*step*<c,f>                       rotated q ≈ step*f
//	L2   |x-q|²  = scale²*|c|² + step²*|f|² - 2*scale*step*<c,f>       rotated q-centre ≈ step*f
//	L1           = scale*sum|c-f| + what of q lies outside of the range
//
// A row of L2 ends with scale²*|c|². The kernels add bytes up exactly, so all 255
// codes but -128 are used.
type scalar struct {
	dim           int
	metric        kernel.Metric
	offset, scale float32
	spread        *spread // nil for L1
}

const (
	top         = 127     // greatest code
	scalarFloat = 1 << 20 // of about so many elements quantiles are taken
)

func (s *scalar) tables() []float32 {
	t := []float32{s.offset, s.scale}
	if s.spread != nil {
		t = append(t, s.spread.centre...)
	}
	return t
}

func newScalar(c *Codes, s *spread) *scalar {
	x := &scalar{dim: c.dim, metric: c.metric.Raw, spread: s}
	if s != nil {
		x.dim = s.n
	}
	return x
}

func restoreScalar(c *Codes, tables []float32) scheme {
	if c.metric.Raw == kernel.L1 && len(tables) == 2 {
		s := newScalar(c, nil)
		s.offset, s.scale = tables[0], tables[1]
		return s
	}
	if c.metric.Raw != kernel.L1 && len(tables) == 2+c.dim && tables[0] == 0 {
		s := newScalar(c, newSpread(c.dim, tables[2:]))
		s.scale = tables[1]
		return s
	}
	return nil
}

func learnScalar(ctx context.Context, c *Codes, v *Vectors, threads int) (*scalar, error) {
	var s *scalar
	if c.metric.Raw == kernel.L1 {
		s = newScalar(c, nil)
	} else {
		turned := learnSpread(v)
		s = newScalar(c, turned)
	}
	if c.settings.Quantile == 1 {
		return s, s.cover(ctx, v, threads)
	}
	rows := v.sample(max(128, scalarFloat/s.dim))
	pool := make([]float32, len(rows)*s.dim)
	var memory []float32
	for i, r := range rows {
		s.put(pool[i*s.dim:][:s.dim], v.read(r, &memory))
	}
	s.fit(pool, float64(c.settings.Quantile))
	return s, ctx.Err()
}

// put sets dst to the elements that codes are made of.
func (s *scalar) put(dst, v []float32) {
	if s.spread != nil {
		s.spread.put(dst, v)
		return
	}
	for i, x := range v {
		dst[i] = finite(x)
	}
}

// cover takes all elements of all rows into the range.
func (s *scalar) cover(ctx context.Context, v *Vectors, threads int) error {
	blocks := (v.rows() + some - 1) / some
	lows, highs := make([]float32, blocks), make([]float32, blocks)
	err := share(ctx, threads, blocks, func() func(int) {
		x, memory := make([]float32, s.dim), []float32(nil)
		return func(block int) {
			lo, hi := float32(math.Inf(1)), float32(math.Inf(-1))
			for r := block * some; r < min(v.rows(), (block+1)*some); r++ {
				if !v.skip(r) {
					s.put(x, v.read(r, &memory))
					for _, u := range x {
						if u < lo {
							lo = u
						}
						if u > hi {
							hi = u
						}
					}
				}
			}
			lows[block], highs[block] = lo, hi
		}
	})
	if err != nil {
		return err
	}
	lo, hi := float32(math.Inf(1)), float32(math.Inf(-1))
	for i := range lows {
		lo, hi = min(lo, lows[i]), max(hi, highs[i])
	}
	if lo > hi {
		lo, hi = 0, 0
	}
	s.between(lo, hi)
	return nil
}

// between sets the range.
func (s *scalar) between(lo, hi float32) {
	if s.spread != nil {
		hi = max(hi, -lo)
		lo = -hi
	}
	s.offset = float32((float64(lo) + float64(hi)) / 2)
	s.scale = float32((float64(hi) - float64(lo)) / (2 * top))
}

// fit sets the range to that with the least squared error, of those that the share
// q of the elements lies in, or more. It sorts the elements.
func (s *scalar) fit(pool []float32, q float64) {
	if len(pool) == 0 {
		return
	}
	slices.Sort(pool)
	n := len(pool)
	least := math.Inf(1)
	var best *scalar
	for cut := int(float64(n) * (1 - q) / 2); ; cut /= 2 {
		c := *s
		c.between(pool[cut], pool[n-1-cut])
		reach := float64(top * float64(c.scale))
		lo, hi := float64(c.offset)-reach, float64(c.offset)+reach
		var outside float64
		for i := 0; i < n && float64(pool[i]) < lo; i++ {
			d := lo - float64(pool[i])
			outside += float64(d * d)
		}
		for i := n - 1; i >= 0 && float64(pool[i]) > hi; i-- {
			d := float64(pool[i]) - hi
			outside += float64(d * d)
		}
		if e := float64(float64(c.scale)*float64(c.scale)/12*float64(n)) + outside; e < least {
			least, best = e, &c
		}
		if cut == 0 {
			break
		}
	}
	if best != nil {
		*s = *best
	}
}

func (s *scalar) size() int {
	if s.metric == kernel.L2 {
		return padded(padded(s.dim, 4)+4, unit)
	}
	return padded(s.dim, unit)
}

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

// toBytes sets dst to the codes of x, and gives the sum of their squares.
func toBytes(dst []int8, x []float32, offset, step float32) (squares int64) {
	inv := inverse(step)
	for i, u := range x {
		c := toByte(u, offset, inv)
		dst[i] = c
		squares += int64(c) * int64(c)
	}
	return squares
}

// stepOf is the step with which all of x lies in the range of codes around 0.
func stepOf(x []float32) float32 {
	var most float32
	for _, u := range x {
		most = max(most, u, -u)
	}
	return most / top
}

func (s *scalar) encoder() func(dst []byte, v []float32) {
	x := make([]float32, s.dim)
	return func(dst []byte, v []float32) {
		s.put(x, v)
		squares := toBytes(signed(dst), x, s.offset, s.scale)
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
	*p = scalarScorer{c: c, q: signed(raw), sums: sc.sums[:], metric: kernel.Dot, term: s.metric == kernel.L2}
	clear(p.q[s.dim:])
	x, step := q, s.scale
	scale := float64(s.scale)
	if s.metric == kernel.L1 {
		p.metric, p.base, p.times = kernel.L1, s.outside(q), scale
	} else {
		x = room(&sc.floats, s.dim)
		if s.metric == kernel.L2 {
			s.spread.put(x, q)
		} else {
			clear(x[copy(x, q):])
			s.spread.Turn(x)
			p.base = float64(kernel.Dot.PairFloat32(s.spread.centre, q))
		}
		step = stepOf(x)
		p.times = scale * float64(step)
	}
	squares := toBytes(p.q, x, s.offset, step)
	if s.metric == kernel.L2 {
		p.base = float64(step) * float64(step) * float64(squares)
		p.times *= -2
	}
	return p
}

// outside adds up what of q lies outside of the range of the codes.
func (s *scalar) outside(q []float32) (sum float64) {
	reach := float32(top * s.scale)
	lo, hi := s.offset-reach, s.offset+reach
	for _, x := range q {
		sum += float64(max(0, x-hi) + max(0, lo-x))
	}
	return sum
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
