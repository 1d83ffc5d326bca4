package api

import (
	"context"

	placementv1 "github.com/pandodb/pando/gen/go/pando/placement/v1"
	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/controlplane/internal/settings"
	"github.com/pandodb/pando/services/controlplane/internal/store"
	"github.com/pandodb/pando/services/internal/fault"
)

// ChangeVectorName adds a named vector to the catalog entry, or removes one.
func (s catalog) ChangeVectorName(ctx context.Context, req *placementv1.ChangeVectorNameRequest) (*placementv1.ChangeVectorNameResponse, error) {
	return grow(ctx, s.Server, "ChangeVectorName", req, maxCall,
		func(ctx context.Context, req *placementv1.ChangeVectorNameRequest) (*placementv1.ChangeVectorNameResponse, error) {
			revision, err := s.modify(ctx, req.GetCollectionName(), func(rec *store.Collection, cfg *qdrant.CollectionConfig) error {
				if cfg.Params == nil {
					cfg.Params = &qdrant.CollectionParams{}
				}
				name, p := req.GetVectorName(), cfg.GetParams()
				if req.GetDelete() != nil {
					settings.DropVector(rec, p, name)
					return nil
				}
				if req.GetChange() == nil {
					return fault.BadInput("the change of the vector is empty")
				}
				return settings.AddVector(rec, p, name, req)
			})
			return &placementv1.ChangeVectorNameResponse{Revision: uint64(revision)}, err
		})
}
