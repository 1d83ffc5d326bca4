package peer

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	shardv1 "github.com/pandodb/pando/gen/go/pando/shard/v1"
	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/dataplane/internal/query"
)

func namedParams(m map[string]*qdrant.VectorParams) *qdrant.VectorsConfig {
	return &qdrant.VectorsConfig{Config: &qdrant.VectorsConfig_ParamsMap{ParamsMap: &qdrant.VectorParamsMap{Map: m}}}
}

func scalar(s *qdrant.ScalarQuantization) *qdrant.QuantizationConfig {
	return &qdrant.QuantizationConfig{Quantization: &qdrant.QuantizationConfig_Scalar{Scalar: s}}
}

// everything is a configuration in which each vector differs from the others.
func everything() *qdrant.CollectionConfig {
	return &qdrant.CollectionConfig{
		HnswConfig: &qdrant.HnswConfigDiff{M: new(uint64(8)), EfConstruct: new(uint64(50)), MaxIndexingThreads: new(uint64(3)), OnDisk: new(true)},
		OptimizerConfig: &qdrant.OptimizersConfigDiff{DeletedThreshold: new(0.5), VacuumMinVectorNumber: new(uint64(100)), DefaultSegmentNumber: new(uint64(2)),
			MaxSegmentSize: new(uint64(7)), IndexingThreshold: new(uint64(0)), FlushIntervalSec: new(uint64(1)),
			MaxOptimizationThreads: &qdrant.MaxOptimizationThreads{Variant: &qdrant.MaxOptimizationThreads_Value{Value: 4}}},
		QuantizationConfig: scalar(&qdrant.ScalarQuantization{Quantile: new(float32(0.9)), AlwaysRam: new(true)}),
		Params: &qdrant.CollectionParams{
			OnDiskPayload: true,
			VectorsConfig: namedParams(map[string]*qdrant.VectorParams{
				"plain": {Size: 4, Distance: qdrant.Distance_Cosine, OnDisk: new(true)},
				"graph": {Size: 3, Distance: qdrant.Distance_Euclid, Datatype: qdrant.Datatype_Float16.Enum(), Memory: qdrant.Memory_Cached.Enum(), OnDisk: new(true),
					HnswConfig: &qdrant.HnswConfigDiff{M: new(uint64(0)), PayloadM: new(uint64(16)), Memory: qdrant.Memory_Pinned.Enum()}},
				"many": {Size: 2, Distance: qdrant.Distance_Dot, MultivectorConfig: &qdrant.MultiVectorConfig{}, HnswConfig: &qdrant.HnswConfigDiff{PayloadM: new(uint64(0))},
					QuantizationConfig: &qdrant.QuantizationConfig{Quantization: &qdrant.QuantizationConfig_Product{Product: &qdrant.ProductQuantization{Compression: qdrant.CompressionRatio_x64}}}},
				"bytes": {Size: 2, Distance: qdrant.Distance_Manhattan, Datatype: qdrant.Datatype_Uint8.Enum(), Memory: qdrant.Memory_Cold.Enum(),
					QuantizationConfig: &qdrant.QuantizationConfig{Quantization: &qdrant.QuantizationConfig_Binary{Binary: &qdrant.BinaryQuantization{
						AlwaysRam: new(true), Memory: qdrant.Memory_Cold.Enum(), Encoding: qdrant.BinaryQuantizationEncoding_TwoBits.Enum(),
						QueryEncoding: &qdrant.BinaryQuantizationQueryEncoding{Variant: &qdrant.BinaryQuantizationQueryEncoding_Setting_{
							Setting: qdrant.BinaryQuantizationQueryEncoding_Scalar8Bits}}}}}},
			}),
			SparseVectorsConfig: &qdrant.SparseVectorConfig{Map: map[string]*qdrant.SparseVectorParams{
				"bag": {}, "words": {Modifier: qdrant.Modifier_Idf.Enum(), Index: &qdrant.SparseIndexConfig{OnDisk: new(true), FullScanThreshold: new(uint64(9)),
					Datatype: qdrant.Datatype_Float16.Enum()}}}},
		},
	}
}

func TestEngineSettings(t *testing.T) {
	generations := map[string]uint64{"graph": 2, "words": 1}
	b, err := Settings(&shardv1.Settings{Config: everything(), VectorGenerations: generations, PayloadIndexes: map[string]*qdrant.PayloadIndexParams{
		"k": {IndexParams: &qdrant.PayloadIndexParams_BoolIndexParams{BoolIndexParams: &qdrant.BoolIndexParams{}}}}})
	if err != nil {
		t.Fatal(err)
	}
	graph := query.HNSW{M: 8, EfConstruct: 50, FullScanThreshold: 10000, Threads: 3, OnDisk: true}
	quarter := query.Quantization{Kind: query.ScalarQuantization, AlwaysRAM: true, Quantile: 0.9}
	own, none := graph, graph
	own.M, own.PayloadM, own.OnDisk, none.PayloadM = 0, 16, false, -1
	schema := query.Schema{Revision: 6, Vectors: []query.VectorSchema{
		{Name: "bag", Kind: query.Sparse, Distance: query.Dot},
		{Name: "bytes", Size: 2, Distance: query.Manhattan, Datatype: query.Uint8},
		{Name: "graph", Size: 3, Distance: query.Euclid, Datatype: query.Float16, Generation: 2},
		{Name: "many", Size: 2, Distance: query.Dot, Kind: query.Multi},
		{Name: "plain", Size: 4, Distance: query.Cosine},
		{Name: "words", Kind: query.Sparse, Distance: query.Dot, Datatype: query.Float16, Generation: 1},
	}}
	want := query.Settings{
		Schema: schema.Vectors,
		Vectors: []query.VectorSettings{
			{Name: "bag", FullScanThreshold: 5000},
			{Name: "bytes", HNSW: graph, OnDisk: true, Quantization: query.Quantization{Kind: query.BinaryQuantization, Encoding: query.TwoBits, Query: query.Scalar8Bits}},
			{Name: "graph", HNSW: own, Quantization: quarter},
			{Name: "many", HNSW: none, Quantization: query.Quantization{Kind: query.ProductQuantization, Compression: 64}},
			{Name: "plain", HNSW: graph, Quantization: quarter, OnDisk: true},
			{Name: "words", FullScanThreshold: 9, OnDisk: true, IDF: true},
		},
		Fields: []query.FieldIndex{{Key: "k", Type: query.BoolField}},
		Optimizers: query.Optimizers{DeletedThreshold: 0.5, VacuumMinVectors: 100, SegmentNumber: 2, MaxSegmentKB: 7,
			Threads: 4},
		PayloadOnDisk: true,
	}
	if got, err := EngineSettings(b); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v, %v\nwant %+v", got, err, want)
	}
	if got := Schema(6, &shardv1.Settings{Config: everything(), VectorGenerations: generations}); !reflect.DeepEqual(got, schema) {
		t.Errorf("got  %+v\nwant %+v", got, schema)
	}
}

// TestTurboSettings: codes of four bits are those that nobody asks for by number.
func TestTurboSettings(t *testing.T) {
	for _, c := range []struct {
		given *qdrant.TurboQuantization
		want  query.Quantization
	}{
		{nil, query.Quantization{Encoding: query.FourBits}},
		{&qdrant.TurboQuantization{AlwaysRam: new(true)}, query.Quantization{Encoding: query.FourBits, AlwaysRAM: true}},
		{&qdrant.TurboQuantization{Bits: qdrant.TurboQuantBitSize_Bits1.Enum(), Memory: qdrant.Memory_Pinned.Enum()}, query.Quantization{AlwaysRAM: true}},
		{&qdrant.TurboQuantization{Bits: qdrant.TurboQuantBitSize_Bits1_5.Enum()}, query.Quantization{Encoding: query.OneAndHalfBits}},
		{&qdrant.TurboQuantization{Bits: qdrant.TurboQuantBitSize_Bits2.Enum()}, query.Quantization{Encoding: query.TwoBits}},
		{&qdrant.TurboQuantization{Bits: qdrant.TurboQuantBitSize_Bits4.Enum()}, query.Quantization{Encoding: query.FourBits}},
	} {
		c.want.Kind = query.TurboQuantization
		got := quantizationOf(&qdrant.QuantizationConfig{Quantization: &qdrant.QuantizationConfig_Turboquant{Turboquant: c.given}})
		if got != c.want {
			t.Errorf("%v: %+v, want %+v", c.given, got, c.want)
		}
	}
}

// TestDefaultsOfTheEngine: without a word all is as the public API says.
func TestDefaultsOfTheEngine(t *testing.T) {
	for _, cfg := range []*qdrant.CollectionConfig{nil, {}, {Params: &qdrant.CollectionParams{VectorsConfig: &qdrant.VectorsConfig{
		Config: &qdrant.VectorsConfig_Params{Params: &qdrant.VectorParams{Size: 4}}}}}} {
		b, err := Settings(&shardv1.Settings{Config: cfg})
		if err != nil {
			t.Fatal(err)
		}
		got, err := EngineSettings(b)
		if err != nil || got.PayloadOnDisk || got.Optimizers != (query.Optimizers{DeletedThreshold: 0.2, VacuumMinVectors: 1000, IndexingThresholdKB: 10000}) {
			t.Errorf("%+v, %v", got, err)
		}
		for _, v := range got.Vectors {
			if v != (query.VectorSettings{HNSW: query.HNSW{M: 16, EfConstruct: 100, FullScanThreshold: 10000}}) {
				t.Errorf("%+v", v)
			}
		}
	}
	if _, err := EngineSettings([]byte{0xFF}); err == nil {
		t.Error("damaged settings were read")
	}
}

func TestOptimizationThreads(t *testing.T) {
	value := func(n uint64) *qdrant.MaxOptimizationThreads {
		return &qdrant.MaxOptimizationThreads{Variant: &qdrant.MaxOptimizationThreads_Value{Value: n}}
	}
	auto := &qdrant.MaxOptimizationThreads{Variant: &qdrant.MaxOptimizationThreads_Setting_{Setting: qdrant.MaxOptimizationThreads_Auto}}
	for _, c := range []struct {
		o    *qdrant.OptimizersConfigDiff
		want int
	}{
		{&qdrant.OptimizersConfigDiff{}, 0}, {&qdrant.OptimizersConfigDiff{MaxOptimizationThreads: auto}, 0},
		{&qdrant.OptimizersConfigDiff{MaxOptimizationThreads: value(0)}, -1}, {&qdrant.OptimizersConfigDiff{MaxOptimizationThreads: value(1 << 60)}, most},
		{&qdrant.OptimizersConfigDiff{DeprecatedMaxOptimizationThreads: new(uint64(0))}, -1},
		{&qdrant.OptimizersConfigDiff{DeprecatedMaxOptimizationThreads: new(uint64(5))}, 5},
		{&qdrant.OptimizersConfigDiff{DeprecatedMaxOptimizationThreads: new(uint64(0)), MaxOptimizationThreads: value(2)}, 2},
		{&qdrant.OptimizersConfigDiff{DeprecatedMaxOptimizationThreads: new(uint64(5)), MaxOptimizationThreads: auto}, 0},
	} {
		if got := optimizersOf(c.o).Threads; got != c.want {
			t.Errorf("%v: %d threads", c.o, got)
		}
	}
}

// FuzzEngineSettings: whatever is in a log, it is read or refused, in one order.
func FuzzEngineSettings(f *testing.F) {
	b, err := Settings(&shardv1.Settings{Config: everything()})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := EngineSettings(b)
		if err != nil {
			return
		}
		if !slices.IsSortedFunc(got.Vectors, func(a, b query.VectorSettings) int { return strings.Compare(a.Name, b.Name) }) {
			t.Errorf("%x: %+v", b, got.Vectors)
		}
	})
}
