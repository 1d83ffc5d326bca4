// Package settings changes the configuration of a collection as updates ask. It is
// pure.
package settings

import (
	"google.golang.org/protobuf/proto"

	placementv1 "github.com/pandodb/pando/gen/go/pando/placement/v1"
	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/internal/fault"
)

// Merge applies an update to a configuration: what the update leaves unset stays.
func Merge(cfg *qdrant.CollectionConfig, req *placementv1.UpdateCollectionRequest) error {
	if cfg.Params == nil {
		cfg.Params = &qdrant.CollectionParams{}
	}
	params(cfg.Params, req.GetParams())
	cfg.HnswConfig = merged(cfg.HnswConfig, req.GetHnswConfig())
	cfg.OptimizerConfig = merged(cfg.OptimizerConfig, req.GetOptimizersConfig())
	cfg.StrictModeConfig = merged(cfg.StrictModeConfig, req.GetStrictModeConfig())
	cfg.QuantizationConfig = quantization(cfg.QuantizationConfig, req.GetQuantizationConfig())
	if err := vectors(cfg.Params, req.GetVectorsConfig()); err != nil {
		return err
	}
	if err := sparse(cfg.Params, req.GetSparseVectorsConfig()); err != nil {
		return err
	}
	for key, value := range req.GetMetadata() {
		if _, null := value.GetKind().(*qdrant.Value_NullValue); null {
			delete(cfg.Metadata, key)
			continue
		}
		if cfg.Metadata == nil {
			cfg.Metadata = map[string]*qdrant.Value{}
		}
		cfg.Metadata[key] = value
	}
	return nil
}

// merged overlays the set fields of diff on a copy of base; either may be nil.
func merged[M interface {
	proto.Message
	comparable
}](base, diff M) M {
	var none M
	switch {
	case diff == none:
		return base
	case base == none:
		return diff
	}
	proto.Merge(base, diff)
	return base
}

func params(p *qdrant.CollectionParams, d *qdrant.CollectionParamsDiff) {
	if d == nil {
		return
	}
	if d.ReplicationFactor != nil {
		p.ReplicationFactor = d.ReplicationFactor
	}
	if d.WriteConsistencyFactor != nil {
		p.WriteConsistencyFactor = d.WriteConsistencyFactor
	}
	if d.ReadFanOutFactor != nil {
		p.ReadFanOutFactor = d.ReadFanOutFactor
	}
	if d.ReadFanOutDelayMs != nil {
		p.ReadFanOutDelayMs = d.ReadFanOutDelayMs
	}
	r := d.ProtoReflect()
	if f := r.Descriptor().Fields().ByName("on_disk_payload"); r.Has(f) { // deprecated, still honoured
		to := p.ProtoReflect()
		to.Set(to.Descriptor().Fields().ByName("on_disk_payload"), r.Get(f))
	}
	p.Payload = merged(p.Payload, d.GetPayload())
	p.IdTracker = merged(p.IdTracker, d.GetIdTracker())
}

// quantization replaces the kind as a whole: two kinds have nothing in common to merge.
func quantization(q *qdrant.QuantizationConfig, d *qdrant.QuantizationConfigDiff) *qdrant.QuantizationConfig {
	switch o := d.GetQuantization().(type) {
	case *qdrant.QuantizationConfigDiff_Scalar:
		return &qdrant.QuantizationConfig{Quantization: &qdrant.QuantizationConfig_Scalar{Scalar: o.Scalar}}
	case *qdrant.QuantizationConfigDiff_Product:
		return &qdrant.QuantizationConfig{Quantization: &qdrant.QuantizationConfig_Product{Product: o.Product}}
	case *qdrant.QuantizationConfigDiff_Binary:
		return &qdrant.QuantizationConfig{Quantization: &qdrant.QuantizationConfig_Binary{Binary: o.Binary}}
	case *qdrant.QuantizationConfigDiff_Turboquant:
		return &qdrant.QuantizationConfig{Quantization: &qdrant.QuantizationConfig_Turboquant{Turboquant: o.Turboquant}}
	case *qdrant.QuantizationConfigDiff_Disabled:
		return nil
	}
	return q
}

func vectors(p *qdrant.CollectionParams, d *qdrant.VectorsConfigDiff) error {
	for name, diff := range vectorDiffs(d) {
		v := vectorOf(p.GetVectorsConfig(), name)
		if v == nil {
			return fault.New(fault.VectorNameUnknown, "Wrong input: Not existing vector name error: %s", name)
		}
		v.HnswConfig = merged(v.HnswConfig, diff.GetHnswConfig())
		v.QuantizationConfig = quantization(v.QuantizationConfig, diff.GetQuantizationConfig())
		if diff.Memory != nil {
			v.Memory = diff.Memory
		}
		r := diff.ProtoReflect()
		if f := r.Descriptor().Fields().ByName("on_disk"); r.Has(f) { // deprecated, still honoured
			to := v.ProtoReflect()
			to.Set(to.Descriptor().Fields().ByName("on_disk"), r.Get(f))
		}
	}
	return nil
}

// vectorDiffs are the changes by name; the unnamed vector is "".
func vectorDiffs(d *qdrant.VectorsConfigDiff) map[string]*qdrant.VectorParamsDiff {
	if p := d.GetParams(); p != nil {
		return map[string]*qdrant.VectorParamsDiff{"": p}
	}
	return d.GetParamsMap().GetMap()
}

func vectorOf(c *qdrant.VectorsConfig, name string) *qdrant.VectorParams {
	if name == "" && c.GetParams() != nil {
		return c.GetParams()
	}
	return c.GetParamsMap().GetMap()[name]
}

func sparse(p *qdrant.CollectionParams, d *qdrant.SparseVectorConfig) error {
	for name, diff := range d.GetMap() {
		v := p.GetSparseVectorsConfig().GetMap()[name]
		if v == nil {
			return fault.New(fault.VectorNameUnknown, "Wrong input: Not existing vector name error: %s", name)
		}
		proto.Merge(v, diff)
	}
	return nil
}
