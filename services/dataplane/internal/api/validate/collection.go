package validate

import (
	"fmt"
	"maps"
	"slices"
	"strings"

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
	c.hnsw("hnsw_config", r.GetHnswConfig())
	c.wal(r.GetWalConfig())
	c.optimizers(r.GetOptimizersConfig())
	c.quantization("quantization_config", r.GetQuantizationConfig())
	c.memory("payload", r.GetPayload())
	c.memory("id_tracker", r.GetIdTracker())
	eachVector(r.GetVectorsConfig(), func(field, name string, p *qdrant.VectorParams) {
		c.VectorName("vectors", name)
		c.dense(field, p)
	})
	eachSparse(r.GetSparseVectorsConfig(), func(field, name string, p *qdrant.SparseVectorParams) {
		c.VectorName("sparse_vectors", name)
		c.sparse(field, p)
	})
	if m := r.GetShardingMethod(); m != qdrant.ShardingMethod_Auto && m != qdrant.ShardingMethod_Custom {
		c.refuse(unable("Malformed sharding_method: %d", int32(m)))
	}
	c.strict(r.GetStrictModeConfig())
	if err := c.Err(); err != nil {
		return err
	}
	return distinct(r)
}

// distinct wants each name of a vector once.
func distinct(r *qdrant.CreateCollection) (err error) {
	eachVector(r.GetVectorsConfig(), func(_, name string, _ *qdrant.VectorParams) {
		if _, twice := r.GetSparseVectorsConfig().GetMap()[name]; twice && err == nil {
			err = fault.BadInput("Dense and sparse vector names must be unique - duplicate found with '%s'", name)
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

// eachSparse visits the sparse vectors in the order of their names.
func eachSparse(v *qdrant.SparseVectorConfig, f func(field, name string, p *qdrant.SparseVectorParams)) {
	for _, name := range slices.Sorted(maps.Keys(v.GetMap())) {
		f(fmt.Sprintf("sparse_vectors.%s", name), name, v.GetMap()[name])
	}
}

// Update checks a change of a collection's settings.
func Update(r *qdrant.UpdateCollection) error {
	var c Check
	c.Name("collection_name", r.GetCollectionName())
	c.Timeout(r.Timeout)
	c.hnsw("hnsw_config", r.GetHnswConfig())
	c.optimizers(r.GetOptimizersConfig())
	c.quantizationDiff("quantization_config", r.GetQuantizationConfig())
	if p := r.GetParams(); p != nil {
		optAtLeast(&c, "params.replication_factor", p.ReplicationFactor, 1)
		optAtLeast(&c, "params.write_consistency_factor", p.WriteConsistencyFactor, 1)
		c.memory("params.payload", p.GetPayload())
		c.memory("params.id_tracker", p.GetIdTracker())
	}
	diffs := DiffVectors(r.GetVectorsConfig())
	for _, name := range slices.Sorted(maps.Keys(diffs)) {
		field, v := strings.TrimSuffix("vectors."+name, "."), diffs[name]
		c.hnsw(field+".hnsw_config", v.GetHnswConfig())
		c.quantizationDiff(field+".quantization_config", v.GetQuantizationConfig())
		c.unpinned(field, v)
	}
	eachSparse(r.GetSparseVectorsConfig(), func(field, _ string, p *qdrant.SparseVectorParams) { c.sparse(field, p) })
	c.strict(r.GetStrictModeConfig())
	return c.Err()
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
