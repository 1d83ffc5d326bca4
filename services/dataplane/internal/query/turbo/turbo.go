// Package turbo is the datatype turbo4: vectors of which four bits are kept of each
// element (TurboQuant: Zandieh et al., arXiv 2504.19874). A vector is rotated, each
// element becomes the next of sixteen levels, and one factor for all of them keeps its
// length. What is kept is the vector from then on: Round gives it as floats, and
// coding those again gives the same bytes, on every machine. Pure.
package turbo

import (
	"encoding/binary"
	"errors"
	"math"
	"slices"

	"github.com/pandodb/pando/services/dataplane/internal/kernel"
	"github.com/pandodb/pando/services/dataplane/internal/kernel/rotation"
)

// MaxElement bounds the elements of vectors, so that squares of lengths do not overflow.
const MaxElement = 1e15

// ErrUnstable reports a vector whose codes do not stand for themselves. There is none
// that is known.
var ErrUnstable = errors.New("turbo4 has no codes for the vector")

// A row ends with its terms: a float32, the factor, and a uint32, the squared length
// of its levels.
const (
	levels    = kernel.Levels4
	termBytes = 4 + 4
)

const (
	top     = 127    // the greatest level
	highest = 2.7326 // what it stands for, in standard deviations of an element
	// least is the length up to which a vector is taken for the zero vector: shorter
	// ones have no bits left for their elements.
	least = 1e-24
	// same is how far, in levels, what was a level may be from it for rounding: hundreds
	// of times as far as it ever is.
	same = 0.01
)

// RowBytes is what the row of a vector of dim elements takes: whole blocks of codes,
// and the terms.
func RowBytes(dim int) int { return codeBytes(dim) + termBytes }

func codeBytes(dim int) int { return blocks(dim) * int(levels) / 8 }

// blocks is dim, up to whole blocks.
func blocks(dim int) int {
	block := levels.Block()
	return (dim + block - 1) / block * block
}

// Coder codes vectors of one length. It does not change.
type Coder struct {
	dim    int
	turn   *rotation.Rotation
	values []int8
	near   [256]uint8 // the code of the level next to a signed byte
}

// New makes that of vectors of dim elements, 1 to kernel.MaxDim.
func New(dim int) *Coder {
	c := &Coder{dim: dim, turn: rotation.New(dim), values: levels.Values()}
	for x := -128; x < 128; x++ {
		for code, value := range c.values {
			if distance(x, int(value)) < distance(x, int(c.values[c.near[uint8(x)]])) {
				c.near[uint8(x)] = uint8(code)
			}
		}
	}
	return c
}

func distance(a, b int) int { return max(a-b, b-a) }

// Scratch is memory for coding, of one goroutine at a time.
type Scratch struct {
	turned       []float32
	codes, other []uint8
	row          []byte
}

// Append adds the row of a vector, whose elements are finite and at most MaxElement.
func (c *Coder) Append(dst []byte, v []float32, s *Scratch) []byte {
	at := len(dst)
	dst = append(dst, make([]byte, RowBytes(c.dim))...)
	row := dst[at:]
	s.turned = append(s.turned[:0], v...)
	c.turn.Turn(s.turned)
	var squares float64
	for _, x := range s.turned {
		squares += float64(float64(x) * float64(x))
	}
	length := math.Sqrt(squares)
	if length <= least {
		return dst
	}
	if s.codes = slices.Grow(s.codes[:0], c.dim)[:c.dim]; !c.exact(s) {
		c.nearest(s, length)
	}
	var norm uint32
	for i, code := range s.codes {
		at, bit := levels.Place(i)
		row[at] |= code << bit
		norm += uint32(int32(c.values[code]) * int32(c.values[code]))
	}
	terms := row[len(row)-termBytes:]
	binary.LittleEndian.PutUint32(terms, math.Float32bits(coarse(length/math.Sqrt(float64(norm)))))
	binary.LittleEndian.PutUint32(terms[4:], norm)
	return dst
}

// coarse leaves 16 bits of a fraction: what rounding does to a vector that is decoded
// and coded again is less than half of the last.
func coarse(x float64) float32 {
	return math.Float32frombits((math.Float32bits(float32(x)) + 1<<6) &^ (1<<7 - 1))
}

// exact tells whether the elements are levels times some factor, and which.
func (c *Coder) exact(s *Scratch) bool {
	greatest := float64(greatest(s.turned))
	for _, level := range slices.Backward(c.values[len(c.values)/2:]) {
		if c.multiple(s, float64(level)/greatest) {
			return true
		}
	}
	return false
}

// multiple tells whether the elements, so many times as long, are levels.
func (c *Coder) multiple(s *Scratch, by float64) bool {
	for i, x := range s.turned {
		scaled := float64(x) * by
		s.codes[i] = c.near[uint8(int8(math.RoundToEven(scaled)))]
		if math.Abs(scaled-float64(c.values[s.codes[i]])) > same {
			return false
		}
	}
	return true
}

// nearest takes the levels next to the elements, with the greatest level where a normal
// distribution has it, or at the greatest element if that is nearer to the vector.
func (c *Coder) nearest(s *Scratch, length float64) {
	usual := c.take(s, s.codes, top*math.Sqrt(float64(c.dim))/(highest*length))
	s.other = slices.Grow(s.other[:0], c.dim)[:c.dim]
	if c.take(s, s.other, top/float64(greatest(s.turned))) > usual {
		s.codes, s.other = s.other, s.codes
	}
}

// take sets codes to those next to the elements, so many times as long. It gives the
// squared cosine of the two, times what does not depend on the codes.
func (c *Coder) take(s *Scratch, codes []uint8, by float64) float64 {
	var along, norm float64
	for i, x := range s.turned {
		scaled := min(max(float64(x)*by, -top), top)
		codes[i] = c.near[uint8(int8(math.RoundToEven(scaled)))]
		value := float64(c.values[codes[i]])
		along += float64(scaled * value)
		norm += float64(value * value)
	}
	return along * along / norm
}

func greatest(xs []float32) (most float32) {
	for _, x := range xs {
		most = max(most, x, -x)
	}
	return most
}

// Decode sets dst, of the vector's length, to what a row stands for.
func (c *Coder) Decode(dst []float32, row []byte) {
	row = row[:RowBytes(c.dim)]
	factor, _ := terms(row)
	if factor == 0 {
		clear(dst)
		return
	}
	for i := range dst {
		at, bit := levels.Place(i)
		dst[i] = factor * float32(c.values[row[at]>>bit&15])
	}
	c.turn.Back(dst)
}

func terms(row []byte) (factor float32, norm uint32) {
	t := row[len(row)-termBytes:]
	return math.Float32frombits(binary.LittleEndian.Uint32(t)), binary.LittleEndian.Uint32(t[4:])
}

// rounds is how often a vector may be coded until its codes stand for themselves.
// Once is enough but for vectors of few elements.
const rounds = 8

// Round makes v, which is as for Append, the vector that its row stands for.
func (c *Coder) Round(v []float32, s *Scratch) error {
	for range rounds {
		s.row = c.Append(s.row[:0], v, s)
		was := slices.Clone(v)
		if c.Decode(v, s.row); slices.Equal(was, v) {
			return nil
		}
	}
	return ErrUnstable
}
