package api

import (
	"context"
	"errors"
	"maps"
	"slices"

	placementv1 "github.com/pandodb/pando/gen/go/pando/placement/v1"
	"github.com/pandodb/pando/services/controlplane/internal/store"
	"github.com/pandodb/pando/services/internal/fault"
)

// ChangeAliases applies all steps, in order, in one transaction, or none.
func (s catalog) ChangeAliases(ctx context.Context, req *placementv1.ChangeAliasesRequest) (*placementv1.ChangeAliasesResponse, error) {
	return grow(ctx, s.Server, "ChangeAliases", req, maxCall,
		func(ctx context.Context, req *placementv1.ChangeAliasesRequest) (*placementv1.ChangeAliasesResponse, error) {
			resp := &placementv1.ChangeAliasesResponse{}
			err := s.settle(ctx, false, func(ctx context.Context) error {
				d := &draft{catalog: s, before: map[string]*store.Versioned[store.Alias]{}, after: map[string]*store.Alias{}, conds: map[store.Key]store.Cond{}}
				for _, c := range req.GetChanges() {
					if err := d.step(ctx, c); err != nil {
						return err
					}
				}
				return d.commit(ctx, resp)
			})
			return resp, err
		})
}

// draft is the aliases as they were and as the steps so far would leave them. Only names that a step mentions are in it.
type draft struct {
	catalog
	before map[string]*store.Versioned[store.Alias]
	after  map[string]*store.Alias // nil: gone
	conds  map[store.Key]store.Cond
}

func (d *draft) step(ctx context.Context, c *placementv1.AliasChange) error {
	switch o := c.GetChange().(type) {
	case *placementv1.AliasChange_Create_:
		return d.create(ctx, o.Create.GetAliasName(), o.Create.GetCollectionName())
	case *placementv1.AliasChange_Rename_:
		return d.rename(ctx, o.Rename.GetOldAliasName(), o.Rename.GetNewAliasName())
	case *placementv1.AliasChange_Delete_:
		_, err := d.look(ctx, o.Delete.GetAliasName())
		d.after[o.Delete.GetAliasName()] = nil
		return err
	}
	return fault.BadInput("an alias operation is empty")
}

func (d *draft) create(ctx context.Context, alias, collection string) error {
	if err := d.free(ctx, alias); err != nil {
		return err
	}
	target, err := store.Load[store.Collection](ctx, d.cfg.Store, store.CollectionKey(collection))
	if errors.Is(err, store.ErrNotFound) {
		return fault.NoCollection(collection)
	}
	if err != nil {
		return err
	}
	if _, err := d.look(ctx, alias); err != nil {
		return err
	}
	d.conds[target.Record.Key()] = target.Alive()
	d.after[alias] = &store.Alias{Name: alias, Collection: collection, CollectionID: target.Record.ID}
	return nil
}

func (d *draft) rename(ctx context.Context, from, to string) error {
	if err := d.free(ctx, to); err != nil {
		return err
	}
	old, err := d.look(ctx, from)
	if err != nil {
		return err
	}
	if old == nil {
		return fault.New(fault.NotFound, "Not found: Alias `%s` doesn't exist!", from).With("alias", from)
	}
	if _, err := d.look(ctx, to); err != nil {
		return err
	}
	d.after[from] = nil
	d.after[to] = &store.Alias{Name: to, Collection: old.Collection, CollectionID: old.CollectionID}
	return nil
}

// free refuses an alias that is a collection's name, now and in the transaction.
func (d *draft) free(ctx context.Context, alias string) error {
	if err := checkName("alias", alias); err != nil {
		return err
	}
	_, err := d.cfg.Store.Get(ctx, store.CollectionKey(alias))
	if err == nil {
		return fault.CollectionTaken(alias)
	}
	if !errors.Is(err, store.ErrNotFound) {
		return err
	}
	d.conds[store.CollectionKey(alias)] = store.Absent(store.CollectionKey(alias))
	buried, err := d.buried(ctx, alias)
	if err != nil || buried == 0 {
		return err
	}
	return d.awaitDropped(ctx, alias, buried)
}

// look answers an alias as the steps so far have left it; nil if there is none.
func (d *draft) look(ctx context.Context, alias string) (*store.Alias, error) {
	if _, known := d.before[alias]; !known {
		was, err := d.liveAlias(ctx, alias)
		if err != nil {
			return nil, err
		}
		d.before[alias], d.after[alias] = was, nil
		key := store.AliasKey(alias)
		d.conds[key] = store.Absent(key)
		if was != nil {
			d.after[alias], d.conds[key] = &was.Record, was.Unchanged()
		}
	}
	return d.after[alias], nil
}

func (d *draft) commit(ctx context.Context, resp *placementv1.ChangeAliasesResponse) error {
	txn := store.Txn{If: slices.Collect(maps.Values(d.conds))}
	for name, now := range d.after {
		was := d.before[name]
		switch {
		case now == nil && was != nil:
			txn.Then = append(txn.Then, store.Delete(store.AliasKey(name)))
		case now != nil && (was == nil || was.Record != *now):
			txn.Then = append(txn.Then, store.Put(*now))
		}
	}
	if len(txn.Then) == 0 {
		resp.Revision = uint64(d.cfg.View.Told())
		return nil
	}
	revision, err := d.Server.commit(ctx, txn)
	resp.Revision, resp.Changed = uint64(revision), err == nil
	return err
}
