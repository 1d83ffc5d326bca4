// Command avo writes the vector code of package kernel. It follows the law in
// the package comment there: sixteen lanes, separate multiplication and
// addition, folding in halves, so that its bits are those of the Go code.
//
//	cd tools/avo && go run . -out ../../services/dataplane/internal/kernel/kernel_amd64.s \
//	  -stubs ../../services/dataplane/internal/kernel/stubs_amd64.go -pkg kernel
package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// blockBytes is the size of sixteen lanes, and of a cache line.
const blockBytes = 64

// ahead is how far rows are prefetched, in bytes. The processor's own prefetcher
// stops at page ends.
const ahead = 1536

// metric emits acc += term(q, row) for one register: v holds q's part on entry.
type metric struct {
	name string
	doc  string
	term func(row Op, v reg.VecVirtual)
}

func main() {
	sign := GLOBL("absmask", RODATA|NOPTR)
	for i := range 8 {
		DATA(4*i, U32(0x7fffffff))
	}
	mask := GLOBL("tailmask", RODATA|NOPTR)
	for i := range 16 {
		m := U32(0)
		if i < 8 {
			m = 0xffffffff
		}
		DATA(4*i, m)
	}
	avx2(mask, metric{"dot", "inner products", func(row Op, v reg.VecVirtual) { VMULPS(row, v, v) }})
	avx2(mask, metric{"l2", "squared Euclidean distances", func(row Op, v reg.VecVirtual) {
		VSUBPS(row, v, v)
		VMULPS(v, v, v)
	}})
	avx2(mask, metric{"l1", "Manhattan distances", func(row Op, v reg.VecVirtual) {
		VSUBPS(row, v, v)
		VANDPS(sign, v, v)
	}})
	Generate()
}

// args are the parameters of every kernel, in registers, and what follows from them.
type args struct {
	q, row, n, out reg.GPVirtual
	blocks         reg.GPVirtual // bytes of q in whole blocks
	tail           reg.GPVirtual // floats after them
	at             reg.GPVirtual // byte offset inside the row
}

func begin(m metric, isa string) args {
	TEXT(m.name+isa, NOSPLIT, "func(q, rows *float32, dim, n int, out *float32)")
	Pragma("noescape")
	Doc(m.name+isa+" sets out[0..n) to the "+m.doc+" of q and n rows of dim floats.", "dim and n must be at least 1.")
	a := args{blocks: GP64(), tail: GP64(), at: GP64()}
	a.q = Load(Param("q"), GP64()).(reg.GPVirtual)
	a.row = Load(Param("rows"), GP64()).(reg.GPVirtual)
	Load(Param("dim"), a.tail)
	a.n = Load(Param("n"), GP64()).(reg.GPVirtual)
	a.out = Load(Param("out"), GP64()).(reg.GPVirtual)
	MOVQ(a.tail, a.blocks)
	SHRQ(U8(4), a.blocks)
	SHLQ(U8(6), a.blocks)
	ANDQ(U8(15), a.tail)
	return a
}

func (a args) qAt(off int) Mem   { return Mem{Base: a.q, Index: a.at, Scale: 1, Disp: off} }
func (a args) rowAt(off int) Mem { return Mem{Base: a.row, Index: a.at, Scale: 1, Disp: off} }

// end moves on to the next row.
func (a args) end(fold reg.VecVirtual) {
	VMOVSS(fold, Mem{Base: a.out})
	ADDQ(U8(4), a.out)
	ADDQ(a.blocks, a.row)
	LEAQ(Mem{Base: a.row, Index: a.tail, Scale: 4}, a.row)
	DECQ(a.n)
	JNZ(LabelRef("row"))
	VZEROUPPER()
	RET()
}

// foldFrom8 adds eight lanes up in halves.
func foldFrom8(y reg.VecVirtual) {
	hi := XMM()
	VEXTRACTF128(U8(1), y, hi)
	x := y.AsX().(reg.VecVirtual)
	VADDPS(hi, x, x)
	VMOVHLPS(x, x, hi)
	VADDPS(hi, x, x)
	VMOVSHDUP(x, hi)
	VADDSS(hi, x, x)
}

// avx2 emits one kernel: lanes 0..7 in one register, 8..15 in another.
func avx2(mask Mem, m metric) {
	a := begin(m, "AVX2")
	lo, hi, v, w := YMM(), YMM(), YMM(), YMM()
	Label("row")
	VXORPS(lo, lo, lo)
	VXORPS(hi, hi, hi)
	XORQ(a.at, a.at)
	CMPQ(a.at, a.blocks)
	JE(LabelRef("rest"))
	Label("block")
	PREFETCHT0(a.rowAt(ahead))
	VMOVUPS(a.qAt(0), v)
	VMOVUPS(a.qAt(32), w)
	m.term(a.rowAt(0), v)
	m.term(a.rowAt(32), w)
	VADDPS(v, lo, lo)
	VADDPS(w, hi, hi)
	ADDQ(U8(blockBytes), a.at)
	CMPQ(a.at, a.blocks)
	JNE(LabelRef("block"))

	Label("rest")
	left, table := GP64(), GP64()
	MOVQ(a.tail, left)
	TESTQ(left, left)
	JZ(LabelRef("fold"))
	CMPQ(left, U8(8))
	JL(LabelRef("few"))
	VMOVUPS(a.qAt(0), v)
	m.term(a.rowAt(0), v)
	VADDPS(v, lo, lo)
	ADDQ(U8(32), a.at)
	SUBQ(U8(8), left)
	JZ(LabelRef("fold"))
	part := func(acc reg.VecVirtual) {
		LEAQ(mask.Offset(32), table)
		SHLQ(U8(2), left)
		SUBQ(left, table)
		ms := YMM()
		VMOVUPS(Mem{Base: table}, ms)
		VMASKMOVPS(a.qAt(0), ms, v)
		VMASKMOVPS(a.rowAt(0), ms, w)
		m.term(w, v)
		VADDPS(v, acc, acc)
	}
	part(hi)
	JMP(LabelRef("fold"))
	Label("few")
	part(lo)

	Label("fold")
	VADDPS(hi, lo, lo)
	foldFrom8(lo)
	a.end(lo.AsX().(reg.VecVirtual))
}
