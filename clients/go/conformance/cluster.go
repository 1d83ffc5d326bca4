package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/qdrant/go-client/qdrant"
)

// connect makes a client for each peer to talk to: that of the flags, or those of PANDO_PEERS="rest/grpc,…" but the
// PANDO_DOWN-th.
func (s *suite) connect(cfg *qdrant.Config, mode string) error {
	if mode == "" {
		return s.connectTo(*cfg)
	}
	if !slices.Contains([]string{"cluster", "cluster-down", "cluster-back"}, mode) {
		return fmt.Errorf("there is no mode %s: cluster, cluster-down or cluster-back", mode)
	}
	factor, err := strconv.ParseUint(cmp.Or(os.Getenv("PANDO_FACTOR"), "2"), 10, 32)
	if err != nil {
		return fmt.Errorf("PANDO_FACTOR: %w", err)
	}
	s.factor = qdrant.PtrOf(uint32(factor))
	if os.Getenv("PANDO_PEERS") == "" {
		return errors.New(mode + ` needs PANDO_PEERS="rest/grpc,…", each host:port`)
	}
	for i, peer := range strings.Split(os.Getenv("PANDO_PEERS"), ",") {
		if mode == "cluster-down" && strconv.Itoa(i+1) == os.Getenv("PANDO_DOWN") {
			continue
		}
		_, address, _ := strings.Cut(peer, "/")
		host, port, err := net.SplitHostPort(address)
		if err != nil {
			return fmt.Errorf("PANDO_PEERS: %w", err)
		}
		one := *cfg
		one.Host = host
		if one.Port, err = strconv.Atoi(port); err != nil {
			return fmt.Errorf("PANDO_PEERS: %w", err)
		}
		if err := s.connectTo(one); err != nil {
			return err
		}
	}
	return nil
}

func (s *suite) connectTo(cfg qdrant.Config) error {
	client, err := qdrant.NewClient(&cfg)
	if err == nil {
		s.peers = append(s.peers, client)
		s.Client = s.peers[0]
	}
	return err
}

func (s *suite) close() {
	for _, p := range s.peers {
		_ = p.Close()
	}
}

// sample is that of Qdrant's documentation: six shards, each on two peers, are twelve replicas.
func (s *suite) sample(ctx context.Context) {
	own := s.coll
	s.coll += "_sample"
	s.part("sample", func() { s.remake(ctx) })
	s.placement(ctx, 15*time.Second)
	s.truth = filled()
	for start := 0; start < count; start += 100 {
		s.part("load", func() {
			var points []*qdrant.PointStruct
			for i := start; i < start+100; i++ {
				points = append(points, point(i))
			}
			s.store(ctx, points...)
		})
	}
	s.work(ctx)
	s.coll, s.truth = own, newTruth(qdrant.Distance_Cosine)
}

// sampleAgain is about the same collection in a later run, with a peer down or back.
func (s *suite) sampleAgain(ctx context.Context, mode string) {
	s.coll += "_sample"
	s.truth = filled()
	if mode == "cluster-back" {
		s.placement(ctx, 2*time.Minute)
	}
	s.work(ctx)
}

type replica struct {
	shard uint32
	peer  uint64
	state qdrant.ReplicaState
}

func active(r replica) bool { return r.state == qdrant.ReplicaState_Active }

// placed gives the number of shards, and their replicas in order.
func (s *suite) placed(ctx context.Context) (uint64, []replica) {
	info := must(s.GetCollectionClusterInfo(ctx, s.coll))
	var out []replica
	for _, l := range info.GetLocalShards() {
		out = append(out, replica{l.GetShardId(), info.GetPeerId(), l.GetState()})
	}
	for _, r := range info.GetRemoteShards() {
		out = append(out, replica{r.GetShardId(), r.GetPeerId(), r.GetState()})
	}
	slices.SortFunc(out, func(a, b replica) int { return cmp.Or(cmp.Compare(a.shard, b.shard), cmp.Compare(a.peer, b.peer)) })
	return info.GetShardCount(), out
}

// placement: every peer tells of the same replicas, all active after some time.
func (s *suite) placement(ctx context.Context, atMost time.Duration) {
	want := int(shards * *s.factor)
	var first []replica
	for range s.peers {
		s.part("placement", func() {
			var number uint64
			var replicas []replica
			all := func() bool { return !slices.ContainsFunc(replicas, func(r replica) bool { return !active(r) }) }
			within(atMost, func() bool {
				number, replicas = s.placed(ctx)
				return len(replicas) == want && all()
			})
			places, logical := map[[2]uint64]bool{}, map[uint32]bool{}
			for _, r := range replicas {
				places[[2]uint64{uint64(r.shard), r.peer}], logical[r.shard] = true, true
			}
			if first == nil {
				first = replicas
			}
			s.same("number of shards", number, uint64(shards))
			s.same("logical shards", len(logical), shards)
			s.same("physical shards", len(replicas), want)
			s.same("no two replicas of a shard on one peer", len(places), len(replicas))
			s.ok("all replicas are active", all(), "%v", replicas)
			s.same("every peer says the same", replicas, first)
		})
	}
}

// work reads, writes and searches through each peer and leaves the collection as it was.
func (s *suite) work(ctx context.Context) {
	wait := qdrant.PtrOf(true)
	through := func(what string, do func(k int)) {
		for k := range s.peers {
			s.part(what, func() { do(k) })
		}
	}
	survey := func(int) {
		q := vector(10_001, dim)
		want := s.truth.nearest(q, nil)
		s.same("sample: count", must(s.Count(ctx, &qdrant.CountPoints{CollectionName: s.coll, Exact: qdrant.PtrOf(true)})), uint64(len(want)))
		s.holds(ctx, "sample", s.truth.keys()...)
		got := must(s.Query(ctx, &qdrant.QueryPoints{CollectionName: s.coll, Query: qdrant.NewQueryDense(q), Limit: qdrant.PtrOf(uint64(2 * count))}))
		s.hits("sample: query", got, want)
		s.same("sample: query for all", len(got), len(want))
	}
	through("survey", survey)
	through("write", func(k int) {
		old, fresh := name(k), name(1000+k)
		s.truth.put(fresh, vector(k, dim), payload(k))
		p := point(k)
		p.Id = fresh.id()
		s.store(ctx, p)
		s.truth.payloads[old] = payload(k)
		maps.Copy(s.truth.payloads[old], fields{"through": int64(k)})
		must(s.SetPayload(ctx, &qdrant.SetPayloadPoints{CollectionName: s.coll, Wait: wait, Payload: qdrant.NewValueMap(fields{"through": int64(k)}),
			PointsSelector: qdrant.NewPointsSelector(old.id())}))
		s.holds(ctx, "sample: written", old, fresh)
	})
	through("survey after writes", survey)
	through("undo", func(k int) {
		last := len(s.peers) - 1 - k // through another peer than wrote it
		old, fresh := name(last), name(1000+last)
		s.truth.drop(fresh)
		must(s.Delete(ctx, &qdrant.DeletePoints{CollectionName: s.coll, Wait: wait, Points: qdrant.NewPointsSelector(fresh.id())}))
		s.truth.payloads[old] = payload(last)
		must(s.OverwritePayload(ctx, &qdrant.SetPayloadPoints{CollectionName: s.coll, Wait: wait, Payload: qdrant.NewValueMap(payload(last)),
			PointsSelector: qdrant.NewPointsSelector(old.id())}))
		s.holds(ctx, "sample: undone", old)
	})
	s.part("survey after all", func() { survey(0) })
}

// within asks again until it is true or the time is over.
func within(atMost time.Duration, f func() bool) bool {
	for until := time.Now().Add(atMost); !f(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(until) {
			return false
		}
	}
	return true
}
