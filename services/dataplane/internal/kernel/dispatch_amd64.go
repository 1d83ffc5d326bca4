package kernel

import (
	"unsafe"

	"golang.org/x/sys/cpu"
)

// xxVector does the work of xxLaw if CPU and operating system have what some
// implementation needs (the names are set only if the system saves the
// registers). tools/avo writes the implementations; its parameters are: strides
// in bytes, ids nil for contiguous rows, at least one element and one row.

func hasAVX2() bool { return cpu.X86.HasAVX2 }

// hasAVX512 is what all 512-bit code needs.
func hasAVX512() bool {
	return hasAVX2() && cpu.X86.HasAVX512F && cpu.X86.HasAVX512BW && cpu.X86.HasBMI2
}

// hasVNNI is what 512-bit code for codes needs.
func hasVNNI() bool { return hasAVX512() && cpu.X86.HasAVX512VNNI }

// hasPopcount is what 512-bit code needs to count bits.
func hasPopcount() bool { return hasAVX512() && cpu.X86.HasAVX512VPOPCNTDQ }

// hasAVX512Half is what 512-bit code needs to read a part of a row of float16.
func hasAVX512Half() bool { return hasAVX512() && cpu.X86.HasAVX512VL }

func hasF16C() bool { return hasAVX2() && cpu.X86.HasF16C }

func (m Metric) float32Vector(q, rows *float32, dim, stride int, ids *uint32, n int, out *float32) bool {
	switch {
	case m > L1:
		return false
	case hasAVX512():
		switch m {
		case Dot:
			dotF32AVX512(q, rows, dim, stride, ids, n, out)
		case L2:
			l2F32AVX512(q, rows, dim, stride, ids, n, out)
		case L1:
			l1F32AVX512(q, rows, dim, stride, ids, n, out)
		}
	case hasAVX2():
		switch m {
		case Dot:
			dotF32AVX2(q, rows, dim, stride, ids, n, out)
		case L2:
			l2F32AVX2(q, rows, dim, stride, ids, n, out)
		case L1:
			l1F32AVX2(q, rows, dim, stride, ids, n, out)
		}
	default:
		return false
	}
	return true
}

func (m Metric) codeVector(signed bool, q, rows unsafe.Pointer, dim, stride int, ids *uint32, n int, out *int64) bool {
	switch {
	case m > L1:
		return false
	case hasVNNI() && signed:
		switch m {
		case Dot:
			dotI8AVX512((*int8)(q), (*int8)(rows), dim, stride, ids, n, out)
		case L2:
			l2I8AVX512((*int8)(q), (*int8)(rows), dim, stride, ids, n, out)
		case L1:
			l1I8AVX512((*int8)(q), (*int8)(rows), dim, stride, ids, n, out)
		}
	case hasVNNI():
		switch m {
		case Dot:
			dotU8AVX512((*uint8)(q), (*uint8)(rows), dim, stride, ids, n, out)
		case L2:
			l2U8AVX512((*uint8)(q), (*uint8)(rows), dim, stride, ids, n, out)
		case L1:
			l1U8AVX512((*uint8)(q), (*uint8)(rows), dim, stride, ids, n, out)
		}
	case hasAVX2() && signed:
		switch m {
		case Dot:
			dotI8AVX2((*int8)(q), (*int8)(rows), dim, stride, ids, n, out)
		case L2:
			l2I8AVX2((*int8)(q), (*int8)(rows), dim, stride, ids, n, out)
		case L1:
			l1I8AVX2((*int8)(q), (*int8)(rows), dim, stride, ids, n, out)
		}
	case hasAVX2():
		switch m {
		case Dot:
			dotU8AVX2((*uint8)(q), (*uint8)(rows), dim, stride, ids, n, out)
		case L2:
			l2U8AVX2((*uint8)(q), (*uint8)(rows), dim, stride, ids, n, out)
		case L1:
			l1U8AVX2((*uint8)(q), (*uint8)(rows), dim, stride, ids, n, out)
		}
	default:
		return false
	}
	return true
}

func (m Metric) float16Vector(q *float32, rows *uint16, dim, stride int, ids *uint32, n int, out *float32) bool {
	switch {
	case m > L1:
		return false
	case hasAVX512Half():
		switch m {
		case Dot:
			dotF16AVX512(q, rows, dim, stride, ids, n, out)
		case L2:
			l2F16AVX512(q, rows, dim, stride, ids, n, out)
		case L1:
			l1F16AVX512(q, rows, dim, stride, ids, n, out)
		}
	case hasF16C():
		switch m {
		case Dot:
			dotF16AVX2(q, rows, dim, stride, ids, n, out)
		case L2:
			l2F16AVX2(q, rows, dim, stride, ids, n, out)
		case L1:
			l1F16AVX2(q, rows, dim, stride, ids, n, out)
		}
	default:
		return false
	}
	return true
}

func bitsVector(c bitCount, q, rows *uint8, dim, stride int, ids *uint32, n int, out *int64) bool {
	switch {
	case hasPopcount() && c == common:
		commonAVX512(q, rows, dim, stride, ids, n, out)
	case hasPopcount():
		hammingAVX512(q, rows, dim, stride, ids, n, out)
	case hasAVX2() && c == common:
		commonAVX2(q, rows, dim, stride, ids, n, out)
	case hasAVX2():
		hammingAVX2(q, rows, dim, stride, ids, n, out)
	default:
		return false
	}
	return true
}

func (l Levels) vector(q *int8, rows *uint8, size, stride int, ids *uint32, n int, out *int64) bool {
	switch {
	case l != Levels2 && l != Levels4:
		return false
	case hasVNNI() && l == Levels2:
		levels2AVX512(q, rows, size, stride, ids, n, out)
	case hasVNNI():
		levels4AVX512(q, rows, size, stride, ids, n, out)
	case hasAVX2() && l == Levels2:
		levels2AVX2(q, rows, size, stride, ids, n, out)
	case hasAVX2():
		levels4AVX2(q, rows, size, stride, ids, n, out)
	default:
		return false
	}
	return true
}

func (m Metric) tableVector(q *float32, dim int, columns, out *float32) bool {
	switch {
	case m > L1:
		return false
	case hasAVX512():
		switch m {
		case Dot:
			dotTableAVX512(q, dim, columns, out)
		case L2:
			l2TableAVX512(q, dim, columns, out)
		case L1:
			l1TableAVX512(q, dim, columns, out)
		}
	case hasAVX2():
		switch m {
		case Dot:
			dotTableAVX2(q, dim, columns, out)
		case L2:
			l2TableAVX2(q, dim, columns, out)
		case L1:
			l1TableAVX2(q, dim, columns, out)
		}
	default:
		return false
	}
	return true
}

// elementsVector does the work of Times or Cross for a number of elements that is
// a multiple of eight.
func elementsVector(cross bool, a, b *float32, n int) bool {
	switch {
	case !hasAVX2():
		return false
	case cross:
		crossAVX2(a, b, n)
	default:
		timesAVX2(a, b, n)
	}
	return true
}

func hadamardVector(x *float32, n int) bool {
	if hasAVX2() {
		hadamardAVX2(x, n)
		return true
	}
	return false
}

func leastVector(v *uint32) int {
	if hasAVX2() {
		return leastAVX2(v)
	}
	return -1
}
