package session

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	placementv1 "github.com/pandodb/pando/gen/go/pando/placement/v1"
	"github.com/pandodb/pando/services/internal/fault"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/wire"
	"google.golang.org/protobuf/proto"
)

// kind and key name a record among all that the control plane sends.
type kind uint8

const (
	kindPeer kind = iota + 1
	kindCollection
	kindAlias
	kindShard
	kindTransfer
	kindMetadata
)

type key struct {
	kind kind
	name string
	a, b uint64
	c    uint64
}

// records are the placement as it was sent, so that it can be kept on disk and
// shown in full.
type records map[key]*placementv1.Change

// apply puts or removes what a change names. A shard's record of a lower epoch
// than the one held is ignored.
func (r records) apply(c *placementv1.Change) {
	switch o := c.GetChange().(type) {
	case *placementv1.Change_Peer:
		r[key{kind: kindPeer, a: o.Peer.GetPeerId()}] = c
	case *placementv1.Change_Collection:
		r[key{kind: kindCollection, a: o.Collection.GetCollectionId()}] = c
	case *placementv1.Change_Alias:
		r[key{kind: kindAlias, name: o.Alias.GetName()}] = c
	case *placementv1.Change_Shard:
		k := key{kind: kindShard, a: o.Shard.GetCollectionId(), b: o.Shard.GetShardId()}
		if r[k].GetShard().GetEpoch() <= o.Shard.GetEpoch() {
			r[k] = c
		}
	case *placementv1.Change_Transfer:
		t := o.Transfer
		r[key{kind: kindTransfer, a: t.GetCollectionId(), b: t.GetShardId(), c: t.GetTo()}] = c
	case *placementv1.Change_Metadata:
		r[key{kind: kindMetadata, name: o.Metadata.GetKey()}] = c
	case *placementv1.Change_PeerGone:
		delete(r, key{kind: kindPeer, a: o.PeerGone})
	case *placementv1.Change_CollectionGone:
		delete(r, key{kind: kindCollection, a: o.CollectionGone})
		for k := range r {
			if (k.kind == kindShard || k.kind == kindTransfer) && k.a == o.CollectionGone {
				delete(r, k)
			}
		}
	case *placementv1.Change_AliasGone:
		delete(r, key{kind: kindAlias, name: o.AliasGone})
	case *placementv1.Change_ShardGone:
		delete(r, key{kind: kindShard, a: o.ShardGone.GetCollectionId(), b: o.ShardGone.GetShardId()})
	case *placementv1.Change_TransferGone:
		t := o.TransferGone
		delete(r, key{kind: kindTransfer, a: t.GetCollectionId(), b: t.GetShardId(), c: t.GetTo()})
	case *placementv1.Change_MetadataGone:
		delete(r, key{kind: kindMetadata, name: o.MetadataGone})
	}
}

func (r records) list() []*placementv1.Change {
	out := make([]*placementv1.Change, 0, len(r))
	for _, c := range r {
		out = append(out, c)
	}
	return out
}

// mapAt is the map that these records are.
func (r records) mapAt(revision uint64) (*topology.Map, error) {
	d, err := wire.Delta(revision, true, r.list())
	if err != nil {
		return nil, err
	}
	return topology.NewMap().Apply(d), nil
}

// silence is how long a member of the control plane may say nothing, where it
// says something twice a second, before another one is asked: a process that
// hangs keeps its connections.
const silence = 2 * time.Second

// follow streams the placement: a snapshot in pieces, then what changed.
func (s *Session) follow(ctx context.Context, up func()) error {
	ctx, cancel := context.WithCancel(ctx)
	var out sync.WaitGroup
	var anew atomic.Bool
	defer out.Wait()
	defer cancel()
	out.Go(func() {
		select {
		case <-s.removed:
			cancel()
		case <-s.again:
			anew.Store(true)
			cancel()
		case <-ctx.Done():
		}
	})
	stream, err := s.o.Control.WatchPlacement(ctx, &placementv1.WatchPlacementRequest{
		PeerId: s.o.Peer.GetPeerId(), AfterRevision: s.after()})
	if err != nil {
		return err
	}
	alive := time.AfterFunc(silence, cancel)
	defer alive.Stop()
	var pieces []*placementv1.Change
	for {
		ev, err := stream.Recv()
		switch {
		case err != nil && anew.Load():
			return nil
		case err != nil && !alive.Stop():
			return fault.New(fault.Timeout, "no sign of life of the placement for %v", silence)
		case err != nil:
			return err
		}
		alive.Reset(silence)
		up()
		switch e := ev.GetEvent().(type) {
		case *placementv1.WatchPlacementResponse_Snapshot:
			if e.Snapshot.GetIndex() == 0 {
				pieces = nil
			}
			pieces = append(pieces, e.Snapshot.GetRecords()...)
			if e.Snapshot.GetLast() {
				err = s.take(e.Snapshot.GetRevision(), true, pieces)
				pieces = nil
			}
		case *placementv1.WatchPlacementResponse_Delta:
			err = s.take(e.Delta.GetRevision(), false, e.Delta.GetChanges())
		case *placementv1.WatchPlacementResponse_Progress:
			if e.Progress.GetRevision() > s.Map().Revision() { // otherwise it is a sign of life
				err = s.take(e.Progress.GetRevision(), false, nil)
			}
		}
		if err != nil {
			return err
		}
	}
}

// after is the revision to go on from; 0: everything is wanted.
func (s *Session) after() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.anew != nil {
		return 0
	}
	return s.mu.m.Revision()
}

// take makes the next map and wakes those who wait for it. A snapshot older than
// the map is refused: what it lacks is not gone.
func (s *Session) take(revision uint64, reset bool, changes []*placementv1.Change) error {
	d, err := wire.Delta(revision, reset, changes)
	if err != nil {
		return fmt.Errorf("placement of revision %d: %w", revision, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if have := s.mu.m.Revision(); reset && revision < have {
		return fault.New(fault.NoLeader, "a placement of revision %d follows revision %d: that member of the control plane lags", revision, have)
	}
	if reset {
		s.mu.records = records{}
		if s.mu.anew != nil {
			close(s.mu.anew)
			s.mu.anew = nil
		}
	}
	for _, c := range changes {
		s.mu.records.apply(c)
	}
	s.mu.m = s.mu.m.Apply(d)
	s.wake()
	if reset || len(changes) > 0 {
		s.mark()
	}
	return nil
}

// mark has the placement written soon. The lock must be held.
func (s *Session) mark() {
	s.mu.dirty = true
	select {
	case s.save <- struct{}{}:
	default:
	}
}

// wake tells those who wait that something is new. The lock must be held.
func (s *Session) wake() {
	close(s.mu.changed)
	s.mu.changed = make(chan struct{})
}

// inventory is what the control plane was told last.
type inventory map[[2]uint64]*placementv1.ReplicaInventory

// update gives what to tell now: everything, what changed, or nil.
func (i inventory) update(now []*placementv1.ReplicaInventory, full bool) *placementv1.Inventory {
	out := &placementv1.Inventory{Full: full}
	seen := make(map[[2]uint64]bool, len(now))
	for _, r := range now {
		k := [2]uint64{r.GetCollectionId(), r.GetShardId()}
		seen[k] = true
		if full || !proto.Equal(i[k], r) {
			out.Replicas, i[k] = append(out.Replicas, r), r
		}
	}
	for k := range i {
		if !seen[k] {
			delete(i, k)
			out.Gone = append(out.Gone, &placementv1.ShardRef{CollectionId: k[0], ShardId: k[1]})
		}
	}
	if !full && len(out.GetReplicas())+len(out.GetGone()) == 0 {
		return nil
	}
	return out
}
