package payload

import (
	"bytes"
	"encoding/binary"
	"sort"
	"unicode/utf8"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/pandodb/pando/services/dataplane/internal/filter/analysis"
	"github.com/pandodb/pando/services/dataplane/internal/query"
)

// Open makes a set of files that Builders made of the same rows. It reads out of
// them as it is asked, so that they must stay as they are, mapped, while it and what
// it selected are in use. Everything is checked first. Errors: ErrCorrupt; ErrStale.
func Open(files ...[]byte) (*Set, error) {
	s := &Set{sealed: true}
	for _, b := range files {
		f, err := open(b)
		if err != nil {
			return nil, err
		}
		s.fields = append(s.fields, f)
	}
	return s, nil
}

func open(b []byte) (*field, error) {
	p, at, rows, err := split(b)
	if err != nil {
		return nil, err
	}
	spec, err := decodeSpec(at[specPart], p[specPart])
	if err != nil {
		return nil, err
	}
	f, err := newField(spec)
	if err != nil {
		return nil, corrupt(at[specPart], "%v", err)
	}
	for i, to := range [...]**roaring.Bitmap{&f.typed, &f.filled, &f.nulls, &f.mixed} {
		if *to, err = decodeBitmap(at[typedPart+i], p[typedPart+i], rows); err != nil {
			return nil, err
		}
	}
	t := &table{keyEnds: p[keyEndsPart], keys: p[keysPart], listEnds: p[listEndsPart], lists: p[listsPart]}
	if err := t.check(&at, f, rows); err != nil {
		return nil, err
	}
	c := &pairs{values: p[valuesPart], rows: p[rowsPart]}
	if err := c.check(&at, f, rows); err != nil {
		return nil, err
	}
	l := &lines{ends: p[lineEndsPart], words: p[linesPart], table: t}
	if err := l.check(&at, f, rows); err != nil {
		return nil, err
	}
	if f.keyed() {
		f.words = t
	}
	if f.ranks() {
		f.order = c
	}
	if f.Text.Phrases {
		f.lines = l
	}
	return f, nil
}

// piece is the bytes of a list whose ends are kept.
func piece(ends, b []byte, i int) []byte {
	from := uint64(0)
	if i > 0 {
		from = binary.LittleEndian.Uint64(ends[8*(i-1):])
	}
	to := binary.LittleEndian.Uint64(ends[8*i:])
	return b[from:to:to]
}

// ascend checks that ends ascend to size.
func ascend(at int, ends []byte, size int) error {
	last := uint64(0)
	for i := 0; i < len(ends); i += 8 {
		end := binary.LittleEndian.Uint64(ends[i:])
		if end < last || end > uint64(size) {
			return corrupt(at+i, "an end at %d after %d, of %d", end, last, size)
		}
		last = end
	}
	if last != uint64(size) {
		return corrupt(at, "the last end is %d, not %d", last, size)
	}
	return nil
}

// table is the rows by key, the keys in ascending order.
type table struct{ keyEnds, keys, listEnds, lists []byte }

func (t *table) len() int { return len(t.keyEnds) / 8 }

func (t *table) key(i int) []byte { return piece(t.keyEnds, t.keys, i) }

// posting is that of key i; a list goes into scratch.
func (t *table) posting(i int, scratch []uint32) posting {
	b := piece(t.listEnds, t.lists, i)
	n, b := int(binary.LittleEndian.Uint32(b)), b[4:]
	if n > listed {
		set := roaring.New()
		if _, err := set.FromBuffer(b); err != nil {
			panic(err) // check has read it
		}
		return posting{many: set}
	}
	for ; len(b) > 0; b = b[4:] {
		scratch = append(scratch, binary.LittleEndian.Uint32(b))
	}
	return posting{list: scratch}
}

// find is the first key from key on.
func (t *table) find(key string) int {
	return sort.Search(t.len(), func(i int) bool { return string(t.key(i)) >= key })
}

func (t *table) get(key string) posting {
	i := t.find(key)
	if i == t.len() || string(t.key(i)) != key {
		return posting{}
	}
	return t.posting(i, nil)
}

func (t *table) prefixed(prefix string, visit func(posting)) {
	var scratch []uint32
	for i := t.find(prefix); i < t.len() && bytes.HasPrefix(t.key(i), []byte(prefix)); i++ {
		p := t.posting(i, scratch[:0])
		scratch = p.list
		visit(p)
	}
}

func (t *table) each(visit func(string, posting)) {
	var scratch []uint32
	for i := range t.len() {
		p := t.posting(i, scratch[:0])
		scratch = p.list
		visit(string(t.key(i)), p)
	}
}

func (t *table) check(at *[partCount]int, f *field, rows uint32) error {
	if len(t.keyEnds)%8 != 0 || len(t.listEnds) != len(t.keyEnds) || !f.keyed() && len(t.keyEnds) > 0 {
		return corrupt(at[keyEndsPart], "%d and %d bytes of ends", len(t.keyEnds), len(t.listEnds))
	}
	if err := ascend(at[keyEndsPart], t.keyEnds, len(t.keys)); err != nil {
		return err
	}
	if err := ascend(at[listEndsPart], t.listEnds, len(t.lists)); err != nil {
		return err
	}
	for i := range t.len() {
		if key := t.key(i); !f.fits(key) || i > 0 && bytes.Compare(t.key(i-1), key) >= 0 {
			return corrupt(at[keysPart], "key %d is out of order or of another type", i)
		}
		if err := checkPosting(at[listsPart], piece(t.listEnds, t.lists, i), rows); err != nil {
			return err
		}
	}
	return nil
}

// fits tells whether the index may have the key.
func (f *field) fits(key []byte) bool {
	switch f.Type {
	case query.UUIDField:
		return len(key) == 16
	case query.IntegerField:
		return len(key) == 8
	case query.BoolField:
		return len(key) == 1 && key[0] <= 1
	default:
		return utf8.Valid(key)
	}
}

func checkPosting(at int, b []byte, rows uint32) error {
	if len(b) < 8 {
		return corrupt(at, "rows of a key in %d bytes", len(b))
	}
	n, b := uint64(binary.LittleEndian.Uint32(b)), b[4:]
	if n > listed {
		set := roaring.New()
		size, err := set.FromBuffer(b)
		if err := checkBitmap(at, b, rows, set, size, err); err != nil {
			return err
		}
		if set.GetCardinality() != n {
			return corrupt(at, "%d rows of a key, %d foretold", set.GetCardinality(), n)
		}
		return nil
	}
	if uint64(len(b)) != 4*n {
		return corrupt(at, "%d rows of a key in %d bytes", n, len(b))
	}
	for i := 0; i < len(b); i += 4 {
		if row := binary.LittleEndian.Uint32(b[i:]); row >= rows || i > 0 && row <= binary.LittleEndian.Uint32(b[i-4:]) {
			return corrupt(at, "row %d of a key is out of order, of %d", row, rows)
		}
	}
	return nil
}

// pairs is the values and their rows, in two columns.
type pairs struct{ values, rows []byte }

func (c *pairs) len() int { return len(c.rows) / 4 }

func (c *pairs) at(i int) pair {
	return pair{int64(binary.LittleEndian.Uint64(c.values[8*i:])), binary.LittleEndian.Uint32(c.rows[4*i:])}
}

// from is the first pair with a value from low on.
func (c *pairs) from(low int64) int {
	return sort.Search(c.len(), func(i int) bool { return int64(binary.LittleEndian.Uint64(c.values[8*i:])) >= low })
}

// to is the first pair with a value above high.
func (c *pairs) to(high int64) int {
	return sort.Search(c.len(), func(i int) bool { return int64(binary.LittleEndian.Uint64(c.values[8*i:])) > high })
}

func (c *pairs) count(low, high int64) int {
	if low > high {
		return 0
	}
	return c.to(high) - c.from(low)
}

// between are the rows of the pairs with values in [low, high].
func (c *pairs) between(low, high int64) []byte {
	if low > high {
		return nil
	}
	return c.rows[4*c.from(low) : 4*c.to(high)]
}

func (c *pairs) mark(low, high int64, dense []uint64) {
	for b := c.between(low, high); len(b) >= 4; b = b[4:] {
		row := binary.LittleEndian.Uint32(b)
		dense[row/64] |= 1 << (row % 64)
	}
}

func (c *pairs) list(low, high int64, dst []uint32) []uint32 {
	for b := c.between(low, high); len(b) >= 4; b = b[4:] {
		dst = append(dst, binary.LittleEndian.Uint32(b))
	}
	return dst
}

func (c *pairs) walk(from int64, down bool, visit func(pair) bool) {
	if down {
		for i := c.to(from) - 1; i >= 0 && visit(c.at(i)); i-- {
		}
		return
	}
	for i := c.from(from); i < c.len() && visit(c.at(i)); i++ {
	}
}

func (c *pairs) check(at *[partCount]int, f *field, rows uint32) error {
	if len(c.rows)%4 != 0 || len(c.values) != 2*len(c.rows) || !f.ranks() && len(c.rows) > 0 {
		return corrupt(at[valuesPart], "%d bytes of values, %d of rows", len(c.values), len(c.rows))
	}
	for i := range c.len() {
		if p := c.at(i); p.row >= rows || i > 0 && c.at(i-1).compare(p) >= 0 {
			return corrupt(at[rowsPart]+4*i, "row %d with value %d is out of order, of %d", p.row, p.value, rows)
		}
	}
	return nil
}

// lines is the words of each row in their order, as places in the table plus one;
// 0 stands before each text.
type lines struct {
	ends, words []byte
	table       *table
}

// having are those rows of set that satisfy q.
func (l *lines) having(set *roaring.Bitmap, q *analysis.Query) *roaring.Bitmap {
	out := roaring.New()
	for it := set.Iterator(); it.HasNext(); {
		row := it.Next()
		search := q.Search()
		for b := l.row(row); len(b) > 0 && !search.Found(); b = b[4:] {
			if n := binary.LittleEndian.Uint32(b); n == 0 {
				search.Break()
			} else {
				search.Word(string(l.table.key(int(n - 1))))
			}
		}
		if search.Found() {
			out.Add(row)
		}
	}
	return out
}

func (l *lines) row(row uint32) []byte {
	from := uint64(0)
	if row > 0 {
		from = binary.LittleEndian.Uint64(l.ends[8*(row-1):])
	}
	return l.words[4*from : 4*binary.LittleEndian.Uint64(l.ends[8*row:])]
}

func (l *lines) check(at *[partCount]int, f *field, rows uint32) error {
	if !f.Text.Phrases {
		if len(l.ends)+len(l.words) > 0 {
			return corrupt(at[lineEndsPart], "words in order that were not asked for")
		}
		return nil
	}
	if uint64(len(l.ends)) != 8*uint64(rows) || len(l.words)%4 != 0 {
		return corrupt(at[lineEndsPart], "%d bytes of ends for %d rows", len(l.ends), rows)
	}
	if err := ascend(at[lineEndsPart], l.ends, len(l.words)/4); err != nil {
		return err
	}
	for i := 0; i < len(l.words); i += 4 {
		if n := binary.LittleEndian.Uint32(l.words[i:]); uint64(n) > uint64(l.table.len()) {
			return corrupt(at[linesPart]+i, "word %d of %d", n, l.table.len())
		}
	}
	return nil
}
