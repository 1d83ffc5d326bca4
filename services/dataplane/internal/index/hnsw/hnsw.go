// Package hnsw is the approximate index: a hierarchical navigable small world
// graph (Malkov and Yashunin, arXiv 1603.09320) over rows that do not change any
// more, and the scan of such rows where a graph is not worth it. It is not an
// index.Index, for nothing can be put into it: rows that die are masked. It reads
// vectors where its owner keeps them and knows no disk; a graph is bytes that can be
// shipped and opened beside equal vectors, and that follow from them: whoever builds
// it gets the same.
//
// A Graph is immutable once built or decoded, so searches share it without locks.
// Its links lie in one array per layer, which the garbage collector does not scan.
package hnsw

import (
	"errors"
	"fmt"

	"github.com/pandodb/pando/services/dataplane/internal/index"
	"github.com/pandodb/pando/services/dataplane/internal/index/hnsw/codec"
	"github.com/pandodb/pando/services/dataplane/internal/index/rank"
	"github.com/pandodb/pando/services/dataplane/internal/query"
)

// Limits of vectors and Params.
const (
	MaxDim         = 1 << 16
	MaxM           = codec.MaxM
	MaxEfConstruct = 1 << 16
)

// ErrParams is wrapped by errors about parameters out of their limits.
var ErrParams = errors.New("hnsw parameters out of range")

// ErrCorrupt is wrapped by errors about bytes that are no graph, or damaged.
var ErrCorrupt = codec.ErrCorrupt

// ErrMismatch reports a graph that was built over other vectors.
var ErrMismatch = errors.New("graph and vectors do not belong together")

// Params shape a graph.
type Params struct {
	// M is how many links a node has in layers above 0, and half of what it has in
	// layer 0, at most. 0: no links; every search is a scan.
	M int
	// EfConstruct is how many candidates the links of a row are chosen from.
	EfConstruct int
	// PayloadM is M of the extra links between rows of a group; 0: none.
	PayloadM int
}

func (p Params) validate() error {
	if p.M < 0 || p.M == 1 || p.M > MaxM {
		return fmt.Errorf("%w: m is %d, not 0 or 2..%d", ErrParams, p.M, MaxM)
	}
	if p.PayloadM < 0 || p.PayloadM == 1 || p.PayloadM > MaxM {
		return fmt.Errorf("%w: payload_m is %d, not 0 or 2..%d", ErrParams, p.PayloadM, MaxM)
	}
	if p.EfConstruct < 1 || p.EfConstruct > MaxEfConstruct {
		return fmt.Errorf("%w: ef_construct is %d, not 1..%d", ErrParams, p.EfConstruct, MaxEfConstruct)
	}
	return nil
}

// none fills a list of links behind its last one.
const none = codec.None

// Graph is the links over the rows of one vector space.
type Graph struct {
	params   Params
	distance query.Distance
	dim      int
	rows     int
	// tops are the rows of the nodes above layer 0, by falling level, at least the
	// entry point: tops[0]. A node of a layer above 0 is a place in tops, the same
	// in all of them; a node of layer 0 is a row.
	tops   []uint32
	layers []layer // nil: no links but extra ones
	extra  extra   // empty without PayloadM
}

// layer is width links for each node, from the first on, padded with none.
type layer struct {
	links []uint32
	width int
}

func newLayer(nodes, width int) layer {
	l := layer{make([]uint32, nodes*width), width}
	for i := range l.links {
		l.links[i] = none
	}
	return l
}

func (l *layer) of(node uint32) []uint32 {
	at := int(node) * l.width
	return l.links[at : at+l.width : at+l.width]
}

func (l *layer) nodes() int { return len(l.links) / l.width }

// Params tells how the graph was built.
func (g *Graph) Params() Params { return g.params }

// Rows counts the rows that the graph was built over, dead ones included.
func (g *Graph) Rows() int { return g.rows }

// rowsOf turns nodes of layer l into rows, into buf if they differ.
func (g *Graph) rowsOf(l int, nodes, buf []uint32) []uint32 {
	if l == 0 {
		return nodes
	}
	for i, n := range nodes {
		buf[i] = g.tops[n]
	}
	return buf[:len(nodes)]
}

// Append encodes g behind dst. Equal graphs have equal bytes.
func (g *Graph) Append(dst []byte) []byte {
	c := codec.Graph{Rows: g.rows, Dim: g.dim, Distance: int(g.distance), M: g.params.M, EfConstruct: g.params.EfConstruct, PayloadM: g.params.PayloadM,
		Tops: g.tops, Starts: g.extra.starts, Extra: g.extra.links}
	for i := range g.layers {
		c.Layers = append(c.Layers, g.layers[i].links)
	}
	return c.Append(dst)
}

// Decode reads what Append wrote, and copies what it keeps. It takes memory in
// proportion to b only, and every link of what it returns leads to a node.
// Errors: ErrCorrupt, with the offset.
func Decode(b []byte) (*Graph, error) { return graphOf(codec.Decode(b)) }

// View is Decode, but the links stay where they are in b, which must neither change
// nor go away while the graph is used. b should begin at a multiple of 4, as a mapped
// file does; otherwise they are copied.
func View(b []byte) (*Graph, error) { return graphOf(codec.View(b)) }

func graphOf(c *codec.Graph, err error) (*Graph, error) {
	if err != nil {
		return nil, err
	}
	g := &Graph{params: Params{c.M, c.EfConstruct, c.PayloadM}, distance: query.Distance(c.Distance), dim: c.Dim, rows: c.Rows, tops: c.Tops, extra: extra{c.Starts, c.Extra}}
	if err := g.params.validate(); err != nil {
		return nil, fmt.Errorf("%w: offset 28: %w", ErrCorrupt, err)
	}
	if _, ok := rank.MetricOf(g.distance); !ok || int(g.distance) != c.Distance || g.dim < 1 || g.dim > MaxDim || c.Rows > int(index.MaxRow)+1 {
		return nil, fmt.Errorf("%w: offset 16: %d rows of dimension %d, distance %d", ErrCorrupt, c.Rows, c.Dim, c.Distance)
	}
	for l, links := range c.Layers {
		g.layers = append(g.layers, layer{links, c.Width(l)})
	}
	return g, nil
}
