package query

import "github.com/pandodb/pando/services/dataplane/internal/filter"

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
}

// Frequencies asks how many points of Corpus, nil: of all, have a sparse vector
// and, of these, how many have each of the indices, which ascend.
type Frequencies struct {
	Using   string
	Indices []uint32
	Corpus  *filter.Filter
}
