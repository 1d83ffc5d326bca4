package shard

import (
	"cmp"
	"runtime"
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
	// quietCalls of Due without an entry between them: nobody writes at present.
	quietCalls = 4
)

// weight is what deciding needs to know of a part.
type weight struct {
	number      topology.Seq
	rows, alive int
	bytes       int64
	pending     bool
}

// Due is what the primary should append for the shard to stay in few parts: seals
// and merges by the thresholds of the settings. It is called now and then; calls
// between which nothing was applied tell it that nobody writes.
func (s *Shard) Due() (op.Op, bool) {
	a := &s.apply
	a.Lock()
	defer a.Unlock()
	if a.quietAt != a.meta.Seq {
		a.quietAt, a.quiet = a.meta.Seq, 0
	}
	a.quiet++
	if a.closed || s.store.err() != nil {
		return op.Op{}, false
	}
	return next(a.settings.Optimizers, s.state.tail.Bytes(), s.weights(), a.quiet > quietCalls)
}

// weights of the parts on record.
func (s *Shard) weights() (out []weight) {
	for _, e := range s.apply.manifest.parts {
		w := weight{number: e.number, pending: len(e.sources) > 0}
		if !w.pending {
			p := s.state.sealed.number(e.number)
			w.rows, w.alive = p.Rows(), p.Alive()
			for _, f := range e.origin.segment.Files {
				w.bytes += f.Size
			}
		}
		out = append(out, w)
	}
	return out
}

// next decides. Pure but for the number of processors.
func next(o query.Optimizers, tail int, parts []weight, quiet bool) (op.Op, bool) {
	most := sealBytes
	if o.IndexingThresholdKB > 0 && o.IndexingThresholdKB < sealBytes>>10 {
		most = int(o.IndexingThresholdKB) << 10
	}
	if tail >= most {
		return op.Op{Kind: op.Seal}, true
	}
	group := due(o, parts, quiet)
	if len(group) == 0 {
		return op.Op{}, false
	}
	slices.Sort(group)
	return op.Op{Kind: op.Merge, Parts: group}, true
}

// due are the parts to be merged now. One merge at a time.
func due(o query.Optimizers, parts []weight, quiet bool) []topology.Seq {
	if slices.ContainsFunc(parts, func(w weight) bool { return w.pending }) {
		return nil
	}
	for _, w := range parts {
		dead := w.rows - w.alive
		if o.DeletedThreshold > 0 && w.rows >= max(1, o.VacuumMinVectors) && float64(dead) > o.DeletedThreshold*float64(w.rows) {
			return []topology.Seq{w.number}
		}
	}
	wanted := o.SegmentNumber
	if wanted <= 0 {
		wanted = min(8, max(2, runtime.NumCPU()))
	}
	by := slices.Clone(parts)
	slices.SortFunc(by, func(a, b weight) int { return cmp.Or(cmp.Compare(a.bytes, b.bytes), cmp.Compare(a.number, b.number)) })
	if limit := int64(o.MaxSegmentKB) << 10; limit > 0 {
		by = slices.DeleteFunc(by, func(w weight) bool { return w.bytes > limit/2 })
	}
	// As many of the smallest as are each no larger than those before together.
	n, sum := 0, int64(0)
	for n < len(by) && (n == 0 || by[n].bytes <= sum) {
		sum += by[n].bytes
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
func within(by []weight, limit int64) (out []topology.Seq) {
	sum := int64(0)
	for _, w := range by {
		if sum += w.bytes; limit > 0 && sum > limit {
			break
		}
		out = append(out, w.number)
	}
	if len(out) < 2 {
		return nil
	}
	return out
}
