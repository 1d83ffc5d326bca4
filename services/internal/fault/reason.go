package fault

import (
	"net/http"
	"strings"

	"google.golang.org/grpc/codes"
)

// row is what the outside sees of a reason.
type row struct {
	code codes.Code
	http int
}

// rowOf is THE table: every reason, its gRPC code and its HTTP status. A reason of a newer build that this one does
// not know is an internal error.
func rowOf(r Reason) row {
	switch r {
	// What the caller named is not there, or is there already.
	case CollectionNotFound, PointNotFound, NotFound:
		return row{codes.NotFound, http.StatusNotFound}
	case CollectionExists:
		return row{codes.AlreadyExists, http.StatusConflict}

	// The request cannot be right: VALIDATION is a field out of its range (422), the others are 400.
	case Validation:
		return row{codes.InvalidArgument, http.StatusUnprocessableEntity}
	case Malformed, InvalidArgument, AliasClash, VectorNameUnknown, DimensionMismatch:
		return row{codes.InvalidArgument, http.StatusBadRequest}
	case TooLarge:
		return row{codes.ResourceExhausted, http.StatusRequestEntityTooLarge}

	// Who asks.
	case Unauthenticated:
		return row{codes.Unauthenticated, http.StatusUnauthorized}
	case Forbidden:
		return row{codes.PermissionDenied, http.StatusForbidden}

	// What this build or this deployment cannot do.
	case NotBuilt:
		return row{codes.Unimplemented, http.StatusNotImplemented}
	case NotClustered:
		return row{codes.Unimplemented, http.StatusMethodNotAllowed}

	// Time. After WRITE_OUTCOME_UNKNOWN the write may or may not have happened.
	case WriteOutcomeUnknown, Timeout:
		return row{codes.DeadlineExceeded, http.StatusRequestTimeout}

	// Not now, or not here: a retry elsewhere or later can succeed.
	case ShardUnavailable, NoLeader, ShuttingDown, Detached, WrongProcess:
		return row{codes.Unavailable, http.StatusServiceUnavailable}
	case StaleEpoch:
		return row{codes.Aborted, http.StatusServiceUnavailable}
	case NotPrimary:
		return row{codes.FailedPrecondition, http.StatusServiceUnavailable}
	case WrongCluster, JoinRefused, PeerRemoved:
		return row{codes.FailedPrecondition, http.StatusInternalServerError}
	case RateLimited:
		return row{codes.ResourceExhausted, http.StatusTooManyRequests}
	case DiskFull:
		return row{codes.ResourceExhausted, http.StatusInsufficientStorage}

	// Something is broken.
	case ReplicaFailed:
		return row{codes.Internal, http.StatusInternalServerError}
	case StorageCorrupt:
		return row{codes.DataLoss, http.StatusInternalServerError}
	}
	return row{codes.Internal, http.StatusInternalServerError}
}

// httpOfCode serves statuses that carry no reason of ours, such as those that grpc itself makes.
func httpOfCode(c codes.Code) int {
	switch c {
	case codes.OK:
		return http.StatusOK
	case codes.Canceled:
		return 499 // the caller closed the request; the number is nginx's, the standard has none
	case codes.InvalidArgument, codes.OutOfRange:
		return http.StatusBadRequest
	case codes.DeadlineExceeded:
		return http.StatusRequestTimeout
	case codes.NotFound:
		return http.StatusNotFound
	case codes.AlreadyExists:
		return http.StatusConflict
	case codes.PermissionDenied:
		return http.StatusForbidden
	case codes.Unauthenticated:
		return http.StatusUnauthorized
	case codes.ResourceExhausted:
		return http.StatusTooManyRequests
	case codes.Aborted, codes.Unavailable:
		return http.StatusServiceUnavailable
	case codes.Unimplemented:
		return http.StatusNotImplemented
	case codes.FailedPrecondition, codes.Internal, codes.DataLoss, codes.Unknown:
		return http.StatusInternalServerError
	}
	return http.StatusInternalServerError
}

// namePrefix is what buf's STANDARD lint wants in front of enum values and what ErrorInfo.reason leaves out.
const namePrefix = "REASON_"

// Name is the reason as ErrorInfo and logs show it: COLLECTION_NOT_FOUND.
func Name(r Reason) string { return strings.TrimPrefix(r.String(), namePrefix) }

// Constructors for what several services say, so that they say it in the same words (the ones clients know).

// NoCollection says that neither a collection nor an alias of that name exists.
func NoCollection(name string) *Error {
	return New(CollectionNotFound, "Not found: Collection `%s` doesn't exist!", name).With(MetaCollection, name)
}

// CollectionTaken says that a collection of that name exists.
func CollectionTaken(name string) *Error {
	return New(CollectionExists, "Wrong input: Collection `%s` already exists!", name).With(MetaCollection, name)
}

// BadInput is a well-formed request that cannot be carried out as it stands (400).
func BadInput(format string, args ...any) *Error {
	e := New(InvalidArgument, format, args...)
	e.Msg = "Wrong input: " + e.Msg
	return e
}

// Missing names a method or a feature that this build does not have yet (501).
func Missing(what string) *Error {
	return New(NotBuilt, "%s is not built yet", what).With(MetaMethod, what)
}

// Standalone is the answer of cluster operations where cluster.enabled is false (405).
func Standalone(what string) *Error {
	return New(NotClustered, "%s needs a cluster, and this node runs standalone (cluster.enabled: false)", what)
}
