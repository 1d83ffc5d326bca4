package validate

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/dataplane/internal/payload"
	"github.com/pandodb/pando/services/internal/fault"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/wire"
)

// wants compares an error with its reason and text; an empty text wants none.
func wants(t *testing.T, err error, r fault.Reason, text string) {
	t.Helper()
	if text == "" {
		if err != nil {
			t.Errorf("refused: %v", err)
		}
		return
	}
	if err == nil || fault.ReasonOf(err) != r || err.Error() != text {
		t.Errorf("got %v (%v), want %s (%v)", err, fault.ReasonOf(err), text, r)
	}
}

func body(list string) string { return "Validation error in body: [" + list + "]" }

func single(size uint64) *qdrant.VectorsConfig {
	return &qdrant.VectorsConfig{Config: &qdrant.VectorsConfig_Params{Params: &qdrant.VectorParams{Size: size, Distance: qdrant.Distance_Cosine}}}
}

func named(m map[string]*qdrant.VectorParams) *qdrant.VectorsConfig {
	return &qdrant.VectorsConfig{Config: &qdrant.VectorsConfig_ParamsMap{ParamsMap: &qdrant.VectorParamsMap{Map: m}}}
}

func TestCreate(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*qdrant.CreateCollection)
		reason fault.Reason
		text   string
	}{
		{"as usual", func(*qdrant.CreateCollection) {}, 0, ""},
		{"largest vector", func(r *qdrant.CreateCollection) { r.VectorsConfig = single(65536) }, 0, ""},
		{"no vectors at all", func(r *qdrant.CreateCollection) { r.VectorsConfig = nil }, 0, ""},
		{"size 0", func(r *qdrant.CreateCollection) { r.VectorsConfig = single(0) }, fault.Validation,
			body("vectors.size: value 0 invalid, must be from 1 to 65536")},
		{"size 65537", func(r *qdrant.CreateCollection) { r.VectorsConfig = single(65537) }, fault.Validation,
			body("vectors.size: value 65537 invalid, must be from 1 to 65536")},
		{"size of a named vector", func(r *qdrant.CreateCollection) {
			r.VectorsConfig = named(map[string]*qdrant.VectorParams{"a": {Size: 4, Distance: qdrant.Distance_Dot}, "b": {Distance: qdrant.Distance_Dot}})
		}, fault.Validation, body("vectors.b.size: value 0 invalid, must be from 1 to 65536")},
		{"no name", func(r *qdrant.CreateCollection) { r.CollectionName = "" }, fault.Validation,
			body(`collection_name: value "" invalid, must be from 1 to 255 characters`)},
		{"name of 255", func(r *qdrant.CreateCollection) { r.CollectionName = strings.Repeat("a", 255) }, 0, ""},
		{"name of 256", func(r *qdrant.CreateCollection) { r.CollectionName = strings.Repeat("a", 256) }, fault.Validation,
			body(`collection_name: value "` + strings.Repeat("a", 64) + `"... (256 bytes) invalid, must be from 1 to 255 characters`)},
		{"name with a slash", func(r *qdrant.CreateCollection) { r.CollectionName = "a/b" }, fault.Validation,
			body(`collection_name: collection name cannot contain "/" char`)},
		{"name with a zero", func(r *qdrant.CreateCollection) { r.CollectionName = "a\x00b" }, fault.Validation,
			body(`collection_name: collection name cannot contain "\x00" char`)},
		{"name is a folder", func(r *qdrant.CreateCollection) { r.CollectionName = ".." }, fault.Validation,
			body(`collection_name: collection name cannot be ".."`)},
		{"vector name of 201", func(r *qdrant.CreateCollection) {
			r.VectorsConfig = named(map[string]*qdrant.VectorParams{strings.Repeat("v", 201): {Size: 1, Distance: qdrant.Distance_Dot}})
		}, fault.Validation, body(`vectors: value "` + strings.Repeat("v", 64) + `"... (201 bytes) invalid, must be from 0 to 200 characters`)},
		{"replication factor 0", func(r *qdrant.CreateCollection) { r.ReplicationFactor = new(uint32(0)) }, fault.Validation,
			body("replication_factor: value 0 invalid, must be 1 or larger")},
		{"several at once", func(r *qdrant.CreateCollection) {
			r.ShardNumber, r.WriteConsistencyFactor, r.Timeout = new(uint32(0)), new(uint32(0)), new(uint64(0))
		}, fault.Validation, body("timeout: value 0 invalid, must be 1 or larger; shard_number: value 0 invalid, must be 1 or larger; " +
			"write_consistency_factor: value 0 invalid, must be 1 or larger")},
		{"ef_construct", func(r *qdrant.CreateCollection) { r.HnswConfig = &qdrant.HnswConfigDiff{EfConstruct: new(uint64(3))} }, fault.Validation,
			body("hnsw_config.ef_construct: value 3 invalid, must be 4 or larger")},
		{"wal", func(r *qdrant.CreateCollection) { r.WalConfig = &qdrant.WalConfigDiff{WalCapacityMb: new(uint64(0))} }, fault.Validation,
			body("wal_config.wal_capacity_mb: value 0 invalid, must be 1 or larger")},
		{"optimizers", func(r *qdrant.CreateCollection) {
			r.OptimizersConfig = &qdrant.OptimizersConfigDiff{DeletedThreshold: new(1.5), VacuumMinVectorNumber: new(uint64(99))}
		}, fault.Validation, body("optimizers_config.deleted_threshold: value 1.5 invalid, must be from 0.0 to 1.0; " +
			"optimizers_config.vacuum_min_vector_number: value 99 invalid, must be 100 or larger")},
		{"quantile", func(r *qdrant.CreateCollection) {
			r.QuantizationConfig = &qdrant.QuantizationConfig{Quantization: &qdrant.QuantizationConfig_Scalar{Scalar: &qdrant.ScalarQuantization{Quantile: new(float32(0.1))}}}
		}, fault.Validation, body("quantization_config.scalar.quantile: value 0.1 invalid, must be from 0.5 to 1.0")},
		{"quantization", func(r *qdrant.CreateCollection) {
			r.QuantizationConfig = &qdrant.QuantizationConfig{Quantization: &qdrant.QuantizationConfig_Binary{Binary: &qdrant.BinaryQuantization{}}}
		}, 0, ""},
		{"no distance", func(r *qdrant.CreateCollection) {
			r.VectorsConfig = named(map[string]*qdrant.VectorParams{"a": {Size: 4}})
		}, fault.Malformed, "Malformed distance parameter: vectors.a.distance must be Cosine, Euclid, Dot or Manhattan"},
		{"custom sharding", func(r *qdrant.CreateCollection) { r.ShardingMethod = qdrant.ShardingMethod_Custom.Enum() }, fault.NotBuilt,
			"sharding_method `custom` is not built yet"},
		{"sparse", func(r *qdrant.CreateCollection) {
			r.SparseVectorsConfig = &qdrant.SparseVectorConfig{Map: map[string]*qdrant.SparseVectorParams{"s": {}}}
		}, fault.NotBuilt, "sparse_vectors is not built yet"},
		{"multivector", func(r *qdrant.CreateCollection) {
			r.VectorsConfig.GetParams().MultivectorConfig = &qdrant.MultiVectorConfig{}
		}, fault.NotBuilt,
			"vectors.multivector_config is not built yet"},
		{"float32", func(r *qdrant.CreateCollection) {
			r.VectorsConfig.GetParams().Datatype = qdrant.Datatype_Float32.Enum()
		}, 0, ""},
		{"float16", func(r *qdrant.CreateCollection) {
			r.VectorsConfig.GetParams().Datatype = qdrant.Datatype_Float16.Enum()
		}, fault.NotBuilt,
			"vectors.datatype other than float32 is not built yet"},
		{"pinned vectors", func(r *qdrant.CreateCollection) { r.VectorsConfig.GetParams().Memory = qdrant.Memory_Pinned.Enum() }, fault.InvalidArgument,
			"Wrong input: vectors.memory cannot be pinned, it must be cold or cached"},
		{"strict mode off", func(r *qdrant.CreateCollection) { r.StrictModeConfig = &qdrant.StrictModeConfig{Enabled: new(false)} }, 0, ""},
		{"strict mode", func(r *qdrant.CreateCollection) { r.StrictModeConfig = &qdrant.StrictModeConfig{Enabled: new(true)} }, fault.NotBuilt,
			"strict_mode_config is not built yet"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := &qdrant.CreateCollection{CollectionName: "c", VectorsConfig: single(4)}
			c.change(r)
			wants(t, Create(r), c.reason, c.text)
		})
	}
}

func TestUpdate(t *testing.T) {
	for _, c := range []struct {
		name   string
		r      *qdrant.UpdateCollection
		reason fault.Reason
		text   string
	}{
		{"nothing", &qdrant.UpdateCollection{CollectionName: "c"}, 0, ""},
		{"timeout", &qdrant.UpdateCollection{CollectionName: "c", Timeout: new(uint64(0))}, fault.Validation, body("timeout: value 0 invalid, must be 1 or larger")},
		{"factors", &qdrant.UpdateCollection{CollectionName: "c", Params: &qdrant.CollectionParamsDiff{ReplicationFactor: new(uint32(0))}}, fault.Validation,
			body("params.replication_factor: value 0 invalid, must be 1 or larger")},
		{"named graph", &qdrant.UpdateCollection{CollectionName: "c", VectorsConfig: &qdrant.VectorsConfigDiff{Config: &qdrant.VectorsConfigDiff_ParamsMap{
			ParamsMap: &qdrant.VectorParamsDiffMap{Map: map[string]*qdrant.VectorParamsDiff{"v": {HnswConfig: &qdrant.HnswConfigDiff{EfConstruct: new(uint64(1))}}}}}}},
			fault.Validation, body("vectors.v.hnsw_config.ef_construct: value 1 invalid, must be 4 or larger")},
		{"sparse", &qdrant.UpdateCollection{CollectionName: "c", SparseVectorsConfig: &qdrant.SparseVectorConfig{
			Map: map[string]*qdrant.SparseVectorParams{"s": {}}}}, fault.NotBuilt, "sparse_vectors is not built yet"},
	} {
		t.Run(c.name, func(t *testing.T) { wants(t, Update(c.r), c.reason, c.text) })
	}
}

func TestManyViolationsAreCut(t *testing.T) {
	var c Check
	for i := range maxErrors + 2 {
		c.Add(fmt.Sprintf("f%d", i), "bad")
	}
	if msg := c.Err().Error(); !strings.HasSuffix(msg, "f9: bad; and 2 more]") {
		t.Errorf("a long list is not cut: %s", msg)
	}
}

func num(n uint64) *qdrant.PointId { return wire.ProtoID(topology.NumberID(n)) }

func flat(data ...float32) *qdrant.Vectors {
	return &qdrant.Vectors{VectorsOptions: &qdrant.Vectors_Vector{Vector: &qdrant.Vector{Data: data}}}
}

func oneof(data ...float32) *qdrant.Vectors {
	return &qdrant.Vectors{VectorsOptions: &qdrant.Vectors_Vector{Vector: denseVector(data...)}}
}

func denseVector(data ...float32) *qdrant.Vector {
	return &qdrant.Vector{Vector: &qdrant.Vector_Dense{Dense: &qdrant.DenseVector{Data: data}}}
}

func byName(m map[string]*qdrant.Vector) *qdrant.Vectors {
	return &qdrant.Vectors{VectorsOptions: &qdrant.Vectors_Vectors{Vectors: &qdrant.NamedVectors{Vectors: m}}}
}

func TestUpsertVectors(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(-1))
	one := Schema{"": {4, qdrant.Distance_Dot}}
	two := Schema{"a": {2, qdrant.Distance_Dot}, "b": {3, qdrant.Distance_Cosine}}
	for _, c := range []struct {
		name   string
		schema Schema
		v      *qdrant.Vectors
		reason fault.Reason
		text   string
	}{
		{"flat form", one, flat(1, 2, 3, 4), 0, ""},
		{"oneof", one, oneof(1, 2, 3, 4), 0, ""},
		{"default vector by its name", one, byName(map[string]*qdrant.Vector{"": denseVector(1, 2, 3, 4)}), 0, ""},
		{"none", one, nil, 0, ""},
		{"one of two", two, byName(map[string]*qdrant.Vector{"b": denseVector(1, 2, 3)}), 0, ""},
		{"too short", one, flat(1, 2, 3), fault.DimensionMismatch, "Wrong input: Vector dimension error: expected dim: 4, got 3"},
		{"too long", one, oneof(1, 2, 3, 4, 5), fault.DimensionMismatch, "Wrong input: Vector dimension error: expected dim: 4, got 5"},
		{"empty", one, flat(), fault.Validation, body("points[0].vector: value invalid, vector must not be empty")},
		{"empty oneof", one, oneof(), fault.Validation, body("points[0].vector: value invalid, vector must not be empty")},
		{"NaN", one, flat(1, 2, nan, 4), fault.InvalidArgument, "Wrong input: points[0].vector[2] is NaN or infinite; vectors hold finite numbers only"},
		{"Inf in a named vector", two, byName(map[string]*qdrant.Vector{"a": denseVector(inf, 1)}), fault.InvalidArgument,
			"Wrong input: points[0].vector.a[0] is NaN or infinite; vectors hold finite numbers only"},
		{"unknown name", two, byName(map[string]*qdrant.Vector{"foo": denseVector(1, 2)}), fault.VectorNameUnknown,
			"Wrong input: Not existing vector name error: foo"},
		{"default where names are needed", two, flat(1, 2), fault.VectorNameUnknown, "Wrong input: Not existing vector name error: "},
		{"sparse", one, byName(map[string]*qdrant.Vector{"": {Vector: &qdrant.Vector_Sparse{Sparse: &qdrant.SparseVector{}}}}), fault.InvalidArgument,
			"Wrong input: Conversion between sparse and regular vectors failed"},
		{"flat sparse", one, &qdrant.Vectors{VectorsOptions: &qdrant.Vectors_Vector{Vector: &qdrant.Vector{Data: []float32{1}, Indices: &qdrant.SparseIndices{Data: []uint32{7}}}}},
			fault.InvalidArgument, "Wrong input: Conversion between sparse and regular vectors failed"},
		{"flat multi", one, &qdrant.Vectors{VectorsOptions: &qdrant.Vectors_Vector{Vector: &qdrant.Vector{Data: make([]float32, 8), VectorsCount: new(uint32(2))}}},
			fault.InvalidArgument, "Wrong input: Conversion between multi and regular vectors failed"},
		{"document", one, &qdrant.Vectors{VectorsOptions: &qdrant.Vectors_Vector{Vector: &qdrant.Vector{Vector: &qdrant.Vector_Document{Document: &qdrant.Document{}}}}},
			fault.NotBuilt, "inference of documents is not built yet"},
		{"neither", one, &qdrant.Vectors{}, fault.Malformed, "Malformed vectors: points[0].vector holds neither a vector nor named vectors"},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, err := c.schema.Upsert([]*qdrant.PointStruct{{Id: num(1), Vectors: c.v}})
			wants(t, err, c.reason, c.text)
			if v := out; err == nil && v[0].GetVectors().GetVector() != nil {
				if got := v[0].GetVectors().GetVector(); len(got.GetDense().GetData()) != 4 || len(got.Data) != 0 {
					t.Errorf("not in dense form: %v", got)
				}
			}
		})
	}
}

func TestUpsertPoints(t *testing.T) {
	s := Schema{}
	_, err := s.Upsert(nil)
	wants(t, err, fault.InvalidArgument, "Bad request: Empty update request")
	_, err = s.Upsert([]*qdrant.PointStruct{{}})
	wants(t, err, fault.Malformed, "Unable to parse UUID: no id given: point id must be an unsigned integer or a UUID")
	_, err = s.Upsert([]*qdrant.PointStruct{{Id: &qdrant.PointId{PointIdOptions: &qdrant.PointId_Uuid{Uuid: "-7"}}}})
	wants(t, err, fault.Malformed, `Unable to parse UUID: "-7": point id must be an unsigned integer or a UUID`)
	_, err = s.Upsert([]*qdrant.PointStruct{{Id: num(1)}, {Id: num(2), Payload: map[string]*qdrant.Value{"k": {Kind: &qdrant.Value_ListValue{
		ListValue: &qdrant.ListValue{Values: []*qdrant.Value{{Kind: &qdrant.Value_DoubleValue{DoubleValue: math.Inf(1)}}}}}}}}})
	wants(t, err, fault.InvalidArgument, "Wrong input: points[1].payload holds a number that is NaN or infinite")

	const uuid = "550e8400-e29b-41d4-a716-446655440000"
	asURN := &qdrant.PointId{PointIdOptions: &qdrant.PointId_Uuid{Uuid: "urn:uuid:" + uuid}}
	asText := &qdrant.PointId{PointIdOptions: &qdrant.PointId_Uuid{Uuid: strings.ToUpper(uuid)}}
	in := []*qdrant.PointStruct{{Id: num(1)}, {Id: asURN}, {Id: num(2)}, {Id: num(1)}, {Id: asText}}
	last := []*qdrant.PointStruct{in[2], in[3], in[4]}
	out, err := s.Upsert(in)
	if err != nil || !slices.Equal(out, last) {
		t.Errorf("of equal ids the last counts: %v, %v", out, err)
	}
}

func TestPayloadDepth(t *testing.T) {
	deep := func(n int) map[string]*qdrant.Value {
		v := &qdrant.Value{}
		for range n - 1 {
			v = &qdrant.Value{Kind: &qdrant.Value_StructValue{StructValue: &qdrant.Struct{Fields: map[string]*qdrant.Value{"k": v}}}}
		}
		return map[string]*qdrant.Value{"k": v}
	}
	wants(t, Payload(deep(payload.MaxDepth)), 0, "")
	wants(t, Payload(deep(payload.MaxDepth+1)), fault.InvalidArgument, fmt.Sprintf("Wrong input: payload is nested deeper than %d levels", payload.MaxDepth))
}

func TestSizes(t *testing.T) {
	text := func(n int) map[string]*qdrant.Value {
		return map[string]*qdrant.Value{"k": {Kind: &qdrant.Value_StringValue{StringValue: strings.Repeat("x", n)}}}
	}
	// An object, a key of one byte, and a string whose length takes four.
	const most = payload.MaxSize - 9 - 2 - 5
	wants(t, Payload(text(most)), 0, "")
	wants(t, Payload(text(most+1)), fault.InvalidArgument, "Wrong input: payload is larger than 15 MiB")

	s, vs := Schema{}, map[string]*qdrant.Vector{}
	for i := range 16 * 4 {
		name := fmt.Sprint("v", i)
		s[name] = Vector{Size: MaxVectorSize}
		vs[name] = &qdrant.Vector{Vector: &qdrant.Vector_Dense{Dense: &qdrant.DenseVector{Data: make([]float32, MaxVectorSize)}}}
	}
	big := &qdrant.Vectors{VectorsOptions: &qdrant.Vectors_Vectors{Vectors: &qdrant.NamedVectors{Vectors: vs}}}
	_, err := s.Upsert([]*qdrant.PointStruct{{Id: num(1)}, {Id: num(2), Vectors: big}})
	wants(t, err, fault.InvalidArgument, "Wrong input: points[1] is larger than 16 MiB, vectors and payload together")
	wants(t, s.Vectors([]*qdrant.PointVectors{{Id: num(2), Vectors: big}}), fault.InvalidArgument, "Wrong input: points[0] is larger than 16 MiB, vectors and payload together")
	delete(vs, "v0")
	_, err = s.Upsert([]*qdrant.PointStruct{{Id: num(2), Vectors: big}})
	wants(t, err, 0, "")
	_, err = s.Upsert([]*qdrant.PointStruct{{Id: num(2), Vectors: big, Payload: text(1 << 20)}})
	wants(t, err, fault.InvalidArgument, "Wrong input: points[0] is larger than 16 MiB, vectors and payload together")
}

func TestUsing(t *testing.T) {
	two := Schema{"b": {3, 0}, "a": {2, 0}}
	_, err := two.Using("")
	wants(t, err, fault.VectorNameUnknown, "Wrong input: Collection requires specified vector name in the request, available names: a, b")
	_, err = two.Using("foo")
	wants(t, err, fault.VectorNameUnknown, "Wrong input: Not existing vector name error: foo")
	if v, err := two.Using("b"); err != nil || v.Size != 3 {
		t.Errorf("%v, %v", v, err)
	}
}

func TestKey(t *testing.T) {
	for _, ok := range []string{"a", "a.b", "a[].b", "a[0]", `"quoted key"`, `"a.b".c`, "ключ", "a-b_c9", "a[][1]", "123"} {
		wants(t, Key(ok), 0, "")
	}
	for _, bad := range []string{"", ".", "a.", ".a", "a..b", "a b", "a[", "a[x]", "a]", `"`, `"a`, "[0]", "a[0]b", "a[-1]", "a\x00", "a[99999999999]"} {
		wants(t, Key(bad), fault.Malformed, fmt.Sprintf("Invalid json path: %q", bad))
	}
}
