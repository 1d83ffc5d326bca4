// Package codec is the bytes of a graph (docs/format/hnsw.md). It checks that they are
// whole and that links lead to nodes, and knows nothing of vectors and walks.
package codec

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"unsafe"

	"github.com/pandodb/pando/services/dataplane/internal/index/hnsw/levels"
)

const (
	magic   = "pandohns"
	format  = 1
	fixed   = 48 // bytes before the table of sections
	align   = 64
	perPart = 8 // bytes of a section in the table
)

// MaxM is the greatest M and PayloadM that bytes can have.
const MaxM = 256

// None fills a list of links behind its last one.
const None = ^uint32(0)

// ErrCorrupt is wrapped by errors about bytes that are no graph, or damaged.
var ErrCorrupt = errors.New("corrupt hnsw graph")

func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

func padded(n int) int { return (n + align - 1) &^ (align - 1) }

// Graph is what the bytes say.
type Graph struct {
	Rows, Dim, Distance      int
	M, EfConstruct, PayloadM int
	Tops                     []uint32   // rows of the nodes above layer 0; the first is the entry point
	Layers                   [][]uint32 // Width(l) links for each node
	Starts, Extra            []uint32   // with PayloadM: where the extra links of each row begin, and those
}

// Width is how many links a node of a layer has room for.
func (g *Graph) Width(l int) int {
	if l == 0 {
		return 2 * g.M
	}
	return g.M
}

// sections are the parts of a graph in the order of its bytes.
func (g *Graph) sections() [][]uint32 {
	s := append([][]uint32{g.Tops}, g.Layers...)
	if g.PayloadM > 0 {
		s = append(s, g.Starts, g.Extra)
	}
	return s
}

// Append encodes g behind dst. Equal graphs have equal bytes.
func (g *Graph) Append(dst []byte) []byte {
	parts := g.sections()
	begin := len(dst)
	dst = append(dst, magic...)
	for _, v := range []int{format, fixed + perPart*len(parts) + 4, g.Rows, g.Dim, g.Distance, g.M, g.EfConstruct, len(g.Layers), g.PayloadM, 0} {
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
		nodes := len(part) / g.width(i-1, len(g.Layers))
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
			g.Tops, err = links, checkTops(at, links, g.Rows)
		case i <= layers:
			g.Layers = append(g.Layers, links)
			err = checkLinks(at, links, width)
		case i == layers+1:
			g.Starts, err = links, checkStarts(at, links, nodes[i+1])
		default:
			g.Extra = links
			err = checkExtra(at, g.Starts, links)
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
	if l < 0 || l >= layers {
		return 1
	}
	return g.Width(l)
}

// layersOf is how many of so many sections are layers.
func (g *Graph) layersOf(sections int) int {
	if g.PayloadM > 0 {
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
	case f[7] > levels.Max || f[1] != end+4 || len(b) < end+4:
		return nil, nil, nil, corrupt(12, "%d bytes of header for %d layers in %d bytes", f[1], f[7], len(b))
	case crc32.Checksum(b[:end], castagnoli()) != binary.LittleEndian.Uint32(b[end:]):
		return nil, nil, nil, corrupt(end, "the checksum of the header does not match")
	}
	g = &Graph{Rows: f[2], Dim: f[3], Distance: f[4], M: f[5], EfConstruct: f[6], PayloadM: f[8]}
	if g.M > MaxM || g.PayloadM > MaxM || g.M == 0 && f[7] > 0 || f[9] != 0 {
		return nil, nil, nil, corrupt(28, "m is %d, payload_m is %d, %d layers", g.M, g.PayloadM, f[7])
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
		return n <= g.Rows && (n == 0) == (layers == 0)
	case i == layers+1:
		return n == g.Rows+1
	case i == layers+2:
		return true
	case i == 1:
		return n == g.Rows && nodes[0] > 0
	case i == 2:
		return n == nodes[0]
	default:
		return n > 0 && n <= nodes[i-1]
	}
}

func checkTops(at int, tops []uint32, rows int) error {
	if len(tops) == 0 {
		return nil // there is no layer 0, so the bytes do not bound the rows
	}
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
func checkLinks(at int, links []uint32, width int) error {
	nodes := uint32(len(links) / width)
	for i, id := range links {
		after := i%width > 0 && links[i-1] == None
		if id != None && (id >= nodes || after || id == uint32(i/width)) {
			return corrupt(at+4*i, "node %d links to %d of %d", i/width, id, nodes)
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
func checkExtra(at int, starts, links []uint32) error {
	for row := range uint32(len(starts) - 1) {
		list := links[starts[row]:starts[row+1]]
		for i, id := range list {
			if int(id) >= len(starts)-1 || id == row || i > 0 && id <= list[i-1] {
				return corrupt(at+4*(int(starts[row])+i), "row %d links to %d", row, id)
			}
		}
	}
	return nil
}

func zero(b []byte) bool { return len(bytes.TrimLeft(b, "\x00")) == 0 }

func corrupt(at int, form string, args ...any) error {
	return fmt.Errorf("%w: offset %d: %s", ErrCorrupt, at, fmt.Sprintf(form, args...))
}
