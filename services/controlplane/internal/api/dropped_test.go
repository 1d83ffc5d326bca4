package api

import (
	"context"
	"errors"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"

	placementv1 "github.com/pandodb/pando/gen/go/pando/placement/v1"
	"github.com/pandodb/pando/services/controlplane/internal/store"
	"github.com/pandodb/pando/services/controlplane/internal/store/memstore"
	"github.com/pandodb/pando/services/controlplane/internal/view"
	"github.com/pandodb/pando/services/internal/fault"
)

// remove deletes "c" and tells how long that took.
func (p *plane) remove(ctx context.Context, timeout time.Duration) (*placementv1.DeleteCollectionResponse, time.Duration, error) {
	begun := time.Now()
	resp, err := p.catalog.DeleteCollection(ctx, &placementv1.DeleteCollectionRequest{Name: "c", Timeout: durationpb.New(timeout)})
	return resp, time.Since(begun), err
}

// A deletion is answered once no peer with a session reports a replica; until then nobody gets the name.
func TestDeletionWaitsForHolders(t *testing.T) {
	run(t, nil, func(ctx context.Context, p *plane) {
		p.join(ctx, 1, false)
		q := p.join(ctx, 2, false)
		big := createRequest("c", 4, 2)
		first, err := p.catalog.CreateCollection(ctx, big)
		p.ok("create", err)
		p.create(ctx, "d")
		if _, took, err := p.remove(ctx, 0); err != nil || took > 100*time.Millisecond {
			t.Errorf("everybody listens: %v after %v", err, took)
		}
		if _, err = p.catalog.CreateCollection(ctx, big); err != nil {
			t.Fatal(err)
		}

		q.setLate(true)
		resp, took, err := p.remove(ctx, time.Second)
		p.want("a peer has not heard of it", err, codes.DeadlineExceeded, fault.Timeout)
		if resp != nil || took != time.Second {
			t.Errorf("%v after %v", resp, took)
		}
		_, err = p.catalog.FindCollection(ctx, &placementv1.FindCollectionRequest{Name: "c"})
		p.want("it is deleted all the same", err, codes.NotFound, fault.CollectionNotFound)
		_, took, err = p.remove(ctx, 2*time.Second)
		if p.want("again", err, codes.DeadlineExceeded, fault.Timeout); took != 2*time.Second {
			t.Errorf("the repetition was answered after %v", took)
		}
		again := createRequest("c", 4, 2)
		again.Timeout = durationpb.New(time.Second)
		_, err = p.catalog.CreateCollection(ctx, again)
		p.want("the name is not free", err, codes.DeadlineExceeded, fault.Timeout)
		p.create(ctx, "other")

		begun := time.Now()
		time.AfterFunc(3*time.Second, func() { q.setLate(false) })
		_, err = p.catalog.ChangeAliases(ctx, aliases(put("c", "d")))
		if took := time.Since(begun); err != nil || took < 3*time.Second || took > 4*time.Second {
			t.Errorf("alias: %v after %v", err, took)
		}
		_, err = p.catalog.ChangeAliases(ctx, aliases(del("c")))
		p.ok("alias removed", err)
		if last := p.create(ctx, "c"); last.GetCollectionId() == first.GetCollectionId() {
			t.Error("an id came twice")
		}
		p.view.Read(func(s *view.State) {
			if len(s.Tombstones) != 0 {
				t.Errorf("left: %v", s.Tombstones)
			}
		})
	})
}

// A peer that dies is waited for as long as its session lives.
func TestDeletionWithADeadPeer(t *testing.T) {
	run(t, nil, func(ctx context.Context, p *plane) {
		q := p.join(ctx, 1, false)
		p.create(ctx, "c")
		q.stop()
		if resp, took, err := p.remove(ctx, 0); err != nil || !resp.GetExisted() || took > 1100*time.Millisecond {
			t.Errorf("%v, %v after %v", resp, err, took)
		}
	})
}

// A member whose view lags, or a race for the name, does not give it away either: the transaction compares. The loop, which would
// find nobody who holds that one, is at work on another store.
func TestTombstoneIsCompared(t *testing.T) {
	run(t, nil, func(ctx context.Context, p *plane) {
		alone := memstore.New()
		s := catalog{Server: New(Config{Store: alone, View: p.view})}
		if _, err := alone.Commit(ctx, store.Txn{Then: []store.Op{store.Put(store.Tombstone{Name: "c", ID: 6})}}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.insert(ctx, store.Collection{ID: 7, Name: "c"}); !errors.Is(err, store.ErrConflict) {
			t.Errorf("the name of a tombstone was given away: %v", err)
		}
		if _, err := s.insert(ctx, store.Collection{ID: 7, Name: "d"}); err != nil {
			t.Error(err)
		}
	})
}
