package api

import (
	"context"
	"errors"
	"log/slog"

	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/durationpb"

	placementv1 "github.com/pandodb/pando/gen/go/pando/placement/v1"
	"github.com/pandodb/pando/services/controlplane/internal/evidence"
	"github.com/pandodb/pando/services/controlplane/internal/messages"
	"github.com/pandodb/pando/services/controlplane/internal/store"
	"github.com/pandodb/pando/services/controlplane/internal/swap"
	"github.com/pandodb/pando/services/internal/fault"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/wire"
)

// SetState changes one replica's state at the word of the shard's primary (C1, C8). The swap compares the shard's record and
// the session of the sender (C10); marking an Active replica Dead needs another Active one that confirms itself (C2, C2a).
func (s decisions) SetState(ctx context.Context, req *placementv1.SetStateRequest) (*placementv1.SetStateResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, maxCall)
	defer cancel()
	var done swap.Done
	err := s.settle(ctx, false, func(ctx context.Context) (err error) {
		done, err = s.setState(ctx, req)
		return err
	})
	if err != nil {
		return nil, edge(err)
	}
	s.cfg.Logger.Info("replica changed", "collection", req.GetCollectionId(), "shard", req.GetShardId(), "peer", req.GetPeerId(),
		"state", req.GetState().String(), "epoch", uint64(done.Shard.Epoch), "why", clip(req.GetReason()))
	return &placementv1.SetStateResponse{Shard: messages.Shard(done.Shard), Revision: uint64(done.Revision)}, nil
}

func (s decisions) setState(ctx context.Context, req *placementv1.SetStateRequest) (swap.Done, error) {
	old, copies, err := s.shard(ctx, req.GetCollectionId(), req.GetShardId())
	if err != nil {
		return swap.Done{}, err
	}
	rec := old.Record
	sender, err := s.sender(ctx, req, rec)
	if err != nil {
		return swap.Done{}, err
	}
	r := rec.Replica(topology.PeerID(req.GetPeerId()))
	if r == nil {
		return swap.Done{}, fault.BadInput("peer %d holds no replica of shard %d", req.GetPeerId(), rec.Shard)
	}
	to, why := messages.StateFrom(req.GetState()), clip(req.GetReason())
	incarnation := store.Incarnation(wire.Incarnation(req.GetIncarnation()))
	d := swap.New(old, copies, s.cfg.Now())
	switch {
	case r.State == store.Dead && to == store.Partial:
		if incarnation == (store.Incarnation{}) {
			return swap.Done{}, fault.BadInput("a returning replica must be named with its incarnation")
		}
		d.Set(r.Peer, to, why)
		d.Now.Replica(r.Peer).Incarnation = incarnation // C7: its present disk, which may be another one
		if _, asked := copies[r.Peer]; !asked {
			d.Copy(store.Transfer{From: rec.Primary, To: r.Peer})
		}
		return s.cfg.Performer.Write(ctx, swap.Return, d, s.commit, sender)
	case r.Incarnation != incarnation:
		return swap.Done{}, fault.New(fault.StaleEpoch, "the replica on peer %d has another incarnation", r.Peer)
	case r.State == store.Partial && to == store.Active:
		d.Set(r.Peer, to, "")
		return s.cfg.Performer.Write(ctx, swap.Promote, d, s.commit, sender)
	case r.State == store.Partial && to == store.Dead:
		d.Set(r.Peer, to, why)
		return s.cfg.Performer.Write(ctx, swap.Died, d, s.commit, sender)
	case r.State == store.Active && to == store.Dead:
		kind := swap.Died
		if r.Peer == rec.Primary { // it gives up: another one takes over in the same swap
			kind = swap.Failover
		}
		plan := swap.Plan{Kind: kind, Was: old, Copies: copies, Dead: map[topology.PeerID]string{r.Peer: why}, If: []store.Cond{sender}}
		return s.cfg.Performer.Do(ctx, plan, plan.Heirs(), s.commit)
	}
	return swap.Done{}, fault.BadInput("a replica does not go from %s to %s", r.State, to)
}

// HandOver makes a follower primary at the word of the primary (C3b). The follower must confirm itself (C2a).
func (s decisions) HandOver(ctx context.Context, req *placementv1.HandOverRequest) (*placementv1.HandOverResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, maxCall)
	defer cancel()
	var done swap.Done
	err := s.settle(ctx, false, func(ctx context.Context) error {
		old, copies, err := s.shard(ctx, req.GetCollectionId(), req.GetShardId())
		if err != nil {
			return err
		}
		sender, err := s.sender(ctx, req, old.Record)
		if err != nil {
			return err
		}
		to := old.Record.Replica(topology.PeerID(req.GetTo()))
		if to == nil || to.State != store.Active || to.Peer == old.Record.Primary {
			return fault.BadInput("peer %d holds no other Active replica of shard %d", req.GetTo(), old.Record.Shard)
		}
		plan := swap.Plan{Kind: swap.Handover, Was: old, Copies: copies, To: to.Peer, If: []store.Cond{sender}}
		done, err = s.cfg.Performer.Do(ctx, plan, plan.Heirs(), s.commit)
		return err
	})
	if err != nil {
		return nil, edge(err)
	}
	s.cfg.Logger.Info("shard handed over", "collection", req.GetCollectionId(), "shard", req.GetShardId(), "from", req.GetPrimary(),
		"to", req.GetTo(), "epoch", uint64(done.Shard.Epoch))
	return &placementv1.HandOverResponse{Shard: messages.Shard(done.Shard), Revision: uint64(done.Revision)}, nil
}

// shard reads a record, then its transfers: whoever compares the record has compared them, too.
func (s *Server) shard(ctx context.Context, collection, shard uint64) (store.Versioned[store.Shard], swap.Copies, error) {
	c, id := topology.CollectionID(collection), topology.ShardID(shard)
	rec, err := store.Load[store.Shard](ctx, s.cfg.Store, store.ShardKey(c, id))
	if errors.Is(err, store.ErrNotFound) {
		return rec, nil, fault.New(fault.NotFound, "shard %d of collection %d does not exist", shard, collection)
	}
	if err != nil {
		return rec, nil, err
	}
	list, _, err := store.LoadAll[store.Transfer](ctx, s.cfg.Store, store.TransfersOf(c, id))
	copies := swap.Copies{}
	for _, t := range list {
		copies[t.Record.To] = t
	}
	return rec, copies, err
}

// claim is what a primary says of itself.
type claim interface {
	GetPrimary() uint64
	GetSessionId() uint64
	GetExpectedEpoch() uint64
	GetPrimaryIncarnation() []byte
}

// sender checks C10: an open session, the primary's place and incarnation, and the epoch. The condition holds while the session does.
func (s decisions) sender(ctx context.Context, c claim, rec store.Shard) (store.Cond, error) {
	peer, lease := topology.PeerID(c.GetPrimary()), store.LeaseID(c.GetSessionId())
	session, err := s.sessionOf(ctx, peer, lease)
	if err != nil {
		return store.Cond{}, err
	}
	if session.Record.Lease != lease || lease == 0 {
		return store.Cond{}, ended(peer, lease)
	}
	if rec.Epoch != topology.Epoch(c.GetExpectedEpoch()) {
		return store.Cond{}, fault.New(fault.StaleEpoch, "shard %d is at epoch %d, not %d", rec.Shard, rec.Epoch, c.GetExpectedEpoch())
	}
	primary := rec.Replica(peer)
	if rec.Primary != peer || primary == nil || primary.State != store.Active ||
		primary.Incarnation != store.Incarnation(wire.Incarnation(c.GetPrimaryIncarnation())) {
		return store.Cond{}, fault.New(fault.NotPrimary, "peer %d is not the primary of shard %d under its recorded incarnation", peer, rec.Shard)
	}
	return store.Leased(session.Record.Key(), lease), nil
}

// forwarded marks a call that another member has passed on: it is not passed on again.
const forwarded = "pando-forwarded"

// Report takes an observer's verdicts in, at the leader: another member passes them on. It answers whom to watch.
func (s decisions) Report(ctx context.Context, req *placementv1.ReportRequest) (*placementv1.ReportResponse, error) {
	if err := s.ready(ctx); err != nil {
		return nil, err
	}
	a, leads := s.cfg.Desk.Report(reportOf(req))
	if !leads {
		return s.pass(ctx, req)
	}
	for _, v := range req.GetPeers() {
		level := slog.LevelDebug
		if v.GetVerdict() == placementv1.Verdict_VERDICT_DEAD {
			level = slog.LevelInfo
		}
		s.cfg.Logger.Log(ctx, level, "verdict on a peer", "observer", req.GetObserver(), "peer", v.GetPeerId(), "verdict", v.GetVerdict().String(),
			"evidence", clip(v.GetEvidence()))
	}
	for _, v := range req.GetReplicas() {
		s.cfg.Logger.Debug("verdict on a replica", "observer", req.GetObserver(), "peer", v.GetPeerId(), "collection", v.GetCollectionId(),
			"shard", v.GetShardId(), "verdict", v.GetVerdict().String(), "evidence", clip(v.GetEvidence()))
	}
	resp := &placementv1.ReportResponse{AssignmentRevision: a.Revision, Interval: durationpb.New(s.cfg.ReportEvery)}
	if a.Revision != req.GetAssignmentRevision() {
		for _, p := range a.Subjects {
			resp.Subjects = append(resp.Subjects, uint64(p))
		}
	}
	return resp, nil
}

// pass hands a report to the process that leads.
func (s decisions) pass(ctx context.Context, req *placementv1.ReportRequest) (*placementv1.ReportResponse, error) {
	if md, _ := metadata.FromIncomingContext(ctx); len(md.Get(forwarded)) > 0 {
		return nil, fault.New(fault.NoLeader, "this member of the control plane does not lead")
	}
	leader, err := s.cfg.Leader()
	if err != nil {
		return nil, fault.Wrap(fault.NoLeader, err, "the control plane has no leader that can be reached: %v", err)
	}
	resp, err := leader.Report(metadata.AppendToOutgoingContext(ctx, forwarded, "1"), req)
	if err != nil {
		return nil, fault.Wrap(fault.NoLeader, err, "the leader of the control plane did not take the report: %s", fault.From(err).Msg)
	}
	return resp, nil
}

// reportOf reads a report.
func reportOf(req *placementv1.ReportRequest) evidence.Report {
	r := evidence.Report{
		Observer: topology.PeerID(req.GetObserver()), Own: topology.PeerID(req.GetOwnPeerId()), Full: req.GetFull(),
		Peers: map[topology.PeerID]evidence.Said{}, Replicas: map[evidence.Replica]evidence.Said{},
	}
	for _, v := range req.GetPeers() {
		r.Peers[topology.PeerID(v.GetPeerId())] = evidence.Said{State: verdictOf(v.GetVerdict()), Why: clip(v.GetEvidence())}
	}
	for _, v := range req.GetReplicas() {
		id := topology.Shard{Collection: topology.CollectionID(v.GetCollectionId()), ID: topology.ShardID(v.GetShardId())}
		r.Replicas[evidence.Replica{Shard: id, Peer: topology.PeerID(v.GetPeerId())}] =
			evidence.Said{State: verdictOf(v.GetVerdict()), Why: clip(v.GetEvidence())}
	}
	return r
}

func verdictOf(v placementv1.Verdict) evidence.State {
	switch v {
	case placementv1.Verdict_VERDICT_ALIVE:
		return evidence.Alive
	case placementv1.Verdict_VERDICT_SUSPECT:
		return evidence.Suspect
	case placementv1.Verdict_VERDICT_DEAD:
		return evidence.Dead
	}
	return evidence.Unknown
}
