package segment

import (
	"encoding/binary"

	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/internal/topology"
)

// Sizes of a row of KindIDs: its id, then its version.
const (
	numberSize = 8 + 8
	uuidSize   = 16 + 8
)

// keys are the ids and versions of the rows: those of numbers, then those of UUIDs,
// each ascending.
type keys struct{ numbers, uuids table }

// table has n rows of equal size, each an id of 8 or 16 bytes and a version.
type table struct {
	b []byte
	n int
	// size of a row
	size int
}

func openKeys(m *mapped) (k keys, err error) {
	if m.extra > m.rows {
		return k, m.damage(headerSize, "number of numbers")
	}
	numbers, uuids := int(m.extra), int(m.rows-m.extra)
	if len(m.content) != numberSize*numbers+uuidSize*uuids {
		return k, m.damage(headerSize, "size of the contents")
	}
	k = keys{table{m.content[:numberSize*numbers], numbers, numberSize}, table{m.content[numberSize*numbers:], uuids, uuidSize}}
	for _, t := range []table{k.numbers, k.uuids} {
		for i := 1; i < t.n; i++ {
			if hi, lo := t.key(i); !t.less(i-1, hi, lo) {
				return k, m.damage(int64(headerSize+i*t.size), "ids out of order")
			}
		}
	}
	return k, nil
}

func (k *keys) id(row int) topology.PointID {
	if row < k.numbers.n {
		_, lo := k.numbers.key(row)
		return topology.NumberID(lo)
	}
	var b [16]byte
	hi, lo := k.uuids.key(row - k.numbers.n)
	binary.BigEndian.PutUint64(b[:8], hi)
	binary.BigEndian.PutUint64(b[8:], lo)
	return topology.UUIDID(b)
}

func (k *keys) version(row int) op.HLC {
	t := &k.numbers
	if row >= t.n {
		row -= t.n
		t = &k.uuids
	}
	return op.HLC(binary.LittleEndian.Uint64(t.b[(row+1)*t.size-8:]))
}

// seek is the first row whose id is not less.
func (k *keys) seek(id topology.PointID) int {
	if !id.IsUUID() {
		return k.numbers.seek(0, id.Number())
	}
	b := id.UUID()
	return k.numbers.n + k.uuids.seek(binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:]))
}

func (t *table) key(i int) (hi, lo uint64) {
	b := t.b[i*t.size:]
	if t.size == numberSize {
		return 0, binary.LittleEndian.Uint64(b)
	}
	return binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:])
}

// less tells whether row i is before an id.
func (t *table) less(i int, hi, lo uint64) bool {
	h, l := t.key(i)
	return h < hi || h == hi && l < lo
}

// guesses bounds the steps that interpolate. Dense or random ids need three or so;
// others are found by halving.
const guesses = 6

// seek is the first row whose id is not less. Short ranges and the rest of uneven
// ones are halved.
func (t *table) seek(hi, lo uint64) int {
	from, to := 0, t.n
	for step := 0; from < to; step++ {
		mid := from + (to-from)/2
		if step < guesses && to-from > 8 {
			mid = t.guess(from, to, hi, lo)
		}
		if t.less(mid, hi, lo) {
			from = mid + 1
		} else {
			to = mid
		}
	}
	return from
}

// guess is where in [from, to) an id would be if they were spread evenly. UUIDs are
// told apart by their upper half.
func (t *table) guess(from, to int, hi, lo uint64) int {
	key := func(i int) uint64 {
		h, l := t.key(i)
		if t.size == numberSize {
			return l
		}
		return h
	}
	x, a, b := lo, key(from), key(to-1)
	if t.size == uuidSize {
		x = hi
	}
	switch {
	case x <= a:
		return from
	case x >= b:
		return to - 1
	}
	return from + int(float64(x-a)/float64(b-a)*float64(to-1-from))
}
