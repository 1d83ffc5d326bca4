package rpc

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"slices"
	"strings"
	"sync/atomic"

	"google.golang.org/grpc/metadata"

	"github.com/pandodb/pando/services/internal/fault"
)

// Metadata keys.
const (
	headerKey           = "api-key"
	headerAuthorization = "authorization"
	headerClusterID     = "pando-cluster-id"
	headerClusterSecret = "pando-cluster-secret"
	headerTo            = "pando-to"
)

// Right is what a key allows.
type Right int

// The rights, each including the ones before it.
const (
	RightNone Right = iota
	RightRead
	RightWrite
)

// Keys are the API keys of a public server. Only their hashes are kept.
type Keys struct {
	full  [][sha256.Size]byte
	read  [][sha256.Size]byte
	reads map[string]bool // full method -> has no side effects
}

// NewKeys takes service.api_key, service.alt_api_key and service.read_only_api_key; an empty string is an unset key.
// With none set it returns nil, which admits everybody.
func NewKeys(api, alt, readOnly string) *Keys {
	k := &Keys{}
	for _, s := range []string{api, alt} {
		if s != "" {
			k.full = append(k.full, sha256.Sum256([]byte(s)))
		}
	}
	if readOnly != "" {
		k.read = append(k.read, sha256.Sum256([]byte(readOnly)))
	}
	if len(k.full)+len(k.read) == 0 {
		return nil
	}
	k.reads = readMethods()
	return k
}

// Right tells what key allows, in a time that does not depend on how much of it is right. A nil Keys allows all.
func (k *Keys) Right(key string) Right {
	if k == nil {
		return RightWrite
	}
	sum := sha256.Sum256([]byte(key))
	r := RightNone
	for i := range k.read {
		if subtle.ConstantTimeCompare(sum[:], k.read[i][:]) == 1 {
			r = RightRead
		}
	}
	for i := range k.full {
		if subtle.ConstantTimeCompare(sum[:], k.full[i][:]) == 1 {
			r = RightWrite
		}
	}
	return r
}

// Admit answers whether key may do what needs the right: UNAUTHENTICATED without a valid key, FORBIDDEN with one that
// is too weak. Endpoints outside of gRPC (/metrics) ask it directly.
func (k *Keys) Admit(key string, need Right) error {
	switch got := k.Right(key); {
	case got >= need:
		return nil
	case got == RightNone && key == "":
		return fault.New(fault.Unauthenticated, "Must provide an API key or an Authorization bearer token")
	case got == RightNone:
		return fault.New(fault.Unauthenticated, "Invalid API key")
	}
	return fault.New(fault.Forbidden, "This API key may only read")
}

func (k *Keys) layer(ctx context.Context, c call, next func(context.Context) error) error {
	if c.method == "/qdrant.Qdrant/HealthCheck" || strings.HasPrefix(c.method, healthService) {
		return next(ctx)
	}
	need := RightWrite
	if k.reads[c.method] || strings.HasPrefix(c.method, "/grpc.reflection.") {
		need = RightRead
	}
	if err := k.Admit(keyOf(ctx), need); err != nil {
		return err
	}
	return next(ctx)
}

// BearerKey takes the key out of an Authorization value; empty when it is of another scheme.
func BearerKey(authorization string) string {
	scheme, key, ok := strings.Cut(authorization, " ")
	if !ok || !strings.EqualFold(scheme, "bearer") {
		return ""
	}
	return strings.TrimSpace(key)
}

func keyOf(ctx context.Context) string {
	if v := metadata.ValueFromIncomingContext(ctx, headerKey); len(v) > 0 {
		return v[0]
	}
	if v := metadata.ValueFromIncomingContext(ctx, headerAuthorization); len(v) > 0 {
		return BearerKey(v[0])
	}
	return ""
}

// readMethods are the methods of the public services that change nothing. Whatever is not listed counts as a write, so
// that a method somebody forgot refuses instead of letting through; a test holds the list against the services.
func readMethods() map[string]bool {
	reads := map[string]bool{}
	for service, names := range map[string]string{
		"qdrant.Collections": "Get List ListCollectionAliases ListAliases CollectionClusterInfo CollectionExists ListShardKeys",
		"qdrant.Points": `Get Search SearchBatch SearchGroups Scroll Recommend RecommendBatch RecommendGroups Discover
			DiscoverBatch Count Query QueryBatch QueryGroups Facet SearchMatrixPairs SearchMatrixOffsets`,
		"qdrant.Snapshots": "List ListFull",
		"qdrant.Qdrant":    "HealthCheck",
		"pando.cluster.v1.Cluster": `GetPoint ClusterStatus ListConflicts ClusterTelemetry ListMetadataKeys GetMetadata Telemetry ListIssues GetQuotas
			ListOptimizations CollectionMemory CollectionCluster`,
		"pando.cluster.v1.LocalShards": "GetShardPoints ScrollShardPoints CountShardPoints",
		"pando.cluster.v1.Archives":    "ListShardSnapshots",
	} {
		for n := range strings.FieldsSeq(names) {
			reads["/"+service+"/"+n] = true
		}
	}
	return reads
}

// Cluster is what the processes of one cluster show each other on every internal call: the cluster_id, so that a
// message that reaches a recycled address of another cluster is refused; for whom the call is, so that one that reaches
// an address that another process of the cluster has now is; and the shared secret, so that a stranger's is. Safe for
// concurrent use.
type Cluster struct {
	id     atomic.Pointer[string]
	self   atomic.Pointer[string]
	secret string
	rules  CallRules
}

// CallRules name the methods (/package.Service/Method) that ask for less. Health probes need nothing.
type CallRules struct {
	// Joining are those by which a process learns the cluster_id: they need the secret only.
	Joining []string
	// Anybody are those that any process of the cluster may answer, whomever they were meant for.
	Anybody []string
}

// NewCluster starts without an id; secret may be empty.
func NewCluster(secret string, rules CallRules) *Cluster {
	c := &Cluster{secret: secret, rules: rules}
	c.id.Store(new(string))
	c.self.Store(new(string))
	return c
}

// SetID makes the id known, once it was minted or another process has told it.
func (c *Cluster) SetID(id string) { c.id.Store(&id) }

// ID is empty until SetID.
func (c *Cluster) ID() string { return *c.id.Load() }

// SetSelf says which process this is; calls for another one are refused from then on.
func (c *Cluster) SetSelf(process string) { c.self.Store(&process) }

// Secret is what NewCluster was given.
func (c *Cluster) Secret() string { return c.secret }

// attach adds our identity to an outgoing call, and whom it is for unless to is empty.
func (c *Cluster) attach(md metadata.MD, to string) {
	if id := c.ID(); id != "" {
		md.Set(headerClusterID, id)
	}
	if c.secret != "" {
		md.Set(headerClusterSecret, c.secret)
	}
	if to != "" {
		md.Set(headerTo, to)
	}
}

func (c *Cluster) layer(ctx context.Context, cl call, next func(context.Context) error) error {
	if strings.HasPrefix(cl.method, healthService) {
		return next(ctx)
	}
	if err := c.admit(ctx, cl.method); err != nil {
		return err
	}
	return next(ctx)
}

func (c *Cluster) admit(ctx context.Context, method string) error {
	if c.secret != "" {
		got, want := sha256.Sum256([]byte(first(ctx, headerClusterSecret))), sha256.Sum256([]byte(c.secret))
		if subtle.ConstantTimeCompare(got[:], want[:]) != 1 {
			return fault.New(fault.Unauthenticated, "cluster.secret is missing or differs from that of this process")
		}
	}
	theirs, ours := first(ctx, headerClusterID), c.ID()
	switch {
	case theirs == ours && ours != "":
	case slices.Contains(c.rules.Joining, method) && (theirs == "" || ours == ""):
	case ours == "":
		return fault.New(fault.NoLeader, "this process does not know its cluster yet")
	default:
		return fault.New(fault.WrongCluster, "the call is for cluster %q, this process belongs to %q", theirs, ours)
	}
	to, self := first(ctx, headerTo), *c.self.Load()
	if to != "" && self != "" && to != self && !slices.Contains(c.rules.Anybody, method) {
		return fault.New(fault.WrongProcess, "the call is for process %q, this is %q", to, self)
	}
	return nil
}

func first(ctx context.Context, key string) string {
	if v := metadata.ValueFromIncomingContext(ctx, key); len(v) > 0 {
		return v[0]
	}
	return ""
}
