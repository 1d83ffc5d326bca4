package collections

import (
	"cmp"

	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/dataplane/internal/query"
	"google.golang.org/protobuf/proto"
)

// withDefaults is the configuration of a new collection: what the user asked
// for, then what the operator set, and the public API's defaults (1.19) for the
// rest. Settings without a default stay unset. A shard number of 0 leaves the
// choice to the control plane, which takes the number of peers.
func (s *Service) withDefaults(r *qdrant.CreateCollection) *qdrant.CollectionConfig {
	own, also := s.d.Defaults, cmp.Or(s.d.New, &qdrant.CreateCollection{})
	perPeer := own.ShardNumberPerNode * len(s.d.View.Map().Peers())
	return &qdrant.CollectionConfig{
		Params: &qdrant.CollectionParams{
			ShardNumber:            cmp.Or(r.GetShardNumber(), uint32(own.ShardNumber), uint32(perPeer)),
			OnDiskPayload:          *or(r.OnDiskPayload, *or(also.OnDiskPayload, true)),
			VectorsConfig:          r.GetVectorsConfig(),
			SparseVectorsConfig:    r.GetSparseVectorsConfig(),
			ReplicationFactor:      or(r.ReplicationFactor, cmp.Or(uint32(own.ReplicationFactor), 1)),
			WriteConsistencyFactor: or(r.WriteConsistencyFactor, cmp.Or(uint32(own.WriteConsistencyFactor), 1)),
			ShardingMethod:         r.ShardingMethod,
			Payload:                r.GetPayload(),
			IdTracker:              r.GetIdTracker(),
		},
		HnswConfig:         hnsw(also.GetHnswConfig(), r.GetHnswConfig()),
		OptimizerConfig:    optimizers(also.GetOptimizersConfig(), r.GetOptimizersConfig()),
		WalConfig:          wal(also.GetWalConfig(), r.GetWalConfig()),
		QuantizationConfig: cmp.Or(r.GetQuantizationConfig(), also.GetQuantizationConfig()),
		StrictModeConfig:   over(nil, also.GetStrictModeConfig(), r.GetStrictModeConfig()),
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

// over puts what is set in later messages over the first; nil if all are.
func over[M interface {
	comparable
	proto.Message
}](out M, in ...M) M {
	var none M
	for _, m := range in {
		switch {
		case m == none:
		case out == none:
			out = proto.CloneOf(m)
		default:
			proto.Merge(out, m)
		}
	}
	return out
}

func hnsw(in ...*qdrant.HnswConfigDiff) *qdrant.HnswConfigDiff {
	d := query.DefaultHNSW()
	return over(&qdrant.HnswConfigDiff{M: number(d.M), EfConstruct: number(d.EfConstruct), FullScanThreshold: number(d.FullScanThreshold),
		MaxIndexingThreads: number(d.Threads), OnDisk: new(d.OnDisk)}, in...)
}

// flushInterval, in seconds, is shown to clients that expect one: writes are synced in
// the operation log before they are answered, so that nothing waits for a flush.
const flushInterval = 5

func optimizers(in ...*qdrant.OptimizersConfigDiff) *qdrant.OptimizersConfigDiff {
	d := query.DefaultOptimizers()
	return over(&qdrant.OptimizersConfigDiff{DeletedThreshold: new(d.DeletedThreshold), VacuumMinVectorNumber: number(d.VacuumMinVectors),
		DefaultSegmentNumber: number(d.SegmentNumber), IndexingThreshold: new(d.IndexingThresholdKB), FlushIntervalSec: new(uint64(flushInterval))}, in...)
}

func number(n int) *uint64 { return new(uint64(n)) }

func wal(in ...*qdrant.WalConfigDiff) *qdrant.WalConfigDiff {
	return over(&qdrant.WalConfigDiff{WalCapacityMb: new(uint64(32)), WalSegmentsAhead: new(uint64(0)), WalRetainClosed: new(uint64(1))}, in...)
}
