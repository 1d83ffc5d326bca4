package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	placementv1 "github.com/pandodb/pando/gen/go/pando/placement/v1"
	shardv1 "github.com/pandodb/pando/gen/go/pando/shard/v1"
	"github.com/pandodb/pando/services/internal/topology"
)

// audit is what the last look at every replica found.
type audit struct {
	replicas, points int // that were looked at
	acknowledged     int // writes that count for a point on a replica
	lost             int // points on a replica that cannot be what they are
	divergent        int // replicas that differ from the first one of their shard
	staleExcused     int // reads that missed something, at a time when R2 lets a replica not know better
	stale            int // others
	wrong            []string
}

func (a *audit) say(format string, args ...any) {
	a.wrong = append(a.wrong, fmt.Sprintf(format, args...))
}

// still is how long replicas that have nothing to do are given to be at one place.
const still = 20 * time.Second

// auditAll reads every replica of a collection by itself and holds each point against the history.
func (r *run) auditAll(ctx context.Context, l *load) (audit, error) {
	var a audit
	ctx, cancel := context.WithTimeout(ctx, 2*still)
	defer cancel()
	if err := r.awaitWhole(ctx); err != nil {
		return a, fmt.Errorf("not whole: %w", err)
	}
	for _, s := range r.fleet.Placement().Of(l.collection) {
		if err := r.auditShard(ctx, &a, l, s); err != nil {
			return a, fmt.Errorf("shard %d: %w", s.GetShardId(), err)
		}
	}
	r.auditReads(&a, l)
	return a, nil
}

func (r *run) auditShard(ctx context.Context, a *audit, l *load, s *placementv1.Shard) error {
	var copies []map[int]*shardv1.Record
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for begun, before := time.Now(), ""; ; {
		at, digests, err := r.digests(ctx, s)
		if err != nil {
			return err
		}
		copies = copies[:0]
		for _, rep := range s.GetReplicas() {
			c, err := r.records(ctx, s, rep.GetPeerId())
			if err != nil {
				return fmt.Errorf("peer %d: %w", rep.GetPeerId(), err)
			}
			copies = append(copies, c)
		}
		if same(digests) && same(at) && len(at) > 0 && at[0] == before { // nothing has moved while they were read
			break
		}
		if before = at[0]; time.Since(begun) > still {
			a.divergent++
			a.say("shard %d: its replicas do not come to one state: at entries %v, digests %v", s.GetShardId(), at, digests)
			break
		}
		<-tick.C
	}
	for k, c := range copies {
		peer := s.GetReplicas()[k].GetPeerId()
		a.replicas++
		if id, differ := different(copies[0], c); differ {
			a.divergent++
			a.say("shard %d: point %d at peer %d and at peer %d: %v and %v", s.GetShardId(), id, s.GetReplicas()[0].GetPeerId(), peer, copies[0][id], c[id])
		}
		a.hold(l.history, s.GetShardId(), peer, r.shards, c)
	}
	return nil
}

// hold compares all points that belong to a shard with the history.
func (a *audit) hold(h *history, shard, peer uint64, shards int, records map[int]*shardv1.Record) {
	rule := topology.HashRule{N: shards}
	for id := range records {
		if slot := rule.Slot(topology.NumberID(uint64(id))); uint64(slot) != shard {
			a.say("point %d is in shard %d, it belongs to %d", id, shard, slot)
			a.lost++
		}
	}
	for id := range points + heavy {
		if uint64(rule.Slot(topology.NumberID(uint64(id)))) != shard {
			continue
		}
		a.points++
		for _, e := range h.points[id] {
			if e.outcome == committed || e.outcome == applied {
				a.acknowledged++
			}
		}
		found := state{}
		if rec := records[id]; rec != nil {
			found = stateOf(rec.GetPoint())
		}
		if err := h.settled(id, found); err != nil {
			a.lost++
			a.say("peer %d, shard %d, point %d (%v): %v\n%s", peer, shard, id, found, err, h.tell(id))
		}
	}
}

// digests asks all replicas of a shard where they are and what their digest there is.
func (r *run) digests(ctx context.Context, s *placementv1.Shard) (at, digests []string, err error) {
	for _, rep := range s.GetReplicas() {
		conn := r.fleet.Internal(r.fleet.Index(rep.GetPeerId()))
		if conn == nil {
			return nil, nil, fmt.Errorf("peer %d does not run", rep.GetPeerId())
		}
		p, err := shardv1.NewProbeClient(conn).Probe(ctx, &shardv1.ProbeRequest{Shards: []*placementv1.ShardRef{{CollectionId: s.GetCollectionId(), ShardId: s.GetShardId()}}})
		if err != nil {
			return nil, nil, fmt.Errorf("peer %d: %w", rep.GetPeerId(), err)
		}
		h := p.GetReplicas()[0]
		if h.GetFailure() != nil {
			return nil, nil, fmt.Errorf("peer %d: %s", rep.GetPeerId(), h.GetFailure().GetMessage())
		}
		at, digests = append(at, fmt.Sprint(h.GetDigestSeq())), append(digests, fmt.Sprintf("%x", h.GetDigest()))
	}
	return at, digests, nil
}

func same(all []string) bool {
	for _, s := range all {
		if s != all[0] {
			return false
		}
	}
	return true
}

// records reads one replica, whatever it is of its shard.
func (r *run) records(ctx context.Context, s *placementv1.Shard, peer uint64) (map[int]*shardv1.Record, error) {
	payload, vectors := everything()
	all := uint32(2 * (points + heavy))
	resp, err := shardv1.NewShardClient(r.fleet.Internal(r.fleet.Index(peer))).Read(ctx, &shardv1.ReadRequest{Reads: []*shardv1.ShardRead{{
		Route: &shardv1.Route{CollectionId: s.GetCollectionId(), ShardId: s.GetShardId()},
		Read:  &shardv1.ShardRead_Scroll{Scroll: &shardv1.ScrollPoints{Limit: all, WithPayload: payload, WithVectors: vectors}}}}})
	if err != nil {
		return nil, err
	}
	if f := resp.GetResults()[0].GetFailure(); f != nil {
		return nil, errors.New(f.GetMessage())
	}
	out := map[int]*shardv1.Record{}
	for _, rec := range resp.GetResults()[0].GetRecords().GetRecords() {
		out[int(rec.GetPoint().GetId().GetNum())] = rec
	}
	return out, nil
}

// different finds a point that is not the same in two replicas, its stamp included.
func different(a, b map[int]*shardv1.Record) (int, bool) {
	text := func(r *shardv1.Record) []byte {
		if r == nil {
			return nil
		}
		out, err := proto.MarshalOptions{Deterministic: true}.Marshal(r)
		if err != nil {
			return nil // a message of generated code that has come over the wire
		}
		return out
	}
	for id := range points + heavy {
		if !bytes.Equal(text(a[id]), text(b[id])) {
			return id, true
		}
	}
	return 0, false
}

// unheard is how long a replica that hears from no primary may go on serving (T_read, R2), and a little more.
const unheard = 11 * time.Second

// auditReads looks for reads that missed what every replica had shown before they began.
func (r *run) auditReads(a *audit, l *load) {
	began := l.history.began
	for _, k := range l.looks {
		err := l.history.visible(k.id, k.found, k.start, k.end)
		switch {
		case err == nil:
		case r.excused(began.Add(k.start), began.Add(k.end)):
			a.staleExcused++
		default:
			a.stale++
			a.say("read at peer %d, %v to %v, point %d (%v): %v\n%s", r.fleet.Peers()[k.peer].ID, k.start, k.end, k.id, k.found, err, l.history.tell(k.id))
		}
	}
}
