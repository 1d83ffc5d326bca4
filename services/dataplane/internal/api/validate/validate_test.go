package validate

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/payload"
	"github.com/pandodb/pando/services/dataplane/internal/query"
	"github.com/pandodb/pando/services/internal/fault"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/wire"
	"google.golang.org/protobuf/proto"
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

func sparse(p *qdrant.SparseVectorParams) *qdrant.SparseVectorConfig {
	return &qdrant.SparseVectorConfig{Map: map[string]*qdrant.SparseVectorParams{"s": p}}
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
		{"custom sharding", func(r *qdrant.CreateCollection) { r.ShardingMethod = qdrant.ShardingMethod_Custom.Enum() }, 0, ""},
		{"sparse", func(r *qdrant.CreateCollection) {
			r.SparseVectorsConfig = &qdrant.SparseVectorConfig{Map: map[string]*qdrant.SparseVectorParams{"s": {}, "t": {Modifier: qdrant.Modifier_Idf.Enum(),
				Index: &qdrant.SparseIndexConfig{Datatype: qdrant.Datatype_Uint8.Enum(), FullScanThreshold: new(uint64(0)), Memory: qdrant.Memory_Pinned.Enum()}}}}
		}, 0, ""},
		{"sparse only", func(r *qdrant.CreateCollection) {
			r.VectorsConfig = nil
			r.SparseVectorsConfig = sparse(&qdrant.SparseVectorParams{})
		}, 0, ""},
		{"sparse name taken", func(r *qdrant.CreateCollection) {
			r.VectorsConfig = named(map[string]*qdrant.VectorParams{"s": {Size: 4, Distance: qdrant.Distance_Dot}})
			r.SparseVectorsConfig = sparse(&qdrant.SparseVectorParams{})
		}, fault.InvalidArgument, "Wrong input: Dense and sparse vector names must be unique - duplicate found with 's'"},
		{"turbo weights", func(r *qdrant.CreateCollection) {
			r.SparseVectorsConfig = sparse(&qdrant.SparseVectorParams{Index: &qdrant.SparseIndexConfig{Datatype: qdrant.Datatype_Turbo4.Enum()}})
		}, fault.Validation, body("sparse_vectors.s.index.datatype: value Turbo4 invalid, must be float32, float16 or uint8")},
		{"unknown modifier", func(r *qdrant.CreateCollection) {
			r.SparseVectorsConfig = sparse(&qdrant.SparseVectorParams{Modifier: new(qdrant.Modifier(9))})
		}, fault.Malformed, "Malformed modifier: sparse_vectors.s.modifier must be none or idf"},
		{"unknown memory of a sparse index", func(r *qdrant.CreateCollection) {
			r.SparseVectorsConfig = sparse(&qdrant.SparseVectorParams{Index: &qdrant.SparseIndexConfig{Memory: new(qdrant.Memory(9))}})
		}, fault.Malformed, "Malformed memory: sparse_vectors.s.index.memory must be cold, cached or pinned"},
		{"multivector", func(r *qdrant.CreateCollection) {
			r.VectorsConfig.GetParams().MultivectorConfig = &qdrant.MultiVectorConfig{}
		}, 0, ""},
		{"unknown comparator", func(r *qdrant.CreateCollection) {
			r.VectorsConfig.GetParams().MultivectorConfig = &qdrant.MultiVectorConfig{Comparator: 3}
		}, fault.Malformed, "Malformed multivector_config: vectors.multivector_config.comparator must be max_sim"},
		{"float16", func(r *qdrant.CreateCollection) {
			r.VectorsConfig.GetParams().Datatype = qdrant.Datatype_Float16.Enum()
		}, 0, ""},
		{"uint8", func(r *qdrant.CreateCollection) {
			r.VectorsConfig.GetParams().Datatype, r.VectorsConfig.GetParams().Distance = qdrant.Datatype_Uint8.Enum(), qdrant.Distance_Dot
		}, 0, ""},
		{"uint8 by angle", func(r *qdrant.CreateCollection) { r.VectorsConfig.GetParams().Datatype = qdrant.Datatype_Uint8.Enum() }, 0, ""},
		{"turbo4", func(r *qdrant.CreateCollection) { r.VectorsConfig.GetParams().Datatype = qdrant.Datatype_Turbo4.Enum() }, 0, ""},
		{"turbo4 by Manhattan", func(r *qdrant.CreateCollection) {
			r.VectorsConfig.GetParams().Datatype, r.VectorsConfig.GetParams().Distance = qdrant.Datatype_Turbo4.Enum(), qdrant.Distance_Manhattan
		}, fault.Validation, "Validation error in body: [vectors.datatype: value turbo4 invalid, vectors of this datatype are compared by Cosine, Dot or Euclid]"},
		{"turbo4 of multi-vectors", func(r *qdrant.CreateCollection) {
			r.VectorsConfig.GetParams().Datatype, r.VectorsConfig.GetParams().MultivectorConfig = qdrant.Datatype_Turbo4.Enum(), &qdrant.MultiVectorConfig{}
		}, fault.NotBuilt, "vectors.datatype turbo4 of multi-vectors is not built yet"},
		{"turbo8", func(r *qdrant.CreateCollection) { r.VectorsConfig.GetParams().Datatype = qdrant.Datatype_Turbo8.Enum() }, fault.NotBuilt,
			"vectors.datatype turbo8 is not built yet"},
		{"unknown datatype", func(r *qdrant.CreateCollection) { r.VectorsConfig.GetParams().Datatype = new(qdrant.Datatype(99)) }, fault.Malformed,
			"Malformed datatype: vectors.datatype must be float32, float16, uint8 or turbo4"},
		{"turbo quantization", func(r *qdrant.CreateCollection) {
			r.QuantizationConfig = &qdrant.QuantizationConfig{Quantization: &qdrant.QuantizationConfig_Turboquant{
				Turboquant: &qdrant.TurboQuantization{Bits: qdrant.TurboQuantBitSize_Bits4.Enum()}}}
		}, 0, ""},
		{"turbo quantization of a vector", func(r *qdrant.CreateCollection) {
			r.VectorsConfig.GetParams().QuantizationConfig = &qdrant.QuantizationConfig{Quantization: &qdrant.QuantizationConfig_Turboquant{}}
		}, 0, ""},
		{"turbo of a byte", func(r *qdrant.CreateCollection) {
			r.VectorsConfig.GetParams().QuantizationConfig = &qdrant.QuantizationConfig{Quantization: &qdrant.QuantizationConfig_Turboquant{
				Turboquant: &qdrant.TurboQuantization{Bits: qdrant.TurboQuantBitSize_Bits8.Enum()}}}
		}, fault.NotBuilt, "vectors.quantization_config.turbo.bits bits8 is not built yet"},
		{"turbo of unknown bits", func(r *qdrant.CreateCollection) {
			r.QuantizationConfig = &qdrant.QuantizationConfig{Quantization: &qdrant.QuantizationConfig_Turboquant{
				Turboquant: &qdrant.TurboQuantization{Bits: new(qdrant.TurboQuantBitSize(5))}}}
		}, fault.Malformed, "Malformed bits: quantization_config.turbo.bits must be bits1, bits1_5, bits2 or bits4"},
		{"turbo in unknown memory", func(r *qdrant.CreateCollection) {
			r.QuantizationConfig = &qdrant.QuantizationConfig{Quantization: &qdrant.QuantizationConfig_Turboquant{
				Turboquant: &qdrant.TurboQuantization{Memory: new(qdrant.Memory(9))}}}
		}, fault.Malformed, "Malformed memory: quantization_config.turbo.memory must be cold, cached or pinned"},
		{"scalar of no type", func(r *qdrant.CreateCollection) {
			r.QuantizationConfig = &qdrant.QuantizationConfig{Quantization: &qdrant.QuantizationConfig_Scalar{Scalar: &qdrant.ScalarQuantization{}}}
		}, fault.Malformed, "Unknown quantization type: quantization_config.scalar.type must be int8"},
		{"unknown compression", func(r *qdrant.CreateCollection) {
			r.QuantizationConfig = &qdrant.QuantizationConfig{Quantization: &qdrant.QuantizationConfig_Product{Product: &qdrant.ProductQuantization{Compression: 7}}}
		}, fault.Malformed, "Malformed compression: quantization_config.product.compression must be x4, x8, x16, x32 or x64"},
		{"unknown encoding", func(r *qdrant.CreateCollection) {
			r.QuantizationConfig = &qdrant.QuantizationConfig{Quantization: &qdrant.QuantizationConfig_Binary{
				Binary: &qdrant.BinaryQuantization{Encoding: new(qdrant.BinaryQuantizationEncoding(7))}}}
		}, fault.Malformed, "Malformed encoding: quantization_config.binary.encoding must be one_bit, two_bits or one_and_half_bits"},
		{"unknown encoding of queries", func(r *qdrant.CreateCollection) {
			r.QuantizationConfig = &qdrant.QuantizationConfig{Quantization: &qdrant.QuantizationConfig_Binary{Binary: &qdrant.BinaryQuantization{
				QueryEncoding: &qdrant.BinaryQuantizationQueryEncoding{Variant: &qdrant.BinaryQuantizationQueryEncoding_Setting_{Setting: 9}}}}}
		}, fault.Malformed, "Malformed query_encoding: quantization_config.binary.query_encoding must be default, binary, scalar4bits or scalar8bits"},
		{"links", func(r *qdrant.CreateCollection) {
			r.HnswConfig = &qdrant.HnswConfigDiff{M: new(uint64(1)), PayloadM: new(uint64(257)), EfConstruct: new(uint64(65537))}
		}, fault.Validation, body("hnsw_config.m: value 1 invalid, must be 0 or from 2 to 256; hnsw_config.payload_m: value 257 invalid, must be 0 or from 2 to 256; " +
			"hnsw_config.ef_construct: value 65537 invalid, must be 65536 or smaller")},
		{"no graph", func(r *qdrant.CreateCollection) { r.HnswConfig = &qdrant.HnswConfigDiff{M: new(uint64(0))} }, 0, ""},
		{"inline storage", func(r *qdrant.CreateCollection) { r.HnswConfig = &qdrant.HnswConfigDiff{InlineStorage: new(true)} }, fault.NotBuilt,
			"hnsw_config.inline_storage is not built yet"},
		{"hidden points", func(r *qdrant.CreateCollection) {
			r.OptimizersConfig = &qdrant.OptimizersConfigDiff{PreventUnoptimized: new(true)}
		}, fault.NotBuilt, "optimizers_config.prevent_unoptimized is not built yet"},
		{"pinned graph", func(r *qdrant.CreateCollection) {
			r.HnswConfig = &qdrant.HnswConfigDiff{Memory: qdrant.Memory_Pinned.Enum()}
		}, 0, ""},
		{"no memory", func(r *qdrant.CreateCollection) {
			r.Payload = &qdrant.PayloadStorageParams{Memory: qdrant.Memory_MemoryUnknown.Enum()}
		},
			fault.Malformed, "Malformed memory: payload.memory must be cold, cached or pinned"},
		{"pinned vectors", func(r *qdrant.CreateCollection) { r.VectorsConfig.GetParams().Memory = qdrant.Memory_Pinned.Enum() }, fault.InvalidArgument,
			"Wrong input: vectors.memory cannot be pinned, it must be cold or cached"},
		{"strict mode off", func(r *qdrant.CreateCollection) { r.StrictModeConfig = &qdrant.StrictModeConfig{Enabled: new(false)} }, 0, ""},
		{"strict mode", func(r *qdrant.CreateCollection) { r.StrictModeConfig = &qdrant.StrictModeConfig{Enabled: new(true)} }, 0, ""},
		{"strict mode out of range", func(r *qdrant.CreateCollection) {
			r.StrictModeConfig = &qdrant.StrictModeConfig{MaxQueryLimit: new(uint32(0)), SearchMaxOversampling: new(float32(0.5)),
				SparseConfig: &qdrant.StrictModeSparseConfig{SparseConfig: map[string]*qdrant.StrictModeSparse{"s": {MaxLength: new(uint64(0))}}}}
		}, fault.Validation, body("strict_mode_config.max_query_limit: value 0 invalid, must be 1 or larger; " +
			"strict_mode_config.search_max_oversampling: value 0.5 invalid, must be 1.0 or larger; strict_mode_config.sparse_config.s.max_length: value 0 invalid, must be 1 or larger")},
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
		{"sparse", &qdrant.UpdateCollection{CollectionName: "c", SparseVectorsConfig: sparse(&qdrant.SparseVectorParams{})}, 0, ""},
		{"turbo weights", &qdrant.UpdateCollection{CollectionName: "c", SparseVectorsConfig: sparse(&qdrant.SparseVectorParams{
			Index: &qdrant.SparseIndexConfig{Datatype: qdrant.Datatype_Turbo8.Enum()}})}, fault.Validation,
			body("sparse_vectors.s.index.datatype: value Turbo8 invalid, must be float32, float16 or uint8")},
		{"turbo quantization", &qdrant.UpdateCollection{CollectionName: "c", QuantizationConfig: &qdrant.QuantizationConfigDiff{
			Quantization: &qdrant.QuantizationConfigDiff_Turboquant{}}}, 0, ""},
		{"turbo of a byte", &qdrant.UpdateCollection{CollectionName: "c", QuantizationConfig: &qdrant.QuantizationConfigDiff{
			Quantization: &qdrant.QuantizationConfigDiff_Turboquant{Turboquant: &qdrant.TurboQuantization{Bits: qdrant.TurboQuantBitSize_Bits8.Enum()}}}},
			fault.NotBuilt, "quantization_config.turbo.bits bits8 is not built yet"},
		{"quantization", &qdrant.UpdateCollection{CollectionName: "c", QuantizationConfig: &qdrant.QuantizationConfigDiff{
			Quantization: &qdrant.QuantizationConfigDiff_Scalar{Scalar: &qdrant.ScalarQuantization{Type: qdrant.QuantizationType_Int8, Quantile: new(float32(2))}}}},
			fault.Validation, body("quantization_config.scalar.quantile: value 2.0 invalid, must be from 0.5 to 1.0")},
		{"product and binary", &qdrant.UpdateCollection{CollectionName: "c",
			QuantizationConfig: &qdrant.QuantizationConfigDiff{Quantization: &qdrant.QuantizationConfigDiff_Product{Product: &qdrant.ProductQuantization{}}},
			VectorsConfig: &qdrant.VectorsConfigDiff{Config: &qdrant.VectorsConfigDiff_Params{Params: &qdrant.VectorParamsDiff{
				QuantizationConfig: &qdrant.QuantizationConfigDiff{Quantization: &qdrant.QuantizationConfigDiff_Binary{Binary: &qdrant.BinaryQuantization{}}}}}}}, 0, ""},
		{"quantization off", &qdrant.UpdateCollection{CollectionName: "c", QuantizationConfig: &qdrant.QuantizationConfigDiff{
			Quantization: &qdrant.QuantizationConfigDiff_Disabled{Disabled: &qdrant.Disabled{}}}}, 0, ""},
		{"pinned", &qdrant.UpdateCollection{CollectionName: "c", VectorsConfig: &qdrant.VectorsConfigDiff{Config: &qdrant.VectorsConfigDiff_Params{
			Params: &qdrant.VectorParamsDiff{Memory: qdrant.Memory_Pinned.Enum()}}}}, fault.InvalidArgument,
			"Wrong input: vectors.memory cannot be pinned, it must be cold or cached"},
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
	one := Schema{"": {Size: 4, Distance: qdrant.Distance_Dot}}
	two := Schema{"a": {Size: 2, Distance: qdrant.Distance_Dot}, "b": {Size: 3, Distance: qdrant.Distance_Cosine}}
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
			fault.NotBuilt, "inference by model `` is not built yet"},
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

func sparseVector(indices []uint32, values ...float32) *qdrant.Vector {
	return &qdrant.Vector{Vector: &qdrant.Vector_Sparse{Sparse: &qdrant.SparseVector{Indices: indices, Values: values}}}
}

func multiVector(rows ...[]float32) *qdrant.Vector {
	m := &qdrant.MultiDenseVector{}
	for _, r := range rows {
		m.Vectors = append(m.Vectors, &qdrant.DenseVector{Data: r})
	}
	return &qdrant.Vector{Vector: &qdrant.Vector_MultiDense{MultiDense: m}}
}

// TestKinds: what sparse vectors, multi-vectors and other datatypes take, and the
// form in which it goes on.
func TestKinds(t *testing.T) {
	nan := float32(math.NaN())
	schema := Schema{"s": {Kind: query.Sparse, Distance: qdrant.Distance_Dot}, "m": {Kind: query.Multi, Size: 2, Distance: qdrant.Distance_Cosine},
		"d": {Size: 2, Distance: qdrant.Distance_Dot}, "u": {Size: 2, Datatype: qdrant.Datatype_Uint8, Distance: qdrant.Distance_Dot},
		"h": {Size: 2, Datatype: qdrant.Datatype_Float16, Distance: qdrant.Distance_Dot}, "c": {Size: 2, Datatype: qdrant.Datatype_Float16, Distance: qdrant.Distance_Cosine}}
	flatSparse := &qdrant.Vector{Data: []float32{5, 6}, Indices: &qdrant.SparseIndices{Data: []uint32{9, 2}}}
	flatMulti := &qdrant.Vector{Data: []float32{1, 2, 3, 4}, VectorsCount: new(uint32(2))}
	for _, c := range []struct {
		name, using string
		v, want     *qdrant.Vector
		reason      fault.Reason
		text        string
	}{
		{"sparse", "s", sparseVector([]uint32{9, 2}, 5, 6), sparseVector([]uint32{9, 2}, 5, 6), 0, ""},
		{"sparse of older clients", "s", flatSparse, sparseVector([]uint32{9, 2}, 5, 6), 0, ""},
		{"sparse of none", "s", sparseVector(nil), sparseVector(nil), 0, ""},
		{"sparse twice", "s", sparseVector([]uint32{9, 2, 9}, 5, 6, 7), nil, fault.Validation, body("points[0].vector.s.indices: must be unique")},
		{"sparse twice in order", "s", sparseVector([]uint32{2, 2}, 5, 6), nil, fault.Validation, body("points[0].vector.s.indices: must be unique")},
		{"sparse sizes", "s", sparseVector([]uint32{9, 2}, 5), nil, fault.Validation, body("points[0].vector.s.values: must be the same length as indices")},
		{"sparse NaN", "s", sparseVector([]uint32{9}, nan), nil, fault.InvalidArgument,
			"Wrong input: points[0].vector.s.values[0] is NaN or infinite; vectors hold finite numbers only"},
		{"sparse too long", "s", sparseVector(make([]uint32, op.MaxSparseSize+1), make([]float32, op.MaxSparseSize+1)...), nil, fault.InvalidArgument,
			"Wrong input: points[0].vector.s has 1048577 values, a sparse vector has at most 1048576"},
		{"sparse for dense", "d", sparseVector([]uint32{1}, 1), nil, fault.InvalidArgument, "Wrong input: Conversion between sparse and regular vectors failed"},
		{"sparse for multi", "m", sparseVector([]uint32{1}, 1), nil, fault.InvalidArgument, "Wrong input: Conversion between sparse and regular vectors failed"},
		{"dense for sparse", "s", denseVector(1), nil, fault.InvalidArgument, "Wrong input: Conversion between sparse and regular vectors failed"},
		{"multi for sparse", "s", multiVector([]float32{1}), nil, fault.InvalidArgument, "Wrong input: Conversion between sparse and regular vectors failed"},
		{"multi", "m", multiVector([]float32{1, 2}, []float32{3, 4}), multiVector([]float32{1, 2}, []float32{3, 4}), 0, ""},
		{"multi of older clients", "m", flatMulti, multiVector([]float32{1, 2}, []float32{3, 4}), 0, ""},
		{"multi that does not divide", "m", &qdrant.Vector{Data: []float32{1, 2, 3}, VectorsCount: new(uint32(2))}, nil, fault.Validation,
			body("points[0].vector.m: 3 numbers do not make 2 vectors of equal length")},
		{"dense for multi", "m", denseVector(1, 2), multiVector([]float32{1, 2}), 0, ""},
		{"multi for dense", "d", multiVector([]float32{1, 2}), nil, fault.InvalidArgument, "Wrong input: Conversion between multi and regular vectors failed"},
		{"multi of none", "m", multiVector(), nil, fault.Validation, body("points[0].vector.m: value invalid, multi vector must not be empty")},
		{"multi of an empty one", "m", multiVector([]float32{1, 2}, nil), nil, fault.Validation, body("points[0].vector.m[1]: value invalid, vector must not be empty")},
		{"multi of unequal ones", "m", multiVector([]float32{1, 2}, []float32{3}), nil, fault.DimensionMismatch,
			"Wrong input: Vector dimension error: expected dim: 2, got 1"},
		{"multi NaN", "m", multiVector([]float32{1, 2}, []float32{3, nan}), nil, fault.InvalidArgument,
			"Wrong input: points[0].vector.m[1][1] is NaN or infinite; vectors hold finite numbers only"},
		{"multi too long", "m", multiVector(make([][]float32, op.MaxMultiSize/2+1)...), nil, fault.InvalidArgument,
			"Wrong input: points[0].vector.m has 1048578 numbers, a multi vector has at most 1048576"},
		{"bytes", "u", denseVector(0, 255), denseVector(0, 255), 0, ""},
		{"more than a byte", "u", denseVector(0, 255.5), nil, fault.InvalidArgument,
			"Wrong input: points[0].vector.u[1] is 255.5, vectors of datatype uint8 hold numbers from 0 to 255"},
		{"less than a byte", "u", denseVector(-1, 0), nil, fault.InvalidArgument,
			"Wrong input: points[0].vector.u[0] is -1, vectors of datatype uint8 hold numbers from 0 to 255"},
		{"halves", "h", denseVector(65504, -65504), denseVector(65504, -65504), 0, ""},
		{"more than a half", "h", denseVector(65505, 0), nil, fault.InvalidArgument,
			"Wrong input: points[0].vector.h[0] is 65505, vectors of datatype float16 hold numbers from -65504 to 65504"},
		{"halves of length 1", "c", denseVector(1e9, 0), denseVector(1e9, 0), 0, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			points := []*qdrant.PointStruct{{Id: num(1), Vectors: byName(map[string]*qdrant.Vector{c.using: c.v})}}
			_, err := schema.Upsert(points)
			wants(t, err, c.reason, c.text)
			if err == nil && !proto.Equal(c.v, c.want) {
				t.Errorf("goes on as %v", c.v)
			}
		})
	}
}

// TestInput: queries take the same kinds; bytes are cut, other numbers are free.
func TestInput(t *testing.T) {
	sparse, multi, bytes := Vector{Kind: query.Sparse}, Vector{Kind: query.Multi, Size: 2}, Vector{Size: 3, Datatype: qdrant.Datatype_Uint8}
	half, manyBytes := Vector{Size: 1, Datatype: qdrant.Datatype_Float16}, Vector{Kind: query.Multi, Size: 1, Datatype: qdrant.Datatype_Uint8}
	dense := func(x ...float32) *qdrant.VectorInput {
		return &qdrant.VectorInput{Variant: &qdrant.VectorInput_Dense{Dense: &qdrant.DenseVector{Data: x}}}
	}
	rows := func(x ...[]float32) *qdrant.VectorInput {
		return &qdrant.VectorInput{Variant: &qdrant.VectorInput_MultiDense{MultiDense: multiVector(x...).GetMultiDense()}}
	}
	pairs := func(i []uint32, x ...float32) *qdrant.VectorInput {
		return &qdrant.VectorInput{Variant: &qdrant.VectorInput_Sparse{Sparse: &qdrant.SparseVector{Indices: i, Values: x}}}
	}
	for _, c := range []struct {
		v        Vector
		in, want *qdrant.VectorInput
		reason   fault.Reason
		text     string
	}{
		{sparse, pairs([]uint32{3, 1}, 1, 2), pairs([]uint32{3, 1}, 1, 2), 0, ""},
		{sparse, pairs([]uint32{3, 3}, 1, 2), nil, fault.Validation, body("query.indices: must be unique")},
		{sparse, dense(1), nil, fault.InvalidArgument, "Wrong input: Conversion between sparse and regular vectors failed"},
		{multi, dense(1, 2), rows([]float32{1, 2}), 0, ""},
		{multi, rows([]float32{1, 2}, []float32{3}), nil, fault.DimensionMismatch, "Wrong input: Vector dimension error: expected dim: 2, got 1"},
		{bytes, dense(-1, 7.9, 300), dense(0, 7, 255), 0, ""},
		{bytes, rows([]float32{1, 2, 3}), nil, fault.InvalidArgument, "Wrong input: Conversion between multi and regular vectors failed"},
		{manyBytes, rows([]float32{-1}, []float32{7.9}), rows([]float32{0}, []float32{7}), 0, ""},
		{half, dense(1e9), dense(1e9), 0, ""},
		{half, &qdrant.VectorInput{}, nil, fault.Malformed, "Malformed query: it holds no vector and no id"},
	} {
		before := proto.CloneOf(c.in)
		got, err := c.v.Input(Place{Part: "query"}, c.in)
		if wants(t, err, c.reason, c.text); err == nil && !proto.Equal(got, c.want) || !proto.Equal(c.in, before) {
			t.Errorf("%v becomes %v", before, got)
		}
	}
}

func TestSchema(t *testing.T) {
	s := SchemaOf(&qdrant.CollectionParams{VectorsConfig: named(map[string]*qdrant.VectorParams{"d": {Size: 4, Distance: qdrant.Distance_Dot, Datatype: qdrant.Datatype_Uint8.Enum()},
		"m": {Size: 2, MultivectorConfig: &qdrant.MultiVectorConfig{}}}), SparseVectorsConfig: sparse(&qdrant.SparseVectorParams{Modifier: qdrant.Modifier_Idf.Enum()})})
	want := Schema{"d": {Size: 4, Distance: qdrant.Distance_Dot, Datatype: qdrant.Datatype_Uint8}, "m": {Size: 2, Kind: query.Multi},
		"s": {Kind: query.Sparse, Distance: qdrant.Distance_Dot, IDF: true}}
	if !maps.Equal(s, want) {
		t.Errorf("%v", s)
	}
	update := func(dense, sparse string) *qdrant.UpdateCollection {
		r := &qdrant.UpdateCollection{}
		if dense != "" {
			r.VectorsConfig = &qdrant.VectorsConfigDiff{Config: &qdrant.VectorsConfigDiff_ParamsMap{ParamsMap: &qdrant.VectorParamsDiffMap{
				Map: map[string]*qdrant.VectorParamsDiff{dense: {}}}}}
		}
		if sparse != "" {
			r.SparseVectorsConfig = &qdrant.SparseVectorConfig{Map: map[string]*qdrant.SparseVectorParams{sparse: {}}}
		}
		return r
	}
	wants(t, s.Changes(update("d", "s")), 0, "")
	for _, r := range []*qdrant.UpdateCollection{update("s", ""), update("", "d"), update("x", ""), update("", "x")} {
		if err := s.Changes(r); fault.ReasonOf(err) != fault.VectorNameUnknown {
			t.Errorf("%v: %v", r, err)
		}
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
	two := Schema{"b": {Size: 3}, "a": {Size: 2}}
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
