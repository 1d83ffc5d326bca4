// Package api is the public API of a peer: the services of package qdrant and
// of pando.cluster.v1, the same over gRPC and, through the in-process
// connection, over REST. It validates, forwards and answers; it holds no data.
//
//	rest ─┐                       ┌─► collections ─► control plane's Catalog
//	gRPC ─┴─► expose ─► validate ─┼─► points ──────► coordinator
//	                              └─► cluster, snapshots
package api

import (
	"context"

	clusterv1 "github.com/pandodb/pando/gen/go/pando/cluster/v1"
	placementv1 "github.com/pandodb/pando/gen/go/pando/placement/v1"
	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/dataplane/internal/api/cluster"
	"github.com/pandodb/pando/services/dataplane/internal/api/collections"
	"github.com/pandodb/pando/services/dataplane/internal/api/expose"
	"github.com/pandodb/pando/services/dataplane/internal/api/points"
	"github.com/pandodb/pando/services/dataplane/internal/api/snapshots"
	"github.com/pandodb/pando/services/dataplane/internal/api/view"
	"github.com/pandodb/pando/services/dataplane/internal/conflicts"
	"github.com/pandodb/pando/services/internal/config"
	"github.com/pandodb/pando/services/internal/release"
	"github.com/pandodb/pando/services/internal/topology"
	"google.golang.org/grpc"
)

// Deps are the seams of an API; all but Detached, Conflicts, Unreachable, Progress, Collection, NewCollection and
// MaxCollections must be set.
type Deps struct {
	Coordinator Coordinator
	Catalog     placementv1.CatalogClient
	// Map gives the newest cluster map.
	Map func() *topology.Map
	// AwaitRevision waits until the map has reached a revision.
	AwaitRevision func(ctx context.Context, revision uint64) error
	// Refetch gets the whole map anew.
	Refetch func(ctx context.Context) error
	// Detached and Conflicts are as in cluster.Deps.
	Detached  func() []cluster.Detached
	Conflicts func() []conflicts.Conflict
	// Unreachable are the peers that could not be connected to at the last attempt.
	Unreachable func() map[topology.PeerID]cluster.Unreachable
	Self        topology.PeerID
	// Progress tells in words how far transfers are whose receivers are Partial.
	Progress func(context.Context, []topology.Copy) map[topology.Copy]string
	// Commit is that of this build, 40 characters; release.Commit().
	Commit string
	// ClusterEnabled is the setting cluster.enabled.
	ClusterEnabled bool
	// Collection holds the settings storage.collection, NewCollection what else new
	// collections have that do not say.
	Collection    config.Collection
	NewCollection *qdrant.CreateCollection
	// MaxCollections is how many there may be; 0: any number.
	MaxCollections int
}

// Coordinator carries requests over the shards; coordinator.Coordinator is one.
type Coordinator interface {
	points.Coordinator
	collections.Counter
}

// API is the set of services.
type API struct {
	root        *root
	collections *collections.Service
	points      *points.Service
	snapshots   *snapshots.Service
	cluster     *cluster.Service
	guard       *guard
}

// New makes the services; it starts nothing.
func New(d Deps) *API {
	v := view.New(view.Sources{Map: d.Map, AwaitRevision: d.AwaitRevision, Find: func(ctx context.Context, name string) (uint64, error) {
		r, err := d.Catalog.FindCollection(ctx, &placementv1.FindCollectionRequest{Name: name})
		return r.GetRevision(), err
	}})
	p := points.New(points.Deps{View: v, Coordinator: d.Coordinator, Catalog: d.Catalog, AwaitRevision: d.AwaitRevision})
	c := collections.New(collections.Deps{View: v, Catalog: d.Catalog, Counter: d.Coordinator,
		AwaitRevision: d.AwaitRevision, Self: d.Self, Progress: d.Progress, ClusterEnabled: d.ClusterEnabled, Defaults: d.Collection,
		New: d.NewCollection, MaxCollections: d.MaxCollections})
	return &API{
		root:        &root{commit: d.Commit},
		collections: c,
		points:      p,
		snapshots:   snapshots.New(),
		guard:       newGuard(v, d.Coordinator),
		cluster: cluster.New(cluster.Deps{View: v, Catalog: d.Catalog, Points: p, Shards: c, AwaitRevision: d.AwaitRevision, Refetch: d.Refetch, Unreachable: d.Unreachable, Detached: d.Detached, Conflicts: d.Conflicts,
			Self: d.Self, ClusterEnabled: d.ClusterEnabled}),
	}
}

// Register offers all services to a server.
func (a *API) Register(to grpc.ServiceRegistrar) {
	r := expose.Registrar(to, a.guard.check)
	qdrant.RegisterQdrantServer(r, a.root)
	qdrant.RegisterCollectionsServer(r, a.collections)
	qdrant.RegisterPointsServer(r, a.points)
	qdrant.RegisterSnapshotsServer(r, a.snapshots)
	clusterv1.RegisterClusterServer(r, a.cluster)
	clusterv1.RegisterLocalShardsServer(r, localShards{})
	clusterv1.RegisterArchivesServer(r, archives{})
}

// root is the service qdrant.Qdrant.
type root struct {
	qdrant.UnimplementedQdrantServer
	commit string
}

// HealthCheck says what answers here. It does not fail.
func (r *root) HealthCheck(context.Context, *qdrant.HealthCheckRequest) (*qdrant.HealthCheckReply, error) {
	out := &qdrant.HealthCheckReply{Title: release.Title, Version: release.API}
	if r.commit != "" {
		out.Commit = new(r.commit)
	}
	return out, nil
}

// localShards and archives have no method that is built yet.
type (
	localShards struct {
		clusterv1.UnimplementedLocalShardsServer
	}
	archives struct {
		clusterv1.UnimplementedArchivesServer
	}
)
