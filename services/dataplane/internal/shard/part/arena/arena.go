// Package arena holds what a shard keeps for each of its rows in memory that the
// garbage collector does not look into: payloads, and sets of rows.
package arena

import (
	"encoding/binary"

	"github.com/pandodb/pando/services/dataplane/internal/payload"
)

// chunkSize is the unit in which payload memory is taken.
const chunkSize = 1 << 20

// recordHeader precedes each payload in a chunk: u32 row, u32 length.
const recordHeader = 8

// place is where a row's payload lies. The zero place is the empty payload.
type place struct {
	chunk uint32 // number + 1
	off   uint32
	size  uint32
}

// Arena holds the payloads of rows in memory without pointers in it. Bytes once
// written never change, so what Get returned stays readable for ever; chunks
// that became mostly garbage are moved out of, one at a time.
type Arena struct {
	chunks []chunk
	free   []uint32 // numbers of chunks without memory
	tail   int      // chunk that takes the next payload; -1: none
	places []place  // by row
	bytes  int      // in payloads that are in use
}

// Bytes is the size of the payloads that are in use.
func (a *Arena) Bytes() int { return a.bytes }

type chunk struct {
	mem     []byte
	garbage int
}

// New makes an empty one.
func New() Arena { return Arena{tail: -1} }

// Get reads a row's payload.
func (a *Arena) Get(row uint32) payload.Doc {
	p := a.places[row]
	if p.size == 0 {
		return nil
	}
	end := p.off + p.size
	return payload.Doc(a.chunks[p.chunk-1].mem[p.off:end:end])
}

// Put replaces a row's payload by a copy of d.
func (a *Arena) Put(row uint32, d payload.Doc) {
	for int(row) >= len(a.places) {
		a.places = append(a.places, place{})
	}
	old := a.places[row]
	a.places[row] = place{}
	a.bytes += len(d) - int(old.size)
	if old.size > 0 {
		a.chunks[old.chunk-1].garbage += recordHeader + int(old.size)
	}
	if len(d) > 0 {
		a.places[row] = a.write(row, d)
	}
	if n := int(old.chunk) - 1; n >= 0 && n != a.tail {
		a.compact(n)
	}
}

func (a *Arena) write(row uint32, d []byte) place {
	need := recordHeader + len(d)
	if a.tail < 0 || len(a.chunks[a.tail].mem)+need > cap(a.chunks[a.tail].mem) {
		a.grow(max(chunkSize, need))
	}
	c := &a.chunks[a.tail]
	c.mem = binary.LittleEndian.AppendUint32(c.mem, row)
	c.mem = binary.LittleEndian.AppendUint32(c.mem, uint32(len(d)))
	p := place{chunk: uint32(a.tail) + 1, off: uint32(len(c.mem)), size: uint32(len(d))}
	c.mem = append(c.mem, d...)
	return p
}

func (a *Arena) grow(size int) {
	full := a.tail
	c := chunk{mem: make([]byte, 0, size)}
	if n := len(a.free); n > 0 {
		a.tail, a.free = int(a.free[n-1]), a.free[:n-1]
		a.chunks[a.tail] = c
	} else {
		a.tail = len(a.chunks)
		a.chunks = append(a.chunks, c)
	}
	if full >= 0 {
		a.compact(full)
	}
}

// compact moves the living payloads out of chunk n if over half of it is garbage.
func (a *Arena) compact(n int) {
	c := a.chunks[n]
	if 2*c.garbage <= len(c.mem) {
		return
	}
	a.chunks[n] = chunk{}
	for off := 0; off < len(c.mem); {
		row := binary.LittleEndian.Uint32(c.mem[off:])
		size := binary.LittleEndian.Uint32(c.mem[off+4:])
		at := place{chunk: uint32(n) + 1, off: uint32(off + recordHeader), size: size}
		off += recordHeader + int(size)
		if a.places[row] == at {
			a.places[row] = a.write(row, c.mem[at.off:at.off+size])
		}
	}
	a.free = append(a.free, uint32(n))
}
