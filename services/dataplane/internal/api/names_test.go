package api

import (
	"strings"
	"testing"

	placementv1 "github.com/pandodb/pando/gen/go/pando/placement/v1"
	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/internal/fault"
)

func TestVectorNames(t *testing.T) {
	c := start(t, true).with(t, "c", twoNamed())
	make := func(change func(*qdrant.CreateVectorNameRequest)) (*qdrant.UpdateResult, error) {
		r := &qdrant.CreateVectorNameRequest{CollectionName: "c", VectorName: "v", VectorConfig: &qdrant.CreateVectorNameRequest_DenseConfig{
			DenseConfig: &qdrant.DenseVectorCreationConfig{Size: 3, Distance: qdrant.Distance_Dot}}}
		change(r)
		out, err := c.CreateVectorName(t.Context(), r)
		return out.GetResult(), err
	}
	r, err := make(func(*qdrant.CreateVectorNameRequest) {})
	if err != nil || r.GetStatus() != qdrant.UpdateStatus_Acknowledged || len(c.shards.settled) != 0 {
		t.Errorf("without waiting: %v, %v", r, err)
	}
	if got := c.world.last.(*placementv1.ChangeVectorNameRequest); got.GetCollectionName() != "c" || got.GetVectorName() != "v" || got.GetDense().GetSize() != 3 {
		t.Errorf("asked for %v", got)
	}
	r, err = make(func(r *qdrant.CreateVectorNameRequest) {
		r.VectorName, r.Wait = "s", new(true)
		r.VectorConfig = &qdrant.CreateVectorNameRequest_SparseConfig{SparseConfig: &qdrant.SparseVectorCreationConfig{Modifier: qdrant.Modifier_Idf.Enum()}}
	})
	if err != nil || r.GetStatus() != qdrant.UpdateStatus_Completed || len(c.shards.settled) != 1 || c.shards.settled[0] != r.GetOperationId() {
		t.Errorf("waited for %v: %v, %v", c.shards.settled, r, err)
	}
	if got := c.world.last.(*placementv1.ChangeVectorNameRequest); got.GetSparse().GetModifier() != qdrant.Modifier_Idf {
		t.Errorf("asked for %v", got)
	}
	for want, change := range map[string]func(*qdrant.CreateVectorNameRequest){
		`[vector_name: value "" invalid, must be from 1 to 200 characters; timeout: value 0 invalid, must be 1 or larger]`: func(r *qdrant.CreateVectorNameRequest) {
			r.VectorName, r.Timeout = "", new(uint64(0))
		},
		`[vector_name: vector name cannot contain "\x00" char]`: func(r *qdrant.CreateVectorNameRequest) { r.VectorName = "v\x001" },
		`[vector_name: value "` + strings.Repeat("n", 64) + `"... (201 bytes) invalid, must be from 0 to 200 characters]`: func(r *qdrant.CreateVectorNameRequest) {
			r.VectorName = strings.Repeat("n", 201)
		},
		"[dense.size: value 65537 invalid, must be from 1 to 65536]": func(r *qdrant.CreateVectorNameRequest) { r.GetDenseConfig().Size = 65537 },
		"[sparse.datatype: value Turbo4 invalid, must be float32, float16 or uint8]": func(r *qdrant.CreateVectorNameRequest) {
			r.VectorConfig = &qdrant.CreateVectorNameRequest_SparseConfig{SparseConfig: &qdrant.SparseVectorCreationConfig{Datatype: qdrant.Datatype_Turbo4.Enum()}}
		},
	} {
		_, err := make(change)
		wants(t, err, fault.Validation, "Validation error in body: "+want)
	}
	_, err = make(func(r *qdrant.CreateVectorNameRequest) { r.GetDenseConfig().Distance = 0 })
	wants(t, err, fault.Malformed, "Malformed distance parameter: dense.distance must be Cosine, Euclid, Dot or Manhattan")
	_, err = make(func(r *qdrant.CreateVectorNameRequest) { r.VectorConfig = nil })
	wants(t, err, fault.Malformed, "Malformed request: give the parameters of a dense or of a sparse vector")
	_, err = make(func(r *qdrant.CreateVectorNameRequest) { r.CollectionName = "d" })
	wants(t, err, fault.CollectionNotFound, "Not found: Collection `d` doesn't exist!")

	drop := &qdrant.DeleteVectorNameRequest{CollectionName: "c", VectorName: "v", Wait: new(true), Timeout: new(uint64(1))}
	out, err := c.DeleteVectorName(t.Context(), drop)
	if err != nil || out.GetResult().GetStatus() != qdrant.UpdateStatus_WaitTimeout || c.world.last.(*placementv1.ChangeVectorNameRequest).GetDelete() == nil {
		t.Errorf("%v, %v", out, err)
	}
	if _, err = c.DeleteVectorName(t.Context(), drop); err != nil {
		t.Errorf("dropped again: %v", err)
	}
}

// A vector that was added through another peer is known to a write that names it, though
// this peer's map is older.
func TestVectorMadeElsewhere(t *testing.T) {
	c := start(t, true).with(t, "c", twoNamed())
	if _, err := c.world.ChangeVectorName(t.Context(), &placementv1.ChangeVectorNameRequest{CollectionName: "c", VectorName: "v",
		Change: &placementv1.ChangeVectorNameRequest_Dense{Dense: &qdrant.DenseVectorCreationConfig{Size: 1, Distance: qdrant.Distance_Dot}}}); err != nil {
		t.Fatal(err)
	}
	up := func(name string) error {
		_, err := c.Upsert(t.Context(), &qdrant.UpsertPoints{CollectionName: "c", Points: []*qdrant.PointStruct{{Id: num(1), Vectors: &qdrant.Vectors{
			VectorsOptions: &qdrant.Vectors_Vectors{Vectors: &qdrant.NamedVectors{Vectors: map[string]*qdrant.Vector{name: {Data: []float32{1}}}}}}}}})
		return err
	}
	if err := up("v"); err != nil {
		t.Error(err)
	}
	wants(t, up("w"), fault.VectorNameUnknown, "Wrong input: Not existing vector name error: w")
	if len(c.shards.writes) != 1 {
		t.Errorf("%d writes were sent", len(c.shards.writes))
	}
	if _, err := c.world.ChangeVectorName(t.Context(), &placementv1.ChangeVectorNameRequest{CollectionName: "c", VectorName: "x",
		Change: &placementv1.ChangeVectorNameRequest_Dense{Dense: &qdrant.DenseVectorCreationConfig{Size: 1, Distance: qdrant.Distance_Dot}}}); err != nil {
		t.Fatal(err)
	}
	update := &qdrant.UpdateCollection{CollectionName: "c", VectorsConfig: &qdrant.VectorsConfigDiff{Config: &qdrant.VectorsConfigDiff_ParamsMap{
		ParamsMap: &qdrant.VectorParamsDiffMap{Map: map[string]*qdrant.VectorParamsDiff{"x": {OnDisk: new(true)}}}}}}
	if _, err := c.Update(t.Context(), update); err != nil {
		t.Error(err)
	}
	update.GetVectorsConfig().GetParamsMap().Map["y"] = &qdrant.VectorParamsDiff{}
	_, err := c.Update(t.Context(), update)
	wants(t, err, fault.VectorNameUnknown, "Wrong input: Not existing vector name error: y")
}
