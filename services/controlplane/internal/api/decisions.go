package api

import (
	"context"
	"encoding/binary"
	"errors"
	"hash/fnv"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	placementv1 "github.com/pandodb/pando/gen/go/pando/placement/v1"
	"github.com/pandodb/pando/services/controlplane/internal/placement"
	"github.com/pandodb/pando/services/controlplane/internal/store"
	"github.com/pandodb/pando/services/controlplane/internal/view"
	"github.com/pandodb/pando/services/internal/fault"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/wire"
)

// SetState changes one replica's state at the word of the shard's primary (C1, C8). The swap compares the shard's record and
// the session of the sender (C10); marking an Active replica Dead needs another Active one that confirms itself (C2, C2a).
func (s decisions) SetState(ctx context.Context, req *placementv1.SetStateRequest) (*placementv1.SetStateResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, maxCall)
	defer cancel()
	resp := &placementv1.SetStateResponse{}
	err := s.settle(ctx, false, func(ctx context.Context) error {
		sw, err := s.prepare(ctx, req)
		if err != nil {
			return err
		}
		revision, err := s.commit(ctx, store.Txn{If: sw.conds, Then: []store.Op{store.Put(sw.rec)}})
		resp.Shard, resp.Revision = shardOf(sw.rec), uint64(revision)
		return err
	})
	if err != nil {
		return nil, edge(err)
	}
	s.cfg.Logger.Info("replica changed", "collection", req.GetCollectionId(), "shard", req.GetShardId(), "peer", req.GetPeerId(),
		"state", req.GetState().String(), "epoch", resp.GetShard().GetEpoch(), "why", clip(req.GetReason()))
	return resp, nil
}

// swap is a changed record with what must still hold when it is written.
type swap struct {
	rec   store.Shard
	conds []store.Cond
}

func (s decisions) prepare(ctx context.Context, req *placementv1.SetStateRequest) (swap, error) {
	old, err := store.Load[store.Shard](ctx, s.cfg.Store,
		store.ShardKey(topology.CollectionID(req.GetCollectionId()), topology.ShardID(req.GetShardId())))
	if errors.Is(err, store.ErrNotFound) {
		return swap{}, fault.New(fault.NotFound, "shard %d of collection %d does not exist", req.GetShardId(), req.GetCollectionId())
	}
	if err != nil {
		return swap{}, err
	}
	sender, err := s.sender(ctx, req, old.Record)
	if err != nil {
		return swap{}, err
	}
	sw := swap{rec: old.Record, conds: []store.Cond{old.Unchanged(), sender.Unchanged()}}
	sw.rec.Replicas = slices.Clone(old.Record.Replicas)
	r := sw.rec.Replica(topology.PeerID(req.GetPeerId()))
	if r == nil {
		return swap{}, fault.BadInput("peer %d holds no replica of shard %d", req.GetPeerId(), req.GetShardId())
	}
	to, incarnation := stateFrom(req.GetState()), store.Incarnation(wire.Incarnation(req.GetIncarnation()))
	switch {
	case r.State == store.Dead && to == store.Partial:
		if incarnation == (store.Incarnation{}) {
			return swap{}, fault.BadInput("a returning replica must be named with its incarnation")
		}
		r.Incarnation = incarnation // C7: its present disk, which may be another one
	case r.Incarnation != incarnation:
		return swap{}, fault.New(fault.StaleEpoch, "the replica on peer %d has another incarnation", r.Peer)
	case r.State == store.Partial && (to == store.Active || to == store.Dead):
	case r.State == store.Active && to == store.Dead:
		if sw.conds, err = s.confirmed(ctx, old.Record, r.Peer, sw.conds); err != nil {
			return swap{}, err
		}
	default:
		return swap{}, fault.BadInput("a replica does not go from %s to %s", r.State, to)
	}
	r.State, r.Since, r.Why = to, s.stamp(), clip(req.GetReason())
	sw.rec.Epoch++
	return sw, nil
}

// sender checks C10: an open session, the primary's place and incarnation, and the epoch.
func (s decisions) sender(ctx context.Context, req *placementv1.SetStateRequest, rec store.Shard) (store.Versioned[store.Session], error) {
	peer, lease := topology.PeerID(req.GetPrimary()), store.LeaseID(req.GetSessionId())
	session, err := s.sessionOf(ctx, peer, lease)
	if err != nil {
		return session, err
	}
	if session.Record.Lease != lease || lease == 0 {
		return session, ended(peer, lease)
	}
	if rec.Epoch != topology.Epoch(req.GetExpectedEpoch()) {
		return session, fault.New(fault.StaleEpoch, "shard %d is at epoch %d, not %d", rec.Shard, rec.Epoch, req.GetExpectedEpoch())
	}
	primary := rec.Replica(peer)
	if rec.Primary != peer || primary == nil || primary.State != store.Active ||
		primary.Incarnation != store.Incarnation(wire.Incarnation(req.GetPrimaryIncarnation())) {
		return session, fault.New(fault.NotPrimary, "peer %d is not the primary of shard %d under its recorded incarnation", peer, rec.Shard)
	}
	return session, nil
}

// confirmed finds an Active replica other than the doomed one that answers a Confirm with its recorded incarnation and the
// current epoch, and adds its session to the conditions. The caller's transaction follows within T_confirm of the sending, or
// this decides anew.
func (s decisions) confirmed(ctx context.Context, rec store.Shard, doomed topology.PeerID, conds []store.Cond) ([]store.Cond, error) {
	others := 0
	for _, r := range rec.Replicas {
		if r.Peer == doomed || r.State != store.Active {
			continue
		}
		others++
		if s.cfg.Confirm == nil {
			return nil, fault.Missing("pando.placement.v1.Decisions/SetState from Active to Dead")
		}
		session, err := s.sessionOf(ctx, r.Peer, 0)
		if err != nil {
			return nil, err
		}
		if session.Record.Lease == 0 {
			continue
		}
		window, cancel := context.WithTimeout(ctx, s.cfg.ConfirmWithin)
		answer, err := s.cfg.Confirm(window, r.Peer, topology.Shard{Collection: rec.Collection, ID: rec.Shard})
		late := window.Err() != nil
		cancel()
		if err == nil && !late && answer.Incarnation == r.Incarnation && answer.Epoch == rec.Epoch {
			return append(conds, session.Unchanged()), nil
		}
	}
	if others == 0 {
		return nil, fault.BadInput("the replica on peer %d is the last Active one of shard %d", doomed, rec.Shard)
	}
	return nil, fault.New(fault.ShardUnavailable, "no other Active replica of shard %d confirms itself: the one on peer %d stays Active", rec.Shard, doomed)
}

// observersPerPeer is k of the k observers that each peer has, its own process aside.
const observersPerPeer = 3

// reportEvery is how often an observer reports at the latest, so that it hears of a changed assignment.
const reportEvery = time.Second

// Report takes news in and answers whom the observer is to watch: the peers that the rule of placement.Observers gives it, and
// the one in its own process. News are logged; deciding by them is not built, and one peer alone gives nothing to decide: its
// replicas are the last Active ones and its own observer does not count.
func (s decisions) Report(ctx context.Context, req *placementv1.ReportRequest) (*placementv1.ReportResponse, error) {
	if err := s.ready(ctx); err != nil {
		return nil, err
	}
	for _, v := range req.GetPeers() {
		s.cfg.Logger.Info("verdict on a peer", "observer", req.GetObserver(), "peer", v.GetPeerId(), "verdict", v.GetVerdict().String(),
			"evidence", clip(v.GetEvidence()))
	}
	for _, v := range req.GetReplicas() {
		level := slog.LevelInfo
		if v.GetVerdict() == placementv1.Verdict_VERDICT_ALIVE { // the usual one, and there are many replicas
			level = slog.LevelDebug
		}
		s.cfg.Logger.Log(ctx, level, "verdict on a replica", "observer", req.GetObserver(), "peer", v.GetPeerId(), "collection", v.GetCollectionId(),
			"shard", v.GetShardId(), "verdict", v.GetVerdict().String(), "evidence", clip(v.GetEvidence()))
	}
	subjects := s.subjects(topology.PeerID(req.GetObserver()), topology.PeerID(req.GetOwnPeerId()))
	digest := fnv.New64a()
	for _, id := range subjects {
		_ = binary.Write(digest, binary.BigEndian, id) // a hash takes everything
	}
	resp := &placementv1.ReportResponse{AssignmentRevision: digest.Sum64() | 1, Interval: durationpb.New(reportEvery)}
	if resp.GetAssignmentRevision() != req.GetAssignmentRevision() {
		resp.Subjects = subjects
	}
	return resp, nil
}

// duties remembers who watches whom for as long as no peer and no session comes or goes.
type duties struct {
	mu     sync.Mutex
	census int64
	of     map[topology.PeerID][]uint64 // by observer, ascending
	known  map[topology.PeerID]bool     // peers
}

// subjects of an observer, ascending. Observers are the processes of the peers that have a session.
func (s decisions) subjects(observer, own topology.PeerID) []uint64 {
	d := &s.duties
	d.mu.Lock()
	defer d.mu.Unlock()
	var peers, observers []topology.PeerID
	s.cfg.View.Read(func(st *view.State) {
		if d.of == nil || d.census != st.Census {
			d.census, peers, observers = st.Census, slices.Collect(maps.Keys(st.Peers)), slices.Collect(maps.Keys(st.Sessions))
			d.of, d.known = map[topology.PeerID][]uint64{}, map[topology.PeerID]bool{}
		}
	})
	slices.Sort(peers)
	for _, p := range peers {
		d.known[p] = true
		for _, o := range placement.Observers(p, observers, observersPerPeer) {
			d.of[o] = append(d.of[o], uint64(p))
		}
	}
	out := slices.Clone(d.of[observer])
	if at, found := slices.BinarySearch(out, uint64(own)); !found && d.known[own] {
		out = slices.Insert(out, at, uint64(own))
	}
	return out
}
