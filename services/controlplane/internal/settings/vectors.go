package settings

import (
	"maps"

	"google.golang.org/protobuf/proto"

	placementv1 "github.com/pandodb/pando/gen/go/pando/placement/v1"
	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/controlplane/internal/store"
	"github.com/pandodb/pando/services/internal/fault"
)

// AddVector gives a collection a vector. What shards keep of earlier ones of its name is not of its generation.
// INVALID_ARGUMENT.
func AddVector(rec *store.Collection, p *qdrant.CollectionParams, name string, req *placementv1.ChangeVectorNameRequest) error {
	dense, sparse := vectorOf(p.GetVectorsConfig(), name), p.GetSparseVectorsConfig().GetMap()[name]
	if dense != nil || sparse != nil {
		if proto.Equal(denseOf(dense), req.GetDense()) && proto.Equal(sparseOf(sparse), req.GetSparse()) {
			return nil
		}
		return fault.BadInput("vector name %q is taken by a vector with other parameters", name)
	}
	if d := req.GetDense(); d != nil {
		named(p)[name] = &qdrant.VectorParams{Size: d.GetSize(), Distance: d.GetDistance(), MultivectorConfig: d.GetMultivectorConfig(), Datatype: d.Datatype}
	} else {
		if p.GetSparseVectorsConfig().GetMap() == nil {
			p.SparseVectorsConfig = &qdrant.SparseVectorConfig{Map: map[string]*qdrant.SparseVectorParams{}}
		}
		v := &qdrant.SparseVectorParams{Modifier: req.GetSparse().Modifier}
		if t := req.GetSparse().Datatype; t != nil {
			v.Index = &qdrant.SparseIndexConfig{Datatype: t}
		}
		p.GetSparseVectorsConfig().GetMap()[name] = v
	}
	if rec.VectorsDropped > 0 {
		rec.Generations = maps.Clone(rec.Generations)
		if rec.Generations == nil {
			rec.Generations = map[string]uint64{}
		}
		rec.Generations[name] = rec.VectorsDropped
	}
	return nil
}

// DropVector takes a vector out, if there is one.
func DropVector(rec *store.Collection, p *qdrant.CollectionParams, name string) {
	_, sparse := p.GetSparseVectorsConfig().GetMap()[name]
	if !sparse && vectorOf(p.GetVectorsConfig(), name) == nil {
		return
	}
	if sparse {
		delete(p.GetSparseVectorsConfig().GetMap(), name)
	} else {
		delete(named(p), name)
	}
	rec.VectorsDropped++
	rec.Generations = maps.Clone(rec.Generations)
	delete(rec.Generations, name)
}

// named are the dense vectors by name, of p itself; a single one becomes the one without a name.
func named(p *qdrant.CollectionParams) map[string]*qdrant.VectorParams {
	if m := p.GetVectorsConfig().GetParamsMap().GetMap(); m != nil {
		return m
	}
	m := map[string]*qdrant.VectorParams{}
	if single := p.GetVectorsConfig().GetParams(); single != nil {
		m[""] = single
	}
	p.VectorsConfig = &qdrant.VectorsConfig{Config: &qdrant.VectorsConfig_ParamsMap{ParamsMap: &qdrant.VectorParamsMap{Map: m}}}
	return m
}

// denseOf is how a dense vector would be added; nil: there is none.
func denseOf(v *qdrant.VectorParams) *qdrant.DenseVectorCreationConfig {
	if v == nil {
		return nil
	}
	return &qdrant.DenseVectorCreationConfig{Size: v.GetSize(), Distance: v.GetDistance(), MultivectorConfig: v.GetMultivectorConfig(), Datatype: v.Datatype}
}

// sparseOf is how a sparse vector would be added; nil: there is none.
func sparseOf(v *qdrant.SparseVectorParams) *qdrant.SparseVectorCreationConfig {
	if v == nil {
		return nil
	}
	out := &qdrant.SparseVectorCreationConfig{Modifier: v.Modifier}
	if v.GetIndex() != nil {
		out.Datatype = v.GetIndex().Datatype
	}
	return out
}
