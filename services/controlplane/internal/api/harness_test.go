package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	placementv1 "github.com/pandodb/pando/gen/go/pando/placement/v1"
	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/controlplane/internal/reconcile"
	"github.com/pandodb/pando/services/controlplane/internal/store"
	"github.com/pandodb/pando/services/controlplane/internal/store/memstore"
	"github.com/pandodb/pando/services/controlplane/internal/swap"
	"github.com/pandodb/pando/services/controlplane/internal/view"
	"github.com/pandodb/pando/services/internal/fault"
	"github.com/pandodb/pando/services/internal/rpc"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// plane is a control plane of one member on the memory store, called over the real chain of interceptors.
type plane struct {
	*testing.T
	store     *memstore.Store
	view      *view.View
	group     *errgroup.Group
	session   placementv1.SessionClient
	catalog   placementv1.CatalogClient
	decisions placementv1.DecisionsClient
	members   placementv1.MembersClient
	loop      *reconcile.Loop
	data      *data
}

// data are the peers as the control plane meets them. Confirms are answered by what the view says, honestly unless spoilt.
type data struct {
	view    *view.View
	mu      sync.Mutex
	spoil   func(topology.PeerID, *swap.Answer) error
	stays   bool // primaries do not hand over
	handed  []string
	perform *swap.Performer
	store   *memstore.Store
}

func (d *data) Confirm(_ context.Context, peer topology.PeerID, rec store.Shard) (a swap.Answer, err error) {
	d.view.Read(func(s *view.State) {
		session := s.Sessions[peer].Record
		a = swap.Answer{Peer: peer, Epoch: rec.Epoch, Session: session.Lease}
		if r := session.Report(rec.Collection, rec.Shard); r != nil {
			a.Incarnation = r.Incarnation
		}
	})
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.spoil != nil {
		err = d.spoil(peer, &a)
	}
	return a, err
}

func (d *data) Handover(ctx context.Context, rec store.Shard, to topology.PeerID) error {
	d.mu.Lock()
	d.handed = append(d.handed, fmt.Sprintf("%d>%d", rec.Primary, to))
	stays := d.stays
	d.mu.Unlock()
	if stays {
		<-ctx.Done()
		return ctx.Err()
	}
	was, err := store.Load[store.Shard](ctx, d.store, rec.Key())
	if err != nil {
		return err
	}
	plan := swap.Plan{Kind: swap.Handover, Was: was, To: to}
	_, err = d.perform.Do(ctx, plan, plan.Heirs(), d.store.Commit)
	return err
}

func (d *data) Probe(context.Context, topology.PeerID) error { return nil }

func (d *data) with(fn func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	fn()
}

// run makes a plane inside a bubble of virtual time.
func run(t *testing.T, change func(*Config), fn func(ctx context.Context, p *plane)) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		log, ids := slog.New(slog.DiscardHandler), atomic.Uint64{}
		p := &plane{T: t, store: memstore.New(), group: &errgroup.Group{}}
		p.view = view.New(p.store, log)
		p.data = &data{view: p.view, store: p.store}
		p.data.perform = &swap.Performer{Ask: p.data, Now: time.Now}
		never := make(chan struct{})
		p.loop = reconcile.New(reconcile.Config{
			Store: p.store, View: p.view, Logger: log, Peers: p.data, Performer: p.data.perform,
			Office: func() (reconcile.Office, <-chan struct{}) {
				return reconcile.Office{Term: 1, Member: 1, Mine: true}, never
			},
		})
		cfg := Config{
			Store: p.store, View: p.view, Logger: log, Desk: p.loop, Performer: p.data.perform, Peers: p.data,
			Leader:    func() (placementv1.DecisionsClient, error) { return nil, errors.New("nobody leads") },
			ClusterID: func() string { return "c1" },
			Status:    func() *placementv1.StatusResponse { return &placementv1.StatusResponse{Term: 1} },
			NewID:     func() uint64 { return 100 + ids.Add(1) },
		}
		if change != nil {
			change(&cfg)
		}
		local, err := rpc.NewLocal(rpc.Options{Logger: log})
		if err != nil {
			t.Fatal(err)
		}
		New(cfg).Register(local)
		p.session, p.catalog = placementv1.NewSessionClient(local), placementv1.NewCatalogClient(local)
		p.decisions, p.members = placementv1.NewDecisionsClient(local), placementv1.NewMembersClient(local)
		p.group.Go(func() error { return p.view.Run(ctx) })
		p.group.Go(func() error { return p.loop.Run(ctx) })
		fn(ctx, p)
		cancel()
		if err := p.group.Wait(); err != nil {
			t.Error(err)
		}
		local.Close(context.WithoutCancel(ctx))
	})
}

// want checks code and reason of an error; Unspecified and OK expect none.
func (p *plane) want(what string, err error, code codes.Code, reason fault.Reason) {
	p.Helper()
	if err == nil && code == codes.OK {
		return
	}
	f := fault.FromStatus(status.Convert(err))
	if f == nil || f.Code != code || f.Reason != reason {
		p.Errorf("%s: got %v, want %v with reason %v", what, err, code, reason)
	}
}

func (p *plane) ok(what string, err error) {
	p.Helper()
	if err != nil {
		p.Fatalf("%s: %v", what, err)
	}
}

// peer is a data-plane peer reduced to its part in this protocol.
type peer struct {
	id      topology.PeerID
	process string
	m       *topology.Map
	mu      sync.Mutex
	reset   int // snapshots received
	deltas  int
	session uint64
	disk    map[topology.Shard]topology.Incarnation
	lags    bool // it has not heard of deletions yet
	stop    context.CancelFunc
	changed chan struct{}
}

// join starts a peer: it registers, watches, makes every replica that it is given and reports it. mute peers make none.
func (p *plane) join(ctx context.Context, id topology.PeerID, mute bool) *peer {
	p.Helper()
	q := &peer{id: id, process: "p", m: topology.NewMap(), disk: map[topology.Shard]topology.Incarnation{}, changed: make(chan struct{}, 1)}
	ctx, q.stop = context.WithCancel(ctx)
	resp, err := p.session.Register(ctx, p.registration(id, "p"))
	p.ok("register", err)
	q.session = resp.GetSessionId()
	if resp.GetClusterId() != "c1" || resp.GetTtl().AsDuration() != time.Second {
		p.Errorf("registered with %v", resp)
	}
	p.group.Go(func() error { return gone(ctx, q.watch(ctx, p)) })
	p.group.Go(func() error { return gone(ctx, q.keepAlive(ctx, p, mute)) })
	return q
}

func (p *plane) registration(id topology.PeerID, process string) *placementv1.RegisterRequest {
	return &placementv1.RegisterRequest{
		Peer: &placementv1.Peer{
			PeerId: uint64(id), Uri: "http://h:6335", Version: "0.1.0", Wire: &placementv1.WireRange{Min: 1, Max: 1},
		},
		Inventory: &placementv1.Inventory{Full: true}, ProcessId: process,
	}
}

// gone swallows the error that the end of a peer's own context caused.
func gone(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

func (q *peer) watch(ctx context.Context, p *plane) error {
	stream, err := p.session.WatchPlacement(ctx, &placementv1.WatchPlacementRequest{PeerId: uint64(q.id)})
	if err != nil {
		return err
	}
	var pieces []*placementv1.Change
	for {
		msg, err := stream.Recv()
		if err != nil {
			return err
		}
		var d topology.Delta
		switch e := msg.GetEvent().(type) {
		case *placementv1.WatchPlacementResponse_Snapshot:
			pieces = append(pieces, e.Snapshot.GetRecords()...)
			if !e.Snapshot.GetLast() {
				continue
			}
			d, err = wire.Delta(e.Snapshot.GetRevision(), true, pieces)
			pieces = nil
		case *placementv1.WatchPlacementResponse_Delta:
			d, err = wire.Delta(e.Delta.GetRevision(), false, e.Delta.GetChanges())
		case *placementv1.WatchPlacementResponse_Progress:
			d.Revision = e.Progress.GetRevision()
		}
		if err != nil {
			return err
		}
		q.mu.Lock()
		if d.Revision < q.m.Revision() {
			err = errors.New("the placement went back in time")
		}
		q.m = q.m.Apply(d)
		if d.Reset {
			q.reset++
		} else {
			q.deltas++
		}
		q.mu.Unlock()
		select {
		case q.changed <- struct{}{}:
		default:
		}
		if err != nil {
			return err
		}
	}
}

func (q *peer) view() *topology.Map {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.m
}

func (q *peer) late() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.lags
}

func (q *peer) setLate(lags bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.lags = lags
}

// make creates what the map gives this peer, drops what it does not name any more, and answers the inventory of what is new.
func (q *peer) make() *placementv1.Inventory {
	inv := &placementv1.Inventory{}
	m := q.view()
	for id := range q.disk {
		if _, there := m.Placement(id); !there && !q.late() {
			delete(q.disk, id)
			inv.Gone = append(inv.Gone, &placementv1.ShardRef{CollectionId: uint64(id.Collection), ShardId: uint64(id.ID)})
		}
	}
	for _, c := range m.Collections() {
		for _, s := range c.Shards {
			if _, mine := s.Replica(q.id); !mine || q.disk[s.Shard] != (topology.Incarnation{}) {
				continue
			}
			q.disk[s.Shard] = topology.Incarnation{byte(q.id), byte(len(q.disk)), 1}
			in := q.disk[s.Shard]
			inv.Replicas = append(inv.Replicas, &placementv1.ReplicaInventory{
				CollectionId: uint64(s.Shard.Collection), ShardId: uint64(s.Shard.ID), Incarnation: in[:],
				PlacementEpoch: uint64(s.Epoch), Loaded: true,
			})
		}
	}
	return inv
}

func (q *peer) keepAlive(ctx context.Context, p *plane, mute bool) error {
	stream, err := p.session.KeepAlive(ctx)
	if err != nil {
		return err
	}
	for n := uint64(1); ; n++ {
		req := &placementv1.KeepAliveRequest{SessionId: q.session, PeerId: uint64(q.id), Sequence: n}
		if inv := q.make(); len(inv.GetReplicas())+len(inv.GetGone()) > 0 && !mute {
			req.Inventory = inv
		}
		if err := stream.Send(req); err != nil {
			return err
		}
		resp, err := stream.Recv()
		if err != nil {
			return err
		}
		if resp.GetSequence() != n {
			return errors.New("the answer belongs to another message")
		}
		select {
		case <-ctx.Done():
			return nil
		case <-q.changed:
		case <-time.After(300 * time.Millisecond):
		}
	}
}

// reach waits until the peer's map has seen a revision.
func (q *peer) reach(t *testing.T, revision uint64) *topology.Map {
	t.Helper()
	deadline := time.After(10 * time.Second)
	for {
		if m := q.view(); m.Revision() >= revision {
			return m
		}
		select {
		case <-deadline:
			t.Fatalf("peer %d saw revision %d only, not %d", q.id, q.view().Revision(), revision)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func createRequest(name string, shards, factor uint32) *placementv1.CreateCollectionRequest {
	return &placementv1.CreateCollectionRequest{Name: name, Config: &qdrant.CollectionConfig{
		Params: &qdrant.CollectionParams{ShardNumber: shards, ReplicationFactor: &factor, VectorsConfig: &qdrant.VectorsConfig{
			Config: &qdrant.VectorsConfig_Params{Params: &qdrant.VectorParams{Size: 4, Distance: qdrant.Distance_Cosine}},
		}},
	}}
}

// create makes a collection of one shard, which must succeed.
func (p *plane) create(ctx context.Context, name string) *placementv1.CreateCollectionResponse {
	p.Helper()
	resp, err := p.catalog.CreateCollection(ctx, createRequest(name, 1, 1))
	p.ok("create "+name, err)
	return resp
}
