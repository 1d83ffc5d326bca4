package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// All folds go by halves: lane j takes in lane j+8, then j+4, j+2, j+1.

// eight folds the accumulators of one row into eight lanes.
func (k *kernel) eight(acc []reg.VecVirtual) reg.VecVirtual {
	for _, v := range acc[1:] {
		k.add(v, acc[0], acc[0])
	}
	if !k.wide {
		return acc[0]
	}
	hi, lo := YMM(), acc[0].AsY().(reg.VecVirtual)
	VEXTRACTF64X4(U8(1), acc[0], hi)
	k.add(hi, lo, lo)
	return lo
}

// foldOne leaves the sum of a row in the first lane.
func (k *kernel) foldOne(acc []reg.VecVirtual) reg.VecVirtual {
	y, hi := k.eight(acc), XMM()
	x := y.AsX().(reg.VecVirtual)
	VEXTRACTF128(U8(1), y, hi)
	k.add(hi, x, x)
	VMOVHLPS(x, x, hi)
	k.add(hi, x, x)
	VMOVSHDUP(x, hi)
	k.add(hi, x, x)
	return x
}

// foldGroup leaves the sums of four rows in four lanes, in the order of foldOne.
func (k *kernel) foldGroup(acc [][]reg.VecVirtual) reg.VecVirtual {
	var y [group]reg.VecVirtual
	for i := range y {
		y[i] = k.eight(acc[i])
	}
	// two rows to a register, four lanes each
	both := func(a, b reg.VecVirtual) reg.VecVirtual {
		lo, hi := YMM(), YMM()
		VINSERTF128(U8(1), b.AsX(), a, lo)
		VPERM2F128(U8(0x31), b, a, hi)
		k.add(hi, lo, lo)
		return lo
	}
	a, b := both(y[0], y[1]), both(y[2], y[3])
	lo, hi := YMM(), YMM()
	VUNPCKLPS(b, a, lo) // a0 b0 a1 b1
	VUNPCKHPS(b, a, hi) // a2 b2 a3 b3
	k.add(hi, lo, lo)
	VPERMILPS(U8(0x4e), lo, hi)
	k.add(hi, lo, lo) // a b a b
	x, top := lo.AsX().(reg.VecVirtual), XMM()
	VEXTRACTF128(U8(1), lo, top)
	VUNPCKLPS(top, x, x)
	return x
}

// store writes the sums of one row or of a group.
func (e *emitter) store(x reg.VecVirtual, rows int) {
	if e.finish != nil {
		e.finish(x)
	}
	to := Mem{Base: e.out}
	switch {
	case e.widen == nil && rows == 1:
		VMOVSS(x, to)
	case e.widen == nil:
		VMOVUPS(x, to)
	case rows == 1:
		e.widen(x, x)
		VMOVQ(x, to)
	default:
		y := YMM()
		e.widen(x, y)
		VMOVDQU(y, to)
	}
}
