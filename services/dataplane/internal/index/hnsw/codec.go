package hnsw

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"unsafe"

	"github.com/pandodb/pando/services/dataplane/internal/index"
	"github.com/pandodb/pando/services/dataplane/internal/index/rank"
	"github.com/pandodb/pando/services/dataplane/internal/query"
)

// The bytes of a graph are drawn in docs/format/hnsw.md.
const (
	magic   = "pandohns"
	format  = 1
	fixed   = 48 // bytes before the table of sections
	align   = 64
	perPart = 8 // bytes of a section in the table
)

// ErrCorrupt is wrapped by errors about bytes that are no graph, or damaged.
var ErrCorrupt = errors.New("corrupt hnsw graph")

func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

func padded(n int) int { return (n + align - 1) &^ (align - 1) }

// sections are the parts of a graph in the order of its bytes.
func (g *Graph) sections() [][]uint32 {
	s := [][]uint32{g.tops}
	for i := range g.layers {
		s = append(s, g.layers[i].links)
	}
	if g.params.PayloadM > 0 {
		s = append(s, g.extra.starts, g.extra.links)
	}
	return s
}

// Append encodes g behind dst. Equal graphs have equal bytes.
func (g *Graph) Append(dst []byte) []byte {
	parts := g.sections()
	begin := len(dst)
	dst = append(dst, magic...)
	for _, v := range []int{format, fixed + perPart*len(parts) + 4, g.rows, g.dim, int(g.distance), g.params.M, g.params.EfConstruct, len(g.layers), g.params.PayloadM, 0} {
		dst = binary.LittleEndian.AppendUint32(dst, uint32(v))
	}
	table := len(dst)
	dst = append(dst, make([]byte, perPart*len(parts)+4)...)
	for i, part := range parts {
		dst = append(dst, make([]byte, padded(len(dst)-begin)-(len(dst)-begin))...)
		from := len(dst)
		for _, v := range part {
			dst = binary.LittleEndian.AppendUint32(dst, v)
		}
		nodes := len(part) / g.width(i-1, len(g.layers))
		entry := dst[table+perPart*i:]
		binary.LittleEndian.PutUint32(entry, uint32(nodes))
		binary.LittleEndian.PutUint32(entry[4:], crc32.Checksum(dst[from:], castagnoli()))
	}
	end := table + perPart*len(parts)
	binary.LittleEndian.PutUint32(dst[end:], crc32.Checksum(dst[begin:end], castagnoli()))
	return dst
}

// Decode reads what Append wrote, and copies what it keeps. It takes memory in
// proportion to b only, and every link of what it returns leads to a node.
// Errors: ErrCorrupt, with the offset.
func Decode(b []byte) (*Graph, error) { return decode(b, numbers) }

// View is Decode, but the links stay where they are in b, which must neither change
// nor go away while the graph is used. b should begin at a multiple of 4, as a mapped
// file does; otherwise they are copied.
func View(b []byte) (*Graph, error) { return decode(b, view) }

// numbers copies little-endian numbers.
func numbers(raw []byte) []uint32 {
	out := make([]uint32, len(raw)/4)
	for i := range out {
		out[i] = binary.LittleEndian.Uint32(raw[4*i:])
	}
	return out
}

// view is numbers without a copy, if the machine has them in this form.
func view(raw []byte) []uint32 {
	p := unsafe.Pointer(unsafe.SliceData(raw))
	if little := binary.NativeEndian.Uint16([]byte{1, 0}) == 1; !little || uintptr(p)%4 != 0 || len(raw) == 0 {
		return numbers(raw)
	}
	return unsafe.Slice((*uint32)(p), len(raw)/4)
}

func decode(b []byte, numbers func([]byte) []uint32) (*Graph, error) {
	g, nodes, sums, err := decodeHeader(b)
	if err != nil {
		return nil, err
	}
	layers := g.layersOf(len(nodes))
	at := padded(fixed + perPart*len(nodes) + 4)
	if pad := b[fixed+perPart*len(nodes)+4 : at]; !zero(pad) {
		return nil, corrupt(fixed, "the padding is not zero")
	}
	for i, n := range nodes {
		width := g.width(i-1, layers)
		raw := b[at : at+4*width*n]
		if crc32.Checksum(raw, castagnoli()) != sums[i] {
			return nil, corrupt(at, "the checksum of section %d of %d bytes does not match", i, len(raw))
		}
		links := numbers(raw)
		switch {
		case i == 0:
			g.tops, err = links, checkTops(at, links, g.rows)
		case i <= layers:
			g.layers = append(g.layers, layer{links, width})
			err = checkLinks(at, &g.layers[i-1])
		case i == layers+1:
			g.extra.starts, err = links, checkStarts(at, links, nodes[i+1])
		default:
			g.extra.links = links
			err = checkExtra(at, &g.extra)
		}
		if err != nil {
			return nil, err
		}
		if at += len(raw); i < len(nodes)-1 {
			if !zero(b[at:padded(at)]) {
				return nil, corrupt(at, "the padding is not zero")
			}
			at = padded(at)
		}
	}
	return g, nil
}

// width is how many numbers a node has in layer l of so many; one in the sections
// before and behind them.
func (g *Graph) width(l, layers int) int {
	switch {
	case l < 0 || l >= layers:
		return 1
	case l == 0:
		return 2 * g.params.M
	default:
		return g.params.M
	}
}

// layersOf is how many of so many sections are layers.
func (g *Graph) layersOf(sections int) int {
	if g.params.PayloadM > 0 {
		sections -= 2
	}
	return sections - 1
}

// decodeHeader gives the number of nodes and the checksum of each section, all of
// which lie within b.
func decodeHeader(b []byte) (g *Graph, nodes []int, sums []uint32, err error) {
	if len(b) < fixed || string(b[:len(magic)]) != magic {
		return nil, nil, nil, corrupt(0, "the magic bytes are missing")
	}
	var f [10]int
	for i := range f {
		f[i] = int(binary.LittleEndian.Uint32(b[len(magic)+4*i:]))
	}
	parts := f[7] + 1
	if f[8] > 0 {
		parts += 2
	}
	end := fixed + perPart*parts
	switch {
	case f[0] != format:
		return nil, nil, nil, corrupt(8, "format %d is not known, %d is", f[0], format)
	case f[7] > maxLayers || f[1] != end+4 || len(b) < end+4:
		return nil, nil, nil, corrupt(12, "%d bytes of header for %d layers in %d bytes", f[1], f[7], len(b))
	case crc32.Checksum(b[:end], castagnoli()) != binary.LittleEndian.Uint32(b[end:]):
		return nil, nil, nil, corrupt(end, "the checksum of the header does not match")
	}
	g = &Graph{rows: f[2], dim: f[3], distance: query.Distance(f[4]), params: Params{M: f[5], EfConstruct: f[6], PayloadM: f[8]}}
	if _, ok := rank.MetricOf(g.distance); !ok || int(g.distance) != f[4] || g.dim < 1 || g.dim > MaxDim || f[9] != 0 {
		return nil, nil, nil, corrupt(20, "dimension %d, distance %d", g.dim, f[4])
	}
	if err := g.params.validate(); err != nil || uint32(g.rows) > index.MaxRow+1 || g.params.M == 0 && f[7] > 0 {
		return nil, nil, nil, corrupt(16, "%d rows, %d layers: %v", g.rows, f[7], err)
	}
	at := padded(end + 4)
	for i := range parts {
		entry := b[fixed+perPart*i:]
		n := int(binary.LittleEndian.Uint32(entry))
		nodes, sums = append(nodes, n), append(sums, binary.LittleEndian.Uint32(entry[4:]))
		at = padded(at) + 4*g.width(i-1, f[7])*n
		if !g.fits(f[7], nodes) || at > len(b) {
			return nil, nil, nil, corrupt(fixed+perPart*i, "section %d has %d nodes", i, n)
		}
	}
	if at != len(b) {
		return nil, nil, nil, corrupt(at, "%d bytes are too many", len(b)-at)
	}
	return g, nodes, sums, nil
}

// fits tells whether the last of the sections may have so many nodes.
func (g *Graph) fits(layers int, nodes []int) bool {
	i := len(nodes) - 1
	n := nodes[i]
	switch {
	case i == 0:
		return n <= g.rows && (n == 0) == (layers == 0)
	case i == layers+1:
		return n == g.rows+1
	case i == layers+2:
		return true
	case i == 1:
		return n == g.rows && nodes[0] > 0
	case i == 2:
		return n == nodes[0]
	default:
		return n > 0 && n <= nodes[i-1]
	}
}

func checkTops(at int, tops []uint32, rows int) error {
	seen := make([]uint64, (rows+63)/64)
	for i, r := range tops {
		if int(r) >= rows || seen[r>>6]>>(r&63)&1 != 0 {
			return corrupt(at+4*i, "row %d of %d", r, rows)
		}
		seen[r>>6] |= 1 << (r & 63)
	}
	return nil
}

// checkLinks: every list holds nodes, then none. A node twice in a list is found
// by nobody and harms nobody.
func checkLinks(at int, l *layer) error {
	nodes := uint32(l.nodes())
	for i, id := range l.links {
		after := i%l.width > 0 && l.links[i-1] == none
		if id != none && (id >= nodes || after || id == uint32(i/l.width)) {
			return corrupt(at+4*i, "node %d links to %d of %d", i/l.width, id, nodes)
		}
	}
	return nil
}

// checkStarts: lists follow each other, from the first of links to the last.
func checkStarts(at int, starts []uint32, links int) error {
	for i, s := range starts {
		if i == 0 && s != 0 || i > 0 && s < starts[i-1] || i == len(starts)-1 && int(s) != links {
			return corrupt(at+4*i, "list %d begins at %d of %d links", i, s, links)
		}
	}
	return nil
}

// checkExtra: every list holds other rows, ascending.
func checkExtra(at int, e *extra) error {
	for row := range uint32(len(e.starts) - 1) {
		list := e.of(row)
		for i, id := range list {
			if int(id) >= len(e.starts)-1 || id == row || i > 0 && id <= list[i-1] {
				return corrupt(at+4*(int(e.starts[row])+i), "row %d links to %d", row, id)
			}
		}
	}
	return nil
}

func zero(b []byte) bool { return len(bytes.TrimLeft(b, "\x00")) == 0 }

func corrupt(at int, form string, args ...any) error {
	return fmt.Errorf("%w: offset %d: %s", ErrCorrupt, at, fmt.Sprintf(form, args...))
}
