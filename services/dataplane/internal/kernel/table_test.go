package kernel

import (
	"math"
	"math/rand/v2"
	"testing"
)

// TestTable: what this CPU runs has the law's bits, which are those of vectors
// compared one by one.
func TestTable(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	for m, name := range metricNames {
		for dim := 1; dim <= 40; dim++ {
			q, columns := beforeFault[float32](t, dim), beforeFault[float32](t, Columns*dim)
			for i := range q {
				q[i] = anyFloat32(rng)
			}
			for i := range columns {
				columns[i] = anyFloat32(rng)
			}
			var law, got [Columns]float32
			Metric(m).tableLaw(q, columns, &law)
			hold := func(what string) {
				for i := range law {
					if !same(got[i], law[i]) {
						t.Fatalf("%s, %s, dim %d: vector %d is %v, law %v", name, what, dim, i, got[i], law[i])
					}
				}
			}
			Metric(m).Table(q, columns, &got)
			hold("any")
			for isa, code := range tableCodes(Metric(m)) {
				code(&q[0], dim, &columns[0], &got[0])
				hold(isa)
			}
			for i := range got {
				var sum float32
				for j, x := range q {
					y := columns[Columns*j+i]
					sum += []float32{x * y, (x - y) * (x - y), abs(x - y)}[m]
				}
				got[i] = sum
			}
			hold("one by one")
		}
	}
	for _, ask := range []func(){
		func() { Dot.Table([]float32{1}, make([]float32, 255), new([Columns]float32)) },
		func() { Metric(3).Table([]float32{1}, make([]float32, 256), new([Columns]float32)) },
		func() { Times(make([]float32, 2), make([]float32, 3)) },
		func() { Cross(make([]float32, 2), make([]float32, 3)) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Error("did not panic")
				}
			}()
			ask()
		}()
	}
}

func TestLeast(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 10))
	v := (*[Columns]float32)(beforeFault[float32](t, Columns))
	for round := range 2000 {
		values := 1 + rng.IntN(400)
		for i := range v {
			if v[i] = float32(rng.IntN(values)); rng.IntN(20) == 0 {
				v[i] = float32(math.Inf(1))
			}
			if rng.IntN(20) == 0 || round == 0 {
				v[i] = float32(math.NaN())
			}
		}
		want := 0
		for i, x := range v {
			if x < v[want] || x == x && v[want] != v[want] {
				want = i
			}
		}
		if a, b := Least(v), leastLaw(v); a != want || b != want {
			t.Fatalf("%v: %d, law %d, want %d", v, a, b, want)
		}
	}
}

// TestElements: sums, differences and products have the law's bits.
func TestElements(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 12))
	for n := range 200 {
		a, b := beforeFault[float32](t, n+1)[1:], beforeFault[float32](t, n+1)[1:]
		c, d := make([]float32, n), make([]float32, n)
		for i := range a {
			a[i], b[i] = anyFloat32(rng), anyFloat32(rng)
		}
		copy(c, a)
		copy(d, b)
		for range 2 {
			Cross(a, b)
			crossLaw(c, d)
			Times(a, b)
			timesLaw(c, d)
		}
		for i := range a {
			if !same(a[i], c[i]) || !same(b[i], d[i]) {
				t.Fatalf("%d elements: element %d is %v and %v, law %v and %v", n, i, a[i], b[i], c[i], d[i])
			}
		}
	}
}

func BenchmarkTable(b *testing.B) {
	for m, name := range metricNames {
		q, columns, out := lines[float32](4), lines[float32](4*Columns), (*[Columns]float32)(lines[float32](Columns))
		for name, do := range map[string]func(q, columns []float32, out *[Columns]float32){name + "/any": Metric(m).Table, name + "/law": Metric(m).tableLaw} {
			b.Run(name, func(b *testing.B) {
				for b.Loop() {
					do(q, columns, out)
				}
			})
		}
	}
	for name, do := range map[string]func(*[Columns]float32) int{"least/any": Least, "least/law": leastLaw} {
		b.Run(name, func(b *testing.B) {
			v := new([Columns]float32)
			for b.Loop() {
				do(v)
			}
		})
	}
}
