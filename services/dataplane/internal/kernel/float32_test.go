package kernel

import (
	"math"
	"math/rand/v2"
	"testing"
)

func float32Family(m Metric, name string) family[float32, float32, float32] {
	return family[float32, float32, float32]{
		name: name + "/float32", law: m.float32Law, batch: m.Float32, gather: m.GatherFloat32, pair: m.PairFloat32,
		codes: float32Codes(m), same: same, q: anyFloat32, row: anyFloat32,
	}
}

func same(a, b float32) bool {
	return math.Float32bits(a) == math.Float32bits(b) || (a != a && b != b)
}

// anyFloat32 is a number of a vector; one in three thousand is special.
func anyFloat32(rng *rand.Rand) float32 {
	special := []float32{
		float32(math.Inf(1)), float32(math.Inf(-1)), float32(math.NaN()), math.MaxFloat32, math.SmallestNonzeroFloat32,
		-math.SmallestNonzeroFloat32, 1e-39, float32(math.Copysign(0, -1)),
	}
	if i := rng.IntN(3000 * len(special)); i < len(special) {
		return special[i]
	}
	return (rng.Float32() - 0.5) * float32(uint(1)<<rng.IntN(16))
}

var terms = []struct {
	f32 func(a, b float32) float32
	f64 func(a, b float64) float64
}{
	{func(a, b float32) float32 { return a * b }, func(a, b float64) float64 { return a * b }},
	{func(a, b float32) float32 { return (a - b) * (a - b) }, func(a, b float64) float64 { return (a - b) * (a - b) }},
	{func(a, b float32) float32 { return float32(math.Abs(float64(a - b))) }, func(a, b float64) float64 { return math.Abs(a - b) }},
}

// plain follows the package comment word by word.
func plain(term func(a, b float32) float32, a, b []float32) float32 {
	var l [Lanes]float32
	for i := range a {
		l[i%Lanes] += float32(term(a[i], b[i]))
	}
	for half := Lanes / 2; half > 0; half /= 2 {
		for j := range half {
			l[j] += l[j+half]
		}
	}
	return l[0]
}

// TestOrder holds the law to the package comment, and to the bound that follows from it.
func TestOrder(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for k, term := range terms {
		for dim := 1; dim <= 2100; dim++ {
			q, row := make([]float32, dim), make([]float32, dim)
			for i := range q {
				q[i] = float32(rng.NormFloat64() * math.Pow(10, rng.Float64()*4-2))
				row[i] = float32(rng.NormFloat64() * math.Pow(10, rng.Float64()*4-2))
			}
			var out [1]float32
			Metric(k).float32Law(q, Rows[float32]{row, dim}, nil, out[:])
			if want := plain(term.f32, q, row); !same(out[0], want) {
				t.Fatalf("metric %d dim %d: law %v, want %v", k, dim, out[0], want)
			}
			var exact, size float64
			for j := range q {
				e := term.f64(float64(q[j]), float64(row[j]))
				exact, size = exact+e, size+math.Abs(e)
			}
			// Higham: (terms per lane + folds + roundings of a term) units of 2^-24
			bound := (float64(dim)/Lanes + 8) * size / (1 << 23)
			if math.Abs(float64(out[0])-exact) > bound {
				t.Fatalf("metric %d dim %d: %v is off %v by more than %v", k, dim, out[0], exact, bound)
			}
		}
	}
}
