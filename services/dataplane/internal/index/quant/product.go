package quant

import (
	"context"

	"github.com/pandodb/pando/services/dataplane/internal/kernel"
)

// product codes stand for parts of a vector: each byte names the nearest of 256
// centroids that were learned for its part. A query compares its parts with all
// centroids once; a row's estimate is the sum of what its bytes name in these tables.
//
// Vectors are centred and rotated before if that makes estimates better: it does
// if some parts say much more than others, and does not if neighbouring elements
// are alike, as those of images. L1 does not allow it.
type product struct {
	dim, chunk int // elements of a vector, of a part; the last part may be shorter
	metric     kernel.Metric
	spread     *spread // nil: vectors are taken as they are
	// centroids of part j begin at 256*chunk*j: their first elements, their second..
	centroids []float32
}

const (
	trained = 8192 // rows that centroids are learned from, at most
	turns   = 12   // of learning, at most
)

func newProduct(c *Codes, s *spread) *product {
	p := &product{dim: c.dim, chunk: c.settings.Compression / 4, metric: c.metric.Raw, spread: s}
	if s != nil {
		p.dim = s.n
	}
	return p
}

func restoreProduct(c *Codes, tables []float32) scheme {
	p := newProduct(c, nil)
	if len(tables) != kernel.Columns*c.dim && len(tables) > c.dim && c.metric.Raw != kernel.L1 {
		p = newProduct(c, newSpread(c.dim, tables[:c.dim]))
		tables = tables[c.dim:]
	}
	if len(tables) != kernel.Columns*p.dim {
		return nil
	}
	p.centroids = tables
	return p
}

func (p *product) tables() []float32 {
	if p.spread == nil {
		return p.centroids
	}
	return append(p.spread.centre[:len(p.spread.centre):len(p.spread.centre)], p.centroids...)
}

func (p *product) parts() int { return (p.dim + p.chunk - 1) / p.chunk }

func (p *product) size() int { return padded(p.parts(), 4) }

// part is part j of a vector, columns its centroids.
func (p *product) part(x []float32, j int) []float32 {
	return x[j*p.chunk : min((j+1)*p.chunk, p.dim)]
}

func (p *product) columns(j int) []float32 {
	return p.centroids[kernel.Columns*p.chunk*j : kernel.Columns*min(p.chunk*(j+1), p.dim)]
}

func (p *product) put(dst, v []float32) {
	if p.spread != nil {
		p.spread.put(dst, v)
		return
	}
	for i, x := range v {
		dst[i] = finite(x)
	}
}

func learnProduct(ctx context.Context, c *Codes, v *Vectors, threads int) (*product, error) {
	rows := v.sample(trained)
	plain := newProduct(c, nil)
	least, err := plain.learn(ctx, v, rows, threads)
	if err != nil || c.metric.Raw == kernel.L1 {
		return plain, err
	}
	s := learnSpread(v)
	turned := newProduct(c, s)
	if e, err := turned.learn(ctx, v, rows, threads); err != nil || e < least {
		return turned, err
	}
	return plain, nil
}

// learn sets the centroids. It gives the variance of the errors of estimates between
// rows, up to a factor: an error counts as much as what it is multiplied by.
func (p *product) learn(ctx context.Context, v *Vectors, rows []int, threads int) (variance float64, err error) {
	p.centroids = make([]float32, kernel.Columns*p.dim)
	xs := make([]float32, len(rows)*p.dim)
	var memory []float32
	for i, r := range rows {
		p.put(xs[i*p.dim:][:p.dim], v.read(r, &memory))
	}
	errors := make([]float64, p.parts())
	err = share(ctx, threads, p.parts(), func() func(int) {
		t := trainer{}
		return func(j int) {
			t.points = t.points[:0]
			for i := range rows {
				t.points = append(t.points, p.part(xs[i*p.dim:][:p.dim], j)...)
			}
			t.columns = p.columns(j)
			dim := len(t.columns) / kernel.Columns
			errors[j] = float64(t.train(dim)*t.spread(dim)) / float64(dim)
		}
	})
	for _, e := range errors {
		variance += e
	}
	return variance, err
}

// trainer learns the centroids of one part: k-means by Lloyd's algorithm.
type trainer struct {
	points, columns []float32
	owner           []uint8   // of each point
	distance        []float32 // from its owner
}

// train begins with different points, spread over the sample. It gives the sum of
// the squared errors.
func (t *trainer) train(dim int) (sum float64) {
	n := len(t.points) / dim
	room(&t.owner, n)
	room(&t.distance, n)
	if t.begin(n, dim); n == 0 {
		return 0
	}
	for turn := 0; t.assign(dim) || turn == 0; turn++ {
		if turn == turns {
			break
		}
		t.move(dim)
	}
	for _, d := range t.distance {
		sum += float64(d)
	}
	return sum
}

// begin takes the first different points in an order that jumps about; if there are
// too few, the rest are copies of the first, which no point will choose.
func (t *trainer) begin(n, dim int) {
	seen := map[[16]float32]bool{}
	var first [16]float32
	k := 0
	for i := 0; i < n && k < kernel.Columns; i++ {
		// an odd factor visits each place of a power of two once
		at := int(uint64(i) * 5113 % trained)
		if n < trained {
			at = i
		}
		var p [16]float32
		copy(p[:], t.points[at*dim:][:dim])
		if seen[p] {
			continue
		}
		if seen[p] = true; k == 0 {
			first = p
		}
		t.set(k, p[:dim])
		k++
	}
	for ; k < kernel.Columns; k++ {
		t.set(k, first[:dim])
	}
}

// spread is the sum of the squared distances of the points from their mean.
func (t *trainer) spread(dim int) (sum float64) {
	n := max(1, len(t.points)/dim)
	for j := range dim {
		var mean float64
		for i := j; i < len(t.points); i += dim {
			mean += float64(t.points[i])
		}
		mean /= float64(n)
		for i := j; i < len(t.points); i += dim {
			d := float64(t.points[i]) - mean
			sum += float64(d * d)
		}
	}
	return sum
}

func (t *trainer) set(k int, centroid []float32) {
	for j, x := range centroid {
		t.columns[kernel.Columns*j+k] = x
	}
}

// assign gives each point to the nearest centroid and tells whether any changed.
func (t *trainer) assign(dim int) (changed bool) {
	var table [kernel.Columns]float32
	for i := range t.owner {
		kernel.L2.Table(t.points[i*dim:][:dim], t.columns, &table)
		k := kernel.Least(&table)
		changed = changed || t.owner[i] != uint8(k)
		t.owner[i], t.distance[i] = uint8(k), table[k]
	}
	return changed
}

// move puts each centroid amid its points, and one without points to that which is
// farthest from its own.
func (t *trainer) move(dim int) {
	var count [kernel.Columns]int
	sums := make([]float64, kernel.Columns*dim)
	for i, k := range t.owner {
		count[k]++
		for j, x := range t.points[i*dim:][:dim] {
			sums[int(k)*dim+j] += float64(x)
		}
	}
	for k, n := range count {
		if n > 0 {
			for j := range dim {
				t.columns[kernel.Columns*j+k] = finite(float32(sums[k*dim+j] / float64(n)))
			}
			continue
		}
		far := 0
		for i, d := range t.distance {
			if d > t.distance[far] {
				far = i
			}
		}
		if t.distance[far] > 0 {
			t.set(k, t.points[far*dim:][:dim])
			t.distance[far] = 0
		}
	}
}

func (p *product) encoder() func(dst []byte, v []float32) {
	x := make([]float32, p.dim)
	return func(dst []byte, v []float32) {
		p.put(x, v)
		var table [kernel.Columns]float32
		for j := range p.parts() {
			kernel.L2.Table(p.part(x, j), p.columns(j), &table)
			dst[j] = uint8(kernel.Least(&table))
		}
	}
}

// productScorer is a query against product codes.
type productScorer struct {
	c      *Codes
	tables [][kernel.Columns]float32 // of the parts
	base   float32
	touch  uint8 // what Gather reads ahead
}

func (p *product) prepare(c *Codes, q []float32, s *Scratch) Scorer {
	sc := &s.product
	*sc = productScorer{c: c, tables: room(&s.tables, p.parts())}
	x := q
	switch {
	case p.spread == nil:
	case p.metric == kernel.L2:
		x = room(&s.floats, p.dim)
		p.spread.put(x, q)
	default:
		x = room(&s.floats, p.dim)
		clear(x[copy(x, q):])
		p.spread.Turn(x)
		sc.base = kernel.Dot.PairFloat32(p.spread.centre, q)
	}
	for j := range sc.tables {
		p.metric.Table(p.part(x, j), p.columns(j), &sc.tables[j])
	}
	return sc
}

// Deviations implements Scorer: how far centroids are from rows is not kept.
func (p *productScorer) Deviations([]uint32, []float32) bool { return false }

// Gather implements Scorer. It reads a byte of each cache line of some rows before
// it needs them: these reads wait for memory side by side.
func (p *productScorer) Gather(rows []uint32, raws []float32) {
	if len(rows) != len(raws) {
		panic("quant: rows do not fit raws")
	}
	const ahead = 16
	stride, parts := p.c.stride, len(p.tables)
	for len(rows) > 0 {
		n := min(ahead, len(rows))
		for _, r := range rows[:n] {
			for row := p.c.data[int(r)*stride:][:parts]; ; row = row[64:] {
				if p.touch ^= row[0]; len(row) <= 64 {
					break
				}
			}
		}
		at := func(i int) []byte { return p.c.data[int(rows[i])*stride:][:parts] }
		i := 0
		for ; i+4 <= n; i += 4 {
			p.four(at(i), at(i+1), at(i+2), at(i+3), raws[i:])
		}
		for ; i < n; i++ {
			raws[i] = p.one(at(i))
		}
		rows, raws = rows[n:], raws[n:]
	}
}

// Range implements Scorer.
func (p *productScorer) Range(from uint32, raws []float32) {
	stride, parts := p.c.stride, len(p.tables)
	at := func(i int) []byte { return p.c.data[(int(from)+i)*stride:][:parts] }
	i := 0
	for ; i+4 <= len(raws); i += 4 {
		p.four(at(i), at(i+1), at(i+2), at(i+3), raws[i:])
	}
	for ; i < len(raws); i++ {
		raws[i] = p.one(at(i))
	}
}

// one estimates one row, four estimates four side by side.
func (p *productScorer) one(row []byte) float32 {
	sum := p.base
	for j, k := range row {
		sum += p.tables[j][k]
	}
	return sum
}

func (p *productScorer) four(a, b, c, d []byte, raws []float32) {
	w, x, y, z := p.base, p.base, p.base, p.base
	b, c, d = b[:len(a)], c[:len(a)], d[:len(a)]
	tables := p.tables[:len(a)]
	for j, k := range a {
		t := &tables[j]
		w += t[k]
		x += t[b[j]]
		y += t[c[j]]
		z += t[d[j]]
	}
	raws[0], raws[1], raws[2], raws[3] = w, x, y, z
}
