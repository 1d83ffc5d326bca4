package fleet

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	placementv1 "github.com/pandodb/pando/gen/go/pando/placement/v1"
	"github.com/pandodb/pando/gen/go/qdrant"
)

// Ref names a shard.
type Ref struct{ Collection, Shard uint64 }

// Placement is the newest record of every shard that any peer has told of.
type Placement struct {
	Collections map[string]uint64 // id by name
	Shards      map[Ref]*placementv1.Shard
}

// Of are the shards of a collection.
func (p Placement) Of(collection string) []*placementv1.Shard {
	var out []*placementv1.Shard
	id, known := p.Collections[collection]
	for ref, s := range p.Shards {
		if known && ref.Collection == id {
			out = append(out, s)
		}
	}
	slices.SortFunc(out, func(a, b *placementv1.Shard) int { return int(a.GetShardId()) - int(b.GetShardId()) })
	return out
}

// Whole tells that a collection has so many shards, each with a primary and so many replicas, all Active.
func (p Placement) Whole(collection string, shards, factor int) bool {
	all := p.Of(collection)
	return len(all) == shards && !slices.ContainsFunc(all, func(s *placementv1.Shard) bool {
		return s.GetPrimary() == 0 || len(s.GetReplicas()) != factor || CountActive(s) != factor
	})
}

// describe tells in a line what is on record of a shard.
func describe(collection string, s *placementv1.Shard) string {
	out := fmt.Sprintf("%s, shard %d: epoch %d, primary %d, replicas", collection, s.GetShardId(), s.GetEpoch(), s.GetPrimary())
	for _, r := range s.GetReplicas() {
		out += fmt.Sprintf(" %d=%v", r.GetPeerId(), r.GetState())
	}
	return out
}

// CountActive is how many replicas of a shard are Active.
func CountActive(s *placementv1.Shard) (n int) {
	for _, r := range s.GetReplicas() {
		if r.GetState() == qdrant.ReplicaState_Active {
			n++
		}
	}
	return n
}

// IsActive tells whether a peer has an Active replica of a shard.
func IsActive(s *placementv1.Shard, peer uint64) bool {
	return slices.ContainsFunc(s.GetReplicas(), func(r *placementv1.Replica) bool {
		return r.GetPeerId() == peer && r.GetState() == qdrant.ReplicaState_Active
	})
}

// Active counts the replicas of a collection on a peer that are Active, and the shards that it is the primary of.
func (p Placement) Active(collection string, peer uint64) (replicas, primaries int) {
	for _, s := range p.Of(collection) {
		if s.GetPrimary() == peer {
			primaries++
		}
		if IsActive(s, peer) {
			replicas++
		}
	}
	return replicas, primaries
}

// Led tells that every shard of a collection has a primary, and none at this peer.
func (p Placement) Led(collection string, without uint64) bool {
	return !slices.ContainsFunc(p.Of(collection), func(s *placementv1.Shard) bool {
		return s.GetPrimary() == 0 || s.GetPrimary() == without
	})
}

// Dead tells that every replica of a collection at a peer is Dead, and that no shard has its primary there.
func (p Placement) Dead(collection string, peer uint64) bool {
	return !slices.ContainsFunc(p.Of(collection), func(s *placementv1.Shard) bool {
		return s.GetPrimary() == peer || slices.ContainsFunc(s.GetReplicas(), func(r *placementv1.Replica) bool {
			return r.GetPeerId() == peer && r.GetState() != qdrant.ReplicaState_Dead
		})
	})
}

// Watch follows the placement at every peer until ctx ends.
func (f *Fleet) Watch(ctx context.Context) {
	var group sync.WaitGroup
	for i := range f.peers {
		group.Go(func() {
			tick := time.NewTicker(20 * time.Millisecond)
			defer tick.Stop()
			for ctx.Err() == nil {
				_ = f.follow(ctx, i) // it is down, or was: the next try tells
				select {
				case <-tick.C:
				case <-ctx.Done():
				}
			}
		})
	}
	group.Wait()
}

func (f *Fleet) follow(ctx context.Context, i int) error {
	c := f.Internal(i)
	if c == nil {
		return errors.New("it does not run")
	}
	stream, err := placementv1.NewSessionClient(c).WatchPlacement(ctx, &placementv1.WatchPlacementRequest{PeerId: f.peers[i].ID})
	if err != nil {
		return err
	}
	for {
		event, err := stream.Recv()
		if err != nil {
			return err
		}
		f.see(append(event.GetSnapshot().GetRecords(), event.GetDelta().GetChanges()...))
	}
}

// see takes what a peer tells. Of a shard the higher epoch is the newer record, whoever tells it.
func (f *Fleet) see(changes []*placementv1.Change) {
	if len(changes) == 0 {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	next := Placement{Collections: maps.Clone(f.mu.seen.Collections), Shards: maps.Clone(f.mu.seen.Shards)}
	for _, c := range changes {
		if k := c.GetCollection(); k != nil {
			next.Collections[k.GetName()] = k.GetCollectionId()
		}
		if s := c.GetShard(); s != nil {
			ref := Ref{s.GetCollectionId(), s.GetShardId()}
			if was := next.Shards[ref]; was == nil || was.GetEpoch() < s.GetEpoch() {
				next.Shards[ref] = s
			}
		}
	}
	f.mu.seen = next
	close(f.mu.changed)
	f.mu.changed = make(chan struct{})
}

// Placement is what is known now; it does not change any more.
func (f *Fleet) Placement() Placement {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.mu.seen
}

// Await waits until the placement is so.
func (f *Fleet) Await(ctx context.Context, is func(Placement) bool) error {
	for {
		f.mu.Lock()
		seen, changed := f.mu.seen, f.mu.changed
		f.mu.Unlock()
		if is(seen) {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// AwaitWithin waits until the placement is so, but not longer than that. Its error tells what is on record of these collections.
func (f *Fleet) AwaitWithin(ctx context.Context, within time.Duration, what string, is func(Placement) bool, collections ...string) error {
	limited, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	err := f.Await(limited, is)
	if err == nil || ctx.Err() != nil {
		return err
	}
	err = fmt.Errorf("not within %v: %s: %w; on record are", within, what, err)
	now := f.Placement()
	for _, name := range collections {
		for _, s := range now.Of(name) {
			err = fmt.Errorf("%w\n  %s", err, describe(name, s))
		}
	}
	return err
}
