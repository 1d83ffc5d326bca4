// Package query holds the reads that a shard answers, and the merging of what
// several shards answered. It is pure.
package query

import (
	"strconv"

	"github.com/pandodb/pando/services/dataplane/internal/filter"
	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/payload"
	"github.com/pandodb/pando/services/internal/topology"
)

// Distance is how two vectors are compared. The numbers are those of the
// public enum.
type Distance uint8

// The distances. Cosine and Dot: larger is better; Euclid and Manhattan: smaller.
const (
	Cosine    Distance = 1
	Euclid    Distance = 2
	Dot       Distance = 3
	Manhattan Distance = 4
)

// Schema is what the collection's settings say about the contents of a shard.
type Schema struct {
	Revision uint64
	Vectors  []VectorSchema // sorted by name
}

// VectorSchema describes one named vector.
type VectorSchema struct {
	Name     string
	Kind     VectorKind
	Size     int      // of each dense vector; Sparse: 0
	Distance Distance // Sparse: Dot
	Datatype Datatype
	// Generation tells it from vectors that had its name before and were dropped.
	Generation uint64
}

// Key is the name under which points keep the vector. Names hold no control
// characters, so that keys are in the order of names.
func (s VectorSchema) Key() string {
	if s.Generation == 0 {
		return s.Name
	}
	return s.Name + "\x00" + strconv.FormatUint(s.Generation, 10)
}

// Want says which parts of a point to answer.
type Want struct {
	Payload  PayloadWant
	Vectors  bool     // with VectorNames empty: all of them
	VecNames []string // only these
}

// PayloadWant selects payload paths. All with Include and Exclude empty gives
// the whole payload.
type PayloadWant struct {
	All              bool
	Include, Exclude []filter.Key
}

// Get asks for points by id. Missing ids are left out; order is that of IDs.
type Get struct {
	IDs  []topology.PointID
	Want Want
}

// Scroll asks for points in id order, from Offset (inclusive) on, or by a field, or by
// chance.
type Scroll struct {
	Filter *filter.Filter
	Offset *topology.PointID
	Order  *Order  // nil: by id; not together with Offset
	Sample *uint64 // seed of SampleKey, whose order it is; not together with the others
	Limit  int
	Want   Want
}

// Count asks how many points satisfy Filter. Approx takes an estimate where the
// indexes have one.
type Count struct {
	Filter *filter.Filter
	Approx bool
}

// Nearest asks for the Limit best points of a vector, or of a ranking.
type Nearest struct {
	Using          string
	Rank           *Rank // nil: the nearest to what follows
	Vector         []float32
	Indices        []uint32 // Sparse: of the weights in Vector, ascending
	Count          int      // Multi: how many vectors of equal length Vector holds
	Filter         *filter.Filter
	ScoreThreshold *float32
	Limit          int // already includes the offset that the coordinator cuts
	Params         Params
	Want           Want
}

// Record is a point as answered. Data is the caller's own copy.
type Record struct {
	ID      topology.PointID
	Version uint64 // the point's hlc
	Vectors []op.Vector
	Payload payload.Doc
	Order   *OrderValue // of a Scroll by a field
}

// Scored is a record with its score.
type Scored struct {
	Record
	Score float32
}

// Less tells whether a comes before b in a result of distance d: the better
// score first, ties by id.
func Less(d Distance, a, b Scored) bool { return before(d, &a, &b) }

func before(d Distance, a, b *Scored) bool {
	if a.Score != b.Score {
		return (a.Score < b.Score) == d.SmallerIsBetter()
	}
	return a.ID.Compare(b.ID) < 0
}
