package api

import (
	"context"
	"errors"
	"time"

	placementv1 "github.com/pandodb/pando/gen/go/pando/placement/v1"
	"github.com/pandodb/pando/services/controlplane/internal/store"
	"github.com/pandodb/pando/services/controlplane/internal/view"
	"github.com/pandodb/pando/services/internal/fault"
	"github.com/pandodb/pando/services/internal/topology"
)

// RemovePeer takes a peer out. One that holds replicas is refused without force; with it, the leader's loop takes them out too, last
// copies included, and this waits for that as long as a call may take. The etcd member in its process goes as well. It may be repeated.
func (s catalog) RemovePeer(ctx context.Context, req *placementv1.RemovePeerRequest) (*placementv1.RemovePeerResponse, error) {
	return coalesce(ctx, s.Server, "RemovePeer", req, maxCall,
		func(ctx context.Context, req *placementv1.RemovePeerRequest) (*placementv1.RemovePeerResponse, error) {
			id, resp := topology.PeerID(req.GetPeerId()), &placementv1.RemovePeerResponse{}
			if err := s.settle(ctx, true, func(ctx context.Context) error { return s.removePeer(ctx, id, req.GetForce(), resp) }); err != nil {
				return nil, err
			}
			if err := s.cfg.RemoveMember(ctx, id); err != nil {
				return nil, fault.Wrap(fault.NoLeader, err, "peer %d is out of the placement, and its member of the control plane is not: call again: %v", id, err)
			}
			if !resp.GetExisted() {
				return resp, nil
			}
			s.cfg.Logger.Info("peer removed", "peer", uint64(id), "force", req.GetForce())
			wait, cancel := context.WithTimeout(ctx, maxCall/2)
			defer cancel()
			_ = s.cfg.View.Until(wait, func(st *view.State) bool { // the loop goes on by itself
				return st.Revision >= int64(resp.GetRevision()) && len(st.On[id]) == 0
			})
			resp.Revision = max(resp.GetRevision(), uint64(s.cfg.View.Told()))
			return resp, nil
		})
}

func (s catalog) removePeer(ctx context.Context, id topology.PeerID, force bool, resp *placementv1.RemovePeerResponse) error {
	peer, err := store.Load[store.Peer](ctx, s.cfg.Store, store.PeerKey(id))
	if errors.Is(err, store.ErrNotFound) { // or an earlier try whose answer was lost
		resp.Revision = max(resp.GetRevision(), uint64(s.cfg.View.Told()))
		return nil
	}
	if err != nil {
		return err
	}
	load, err := s.replicasOn(ctx, id)
	if err != nil {
		return err
	}
	if load > 0 && !force {
		return fault.BadInput("Cannot remove peer %d as there are shards on it: %d replicas. Move or drop them first, or remove it by force, "+
			"which loses what no other peer holds", id, load)
	}
	resp.Existed = true
	revision, err := s.cfg.Store.Commit(ctx, store.Txn{
		If:   []store.Cond{peer.Unchanged()},
		Then: []store.Op{store.Delete(store.PeerKey(id)), store.Delete(store.SessionKey(id))},
	})
	if err != nil {
		if errors.Is(err, store.ErrConflict) {
			resp.Existed = false
		}
		return err
	}
	resp.Revision = uint64(revision)
	return nil
}

// replicasOn counts the replicas of a peer in a view that is as new as this call.
func (s catalog) replicasOn(ctx context.Context, id topology.PeerID) (int, error) {
	page, err := s.cfg.Store.List(ctx, store.Range{Prefix: store.Shards, Limit: 1})
	if err != nil {
		return 0, err
	}
	wait, cancel := context.WithTimeout(ctx, time.Second) // the newest revision may lie outside what the view sees
	defer cancel()
	if err := s.cfg.View.Wait(wait, page.Revision); err != nil && ctx.Err() != nil {
		return 0, err
	}
	n := 0
	s.cfg.View.Read(func(st *view.State) { n = st.Load[id].Replicas })
	return n, nil
}
