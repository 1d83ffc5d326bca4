package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// metrics of floats: a term is made from q's part and the row's, and added in a
// separate operation.
var metrics = []struct{ name, doc string }{
	{"dot", "inner products"},
	{"l2", "squared Euclidean distances"},
	{"l1", "Manhattan distances"},
}

func float32s() {
	for _, m := range metrics {
		for _, wide := range []bool{false, true} {
			k := &kernel{name: m.name + "F32" + suffix(wide), doc: m.doc, types: [3]string{"float32", "float32", "float32"}, wide: wide}
			k.block, k.qSize, k.rowSize, k.add = 16, 4, 4, VADDPS
			k.floats(m.name)
			emit(k)
		}
	}
}

// float16s compare a float32 query with rows that are widened as they are read.
func float16s() {
	for _, m := range metrics {
		for _, wide := range []bool{false, true} {
			k := &kernel{name: m.name + "F16" + suffix(wide), doc: m.doc, types: [3]string{"float32", "uint16", "float32"}, wide: wide}
			k.block, k.qSize, k.rowSize, k.add = 16, 4, 2, VADDPS
			k.floats(m.name)
			emit(k)
		}
	}
}

func suffix(wide bool) string {
	if wide {
		return "AVX512"
	}
	return "AVX2"
}

// floats fills in what kernels of sixteen float lanes share: one register of
// sixteen lanes, or two of eight.
func (k *kernel) floats(metric string) {
	k.sums = 2
	if k.wide {
		k.sums = 1
	}
	var sign reg.VecVirtual // all bits but the sign
	if metric == "l1" {
		k.constants = func() {
			sign = k.vec()
			k.ones(sign)
			VPSRLD(U8(1), sign, sign)
		}
	}
	k.query = func(from source) []reg.VecVirtual {
		var q []reg.VecVirtual
		for i := range k.sums {
			v := k.vec()
			k.load(from, i, v)
			q = append(q, v)
		}
		return q
	}
	k.step = func(acc, q []reg.VecVirtual, row source) {
		for i := range acc {
			t := k.vec()
			r := k.operand(row, i, t)
			switch metric {
			case "dot":
				VMULPS(r, q[i], t)
			case "l2":
				VSUBPS(r, q[i], t)
				VMULPS(t, t, t)
			case "l1":
				VSUBPS(r, q[i], t)
				if k.wide {
					VPANDD(sign, t, t)
				} else {
					VANDPS(sign, t, t)
				}
			}
			VADDPS(t, acc[i], acc[i])
		}
	}
}

func (k *kernel) ones(v reg.VecVirtual) {
	if k.wide {
		VPTERNLOGD(U8(0xff), v, v, v)
	} else {
		VPCMPEQD(v, v, v)
	}
}

// operand is the i-th register's worth of a row: memory where it can be read
// whole and as it is, t otherwise.
func (k *kernel) operand(row source, i int, t reg.VecVirtual) Op {
	switch {
	case k.rowSize == 4 && row.mask == nil && row.part == nil:
		return row.offset(32 * i)
	case k.rowSize == 4:
		k.load(row, i, t)
	case row.mask != nil:
		half := YMM()
		VMOVDQU16_Z(row.at, row.mask, half)
		VCVTPH2PS(half, t)
	default:
		VCVTPH2PS(row.offset(16*i), t)
	}
	return t
}

// load reads the i-th register's worth of float32 into v.
func (k *kernel) load(from source, i int, v reg.VecVirtual) {
	at := from.at.Offset(32 * i)
	switch {
	case from.mask != nil:
		VMOVUPS_Z(at, from.mask, v)
	case from.part != nil:
		m := YMM()
		VMOVUPS(Mem{Base: from.part, Disp: 32 * i}, m)
		VMASKMOVPS(at, m, v)
	default:
		VMOVUPS(at, v)
	}
}
