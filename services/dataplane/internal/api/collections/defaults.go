package collections

import (
	"cmp"

	"github.com/pandodb/pando/gen/go/qdrant"
	"google.golang.org/protobuf/proto"
)

// withDefaults is the configuration of a new collection: what the user asked
// for, then what the operator set, and the public API's defaults (1.19) for the
// rest. Settings without a default stay unset. A shard number of 0 leaves the
// choice to the control plane, which takes the number of peers.
func (s *Service) withDefaults(r *qdrant.CreateCollection) *qdrant.CollectionConfig {
	own := s.d.Defaults
	perPeer := own.ShardNumberPerNode * len(s.d.View.Map().Peers())
	return &qdrant.CollectionConfig{
		Params: &qdrant.CollectionParams{
			ShardNumber:            cmp.Or(r.GetShardNumber(), uint32(own.ShardNumber), uint32(perPeer)),
			OnDiskPayload:          r.OnDiskPayload == nil || *r.OnDiskPayload,
			VectorsConfig:          r.GetVectorsConfig(),
			ReplicationFactor:      or(r.ReplicationFactor, cmp.Or(uint32(own.ReplicationFactor), 1)),
			WriteConsistencyFactor: or(r.WriteConsistencyFactor, cmp.Or(uint32(own.WriteConsistencyFactor), 1)),
			ShardingMethod:         r.ShardingMethod,
			Payload:                r.GetPayload(),
			IdTracker:              r.GetIdTracker(),
		},
		HnswConfig:         hnsw(r.GetHnswConfig()),
		OptimizerConfig:    optimizers(r.GetOptimizersConfig()),
		WalConfig:          wal(r.GetWalConfig()),
		QuantizationConfig: r.GetQuantizationConfig(),
		StrictModeConfig:   r.GetStrictModeConfig(),
		Metadata:           r.GetMetadata(),
	}
}

// or gives what is set, else the default.
func or[T any](v *T, def T) *T {
	if v != nil {
		return v
	}
	return &def
}

func hnsw(in *qdrant.HnswConfigDiff) *qdrant.HnswConfigDiff {
	out := &qdrant.HnswConfigDiff{M: new(uint64(16)), EfConstruct: new(uint64(100)), FullScanThreshold: new(uint64(10000)),
		MaxIndexingThreads: new(uint64(0)), OnDisk: new(false)}
	proto.Merge(out, in)
	return out
}

func optimizers(in *qdrant.OptimizersConfigDiff) *qdrant.OptimizersConfigDiff {
	out := &qdrant.OptimizersConfigDiff{DeletedThreshold: new(0.2), VacuumMinVectorNumber: new(uint64(1000)),
		DefaultSegmentNumber: new(uint64(0)), IndexingThreshold: new(uint64(10000)), FlushIntervalSec: new(uint64(5))}
	proto.Merge(out, in)
	return out
}

func wal(in *qdrant.WalConfigDiff) *qdrant.WalConfigDiff {
	out := &qdrant.WalConfigDiff{WalCapacityMb: new(uint64(32)), WalSegmentsAhead: new(uint64(0)), WalRetainClosed: new(uint64(1))}
	proto.Merge(out, in)
	return out
}
