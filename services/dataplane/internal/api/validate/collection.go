package validate

import (
	"fmt"
	"maps"
	"slices"

	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/internal/fault"
)

// MaxVectorSize is the greatest dimension of a dense vector.
const MaxVectorSize = 65536

// Create checks a new collection. Settings that only trade speed, memory or
// disk (graph, optimizer, log, quantization, placement in memory) are accepted
// and kept; those whose meaning this build cannot keep are NOT_BUILT.
func Create(r *qdrant.CreateCollection) error {
	var c Check
	c.NewName("collection_name", r.GetCollectionName())
	c.Timeout(r.Timeout)
	optAtLeast(&c, "shard_number", r.ShardNumber, 1)
	optAtLeast(&c, "replication_factor", r.ReplicationFactor, 1)
	optAtLeast(&c, "write_consistency_factor", r.WriteConsistencyFactor, 1)
	hnsw(&c, "hnsw_config", r.GetHnswConfig())
	wal(&c, r.GetWalConfig())
	optimizers(&c, r.GetOptimizersConfig())
	quantization(&c, "quantization_config", r.GetQuantizationConfig())
	eachVector(r.GetVectorsConfig(), func(field, name string, p *qdrant.VectorParams) {
		c.VectorName("vectors", name)
		between(&c, field+".size", p.GetSize(), 1, MaxVectorSize)
		hnsw(&c, field+".hnsw_config", p.GetHnswConfig())
		quantization(&c, field+".quantization_config", p.GetQuantizationConfig())
	})
	if err := c.Err(); err != nil {
		return err
	}
	switch m := r.GetShardingMethod(); m {
	case qdrant.ShardingMethod_Auto:
	case qdrant.ShardingMethod_Custom:
		return fault.Missing("sharding_method `custom`")
	default:
		return unable("Malformed sharding_method: %d", int32(m))
	}
	if len(r.GetSparseVectorsConfig().GetMap()) > 0 {
		return fault.Missing("sparse_vectors")
	}
	if err := strict(r.GetStrictModeConfig()); err != nil {
		return err
	}
	var err error
	eachVector(r.GetVectorsConfig(), func(field, _ string, p *qdrant.VectorParams) {
		if err == nil {
			err = vectorParams(field, p)
		}
	})
	return err
}

// eachVector visits the vectors of a collection in the order of their names.
func eachVector(v *qdrant.VectorsConfig, f func(field, name string, p *qdrant.VectorParams)) {
	if p := v.GetParams(); p != nil {
		f("vectors", "", p)
	}
	named := v.GetParamsMap().GetMap()
	for _, name := range slices.Sorted(maps.Keys(named)) {
		f(fmt.Sprintf("vectors.%s", name), name, named[name])
	}
}

// vectorParams refuses what cannot be stored as asked.
func vectorParams(field string, p *qdrant.VectorParams) error {
	if d := p.GetDistance(); d < qdrant.Distance_Cosine || d > qdrant.Distance_Manhattan {
		return unable("Malformed distance parameter: %s.distance must be Cosine, Euclid, Dot or Manhattan", field)
	}
	switch p.GetDatatype() {
	case qdrant.Datatype_Default, qdrant.Datatype_Float32:
	default:
		return fault.Missing(fmt.Sprintf("%s.datatype other than float32", field))
	}
	if p.GetMultivectorConfig() != nil {
		return fault.Missing(field + ".multivector_config")
	}
	return memory(field, p.Memory)
}

func memory(field string, m *qdrant.Memory) error {
	if m != nil && *m == qdrant.Memory_Pinned {
		return fault.BadInput("%s.memory cannot be pinned, it must be cold or cached", field)
	}
	return nil
}

// strict refuses limits that nobody would enforce.
func strict(s *qdrant.StrictModeConfig) error {
	if s.GetEnabled() {
		return fault.Missing("strict_mode_config")
	}
	return nil
}

func hnsw(c *Check, field string, h *qdrant.HnswConfigDiff) {
	if h != nil {
		optAtLeast(c, field+".ef_construct", h.EfConstruct, 4)
	}
}

func wal(c *Check, w *qdrant.WalConfigDiff) {
	if w != nil {
		optAtLeast(c, "wal_config.wal_capacity_mb", w.WalCapacityMb, 1)
	}
}

func optimizers(c *Check, o *qdrant.OptimizersConfigDiff) {
	if o != nil {
		optBetween(c, "optimizers_config.deleted_threshold", o.DeletedThreshold, 0, 1)
		optAtLeast(c, "optimizers_config.vacuum_min_vector_number", o.VacuumMinVectorNumber, 100)
	}
}

func quantization(c *Check, field string, q *qdrant.QuantizationConfig) {
	if s := q.GetScalar(); s != nil {
		scalar(c, field, s)
	}
}

func scalar(c *Check, field string, s *qdrant.ScalarQuantization) {
	optBetween(c, field+".scalar.quantile", s.Quantile, 0.5, 1)
}

func quantizationDiff(c *Check, field string, q *qdrant.QuantizationConfigDiff) {
	if s := q.GetScalar(); s != nil {
		scalar(c, field, s)
	}
}

// Update checks a change of a collection's settings.
func Update(r *qdrant.UpdateCollection) error {
	var c Check
	c.Name("collection_name", r.GetCollectionName())
	c.Timeout(r.Timeout)
	hnsw(&c, "hnsw_config", r.GetHnswConfig())
	optimizers(&c, r.GetOptimizersConfig())
	quantizationDiff(&c, "quantization_config", r.GetQuantizationConfig())
	if p := r.GetParams(); p != nil {
		optAtLeast(&c, "params.replication_factor", p.ReplicationFactor, 1)
		optAtLeast(&c, "params.write_consistency_factor", p.WriteConsistencyFactor, 1)
	}
	var err error
	for name, v := range DiffVectors(r.GetVectorsConfig()) {
		hnsw(&c, "vectors."+name+".hnsw_config", v.GetHnswConfig())
		quantizationDiff(&c, "vectors."+name+".quantization_config", v.GetQuantizationConfig())
		if e := memory("vectors."+name, v.Memory); e != nil {
			err = e
		}
	}
	if v := c.Err(); v != nil {
		return v
	}
	if len(r.GetSparseVectorsConfig().GetMap()) > 0 {
		return fault.Missing("sparse_vectors")
	}
	if err == nil {
		err = strict(r.GetStrictModeConfig())
	}
	return err
}

// DiffVectors gives the changes of vectors by name; the single form is the
// vector without a name.
func DiffVectors(d *qdrant.VectorsConfigDiff) map[string]*qdrant.VectorParamsDiff {
	if p := d.GetParams(); p != nil {
		return map[string]*qdrant.VectorParamsDiff{"": p}
	}
	return d.GetParamsMap().GetMap()
}

// Collection checks a request that names a collection and, at most, a timeout.
func Collection(name string, timeout *uint64) error {
	var c Check
	c.Name("collection_name", name)
	c.Timeout(timeout)
	return c.Err()
}

// Aliases checks a list of changes.
func Aliases(r *qdrant.ChangeAliases) error {
	var c Check
	c.Timeout(r.Timeout)
	for i, a := range r.GetActions() {
		at := fmt.Sprintf("actions[%d].", i)
		switch o := a.GetAction().(type) {
		case *qdrant.AliasOperations_CreateAlias:
			c.Name(at+"create_alias.collection_name", o.CreateAlias.GetCollectionName())
			c.NewName(at+"create_alias.alias_name", o.CreateAlias.GetAliasName())
		case *qdrant.AliasOperations_RenameAlias:
			c.Name(at+"rename_alias.old_alias_name", o.RenameAlias.GetOldAliasName())
			c.NewName(at+"rename_alias.new_alias_name", o.RenameAlias.GetNewAliasName())
		case *qdrant.AliasOperations_DeleteAlias:
			c.Name(at+"delete_alias.alias_name", o.DeleteAlias.GetAliasName())
		default:
			return unable("Malformed alias operation: actions[%d] holds none", i)
		}
	}
	return c.Err()
}
