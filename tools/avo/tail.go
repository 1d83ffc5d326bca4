package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// AVX2 masks loads of dwords only. Rows of smaller elements have their tail
// copied into a block of zeros on the stack.

func (e *emitter) copies() {
	if e.rowSize == 4 {
		return
	}
	zero := YMM()
	VXORPS(zero, zero, zero)
	e.rowTail = source{at: AllocLocal(32)}
	VMOVUPS(zero, e.rowTail.at)
	if e.qSize < 4 {
		e.qTail = source{at: AllocLocal(32)}
		VMOVUPS(zero, e.qTail.at)
		e.copyTail("q", e.q, e.qTail.at)
	}
}

// stepTail compares the elements behind the whole blocks of row r.
func (e *emitter) stepTail(acc []reg.VecVirtual, r reg.GPVirtual) {
	q, row := e.qTail, e.rowTail
	if e.qSize == 4 {
		q = source{at: Mem{Base: e.q}, part: partMask(e.tail)}
	}
	if e.rowSize == 4 {
		row = source{at: Mem{Base: r}, part: q.part}
	} else {
		e.copyTail("row", r, row.at)
	}
	e.step(acc, e.query(q), row)
}

// partMask points at sixteen dwords, of which the first tail are all ones.
func partMask(tail Mem) reg.Register {
	p, n := GP64(), GP64()
	LEAQ(NewDataAddr(Symbol{Name: "tailmask", Static: true}, 64), p)
	MOVQ(tail, n)
	SHLQ(U8(2), n)
	SUBQ(n, p)
	return p
}

// tailMask are sixteen dwords of ones and sixteen of zeros.
func tailMask() {
	GLOBL("tailmask", RODATA|NOPTR)
	for i := range 32 {
		m := U32(0)
		if i < 16 {
			m = 0xffffffff
		}
		DATA(4*i, m)
	}
}

// copyTail copies the tail, up to 31 bytes, from p: two moves that may overlap,
// of the greatest size that fits, so that no byte behind it is read. label names
// the jumps.
func (e *emitter) copyTail(label string, p reg.GPVirtual, to Mem) {
	n, d, g := GP64(), GP64(), GP64()
	x := XMM()
	MOVQ(e.tail, n)
	scale(n, e.rowSize)
	LEAQ(to, d)
	last := func(base reg.Register, size int) Mem { return Mem{Base: base, Index: n, Scale: 1, Disp: -size} }
	for _, c := range []struct {
		size int
		move func(from, to Op)
	}{
		{16, func(from, to Op) { VMOVUPS(from, x); VMOVUPS(x, to) }},
		{8, func(from, to Op) { MOVQ(from, g); MOVQ(g, to) }},
		{4, func(from, to Op) { MOVL(from, g.As32()); MOVL(g.As32(), to) }},
		{2, func(from, to Op) { MOVW(from, g.As16()); MOVW(g.As16(), to) }},
		{1, func(from, to Op) { MOVB(from, g.As8()); MOVB(g.As8(), to) }},
	} {
		below := fmt.Sprint(label, "below", c.size)
		CMPQ(n, U8(c.size))
		JL(LabelRef(below))
		c.move(Mem{Base: p}, Mem{Base: d})
		c.move(last(p, c.size), last(d, c.size))
		JMP(LabelRef(label + "copied"))
		Label(below)
	}
	Label(label + "copied")
}
