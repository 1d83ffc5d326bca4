package turbo

import (
	"math"
	"slices"

	"github.com/pandodb/pando/services/dataplane/internal/kernel"
)

// Query is what rows are compared with, in whole numbers: steps of a vector that was
// rotated, or the levels of a row. Products with rows are exact, so that their raw
// values have the same bits wherever rows are kept. It is for one goroutine at a time.
type Query struct {
	step    float64
	squares float64 // of the numbers
	fine    []int8  // numbers are 256 times as many as coarse, and these
	coarse  []int8
	single  bool // coarse are zeros

	turned []float32
	sums   [2][]int64
}

// finest is the greatest number of a query: its coarse part fills a signed byte.
const finest = 127<<8 + 127

// Aim makes q a vector of finite elements.
func (c *Coder) Aim(q *Query, v []float32) {
	q.turned = append(q.turned[:0], v...)
	c.turn.Turn(q.turned)
	q.room(c.dim)
	q.single, q.squares = false, 0
	if q.step = float64(greatest(q.turned)) / finest; q.step == 0 {
		return
	}
	var squares int64
	for i, x := range q.turned {
		n := int64(math.RoundToEven(float64(x) / q.step))
		squares += n * n
		q.fine[i] = int8(n)
		q.coarse[i] = int8((n - int64(int8(n))) >> 8)
	}
	q.squares = float64(squares)
}

// Stand makes q what a row stands for.
func (c *Coder) Stand(q *Query, row []byte) {
	row = row[:RowBytes(c.dim)]
	factor, norm := terms(row)
	q.room(c.dim)
	q.single, q.step, q.squares = true, float64(factor), float64(norm)
	for i := range c.dim {
		at, bit := levels.Place(i)
		q.fine[i] = c.values[row[at]>>bit&15]
	}
}

// room makes the numbers of q zeros.
func (q *Query) room(dim int) {
	n := blocks(dim)
	q.fine, q.coarse = slices.Grow(q.fine[:0], n)[:n], slices.Grow(q.coarse[:0], n)[:n]
	clear(q.fine)
	clear(q.coarse)
}

// Rows are rows in memory, Stride bytes apart.
type Rows = kernel.Rows[uint8]

// some is how many rows are compared at a time.
const some = 256

// Compare sets raws[i] to the raw value, by kernel.Dot or kernel.L2, of q and row
// ids[i], or row i where ids is nil.
func (c *Coder) Compare(m kernel.Metric, q *Query, rows Rows, ids []uint32, raws []float32) {
	for i := range q.sums {
		if q.sums[i] == nil {
			q.sums[i] = make([]int64, some)
		}
	}
	size := RowBytes(c.dim)
	for from := 0; from < len(raws); from += some {
		n := min(some, len(raws)-from)
		q.dot(q.fine, rows, ids, from, q.sums[0][:n])
		if !q.single {
			q.dot(q.coarse, rows, ids, from, q.sums[1][:n])
		}
		for i, sum := range q.sums[0][:n] {
			if !q.single {
				sum += q.sums[1][i] << 8
			}
			row := from + i
			if ids != nil {
				row = int(ids[row])
			}
			factor, norm := terms(rows.Data[row*rows.Stride:][:size])
			raws[from+i] = q.raw(m, sum, float64(factor), float64(norm))
		}
	}
}

func (q *Query) dot(numbers []int8, rows Rows, ids []uint32, from int, out []int64) {
	if ids != nil {
		levels.GatherDot(numbers, rows, ids[from:from+len(out)], out)
		return
	}
	levels.Dot(numbers, Rows{Data: rows.Data[from*rows.Stride:], Stride: rows.Stride}, out)
}

// raw value of a row with so many steps of its levels along q.
func (q *Query) raw(m kernel.Metric, sum int64, factor, norm float64) float32 {
	product := float64(float64(q.step*factor) * float64(sum))
	if m == kernel.Dot {
		return float32(product)
	}
	squares := float64(float64(q.step*q.step)*q.squares) + float64(float64(factor*factor)*norm)
	return float32(max(0, squares-float64(2*product)))
}
