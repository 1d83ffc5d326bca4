package api

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	placementv1 "github.com/pandodb/pando/gen/go/pando/placement/v1"
	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/controlplane/internal/messages"
	"github.com/pandodb/pando/services/controlplane/internal/store"
	"github.com/pandodb/pando/services/controlplane/internal/store/memstore"
	"github.com/pandodb/pando/services/controlplane/internal/view"
)

// snapshot is the whole placement as a peer would be sent it.
func (p *plane) snapshot(ctx context.Context) []*placementv1.Change {
	p.Helper()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := p.session.WatchPlacement(ctx, &placementv1.WatchPlacementRequest{PeerId: 1})
	p.ok("watch", err)
	var all []*placementv1.Change
	for {
		msg, err := stream.Recv()
		p.ok("snapshot", err)
		if all = append(all, msg.GetSnapshot().GetRecords()...); msg.GetSnapshot().GetLast() {
			return all
		}
	}
}

// TestRecords: what a peer was sent of the placement becomes records again, for this peer alone: the catalog as it was, of each
// shard the own replica under a higher epoch.
func TestRecords(t *testing.T) {
	run(t, nil, func(ctx context.Context, p *plane) {
		p.join(ctx, 1, false)
		p.join(ctx, 2, false)
		_, err := p.catalog.CreateCollection(ctx, createRequest("both", 2, 2))
		p.ok("create", err)
		_, err = p.catalog.CreateCollection(ctx, createRequest("one", 2, 1))
		p.ok("create", err)
		_, err = p.catalog.ChangeAliases(ctx, &placementv1.ChangeAliasesRequest{Changes: []*placementv1.AliasChange{{Change: &placementv1.AliasChange_Create_{
			Create: &placementv1.AliasChange_Create{AliasName: "a", CollectionName: "both"}}}}})
		p.ok("alias", err)
		last, err := p.catalog.ChangePayloadIndex(ctx, &placementv1.ChangePayloadIndexRequest{CollectionName: "one", FieldName: "k",
			Params: &qdrant.PayloadIndexParams{}})
		p.ok("payload index", err)
		p.ok("view", p.view.Wait(ctx, int64(last.GetRevision())))
		ops, err := messages.Records(&placementv1.Peer{PeerId: 1, Uri: "http://h:6335", Folder: "f"}, p.snapshot(ctx), time.Now())
		p.ok("records", err)
		alone := memstore.New()
		if _, err := alone.Commit(ctx, store.Txn{Then: ops}); err != nil {
			t.Fatal(err)
		}
		peers, _, err := store.LoadAll[store.Peer](ctx, alone, store.Peers)
		if err != nil || len(peers) != 1 || peers[0].Record.ID != 1 || peers[0].Record.Folder != "f" {
			t.Errorf("peers %+v, %v", peers, err)
		}
		got, _, err := store.LoadAll[store.Collection](ctx, alone, store.Collections)
		if err != nil || len(got) != 2 {
			t.Fatalf("%+v, %v", got, err)
		}
		p.view.Read(func(st *view.State) {
			for _, c := range got {
				want := st.Collections[c.Record.Name].Record
				want.Created = want.Created.UTC()
				if d := cmp.Diff(want, c.Record); d != "" {
					t.Errorf("collection %s:\n%s", c.Record.Name, d)
				}
				for id, was := range st.Shards[want.ID] {
					now, err := store.Load[store.Shard](ctx, alone, store.ShardKey(want.ID, id))
					if err != nil {
						t.Fatal(err)
					}
					mine := was.Record.Replica(1)
					switch {
					case now.Record.Epoch != was.Record.Epoch+1:
						t.Errorf("epoch %d after %d", now.Record.Epoch, was.Record.Epoch)
					case mine == nil && (!now.Record.Lost || len(now.Record.Replicas) != 0 || now.Record.Primary != 0):
						t.Errorf("a shard that is elsewhere became %+v", now.Record)
					case mine != nil && (now.Record.Lost || len(now.Record.Replicas) != 1 || now.Record.Primary != 1 ||
						now.Record.Replicas[0].Incarnation != mine.Incarnation || now.Record.Replicas[0].State != store.Active):
						t.Errorf("a shard that is here became %+v", now.Record)
					}
				}
			}
		})
		if a, err := store.Load[store.Alias](ctx, alone, store.AliasKey("a")); err != nil || a.Record.Collection != "both" {
			t.Errorf("alias %+v, %v", a, err)
		}
	})
}
