// Command avo writes the vector code of package kernel: one function for each
// metric, element type and instruction set. It follows the law in the package
// comment there, so that its bits are those of the Go code.
//
//	cd tools/avo && go run . -out ../../services/dataplane/internal/kernel/kernel_amd64.s \
//	  -stubs ../../services/dataplane/internal/kernel/stubs_amd64.go -pkg kernel
//
// emit.go walks the rows, the other files compare one block of elements.
package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// kernel is one function to be written.
type kernel struct {
	name  string    // dotF32AVX512
	doc   string    // what it computes
	types [3]string // of the query, the rows and the output
	wide  bool      // 512 bits

	block          int // elements compared per step, a power of two
	qSize, rowSize int // bytes per element
	sums           int // accumulators per row, added up in their order

	// whole: rows are whole blocks, there is no tail.
	whole bool

	// constants are loaded once per call, before prepare.
	constants func()
	// prepare may walk the query once more before the first row (nil: nothing to do).
	prepare func(e *emitter)
	// query loads the query's part of a block, shared by the rows.
	query func(from source) []reg.VecVirtual
	// step adds a block of a row to that row's accumulators.
	step func(acc, q []reg.VecVirtual, row source)
	// add is the addition that folds accumulators and lanes: VADDPS or VPADDD.
	add func(ops ...Op)
	// finish turns up to four sums in x into what is stored (nil: nothing to do).
	finish func(x reg.VecVirtual)
	// widen makes int64 of 32-bit sums (nil: sums are float32).
	widen func(ops ...Op)
}

func (k *kernel) outSize() int {
	if k.widen == nil {
		return 4
	}
	return 8
}

// vec is a register of the kernel's width.
func (k *kernel) vec() reg.VecVirtual {
	if k.wide {
		return ZMM()
	}
	return YMM()
}

func (k *kernel) zero(v reg.VecVirtual) {
	if k.wide {
		VPXORQ(v, v, v)
	} else {
		VXORPS(v, v, v)
	}
}

// source is one block of the query or of a row, in memory. Lanes beyond the
// mask, if there is one, are not read and count as zero.
type source struct {
	at   Mem
	mask reg.Register // an opmask for 512 bits
	part reg.Register // a pointer to sixteen dwords of ones and zeros for 256 bits
}

// offset is the same further on; only for sources without a mask.
func (s source) offset(n int) Op { return s.at.Offset(n) }

func main() {
	tailMask()
	float32s()
	codes()
	bitCounts()
	levels()
	float16s()
	hadamard()
	elements("times", VMULPS, nil)
	elements("cross", VADDPS, VSUBPS)
	tables()
	least()
	Generate()
}
