package kernel

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"unsafe"
)

var benchDims = []int{100, 128, 384, 784, 1536}

// padded is a stride of whole cache lines.
func padded[R any](dim int) int {
	size := int(unsafe.Sizeof(*new(R)))
	return (dim*size + 63) / 64 * 64 / size
}

// bench gives GB/s of row data with the rows in the nearest caches.
func (f family[Q, R, O]) bench(b *testing.B) {
	rng := rand.New(rand.NewPCG(7, 8))
	for _, dim := range benchDims {
		size := int(unsafe.Sizeof(*new(R)))
		length, dim := f.sizes(dim)
		n := max(32, 16384/(dim*size))
		rows := Rows[R]{lines[R](padded[R](dim) * n), padded[R](dim)}
		q, out, ids := lines[Q](length), make([]O, n), make([]uint32, n)
		for i := range rows.Data {
			rows.Data[i] = f.row(rng)
		}
		for i := range q {
			q[i] = f.q(rng)
		}
		for i := range ids {
			ids[i] = uint32(i)
		}
		rng.Shuffle(n, func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
		for form, ids := range map[string][]uint32{"batch": nil, "gather": ids} {
			for name, c := range f.codes {
				f.time(b, fmt.Sprintf("%d/%s/%s", dim, form, name), dim, n, func() {
					c(&q[0], &rows.Data[0], dim, rows.Stride*size, unsafe.SliceData(ids), n, &out[0])
				})
			}
		}
		f.time(b, fmt.Sprintf("%d/pair/any", dim), dim, 1, func() { f.pair(q, rows.Data[:dim]) })
		f.time(b, fmt.Sprintf("%d/gather/any", dim), dim, n, func() { f.gather(q, rows, ids, out) })
		f.time(b, fmt.Sprintf("%d/batch/law", dim), dim, n, func() { f.law(q, rows, nil, out) })
	}
}

func (f family[Q, R, O]) time(b *testing.B, name string, dim, n int, do func()) {
	b.Run(name, func(b *testing.B) {
		b.SetBytes(int64(dim * n * int(unsafe.Sizeof(*new(R)))))
		for b.Loop() {
			do()
		}
	})
}

// lines makes n elements that begin with a cache line.
func lines[E any](n int) []E {
	size := int(unsafe.Sizeof(*new(E)))
	s := make([]E, n+64/size)
	skip := int(-uintptr(unsafe.Pointer(&s[0]))%64) / size
	return s[skip:][:n]
}

// ram gathers 32 rows at random from a table that no cache holds.
func (f family[Q, R, O]) ram(b *testing.B) {
	rng := rand.New(rand.NewPCG(9, 10))
	size := int(unsafe.Sizeof(*new(R)))
	table := fromRAM[R](b, (1<<30)/size)
	for i := 0; i < len(table); i += 4096 / size {
		table[i] = f.row(rng)
	}
	const n = 32
	for _, dim := range benchDims {
		length, dim := f.sizes(dim)
		rows := Rows[R]{table, padded[R](dim)}
		q, out := lines[Q](length), make([]O, n)
		ids := make([]uint32, n<<13)
		for i := range ids {
			ids[i] = uint32(rng.IntN(len(table) / rows.Stride))
		}
		at := 0
		next := func() []uint32 { at = (at + n) % len(ids); return ids[at:][:n] }
		for name, c := range f.codes {
			f.time(b, fmt.Sprintf("%d/gather/%s", dim, name), dim, n, func() {
				c(&q[0], &rows.Data[0], dim, rows.Stride*size, &next()[0], n, &out[0])
			})
		}
		f.time(b, fmt.Sprintf("%d/gather/any", dim), dim, n, func() { f.gather(q, rows, next(), out) })
		f.time(b, fmt.Sprintf("%d/gather/law", dim), dim, n, func() { f.law(q, rows, next(), out) })
	}
}
