package kernel

import "golang.org/x/sys/cpu"

// xxVector does the work of xxRows if CPU and operating system have AVX2. The
// vector code is written by tools/avo.

func dotVector(q, rows, out []float32) bool {
	if !cpu.X86.HasAVX2 || len(rows) == 0 {
		return false
	}
	dotAVX2(&q[0], &rows[0], len(q), len(out), &out[0])
	return true
}

func l2Vector(q, rows, out []float32) bool {
	if !cpu.X86.HasAVX2 || len(rows) == 0 {
		return false
	}
	l2AVX2(&q[0], &rows[0], len(q), len(out), &out[0])
	return true
}

func l1Vector(q, rows, out []float32) bool {
	if !cpu.X86.HasAVX2 || len(rows) == 0 {
		return false
	}
	l1AVX2(&q[0], &rows[0], len(q), len(out), &out[0])
	return true
}
