package replica

import (
	"context"
	"fmt"

	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/replica/core"
	"github.com/pandodb/pando/services/internal/topology"
)

// load reads what a restart has (S1). Entries known as committed are applied here,
// in pieces, so that only the rest has to fit into memory.
func load(ctx context.Context, o Options) (*loader, core.Start, error) {
	at, tail := o.Engine.Position(), o.Log.Tail()
	if at.Applied > tail.Last.Seq {
		return nil, core.Start{}, fmt.Errorf("state is at entry %d, the log ends at %d", at.Applied, tail.Last.Seq)
	}
	if o.Hard.Commit > tail.Last.Seq {
		return nil, core.Start{}, fmt.Errorf("entry %d was committed, the log ends at %d", o.Hard.Commit, tail.Last.Seq)
	}
	ld := &loader{stop: ctx.Err, o: o, from: at.Applied, next: at.Applied + 1}
	if tail.Last.Seq > at.Applied {
		if err := o.Log.Iterate(at.Applied+1, ld.take); err != nil {
			return nil, core.Start{}, err
		}
	}
	if err := ld.flush(); err != nil {
		return nil, core.Start{}, err
	}
	if ld.next != tail.Last.Seq+1 {
		return nil, core.Start{}, fmt.Errorf("log stops before entry %d of %d", ld.next, tail.Last.Seq)
	}
	at = o.Engine.Position()
	start := core.Start{
		Hard: o.Hard, Applied: at.Applied, Config: at.Config, Floor: at.Floor, Mark: at.Mark,
		Last: tail.Last, History: tail.History, Entries: ld.rest, MaxHLC: max(at.MaxHLC, ld.maxHLC),
	}
	return ld, start, recall(o.Provisional, &start)
}

type loader struct {
	stop   func() error // why loading should end early
	o      Options
	from   topology.Seq // position of the engine before
	read   int64        // bytes of entries
	next   topology.Seq
	chunk  []op.Entry // committed
	bytes  int
	rest   []op.Entry
	maxHLC op.HLC
}

func (l *loader) take(e op.Entry) error {
	if e.Seq != l.next {
		return fmt.Errorf("entry %d follows %d", e.Seq, l.next-1)
	}
	l.next++
	l.read += int64(len(e.Body)) + op.EntryOverhead
	if e.Seq <= l.o.Hard.Commit {
		l.chunk, l.bytes = append(l.chunk, e), l.bytes+len(e.Body)
		if l.bytes < applyBytes {
			return nil
		}
		return l.flush()
	}
	l.maxHLC = max(l.maxHLC, e.HLC)
	l.rest = append(l.rest, e)
	return nil
}

func (l *loader) flush() error {
	if err := l.stop(); err != nil || len(l.chunk) == 0 {
		return err
	}
	if err := l.o.Engine.Apply(l.chunk); err != nil {
		return fmt.Errorf("apply from entry %d on: %w", l.chunk[0].Seq, err)
	}
	l.chunk, l.bytes = nil, 0
	return nil
}
