package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// bitCounts count the bits in which rows differ from the query, or that they have
// in common with it.
func bitCounts() {
	for _, m := range []struct{ name, doc string }{{"hamming", "Hamming distances"}, {"common", "numbers of common bits"}} {
		for _, wide := range []bool{false, true} {
			k := codeKernel(m.name+suffix(wide), m.doc, wide)
			k.query = func(from source) []reg.VecVirtual {
				q := k.vec()
				k.bytes(from, q)
				return []reg.VecVirtual{q}
			}
			count, meet := VPOPCNTQ, k.xor
			if !wide {
				count = k.countNibbles()
			}
			if m.name == "common" {
				meet = k.and
			}
			k.step = func(acc, q []reg.VecVirtual, row source) {
				t := k.vec()
				meet(k.byteOperand(row, t), q[0], t)
				count(t, t)
				VPADDD(t, acc[0], acc[0])
			}
			emit(k)
		}
	}
}

func (k *kernel) and(a Op, b, to reg.VecVirtual) {
	if k.wide {
		VPANDQ(a, b, to)
	} else {
		VPAND(a, b, to)
	}
}

// countNibbles looks the bits of half a byte up in a table; per eight bytes they
// are added to one number.
func (k *kernel) countNibbles() func(ops ...Op) {
	table, low, zero := YMM(), YMM(), YMM()
	k.constants = func() {
		lo, hi := GP64(), GP64()
		MOVQ(U64(0x0302020102010100), lo)
		MOVQ(U64(0x0403030203020201), hi)
		top := XMM()
		VMOVQ(lo, table.AsX())
		VMOVQ(hi, top)
		VPUNPCKLQDQ(top, table.AsX(), table.AsX())
		VINSERTI128(U8(1), table.AsX(), table, table)
		k.everywhere(0x0f, low)
		k.zero(zero)
	}
	return func(ops ...Op) {
		v, high := ops[0], YMM()
		VPSRLW(U8(4), v, high)
		VPAND(low, v, v)
		VPAND(low, high, high)
		VPSHUFB(v, table, v)
		VPSHUFB(high, table, high)
		VPADDB(high, v, v)
		VPSADBW(zero, v, v)
	}
}
