// Package optimize decides when a shard seals its tail and which parts it merges. Pure.
package optimize

import (
	"cmp"
	"slices"

	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/query"
	"github.com/pandodb/pando/services/internal/topology"
)

const (
	// sealBytes bounds the tail, which is searched row by row.
	sealBytes = 32 << 20
	// fewest parts of a size are worth a merge while writes come in.
	fewest = 4
	// tooMany parts beyond those that are wanted are merged whatever they weigh.
	tooMany = 12
	// mostStages is how often a graph is grown before it is built from nothing again.
	mostStages = 8
	// smallestBase is which share of the rows of a merged part a graph must have for
	// growing it to save much: one in so many.
	smallestBase = 4
)

// Part is what deciding needs to know of a sealed part.
type Part struct {
	Number      topology.Seq
	Rows, Alive int   // 0 while it is pending
	Bytes       int64 // of its segment
	Dropped     int64 // of these, of vectors that were dropped
	Pending     bool  // it has not been made yet
}

// Next is the operation to append, if any: a seal once the tail has so many bytes, or
// a merge, unless the settings have no threads for it. Wanted is how many parts to aim at where the settings leave it open; quiet:
// nobody writes at present.
func Next(o query.Optimizers, tail int, parts []Part, wanted int, quiet bool) (op.Op, bool) {
	most := sealBytes
	if o.IndexingThresholdKB > 0 && o.IndexingThresholdKB < sealBytes>>10 {
		most = int(o.IndexingThresholdKB) << 10
	}
	if tail >= most {
		return op.Op{Kind: op.Seal}, true
	}
	group := Merge(o, parts, wanted, quiet)
	if len(group) == 0 || o.Threads < 0 {
		return op.Op{}, false
	}
	slices.Sort(group)
	return op.Op{Kind: op.Merge, Parts: group}, true
}

// Merge are the parts to be merged now, in no order; nil: none, as long as another
// merge is pending. Wanted and quiet as in Next.
func Merge(o query.Optimizers, parts []Part, wanted int, quiet bool) []topology.Seq {
	if slices.ContainsFunc(parts, func(w Part) bool { return w.Pending }) {
		return nil
	}
	for _, w := range parts {
		dead := float64(w.Rows-w.Alive) > o.DeletedThreshold*float64(w.Rows)
		dropped := float64(w.Dropped) > o.DeletedThreshold*float64(w.Bytes)
		if o.DeletedThreshold > 0 && w.Rows >= max(1, o.VacuumMinVectors) && (dead || dropped) {
			return []topology.Seq{w.Number}
		}
	}
	if o.SegmentNumber > 0 {
		wanted = o.SegmentNumber
	}
	by := slices.Clone(parts)
	slices.SortFunc(by, func(a, b Part) int { return cmp.Or(cmp.Compare(a.Bytes, b.Bytes), cmp.Compare(a.Number, b.Number)) })
	if limit := int64(o.MaxSegmentKB) << 10; limit > 0 {
		by = slices.DeleteFunc(by, func(w Part) bool { return w.Bytes > limit/2 })
	}
	// As many of the smallest as are each no larger than those before together.
	n, sum := 0, int64(0)
	for n < len(by) && (n == 0 || by[n].Bytes <= sum) {
		sum += by[n].Bytes
		n++
	}
	extra := len(parts) - wanted
	switch {
	case n >= fewest:
	case extra > 0 && quiet, extra > tooMany:
		n = min(extra+1, len(by))
	default:
		return nil
	}
	return within(by[:n], int64(o.MaxSegmentKB)<<10)
}

// within are the numbers of as many parts, the smallest first, as make one of at most
// limit bytes; 0: no limit.
func within(by []Part, limit int64) (out []topology.Seq) {
	sum := int64(0)
	for _, w := range by {
		if sum += w.Bytes; limit > 0 && sum > limit {
			break
		}
		out = append(out, w.Number)
	}
	if len(out) < 2 {
		return nil
	}
	return out
}

// Source is what choosing the base of a merge needs to know of a part that is merged.
type Source struct {
	Rows   int  // that it had when it was made
	Died   bool // some of them are dead
	Stages int  // in which its graphs have grown
}

// Base is the source whose graphs those of the merged part, of so many rows, are grown
// from: the largest whose rows are all alive, for a graph without some of its rows could
// not be built again by whoever does not have it. -1: none is large enough.
func Base(sources []Source, rows int) int {
	base := -1
	for i, s := range sources {
		if !s.Died && s.Stages < mostStages && s.Rows > 0 && s.Rows*smallestBase >= rows && (base < 0 || s.Rows > sources[base].Rows) {
			base = i
		}
	}
	return base
}
