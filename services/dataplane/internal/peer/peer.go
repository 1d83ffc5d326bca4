// Package peer serves the shards of this peer to coordinators: its own, which
// call it directly, and those of other peers. It is the one place where the
// messages of pando.shard.v1 become engine types and engine errors become
// reasons.
package peer

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"time"

	shardv1 "github.com/pandodb/pando/gen/go/pando/shard/v1"
	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/point"
	"github.com/pandodb/pando/services/dataplane/internal/query"
	"github.com/pandodb/pando/services/dataplane/internal/replica"
	"github.com/pandodb/pando/services/dataplane/internal/replica/core"
	"github.com/pandodb/pando/services/dataplane/internal/replica/core/proof"
	"github.com/pandodb/pando/services/dataplane/internal/shard"
	"github.com/pandodb/pando/services/internal/fault"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/wire"
	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/types/known/durationpb"
)

// Replica is what the loop of a replica offers.
type Replica interface {
	Propose(ctx context.Context, id op.ID, w shard.Write, wait replica.WaitMode, factor int) (replica.Result, error)
	Witness
	Status() replica.Status
	Receive(from topology.PeerID, m core.Message, traceparents map[topology.Seq]string)
	Pinned(receiver topology.PeerID, at topology.Seq)
	Placed
}

// Witness is a primary that asks the others.
type Witness interface {
	Linearize(context.Context) error
	Verify(context.Context) (proof.Verified, error)
}

// Placed is a replica as the control plane meets it.
type Placed interface {
	HandOver(ctx context.Context, epoch topology.Epoch, to topology.PeerID) (topology.Placement, error)
	Adopt(context.Context, topology.Placement) (topology.Placement, error)
}

// Engine is what the state of a replica offers to readers.
type Engine interface {
	Get(context.Context, query.Get) ([]query.Record, error)
	Scroll(context.Context, query.Scroll) ([]query.Record, *topology.PointID, error)
	Count(context.Context, query.Count) (uint64, error)
	Nearest(ctx context.Context, qs []query.Nearest) ([][]query.Scored, error)
	FieldReader
	Statistics
}

// Statistics is what the state of a replica tells of itself.
type Statistics interface {
	// Digest is that of the state at a place in the log.
	Digest() (topology.Seq, point.Digest)
	// Info is how its segments and indexes are at the moment. It waits for nothing.
	Info() query.Info
	// Frequencies counts, in the applied state, the points with a sparse vector and,
	// in the order of the indices, those of them that have each.
	Frequencies(context.Context, query.Frequencies) (points uint64, each []uint64, err error)
}

// FieldReader is what indexes on payload fields offer.
type FieldReader interface {
	// Fields tells how many points each of them holds.
	Fields() (revision uint64, points map[string]uint64)
	Facet(context.Context, query.Facet) ([]query.FacetHit, error)
}

// Server answers pando.shard.v1.Shard. Both seams must be set.
type Server struct {
	shardv1.UnimplementedShardServer
	// Replica gives a replica on this peer.
	Replica func(topology.Shard) (Replica, error)
	// Reader gives its state to read from until release is called; it fails
	// unless the replica may answer default reads (R1, R2a).
	Reader func(topology.Shard) (e Engine, release func(), err error)
	// Span opens a span around the work of one shard; nil opens none.
	Span func(ctx context.Context, name string, s topology.Shard) (context.Context, func(error))
}

func (s *Server) span(ctx context.Context, name string, r *shardv1.Route) (context.Context, func(error)) {
	if s.Span == nil {
		return ctx, func(error) {}
	}
	return s.Span(ctx, name, shardOf(r))
}

// parallel runs f for 0..n-1, as many at a time as there are processors.
func parallel(n int, f func(int)) {
	if n == 1 {
		f(0)
		return
	}
	var g errgroup.Group
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i := range n {
		g.Go(func() error { f(i); return nil })
	}
	_ = g.Wait() // f reports through its result
}

// Read answers each read from what its replica has applied.
func (s *Server) Read(ctx context.Context, r *shardv1.ReadRequest) (*shardv1.ReadResponse, error) {
	out := &shardv1.ReadResponse{Results: make([]*shardv1.ShardReadResult, len(r.GetReads()))}
	parallel(len(r.GetReads()), func(i int) {
		one := r.GetReads()[i]
		res, err := s.read(ctx, one)
		if err != nil {
			res = &shardv1.ShardReadResult{Result: &shardv1.ShardReadResult_Failure{Failure: failure(err, shardOf(one.GetRoute()))}}
		}
		out.Results[i] = res
	})
	return out, nil
}

func (s *Server) read(ctx context.Context, r *shardv1.ShardRead) (_ *shardv1.ShardReadResult, err error) {
	ctx, end := s.span(ctx, "replica.read", r.GetRoute())
	defer func() { end(err) }()
	rep, err := s.find(r.GetRoute())
	if err != nil {
		return nil, err
	}
	if d := r.GetTimeout().AsDuration(); d > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d)
		defer cancel()
	}
	if r.GetCompare() != nil {
		v, err := rep.Verify(ctx)
		return comparison(v), err
	}
	if r.GetMode() == shardv1.ReadMode_READ_MODE_LINEARIZABLE {
		if err := rep.Linearize(ctx); err != nil {
			return nil, err
		}
	}
	engine, release, err := s.Reader(shardOf(r.GetRoute()))
	if err != nil {
		return nil, err
	}
	defer release()
	res, err := answer(ctx, engine, r)
	if err != nil {
		return nil, behind(rep, r.GetSchemaRevision(), err)
	}
	st := rep.Status()
	res.AppliedSeq, res.Detached = uint64(st.Applied), st.Detached
	if i := res.GetInfo(); i != nil {
		i.Unapplied = uint64(st.Last.Seq - min(st.Last.Seq, st.Applied))
	}
	return res, nil
}

// find looks the replica up and fences senders of an older epoch.
func (s *Server) find(r *shardv1.Route) (Replica, error) {
	rep, err := s.Replica(shardOf(r))
	if err != nil {
		return nil, err
	}
	if pl := rep.Status().Placement; uint64(pl.Epoch) > r.GetEpoch() && r.GetEpoch() != 0 {
		return nil, &staleError{placement: pl, sent: r.GetEpoch()}
	}
	return rep, nil
}

// answer asks the engine.
func answer(ctx context.Context, e Engine, r *shardv1.ShardRead) (*shardv1.ShardReadResult, error) {
	switch o := r.GetRead().(type) {
	case *shardv1.ShardRead_Get:
		ids, err := idsOf(o.Get.GetIds())
		if err != nil {
			return nil, err
		}
		want := wantOf(o.Get.GetWithPayload(), o.Get.GetWithVectors())
		recs, err := e.Get(ctx, query.Get{IDs: ids, Want: want})
		return recordsOf(recs, want), err
	case *shardv1.ShardRead_Scroll:
		return scroll(ctx, e, o.Scroll)
	case *shardv1.ShardRead_Count:
		f, err := filterOf(o.Count.GetFilter())
		if err != nil {
			return nil, err
		}
		n, err := e.Count(ctx, query.Count{Filter: f, Approx: !o.Count.GetExact()})
		return &shardv1.ShardReadResult{Result: &shardv1.ShardReadResult_Count{Count: n}}, err
	case *shardv1.ShardRead_Query:
		return rank(ctx, e, o.Query)
	case *shardv1.ShardRead_Facet:
		return facet(ctx, e, o.Facet)
	case *shardv1.ShardRead_Fields:
		revision, points := e.Fields()
		return &shardv1.ShardReadResult{Result: &shardv1.ShardReadResult_Fields{Fields: &shardv1.Fields{Revision: revision, Points: points}}}, nil
	case *shardv1.ShardRead_Frequencies:
		return frequencies(ctx, e, o.Frequencies)
	case *shardv1.ShardRead_Info:
		return info(e), nil
	}
	return nil, fault.Missing("this read")
}

func recordsOf(recs []query.Record, want query.Want) *shardv1.ShardReadResult {
	out := &shardv1.Records{Records: make([]*shardv1.Record, 0, len(recs))}
	for _, rec := range recs {
		out.Records = append(out.Records, &shardv1.Record{Point: retrieved(rec, want), Version: rec.Version})
	}
	return &shardv1.ShardReadResult{Result: &shardv1.ShardReadResult_Records{Records: out}}
}

func scroll(ctx context.Context, e Engine, s *shardv1.ScrollPoints) (*shardv1.ShardReadResult, error) {
	f, err := filterOf(s.GetFilter())
	if err != nil {
		return nil, err
	}
	order, err := orderOf(s.GetOrderBy())
	if err != nil {
		return nil, err
	}
	q := query.Scroll{Filter: f, Order: order, Sample: s.SampleSeed, Limit: int(s.GetLimit()), Want: wantOf(s.GetWithPayload(), s.GetWithVectors())}
	if s.GetOffset() != nil {
		id, err := wire.PointID(s.GetOffset())
		if err != nil {
			return nil, fault.Wrap(fault.Malformed, err, "Unable to parse UUID: %v", err)
		}
		q.Offset = &id
	}
	recs, _, err := e.Scroll(ctx, q)
	return recordsOf(recs, q.Want), err
}

func rank(ctx context.Context, e Engine, q *shardv1.QueryPoints) (*shardv1.ShardReadResult, error) {
	qs := make([]query.Nearest, 0, len(q.GetQueries()))
	for _, one := range q.GetQueries() {
		n, err := nearestOf(one)
		if err != nil {
			return nil, err
		}
		qs = append(qs, n)
	}
	res, err := e.Nearest(ctx, qs)
	if err != nil {
		return nil, err
	}
	out := &shardv1.Rankings{Rankings: make([]*shardv1.Ranking, 0, len(res))}
	for i, hits := range res {
		ranking := &shardv1.Ranking{}
		for _, h := range hits {
			ranking.Points = append(ranking.Points, scored(h, qs[i].Want))
		}
		out.Rankings = append(out.Rankings, ranking)
	}
	return &shardv1.ShardReadResult{Result: &shardv1.ShardReadResult_Rankings{Rankings: out}}, nil
}

// Write hands operations to the primaries here. Those of one shard are
// proposed in their order; different shards go on beside each other.
func (s *Server) Write(ctx context.Context, r *shardv1.WriteRequest) (*shardv1.WriteResponse, error) {
	out := &shardv1.WriteResponse{Results: make([]*shardv1.ShardWriteResult, len(r.GetWrites()))}
	byShard := map[topology.Shard][]int{}
	var order []topology.Shard
	for i, w := range r.GetWrites() {
		sh := shardOf(w.GetRoute())
		if byShard[sh] == nil {
			order = append(order, sh)
		}
		byShard[sh] = append(byShard[sh], i)
	}
	var g errgroup.Group
	for _, sh := range order {
		run := func() error {
			for _, i := range byShard[sh] {
				out.Results[i] = s.write(ctx, r.GetWrites()[i])
			}
			return nil
		}
		if len(order) == 1 {
			_ = run()
			break
		}
		g.Go(run)
	}
	_ = g.Wait() // each result carries its own error
	return out, nil
}

func (s *Server) write(ctx context.Context, w *shardv1.ShardWrite) *shardv1.ShardWriteResult {
	res, err := s.propose(ctx, w)
	if err == nil {
		out := &shardv1.ShardWriteResult{Status: shardv1.WriteStatus_WRITE_STATUS_COMMITTED, Seq: uint64(res.Seq), Parts: uint32(res.Parts)}
		if res.Applied {
			out.Status = shardv1.WriteStatus_WRITE_STATUS_APPLIED
		}
		if res.Disks > 0 {
			out.Provisional, out.Disks = true, uint32(res.Disks)
		}
		return out
	}
	out := &shardv1.ShardWriteResult{Status: shardv1.WriteStatus_WRITE_STATUS_REFUSED, Failure: failure(err, shardOf(w.GetRoute()))}
	switch out.GetFailure().GetReason() {
	case fault.WriteOutcomeUnknown:
		out.Status = shardv1.WriteStatus_WRITE_STATUS_UNKNOWN
	case fault.NotPrimary, fault.StaleEpoch:
		out.Status = shardv1.WriteStatus_WRITE_STATUS_NOT_PRIMARY
	}
	return out
}

func (s *Server) propose(ctx context.Context, w *shardv1.ShardWrite) (_ replica.Result, err error) {
	ctx, end := s.span(ctx, "replica.write", w.GetRoute())
	defer func() { end(err) }()
	rep, err := s.find(w.GetRoute())
	if err != nil {
		return replica.Result{}, err
	}
	id, err := opID(w.GetId())
	if err != nil {
		return replica.Result{}, err
	}
	what, err := writeOf(w)
	if err != nil {
		return replica.Result{}, err
	}
	what.Routed, what.Weak = w.GetRoutedRevision(), w.GetOrdering() == qdrant.WriteOrderingType_Weak
	if d := w.GetTimeout().AsDuration(); d > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d)
		defer cancel()
	}
	wait := replica.WaitCommitted
	if w.GetWait() {
		wait = replica.WaitApplied
	}
	res, err := rep.Propose(ctx, id, what, wait, int(w.GetWriteConsistencyFactor()))
	if errors.Is(err, replica.ErrRerouted) {
		err = fault.Wrap(fault.StaleEpoch, err, "%v", err).With(fault.MetaRerouted, strconv.FormatUint(rep.Status().Config, 10))
	}
	return res, behind(rep, w.GetSchemaRevision(), err)
}

// behind tells of a vector that is unknown here whether it will be known soon: the
// sender knows settings that are not in effect yet.
func behind(rep Replica, revision uint64, err error) error {
	if err == nil || revision == 0 || !errors.As(err, new(*shard.VectorNameError)) {
		return err
	}
	if st := rep.Status(); st.Config >= revision && st.Settled {
		return err
	}
	return fault.Wrap(fault.ShardUnavailable, err, "settings of revision %d are not in effect yet: %v", revision, err)
}

// Health says how the replica of a shard on peer self is, by a read through its
// own loop. One that may not serve is not ill: it is not Active, or its primary
// has not told it yet that it knows everything (R2a). There it is enough that it
// is loaded and has not failed.
func (s *Server) Health(ctx context.Context, sh topology.Shard, self topology.PeerID) *shardv1.ReplicaHealth {
	start := time.Now()
	out := &shardv1.ReplicaHealth{CollectionId: uint64(sh.Collection), ShardId: uint64(sh.ID)}
	rep, err := s.Replica(sh)
	if err == nil {
		st := rep.Status()
		out.Epoch, out.AppliedSeq = uint64(st.Placement.Epoch), uint64(st.Applied)
		switch r, ok := st.Placement.Replica(self); {
		case st.Phase == replica.Failed: // reads may go on, writes do not
			err = fmt.Errorf("%w: %s", replica.ErrFailed, st.Reason)
		case !ok || r.State == topology.Active:
			if err = s.touch(ctx, sh, out); errors.Is(err, replica.ErrNotReady) {
				err = nil
			}
		case st.Role == core.Receiver && (st.Fetching || st.Told > 0):
			out.Catchup = &shardv1.Catchup{Behind: uint64(st.Behind)}
			if st.Fetching {
				out.Catchup.Copy = &shardv1.CopyProgress{}
				if c := st.Copy; c != nil {
					out.Catchup.Copy = &shardv1.CopyProgress{Points: c.Points, TotalPoints: c.TotalPoints, Bytes: c.Bytes, TotalBytes: c.TotalBytes, Elapsed: durationpb.New(c.Elapsed)}
				}
			}
		}
	}
	if err != nil {
		out.Failure = failure(err, sh)
	}
	out.Latency = durationpb.New(time.Since(start))
	return out
}

// touch reads a little, and notes the digest of what it read from.
func (s *Server) touch(ctx context.Context, sh topology.Shard, h *shardv1.ReplicaHealth) error {
	engine, release, err := s.Reader(sh)
	if err != nil {
		return err
	}
	defer release()
	if _, _, err = engine.Scroll(ctx, query.Scroll{Limit: 1}); err != nil {
		return err
	}
	at, digest := engine.Digest()
	h.DigestSeq, h.Digest = uint64(at), protoDigest(digest)
	return nil
}
