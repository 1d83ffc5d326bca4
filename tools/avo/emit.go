package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

const (
	// group is how many rows of a gather run side by side.
	group = 4
	// ahead is how far contiguous rows are prefetched, in bytes. The processor's
	// own prefetcher stops at page ends.
	ahead = 1536
)

// emitter holds what is alive while one kernel walks the rows. Pointers to rows
// and query point behind the last whole block and offsets count up to zero, so
// that the inner loop needs no comparison.
type emitter struct {
	*kernel
	q, ids, n, out reg.GPVirtual
	stride         Mem // bytes from row to row
	behind         Mem // rows, behind the whole blocks of row 0
	start          Mem // minus the bytes of a row's whole blocks
	tail           Mem // elements after them
	mask           reg.Register
	qTail, rowTail source // copies padded with zeros, where there are no masked loads
}

func emit(k *kernel) {
	TEXT(k.name, NOSPLIT, "func(q *"+k.types[0]+", rows *"+k.types[1]+", dim, stride int, ids *uint32, n int, out *"+k.types[2]+")")
	Pragma("noescape")
	Doc(k.name+" sets out[0..n) to the "+k.doc+" of q and n rows of dim elements.",
		"Row i begins i*stride bytes after rows, or ids[i]*stride bytes if ids is not nil.",
		"dim and n must be at least 1.")
	e := &emitter{kernel: k}
	e.begin()
	TESTQ(e.ids, e.ids)
	JZ(LabelRef("single"))
	if !k.wide && !k.whole {
		CMPQ(e.tail, U8(0))
		JNE(LabelRef("single"))
	}
	CMPQ(e.n, U8(group))
	JL(LabelRef("single"))
	e.groups()
	e.singles()
	Label("done")
	VZEROUPPER()
	RET()
}

// begin loads the parameters and divides a row into whole blocks and a tail.
func (e *emitter) begin() {
	e.q = Load(Param("q"), GP64()).(reg.GPVirtual)
	e.ids = Load(Param("ids"), GP64()).(reg.GPVirtual)
	e.n = Load(Param("n"), GP64()).(reg.GPVirtual)
	e.out = Load(Param("out"), GP64()).(reg.GPVirtual)
	e.stride = param("stride")
	e.behind, e.start = AllocLocal(8), AllocLocal(8)
	whole := Load(Param("dim"), GP64()).(reg.GPVirtual)
	if !e.whole {
		e.divide(whole)
	}
	scale(whole, e.rowSize)
	rows := Load(Param("rows"), GP64())
	ADDQ(whole, rows)
	MOVQ(rows, e.behind)
	if e.qSize == e.rowSize {
		ADDQ(whole, e.q)
	} else {
		LEAQ(Mem{Base: e.q, Index: whole, Scale: uint8(e.qSize / e.rowSize)}, e.q)
	}
	NEGQ(whole)
	MOVQ(whole, e.start)
	if !e.wide && !e.whole {
		e.copies()
	}
	if e.constants != nil {
		e.constants()
	}
	if e.prepare != nil {
		e.prepare(e)
	}
}

// divide takes the tail away from whole, the elements of a row.
func (e *emitter) divide(whole reg.GPVirtual) {
	tail := GP64()
	e.tail = AllocLocal(8)
	MOVQ(whole, tail)
	ANDQ(Imm(uint64(e.block-1)), tail)
	MOVQ(tail, e.tail)
	SUBQ(tail, whole)
	if e.wide {
		ones := GP64()
		MOVQ(I32(-1), ones)
		BZHIQ(tail, ones, ones)
		e.mask = K()
		KMOVQ(ones, e.mask)
	}
}

func param(name string) Mem {
	c, err := Param(name).Resolve()
	if err != nil {
		panic(err)
	}
	return c.Addr
}

func scale(r reg.GPVirtual, size int) {
	for ; size > 1; size /= 2 {
		ADDQ(r, r)
	}
}

// row points r at the row that the n-th next id names.
func (e *emitter) row(id Mem, r reg.GPVirtual) {
	MOVL(id, r.As32())
	IMULQ(e.stride, r)
	ADDQ(e.behind, r)
}

// groups compares four rows at a time with one load of the query, and fetches
// the next four, line by line, into the second-level cache: more misses can be
// open there than at the first level (make bench-kernel shows what that gives
// from main memory, and costs within the second level). A last group of fewer
// than four reaches back: rows that were just compared cost less than rows
// without company.
func (e *emitter) groups() {
	Label("group")
	var r, p [group]reg.GPVirtual
	for i := range group {
		r[i], p[i] = GP64(), GP64()
		e.row(Mem{Base: e.ids, Disp: 4 * i}, r[i])
	}
	CMPQ(e.n, U8(2*group))
	JL(LabelRef("last"))
	for i := range group {
		e.row(Mem{Base: e.ids, Disp: 4 * (group + i)}, p[i])
	}
	JMP(LabelRef("compare"))
	Label("last")
	at := GP64()
	for i := range group {
		LEAQ(Mem{Base: e.n, Disp: -1}, at)
		MOVQ(U32(group+i), p[i])
		CMPQ(at, p[i])
		CMOVQLT(at, p[i])
		e.row(Mem{Base: e.ids, Index: p[i], Scale: 4}, p[i])
	}
	Label("compare")
	acc := e.accumulators(group)
	e.walk("group", func(off reg.Register) {
		for i := range group {
			PREFETCHT1(Mem{Base: p[i], Index: off, Scale: 1})
		}
		q := e.query(e.qAt(off))
		for i := range group {
			e.step(acc[i], q, source{at: Mem{Base: r[i], Index: off, Scale: 1}})
		}
	})
	if e.wide && !e.whole {
		CMPQ(e.tail, U8(0))
		JE(LabelRef("groupfold"))
		q := e.query(source{at: Mem{Base: e.q}, mask: e.mask})
		for i := range group {
			e.step(acc[i], q, source{at: Mem{Base: r[i]}, mask: e.mask})
			PREFETCHT1(Mem{Base: p[i]})
		}
		Label("groupfold")
	}
	e.store(e.foldGroup(acc), group)
	ADDQ(U8(4*group), e.ids)
	ADDQ(U8(e.outSize()*group), e.out)
	SUBQ(U8(group), e.n)
	JZ(LabelRef("done"))
	CMPQ(e.n, U8(group))
	JGE(LabelRef("group"))
	LEAQ(Mem{Base: e.ids, Index: e.n, Scale: 4, Disp: -4 * group}, e.ids)
	LEAQ(Mem{Base: e.out, Index: e.n, Scale: uint8(e.outSize()), Disp: -e.outSize() * group}, e.out)
	MOVQ(U32(group), e.n)
	JMP(LabelRef("group"))
}

// singles compares one row after the other: contiguous rows are best read as one
// stream. It does the gathers of fewer than four rows too, and those with a tail
// where there are no masked loads: stored vectors are padded and have none.
func (e *emitter) singles() {
	Label("single")
	r := GP64()
	TESTQ(e.ids, e.ids)
	JZ(LabelRef("next"))
	e.row(Mem{Base: e.ids}, r)
	ADDQ(U8(4), e.ids)
	JMP(LabelRef("one"))
	Label("next")
	MOVQ(e.behind, r)
	step := GP64()
	MOVQ(e.stride, step)
	ADDQ(step, e.behind)
	Label("one")
	acc := e.accumulators(1)
	e.walk("one", func(off reg.Register) {
		PREFETCHT0(Mem{Base: r, Index: off, Scale: 1, Disp: ahead})
		e.step(acc[0], e.query(e.qAt(off)), source{at: Mem{Base: r, Index: off, Scale: 1}})
	})
	if !e.whole {
		CMPQ(e.tail, U8(0))
		JE(LabelRef("fold"))
		if e.wide {
			e.step(acc[0], e.query(source{at: Mem{Base: e.q}, mask: e.mask}), source{at: Mem{Base: r}, mask: e.mask})
		} else {
			e.stepTail(acc[0], r)
		}
		Label("fold")
	}
	e.store(e.foldOne(acc[0]), 1)
	ADDQ(U8(e.outSize()), e.out)
	DECQ(e.n)
	JNZ(LabelRef("single"))
}

func (e *emitter) qAt(off reg.Register) source {
	return source{at: Mem{Base: e.q, Index: off, Scale: uint8(e.qSize / e.rowSize)}}
}

// accumulators are set to zero: e.sums for each of the rows.
func (e *emitter) accumulators(rows int) [][]reg.VecVirtual {
	acc := make([][]reg.VecVirtual, rows)
	for i := range acc {
		for range e.sums {
			v := e.vec()
			e.zero(v)
			acc[i] = append(acc[i], v)
		}
	}
	return acc
}

// walk runs body for every whole block.
func (e *emitter) walk(label string, body func(off reg.Register)) {
	off := GP64()
	MOVQ(e.start, off)
	TESTQ(off, off)
	JZ(LabelRef(label + "tail"))
	Label(label + "block")
	body(off)
	ADDQ(U8(e.block*e.rowSize), off)
	JNZ(LabelRef(label + "block"))
	Label(label + "tail")
}
