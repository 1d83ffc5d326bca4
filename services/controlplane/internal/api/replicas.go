package api

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	placementv1 "github.com/pandodb/pando/gen/go/pando/placement/v1"
	"github.com/pandodb/pando/services/controlplane/internal/placement"
	"github.com/pandodb/pando/services/controlplane/internal/store"
	"github.com/pandodb/pando/services/controlplane/internal/swap"
	"github.com/pandodb/pando/services/controlplane/internal/view"
	"github.com/pandodb/pando/services/internal/fault"
	"github.com/pandodb/pando/services/internal/topology"
)

// maxReplicas of a shard, as where they are placed by the loop.
const maxReplicas = 64

// handoverWithin is how long a primary is given to hand over before it is replaced without its help.
const handoverWithin = time.Second

// ChangeReplicas carries out an operator's word on the replicas of a shard. It answers once the decision is written; data moves
// afterwards. The method of a copy may be any and is recorded as the one there is.
func (s catalog) ChangeReplicas(ctx context.Context, req *placementv1.ChangeReplicasRequest) (*placementv1.ChangeReplicasResponse, error) {
	return coalesce(ctx, s.Server, "ChangeReplicas", req, maxCall,
		func(ctx context.Context, req *placementv1.ChangeReplicasRequest) (*placementv1.ChangeReplicasResponse, error) {
			var done swap.Done
			var what string
			asked := false // the primary, to hand over
			err := s.settle(ctx, false, func(ctx context.Context) error {
				o, err := s.order(ctx, req)
				if err != nil {
					return err
				}
				switch c := req.GetChange().(type) {
				case *placementv1.ChangeReplicasRequest_Copy_:
					what = "copy"
					done, err = s.copy(ctx, o, c.Copy)
				case *placementv1.ChangeReplicasRequest_Abort_:
					what = "abort"
					done, err = s.abort(ctx, o, c.Abort)
				case *placementv1.ChangeReplicasRequest_Restart:
					what = "restart"
					done, err = s.restart(ctx, o, c.Restart)
				case *placementv1.ChangeReplicasRequest_Drop_:
					what = "drop"
					done, err = s.drop(ctx, o, topology.PeerID(c.Drop.GetPeerId()), &asked)
				case *placementv1.ChangeReplicasRequest_Force_:
					what = "force"
					done, err = s.force(ctx, o, c.Force)
				default:
					return fault.BadInput("the change of the replicas is empty")
				}
				return err
			})
			if err != nil {
				return nil, err
			}
			s.cfg.Logger.Info("replicas changed by request", "what", what, "collection", req.GetCollectionName(), "shard", req.GetShardId(),
				"epoch", uint64(done.Shard.Epoch), "request", fmt.Sprint(req.GetChange()))
			return &placementv1.ChangeReplicasResponse{Revision: uint64(done.Revision)}, nil
		})
}

// order is what a command is about, as read by it.
type order struct {
	collection store.Versioned[store.Collection]
	id         topology.ShardID
	listed     bool // the collection has such a shard
	shard      store.Versioned[store.Shard]
	copies     swap.Copies
}

// order reads collection, shard and transfers. CollectionNotFound alone is an error yet: the checks have their order.
func (s catalog) order(ctx context.Context, req *placementv1.ChangeReplicasRequest) (order, error) {
	c, err := s.resolve(ctx, req.GetCollectionName())
	if err != nil {
		return order{}, err
	}
	o := order{collection: c, id: topology.ShardID(req.GetShardId())}
	o.listed = slices.ContainsFunc(c.Record.Groups, func(g store.Group) bool { return slices.Contains(g.Shards, o.id) })
	if !o.listed {
		return o, nil
	}
	o.shard, o.copies, err = s.Server.shard(ctx, uint64(c.Record.ID), req.GetShardId())
	if fault.ReasonOf(err) == fault.NotFound { // not placed yet: it has no replicas
		err = nil
	}
	return o, err
}

// name of the shard in texts for people.
func (o order) name() string {
	return fmt.Sprintf("shard %d of collection %s", o.id, o.collection.Record.Name)
}

func (o order) known() error {
	if !o.listed {
		return fault.BadInput("Shard %d does not exist in collection %s", o.id, o.collection.Record.Name)
	}
	return nil
}

func differ(from, to uint64) error {
	if from == to {
		return fault.New(fault.Validation, "Validation error in body: [to_peer_id: value %d invalid, must differ from from_peer_id]", to)
	}
	return nil
}

// peer reads the record of a peer that must exist.
func (s catalog) peer(ctx context.Context, id topology.PeerID) (store.Versioned[store.Peer], error) {
	p, err := store.Load[store.Peer](ctx, s.cfg.Store, store.PeerKey(id))
	if errors.Is(err, store.ErrNotFound) {
		return p, fault.BadInput("Peer %d does not exist", id)
	}
	return p, err
}

// copy lets a peer hold a replica, which begins as Dead, and a transfer fill it (C0). Its source goes at the end of a move.
func (s catalog) copy(ctx context.Context, o order, c *placementv1.ChangeReplicasRequest_Copy) (swap.Done, error) {
	from, to := topology.PeerID(c.GetFrom()), topology.PeerID(c.GetTo())
	if err := differ(c.GetFrom(), c.GetTo()); err != nil {
		return swap.Done{}, err
	}
	if err := o.known(); err != nil {
		return swap.Done{}, err
	}
	if _, err := s.peer(ctx, from); err != nil {
		return swap.Done{}, err
	}
	receiver, err := s.peer(ctx, to)
	if err != nil {
		return swap.Done{}, err
	}
	rec := o.shard.Record
	source, target := rec.Replica(from), rec.Replica(to)
	switch {
	case source == nil:
		return swap.Done{}, fault.BadInput("Peer %d holds no replica of %s", from, o.name())
	case source.State != store.Active:
		return swap.Done{}, fault.BadInput("The replica of %s on peer %d is %s: only an Active one can be copied", o.name(), from, source.State)
	}
	for _, t := range o.copies {
		for _, p := range []topology.PeerID{t.Record.From, t.Record.To} {
			if p == from || p == to {
				return swap.Done{}, fault.BadInput("Peer %d is already involved in a transfer of %s, from peer %d to peer %d", p, o.name(), t.Record.From, t.Record.To)
			}
		}
	}
	d := swap.New(o.shard, o.copies, s.cfg.Now())
	why := fmt.Sprintf("it is to be copied from peer %d by request", from)
	switch {
	case target == nil && len(rec.Replicas) >= maxReplicas:
		return swap.Done{}, fault.BadInput("%s has %d replicas already, which is the most that a shard may have", o.name(), maxReplicas)
	case target == nil:
		d.Add(to, why)
	case target.State != store.Dead:
		return swap.Done{}, fault.BadInput("Peer %d already holds a replica of %s, which is %s", to, o.name(), target.State)
	default:
		r := d.Now.Replica(to)
		r.Why, r.Tries, r.Retry = why, 0, time.Time{}
	}
	d.Copy(store.Transfer{From: from, To: to, Move: c.GetMove(), Asked: true, Created: target == nil})
	return s.cfg.Performer.Write(ctx, swap.Grow, d, s.commit, o.collection.Alive(), receiver.Unchanged())
}

// transfer finds the one that a command names.
func (o order) transfer(from, to uint64) (store.Transfer, error) {
	if err := differ(from, to); err != nil {
		return store.Transfer{}, err
	}
	t, ok := o.copies[topology.PeerID(to)]
	if !ok || t.Record.From != topology.PeerID(from) {
		return store.Transfer{}, fault.New(fault.NotFound, "Not found: There is no transfer of %s from peer %d to peer %d", o.name(), from, to)
	}
	return t.Record, nil
}

// abort ends a transfer. A replica that came into being for it goes; another one is Dead, and its recovery begins anew by itself.
func (s catalog) abort(ctx context.Context, o order, c *placementv1.ChangeReplicasRequest_Abort) (swap.Done, error) {
	t, err := o.transfer(c.GetFrom(), c.GetTo())
	if err != nil {
		return swap.Done{}, err
	}
	d := swap.New(o.shard, o.copies, s.cfg.Now())
	switch r := o.shard.Record.Replica(t.To); {
	case r == nil, r.State == store.Active:
	case t.Created:
		d.Out(t.To)
	case r.State == store.Partial:
		d.Set(t.To, store.Dead, "its copy was ended by request")
	}
	d.End(t.To)
	return s.cfg.Performer.Write(ctx, swap.Abort, d, s.commit)
}

// restart ends a transfer and begins it again at once.
func (s catalog) restart(ctx context.Context, o order, c *placementv1.ChangeReplicasRequest_Copy) (swap.Done, error) {
	t, err := o.transfer(c.GetFrom(), c.GetTo())
	if err != nil {
		return swap.Done{}, err
	}
	if c.GetMethod().String() == t.Method {
		return swap.Done{}, fault.BadInput("The transfer of %s from peer %d to peer %d uses method %s already", o.name(), t.From, t.To, c.GetMethod())
	}
	d := swap.New(o.shard, o.copies, s.cfg.Now())
	if r := d.Now.Replica(t.To); r != nil && r.State != store.Active {
		if r.State == store.Partial {
			d.Set(t.To, store.Dead, "its copy begins anew by request")
		}
		r.Tries, r.Retry = 0, time.Time{}
	}
	t.Asked = true
	d.Copy(t)
	return s.cfg.Performer.Write(ctx, swap.Abort, d, s.commit)
}

// drop takes a replica out. The last Active one stays, whatever is asked; a primary hands over first (C3b) or, if it does not in time, is
// replaced by one that confirms itself (C3).
func (s catalog) drop(ctx context.Context, o order, peer topology.PeerID, asked *bool) (swap.Done, error) {
	if err := o.known(); err != nil {
		return swap.Done{}, err
	}
	if _, err := s.peer(ctx, peer); err != nil {
		return swap.Done{}, err
	}
	rec := o.shard.Record
	r := rec.Replica(peer)
	others := slices.DeleteFunc(rec.Actives(), func(p topology.PeerID) bool { return p == peer })
	switch {
	case r == nil:
		return swap.Done{}, fault.BadInput("Peer %d holds no replica of %s", peer, o.name())
	case len(others) == 0:
		return swap.Done{}, fault.BadInput("The replica on peer %d cannot be dropped: %s must keep at least one active replica", peer, o.name())
	case r.State != store.Active:
		d := swap.New(o.shard, o.copies, s.cfg.Now())
		d.Out(peer)
		return s.cfg.Performer.Write(ctx, swap.Drop, d, s.commit)
	}
	if to := s.successor(rec, others); rec.Primary == peer && !*asked && to != 0 {
		*asked = true
		wait, cancel := context.WithTimeout(ctx, handoverWithin)
		defer cancel()
		if err := s.cfg.Peers.Handover(wait, rec, to); err != nil {
			s.cfg.Logger.Warn("the primary did not hand over", "peer", uint64(peer), "shard", o.name(), "to", uint64(to), "error", err)
		}
		return swap.Done{}, fmt.Errorf("the primary was asked to hand over: %w", store.ErrConflict) // read anew
	}
	plan := swap.Plan{Kind: swap.Drop, Was: o.shard, Copies: o.copies, Out: []topology.PeerID{peer}}
	if rec.Primary == peer {
		plan.Kind = swap.Failover
	}
	return s.cfg.Performer.Do(ctx, plan, plan.Heirs(), s.commit)
}

// force makes a replica Active that is not, where no Active one can come (F1): what was acknowledged since it was marked Dead may be
// gone. It has to confirm itself like any other that a shard leans on (C2a).
func (s catalog) force(ctx context.Context, o order, f *placementv1.ChangeReplicasRequest_Force) (swap.Done, error) {
	peer := topology.PeerID(f.GetPeerId())
	if err := o.known(); err != nil {
		return swap.Done{}, err
	}
	if _, err := s.peer(ctx, peer); err != nil {
		return swap.Done{}, err
	}
	rec := o.shard.Record
	switch r := rec.Replica(peer); {
	case r == nil:
		return swap.Done{}, fault.BadInput("Peer %d holds no replica of %s", peer, o.name())
	case f.GetExpectedEpoch() != 0 && uint64(rec.Epoch) != f.GetExpectedEpoch():
		return swap.Done{}, fault.BadInput("%s is at epoch %d, not at %d: look again at what it has become", o.name(), rec.Epoch, f.GetExpectedEpoch())
	case r.State == store.Active:
		return swap.Done{}, fault.BadInput("The replica of %s on peer %d is Active: nothing has to be forced", o.name(), peer)
	}
	if alive := s.alive(rec.Actives()); len(alive) > 0 {
		return swap.Done{}, fault.BadInput("The replica of %s on peer %d is Active and its peer is there: nothing has to be forced", o.name(), alive[0])
	}
	plan := swap.Plan{Kind: swap.Force, Was: o.shard, Copies: o.copies, To: peer, Force: true}
	return s.cfg.Performer.Do(ctx, plan, plan.Heirs(), s.commit)
}

// alive are those of some peers that have a session.
func (s catalog) alive(peers []topology.PeerID) (out []topology.PeerID) {
	s.cfg.View.Read(func(st *view.State) {
		for _, p := range peers {
			if _, there := st.Sessions[p]; there {
				out = append(out, p)
			}
		}
	})
	return out
}

// successor picks who is asked to take over: an Active replica whose peer has a session and stays; 0 = none.
func (s catalog) successor(rec store.Shard, others []topology.PeerID) topology.PeerID {
	var candidates []placement.Candidate
	s.cfg.View.Read(func(st *view.State) {
		for _, p := range others {
			if session, alive := st.Sessions[p]; alive && !session.Record.Leaving {
				candidates = append(candidates, placement.Candidate{Peer: p, Primaries: st.Load[p].Primaries})
			}
		}
	})
	return placement.Primary(rec.Collection, rec.Shard, candidates)
}
