package payload

import (
	"cmp"
	"encoding/binary"
	"slices"
	"strings"

	"github.com/RoaringBitmap/roaring/v2"

	doc "github.com/pandodb/pando/services/dataplane/internal/payload"
	"github.com/pandodb/pando/services/dataplane/internal/query"
)

// Builder makes the files of indexes over rows that do not change any more. Equal
// rows give equal files. It is not for several goroutines.
type Builder struct{ columns []*column }

// column gathers the values of one field.
type column struct {
	*field
	shapes [4][]uint32 // rows of typed, filled, nulls and mixed
	number map[string]uint32
	keys   []string // by their number, in the order of their coming
	last   []uint32 // by number: the row that had the key last, plus one
	of     []uint32 // pairs of number
	rows   []uint32 // and row
	pairs  []pair
	starts []uint64 // of the words of each row
	words  []uint32 // numbers plus one; 0 stands between two texts
}

// NewBuilder begins with no rows. Errors: those of Set.Change.
func NewBuilder(specs []query.FieldIndex) (*Builder, error) {
	b := &Builder{}
	for _, spec := range specs {
		f, err := newField(spec)
		if err != nil {
			return nil, err
		}
		b.columns = append(b.columns, &column{field: f, number: map[string]uint32{}})
	}
	return b, nil
}

// Add gives the payload of a row, above all rows before it. It keeps nothing of it.
func (b *Builder) Add(row uint32, d doc.Doc) {
	for _, c := range b.columns {
		if _, ok := d.Get(c.path.Top()); ok {
			c.add(row, d)
		}
	}
}

func (c *column) add(row uint32, d doc.Doc) {
	s := c.shape(d)
	typed := false
	for c.Text.Phrases && uint64(len(c.starts)) <= uint64(row) {
		c.starts = append(c.starts, uint64(len(c.words)))
	}
	c.values(d, func(v doc.Value) {
		if c.Text.Phrases && v.Kind() == doc.String {
			c.words = append(c.words, 0)
		}
		ok := c.read(v, func(t value) { c.put(row, t) })
		typed = typed || ok
	})
	for i, is := range [...]bool{typed, s.filled, s.null, s.mixed} {
		if is {
			c.shapes[i] = append(c.shapes[i], row)
		}
	}
}

func (c *column) put(row uint32, v value) {
	if c.ranks() {
		c.pairs = append(c.pairs, pair{v.rank, row})
	}
	if !v.is {
		return
	}
	n, known := c.number[v.key]
	if !known {
		n = uint32(len(c.keys))
		key := strings.Clone(v.key)
		c.number[key] = n
		c.keys, c.last = append(c.keys, key), append(c.last, 0)
	}
	if c.last[n] != row+1 {
		c.last[n] = row + 1
		c.of, c.rows = append(c.of, n), append(c.rows, row)
	}
	if c.Text.Phrases {
		c.words = append(c.words, n+1)
	}
}

// Files gives the file of each index over so many rows, in the order of specs;
// nothing is added afterwards.
func (b *Builder) Files(rows uint32) [][]byte {
	return each(b.columns, func(c *column) []byte {
		var p parts
		p[specPart] = appendSpec(nil, &c.FieldIndex)
		for i, list := range c.shapes {
			p[typedPart+i] = bitmapBytes(list)
		}
		order := c.table(&p)
		slices.SortFunc(c.pairs, pair.compare)
		for _, pair := range slices.Compact(c.pairs) {
			p[valuesPart] = binary.LittleEndian.AppendUint64(p[valuesPart], uint64(pair.value))
			p[rowsPart] = binary.LittleEndian.AppendUint32(p[rowsPart], pair.row)
		}
		if c.Text.Phrases {
			for row := range uint64(rows) {
				end := uint64(len(c.words))
				if row+1 < uint64(len(c.starts)) {
					end = c.starts[row+1]
				}
				p[lineEndsPart] = binary.LittleEndian.AppendUint64(p[lineEndsPart], end)
			}
			for _, n := range c.words {
				if n > 0 {
					n = order[n-1] + 1
				}
				p[linesPart] = binary.LittleEndian.AppendUint32(p[linesPart], n)
			}
		}
		return p.bytes(rows)
	})
}

// table writes the rows of each key, and gives the place of each number among the
// keys in their order.
func (c *column) table(p *parts) (order []uint32) {
	sorted := c.sorted()
	order = make([]uint32, len(sorted))
	for i, n := range sorted {
		order[n] = uint32(i)
	}
	// Rows come in ascending order, so a stable sort by key leaves those of a key so.
	ends := make([]int, len(sorted)+1)
	for _, n := range c.of {
		ends[order[n]+1]++
	}
	for i := range sorted {
		ends[i+1] += ends[i]
	}
	rows, next := make([]uint32, len(c.rows)), slices.Clone(ends)
	for i, n := range c.of {
		at := &next[order[n]]
		rows[*at] = c.rows[i]
		*at++
	}
	for i, n := range sorted {
		p[keysPart] = append(p[keysPart], c.keys[n]...)
		p[keyEndsPart] = binary.LittleEndian.AppendUint64(p[keyEndsPart], uint64(len(p[keysPart])))
		p[listsPart] = appendPosting(p[listsPart], rows[ends[i]:ends[i+1]])
		p[listEndsPart] = binary.LittleEndian.AppendUint64(p[listEndsPart], uint64(len(p[listsPart])))
	}
	return order
}

// sorted is the numbers of the keys in their order.
func (c *column) sorted() []uint32 {
	type head struct { // most keys differ in their first bytes
		first  uint64
		number uint32
	}
	heads := make([]head, len(c.keys))
	for i, key := range c.keys {
		var first [8]byte
		copy(first[:], key)
		heads[i] = head{binary.BigEndian.Uint64(first[:]), uint32(i)}
	}
	slices.SortFunc(heads, func(a, b head) int {
		if a.first != b.first {
			return cmp.Compare(a.first, b.first)
		}
		return strings.Compare(c.keys[a.number], c.keys[b.number])
	})
	return each(heads, func(h head) uint32 { return h.number })
}

// bitmapBytes is the set of ascending rows.
func bitmapBytes(rows []uint32) []byte {
	set := roaring.BitmapOf(rows...)
	set.RunOptimize()
	out, err := set.ToBytes()
	if err != nil {
		panic(err) // a buffer in memory takes everything
	}
	return out
}

// appendPosting writes a count and the rows, many of them as a bitmap.
func appendPosting(dst []byte, rows []uint32) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(rows)))
	if len(rows) > listed {
		return append(dst, bitmapBytes(rows)...)
	}
	for _, row := range rows {
		dst = binary.LittleEndian.AppendUint32(dst, row)
	}
	return dst
}
