package shard

import (
	"runtime"

	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/segment"
	"github.com/pandodb/pando/services/dataplane/internal/shard/optimize"
)

// quietCalls of Due without an entry between them: nobody writes at present.
const quietCalls = 4

// wanted is how many parts a shard aims at whose settings do not say.
func wanted() int { return min(8, max(2, runtime.NumCPU())) }

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
	if a.closed || s.store.Err() != nil {
		return op.Op{}, false
	}
	return optimize.Next(a.settings.Optimizers, s.state.Tail.Bytes(), s.weights(), wanted(), a.quiet > quietCalls)
}

// weights of the parts on record.
func (s *Shard) weights() (out []optimize.Part) {
	for _, e := range s.apply.manifest.Parts {
		w := optimize.Part{Number: e.Number, Pending: len(e.Sources) > 0}
		if !w.Pending {
			p := s.state.Sealed.Number(e.Number)
			w.Rows, w.Alive = p.Rows(), p.Alive()
			for _, f := range e.Origin.Segment.Files {
				w.Bytes += f.Size
				if _, named := s.apply.settings.Named(f.Name); f.Kind == segment.KindVectors && !named && !s.apply.settings.Assumed {
					w.Dropped += f.Size
				}
			}
		}
		out = append(out, w)
	}
	return out
}
