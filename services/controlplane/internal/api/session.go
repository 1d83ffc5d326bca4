package api

import (
	"cmp"
	"context"
	"errors"
	"io"
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"

	placementv1 "github.com/pandodb/pando/gen/go/pando/placement/v1"
	"github.com/pandodb/pando/services/controlplane/internal/messages"
	"github.com/pandodb/pando/services/controlplane/internal/store"
	"github.com/pandodb/pando/services/controlplane/internal/view"
	"github.com/pandodb/pando/services/internal/fault"
	"github.com/pandodb/pando/services/internal/topology"
)

// Wire versions that this control plane speaks, both included.
const (
	wireMin = 1
	wireMax = 1
)

// Register makes a peer known and opens its session. A repetition by the same process answers the session that is open.
func (s session) Register(ctx context.Context, req *placementv1.RegisterRequest) (*placementv1.RegisterResponse, error) {
	peer, err := s.registrant(req.GetPeer())
	if err != nil {
		return nil, err
	}
	if req.GetProcessId() == "" {
		return nil, fault.BadInput("peer %d names no process_id", peer.ID)
	}
	if err := s.ready(ctx); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, maxCall)
	defer cancel()
	resp := &placementv1.RegisterResponse{Ttl: durationpb.New(s.cfg.SessionTTL), ClusterId: s.cfg.ClusterID()}
	err = s.settle(ctx, true, func(ctx context.Context) error {
		rec := store.Session{Peer: peer.ID, Process: req.GetProcessId()}
		rec.Replicas = applyInventory(nil, req.GetInventory())
		lease, revision, err := s.open(ctx, peer, rec, req.GetClusterId() != "")
		resp.SessionId, resp.Revision = uint64(lease), uint64(revision)
		return err
	})
	if err != nil {
		return nil, edge(err)
	}
	s.cfg.Logger.Info("session opened", "peer", uint64(peer.ID), "uri", peer.URI, "version", peer.Version)
	return resp, nil
}

// registrant checks what a peer says of itself.
func (s *Server) registrant(p *placementv1.Peer) (store.Peer, error) {
	id := topology.PeerID(p.GetPeerId())
	switch {
	case id == 0 || id > topology.MaxPeerID:
		return store.Peer{}, fault.BadInput("peer id %d is not between 1 and 2^53-1", p.GetPeerId())
	case p.GetWire().GetMin() > wireMax || p.GetWire().GetMax() < wireMin:
		return store.Peer{}, fault.BadInput("peer %d speaks internal versions %d to %d, this control plane %d to %d: upgrade the older one",
			id, p.GetWire().GetMin(), p.GetWire().GetMax(), wireMin, wireMax)
	}
	return messages.PeerFrom(p, s.stamp()), nil
}

// open writes peer and session. A session of an earlier process of the peer is replaced, an open one of this process is kept. A
// peer that belonged and is not on record any more was removed.
func (s session) open(ctx context.Context, peer store.Peer, rec store.Session, belonged bool) (store.LeaseID, int64, error) {
	txn := store.Txn{}
	known, err := store.Load[store.Peer](ctx, s.cfg.Store, peer.Key())
	switch {
	case errors.Is(err, store.ErrNotFound) && belonged:
		return 0, 0, fault.New(fault.PeerRemoved, "peer %d was taken out of the cluster: start it with --reinit and --bootstrap to join again", peer.ID)
	case errors.Is(err, store.ErrNotFound):
		txn.If, txn.Then = append(txn.If, store.Absent(peer.Key())), append(txn.Then, store.Put(peer))
	case err != nil:
		return 0, 0, err
	case known.Record.Folder != "" && peer.Folder != "" && known.Record.Folder != peer.Folder:
		return 0, 0, fault.New(fault.JoinRefused, "peer id %d belongs to another process, at %s", peer.ID, known.Record.URI)
	default:
		peer.Registered, peer.Folder = known.Record.Registered, cmp.Or(peer.Folder, known.Record.Folder)
		txn.If = append(txn.If, known.Unchanged()) // it may be removed meanwhile
		if peer != known.Record {
			txn.Then = append(txn.Then, store.Put(peer))
		}
	}
	old, err := store.Load[store.Session](ctx, s.cfg.Store, rec.Key())
	switch {
	case errors.Is(err, store.ErrNotFound):
		txn.If = append(txn.If, store.Absent(rec.Key()))
	case err != nil:
		return 0, 0, err
	default:
		txn.If = append(txn.If, old.Unchanged())
		if old.Record.Process == rec.Process && s.cfg.Store.Renew(ctx, old.Record.Lease) == nil {
			rec.Lease, rec.Leaving = old.Record.Lease, old.Record.Leaving
		}
	}
	if rec.Lease == 0 {
		if rec.Lease, err = s.cfg.Store.Grant(ctx, s.cfg.SessionTTL); err != nil {
			return 0, 0, err
		}
	}
	txn.Then = append(txn.Then, store.PutLeased(rec, rec.Lease))
	revision, err := s.cfg.Store.Commit(ctx, txn)
	if errors.Is(err, store.ErrLeaseGone) { // it ran out in between: decide anew
		err = store.ErrConflict
	}
	return rec.Lease, revision, err
}

// KeepAlive renews the session once per message and takes inventories in.
func (s session) KeepAlive(stream grpc.BidiStreamingServer[placementv1.KeepAliveRequest, placementv1.KeepAliveResponse]) error {
	ctx, told := stream.Context(), int64(0)
	for {
		req, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := s.renew(ctx, req, &told); err != nil {
			return edge(err)
		}
		err = stream.Send(&placementv1.KeepAliveResponse{
			Sequence: req.GetSequence(), Ttl: durationpb.New(s.cfg.SessionTTL), Revision: uint64(s.cfg.View.Revision()),
		})
		if err != nil {
			return err
		}
	}
}

// renew keeps the session and takes an inventory in. told is the revision at which the record was last known to say what this stream
// has told; 0 = not yet.
func (s session) renew(ctx context.Context, req *placementv1.KeepAliveRequest, told *int64) error {
	peer, lease := topology.PeerID(req.GetPeerId()), store.LeaseID(req.GetSessionId())
	ctx, cancel := context.WithTimeout(ctx, maxCall)
	defer cancel()
	if err := s.current(ctx, peer, lease); err != nil {
		return err
	}
	if err := s.cfg.Store.Renew(ctx, lease); err != nil {
		if errors.Is(err, store.ErrLeaseGone) {
			return ended(peer, lease)
		}
		return err
	}
	if req.GetInventory() == nil {
		return nil
	}
	var seen store.Versioned[store.Session]
	s.cfg.View.Read(func(st *view.State) { seen = st.Sessions[peer] })
	if *told > 0 && seen.Modified >= *told && seen.Record.Lease == lease && !req.GetInventory().GetFull() &&
		alike(applyInventory(seen.Record.Replicas, req.GetInventory()), seen.Record.Replicas) {
		return nil // most often: a log has grown
	}
	return s.settle(ctx, true, func(ctx context.Context) (err error) {
		*told, err = s.inventory(ctx, peer, lease, req.GetInventory())
		return err
	})
}

// current refuses a session that another process of the peer has replaced, whose own lease may still be alive. The view
// answers mostly; only where it disagrees is the store asked.
func (s session) current(ctx context.Context, peer topology.PeerID, lease store.LeaseID) error {
	rec, err := s.sessionOf(ctx, peer, lease)
	if err != nil {
		return err
	}
	if rec.Record.Lease != lease {
		return ended(peer, lease)
	}
	return nil
}

// inventory writes the peer's replicas into its session, if they differ in more than what moves all the time. It answers the revision
// at which the record is as told.
func (s session) inventory(ctx context.Context, peer topology.PeerID, lease store.LeaseID, inv *placementv1.Inventory) (int64, error) {
	old, err := store.Load[store.Session](ctx, s.cfg.Store, store.SessionKey(peer))
	if errors.Is(err, store.ErrNotFound) || (err == nil && old.Record.Lease != lease) {
		return 0, ended(peer, lease)
	}
	if err != nil {
		return 0, err
	}
	rec := old.Record
	base := rec.Replicas
	if inv.GetFull() {
		base = nil
	}
	if rec.Replicas = applyInventory(base, inv); alike(rec.Replicas, old.Record.Replicas) {
		return old.Modified, nil
	}
	revision, err := s.cfg.Store.Commit(ctx, store.Txn{If: []store.Cond{old.Unchanged()}, Then: []store.Op{store.PutLeased(rec, lease)}})
	if errors.Is(err, store.ErrLeaseGone) {
		return 0, ended(peer, lease)
	}
	return revision, err
}

// notableBytes is the least change of what a peer holds that is worth a write; an eighth of it, if that is more.
const notableBytes = 64 << 20

// alike tells inventories that need no writing apart from others. Epochs and log positions are a preference (C3) and asked for afresh
// where they matter; sizes steer the placement of new shards, for which a rough idea is enough.
func alike(now, was []store.Report) bool {
	same := slices.EqualFunc(now, was, func(a, b store.Report) bool {
		a.Epoch, a.LastEpoch, a.LastRun, a.LastSeq, a.Applied, a.Bytes = b.Epoch, b.LastEpoch, b.LastRun, b.LastSeq, b.Applied, b.Bytes
		return a == b
	})
	n, o := store.Session{Replicas: now}.Bytes(), store.Session{Replicas: was}.Bytes()
	return same && max(n, o)-min(n, o) < max(notableBytes, o/8)
}

// leaveWithin bounds Leave: the process must be able to stop, whatever becomes of its shards.
const leaveWithin = 3 * time.Second

// Leave marks the session as ending, which the leader's loop acts on, and waits until that is done or time is up.
func (s session) Leave(ctx context.Context, req *placementv1.LeaveRequest) (*placementv1.LeaveResponse, error) {
	if err := s.ready(ctx); err != nil {
		return nil, err
	}
	peer, lease := topology.PeerID(req.GetPeerId()), store.LeaseID(req.GetSessionId())
	ctx, cancel := context.WithTimeout(ctx, leaveWithin)
	defer cancel()
	var revision int64
	err := s.settle(ctx, true, func(ctx context.Context) error {
		old, err := store.Load[store.Session](ctx, s.cfg.Store, store.SessionKey(peer))
		if errors.Is(err, store.ErrNotFound) || (err == nil && (old.Record.Lease != lease || lease == 0)) {
			return ended(peer, lease)
		}
		if err != nil {
			return err
		}
		if revision = old.Modified; old.Record.Leaving {
			return nil
		}
		rec := old.Record
		rec.Leaving = true
		revision, err = s.cfg.Store.Commit(ctx, store.Txn{If: []store.Cond{old.Unchanged()}, Then: []store.Op{store.PutLeased(rec, lease)}})
		return err
	})
	if err != nil {
		return nil, edge(err)
	}
	s.cfg.Logger.Info("peer is about to stop", "peer", uint64(peer))
	resp := &placementv1.LeaveResponse{}
	_ = s.cfg.View.Until(ctx, func(st *view.State) bool { // what is left when time is up is told
		var pending int
		resp.Primaries, resp.Active, pending = left(st, peer)
		return st.Revision >= revision && pending == 0
	})
	return resp, nil
}

// left counts what a peer that is about to stop still has: primaries and Active replicas, and those of them that another peer that
// stays could take over.
func left(st *view.State, peer topology.PeerID) (primaries, active uint32, pending int) {
	for id := range st.On[peer] {
		rec, ok := st.Shard(id)
		if r := rec.Record.Replica(peer); !ok || r == nil || r.State != store.Active {
			continue
		}
		if active++; rec.Record.Primary == peer {
			primaries++
		}
		if slices.ContainsFunc(rec.Record.Actives(), func(p topology.PeerID) bool {
			other, alive := st.Sessions[p]
			return p != peer && alive && !other.Record.Leaving
		}) {
			pending++
		}
	}
	return primaries, active, pending
}

// sessionOf finds the session record of a peer; the zero record if it has none.
func (s *Server) sessionOf(ctx context.Context, peer topology.PeerID, lease store.LeaseID) (store.Versioned[store.Session], error) {
	var rec store.Versioned[store.Session]
	if s.cfg.View.Read(func(st *view.State) { rec = st.Sessions[peer] }); rec.Record.Lease == lease {
		return rec, nil
	}
	rec, err := store.Load[store.Session](ctx, s.cfg.Store, store.SessionKey(peer))
	if errors.Is(err, store.ErrNotFound) {
		return store.Versioned[store.Session]{}, nil
	}
	return rec, err
}

func ended(peer topology.PeerID, lease store.LeaseID) error {
	return fault.New(fault.NotFound, "session %d of peer %d has ended: register again", lease, peer)
}

// applyInventory merges an inventory into the reports; the result is a new sorted list.
func applyInventory(base []store.Report, inv *placementv1.Inventory) []store.Report {
	out := slices.Clone(base)
	put := func(r store.Report, remove bool) {
		i, found := slices.BinarySearchFunc(out, r, store.Report.Compare)
		switch {
		case found && remove:
			out = slices.Delete(out, i, i+1)
		case found:
			out[i] = r
		case !remove:
			out = slices.Insert(out, i, r)
		}
	}
	for _, r := range inv.GetReplicas() {
		put(messages.Report(r), false)
	}
	for _, g := range inv.GetGone() {
		put(store.Report{Collection: topology.CollectionID(g.GetCollectionId()), Shard: topology.ShardID(g.GetShardId())}, true)
	}
	return out
}
