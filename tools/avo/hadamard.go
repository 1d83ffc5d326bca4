package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// hadamard transforms in place. Steps below eight stay in a register: its lanes
// change places, and one of each two is negated before they are added.
func hadamard() {
	signs := GLOBL("hadamardsigns", RODATA|NOPTR)
	for i := range 3 {
		for lane := range 8 {
			DATA(32*i+4*lane, U32(uint32(lane>>i&1)<<31))
		}
	}
	TEXT("hadamardAVX2", NOSPLIT, "func(x *float32, n int)")
	Pragma("noescape")
	Doc("hadamardAVX2 transforms n elements in place; n is a power of two, at least 16.")
	x := Load(Param("x"), GP64()).(reg.GPVirtual)
	n := Load(Param("n"), GP64()).(reg.GPVirtual)
	SHLQ(U8(2), n)
	end := GP64()
	LEAQ(Mem{Base: x, Index: n, Scale: 1}, end)

	table := GP64()
	LEAQ(signs, table)
	var negate [3]reg.VecVirtual
	for i := range negate {
		negate[i] = YMM()
		VMOVUPS(Mem{Base: table, Disp: 32 * i}, negate[i])
	}
	p := GP64()
	MOVQ(x, p)
	Label("registers")
	for _, at := range []int{0, 32} {
		v, swapped := YMM(), YMM()
		VMOVUPS(Mem{Base: p, Disp: at}, v)
		for i := range negate {
			switch i {
			case 0:
				VPERMILPS(U8(0xb1), v, swapped)
			case 1:
				VPERMILPS(U8(0x4e), v, swapped)
			default:
				VPERM2F128(U8(1), v, v, swapped)
			}
			VXORPS(negate[i], v, v)
			VADDPS(v, swapped, v)
		}
		VMOVUPS(v, Mem{Base: p, Disp: at})
	}
	ADDQ(U8(64), p)
	CMPQ(p, end)
	JNE(LabelRef("registers"))

	step, until := GP64(), GP64()
	MOVQ(U32(32), step)
	Label("step")
	MOVQ(x, p)
	Label("group")
	LEAQ(Mem{Base: p, Index: step, Scale: 1}, until)
	Label("pair")
	a, b, sum := YMM(), YMM(), YMM()
	other := Mem{Base: p, Index: step, Scale: 1}
	VMOVUPS(Mem{Base: p}, a)
	VMOVUPS(other, b)
	VADDPS(b, a, sum)
	VSUBPS(b, a, a)
	VMOVUPS(sum, Mem{Base: p})
	VMOVUPS(a, other)
	ADDQ(U8(32), p)
	CMPQ(p, until)
	JNE(LabelRef("pair"))
	ADDQ(step, p)
	CMPQ(p, end)
	JNE(LabelRef("group"))
	ADDQ(step, step)
	CMPQ(step, n)
	JNE(LabelRef("step"))
	VZEROUPPER()
	RET()
}

// elements combines two vectors element by element: the first becomes the one
// result, and the second the other, if there is one.
func elements(name string, first, second func(ops ...Op)) {
	TEXT(name+"AVX2", NOSPLIT, "func(a, b *float32, n int)")
	Pragma("noescape")
	Doc(name + "AVX2 works on n elements; n is a multiple of eight, at least 8.")
	a, b := Load(Param("a"), GP64()).(reg.GPVirtual), Load(Param("b"), GP64()).(reg.GPVirtual)
	n := Load(Param("n"), GP64()).(reg.GPVirtual)
	LEAQ(Mem{Base: a, Index: n, Scale: 4}, a)
	LEAQ(Mem{Base: b, Index: n, Scale: 4}, b)
	NEGQ(n)
	Label("eight")
	x, y, z := YMM(), YMM(), YMM()
	atA, atB := Mem{Base: a, Index: n, Scale: 4}, Mem{Base: b, Index: n, Scale: 4}
	VMOVUPS(atA, x)
	VMOVUPS(atB, y)
	first(y, x, z)
	VMOVUPS(z, atA)
	if second != nil {
		second(y, x, x)
		VMOVUPS(x, atB)
	}
	ADDQ(U8(8), n)
	JNZ(LabelRef("eight"))
	VZEROUPPER()
	RET()
}
