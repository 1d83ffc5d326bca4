// Package collections is the service qdrant.Collections: it checks requests,
// forwards changes to the control plane's Catalog and answers reads from the
// cluster map that this peer holds.
//
// It decides nothing about placement. A change is answered once this peer has
// seen it, so that the caller's next request here finds it.
package collections

import (
	"context"
	"time"

	placementv1 "github.com/pandodb/pando/gen/go/pando/placement/v1"
	shardv1 "github.com/pandodb/pando/gen/go/pando/shard/v1"
	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/dataplane/internal/api/validate"
	"github.com/pandodb/pando/services/dataplane/internal/api/view"
	"github.com/pandodb/pando/services/dataplane/internal/coordinator"
	"github.com/pandodb/pando/services/internal/config"
	"github.com/pandodb/pando/services/internal/fault"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/wire"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"
)

// defaultTimeout is how long a change of the catalog may take when the request
// does not say.
const defaultTimeout = 10 * time.Second

// grace is added to the deadline of a call to the control plane, so that its
// own word on a timeout arrives.
const grace = 2 * time.Second

// Catalog is what this service needs of the control plane.
type Catalog interface {
	CreateCollection(context.Context, *placementv1.CreateCollectionRequest, ...grpc.CallOption) (*placementv1.CreateCollectionResponse, error)
	UpdateCollection(context.Context, *placementv1.UpdateCollectionRequest, ...grpc.CallOption) (*placementv1.UpdateCollectionResponse, error)
	DeleteCollection(context.Context, *placementv1.DeleteCollectionRequest, ...grpc.CallOption) (*placementv1.DeleteCollectionResponse, error)
	ChangeAliases(context.Context, *placementv1.ChangeAliasesRequest, ...grpc.CallOption) (*placementv1.ChangeAliasesResponse, error)
	ChangeReplicas(context.Context, *placementv1.ChangeReplicasRequest, ...grpc.CallOption) (*placementv1.ChangeReplicasResponse, error)
	ChangeShardKey(context.Context, *placementv1.ChangeShardKeyRequest, ...grpc.CallOption) (*placementv1.ChangeShardKeyResponse, error)
}

// Counter counts points, and those that indexes on payload fields hold, and tells
// how segments are, and what replicas say of one place in the log.
type Counter interface {
	Count(ctx context.Context, r coordinator.Read, filter *qdrant.Filter, exact bool) (uint64, error)
	Fields(ctx context.Context, r coordinator.Read) (map[string]uint64, error)
	Info(ctx context.Context, r coordinator.Read) (coordinator.Info, error)
	Verify(ctx context.Context, r coordinator.Read) (*shardv1.Comparison, error)
}

// Deps are the seams of a Service; all but Defaults, New and MaxCollections must be set.
type Deps struct {
	View    *view.Cluster
	Catalog Catalog
	Counter Counter
	// AwaitRevision waits until the map has reached a revision.
	AwaitRevision func(ctx context.Context, revision uint64) error
	Self          topology.PeerID
	// Progress tells in words how far transfers are whose receivers are Partial; nil,
	// or where it does not know: nobody can say.
	Progress func(context.Context, []topology.Copy) map[topology.Copy]string
	// ClusterEnabled is false where cluster operations answer NOT_CLUSTERED.
	ClusterEnabled bool
	// Defaults for collections that do not say; the zero value sets none.
	Defaults config.Collection
	// New is what else they have; nil: nothing.
	New *qdrant.CreateCollection
	// MaxCollections is how many there may be; 0: any number.
	MaxCollections int
}

// Service implements qdrant.CollectionsServer.
type Service struct {
	qdrant.UnimplementedCollectionsServer
	d Deps
}

// New makes the service.
func New(d Deps) *Service { return &Service{d: d} }

// change is one call to the control plane: within the request's timeout, and
// followed by waiting until this peer has seen the revision that it gives. The
// change has happened by then, so a timeout of the waiting is no error.
func (s *Service) change(ctx context.Context, seconds *uint64, call func(context.Context, time.Duration) (uint64, error)) error {
	timeout := defaultTimeout
	if seconds != nil {
		timeout = time.Duration(min(*seconds, 1<<31)) * time.Second
	}
	ctx, cancel := context.WithTimeout(ctx, timeout+grace)
	defer cancel()
	revision, err := call(ctx, timeout)
	if err != nil {
		return err
	}
	_ = s.d.AwaitRevision(ctx, revision) // see above
	return nil
}

// Create makes a collection with the defaults filled in. COLLECTION_EXISTS,
// ALIAS_CLASH, VALIDATION, INVALID_ARGUMENT, NOT_BUILT, NO_LEADER, TIMEOUT.
func (s *Service) Create(ctx context.Context, r *qdrant.CreateCollection) (*qdrant.CollectionOperationResponse, error) {
	if err := validate.Create(r); err != nil {
		return nil, err
	}
	if err := s.room(r.GetCollectionName()); err != nil {
		return nil, err
	}
	err := s.change(ctx, r.Timeout, func(ctx context.Context, timeout time.Duration) (uint64, error) {
		resp, err := s.d.Catalog.CreateCollection(ctx, &placementv1.CreateCollectionRequest{
			Name: r.GetCollectionName(), Config: s.withDefaults(r), Timeout: durationpb.New(timeout)})
		return resp.GetRevision(), err
	})
	if err != nil {
		return nil, err
	}
	return &qdrant.CollectionOperationResponse{Result: true}, nil
}

// room tells whether one more collection may be made. Calls at the same moment may
// make one too many each.
func (s *Service) room(name string) error {
	m, most := s.d.View.Map(), s.d.MaxCollections
	if most == 0 {
		return nil
	}
	if _, exists := m.Resolve(name); exists || len(m.Collections()) < most {
		return nil
	}
	return fault.BadInput("Collection `%s` cannot be made: there are %d, and storage.max_collections allows no more than %d", name, len(m.Collections()), most)
}

// Update changes settings; what is not named stays. COLLECTION_NOT_FOUND,
// VALIDATION, INVALID_ARGUMENT, VECTOR_NAME_UNKNOWN, NOT_BUILT, NO_LEADER, TIMEOUT.
func (s *Service) Update(ctx context.Context, r *qdrant.UpdateCollection) (*qdrant.CollectionOperationResponse, error) {
	if err := validate.Update(r); err != nil {
		return nil, err
	}
	if c, err := s.d.View.Resolve(ctx, r.GetCollectionName()); err == nil && c.Schema.Changes(r) != nil {
		// Another peer may have added the vector a moment ago.
		if c, err = s.d.View.Newest(ctx, r.GetCollectionName()); err != nil {
			return nil, err
		}
		if err := c.Schema.Changes(r); err != nil {
			return nil, err
		}
	}
	err := s.change(ctx, r.Timeout, func(ctx context.Context, _ time.Duration) (uint64, error) {
		resp, err := s.d.Catalog.UpdateCollection(ctx, &placementv1.UpdateCollectionRequest{
			Name: r.GetCollectionName(), Params: r.GetParams(), HnswConfig: r.GetHnswConfig(), OptimizersConfig: r.GetOptimizersConfig(),
			VectorsConfig: r.GetVectorsConfig(), SparseVectorsConfig: r.GetSparseVectorsConfig(), QuantizationConfig: r.GetQuantizationConfig(),
			StrictModeConfig: r.GetStrictModeConfig(), Metadata: r.GetMetadata()})
		return resp.GetRevision(), err
	})
	if err != nil {
		return nil, err
	}
	return &qdrant.CollectionOperationResponse{Result: true}, nil
}

// Delete removes a collection; result is false when there was none. It is answered
// once no live peer can acknowledge a write to it. VALIDATION, NO_LEADER, TIMEOUT,
// which may also say that peers have not dropped it yet.
func (s *Service) Delete(ctx context.Context, r *qdrant.DeleteCollection) (*qdrant.CollectionOperationResponse, error) {
	if err := validate.Collection(r.GetCollectionName(), r.Timeout); err != nil {
		return nil, err
	}
	existed := false
	err := s.change(ctx, r.Timeout, func(ctx context.Context, timeout time.Duration) (uint64, error) {
		resp, err := s.d.Catalog.DeleteCollection(ctx, &placementv1.DeleteCollectionRequest{Name: r.GetCollectionName(), Timeout: durationpb.New(timeout)})
		existed = resp.GetExisted()
		return resp.GetRevision(), err
	})
	if fault.ReasonOf(err) == fault.CollectionNotFound {
		return &qdrant.CollectionOperationResponse{}, nil
	}
	if err != nil {
		return nil, err
	}
	return &qdrant.CollectionOperationResponse{Result: existed}, nil
}

// UpdateAliases applies changes of aliases in order, all or none.
// COLLECTION_NOT_FOUND, NOT_FOUND, ALIAS_CLASH, COLLECTION_EXISTS, VALIDATION, NO_LEADER, TIMEOUT.
func (s *Service) UpdateAliases(ctx context.Context, r *qdrant.ChangeAliases) (*qdrant.CollectionOperationResponse, error) {
	if err := validate.Aliases(r); err != nil {
		return nil, err
	}
	if len(r.GetActions()) == 0 {
		return &qdrant.CollectionOperationResponse{Result: true}, nil
	}
	req := &placementv1.ChangeAliasesRequest{}
	for _, a := range r.GetActions() {
		c := &placementv1.AliasChange{}
		switch o := a.GetAction().(type) {
		case *qdrant.AliasOperations_CreateAlias:
			c.Change = &placementv1.AliasChange_Create_{Create: &placementv1.AliasChange_Create{
				AliasName: o.CreateAlias.GetAliasName(), CollectionName: o.CreateAlias.GetCollectionName()}}
		case *qdrant.AliasOperations_RenameAlias:
			c.Change = &placementv1.AliasChange_Rename_{Rename: &placementv1.AliasChange_Rename{
				OldAliasName: o.RenameAlias.GetOldAliasName(), NewAliasName: o.RenameAlias.GetNewAliasName()}}
		case *qdrant.AliasOperations_DeleteAlias:
			c.Change = &placementv1.AliasChange_Delete_{Delete: &placementv1.AliasChange_Delete{AliasName: o.DeleteAlias.GetAliasName()}}
		}
		req.Changes = append(req.Changes, c)
	}
	err := s.change(ctx, r.Timeout, func(ctx context.Context, _ time.Duration) (uint64, error) {
		resp, err := s.d.Catalog.ChangeAliases(ctx, req)
		return resp.GetRevision(), err
	})
	if err != nil {
		return nil, err
	}
	return &qdrant.CollectionOperationResponse{Result: true}, nil
}

// CreateShardKey adds a shard key with its shards; one that is Partial takes no requests
// until replicate_points has copied points to it. NOT_CLUSTERED,
// COLLECTION_NOT_FOUND, VALIDATION, INVALID_ARGUMENT, NO_LEADER, TIMEOUT.
func (s *Service) CreateShardKey(ctx context.Context, r *qdrant.CreateShardKeyRequest) (*qdrant.CreateShardKeyResponse, error) {
	if err := s.setup(qdrant.Collections_CreateShardKey_FullMethodName, r, r.Timeout); err != nil {
		return nil, err
	}
	err := s.createShardKey(ctx, r.GetCollectionName(), r.GetRequest(), r.Timeout)
	if err != nil {
		return nil, err
	}
	return &qdrant.CreateShardKeyResponse{Result: true}, nil
}

func (s *Service) createShardKey(ctx context.Context, name string, r *qdrant.CreateShardKey, timeout *uint64) error {
	if r == nil {
		return fault.New(fault.Malformed, "Malformed request: the shard key is missing")
	}
	return s.changeShardKey(ctx, timeout, &placementv1.ChangeShardKeyRequest{
		CollectionName: name, ShardKey: r.GetShardKey(), Change: &placementv1.ChangeShardKeyRequest_Create_{Create: &placementv1.ChangeShardKeyRequest_Create{
			ShardsNumber: r.ShardsNumber, ReplicationFactor: r.ReplicationFactor, Placement: r.GetPlacement(), InitialState: r.InitialState}},
	})
}

// DeleteShardKey removes a shard key and its points. It is answered once no live
// peer can acknowledge a write to it. NOT_CLUSTERED, COLLECTION_NOT_FOUND,
// VALIDATION, INVALID_ARGUMENT, NO_LEADER, TIMEOUT.
func (s *Service) DeleteShardKey(ctx context.Context, r *qdrant.DeleteShardKeyRequest) (*qdrant.DeleteShardKeyResponse, error) {
	if err := s.setup(qdrant.Collections_DeleteShardKey_FullMethodName, r, r.Timeout); err != nil {
		return nil, err
	}
	if err := s.deleteShardKey(ctx, r.GetCollectionName(), r.GetRequest(), r.Timeout); err != nil {
		return nil, err
	}
	return &qdrant.DeleteShardKeyResponse{Result: true}, nil
}

func (s *Service) deleteShardKey(ctx context.Context, name string, r *qdrant.DeleteShardKey, timeout *uint64) error {
	return s.changeShardKey(ctx, timeout, &placementv1.ChangeShardKeyRequest{
		CollectionName: name, ShardKey: r.GetShardKey(), Change: &placementv1.ChangeShardKeyRequest_Delete_{Delete: &placementv1.ChangeShardKeyRequest_Delete{}},
	})
}

func (s *Service) changeShardKey(ctx context.Context, timeout *uint64, r *placementv1.ChangeShardKeyRequest) error {
	if _, err := wire.ShardKey(r.GetShardKey()); err != nil {
		return fault.Wrap(fault.Malformed, err, "Malformed shard_key: %v", err)
	}
	return s.change(ctx, timeout, func(ctx context.Context, timeout time.Duration) (uint64, error) {
		r.Timeout = durationpb.New(timeout)
		resp, err := s.d.Catalog.ChangeShardKey(ctx, r)
		return resp.GetRevision(), err
	})
}

// setup checks what all orders to a cluster have in common.
func (s *Service) setup(method string, r interface{ GetCollectionName() string }, timeout *uint64) error {
	if err := s.clustered(method); err != nil {
		return err
	}
	return validate.Collection(r.GetCollectionName(), timeout)
}

func (s *Service) clustered(method string) error {
	if s.d.ClusterEnabled {
		return nil
	}
	return fault.Standalone(method[1:])
}
