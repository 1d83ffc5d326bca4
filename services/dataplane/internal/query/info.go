package query

import (
	"math"

	"github.com/pandodb/pando/services/dataplane/internal/filter"
)

// Info is how a shard's parts are at the moment.
type Info struct {
	// Segments, the tail included.
	Segments uint64
	// Indexed is how many vectors a search finds through an index, by their name.
	Indexed map[string]uint64
	// Pending is how many seals, merges and builds of an index are to be done or
	// being done. Paused: nothing is at work on them.
	Pending uint64
	Paused  bool
	// Failure is why some of that work cannot be done; empty: all is well.
	Failure string
	// Points, and about what their vectors and payloads take.
	Points, VectorBytes, PayloadBytes uint64
}

// Frequencies asks how many points of Corpus, nil: of all, have a sparse vector
// and, of these, how many have each of the indices, which ascend.
type Frequencies struct {
	Using   string
	Indices []uint32
	Corpus  *filter.Filter
}

// IDF is the factor on the weight of an index that df of n points have: the
// inverse document frequency ln(1 + (n - df + 0.5)/(df + 0.5)).
func IDF(n, df uint64) float64 {
	all, with := float64(max(n, df)), float64(df)
	return math.Log1p((all - with + 0.5) / (with + 0.5))
}
