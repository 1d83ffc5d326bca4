package quant

import (
	"math"

	"github.com/pandodb/pando/services/dataplane/internal/kernel"
	"github.com/pandodb/pando/services/dataplane/internal/query"
)

// levelCodes are codes of two or four bits for each element of a row: of the levels
// that approximate a normal distribution best (TurboQuant: Zandieh et al., arXiv
// 2504.19874). Elements of a query are signed bytes of one step.
type levelCodes struct {
	estimator
	levels  kernel.Levels
	highest float64    // level, in deviations of an element
	near    [256]uint8 // the code of the level next to a signed byte
}

// newFew makes the scheme of codes of a few bits.
func newFew(c *Codes, s *spread) scheme {
	if c.settings.Kind == query.TurboQuantization {
		switch c.settings.Encoding {
		case query.TwoBits:
			return newLevels(c, s, kernel.Levels2, 1.5104, 0.8825)
		case query.FourBits:
			return newLevels(c, s, kernel.Levels4, 2.7326, 0.9905)
		}
	}
	return newBits(c, s)
}

// newLevels takes the mean square of a level too, in variances of an element.
func newLevels(c *Codes, s *spread, levels kernel.Levels, highest, squared float64) *levelCodes {
	l := &levelCodes{levels: levels, highest: highest}
	perDeviation := top / highest
	l.estimator = estimator{spread: s, metric: c.metric.Raw, squared: squared * float64(s.n) * perDeviation * perDeviation}
	values := levels.Values()
	for x := -128; x < 128; x++ {
		for code, value := range values {
			if distance(x, int(value)) < distance(x, int(values[l.near[uint8(x)]])) {
				l.near[uint8(x)] = uint8(code)
			}
		}
	}
	return l
}

func distance(a, b int) int { return max(a-b, b-a) }

// codeBytes is how many bytes the codes of a row take: a block that is not full has
// nothing behind its first.
func (l *levelCodes) codeBytes() int {
	block := l.levels.Block()
	full := block * int(l.levels) / 8
	return l.n/block*full + min(l.n%block, full)
}

func (l *levelCodes) size() int { return padded(l.codeBytes()+termBytes, unit) }

func (l *levelCodes) encoder() func(dst []byte, v []float32) {
	r, whole := make([]float32, l.n), make([]int8, l.n)
	values := l.levels.Values()
	return func(dst []byte, v []float32) {
		squares := l.residual(r, v)
		toBytes(whole, r, 0, float32(l.highest*math.Sqrt(squares/float64(l.n))/top))
		var along float64
		var length int64
		for i, x := range whole {
			code := l.near[uint8(x)]
			at, bit := l.levels.Place(i)
			dst[at] |= code << bit
			along += float64(float64(r[i]) * float64(values[code]))
			length += int64(values[code]) * int64(values[code])
		}
		l.write(dst[len(dst)-termBytes:], v, squares, along, float64(length))
	}
}

// levelScorer is a query against levelCodes.
type levelScorer struct {
	c                         *Codes
	l                         *levelCodes
	q                         []int8 // whole blocks, zeros behind the vector
	sums                      []int64
	step, base, length, noise float64
}

// prepare implements scheme.
func (l *levelCodes) prepare(c *Codes, q []float32, s *Scratch) Scorer {
	p := &s.levels
	*p = levelScorer{c: c, l: l, q: signed(room(&s.bytes, padded(l.n, l.levels.Block()))), sums: s.sums[:]}
	x := room(&s.floats, l.n)
	p.length = l.residual(x, q)
	p.base = l.base(q, p.length)
	step := stepOf(x)
	toBytes(p.q, x, 0, step)
	clear(p.q[l.n:])
	p.step = float64(step)
	p.noise = p.step * p.step / 12
	return p
}

// Gather implements Scorer.
func (p *levelScorer) Gather(rows []uint32, raws []float32) {
	if len(rows) != len(raws) {
		panic("quant: rows do not fit raws")
	}
	table := kernel.Rows[uint8]{Data: p.c.data, Stride: p.c.stride}
	for len(rows) > 0 {
		n := min(some, len(rows))
		p.l.levels.GatherDot(p.q, table, rows[:n], p.sums[:n])
		for i, sum := range p.sums[:n] {
			raws[i] = p.raw(sum, int(rows[i]))
		}
		rows, raws = rows[n:], raws[n:]
	}
}

// Range implements Scorer.
func (p *levelScorer) Range(from uint32, raws []float32) {
	for at := int(from); len(raws) > 0; {
		n := min(some, len(raws))
		p.l.levels.Dot(p.q, kernel.Rows[uint8]{Data: p.c.data[at*p.c.stride:], Stride: p.c.stride}, p.sums[:n])
		for i, sum := range p.sums[:n] {
			raws[i] = p.raw(sum, at+i)
		}
		raws, at = raws[n:], at+n
	}
}

func (p *levelScorer) terms(row int) terms {
	return termsOf(p.c.data[(row+1)*p.c.stride-termBytes:])
}

func (p *levelScorer) raw(sum int64, row int) float32 {
	t := p.terms(row)
	return p.l.raw(float64(t.factor*float64(p.step*float64(sum))), t, p.base)
}

// Deviations implements Scorer.
func (p *levelScorer) Deviations(rows []uint32, sds []float32) bool {
	if p.l.metric == kernel.L1 {
		return false
	}
	for i, r := range rows {
		sds[i] = p.l.deviation(p.terms(int(r)), p.length, p.noise)
	}
	return true
}
