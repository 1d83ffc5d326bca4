package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// columns are how many vectors a table is made of.
const columns = 256

// tables compare one short vector with 256, whose elements lie side by side: the
// first elements of all, then the second. Terms are added in the order of elements.
func tables() {
	for _, m := range metrics {
		for _, wide := range []bool{false, true} {
			table(m.name, m.doc, wide)
		}
	}
}

func table(metric, doc string, wide bool) {
	k := &kernel{wide: wide}
	name, lanes, regs := metric+"Table"+suffix(wide), 8, 8
	if wide {
		lanes, regs = 16, 16
	}
	TEXT(name, NOSPLIT, "func(q *float32, dim int, columns *float32, out *float32)")
	Pragma("noescape")
	Doc(name+" sets out[0..256) to the "+doc+" of q and 256 vectors of dim elements,",
		"element j of vector i being columns[256*j+i]. dim must be at least 1.")
	q := Load(Param("q"), GP64()).(reg.GPVirtual)
	dim := Load(Param("dim"), GP64()).(reg.GPVirtual)
	from := Load(Param("columns"), GP64()).(reg.GPVirtual)
	out := Load(Param("out"), GP64()).(reg.GPVirtual)
	var positive reg.VecVirtual
	if metric == "l1" {
		positive = k.vec()
		mask := GP32()
		MOVL(U32(0x7fffffff), mask)
		VMOVD(mask, positive.AsX())
		VPBROADCASTD(positive.AsX(), positive)
	}
	left := GP64()
	MOVQ(U32(columns/(lanes*regs)), left)
	Label("block")
	acc := make([]reg.VecVirtual, regs)
	for i := range acc {
		acc[i] = k.vec()
		k.zero(acc[i])
	}
	j, p := GP64(), GP64()
	XORQ(j, j)
	MOVQ(from, p)
	Label("element")
	x, t := k.vec(), k.vec()
	VBROADCASTSS(Mem{Base: q, Index: j, Scale: 4}, x)
	for i := range acc {
		at := Mem{Base: p, Disp: 4 * lanes * i}
		if metric == "dot" {
			VMULPS(at, x, t)
		} else {
			VSUBPS(at, x, t)
		}
		switch {
		case metric == "l2":
			VMULPS(t, t, t)
		case metric == "l1" && wide:
			VPANDD(positive, t, t)
		case metric == "l1":
			VPAND(positive, t, t)
		}
		VADDPS(t, acc[i], acc[i])
	}
	ADDQ(U32(4*columns), p)
	INCQ(j)
	CMPQ(j, dim)
	JNE(LabelRef("element"))
	for i := range acc {
		VMOVUPS(acc[i], Mem{Base: out, Disp: 4 * lanes * i})
	}
	ADDQ(U32(uint32(4*lanes*regs)), from)
	ADDQ(U32(uint32(4*lanes*regs)), out)
	DECQ(left)
	JNZ(LabelRef("block"))
	VZEROUPPER()
	RET()
}

// least finds the first of the smallest of 256 numbers.
func least() {
	TEXT("leastAVX2", NOSPLIT, "func(v *uint32) int")
	Pragma("noescape")
	Doc("leastAVX2 gives the place of the first of the smallest of 256 numbers.")
	v := Load(Param("v"), GP64()).(reg.GPVirtual)
	var low [4]reg.VecVirtual
	for i := range low {
		low[i] = YMM()
		VMOVDQU(Mem{Base: v, Disp: 32 * i}, low[i])
	}
	for i := len(low); i < columns/8; i++ {
		VPMINUD(Mem{Base: v, Disp: 32 * i}, low[i%len(low)], low[i%len(low)])
	}
	VPMINUD(low[1], low[0], low[0])
	VPMINUD(low[3], low[2], low[2])
	VPMINUD(low[2], low[0], low[0])
	other := YMM()
	VPERM2I128(U8(1), low[0], low[0], other)
	VPMINUD(other, low[0], low[0])
	VPSHUFD(U8(0x4e), low[0], other)
	VPMINUD(other, low[0], low[0])
	VPSHUFD(U8(0xb1), low[0], other)
	VPMINUD(other, low[0], low[0])
	at, bits := GP64(), GP32()
	XORQ(at, at)
	Label("look")
	VPCMPEQD(Mem{Base: v, Index: at, Scale: 4}, low[0], other)
	VMOVMSKPS(other, bits)
	ADDQ(U8(8), at)
	TESTL(bits, bits)
	JZ(LabelRef("look"))
	BSFL(bits, bits)
	LEAQ(Mem{Base: at, Index: bits.As64(), Scale: 1, Disp: -8}, at)
	VZEROUPPER()
	Store(at, ReturnIndex(0))
	RET()
}
