package validate

import (
	"maps"
	"slices"

	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/internal/fault"
	"google.golang.org/protobuf/proto"
)

// The limits of a graph.
const (
	// MaxLinks is the greatest m and payload_m.
	MaxLinks = 256
	// MaxEfConstruct is the greatest ef_construct.
	MaxEfConstruct = 65536
)

// dense checks the parameters of a dense vector or of a multi-vector.
func (c *Check) dense(field string, p *qdrant.VectorParams) {
	between(c, field+".size", p.GetSize(), 1, MaxVectorSize)
	c.hnsw(field+".hnsw_config", p.GetHnswConfig())
	c.quantization(field+".quantization_config", p.GetQuantizationConfig())
	if d := p.GetDistance(); d < qdrant.Distance_Cosine || d > qdrant.Distance_Manhattan {
		c.refuse(unable("Malformed distance parameter: %s.distance must be Cosine, Euclid, Dot or Manhattan", field))
	}
	c.datatype(field+".datatype", p.GetDatatype())
	if p.GetDatatype() == qdrant.Datatype_Turbo4 {
		if p.GetDistance() == qdrant.Distance_Manhattan {
			c.Add(field+".datatype", "value turbo4 invalid, vectors of this datatype are compared by Cosine, Dot or Euclid")
		}
		if p.GetMultivectorConfig() != nil {
			c.refuse(fault.Missing(field + ".datatype turbo4 of multi-vectors"))
		}
	}
	if m := p.GetMultivectorConfig(); m.GetComparator() != qdrant.MultiVectorComparator_MaxSim {
		c.refuse(unable("Malformed multivector_config: %s.multivector_config.comparator must be max_sim", field))
	}
	c.unpinned(field, p)
}

// sparse checks the parameters of a sparse vector.
func (c *Check) sparse(field string, p *qdrant.SparseVectorParams) {
	if i := p.GetIndex(); i != nil {
		c.weights(field+".index.datatype", i.GetDatatype())
		c.memory(field+".index", i)
	}
	c.modifier(field, p.GetModifier())
}

// weights checks the datatype of a sparse index.
func (c *Check) weights(field string, d qdrant.Datatype) {
	switch d {
	case qdrant.Datatype_Turbo4, qdrant.Datatype_Turbo8, qdrant.Datatype_Turbo16:
		c.Add(field, "value %s invalid, must be float32, float16 or uint8", d)
	default:
		c.datatype(field, d)
	}
}

func (c *Check) modifier(field string, m qdrant.Modifier) {
	if m < qdrant.Modifier_None || m > qdrant.Modifier_Idf {
		c.refuse(unable("Malformed modifier: %s.modifier must be none or idf", field))
	}
}

func (c *Check) datatype(field string, d qdrant.Datatype) {
	switch d {
	case qdrant.Datatype_Default, qdrant.Datatype_Float32, qdrant.Datatype_Float16, qdrant.Datatype_Uint8, qdrant.Datatype_Turbo4:
	case qdrant.Datatype_Turbo8:
		c.refuse(fault.Missing(field + " turbo8"))
	case qdrant.Datatype_Turbo16:
		c.refuse(fault.Missing(field + " turbo16"))
	default:
		c.refuse(unable("Malformed datatype: %s must be float32, float16, uint8 or turbo4", field))
	}
}

// kept is whatever is kept in some kind of memory.
type kept interface {
	proto.Message
	GetMemory() qdrant.Memory
}

// memory checks a placement: one that is given must be one of the three.
func (c *Check) memory(field string, m kept) {
	r := m.ProtoReflect()
	if !r.IsValid() || !r.Has(r.Descriptor().Fields().ByName("memory")) {
		return
	}
	if v := m.GetMemory(); v < qdrant.Memory_Cold || v > qdrant.Memory_Pinned {
		c.refuse(unable("Malformed memory: %s.memory must be cold, cached or pinned", field))
	}
}

// unpinned is memory of vectors, which are never pinned.
func (c *Check) unpinned(field string, m kept) {
	c.memory(field, m)
	if m.GetMemory() == qdrant.Memory_Pinned {
		c.refuse(fault.BadInput("%s.memory cannot be pinned, it must be cold or cached", field))
	}
}

// strict checks limits: those of numbers that a request needs at least one of are at
// least 1.
func (c *Check) strict(s *qdrant.StrictModeConfig) {
	if s == nil {
		return
	}
	optAtLeast(c, "strict_mode_config.max_query_limit", s.MaxQueryLimit, 1)
	optAtLeast(c, "strict_mode_config.max_timeout", s.MaxTimeout, 1)
	optAtLeast(c, "strict_mode_config.search_max_hnsw_ef", s.SearchMaxHnswEf, 1)
	optAtLeast(c, "strict_mode_config.search_max_oversampling", s.SearchMaxOversampling, 1)
	optAtLeast(c, "strict_mode_config.upsert_max_batchsize", s.UpsertMaxBatchsize, 1)
	optAtLeast(c, "strict_mode_config.search_max_batchsize", s.SearchMaxBatchsize, 1)
	optAtLeast(c, "strict_mode_config.max_collection_vector_size_bytes", s.MaxCollectionVectorSizeBytes, 1)
	optAtLeast(c, "strict_mode_config.max_collection_payload_size_bytes", s.MaxCollectionPayloadSizeBytes, 1)
	optAtLeast(c, "strict_mode_config.max_points_count", s.MaxPointsCount, 1)
	optAtLeast(c, "strict_mode_config.read_rate_limit", s.ReadRateLimit, 1)
	optAtLeast(c, "strict_mode_config.write_rate_limit", s.WriteRateLimit, 1)
	optAtLeast(c, "strict_mode_config.condition_max_size", s.ConditionMaxSize, 1)
	multi, sparse := s.GetMultivectorConfig().GetMultivectorConfig(), s.GetSparseConfig().GetSparseConfig()
	for _, name := range slices.Sorted(maps.Keys(multi)) {
		optAtLeast(c, "strict_mode_config.multivector_config."+name+".max_vectors", multi[name].MaxVectors, 1)
	}
	for _, name := range slices.Sorted(maps.Keys(sparse)) {
		optAtLeast(c, "strict_mode_config.sparse_config."+name+".max_length", sparse[name].MaxLength, 1)
	}
	if r := s.ProtoReflect(); r.Has(r.Descriptor().Fields().ByName("max_resident_memory_percent")) { // deprecated: a matter of quotas
		c.refuse(fault.Missing("strict_mode_config.max_resident_memory_percent"))
	}
}

func (c *Check) hnsw(field string, h *qdrant.HnswConfigDiff) {
	if h == nil {
		return
	}
	c.links(field+".m", h.M)
	c.links(field+".payload_m", h.PayloadM)
	optAtLeast(c, field+".ef_construct", h.EfConstruct, 4)
	optMost(c, field+".ef_construct", h.EfConstruct, MaxEfConstruct)
	c.memory(field, h)
	if h.GetInlineStorage() {
		c.refuse(fault.Missing(field + ".inline_storage"))
	}
}

// links checks a number of links: none, or at least two.
func (c *Check) links(field string, m *uint64) {
	if m != nil && (*m == 1 || *m > MaxLinks) {
		c.Add(field, "value %d invalid, must be 0 or from 2 to %d", *m, MaxLinks)
	}
}

func (c *Check) wal(w *qdrant.WalConfigDiff) {
	if w != nil {
		optAtLeast(c, "wal_config.wal_capacity_mb", w.WalCapacityMb, 1)
	}
}

func (c *Check) optimizers(o *qdrant.OptimizersConfigDiff) {
	if o == nil {
		return
	}
	optBetween(c, "optimizers_config.deleted_threshold", o.DeletedThreshold, 0, 1)
	optAtLeast(c, "optimizers_config.vacuum_min_vector_number", o.VacuumMinVectorNumber, 100)
	if o.GetPreventUnoptimized() {
		c.refuse(fault.Missing("optimizers_config.prevent_unoptimized"))
	}
}

func (c *Check) quantization(field string, q *qdrant.QuantizationConfig) {
	switch o := q.GetQuantization().(type) {
	case *qdrant.QuantizationConfig_Scalar:
		c.scalar(field, o.Scalar)
	case *qdrant.QuantizationConfig_Product:
		c.product(field, o.Product)
	case *qdrant.QuantizationConfig_Binary:
		c.binary(field, o.Binary)
	case *qdrant.QuantizationConfig_Turboquant:
		c.turbo(field, o.Turboquant)
	}
}

func (c *Check) quantizationDiff(field string, q *qdrant.QuantizationConfigDiff) {
	switch o := q.GetQuantization().(type) {
	case *qdrant.QuantizationConfigDiff_Scalar:
		c.scalar(field, o.Scalar)
	case *qdrant.QuantizationConfigDiff_Product:
		c.product(field, o.Product)
	case *qdrant.QuantizationConfigDiff_Binary:
		c.binary(field, o.Binary)
	case *qdrant.QuantizationConfigDiff_Turboquant:
		c.turbo(field, o.Turboquant)
	}
}

func (c *Check) scalar(field string, s *qdrant.ScalarQuantization) {
	optBetween(c, field+".scalar.quantile", s.Quantile, 0.5, 1)
	if s.GetType() != qdrant.QuantizationType_Int8 {
		c.refuse(unable("Unknown quantization type: %s.scalar.type must be int8", field))
	}
	c.memory(field+".scalar", s)
}

func (c *Check) product(field string, p *qdrant.ProductQuantization) {
	if r := p.GetCompression(); r < qdrant.CompressionRatio_x4 || r > qdrant.CompressionRatio_x64 {
		c.refuse(unable("Malformed compression: %s.product.compression must be x4, x8, x16, x32 or x64", field))
	}
	c.memory(field+".product", p)
}

func (c *Check) binary(field string, b *qdrant.BinaryQuantization) {
	if e := b.GetEncoding(); e < qdrant.BinaryQuantizationEncoding_OneBit || e > qdrant.BinaryQuantizationEncoding_OneAndHalfBits {
		c.refuse(unable("Malformed encoding: %s.binary.encoding must be one_bit, two_bits or one_and_half_bits", field))
	}
	if e := b.GetQueryEncoding().GetSetting(); e < qdrant.BinaryQuantizationQueryEncoding_Default || e > qdrant.BinaryQuantizationQueryEncoding_Scalar8Bits {
		c.refuse(unable("Malformed query_encoding: %s.binary.query_encoding must be default, binary, scalar4bits or scalar8bits", field))
	}
	c.memory(field+".binary", b)
}

func (c *Check) turbo(field string, t *qdrant.TurboQuantization) {
	switch b := t.GetBits(); {
	case b == qdrant.TurboQuantBitSize_Bits8:
		c.refuse(fault.Missing(field + ".turbo.bits bits8"))
	case b < qdrant.TurboQuantBitSize_Bits1 || b > qdrant.TurboQuantBitSize_Bits4:
		c.refuse(unable("Malformed bits: %s.turbo.bits must be bits1, bits1_5, bits2 or bits4", field))
	}
	c.memory(field+".turbo", t)
}
