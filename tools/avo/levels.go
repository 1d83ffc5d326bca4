package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// The levels that codes of two and four bits stand for; the law has the same.
var (
	four    = []int{-127, -38, 38, 127}
	sixteen = []int{-127, -96, -75, -58, -44, -31, -18, -6, 6, 18, 31, 44, 58, 75, 96, 127}
)

// levels multiply the numbers that codes stand for by a query. Half a byte of a row
// is looked up in a table: for its code of four bits, or for the lower and the
// upper of its codes of two bits.
func levels() {
	for _, bits := range []int{2, 4} {
		for _, wide := range []bool{false, true} {
			k := &kernel{name: fmt.Sprint("levels", bits, suffix(wide)), doc: "inner products", types: [3]string{"int8", "uint8", "int64"}, wide: wide}
			k.block, k.qSize, k.rowSize, k.sums, k.add, k.widen, k.whole = 32, 8/bits, 1, 1, VPADDD, VPMOVSXDQ, true
			if wide {
				k.levelsVNNI(bits)
			} else {
				k.levelsAVX2(bits)
			}
			emit(k)
		}
	}
}

// nibbles are tables of what half a byte stands for, each with flip exclusive-ored.
func (k *kernel) nibbles(bits int, flip uint8) []reg.VecVirtual {
	of := []func(half int) int{func(half int) int { return sixteen[half] }}
	if bits == 2 {
		of = []func(half int) int{func(half int) int { return four[half%4] }, func(half int) int { return four[half/4] }}
	}
	var tables []reg.VecVirtual
	for i, level := range of {
		name := fmt.Sprint(k.name, "table", i)
		GLOBL(name, RODATA|NOPTR)
		for half := range 16 {
			DATA(half, U8(uint8(level(half))^flip))
		}
		t := k.vec()
		if at := NewDataAddr(Symbol{Name: name, Static: true}, 0); k.wide {
			VBROADCASTI32X4(at, t)
		} else {
			VBROADCASTI128(at, t)
		}
		tables = append(tables, t)
	}
	return tables
}

// vectors are count registers of the query.
func (k *kernel) vectors(from source, count int) (q []reg.VecVirtual) {
	for i := range count {
		v := k.vec()
		k.bytes(source{at: from.at.Offset(i * int(v.Size()))}, v)
		q = append(q, v)
	}
	return q
}

// levelsVNNI has lower halves of bytes beside upper ones in a register. Tables
// moved by 128 are unsigned; what that adds is taken back as by dotVNNI.
func (k *kernel) levelsVNNI(bits int) {
	low, shift, ones, moved := ZMM(), ZMM(), ZMM(), ZMM()
	var tables []reg.VecVirtual
	k.constants = func() {
		tables = k.nibbles(bits, 0x80)
		k.everywhere(0x0f, low)
		k.everywhere(1, ones)
		g, y := GP64(), YMM()
		MOVQ(U32(4), g)
		VMOVQ(g, y.AsX())
		VPBROADCASTQ(y.AsX(), y)
		k.zero(shift)
		VINSERTI64X4(U8(1), y, shift, shift)
	}
	k.query = func(from source) []reg.VecVirtual { return k.vectors(from, len(tables)) }
	k.prepare = func(e *emitter) {
		k.zero(moved)
		e.walk("sum", func(off reg.Register) {
			for _, q := range k.query(e.qAt(off)) {
				VPDPBUSD(q, ones, moved)
			}
		})
		x := k.foldOne([]reg.VecVirtual{moved})
		VPBROADCASTD(x, x)
		VPSLLD(U8(7), x, x)
	}
	k.step = func(acc, q []reg.VecVirtual, row source) {
		halves, t := ZMM(), ZMM()
		VBROADCASTI64X4(row.at, halves)
		VPSRLVQ(shift, halves, halves)
		k.and(low, halves, halves)
		for i, table := range tables {
			VPSHUFB(halves, table, t)
			VPDPBUSD(q[i], t, acc[0])
		}
	}
	k.finish = func(x reg.VecVirtual) { VPSUBD(moved.AsX(), x, x) }
}

// levelsAVX2 multiplies sizes of the query by levels with its signs: 16 bits hold
// the sum of two products, for levels are at least -127.
func (k *kernel) levelsAVX2(bits int) {
	low, ones := YMM(), YMM()
	var tables []reg.VecVirtual
	k.constants = func() {
		tables = k.nibbles(bits, 0)
		k.everywhere(0x0f, low)
		k.everywhere(1, ones)
		VPSRLW(U8(8), ones, ones)
	}
	k.query = func(from source) []reg.VecVirtual { return k.vectors(from, 2*len(tables)) }
	k.step = func(acc, q []reg.VecVirtual, row source) {
		lower, upper, size, t := YMM(), YMM(), YMM(), YMM()
		k.bytes(row, lower)
		VPSRLW(U8(4), lower, upper)
		k.and(low, lower, lower)
		k.and(low, upper, upper)
		for i, table := range tables {
			for j, half := range []reg.VecVirtual{lower, upper} {
				VPSHUFB(half, table, t)
				VPSIGNB(q[2*i+j], t, t)
				VPABSB(q[2*i+j], size)
				VPMADDUBSW(t, size, t)
				VPMADDWD(ones, t, t)
				VPADDD(t, acc[0], acc[0])
			}
		}
	}
}
