package fault

import "strconv"

// Reason is pando.cluster.v1.Reason.
type Reason int32

// The reasons, in the order of the enum.
const (
	Unspecified Reason = iota
	CollectionNotFound
	CollectionExists
	AliasClash
	PointNotFound
	Validation
	Malformed
	InvalidArgument
	VectorNameUnknown
	DimensionMismatch
	Unauthenticated
	Forbidden
	NotBuilt
	NotClustered
	WriteOutcomeUnknown
	Timeout
	ShardUnavailable
	StaleEpoch
	NotPrimary
	WrongCluster
	DiskFull
	ReplicaFailed
	TooLarge
	RateLimited
	StorageCorrupt
	NoLeader
	ShuttingDown
	Detached
	NotFound
)

func names() []string {
	return []string{"UNSPECIFIED", "COLLECTION_NOT_FOUND", "COLLECTION_EXISTS", "ALIAS_CLASH", "POINT_NOT_FOUND",
		"VALIDATION", "MALFORMED", "INVALID_ARGUMENT", "VECTOR_NAME_UNKNOWN", "DIMENSION_MISMATCH", "UNAUTHENTICATED",
		"FORBIDDEN", "NOT_BUILT", "NOT_CLUSTERED", "WRITE_OUTCOME_UNKNOWN", "TIMEOUT", "SHARD_UNAVAILABLE", "STALE_EPOCH",
		"NOT_PRIMARY", "WRONG_CLUSTER", "DISK_FULL", "REPLICA_FAILED", "TOO_LARGE", "RATE_LIMITED", "STORAGE_CORRUPT",
		"NO_LEADER", "SHUTTING_DOWN", "DETACHED", "NOT_FOUND"}
}

func (r Reason) String() string {
	if n := names(); r >= 0 && int(r) < len(n) {
		return namePrefix + n[r]
	}
	return strconv.Itoa(int(r))
}

func parseName(s string) Reason {
	for i, n := range names() {
		if n == s {
			return Reason(i)
		}
	}
	return Unspecified
}

func all() []Reason {
	out := make([]Reason, len(names()))
	for i := range out {
		out[i] = Reason(i)
	}
	return out
}
