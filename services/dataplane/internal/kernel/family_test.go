package kernel

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"
)

// code is one implementation for one metric and element type.
type code[Q, R, O any] func(q *Q, rows *R, dim, stride int, ids *uint32, n int, out *O)

// family is all implementations of one metric for one element type.
type family[Q, R, O any] struct {
	name   string
	law    func(q []Q, rows Rows[R], ids []uint32, out []O)
	batch  func(q []Q, rows Rows[R], out []O)
	gather func(q []Q, rows Rows[R], ids []uint32, out []O)
	pair   func(q []Q, row []R) O
	codes  map[string]code[Q, R, O] // whatever this CPU can run, by instruction set
	same   func(a, b O) bool
	q      func(rng *rand.Rand) Q // an ordinary value, or now and then a special one
	row    func(rng *rand.Rand) R
	// whole: rows are a multiple of so many elements, each of per of a query; 0: of
	// any number, of one
	whole, per int
}

// sizes are the lengths of a query and of a row of about dim elements.
func (f family[Q, R, O]) sizes(dim int) (q, row int) {
	row = max(1, f.whole)
	row = (dim + row - 1) / row * row
	return row * max(1, f.per), row
}

// suite is a family without its types.
type suite interface {
	lengths(t *testing.T)
	fuzz(t *testing.T, dim, pad int, ids []uint32, raw []byte)
	shapes(t *testing.T)
	bench(b *testing.B)
	ram(b *testing.B)
}

func suites() []suite {
	var all []suite
	for m, name := range metricNames {
		all = append(all, float32Family(Metric(m), name), float16Family(Metric(m), name), uint8Family(Metric(m), name), int8Family(Metric(m), name))
	}
	return append(all, hammingFamily(), commonFamily(), levelFamily(Levels2), levelFamily(Levels4))
}

var metricNames = []string{"dot", "l2", "l1"}

// each runs one test for every family.
func each(t *testing.T, test func(s suite, t *testing.T)) {
	for _, s := range suites() {
		t.Run(fmt.Sprint(s), func(t *testing.T) { test(s, t) })
	}
}

func (f family[Q, R, O]) String() string { return f.name }

// hold compares everything with the law.
func (f family[Q, R, O]) hold(t *testing.T, q []Q, rows Rows[R], ids []uint32, n int) {
	t.Helper()
	run := func(name string, ids []uint32, got []O, do func(out []O)) {
		t.Helper()
		law := make([]O, n)
		f.law(q, rows, ids, law)
		guard := got[n]
		do(got[:n])
		if !slices.EqualFunc(got[:n], law, f.same) || !f.same(got[n], guard) {
			t.Fatalf("%s dim %d stride %d ids %v: %v, law %v", name, len(q), rows.Stride, ids, got, law)
		}
	}
	got := make([]O, n+1)
	for isa, c := range f.codes {
		for _, ids := range [][]uint32{nil, ids} {
			run(isa, ids, got, func(out []O) {
				size := int(unsafe.Sizeof(*new(R)))
				c(&q[0], &rows.Data[0], len(q)/max(1, f.per), rows.Stride*size, unsafe.SliceData(ids), n, &out[0])
			})
		}
	}
	run("batch", nil, got, func(out []O) { f.batch(q, rows, out) })
	run("gather", ids, got, func(out []O) { f.gather(q, rows, ids, out) })
	var one [1]O
	f.law(q, rows, nil, one[:])
	if p := f.pair(q, rows.Data[:len(q)/max(1, f.per)]); !f.same(p, one[0]) {
		t.Fatalf("pair dim %d: %v, law %v", len(q), p, one[0])
	}
}

// pairs compares two vectors with everything there is.
func (f family[Q, R, O]) pairs(a []Q, b []R) []O {
	out := make([]O, 1, 4)
	f.law(a, Rows[R]{b, len(b)}, nil, out)
	out = append(out, f.pair(a, b))
	for _, c := range f.codes {
		var one [1]O
		c(&a[0], &b[0], len(b), len(b)*int(unsafe.Sizeof(b[0])), nil, 1, &one[0])
		out = append(out, one[0])
	}
	return out
}

// lengths holds all lengths to the law, right before a page that must not be
// read, which also gives every alignment.
func (f family[Q, R, O]) lengths(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	const most, n = 2100, 9
	long, top := f.sizes(most)
	qs, data := beforeFault[Q](t, long), beforeFault[R](t, n*(top+3))
	for dim := 1; dim <= top; dim += max(1, f.whole) {
		length, dim := f.sizes(dim)
		stride := dim + rng.IntN(4)
		size := (n-1)*stride + dim
		q, rows := qs[long-length:], Rows[R]{data[len(data)-size:], stride}
		for i := range q {
			q[i] = f.q(rng)
		}
		for i := range rows.Data {
			rows.Data[i] = f.row(rng)
		}
		places := 1 + dim%n
		ids := make([]uint32, places)
		for i := range ids {
			ids[i] = uint32(rng.IntN(n))
		}
		ids[rng.IntN(places)] = n - 1
		f.hold(t, q, rows, ids, places)
	}
}

// fuzz holds arbitrary bits to the law.
func (f family[Q, R, O]) fuzz(t *testing.T, dim, pad int, ids []uint32, raw []byte) {
	length, dim := f.sizes(dim)
	q, rows := make([]Q, length), Rows[R]{make([]R, len(ids)*(dim+pad)), dim + pad}
	fill(q, raw)
	if len(raw) > 0 {
		raw = raw[len(raw)/2:]
	}
	fill(rows.Data, raw)
	f.hold(t, q, rows, ids, len(ids))
}

// fill repeats raw over s.
func fill[E any](s []E, raw []byte) {
	b := unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(s))), len(s)*int(unsafe.Sizeof(*new(E))))
	for len(raw) > 0 && len(b) > 0 {
		b = b[copy(b, raw):]
	}
}

// shapes tries what callers must not ask for, and the edges of what they may.
func (f family[Q, R, O]) shapes(t *testing.T) {
	length, two := f.sizes(2)
	q, data := make([]Q, length), make([]R, 3*two+two/2)
	rng := rand.New(rand.NewPCG(5, 6))
	for i := range data {
		data[i] = f.row(rng)
	}
	out := make([]O, 3)
	f.batch(q, Rows[R]{data[:3*two], two}, out)
	f.batch(q, Rows[R]{data, two}, out)
	f.batch(q, Rows[R]{nil, two}, nil)
	f.gather(q, Rows[R]{nil, two}, nil, nil)
	f.gather(q, Rows[R]{data, 2*two + two/2}, []uint32{1, 0, 1}, out)
	f.gather(nil, Rows[R]{nil, 0}, []uint32{9, 9, 9}, out)
	if zero := *new(O); !f.same(out[0], zero) || !f.same(out[2], zero) {
		t.Errorf("of empty vectors: %v", out)
	}
	for name, ask := range map[string]func(){
		"rows too short":       func() { f.batch(q, Rows[R]{data[:3*two-1], two}, out) },
		"no rows":              func() { f.batch(q, Rows[R]{nil, two}, out) },
		"stride too short":     func() { f.batch(q, Rows[R]{data, two - 1}, out) },
		"row does not exist":   func() { f.gather(q, Rows[R]{data, two}, []uint32{0, 3, 0}, out) },
		"row is not whole":     func() { f.gather(q, Rows[R]{data, 3 * two}, []uint32{0, 1, 0}, out) },
		"greatest id":          func() { f.gather(q, Rows[R]{data, two}, []uint32{0, 1<<32 - 1, 0}, out) },
		"ids for half the out": func() { f.gather(q, Rows[R]{data, two}, []uint32{0, 1}, out) },
		"no ids":               func() { f.gather(q, Rows[R]{data, two}, nil, out) },
		"beyond MaxDim":        func() { f.batch(make([]Q, MaxDim+1), Rows[R]{make([]R, MaxDim+1), MaxDim + 1}, out[:1]) },
		"pair of two lengths":  func() { f.pair(q, data[:two+1]) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: did not panic", name)
				}
			}()
			ask()
		}()
	}
	// more rows than one call takes, in order
	n := 2*callRows + 3
	many, got, want := Rows[R]{make([]R, n*(two+1)), two + 1}, make([]O, n), make([]O, n)
	for i := range many.Data {
		many.Data[i] = f.row(rng)
	}
	for i := range q {
		q[i] = f.q(rng)
	}
	ids := make([]uint32, n)
	for i := range ids {
		ids[i] = uint32(rng.IntN(n))
	}
	f.batch(q, many, got)
	if f.law(q, many, nil, want); !slices.EqualFunc(got, want, f.same) {
		t.Error("many rows differ from the law")
	}
	f.gather(q, many, ids, got)
	if f.law(q, many, ids, want); !slices.EqualFunc(got, want, f.same) {
		t.Error("many gathered rows differ from the law")
	}
	if allocs := testing.AllocsPerRun(10, func() { f.gather(q, many, ids, got); f.batch(q, many, got) }); allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}
