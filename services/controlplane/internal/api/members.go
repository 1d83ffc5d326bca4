package api

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	placementv1 "github.com/pandodb/pando/gen/go/pando/placement/v1"
	"github.com/pandodb/pando/services/controlplane/internal/member"
	"github.com/pandodb/pando/services/controlplane/internal/store"
	"github.com/pandodb/pando/services/controlplane/internal/view"
	"github.com/pandodb/pando/services/internal/fault"
	"github.com/pandodb/pando/services/internal/topology"
)

// Members is what the service Members needs of the process around it.
type Members struct {
	// Elsewhere reaches the control plane through other processes; nil = there are none.
	Elsewhere placementv1.MembersClient
	// Book is the address book as it is sent.
	Book func() []*placementv1.BookEntry
	// List reads the members of the control plane linearizably.
	List func(ctx context.Context) ([]member.Info, error)
	// Look answers what this process runs; it is told which member it should be.
	Look func(member uint64) *placementv1.LookResponse
}

// holderPatience is how many times the life of a session a join waits for the end of the session of a process that seems gone.
const holderPatience = 3

// Join takes a process into the cluster: its peer is on record afterwards. A holder of the same URI, or of the same peer id with
// another data folder, is replaced if it is gone and has no replicas; otherwise the process is refused.
func (s members) Join(ctx context.Context, req *placementv1.JoinRequest) (*placementv1.JoinResponse, error) {
	peer, err := s.registrant(req.GetPeer())
	switch {
	case err != nil:
		return nil, fault.Wrap(fault.JoinRefused, err, "%v", err)
	case req.GetProcess() == "" || peer.Folder == "" || peer.URI == "":
		return nil, fault.New(fault.JoinRefused, "a process that joins names itself, its data folder and its URI")
	}
	if !s.usable() {
		if req.GetForwarded() || s.cfg.Members.Elsewhere == nil {
			return nil, fault.New(fault.NoLeader, "this process has no usable member of the control plane")
		}
		return s.cfg.Members.Elsewhere.Join(ctx, &placementv1.JoinRequest{Process: req.GetProcess(), Peer: req.GetPeer(), Forwarded: true})
	}
	if err := s.ready(ctx); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, maxCall)
	defer cancel()
	resp := &placementv1.JoinResponse{ClusterId: s.cfg.ClusterID()}
	known, replaced := false, []store.Peer(nil)
	err = s.settle(ctx, true, func(ctx context.Context) (err error) {
		var revision int64
		revision, known, replaced, err = s.admit(ctx, peer)
		resp.Revision = uint64(revision)
		return err
	})
	if err != nil {
		return nil, edge(err)
	}
	if s.cfg.Members.Book != nil {
		resp.Entries = s.cfg.Members.Book()
	}
	for _, r := range replaced {
		s.cfg.Logger.Info("peer replaced by one that joined", "peer", uint64(r.ID), "uri", r.URI, "by", uint64(peer.ID))
	}
	if !known {
		s.cfg.Logger.Info("peer joined", "peer", uint64(peer.ID), "uri", peer.URI, "version", peer.Version)
	}
	return resp, nil
}

// admit writes the peer's record, and removes those that it replaces, in one transaction that compares all of them. A record
// that is there already for the same folder is left to Register.
func (s members) admit(ctx context.Context, peer store.Peer) (revision int64, known bool, replaced []store.Peer, err error) {
	// Whatever was decided before this call is seen: an older view would miss replicas and peers.
	page, err := s.cfg.Store.List(ctx, store.Range{Prefix: peer.Key(), Limit: 1})
	if err != nil {
		return 0, false, nil, err
	}
	wait, cancel := context.WithTimeout(ctx, time.Second) // the newest revision may lie outside what the view sees
	defer cancel()
	if err := s.cfg.View.Wait(wait, page.Revision); err != nil && ctx.Err() != nil {
		return 0, false, nil, err
	}
	txn := store.Txn{If: []store.Cond{store.Absent(peer.Key())}, Then: []store.Op{store.Put(peer)}}
	for _, holder := range s.holders(peer) {
		h := holder.Record
		if h.ID == peer.ID && h.Folder == peer.Folder {
			return holder.Modified, true, nil, nil
		}
		if err := s.replaceable(ctx, peer, h); err != nil {
			return 0, false, nil, err
		}
		txn.If = append(txn.If, store.Absent(store.SessionKey(h.ID)))
		if h.ID == peer.ID {
			txn.If[0] = holder.Unchanged()
		} else {
			txn.If, txn.Then = append(txn.If, holder.Unchanged()), append(txn.Then, store.Delete(h.Key()))
		}
		replaced = append(replaced, h)
	}
	revision, err = s.cfg.Store.Commit(ctx, txn)
	return revision, false, replaced, err
}

// holders are the peers on record with the id or the URI of one that wants to join; one of the same id and folder alone if
// there is one.
func (s members) holders(peer store.Peer) []store.Versioned[store.Peer] {
	var out []store.Versioned[store.Peer]
	s.cfg.View.Read(func(st *view.State) {
		if same, ok := st.Peers[peer.ID]; ok && same.Record.Folder == peer.Folder {
			out = append(out, same)
			return
		}
		for _, p := range st.Peers {
			if p.Record.ID == peer.ID || sameURI(p.Record.URI, peer.URI) {
				out = append(out, p)
			}
		}
	})
	return out
}

func sameURI(a, b string) bool {
	return strings.TrimRight(strings.ToLower(a), "/") == strings.TrimRight(strings.ToLower(b), "/")
}

// replaceable refuses the join while the holder of the same id or URI lives or has replicas. A session is given the time to end
// that one of a killed process takes.
func (s members) replaceable(ctx context.Context, peer, holder store.Peer) error {
	replicas, alive := 0, false
	look := func(st *view.State) bool {
		replicas = st.Load[holder.ID].Replicas
		_, alive = st.Sessions[holder.ID]
		return !alive
	}
	wait, cancel := context.WithTimeout(ctx, holderPatience*s.cfg.SessionTTL)
	defer cancel()
	if err := s.cfg.View.Until(wait, look); err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	whose, remedy := fmt.Sprintf("peer id %d belongs to another process, at %s", holder.ID, holder.URI), "give this one another cluster.peer_id"
	if holder.ID != peer.ID {
		whose, remedy = fmt.Sprintf("%s is the URI of peer %d", peer.URI, holder.ID), "give this one another --uri"
	}
	switch {
	case alive:
		return fault.New(fault.JoinRefused, "%s, which is alive: %s", whose, remedy)
	case replicas > 0:
		return fault.New(fault.JoinRefused, "%s, which is gone and has %d replicas: start it again with its data folder, or remove it first "+
			"(DELETE /cluster/peer/%d?force=true), or %s", whose, replicas, holder.ID, remedy)
	}
	return nil
}

// Seat answers who is a member, and whether the process belongs at all.
func (s members) Seat(ctx context.Context, req *placementv1.SeatRequest) (*placementv1.SeatResponse, error) {
	if s.cfg.Members.List == nil || !s.usable() {
		return nil, fault.New(fault.NoLeader, "this process has no usable member of the control plane")
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	infos, err := s.cfg.Members.List(ctx)
	if err != nil {
		return nil, fault.Wrap(fault.NoLeader, err, "the members of the control plane cannot be read now")
	}
	resp := &placementv1.SeatResponse{Belongs: true}
	for _, i := range infos {
		resp.Members = append(resp.Members, &placementv1.Seat{Member: i.ID, Process: i.Process, Learner: i.Learner, Started: i.Started})
	}
	if id := topology.PeerID(req.GetPeerId()); id != 0 {
		_, err := store.Load[store.Peer](ctx, s.cfg.Store, store.PeerKey(id))
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return nil, edge(err)
		}
		resp.Belongs = err == nil
	}
	return resp, nil
}

// Look answers what this process runs.
func (s members) Look(_ context.Context, req *placementv1.LookRequest) (*placementv1.LookResponse, error) {
	if s.cfg.Members.Look == nil {
		return &placementv1.LookResponse{}, nil
	}
	return s.cfg.Members.Look(req.GetMember()), nil
}
