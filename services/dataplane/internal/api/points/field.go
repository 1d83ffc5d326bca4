package points

import (
	"context"

	placementv1 "github.com/pandodb/pando/gen/go/pando/placement/v1"
	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/dataplane/internal/api/validate"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

// Catalog keeps which vectors there are and which payload fields are indexed: the
// schema is a setting of the collection, which replicas put into effect at an entry of
// their log (W11).
type Catalog interface {
	ChangeVectorName(context.Context, *placementv1.ChangeVectorNameRequest, ...grpc.CallOption) (*placementv1.ChangeVectorNameResponse, error)
	ChangePayloadIndex(context.Context, *placementv1.ChangePayloadIndexRequest, ...grpc.CallOption) (*placementv1.ChangePayloadIndexResponse, error)
}

// CreateFieldIndex indexes a payload field; one that is there is replaced. It is
// acknowledged when the wish is kept, completed when every Active replica has
// built the index. COLLECTION_NOT_FOUND, VALIDATION, MALFORMED, INVALID_ARGUMENT,
// NOT_BUILT, NO_LEADER, TIMEOUT.
func (s *Service) CreateFieldIndex(ctx context.Context, r *qdrant.CreateFieldIndexCollection) (*qdrant.PointsOperationResponse, error) {
	if err := checkField(r, r.GetFieldName(), r.Timeout); err != nil {
		return nil, err
	}
	params, err := validate.FieldIndex(r)
	if err != nil {
		return nil, err
	}
	return s.changeField(ctx, r, &placementv1.ChangePayloadIndexRequest{FieldName: r.GetFieldName(), Params: params}, r.Timeout)
}

// DeleteFieldIndex drops the index on a payload field, if there is one. Its
// reasons are those of CreateFieldIndex.
func (s *Service) DeleteFieldIndex(ctx context.Context, r *qdrant.DeleteFieldIndexCollection) (*qdrant.PointsOperationResponse, error) {
	if err := checkField(r, r.GetFieldName(), r.Timeout); err != nil {
		return nil, err
	}
	if err := validate.Key(r.GetFieldName()); err != nil {
		return nil, err
	}
	return s.changeField(ctx, r, &placementv1.ChangePayloadIndexRequest{FieldName: r.GetFieldName()}, r.Timeout)
}

func checkField(r writing, field string, timeout *uint64) error {
	var c validate.Check
	c.Name("collection_name", r.GetCollectionName())
	c.Field(field)
	c.Timeout(timeout)
	c.Ordering(r.GetOrdering())
	return c.Err()
}

func (s *Service) changeField(ctx context.Context, r writing, change *placementv1.ChangePayloadIndexRequest, timeout *uint64) (*qdrant.PointsOperationResponse, error) {
	return s.changeSchema(ctx, r, timeout, func(name string) (uint64, error) {
		change.CollectionName = name
		done, err := s.d.Catalog.ChangePayloadIndex(ctx, change)
		return done.GetRevision(), err
	})
}

// changeSchema has the catalog change the schema of a collection, which is given by its
// own name, and answers: this peer's next answer is to show it; wait: every Active
// replica has it. The change stands, however long that takes.
func (s *Service) changeSchema(ctx context.Context, r writing, timeout *uint64, change func(name string) (revision uint64, err error)) (*qdrant.PointsOperationResponse, error) {
	col, err := s.d.View.Resolve(ctx, r.GetCollectionName())
	if err != nil {
		return nil, err
	}
	revision, err := change(col.Name)
	if err != nil {
		return nil, err
	}
	out := &qdrant.UpdateResult{OperationId: proto.Uint64(revision), Status: qdrant.UpdateStatus_Acknowledged}
	seen := s.d.AwaitRevision(ctx, revision)
	if !r.GetWait() {
		return &qdrant.PointsOperationResponse{Result: out}, nil
	}
	out.Status = qdrant.UpdateStatus_WaitTimeout
	var settled bool
	if seen == nil {
		settled, err = s.d.Coordinator.Settled(ctx, col.All(), revision, duration(timeout))
	}
	if settled {
		out.Status = qdrant.UpdateStatus_Completed
	}
	return &qdrant.PointsOperationResponse{Result: out}, err
}
