package kernel

import "golang.org/x/sys/cpu"

// hasAVX2 is what this CPU and operating system can do, asked once. The vector
// code is written by tools/avo.
var hasAVX2 = cpu.X86.HasAVX2

// xxVector does the work of xxRows if the CPU has the instructions.

func dotVector(q, rows, out []float32) bool {
	if !hasAVX2 || len(rows) == 0 {
		return false
	}
	dotAVX2(&q[0], &rows[0], len(q), len(out), &out[0])
	return true
}

func l2Vector(q, rows, out []float32) bool {
	if !hasAVX2 || len(rows) == 0 {
		return false
	}
	l2AVX2(&q[0], &rows[0], len(q), len(out), &out[0])
	return true
}

func l1Vector(q, rows, out []float32) bool {
	if !hasAVX2 || len(rows) == 0 {
		return false
	}
	l1AVX2(&q[0], &rows[0], len(q), len(out), &out[0])
	return true
}
