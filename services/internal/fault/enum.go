package fault

import (
	"slices"

	clusterv1 "github.com/pandodb/pando/gen/go/pando/cluster/v1"
)

// Reason is why a call failed, for programs. The proto file says what each one means.
type Reason = clusterv1.Reason

// The reasons under short names, so that edges need no second import.
const (
	Unspecified         = clusterv1.Reason_REASON_UNSPECIFIED
	CollectionNotFound  = clusterv1.Reason_REASON_COLLECTION_NOT_FOUND
	CollectionExists    = clusterv1.Reason_REASON_COLLECTION_EXISTS
	AliasClash          = clusterv1.Reason_REASON_ALIAS_CLASH
	PointNotFound       = clusterv1.Reason_REASON_POINT_NOT_FOUND
	Validation          = clusterv1.Reason_REASON_VALIDATION
	Malformed           = clusterv1.Reason_REASON_MALFORMED
	InvalidArgument     = clusterv1.Reason_REASON_INVALID_ARGUMENT
	VectorNameUnknown   = clusterv1.Reason_REASON_VECTOR_NAME_UNKNOWN
	DimensionMismatch   = clusterv1.Reason_REASON_DIMENSION_MISMATCH
	Unauthenticated     = clusterv1.Reason_REASON_UNAUTHENTICATED
	Forbidden           = clusterv1.Reason_REASON_FORBIDDEN
	NotBuilt            = clusterv1.Reason_REASON_NOT_BUILT
	NotClustered        = clusterv1.Reason_REASON_NOT_CLUSTERED
	WriteOutcomeUnknown = clusterv1.Reason_REASON_WRITE_OUTCOME_UNKNOWN
	Timeout             = clusterv1.Reason_REASON_TIMEOUT
	ShardUnavailable    = clusterv1.Reason_REASON_SHARD_UNAVAILABLE
	StaleEpoch          = clusterv1.Reason_REASON_STALE_EPOCH
	NotPrimary          = clusterv1.Reason_REASON_NOT_PRIMARY
	WrongCluster        = clusterv1.Reason_REASON_WRONG_CLUSTER
	DiskFull            = clusterv1.Reason_REASON_DISK_FULL
	ReplicaFailed       = clusterv1.Reason_REASON_REPLICA_FAILED
	TooLarge            = clusterv1.Reason_REASON_TOO_LARGE
	RateLimited         = clusterv1.Reason_REASON_RATE_LIMITED
	StorageCorrupt      = clusterv1.Reason_REASON_STORAGE_CORRUPT
	NoLeader            = clusterv1.Reason_REASON_NO_LEADER
	ShuttingDown        = clusterv1.Reason_REASON_SHUTTING_DOWN
	Detached            = clusterv1.Reason_REASON_DETACHED
	NotFound            = clusterv1.Reason_REASON_NOT_FOUND
	JoinRefused         = clusterv1.Reason_REASON_JOIN_REFUSED
	PeerRemoved         = clusterv1.Reason_REASON_PEER_REMOVED
	WrongProcess        = clusterv1.Reason_REASON_WRONG_PROCESS
)

// parseName is Name backwards; a name that this build does not know is Unspecified.
func parseName(s string) Reason { return Reason(clusterv1.Reason_value[namePrefix+s]) }

// all lists the enum, for tests.
func all() []Reason {
	var out []Reason
	for n := range clusterv1.Reason_name {
		out = append(out, Reason(n))
	}
	slices.Sort(out)
	return out
}
