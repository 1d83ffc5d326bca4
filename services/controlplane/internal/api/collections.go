package api

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	placementv1 "github.com/pandodb/pando/gen/go/pando/placement/v1"
	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/controlplane/internal/settings"
	"github.com/pandodb/pando/services/controlplane/internal/store"
	"github.com/pandodb/pando/services/controlplane/internal/view"
	"github.com/pandodb/pando/services/internal/fault"
	"github.com/pandodb/pando/services/internal/topology"
)

// maxShards bounds the shards of one collection, so that its record and its birth stay within reason.
const maxShards = 10_000

// CreateCollection writes the catalog entry and waits until the leader's loop has given birth to all its shards.
func (s catalog) CreateCollection(ctx context.Context, req *placementv1.CreateCollectionRequest) (*placementv1.CreateCollectionResponse, error) {
	timeout := cmp.Or(max(0, req.GetTimeout().AsDuration()), maxCall)
	return grow(ctx, s.Server, "CreateCollection", req, timeout, s.create(timeout))
}

func (s catalog) create(timeout time.Duration) func(context.Context, *placementv1.CreateCollectionRequest) (*placementv1.CreateCollectionResponse, error) {
	return func(ctx context.Context, req *placementv1.CreateCollectionRequest) (*placementv1.CreateCollectionResponse, error) {
		rec, err := s.newCollection(req)
		if err != nil {
			return nil, err
		}
		deadline, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		var revision int64
		err = s.settle(deadline, true, func(ctx context.Context) error {
			if err := s.awaitDropped(ctx, rec.Name, 0); err != nil {
				return err
			}
			revision, err = s.insert(ctx, rec)
			return err
		})
		if err != nil {
			return nil, err
		}
		s.cfg.Logger.Info("collection created", "collection", rec.Name, "id", uint64(rec.ID), "shards", rec.Wish.ShardNumber)
		settledAt, err := s.awaitBirth(deadline, rec.ID, revision)
		resp := &placementv1.CreateCollectionResponse{Revision: uint64(settledAt), CollectionId: uint64(rec.ID)}
		if err != nil { // the collection is there: its replicas go on being made
			resp.Revision, resp.Settling = uint64(max(revision, settledAt)), true
		}
		return resp, nil
	}
}

// newCollection makes the record of a request, defaults filled in.
func (s catalog) newCollection(req *placementv1.CreateCollectionRequest) (store.Collection, error) {
	if err := checkName("collection", req.GetName()); err != nil {
		return store.Collection{}, err
	}
	cfg := &qdrant.CollectionConfig{}
	proto.Merge(cfg, req.GetConfig())
	if cfg.Params == nil {
		cfg.Params = &qdrant.CollectionParams{}
	}
	wish, err := s.wishOf(cfg.GetParams())
	if err != nil {
		return store.Collection{}, err
	}
	cfg.Params.ShardNumber = wish.ShardNumber
	cfg.Params.ReplicationFactor = &wish.ReplicationFactor
	cfg.Params.WriteConsistencyFactor = &wish.WriteConsistencyFactor
	rec := store.Collection{
		ID: topology.CollectionID(s.cfg.NewID()), Name: req.GetName(), Wish: wish, Created: s.stamp(),
		Hash: store.Hash{Algorithm: topology.JumpSplitMix, N: wish.ShardNumber},
	}
	if !wish.Custom {
		group := store.Group{}
		for ; rec.NextShard < topology.ShardID(wish.ShardNumber); rec.NextShard++ {
			group.Shards = append(group.Shards, rec.NextShard)
		}
		rec.Groups = []store.Group{group}
	}
	rec.Config, err = encodeConfig(cfg)
	return rec, err
}

// wishOf reads what placement needs. An omitted shard number is the number of peers, or 1 per key with custom sharding.
func (s catalog) wishOf(p *qdrant.CollectionParams) (store.Wish, error) {
	w := store.Wish{
		ShardNumber: p.GetShardNumber(), ReplicationFactor: 1, WriteConsistencyFactor: 1,
		Custom: p.GetShardingMethod() == qdrant.ShardingMethod_Custom,
	}
	if p.ReplicationFactor != nil {
		w.ReplicationFactor = p.GetReplicationFactor()
	}
	if p.WriteConsistencyFactor != nil {
		w.WriteConsistencyFactor = p.GetWriteConsistencyFactor()
	}
	if w.ShardNumber == 0 {
		w.ShardNumber = 1
		if !w.Custom {
			s.cfg.View.Read(func(st *view.State) { w.ShardNumber = uint32(max(1, min(len(st.Peers), maxShards))) })
		}
	}
	for _, f := range []struct {
		name  string
		value uint32
		most  uint32
	}{{"replication_factor", w.ReplicationFactor, 1 << 16}, {"write_consistency_factor", w.WriteConsistencyFactor, 1 << 16}, {"shard_number", w.ShardNumber, maxShards}} {
		if f.value < 1 || f.value > f.most {
			return w, fault.New(fault.Validation, "Validation error in body: [%s: value %d invalid, must be from 1 to %d]", f.name, f.value, f.most)
		}
	}
	return w, nil
}

func encodeConfig(cfg *qdrant.CollectionConfig) ([]byte, error) {
	raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(cfg)
	if err != nil {
		return nil, fault.Wrap(fault.Malformed, err, "the configuration cannot be encoded")
	}
	if len(raw) > 1<<20 {
		return nil, fault.New(fault.TooLarge, "the configuration has %d bytes, at most 1 MiB is kept", len(raw))
	}
	return raw, nil
}

// buried answers when the tombstone under a name was written; 0 = there is none.
func (s catalog) buried(ctx context.Context, name string) (int64, error) {
	t, err := store.Load[store.Tombstone](ctx, s.cfg.Store, store.TombstoneKey(name))
	if errors.Is(err, store.ErrNotFound) {
		return 0, nil
	}
	return t.Modified, err
}

// awaitDropped waits until the deleted collection whose tombstone was written at this revision is dropped by all peers that have a
// session; 0 = whichever bears the name now, if one does.
func (s catalog) awaitDropped(ctx context.Context, name string, revision int64) error {
	var holders []topology.PeerID
	err := s.cfg.View.Until(ctx, func(st *view.State) bool {
		t, there := st.Tombstones[name]
		holders = st.Holders(t.Record.ID)
		return st.Revision >= revision && (!there || revision != 0 && t.Modified != revision)
	})
	switch {
	case err == nil:
		return nil
	case len(holders) == 0:
		return fault.Wrap(fault.Timeout, err, "Timeout error: the collection `%s` is deleted, and the control plane has not cleared it away yet: "+
			"its name is not free before", name)
	}
	return fault.Wrap(fault.Timeout, err, "Timeout error: the collection `%s` is deleted, and peers %v still hold it: they may take writes for it, "+
		"and its name is not free, until they have dropped it or are dead", name, holders)
}

// insert writes a new entry if its name is free. An entry with this very id is an earlier try whose answer was lost.
func (s catalog) insert(ctx context.Context, rec store.Collection) (int64, error) {
	there, err := store.Load[store.Collection](ctx, s.cfg.Store, rec.Key())
	switch {
	case err == nil && there.Record.ID == rec.ID:
		return there.Modified, nil
	case err == nil:
		return 0, fault.CollectionTaken(rec.Name)
	case !errors.Is(err, store.ErrNotFound):
		return 0, err
	}
	alias, err := s.liveAlias(ctx, rec.Name)
	if err != nil {
		return 0, err
	}
	if alias != nil {
		return 0, fault.New(fault.AliasClash, "Wrong input: Can't create collection with name %s. Alias with the same name already exists", rec.Name)
	}
	if err := s.clearAliasesTo(ctx, rec.Name); err != nil {
		return 0, err
	}
	return s.cfg.Store.Commit(ctx, store.Txn{
		If:   []store.Cond{store.Absent(rec.Key()), store.Absent(store.AliasKey(rec.Name)), store.Absent(store.TombstoneKey(rec.Name))},
		Then: []store.Op{store.Put(rec)},
	})
}

// liveAlias reads an alias; nil if there is none. One whose collection is gone is removed on the way.
func (s catalog) liveAlias(ctx context.Context, name string) (*store.Versioned[store.Alias], error) {
	alias, err := store.Load[store.Alias](ctx, s.cfg.Store, store.AliasKey(name))
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	target, err := store.Load[store.Collection](ctx, s.cfg.Store, store.CollectionKey(alias.Record.Collection))
	switch {
	case err == nil && target.Record.ID == alias.Record.CollectionID:
		return &alias, nil
	case err != nil && !errors.Is(err, store.ErrNotFound):
		return nil, err
	}
	_, err = s.cfg.Store.Commit(ctx, store.Txn{
		If: []store.Cond{alias.Unchanged()}, Then: []store.Op{store.Delete(alias.Record.Key())},
	})
	return nil, err
}

// clearAliasesTo removes what is left of aliases to an earlier collection of this name, so that they do not come to
// life with the new one at readers that know names only. The loop would do it too, but not by a given time.
func (s catalog) clearAliasesTo(ctx context.Context, name string) error {
	aliases, _, err := store.LoadAll[store.Alias](ctx, s.cfg.Store, store.Aliases)
	if err != nil {
		return err
	}
	txn := store.Txn{}
	for _, a := range aliases {
		if a.Record.Collection != name {
			continue
		}
		txn.If, txn.Then = append(txn.If, a.Unchanged()), append(txn.Then, store.Delete(a.Record.Key()))
		if len(txn.Then) == store.MaxOps {
			if _, err := s.cfg.Store.Commit(ctx, txn); err != nil {
				return err
			}
			txn = store.Txn{}
		}
	}
	if len(txn.Then) == 0 {
		return nil
	}
	_, err = s.cfg.Store.Commit(ctx, txn)
	return err
}

// awaitBirth waits until no shard of the collection is missing or being made, and answers the last revision that took.
func (s catalog) awaitBirth(ctx context.Context, id topology.CollectionID, revision int64) (int64, error) {
	last := revision
	err := s.cfg.View.Until(ctx, func(st *view.State) bool {
		if st.Revision < revision {
			return false
		}
		c, live := st.Collection(id)
		if !live {
			return true // deleted meanwhile
		}
		for _, g := range c.Record.Groups {
			for _, shard := range g.Shards {
				rec, placed := st.Shards[id][shard]
				last = max(last, rec.Modified)
				if !placed || rec.Record.Primary == 0 {
					return false
				}
			}
		}
		return true
	})
	return last, err
}

// UpdateCollection merges changed parameters into the configuration.
func (s catalog) UpdateCollection(ctx context.Context, req *placementv1.UpdateCollectionRequest) (*placementv1.UpdateCollectionResponse, error) {
	return grow(ctx, s.Server, "UpdateCollection", req, maxCall,
		func(ctx context.Context, req *placementv1.UpdateCollectionRequest) (*placementv1.UpdateCollectionResponse, error) {
			revision, err := s.modify(ctx, req.GetName(), func(rec *store.Collection, cfg *qdrant.CollectionConfig) error {
				if err := settings.Merge(cfg, req); err != nil {
					return err
				}
				rec.Wish.ReplicationFactor = cfg.GetParams().GetReplicationFactor()
				rec.Wish.WriteConsistencyFactor = cfg.GetParams().GetWriteConsistencyFactor()
				if rec.Wish.ReplicationFactor == 0 || rec.Wish.WriteConsistencyFactor == 0 {
					return fault.New(fault.Validation, "Validation error in body: params: a factor must be at least 1")
				}
				return nil
			})
			return &placementv1.UpdateCollectionResponse{Revision: uint64(revision)}, err
		})
}

// modify changes the entry of a collection, named or aliased, by fn and answers the revision at which it is as asked. A change
// that changes nothing writes nothing, which makes modify repeatable.
func (s catalog) modify(ctx context.Context, name string, fn func(*store.Collection, *qdrant.CollectionConfig) error) (int64, error) {
	var revision int64
	err := s.settle(ctx, true, func(ctx context.Context) error {
		old, err := s.resolve(ctx, name)
		if err != nil {
			return err
		}
		rec, cfg := old.Record, &qdrant.CollectionConfig{}
		if err := proto.Unmarshal(rec.Config, cfg); err != nil {
			return fault.Wrap(fault.StorageCorrupt, err, "the stored configuration of collection %q cannot be read", rec.Name)
		}
		if err := fn(&rec, cfg); err != nil {
			return err
		}
		if rec.Config, err = encodeConfig(cfg); err != nil {
			return err
		}
		revision = old.Modified
		before, after := store.Put(old.Record), store.Put(rec)
		if string(before.Value) == string(after.Value) {
			return nil
		}
		revision, err = s.cfg.Store.Commit(ctx, store.Txn{If: []store.Cond{old.Unchanged()}, Then: []store.Op{after}})
		return err
	})
	return revision, err
}

// FindCollection reads whether a collection is there, past the view, which may lag.
func (s catalog) FindCollection(ctx context.Context, req *placementv1.FindCollectionRequest) (*placementv1.FindCollectionResponse, error) {
	if err := s.ready(ctx); err != nil {
		return nil, err
	}
	revision, err := s.named(ctx, req.GetName())
	if err != nil {
		return nil, edge(err)
	}
	return &placementv1.FindCollectionResponse{Revision: uint64(revision)}, nil
}

// named answers when the record that bears a name was last changed: the entry itself, or an alias. CollectionNotFound otherwise.
func (s catalog) named(ctx context.Context, name string) (int64, error) {
	c, err := store.Load[store.Collection](ctx, s.cfg.Store, store.CollectionKey(name))
	if !errors.Is(err, store.ErrNotFound) {
		return c.Modified, err
	}
	alias, err := s.liveAlias(ctx, name)
	switch {
	case err != nil:
		return 0, err
	case alias == nil:
		return 0, fault.NoCollection(name)
	}
	return alias.Modified, nil
}

// resolve finds a collection by its name or a live alias. CollectionNotFound otherwise.
func (s catalog) resolve(ctx context.Context, name string) (store.Versioned[store.Collection], error) {
	c, err := store.Load[store.Collection](ctx, s.cfg.Store, store.CollectionKey(name))
	if !errors.Is(err, store.ErrNotFound) {
		return c, err
	}
	alias, err := s.liveAlias(ctx, name)
	if err != nil {
		return c, err
	}
	if alias == nil {
		return c, fault.NoCollection(name)
	}
	c, err = store.Load[store.Collection](ctx, s.cfg.Store, store.CollectionKey(alias.Record.Collection))
	if errors.Is(err, store.ErrNotFound) {
		return c, fault.NoCollection(name)
	}
	return c, err
}

// DeleteCollection removes the entry and its aliases, and waits until no peer with a session holds a replica any more: from then
// on nobody acknowledges a write to it. The leader's loop removes the shards. An alias is not followed: it is not the collection.
func (s catalog) DeleteCollection(ctx context.Context, req *placementv1.DeleteCollectionRequest) (*placementv1.DeleteCollectionResponse, error) {
	timeout := cmp.Or(max(0, req.GetTimeout().AsDuration()), maxCall)
	return coalesce(ctx, s.Server, "DeleteCollection", req, timeout,
		func(ctx context.Context, req *placementv1.DeleteCollectionRequest) (*placementv1.DeleteCollectionResponse, error) {
			resp, buried := &placementv1.DeleteCollectionResponse{}, int64(0)
			ctx, cancel := context.WithTimeout(ctx, timeout)
			defer cancel()
			err := s.settle(ctx, true, func(ctx context.Context) (err error) {
				buried, err = s.remove(ctx, req.GetName(), resp)
				return err
			})
			if err != nil {
				return nil, err
			}
			if resp.GetExisted() {
				s.cfg.Logger.Info("collection deleted", "collection", req.GetName())
			}
			if buried == 0 {
				return resp, nil
			}
			return resp, s.awaitDropped(ctx, req.GetName(), buried)
		})
}

// remove answers when the tombstone under the name was written, be it by this or by an earlier deletion; 0 = there is none.
func (s catalog) remove(ctx context.Context, name string, resp *placementv1.DeleteCollectionResponse) (buried int64, err error) {
	c, err := store.Load[store.Collection](ctx, s.cfg.Store, store.CollectionKey(name))
	if errors.Is(err, store.ErrNotFound) {
		resp.Revision = max(resp.Revision, uint64(s.cfg.View.Told()))
		return s.buried(ctx, name)
	}
	if err != nil {
		return 0, err
	}
	tomb := store.Tombstone{Name: name, ID: c.Record.ID}
	txn := store.Txn{If: []store.Cond{c.Unchanged()}, Then: []store.Op{store.Delete(c.Record.Key()), store.Put(tomb)}}
	aliases, _, err := store.LoadAll[store.Alias](ctx, s.cfg.Store, store.Aliases)
	if err != nil {
		return 0, err
	}
	for _, a := range aliases {
		if a.Record.CollectionID == c.Record.ID && len(txn.Then) < store.MaxOps { // the loop removes the rest; they are dead already
			txn.Then = append(txn.Then, store.Delete(a.Record.Key()))
			txn.If = append(txn.If, a.Unchanged())
		}
	}
	resp.Existed = true // also if the answer is lost: the next try finds nothing
	revision, err := s.cfg.Store.Commit(ctx, txn)
	if err != nil {
		if errors.Is(err, store.ErrConflict) {
			resp.Existed = false
		}
		return 0, fmt.Errorf("delete collection %q: %w", name, err)
	}
	resp.Revision = uint64(revision)
	return revision, nil
}
