// Package etcdstore is the store on an etcd client. It owns neither the client nor the server behind it.
package etcdstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/pandodb/pando/services/controlplane/internal/store"
)

// Store translates; it keeps nothing.
type Store struct {
	current func() *clientv3.Client
}

// New makes a store on whatever client current answers at each call. While that is nil every call is ErrUnavailable.
func New(current func() *clientv3.Client) *Store { return &Store{current: current} }

func (s *Store) client() (*clientv3.Client, error) {
	c := s.current()
	if c == nil {
		return nil, fmt.Errorf("etcd is not running: %w", store.ErrUnavailable)
	}
	return c, nil
}

// Get implements store.Store.
func (s *Store) Get(ctx context.Context, key store.Key) (store.KV, error) {
	c, err := s.client()
	if err != nil {
		return store.KV{}, err
	}
	resp, err := c.Get(ctx, string(key))
	if err != nil {
		return store.KV{}, translate(ctx, "get "+string(key), err)
	}
	if len(resp.Kvs) == 0 {
		return store.KV{}, store.ErrNotFound
	}
	return fromProto(resp.Kvs[0]), nil
}

// List implements store.Store.
func (s *Store) List(ctx context.Context, r store.Range) (store.Page, error) {
	c, err := s.client()
	if err != nil {
		return store.Page{}, err
	}
	from := string(r.Prefix)
	if r.After != "" && string(r.After) >= from {
		from = string(r.After) + "\x00"
	}
	resp, err := c.Get(ctx, from,
		clientv3.WithRange(clientv3.GetPrefixRangeEnd(string(r.Prefix))),
		clientv3.WithRev(r.Revision), clientv3.WithLimit(int64(r.Limit)))
	if err != nil {
		return store.Page{}, translate(ctx, "list "+string(r.Prefix), err)
	}
	page := store.Page{Revision: r.Revision, More: resp.More, KVs: make([]store.KV, 0, len(resp.Kvs))}
	if page.Revision == 0 {
		page.Revision = resp.Header.GetRevision()
	}
	for _, kv := range resp.Kvs {
		page.KVs = append(page.KVs, fromProto(kv))
	}
	return page, nil
}

// Commit implements store.Store.
func (s *Store) Commit(ctx context.Context, txn store.Txn) (int64, error) {
	if err := txn.Check(); err != nil {
		return 0, err
	}
	c, err := s.client()
	if err != nil {
		return 0, err
	}
	conds := make([]clientv3.Cmp, 0, len(txn.If))
	for _, cond := range txn.If {
		key := string(cond.Key)
		switch {
		case cond.Lease != 0:
			conds = append(conds, clientv3.Compare(clientv3.LeaseValue(key), "=", int64(cond.Lease)))
		case cond.Modified != 0:
			conds = append(conds, clientv3.Compare(clientv3.ModRevision(key), "=", cond.Modified))
		default:
			conds = append(conds, clientv3.Compare(clientv3.CreateRevision(key), "=", cond.Created))
		}
	}
	ops := make([]clientv3.Op, 0, len(txn.Then))
	for _, op := range txn.Then {
		if op.Value == nil {
			ops = append(ops, clientv3.OpDelete(string(op.Key)))
			continue
		}
		ops = append(ops, clientv3.OpPut(string(op.Key), string(op.Value), clientv3.WithLease(clientv3.LeaseID(op.Lease))))
	}
	resp, err := c.Txn(ctx).If(conds...).Then(ops...).Commit()
	if err != nil {
		return 0, translate(ctx, "commit", err)
	}
	if !resp.Succeeded {
		return 0, store.ErrConflict
	}
	return resp.Header.GetRevision(), nil
}

// Watch implements store.Store.
func (s *Store) Watch(ctx context.Context, prefix store.Key, from int64, fn func(store.Batch) error) error {
	c, err := s.client()
	if err != nil {
		return err
	}
	wctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer cancel()
	for resp := range c.Watch(wctx, string(prefix), clientv3.WithPrefix(), clientv3.WithRev(from)) {
		if resp.CompactRevision != 0 {
			return store.ErrCompacted
		}
		if err := resp.Err(); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return translate(ctx, "watch "+string(prefix), err)
		}
		if len(resp.Events) == 0 {
			continue
		}
		batch := store.Batch{Changes: make([]store.Change, 0, len(resp.Events))}
		for _, ev := range resp.Events {
			change := store.Change{KV: fromProto(ev.Kv), Deleted: ev.Type == clientv3.EventTypeDelete}
			if change.Deleted {
				change.Value = nil
			}
			batch.Revision = max(batch.Revision, change.Modified)
			batch.Changes = append(batch.Changes, change)
		}
		if err := fn(batch); err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("watch %s ended by the server: %w", prefix, store.ErrUnavailable)
}

// Grant implements store.Store. etcd counts whole seconds and has a floor of one and a half election timeouts.
func (s *Store) Grant(ctx context.Context, ttl time.Duration) (store.LeaseID, error) {
	c, err := s.client()
	if err != nil {
		return 0, err
	}
	resp, err := c.Grant(ctx, int64((ttl+time.Second-1)/time.Second))
	if err != nil {
		return 0, translate(ctx, "grant", err)
	}
	return store.LeaseID(resp.ID), nil
}

// Renew implements store.Store.
func (s *Store) Renew(ctx context.Context, id store.LeaseID) error {
	c, err := s.client()
	if err != nil {
		return err
	}
	resp, err := c.KeepAliveOnce(ctx, clientv3.LeaseID(id))
	if err != nil {
		return translate(ctx, "renew", err)
	}
	if resp.TTL <= 0 {
		return store.ErrLeaseGone
	}
	return nil
}

func fromProto(kv *mvccpb.KeyValue) store.KV {
	return store.KV{
		Key: store.Key(kv.Key), Value: kv.Value, Created: kv.CreateRevision, Modified: kv.ModRevision,
		Lease: store.LeaseID(kv.Lease),
	}
}

// translate turns etcd's errors into the store's. What is neither named here nor the caller's own context is unavailability:
// the outcome is unknown.
func translate(ctx context.Context, what string, err error) error {
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("%s: %w", what, errors.Join(ctx.Err(), store.ErrUnavailable))
	case errors.Is(err, rpctypes.ErrCompacted):
		return store.ErrCompacted
	case errors.Is(err, rpctypes.ErrLeaseNotFound):
		return store.ErrLeaseGone
	case errors.Is(err, rpctypes.ErrTooManyOps), errors.Is(err, rpctypes.ErrRequestTooLarge):
		return fmt.Errorf("%s: %w", what, store.ErrTooLarge)
	case code(err) == codes.InvalidArgument:
		return fmt.Errorf("%s: %w", what, err)
	}
	return fmt.Errorf("%s: %w: %w", what, store.ErrUnavailable, err)
}

func code(err error) codes.Code {
	var e rpctypes.EtcdError
	if errors.As(err, &e) {
		return e.Code()
	}
	return status.Code(err)
}
