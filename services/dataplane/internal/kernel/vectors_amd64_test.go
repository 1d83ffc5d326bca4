package kernel

import "golang.org/x/sys/cpu"

// vectorCode lists every implementation that this CPU can run, for the tests to
// hold against the law; the dispatch alone would show only the widest.
func vectorCode() map[string][3]func(q, rows, out []float32) {
	wrap := func(f func(q, rows *float32, dim, n int, out *float32)) func(q, rows, out []float32) {
		return func(q, rows, out []float32) { f(&q[0], &rows[0], len(q), len(out), &out[0]) }
	}
	m := map[string][3]func(q, rows, out []float32){}
	if cpu.X86.HasAVX2 {
		m["avx2"] = [3]func(q, rows, out []float32){wrap(dotAVX2), wrap(l2AVX2), wrap(l1AVX2)}
	}
	return m
}
