package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Sums of codes are exact in 32 bits up to 65,536 elements, so their order is free.

func codes() {
	for _, signed := range []bool{false, true} {
		for _, m := range metrics {
			for _, wide := range []bool{false, true} {
				k := codeKernel(m.name+"U8"+suffix(wide), m.doc, wide)
				if signed {
					k.name = m.name + "I8" + suffix(wide)
					k.types = [3]string{"int8", "int8", "int64"}
				}
				switch {
				case m.name == "l1":
					k.l1(signed)
				case m.name == "dot" && wide:
					k.dotVNNI(signed)
				default:
					k.words(m.name, signed)
				}
				emit(k)
			}
		}
	}
}

// codeKernel compares one register of bytes per step.
func codeKernel(name, doc string, wide bool) *kernel {
	k := &kernel{name: name, doc: doc, types: [3]string{"uint8", "uint8", "int64"}, wide: wide}
	k.block, k.qSize, k.rowSize, k.sums, k.add, k.widen = 32, 1, 1, 1, VPADDD, VPMOVZXDQ
	if wide {
		k.block = 64
	}
	return k
}

// bytes reads a block of codes into v.
func (k *kernel) bytes(from source, v reg.VecVirtual) {
	switch {
	case from.mask != nil:
		VMOVDQU8_Z(from.at, from.mask, v)
	case k.wide:
		VMOVDQU64(from.at, v)
	default:
		VMOVDQU(from.at, v)
	}
}

// byteOperand is a block of codes: memory where it can be read whole.
func (k *kernel) byteOperand(from source, t reg.VecVirtual) Op {
	if from.mask == nil {
		return from.at
	}
	k.bytes(from, t)
	return t
}

func (k *kernel) xor(a Op, b, to reg.VecVirtual) {
	if k.wide {
		VPXORQ(a, b, to)
	} else {
		VPXOR(a, b, to)
	}
}

// everywhere fills v with one byte.
func (k *kernel) everywhere(b uint8, v reg.VecVirtual) {
	g := GP32()
	MOVL(U32(uint32(b)*0x01010101), g)
	if k.wide {
		VPBROADCASTD(g, v)
	} else {
		VMOVD(g, v.AsX())
		VPBROADCASTD(v.AsX(), v)
	}
}

// words compares codes as 16-bit numbers, half a block to a register.
func (k *kernel) words(metric string, signed bool) {
	k.sums = 2
	extend := VPMOVZXBW
	if signed {
		extend = VPMOVSXBW
		if metric == "dot" {
			k.widen = VPMOVSXDQ
		}
	}
	halves := func(from source) []reg.VecVirtual {
		v := []reg.VecVirtual{k.vec(), k.vec()}
		if from.mask == nil {
			extend(from.at, v[0])
			extend(from.offset(k.block/2), v[1])
			return v
		}
		b, top := ZMM(), YMM()
		k.bytes(from, b)
		VEXTRACTI64X4(U8(1), b, top)
		extend(b.AsY(), v[0])
		extend(top, v[1])
		return v
	}
	k.query = halves
	k.step = func(acc, q []reg.VecVirtual, row source) {
		for i, r := range halves(row) {
			other := q[i]
			if metric == "l2" {
				VPSUBW(r, q[i], r)
				other = r
			}
			if k.wide {
				VPDPWSSD(other, r, acc[i])
			} else {
				VPMADDWD(other, r, r)
				VPADDD(r, acc[i], acc[i])
			}
		}
	}
}

// dotVNNI multiplies an unsigned by a signed code in one instruction. Flipping
// the top bit of one side moves its range by 128, which adds 128 times the sum
// of the other side: the query's, so it is taken back once per row.
func (k *kernel) dotVNNI(signed bool) {
	bias, ones, moved := ZMM(), ZMM(), ZMM()
	k.constants = func() {
		k.everywhere(0x80, bias)
		k.everywhere(1, ones)
	}
	product := func(unsigned, signedOp, acc reg.VecVirtual) { VPDPBUSD(signedOp, unsigned, acc) }
	k.prepare = func(e *emitter) {
		k.zero(moved)
		add := func(q reg.VecVirtual) {
			if signed {
				product(ones, q, moved)
			} else {
				product(q, ones, moved)
			}
		}
		e.walk("sum", func(off reg.Register) { add(k.query(e.qAt(off))[0]) })
		add(k.query(source{at: Mem{Base: e.q}, mask: e.mask})[0])
		x := k.foldOne([]reg.VecVirtual{moved})
		VPBROADCASTD(x, x)
		VPSLLD(U8(7), x, x)
	}
	k.query = func(from source) []reg.VecVirtual {
		q := ZMM()
		k.bytes(from, q)
		return []reg.VecVirtual{q}
	}
	k.step = func(acc, q []reg.VecVirtual, row source) {
		t := ZMM()
		k.xor(k.byteOperand(row, t), bias, t)
		if signed {
			product(t, q[0], acc[0])
		} else {
			product(q[0], t, acc[0])
		}
	}
	k.finish = func(x reg.VecVirtual) { VPADDD(moved.AsX(), x, x) }
	if signed {
		k.widen = VPMOVSXDQ
		k.finish = func(x reg.VecVirtual) { VPSUBD(moved.AsX(), x, x) }
	}
}

// l1 adds absolute differences of unsigned codes, eight at a time. Flipping the
// top bit of both sides makes signed codes unsigned and keeps their distance.
func (k *kernel) l1(signed bool) {
	bias := k.vec()
	if signed {
		k.constants = func() { k.everywhere(0x80, bias) }
	}
	k.query = func(from source) []reg.VecVirtual {
		q := k.vec()
		k.bytes(from, q)
		if signed {
			k.xor(q, bias, q)
		}
		return []reg.VecVirtual{q}
	}
	k.step = func(acc, q []reg.VecVirtual, row source) {
		t := k.vec()
		r := k.byteOperand(row, t)
		if signed {
			k.xor(r, bias, t)
			r = t
		}
		VPSADBW(r, q[0], t)
		VPADDD(t, acc[0], acc[0])
	}
}
