// Package points is the service qdrant.Points: it checks a request against the
// collection's schema, turns it into operations or reads of shards, and hands
// them to the coordinator.
//
// It knows nothing of shards' places, retries or merging. Methods that it does
// not have yet are answered as NOT_BUILT by package expose.
package points

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	shardv1 "github.com/pandodb/pando/gen/go/pando/shard/v1"
	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/dataplane/internal/api/validate"
	"github.com/pandodb/pando/services/dataplane/internal/api/view"
	"github.com/pandodb/pando/services/dataplane/internal/coordinator"
	"github.com/pandodb/pando/services/dataplane/internal/coordinator/plan"
	"github.com/pandodb/pando/services/internal/fault"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/wire"
	"google.golang.org/grpc/metadata"
)

// HeaderOperationID is the metadata key by which a client names its operation,
// so that a repetition has no second effect. Its value is a UUID.
const HeaderOperationID = "pando-op-id"

// HeaderParts is the metadata key by which an answer says that an operation was too
// large for one entry of a shard's log, and how many it took there: a crash may leave
// the first of them alone until the operation is repeated.
const HeaderParts = "pando-parts"

// HeaderProvisional is the metadata key by which an answer says that a write was taken
// while neither the other replicas nor the control plane could be reached, and how many
// disks have it: it will be in the log later (docs/guarantees.md).
const HeaderProvisional = "pando-provisional"

// HeaderDetached is the metadata key by which an answer to a read says that a replica
// gave it which reaches neither the others nor the control plane: it may lack what was
// acknowledged elsewhere since (docs/guarantees.md).
const HeaderDetached = "pando-detached"

// HeaderRead is the metadata key by which a client asks that a read shows
// everything that was acknowledged before it: with the value "linearizable".
const HeaderRead = "pando-read"

// Coordinator carries requests over the shards; coordinator.Coordinator is one.
type Coordinator interface {
	Write(ctx context.Context, w coordinator.Write) (coordinator.Outcome, error)
	Get(ctx context.Context, r coordinator.Read, ids []*qdrant.PointId, sel coordinator.Select) ([]*qdrant.RetrievedPoint, error)
	Scroll(ctx context.Context, r coordinator.Read, filter *qdrant.Filter, offset *qdrant.PointId, limit uint32, sel coordinator.Select) (coordinator.Page, error)
	Count(ctx context.Context, r coordinator.Read, filter *qdrant.Filter, exact bool) (uint64, error)
	Query(ctx context.Context, r coordinator.Read, trees []*plan.Tree) ([][]*qdrant.ScoredPoint, error)
	Fields
}

// Fields is what is read from indexes on payload fields.
type Fields interface {
	Settled(ctx context.Context, t coordinator.Target, revision uint64, timeout time.Duration) (bool, error)
	ScrollBy(ctx context.Context, r coordinator.Read, filter *qdrant.Filter, order *qdrant.OrderBy, limit uint32, sel coordinator.Select) ([]*qdrant.RetrievedPoint, error)
	Facet(ctx context.Context, r coordinator.Read, f *shardv1.FacetPoints) ([]*qdrant.FacetHit, error)
}

// Deps are the seams of a Service; all must be set.
type Deps struct {
	View        *view.Cluster
	Coordinator Coordinator
	Catalog     Catalog
	// AwaitRevision waits until the map has reached a revision.
	AwaitRevision func(ctx context.Context, revision uint64) error
}

// Service implements qdrant.PointsServer.
type Service struct {
	qdrant.UnimplementedPointsServer
	d Deps
}

// New makes the service.
func New(d Deps) *Service { return &Service{d: d} }

func duration(seconds *uint64) time.Duration {
	if seconds == nil {
		return 0
	}
	return time.Duration(min(*seconds, 1<<31)) * time.Second
}

// target chooses the shards that a selector names. Without one, a read covers
// all shards, and so does a write with automatic sharding. A key that is not known
// here may have been made through another peer a moment ago. A write for a key that
// points are being copied to waits until they are.
func (s *Service) target(ctx context.Context, c *view.Collection, sel *qdrant.ShardKeySelector, write bool) (coordinator.Target, error) {
	t, err := target(c, sel, write)
	if fault.ReasonOf(err) == fault.InvalidArgument && c.Custom() {
		if newest, bad := s.d.View.Newest(ctx, c.Name); bad == nil && newest.ID == c.ID {
			c = newest
			t, err = target(c, sel, write)
		}
	}
	for errors.Is(err, errPaused) {
		if s.d.AwaitRevision(ctx, c.Known()+1) != nil {
			return t, err
		}
		id, bad := c.ID, error(nil)
		if c, bad = s.d.View.Resolve(ctx, c.Name); bad != nil {
			return t, bad
		}
		if c.ID != id {
			return t, fault.NoCollection(c.Name)
		}
		t, err = target(c, sel, write)
	}
	return t, err
}

// errPaused is in the error of a write for a key that points are being copied to: its
// place is there, and there it would be overtaken by the copy.
var errPaused = errors.New("points are being copied")

func target(c *view.Collection, sel *qdrant.ShardKeySelector, write bool) (coordinator.Target, error) {
	t, keys := c.All(), sel.GetShardKeys()
	if !write {
		t = c.Reads()
	}
	switch {
	case sel.GetFallback() != nil && len(keys) != 1:
		return t, fault.BadInput("A fallback shard key needs exactly one target shard key, not %d", len(keys))
	case len(keys) > 0:
	case write && c.Custom():
		return t, fault.BadInput("Shard key not specified")
	default:
		return t, nil
	}
	t.Groups = nil
	for _, k := range keys {
		g, found, err := group(c, k)
		if err == nil && sel.GetFallback() != nil {
			if t.Routed = true; write && g.Fill != nil {
				return t, fault.Wrap(fault.ShardUnavailable, errPaused, "points are being copied to shard key %s: writes for it wait", show(k))
			}
			if !(found && c.Serves(g)) {
				k = sel.GetFallback()
				g, found, err = group(c, k)
			}
		}
		if err != nil {
			return t, err
		}
		if !found {
			return t, fault.BadInput("Shard key %s not found", show(k))
		}
		if g.Partial {
			return t, fault.New(fault.ShardUnavailable, "Shard key %s is Partial: it takes requests once points were copied to it by replicate_points", show(k))
		}
		if !slices.ContainsFunc(t.Groups, func(has topology.ShardGroup) bool { return has.Key == g.Key }) {
			t.Groups = append(t.Groups, g)
		}
	}
	return t, nil
}

// group finds the shards of a key.
func group(c *view.Collection, k *qdrant.ShardKey) (g topology.ShardGroup, found bool, err error) {
	key, err := wire.ShardKey(k)
	if err != nil {
		return g, false, fault.Wrap(fault.Malformed, err, "Malformed shard key: %v", err)
	}
	if c.Custom() {
		g, found = c.Group(key)
	}
	return g, found, nil
}

func show(k *qdrant.ShardKey) string {
	if n, ok := k.GetKey().(*qdrant.ShardKey_Number); ok {
		return fmt.Sprint(n.Number)
	}
	return fmt.Sprintf("%.64q", k.GetKeyword())
}

// reading is what all reads have in common.
type reading interface {
	GetCollectionName() string
	GetReadConsistency() *qdrant.ReadConsistency
	GetTimeout() uint64
}

// reader checks the common part of a read, together with what more has found,
// and looks the collection up.
func (s *Service) reader(ctx context.Context, r reading, timeout *uint64, keys *qdrant.ShardKeySelector, more func(*validate.Check)) (*view.Collection, coordinator.Read, error) {
	var c validate.Check
	c.Name("collection_name", r.GetCollectionName())
	c.Timeout(timeout)
	c.Consistency(r.GetReadConsistency())
	if more != nil {
		more(&c)
	}
	if err := c.Err(); err != nil {
		return nil, coordinator.Read{}, err
	}
	col, err := s.d.View.Resolve(ctx, r.GetCollectionName())
	if err != nil {
		return nil, coordinator.Read{}, err
	}
	t, err := s.target(ctx, col, keys, false)
	if err != nil {
		return nil, coordinator.Read{}, err
	}
	read := coordinator.Read{Target: t, Timeout: duration(timeout)}
	if rc := r.GetReadConsistency(); rc.GetValue() != nil {
		read.Consistency = rc
	}
	read.Linearizable, err = linearizable(ctx)
	if err == nil && read.Linearizable && read.Consistency != nil {
		err = fault.BadInput("%s and a read consistency exclude each other: the primary alone answers a linearizable read", HeaderRead)
	}
	return col, read, err
}

// linearizable tells whether the client asks for it.
func linearizable(ctx context.Context) (bool, error) {
	switch v := metadata.ValueFromIncomingContext(ctx, HeaderRead); {
	case len(v) == 0 || v[0] == "":
		return false, nil
	case v[0] == "linearizable":
		return true, nil
	default:
		return false, fault.New(fault.Malformed, "%s may be \"linearizable\", and nothing else: got %.64q", HeaderRead, v[0])
	}
}

// selection checks what to answer of each point and fills in the default.
func selection(schema validate.Schema, p *qdrant.WithPayloadSelector, v *qdrant.WithVectorsSelector, payloadByDefault bool) (coordinator.Select, error) {
	if err := validate.WithPayload(p); err != nil {
		return coordinator.Select{}, err
	}
	if err := schema.WithVectors(v); err != nil {
		return coordinator.Select{}, err
	}
	if p == nil && payloadByDefault {
		p = &qdrant.WithPayloadSelector{SelectorOptions: &qdrant.WithPayloadSelector_Enable{Enable: true}}
	}
	return coordinator.Select{Payload: p, Vectors: v}, nil
}

// operationID reads the client's own id of its operation; nil if there is none.
func operationID(ctx context.Context) (*[16]byte, error) {
	v := metadata.ValueFromIncomingContext(ctx, HeaderOperationID)
	if len(v) == 0 || v[0] == "" {
		return nil, nil
	}
	id, err := wire.UUID(strings.TrimSpace(v[0]))
	if err != nil {
		return nil, fault.New(fault.Malformed, "%s must be a UUID", HeaderOperationID)
	}
	b := id.UUID()
	return &b, nil
}

// smallerIsBetter tells distances from similarities.
func smallerIsBetter(d qdrant.Distance) bool {
	return d == qdrant.Distance_Euclid || d == qdrant.Distance_Manhattan
}
