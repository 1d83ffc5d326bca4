// Package plan carries out trees of queries, as far as that needs no network: it
// says what is to be asked of the shards next, and makes rankings of the answers.
//
// A tree is carried out from its leaves up. Each node works on the whole lists of
// its sources, merged over all shards, so that an answer does not depend on how
// points are spread. Lists are ordered by score and, where scores are equal, by id.
// What several nodes of a batch ask is asked once.
//
// It is pure, but for the messages that it is made of.
package plan

import (
	"math"

	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/dataplane/internal/query"
	"github.com/pandodb/pando/services/dataplane/internal/query/formula"
)

// Tree is a whole query: places Offset..Offset+Limit of what its root ranks.
type Tree struct {
	Root          *Node
	Offset, Limit uint64
	// Payload and Vectors are what is answered of each point; nil: none.
	Payload *qdrant.WithPayloadSelector
	Vectors *qdrant.WithVectorsSelector
}

// Node is one ranking of a tree. It is checked, and ids are replaced by vectors.
type Node struct {
	// Sources are the rankings whose points alone are ranked; none: those of the
	// collection.
	Sources []*Node
	// Filter is what the points of a leaf satisfy, with all that is asked by the nodes
	// above it. Nodes with sources need none.
	Filter *qdrant.Filter
	// Limit is how many points it keeps. That of a root is set by its tree.
	Limit uint64
	// Threshold is the worst score that it keeps; nil: any.
	Threshold *float32
	// By is how it ranks.
	By By
}

// By is how a node ranks: Vectors, ID, Field, Random, Fusion or Formula.
type By interface{ by() }

// Vectors ranks by the vectors of points. Query has a variant of its own kind, with
// vectors instead of ids.
type Vectors struct {
	Query  *qdrant.Query
	Using  string
	Params *qdrant.SearchParams
	// SmallerIsBetter: scores are distances.
	SmallerIsBetter bool
	// IDF scales the weights of sparse vectors in the query; nil: they stay.
	IDF *IDF
	// MMR asks for variety among the best; nil: they stay as they are.
	MMR *MMR
}

// IDF asks that the weights of a query are multiplied by the inverse document
// frequency of their indices (query.IDF) among the points of Corpus, nil: of all,
// that have the vector. It is counted over all shards of the target, so that a score
// does not depend on the shard of its point.
type IDF struct{ Corpus *qdrant.Filter }

// MMR takes the points one by one out of the best Candidates (fusion.MMR).
type MMR struct {
	Distance   query.Distance
	Lambda     float32
	Candidates uint64
}

// ID ranks by id; all scores are 1.
type ID struct{}

// Field ranks by an indexed field; all scores are 1.
type Field struct{ Order *qdrant.OrderBy }

// Random ranks by chance (query.SampleKey); all scores are 1.
type Random struct{ Seed uint64 }

// Fusion makes one ranking of its sources: fusion.RRF, or fusion.DBSF.
type Fusion struct {
	DBSF    bool
	K       uint32
	Weights []float32
}

// Formula computes scores out of those of its sources, of payload, and of which of
// the Conditions hold.
type Formula struct {
	Program    *formula.Program
	Conditions []*qdrant.Condition
}

func (*Vectors) by() {}
func (ID) by()       {}
func (*Field) by()   {}
func (*Random) by()  {}
func (*Fusion) by()  {}
func (*Formula) by() {}

// end is Offset+Limit, or the greatest number there is.
func (t *Tree) end() uint64 {
	if t.Offset > math.MaxUint64-t.Limit {
		return math.MaxUint64
	}
	return t.Offset + t.Limit
}
