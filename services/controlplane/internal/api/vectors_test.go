package api

import (
	"context"
	"testing"

	placementv1 "github.com/pandodb/pando/gen/go/pando/placement/v1"
	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/internal/fault"
	"github.com/pandodb/pando/services/internal/wire"
)

func TestChangeVectorName(t *testing.T) {
	run(t, nil, func(ctx context.Context, p *plane) {
		q := p.join(ctx, 1, false)
		req := createRequest("c", 1, 1)
		req.Config.Params.VectorsConfig = &qdrant.VectorsConfig{Config: &qdrant.VectorsConfig_Params{Params: &qdrant.VectorParams{Size: 2, Distance: qdrant.Distance_Dot}}}
		_, err := p.catalog.CreateCollection(ctx, req)
		p.ok("create", err)
		last := uint64(0)
		change := func(name string, c *placementv1.ChangeVectorNameRequest) (changed bool, err error) {
			c.CollectionName, c.VectorName = "c", name
			resp, err := p.catalog.ChangeVectorName(ctx, c)
			changed, last = resp.GetRevision() > last, max(last, resp.GetRevision())
			return changed, err
		}
		dense := func(size uint64) *placementv1.ChangeVectorNameRequest {
			return &placementv1.ChangeVectorNameRequest{Change: &placementv1.ChangeVectorNameRequest_Dense{Dense: &qdrant.DenseVectorCreationConfig{
				Size: size, Distance: qdrant.Distance_Cosine, MultivectorConfig: &qdrant.MultiVectorConfig{}, Datatype: qdrant.Datatype_Float16.Enum()}}}
		}
		sparse := func() *placementv1.ChangeVectorNameRequest {
			return &placementv1.ChangeVectorNameRequest{Change: &placementv1.ChangeVectorNameRequest_Sparse{Sparse: &qdrant.SparseVectorCreationConfig{
				Modifier: qdrant.Modifier_Idf.Enum(), Datatype: qdrant.Datatype_Uint8.Enum()}}}
		}
		drop := func() *placementv1.ChangeVectorNameRequest {
			return &placementv1.ChangeVectorNameRequest{Change: &placementv1.ChangeVectorNameRequest_Delete_{Delete: &placementv1.ChangeVectorNameRequest_Delete{}}}
		}
		for _, step := range []struct {
			name    string
			change  *placementv1.ChangeVectorNameRequest
			changes bool
			refused bool
		}{
			{"a", dense(3), true, false},
			{"a", dense(3), false, false}, // again
			{"a", dense(4), false, true},
			{"a", sparse(), false, true},
			{"", dense(3), false, true},
			{"s", sparse(), true, false},
			{"s", sparse(), false, false},
			{"s", &placementv1.ChangeVectorNameRequest{}, false, true},
			{"x", drop(), false, false},
			{"a", drop(), true, false},
			{"a", drop(), false, false},
			{"s", drop(), true, false},
			{"a", dense(4), true, false},
			{"b", sparse(), true, false},
		} {
			changed, err := change(step.name, step.change)
			if (fault.ReasonOf(err) == fault.InvalidArgument) != step.refused || !step.refused && err != nil || changed != step.changes {
				t.Errorf("%q, %v: changed %v, %v", step.name, step.change.GetChange(), changed, err)
			}
		}
		c, _ := q.reach(t, last).Resolve("c")
		s, err := wire.Settings(c)
		p.ok("settings", err)
		params := s.GetConfig().GetParams()
		vectors, sparses := params.GetVectorsConfig().GetParamsMap().GetMap(), params.GetSparseVectorsConfig().GetMap()
		if len(vectors) != 2 || vectors[""].GetSize() != 2 || vectors["a"].GetSize() != 4 || vectors["a"].GetDatatype() != qdrant.Datatype_Float16 ||
			vectors["a"].GetMultivectorConfig() == nil || len(sparses) != 1 || sparses["b"].GetModifier() != qdrant.Modifier_Idf ||
			sparses["b"].GetIndex().GetDatatype() != qdrant.Datatype_Uint8 {
			t.Errorf("got %v", params)
		}
		if g := s.GetVectorGenerations(); len(g) != 2 || g["a"] != 2 || g["b"] != 2 {
			t.Errorf("generations %v", g)
		}
	})
}
