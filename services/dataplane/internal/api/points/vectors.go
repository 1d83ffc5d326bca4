package points

import (
	"context"

	placementv1 "github.com/pandodb/pando/gen/go/pando/placement/v1"
	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/dataplane/internal/api/validate"
)

// CreateVectorName adds a named vector to a collection; points get values of it by
// later writes. One that is there with these parameters is left alone. It is
// acknowledged when the wish is kept, from when on it is taken, and completed when
// every Active replica knows it. COLLECTION_NOT_FOUND, VALIDATION, MALFORMED,
// INVALID_ARGUMENT, NOT_BUILT, NO_LEADER, TIMEOUT.
func (s *Service) CreateVectorName(ctx context.Context, r *qdrant.CreateVectorNameRequest) (*qdrant.PointsOperationResponse, error) {
	if err := validate.NewVector(r); err != nil {
		return nil, err
	}
	change := &placementv1.ChangeVectorNameRequest{VectorName: r.GetVectorName()}
	if d := r.GetDenseConfig(); d != nil {
		change.Change = &placementv1.ChangeVectorNameRequest_Dense{Dense: d}
	} else {
		change.Change = &placementv1.ChangeVectorNameRequest_Sparse{Sparse: r.GetSparseConfig()}
	}
	return s.changeVector(ctx, r, change, r.Timeout)
}

// DeleteVectorName drops a named vector with the values that points have of it. They
// are not shown from the moment when a shard learns of it; what they take is freed as
// segments are merged. One that is not there is no error: a drop can be repeated. The
// reasons are those of CreateVectorName.
func (s *Service) DeleteVectorName(ctx context.Context, r *qdrant.DeleteVectorNameRequest) (*qdrant.PointsOperationResponse, error) {
	if err := validate.OldVector(r); err != nil {
		return nil, err
	}
	return s.changeVector(ctx, r, &placementv1.ChangeVectorNameRequest{VectorName: r.GetVectorName(),
		Change: &placementv1.ChangeVectorNameRequest_Delete_{Delete: &placementv1.ChangeVectorNameRequest_Delete{}}}, r.Timeout)
}

func (s *Service) changeVector(ctx context.Context, r writing, change *placementv1.ChangeVectorNameRequest, timeout *uint64) (*qdrant.PointsOperationResponse, error) {
	return s.changeSchema(ctx, r, timeout, func(name string) (uint64, error) {
		change.CollectionName = name
		done, err := s.d.Catalog.ChangeVectorName(ctx, change)
		return done.GetRevision(), err
	})
}
