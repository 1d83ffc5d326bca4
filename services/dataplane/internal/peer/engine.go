package peer

import (
	"cmp"
	"slices"

	shardv1 "github.com/pandodb/pando/gen/go/pando/shard/v1"
	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/dataplane/internal/query"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Schema reads what a collection's settings say about the contents of a shard.
func Schema(revision uint64, s *shardv1.Settings) query.Schema {
	cfg, generations := s.GetConfig(), s.GetVectorGenerations()
	out := query.Schema{Revision: revision, Vectors: []query.VectorSchema{}}
	for name, p := range denseParams(cfg) {
		v := query.VectorSchema{Name: name, Generation: generations[name], Size: int(p.GetSize()), Distance: query.Distance(p.GetDistance()), Datatype: datatypeOf(p.GetDatatype())}
		if p.GetMultivectorConfig() != nil {
			v.Kind = query.Multi
		}
		out.Vectors = append(out.Vectors, v)
	}
	for name, p := range cfg.GetParams().GetSparseVectorsConfig().GetMap() {
		out.Vectors = append(out.Vectors, query.VectorSchema{Name: name, Generation: generations[name], Kind: query.Sparse, Distance: query.Dot, Datatype: datatypeOf(p.GetIndex().GetDatatype())})
	}
	slices.SortFunc(out.Vectors, func(a, b query.VectorSchema) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// denseParams are those of dense and multi vectors by name; the vector without a
// name has the empty one.
func denseParams(cfg *qdrant.CollectionConfig) map[string]*qdrant.VectorParams {
	c := cfg.GetParams().GetVectorsConfig()
	if p := c.GetParams(); p != nil {
		return map[string]*qdrant.VectorParams{"": p}
	}
	return c.GetParamsMap().GetMap()
}

func datatypeOf(d qdrant.Datatype) query.Datatype {
	switch d {
	case qdrant.Datatype_Float16:
		return query.Float16
	case qdrant.Datatype_Uint8:
		return query.Uint8
	case qdrant.Datatype_Turbo4:
		return query.Turbo4
	}
	return query.Float32
}

// EngineSettings reads out of the settings of a config entry what the engine goes
// by, each vector's own over the collection's over the defaults. What this build
// does not know is left out: its absence costs speed, not answers. Without
// settings all are the defaults.
func EngineSettings(settings []byte) (query.Settings, error) {
	var s shardv1.Settings
	if err := proto.Unmarshal(settings, &s); err != nil {
		return query.Settings{}, err
	}
	cfg := s.GetConfig()
	out := query.Settings{Fields: indexedFields(&s), Optimizers: optimizersOf(cfg.GetOptimizerConfig()),
		PayloadOnDisk: cold(cfg.GetParams(), "on_disk_payload", cfg.GetParams().GetPayload().GetMemory())}
	if cfg != nil {
		out.Schema = Schema(0, &s).Vectors
	}
	for name, p := range denseParams(cfg) {
		q := p.GetQuantizationConfig()
		if q.GetQuantization() == nil {
			q = cfg.GetQuantizationConfig()
		}
		out.Vectors = append(out.Vectors, query.VectorSettings{Name: name, HNSW: hnswOf(cfg.GetHnswConfig(), p.GetHnswConfig()),
			Quantization: quantizationOf(q), OnDisk: cold(p, "on_disk", p.GetMemory())})
	}
	for name, p := range cfg.GetParams().GetSparseVectorsConfig().GetMap() {
		v := query.VectorSettings{Name: name, IDF: p.GetModifier() == qdrant.Modifier_Idf, FullScanThreshold: query.DefaultSparseScan}
		if i := p.GetIndex(); i != nil {
			v.OnDisk = cold(i, "on_disk", i.GetMemory())
			set(&v.FullScanThreshold, i.FullScanThreshold)
		}
		out.Vectors = append(out.Vectors, v)
	}
	slices.SortFunc(out.Vectors, func(a, b query.VectorSettings) int { return cmp.Compare(a.Name, b.Name) })
	return out, nil
}

// set puts a number into its place if there is one.
func set[T ~int | ~uint64](to *T, from *uint64) {
	if from != nil {
		*to = T(bounded(*from))
	}
}

// bounded keeps a number inside an int on every platform.
func bounded(n uint64) int { return int(min(n, most)) }

// hnswOf overlays the graph's settings of one vector on the collection's.
func hnswOf(layers ...*qdrant.HnswConfigDiff) query.HNSW {
	c := &qdrant.HnswConfigDiff{}
	for _, l := range layers {
		proto.Merge(c, l)
	}
	out := query.DefaultHNSW()
	set(&out.M, c.M)
	set(&out.EfConstruct, c.EfConstruct)
	set(&out.FullScanThreshold, c.FullScanThreshold)
	set(&out.Threads, c.MaxIndexingThreads)
	if set(&out.PayloadM, c.PayloadM); c.PayloadM != nil && out.PayloadM == 0 {
		out.PayloadM = -1
	}
	out.OnDisk = cold(c, "on_disk", c.GetMemory())
	return out
}

func optimizersOf(c *qdrant.OptimizersConfigDiff) query.Optimizers {
	out := query.DefaultOptimizers()
	if c == nil {
		return out
	}
	if c.DeletedThreshold != nil {
		out.DeletedThreshold = *c.DeletedThreshold
	}
	set(&out.VacuumMinVectors, c.VacuumMinVectorNumber)
	set(&out.SegmentNumber, c.DefaultSegmentNumber)
	set(&out.MaxSegmentKB, c.MaxSegmentSize)
	set(&out.IndexingThresholdKB, c.IndexingThreshold)
	threads := c.DeprecatedMaxOptimizationThreads
	if m := c.GetMaxOptimizationThreads(); m != nil {
		threads = nil
		if n, ok := m.GetVariant().(*qdrant.MaxOptimizationThreads_Value); ok {
			threads = &n.Value
		}
	}
	if set(&out.Threads, threads); threads != nil && *threads == 0 {
		out.Threads = -1
	}
	return out
}

func quantizationOf(c *qdrant.QuantizationConfig) query.Quantization {
	switch q := c.GetQuantization().(type) {
	case *qdrant.QuantizationConfig_Scalar:
		return query.Quantization{Kind: query.ScalarQuantization, AlwaysRAM: resident(q.Scalar, q.Scalar.GetMemory()), Quantile: q.Scalar.GetQuantile()}
	case *qdrant.QuantizationConfig_Product:
		return query.Quantization{Kind: query.ProductQuantization, AlwaysRAM: resident(q.Product, q.Product.GetMemory()),
			Compression: 4 << min(max(q.Product.GetCompression(), qdrant.CompressionRatio_x4), qdrant.CompressionRatio_x64)}
	case *qdrant.QuantizationConfig_Binary:
		b := query.Quantization{Kind: query.BinaryQuantization, AlwaysRAM: resident(q.Binary, q.Binary.GetMemory())}
		switch q.Binary.GetEncoding() {
		case qdrant.BinaryQuantizationEncoding_TwoBits:
			b.Encoding = query.TwoBits
		case qdrant.BinaryQuantizationEncoding_OneAndHalfBits:
			b.Encoding = query.OneAndHalfBits
		}
		switch q.Binary.GetQueryEncoding().GetSetting() {
		case qdrant.BinaryQuantizationQueryEncoding_Scalar4Bits:
			b.Query = query.Scalar4Bits
		case qdrant.BinaryQuantizationQueryEncoding_Scalar8Bits:
			b.Query = query.Scalar8Bits
		}
		return b
	case *qdrant.QuantizationConfig_Turboquant:
		return query.Quantization{Kind: query.TurboQuantization, AlwaysRAM: resident(q.Turboquant, q.Turboquant.GetMemory()), Encoding: turboOf(q.Turboquant)}
	}
	return query.Quantization{}
}

func turboOf(t *qdrant.TurboQuantization) query.BinaryEncoding {
	if t == nil || t.Bits == nil {
		return query.FourBits
	}
	switch *t.Bits {
	case qdrant.TurboQuantBitSize_Bits1:
		return query.OneBit
	case qdrant.TurboQuantBitSize_Bits1_5:
		return query.OneAndHalfBits
	case qdrant.TurboQuantBitSize_Bits2:
		return query.TwoBits
	}
	return query.FourBits
}

// cold tells whether something is to stay on the disk. The memory wins over the
// flag that older clients set, if there is one.
func cold(m proto.Message, flag protoreflect.Name, memory qdrant.Memory) bool {
	if memory != qdrant.Memory_MemoryUnknown {
		return memory == qdrant.Memory_Cold
	}
	return flagged(m, flag)
}

// resident tells whether codes are to stay in memory.
func resident(m proto.Message, memory qdrant.Memory) bool {
	if memory != qdrant.Memory_MemoryUnknown {
		return memory == qdrant.Memory_Pinned
	}
	return flagged(m, "always_ram")
}

// flagged reads a field by name: those of older clients are marked as deprecated.
func flagged(m proto.Message, name protoreflect.Name) bool {
	r := m.ProtoReflect()
	return r.IsValid() && r.Get(r.Descriptor().Fields().ByName(name)).Bool()
}
