package api

import (
	"cmp"
	"context"
	"maps"
	"slices"

	"google.golang.org/protobuf/proto"

	placementv1 "github.com/pandodb/pando/gen/go/pando/placement/v1"
	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/controlplane/internal/store"
	"github.com/pandodb/pando/services/controlplane/internal/view"
	"github.com/pandodb/pando/services/internal/fault"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/wire"
)

// maxIndexes bounds the payload indexes of one collection and maxField their keys, so that its record stays within reason.
const (
	maxIndexes = 256
	maxField   = 1024
)

// ChangePayloadIndex sets or removes the index of a payload key in the catalog entry.
func (s catalog) ChangePayloadIndex(ctx context.Context, req *placementv1.ChangePayloadIndexRequest) (*placementv1.ChangePayloadIndexResponse, error) {
	return grow(ctx, s.Server, "ChangePayloadIndex", req, maxCall,
		func(ctx context.Context, req *placementv1.ChangePayloadIndexRequest) (*placementv1.ChangePayloadIndexResponse, error) {
			if n := len(req.GetFieldName()); n == 0 || n > maxField {
				return nil, fault.New(fault.Validation, "Validation error in body: [field_name: %d bytes, must be from 1 to %d]", n, maxField)
			}
			resp := &placementv1.ChangePayloadIndexResponse{}
			revision, err := s.modify(ctx, req.GetCollectionName(), func(rec *store.Collection, _ *qdrant.CollectionConfig) error {
				was, had := rec.Indexes[req.GetFieldName()]
				rec.Indexes = maps.Clone(rec.Indexes)
				if req.Params == nil {
					delete(rec.Indexes, req.GetFieldName())
					resp.Changed = had
					return nil
				}
				raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(req.GetParams())
				if err != nil {
					return fault.Wrap(fault.Malformed, err, "the index parameters cannot be encoded")
				}
				if rec.Indexes == nil {
					rec.Indexes = map[string][]byte{}
				}
				if !had && len(rec.Indexes) >= maxIndexes {
					return fault.BadInput("collection %s has %d payload indexes, and %d is the limit", rec.Name, len(rec.Indexes), maxIndexes)
				}
				rec.Indexes[req.GetFieldName()] = raw
				resp.Changed = !had || string(was) != string(raw)
				return nil
			})
			resp.Revision = uint64(revision)
			return resp, err
		})
}

// ChangeShardKey adds a shard key with its shards, or removes both. A removal is answered once no live peer can acknowledge a write to
// these shards; until then no key is added either, since it might be the same one, of which a peer that is late would find the old shards.
func (s catalog) ChangeShardKey(ctx context.Context, req *placementv1.ChangeShardKeyRequest) (*placementv1.ChangeShardKeyResponse, error) {
	timeout := cmp.Or(max(0, req.GetTimeout().AsDuration()), maxCall)
	change := func(ctx context.Context, req *placementv1.ChangeShardKeyRequest) (*placementv1.ChangeShardKeyResponse, error) {
		ctx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		last, err := s.changeShardKey(ctx, req)
		return &placementv1.ChangeShardKeyResponse{Revision: uint64(last)}, err
	}
	if req.GetDelete() != nil {
		return coalesce(ctx, s.Server, "ChangeShardKey", req, timeout, change)
	}
	return grow(ctx, s.Server, "ChangeShardKey", req, timeout, change)
}

func (s catalog) changeShardKey(ctx context.Context, req *placementv1.ChangeShardKeyRequest) (revision int64, err error) {
	key, err := wire.ShardKey(req.GetShardKey())
	if err != nil {
		return 0, fault.BadInput("%v", err)
	}
	if req.GetCreate() != nil {
		c, err := s.resolve(ctx, req.GetCollectionName())
		if err != nil {
			return 0, err
		}
		if err := s.awaitPruned(ctx, c.Record.ID, 0, "it takes no new shard key before"); err != nil {
			return 0, err
		}
	}
	var id topology.CollectionID
	err = s.settle(ctx, false, func(ctx context.Context) error {
		id, revision, err = s.changeGroups(ctx, key, req)
		return err
	})
	if err != nil {
		return 0, err
	}
	if req.GetDelete() != nil {
		return revision, s.awaitPruned(ctx, id, revision, "the key is deleted; until then they may take writes for it")
	}
	last, _ := s.awaitBirth(ctx, id, revision) // the key is there: its replicas go on being made
	return last, nil
}

// awaitPruned waits until no peer that has a session holds a shard of a key that the collection does not have any more.
func (s catalog) awaitPruned(ctx context.Context, id topology.CollectionID, revision int64, so string) error {
	var holders []topology.PeerID
	err := s.cfg.View.Until(ctx, func(st *view.State) bool {
		holders = st.Unlisted(id)
		return st.Revision >= revision && len(holders) == 0
	})
	if err == nil {
		return nil
	}
	return fault.Wrap(fault.Timeout, err, "Timeout error: peers %v still hold shards of a deleted shard key of this collection: %s", holders, so)
}

func (s catalog) changeGroups(ctx context.Context, key string, req *placementv1.ChangeShardKeyRequest) (topology.CollectionID, int64, error) {
	old, err := s.resolve(ctx, req.GetCollectionName())
	if err != nil {
		return 0, 0, err
	}
	rec := old.Record
	if !rec.Wish.Custom {
		return 0, 0, fault.BadInput("collection %s has automatic sharding: it takes no shard keys", rec.Name)
	}
	at := slices.IndexFunc(rec.Groups, func(g store.Group) bool { return g.Key == key })
	rec.Groups = slices.Clone(rec.Groups)
	txn := store.Txn{If: []store.Cond{old.Unchanged()}}
	switch o := req.GetChange().(type) {
	case *placementv1.ChangeShardKeyRequest_Create_:
		if at >= 0 {
			return 0, 0, fault.BadInput("Shard key %s already exists", key[1:])
		}
		group, err := s.newGroup(&rec, key, o.Create)
		if err != nil {
			return 0, 0, err
		}
		rec.Groups = append(rec.Groups, group)
	case *placementv1.ChangeShardKeyRequest_Delete_:
		if at < 0 {
			return 0, 0, fault.BadInput("Shard key %s does not exist", key[1:])
		}
		if to := slices.IndexFunc(rec.Groups, func(g store.Group) bool { return g.Fill != nil && g.Fill.From == key }); to >= 0 {
			return 0, 0, fault.BadInput("points of shard key %s are being copied to shard key %s: delete that one, or wait", key[1:], rec.Groups[to].Key[1:])
		}
		rec.Groups = slices.Delete(rec.Groups, at, at+1)
	default:
		if at < 0 {
			return 0, 0, fault.BadInput("Shard key %s does not exist", key[1:])
		}
		if err := changeFill(rec.Groups, at, req); err != nil {
			return 0, 0, err
		}
	}
	txn.Then = []store.Op{store.Put(rec)}
	revision, err := s.commit(ctx, txn)
	return rec.ID, revision, err
}

// changeFill begins, hands over, ends or gives up the copy of points into a group that is Partial. Whoever copies says
// with each step who it is: one that another has taken over from can end nothing.
func changeFill(groups []store.Group, at int, req *placementv1.ChangeShardKeyRequest) error {
	g := &groups[at]
	name := g.Key[1:]
	switch o := req.GetChange().(type) {
	case *placementv1.ChangeShardKeyRequest_Replicate_:
		from, err := wire.ShardKey(o.Replicate.GetFrom())
		if err != nil {
			return fault.BadInput("%v", err)
		}
		source := slices.IndexFunc(groups, func(g store.Group) bool { return g.Key == from })
		switch {
		case source < 0:
			return fault.BadInput("Shard key %s does not exist", from[1:])
		case groups[source].Partial:
			return fault.BadInput("Shard key %s is Partial: it has no points that could be copied", from[1:])
		case !g.Partial:
			return fault.BadInput("Shard key %s is Active: points are copied to keys that were created with initial_state Partial", name)
		case g.Fill != nil:
			return fault.BadInput("points of shard key %s are being copied to shard key %s already", g.Fill.From[1:], name)
		}
		g.Fill = &store.Fill{From: from}
		if o.Replicate.Filter != nil {
			if g.Fill.Filter, err = (proto.MarshalOptions{Deterministic: true}).Marshal(o.Replicate.GetFilter()); err != nil {
				return fault.Wrap(fault.Malformed, err, "the filter cannot be encoded")
			}
		}
	case *placementv1.ChangeShardKeyRequest_Claim_:
		if g.Fill == nil || o.Claim.GetClaim() == 0 {
			return fault.BadInput("no points are being copied to shard key %s", name)
		}
		g.Fill = &store.Fill{From: g.Fill.From, Filter: g.Fill.Filter, Claim: o.Claim.GetClaim()}
	case *placementv1.ChangeShardKeyRequest_Finish_:
		if g.Fill == nil || g.Fill.Claim == 0 || g.Fill.Claim != o.Finish.GetClaim() {
			return fault.BadInput("the copy of points to shard key %s was given up, or is another peer's by now", name)
		}
		g.Partial, g.Fill = false, nil
	case *placementv1.ChangeShardKeyRequest_Abort_:
		if g.Fill == nil {
			return fault.New(fault.NotFound, "Not found: no points are being copied to shard key %s", name)
		}
		g.Fill = nil
	default:
		return fault.BadInput("the change of the shard key is empty")
	}
	return nil
}

func (s catalog) newGroup(rec *store.Collection, key string, c *placementv1.ChangeShardKeyRequest_Create) (store.Group, error) {
	st := c.GetInitialState() // Active if it is not given
	if st != qdrant.ReplicaState_Active && st != qdrant.ReplicaState_Partial {
		return store.Group{}, fault.BadInput("initial_state of a shard key is Active or Partial, not %s", st)
	}
	g := store.Group{Key: key, Factor: c.GetReplicationFactor(), Partial: st == qdrant.ReplicaState_Partial}
	n := rec.Wish.ShardNumber
	if c.ShardsNumber != nil {
		n = c.GetShardsNumber()
	}
	if n < 1 || n > maxShards || (c.ReplicationFactor != nil && g.Factor < 1) {
		return g, fault.New(fault.Validation, "Validation error in body: shards_number must be between 1 and %d, replication_factor at least 1", maxShards)
	}
	var unknown topology.PeerID
	s.cfg.View.Read(func(st *view.State) {
		for _, id := range c.GetPlacement() {
			if _, known := st.Peers[topology.PeerID(id)]; !known {
				unknown = topology.PeerID(id)
			}
			g.Peers = append(g.Peers, topology.PeerID(id))
		}
	})
	if unknown != 0 {
		return g, fault.BadInput("Peer %d does not exist", unknown)
	}
	for range n {
		g.Shards = append(g.Shards, rec.NextShard)
		rec.NextShard++
	}
	return g, nil
}

// ChangeMetadata sets or removes one value.
func (s catalog) ChangeMetadata(ctx context.Context, req *placementv1.ChangeMetadataRequest) (*placementv1.ChangeMetadataResponse, error) {
	return grow(ctx, s.Server, "ChangeMetadata", req, maxCall,
		func(ctx context.Context, req *placementv1.ChangeMetadataRequest) (*placementv1.ChangeMetadataResponse, error) {
			if req.GetKey() == "" || len(req.GetKey()) > 255 || len(req.GetValue()) > 1<<20 {
				return nil, fault.New(fault.Validation, "Validation error in body: a metadata key has 1 to 255 bytes, its value at most 1 MiB")
			}
			op := store.Delete(store.MetadataKey(req.GetKey()))
			if req.Value != nil {
				op = store.Put(store.Metadata{Name: req.GetKey(), Value: req.GetValue()})
			}
			var revision int64
			err := s.settle(ctx, true, func(ctx context.Context) (err error) {
				revision, err = s.cfg.Store.Commit(ctx, store.Txn{Then: []store.Op{op}})
				return err
			})
			return &placementv1.ChangeMetadataResponse{Revision: uint64(revision)}, err
		})
}

// Status answers what this member knows; it asks nobody.
func (s catalog) Status(context.Context, *placementv1.StatusRequest) (*placementv1.StatusResponse, error) {
	resp := s.cfg.Status()
	resp.Revision, resp.ClusterId = uint64(s.cfg.View.Revision()), s.cfg.ClusterID()
	return resp, nil
}
