package quant

import (
	"encoding/binary"
	"math"
	"math/bits"

	"github.com/pandodb/pando/services/dataplane/internal/kernel"
	"github.com/pandodb/pando/services/dataplane/internal/query"
)

// bitCodes are codes of one bit for each element of a row, and of a second one for
// the first of them: for none, half or all. An element with one bit is ±1 (a half of
// them: ±half), one with two ±1/2, ±3/2.
//
// Elements of a query are numbers of some bits, lowest + step*f, whose bits are
// planes: the codes are compared with a plane by counting common bits.
type bitCodes struct {
	estimator
	second int     // elements with a second bit
	half   float32 // what an element with one bit counts, beside others with two
	query  int     // bits for an element of a query; 0: as rows
	// cosines are those of the angles at which so many bits differ, if rows and
	// queries have one bit for each element. The estimator takes near vectors for
	// nearer than they are then, for their codes are wrong in the same places.
	cosines []float32
}

// The terms of a row are followed by the sum of its codes as numbers from 0 on: 2*first bit + second.
const sumBytes = 4

// gap is the distance of the four levels that approximate a normal distribution of
// deviation 1 best, sign the two.
const (
	gap  = 0.9957
	sign = 0.7979
)

func newBits(c *Codes, s *spread) *bitCodes {
	b := &bitCodes{estimator: estimator{spread: s, metric: c.metric.Raw}, half: 1}
	switch c.settings.Encoding {
	case query.TwoBits:
		b.second = s.n
	case query.OneAndHalfBits:
		b.second, b.half = s.n/2, sign/gap
	}
	switch {
	case c.settings.Query == query.Scalar4Bits:
		b.query = 4
	case c.settings.Query == query.Scalar8Bits || c.settings.Kind == query.TurboQuantization:
		b.query = 8
	}
	const fourLevels = 0.25 + 2*0.3194 // 31.94 % of the elements are beyond a gap
	b.squared = float64(fourLevels*float64(b.second)) + float64(float64(b.half)*float64(b.half)*float64(s.n-b.second))
	if b.query == 0 && b.second == 0 {
		b.cosines = make([]float32, s.n+1)
		for i := range b.cosines {
			b.cosines[i] = float32(math.Cos(math.Pi * float64(i) / float64(s.n)))
		}
	}
	return b
}

// codeBytes is how many bytes the bits of a row take.
func (b *bitCodes) codeBytes() int { return (b.n + b.second) / 8 }

func (b *bitCodes) size() int { return padded(b.codeBytes()+termBytes+sumBytes, unit) }

func (b *bitCodes) encoder() func(dst []byte, v []float32) {
	r := make([]float32, b.n)
	return func(dst []byte, v []float32) {
		squares := b.residual(r, v)
		edge := float32(gap * math.Sqrt(squares/float64(b.n)))
		var along, length float64 // <r,u>, |u|²
		sum := 0
		for i, x := range r {
			code, u := 0, -float64(b.half)
			if x > 0 {
				code, u = 2, float64(b.half)
				dst[i/8] |= 1 << (i % 8)
			}
			if i < b.second {
				if (x > 0) == (x >= edge || x <= -edge) {
					code++
					dst[b.n/8+i/8] |= 1 << (i % 8)
				}
				u = float64(code) - 1.5
			}
			along += float64(float64(x) * u)
			length += float64(u * u)
			sum += code
		}
		terms := dst[len(dst)-termBytes-sumBytes:]
		b.write(terms, v, squares, along, length)
		binary.LittleEndian.PutUint32(terms[termBytes:], math.Float32bits(float32(sum)))
	}
}

// bitsScorer is a query against bitCodes.
type bitsScorer struct {
	c            *Codes
	b            *bitCodes
	planes       [9][]uint8 // what counts 1, 2, 4..: as long as a row; nil: nothing does
	sums, totals []int64
	step, lowest float64
	minus        float64 // from <u,q'>, for the codes count from 0 on
	base         float64
	length       float64 // |q'|²
	noise        float64 // of an element of the query, as a variance
	ones         int64   // first bits of the query
}

// prepare implements scheme.
func (b *bitCodes) prepare(c *Codes, q []float32, s *Scratch) Scorer {
	x := room(&s.floats, b.n)
	p := &s.bits
	*p = bitsScorer{c: c, b: b, sums: s.sums[:], totals: s.totals[:]}
	p.length = b.residual(x, q)
	p.base = b.base(q, p.length)
	var lo, hi float32
	for i, u := range x {
		if i >= b.second {
			u *= b.half
			x[i] = u
		}
		lo, hi = min(lo, u), max(hi, u)
	}
	width, cut := b.query, 0.0
	switch {
	case width > 0:
		p.lowest, p.step = float64(lo), (float64(hi)-float64(lo))/float64(int(1)<<width-1)
		p.pack(x, width, p.lowest, p.step, s)
		return p
	case b.second > 0:
		width = 2
	default:
		width = 1
	}
	cut = p.level(x, width)
	p.pack(x, width, -cut*float64(int(1)<<width-1)/2, cut, s)
	return p
}

// level chooses two or four levels for the elements of a query, so that they are
// right on average along it. It gives how far apart they were to be on a scale on
// which an element belongs to the nearest.
func (p *bitsScorer) level(x []float32, width int) (cut float64) {
	var squares, along float64
	for _, u := range x {
		squares += float64(float64(u) * float64(u))
	}
	cut = gap * math.Sqrt(squares/float64(len(x)))
	for _, u := range x {
		size := math.Abs(float64(u))
		if width == 2 && size >= cut {
			size *= 3
		}
		along += float64(size / 2)
	}
	if along > 0 {
		p.step = squares / along
		p.lowest = -p.step * float64(int(1)<<width-1) / 2
	}
	return cut
}

// pack makes planes of the elements of a query, which are measured from lowest on in steps of cut.
func (p *bitsScorer) pack(x []float32, width int, lowest, cut float64, s *Scratch) {
	b, stride := p.b, min(p.c.stride, kernel.MaxDim)
	all := room(&s.bytes, (width+1)*stride)
	clear(all)
	for k := range width + 1 {
		if k > 0 || b.second > 0 {
			p.planes[k] = all[k*stride:][:stride]
		}
	}
	inv, low := inverse(float32(cut)), float32(lowest)
	most := float32(int(1)<<width - 1)
	for from := 0; from < len(x); from += 8 {
		var eight uint64
		for i, u := range x[from:][:8] {
			f := min(max(float32((u-low)*inv)+0.5, 0), most+0.5)
			if f != f {
				f = 0
			}
			v := uint64(f)
			eight |= v << (8 * i)
			level := p.lowest + float64(p.step*float64(v))
			d := float64(u) - level
			p.noise += float64(d * d)
			if from < b.second {
				level *= 1.5
			}
			p.minus += level
		}
		eight = transpose(eight)
		for k := range width {
			plane := uint8(eight >> (8 * k))
			p.ones += int64(bits.OnesCount8(plane))
			all[(k+1)*stride+from/8] = plane
			if from < b.second {
				all[k*stride+b.n/8+from/8] = plane
			}
		}
	}
	p.noise /= float64(len(x))
}

// transpose makes bit i of byte k from bit k of byte i.
func transpose(x uint64) uint64 {
	t := (x ^ x>>7) & 0x00aa00aa00aa00aa
	x ^= t ^ t<<7
	t = (x ^ x>>14) & 0x0000cccc0000cccc
	x ^= t ^ t<<14
	t = (x ^ x>>28) & 0x00000000f0f0f0f0
	return x ^ t ^ t<<28
}

// Gather implements Scorer.
func (p *bitsScorer) Gather(rows []uint32, raws []float32) {
	if len(rows) != len(raws) {
		panic("quant: rows do not fit raws")
	}
	table := kernel.Rows[uint8]{Data: p.c.data, Stride: p.c.stride}
	for len(rows) > 0 {
		n := min(some, len(rows))
		clear(p.totals[:n])
		for k, plane := range p.planes {
			if plane != nil {
				kernel.GatherCommon(plane, table, rows[:n], p.sums[:n])
				p.add(n, k)
			}
		}
		for i, r := range rows[:n] {
			raws[i] = p.raw(p.totals[i], int(r))
		}
		rows, raws = rows[n:], raws[n:]
	}
}

// Range implements Scorer.
func (p *bitsScorer) Range(from uint32, raws []float32) {
	for at := int(from); len(raws) > 0; {
		n := min(some, len(raws))
		table := kernel.Rows[uint8]{Data: p.c.data[at*p.c.stride:], Stride: p.c.stride}
		clear(p.totals[:n])
		for k, plane := range p.planes {
			if plane != nil {
				kernel.Common(plane, table, p.sums[:n])
				p.add(n, k)
			}
		}
		for i, total := range p.totals[:n] {
			raws[i] = p.raw(total, at+i)
		}
		raws, at = raws[n:], at+n
	}
}

// add adds the sums of plane k.
func (p *bitsScorer) add(n, k int) {
	totals := p.totals[:n]
	for i, sum := range p.sums[:n] {
		totals[i] += sum << k
	}
}

// terms are the numbers of a row.
func (p *bitsScorer) terms(row int) (t terms, sum float64) {
	at := p.c.data[(row+1)*p.c.stride-termBytes-sumBytes:]
	return termsOf(at), float64(float(at[termBytes:]))
}

func (p *bitsScorer) raw(total int64, row int) float32 {
	t, sum := p.terms(row)
	estimate := float64(t.factor * (float64(p.step*float64(total)) + float64(p.lowest*sum) - p.minus))
	if p.b.cosines != nil {
		n := float64(p.b.n)
		length := max(0, float64(float64(t.factor*t.factor)*n)-float64(float64(t.wrong*t.wrong)*(n-1))) // |r|², the other way round
		differing := min(max(0, int64(sum)/2+p.ones-total), int64(p.b.n))
		estimate = float64(math.Sqrt(length*p.length) * float64(p.b.cosines[differing]))
	}
	return p.b.raw(estimate, t, p.base)
}

// Deviations implements Scorer.
func (p *bitsScorer) Deviations(rows []uint32, sds []float32) bool {
	if p.b.metric == kernel.L1 || p.b.cosines != nil {
		return false
	}
	for i, r := range rows {
		t, _ := p.terms(int(r))
		sds[i] = p.b.deviation(t, p.length, p.noise)
	}
	return true
}
