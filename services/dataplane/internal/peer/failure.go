package peer

import (
	"context"
	"errors"
	"fmt"

	shardv1 "github.com/pandodb/pando/gen/go/pando/shard/v1"
	"github.com/pandodb/pando/services/dataplane/internal/filter"
	"github.com/pandodb/pando/services/dataplane/internal/node"
	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/oplog"
	"github.com/pandodb/pando/services/dataplane/internal/payload"
	"github.com/pandodb/pando/services/dataplane/internal/query"
	"github.com/pandodb/pando/services/dataplane/internal/replica"
	"github.com/pandodb/pando/services/dataplane/internal/shard"
	"github.com/pandodb/pando/services/internal/fault"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/wire"
)

// staleError carries the newer placement back to the sender.
type staleError struct {
	placement topology.Placement
	sent      uint64
}

func (e *staleError) Error() string {
	return fmt.Sprintf("epoch %d is behind epoch %d", e.sent, e.placement.Epoch)
}

// sentinels is the one table from the errors of replica and node to reasons.
var sentinels = [...]struct {
	err    error
	reason fault.Reason
}{
	{shard.ErrCorrupt, fault.StorageCorrupt}, // before ErrNotLoaded, which wraps it: waiting mends nothing
	{replica.ErrStateCorrupt, fault.StorageCorrupt},
	{node.ErrNoReplica, fault.ShardUnavailable}, // the sender's placement says otherwise: one of the two is about to learn
	{node.ErrNotLoaded, fault.ShardUnavailable},
	{replica.ErrNotPrimary, fault.NotPrimary},
	{replica.ErrTooFewActive, fault.ShardUnavailable},
	{replica.ErrDetached, fault.Detached},
	{replica.ErrMoving, fault.ShardUnavailable},
	{replica.ErrBusy, fault.ShardUnavailable},
	{replica.ErrNoSpace, fault.DiskFull},
	{replica.ErrUnknownOutcome, fault.WriteOutcomeUnknown},
	{replica.ErrStopped, fault.ShuttingDown},
	{replica.ErrFailed, fault.ReplicaFailed},
	{replica.ErrNotReady, fault.ShardUnavailable},
	{shard.ErrNoSpace, fault.DiskFull},
	{shard.ErrFailed, fault.ReplicaFailed},
	{shard.ErrClosed, fault.ShardUnavailable},
	{shard.ErrNoIndex, fault.ShardUnavailable}, // the settings that the coordinator knows are not in effect here yet
	{query.ErrNotBuilt, fault.NotBuilt},
	{op.ErrTooLarge, fault.TooLarge},
	{context.DeadlineExceeded, fault.Timeout},
	{context.Canceled, fault.Timeout},
}

// failure turns an engine error into what a coordinator may decide by.
func failure(err error, s topology.Shard) *shardv1.Failure {
	var stale *staleError
	if errors.As(err, &stale) {
		return &shardv1.Failure{Reason: fault.StaleEpoch, Message: fmt.Sprintf("shard %d: %v", s.ID, err),
			Placement: wire.ProtoPlacement(stale.placement)}
	}
	var f *fault.Error
	if errors.As(err, &f) {
		return &shardv1.Failure{Reason: f.Reason, Message: f.Msg, Meta: f.Meta}
	}
	// First, since a replica with damaged data wraps what it found wrong, which is no fault of the request.
	if errors.As(err, new(*oplog.CorruptError)) {
		return &shardv1.Failure{Reason: fault.StorageCorrupt, Message: fmt.Sprintf("shard %d: %v", s.ID, err)}
	}
	for _, row := range sentinels {
		if errors.Is(err, row.err) {
			return &shardv1.Failure{Reason: row.reason, Message: fmt.Sprintf("shard %d: %v", s.ID, err)}
		}
	}
	if msg, reason, ok := refusal(err); ok {
		return &shardv1.Failure{Reason: reason, Message: msg}
	}
	return &shardv1.Failure{Reason: fault.ReplicaFailed, Message: fmt.Sprintf("shard %d: %v", s.ID, err)}
}

// refusal names what is wrong with a request, in the words that clients know.
func refusal(err error) (string, fault.Reason, bool) {
	var dim *shard.DimensionError
	var size *query.DimensionError
	var name *shard.VectorNameError
	var point *shard.NoPointError
	switch {
	case errors.As(err, &dim):
		return fmt.Sprintf("Wrong input: Vector dimension error: expected dim: %d, got %d", dim.Want, dim.Got), fault.DimensionMismatch, true
	case errors.As(err, &size):
		return fmt.Sprintf("Wrong input: Vector dimension error: expected dim: %d, got %d", size.Want, size.Got), fault.DimensionMismatch, true
	case errors.As(err, &name):
		return fmt.Sprintf("Wrong input: Not existing vector name error: %s", name.Name), fault.VectorNameUnknown, true
	case errors.As(err, &point):
		return fmt.Sprintf("Not found: No point with id %s found", point.ID), fault.PointNotFound, true
	case errors.Is(err, shard.ErrNotFinite), errors.Is(err, query.ErrNotFinite), errors.Is(err, query.ErrVector), errors.Is(err, query.ErrRank), errors.Is(err, shard.ErrWrite):
		return fmt.Sprintf("Wrong input: %v", err), fault.InvalidArgument, true
	}
	for _, bad := range [...]error{filter.ErrFilter, payload.ErrPath, payload.ErrDepth, payload.ErrTooLarge, payload.ErrNotFinite, payload.ErrUTF8} {
		if errors.Is(err, bad) {
			return fmt.Sprintf("Bad request: %v", err), fault.InvalidArgument, true
		}
	}
	return "", 0, false
}
