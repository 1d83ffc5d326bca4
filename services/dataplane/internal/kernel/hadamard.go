package kernel

import "unsafe"

// Hadamard transforms x in place, whose length is a power of two: for every step
// of 1, 2, 4.. elements i and i+step of each group of two steps become their sum
// and their difference. It multiplies lengths by the root of len(x). It panics if
// the length is something else.
func Hadamard(x []float32) {
	if len(x) == 0 || len(x)&(len(x)-1) != 0 || len(x) > MaxDim {
		panic("kernel: the length is not a power of two")
	}
	if len(x) < Lanes || !hadamardVector(unsafe.SliceData(x), len(x)) {
		hadamardLaw(x)
	}
}

// hadamardLaw is the law.
func hadamardLaw(x []float32) {
	for step := 1; step < len(x); step *= 2 {
		for from := 0; from < len(x); from += 2 * step {
			crossLaw(x[from:][:step], x[from+step:][:step])
		}
	}
}

// Times multiplies a by b, element by element. It panics if they differ in length.
func Times(a, b []float32) {
	n := whole(a, b)
	if n > 0 && !elementsVector(false, &a[0], &b[0], n) {
		n = 0
	}
	timesLaw(a[n:], b[n:])
}

func timesLaw(a, b []float32) {
	b = b[:len(a)]
	for i, x := range a {
		a[i] = x * b[i]
	}
}

// Cross makes a the sums and b the differences of their elements. It panics if
// they differ in length.
func Cross(a, b []float32) {
	n := whole(a, b)
	if n > 0 && !elementsVector(true, &a[0], &b[0], n) {
		n = 0
	}
	crossLaw(a[n:], b[n:])
}

func crossLaw(a, b []float32) {
	b = b[:len(a)]
	for i, x := range a {
		y := b[i]
		a[i], b[i] = x+y, x-y
	}
}

// whole is how many of the elements vector code can take.
func whole(a, b []float32) int {
	if len(a) != len(b) || len(a) > MaxDim {
		panic("kernel: vectors differ in length")
	}
	return len(a) &^ 7
}
