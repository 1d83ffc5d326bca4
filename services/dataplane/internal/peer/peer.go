// Package peer serves the shards of this peer to coordinators: its own, which
// call it directly, and those of other peers. It is the one place where the
// messages of pando.shard.v1 become engine types and engine errors become
// reasons.
package peer

import (
	"context"
	"errors"
	"runtime"
	"time"

	clusterv1 "github.com/pandodb/pando/gen/go/pando/cluster/v1"
	shardv1 "github.com/pandodb/pando/gen/go/pando/shard/v1"
	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/query"
	"github.com/pandodb/pando/services/dataplane/internal/replica"
	"github.com/pandodb/pando/services/dataplane/internal/shard"
	"github.com/pandodb/pando/services/internal/fault"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/wire"
	"golang.org/x/sync/errgroup"
)

// Replica is what the loop of a replica offers.
type Replica interface {
	Propose(ctx context.Context, id op.ID, w shard.Write, wait replica.WaitMode, factor int) (replica.Result, error)
	// Acquire fails unless the replica may answer default reads (R1, R2a); the
	// engine stays open until release.
	Acquire() (release func(), err error)
	Status() replica.Status
}

// Engine is what the state of a replica offers to readers.
type Engine interface {
	Get(context.Context, query.Get) ([]query.Record, error)
	Scroll(context.Context, query.Scroll) ([]query.Record, *topology.PointID, error)
	Count(context.Context, query.Count) (uint64, error)
	Nearest(ctx context.Context, qs []query.Nearest) ([][]query.Scored, error)
}

// Held is a replica on this peer.
type Held struct {
	Replica Replica
	Engine  Engine
}

// ErrNotHeld says that this peer has no replica of a shard.
var ErrNotHeld = errors.New("this peer holds no replica of the shard")

// Server answers pando.shard.v1.Shard.
type Server struct {
	shardv1.UnimplementedShardServer
	// Find gives a replica on this peer; ErrNotHeld if there is none, any other
	// error says why it cannot be used.
	Find func(topology.Shard) (Held, error)
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

func (s *Server) read(ctx context.Context, r *shardv1.ShardRead) (*shardv1.ShardReadResult, error) {
	if r.GetMode() == shardv1.ReadMode_READ_MODE_LINEARIZABLE {
		return nil, notBuilt("linearizable read")
	}
	h, err := s.find(r.GetRoute())
	if err != nil {
		return nil, err
	}
	if d := r.GetTimeout().AsDuration(); d > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d)
		defer cancel()
	}
	release, err := h.Replica.Acquire()
	if err != nil {
		return nil, err
	}
	defer release()
	res, err := answer(ctx, h.Engine, r)
	if err != nil {
		return nil, err
	}
	res.AppliedSeq = uint64(h.Replica.Status().Applied)
	return res, nil
}

// find looks the replica up and fences senders of an older epoch.
func (s *Server) find(r *shardv1.Route) (Held, error) {
	h, err := s.Find(shardOf(r))
	if err != nil {
		return Held{}, err
	}
	if pl := h.Replica.Status().Placement; uint64(pl.Epoch) > r.GetEpoch() && r.GetEpoch() != 0 {
		return Held{}, &staleError{placement: pl, sent: r.GetEpoch()}
	}
	return h, nil
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
		n, err := e.Count(ctx, query.Count{Filter: f})
		return &shardv1.ShardReadResult{Result: &shardv1.ShardReadResult_Count{Count: n}}, err
	case *shardv1.ShardRead_Query:
		return rank(ctx, e, o.Query)
	}
	return nil, notBuilt("this read")
}

func recordsOf(recs []query.Record, want query.Want) *shardv1.ShardReadResult {
	out := &shardv1.Records{Records: make([]*shardv1.Record, 0, len(recs))}
	for _, rec := range recs {
		out.Records = append(out.Records, &shardv1.Record{Point: retrieved(rec, want), Version: rec.Version})
	}
	return &shardv1.ShardReadResult{Result: &shardv1.ShardReadResult_Records{Records: out}}
}

func scroll(ctx context.Context, e Engine, s *shardv1.ScrollPoints) (*shardv1.ShardReadResult, error) {
	if s.GetOrderBy() != nil {
		return nil, notBuilt("order_by")
	}
	f, err := filterOf(s.GetFilter())
	if err != nil {
		return nil, err
	}
	q := query.Scroll{Filter: f, Limit: int(s.GetLimit()), Want: wantOf(s.GetWithPayload(), s.GetWithVectors())}
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

// most keeps a wish for many results inside an int on every platform.
const most = 1 << 30

func nearestOf(q *shardv1.ShardQuery) (query.Nearest, error) {
	f, err := filterOf(q.GetFilter())
	if err != nil {
		return query.Nearest{}, err
	}
	if len(q.GetPrefetch()) > 0 {
		return query.Nearest{}, notBuilt("prefetch")
	}
	dense := q.GetQuery().GetNearest().GetDense()
	if dense == nil {
		return query.Nearest{}, notBuilt("this kind of query")
	}
	return query.Nearest{Using: q.GetUsing(), Vector: dense.GetData(), Filter: f, ScoreThreshold: q.ScoreThreshold,
		Limit: int(min(q.GetLimit(), most)), Want: wantOf(q.GetWithPayload(), q.GetWithVectors())}, nil
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
		out := &shardv1.ShardWriteResult{Status: shardv1.WriteStatus_WRITE_STATUS_COMMITTED, Seq: uint64(res.Seq)}
		if res.Applied {
			out.Status = shardv1.WriteStatus_WRITE_STATUS_APPLIED
		}
		return out
	}
	out := &shardv1.ShardWriteResult{Status: shardv1.WriteStatus_WRITE_STATUS_REFUSED, Failure: failure(err, shardOf(w.GetRoute()))}
	switch out.GetFailure().GetReason() {
	case clusterv1.Reason_REASON_WRITE_OUTCOME_UNKNOWN:
		out.Status = shardv1.WriteStatus_WRITE_STATUS_UNKNOWN
	case clusterv1.Reason_REASON_NOT_PRIMARY, clusterv1.Reason_REASON_STALE_EPOCH:
		out.Status = shardv1.WriteStatus_WRITE_STATUS_NOT_PRIMARY
	}
	return out
}

func (s *Server) propose(ctx context.Context, w *shardv1.ShardWrite) (replica.Result, error) {
	h, err := s.find(w.GetRoute())
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
	if d := w.GetTimeout().AsDuration(); d > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d)
		defer cancel()
	}
	wait := replica.WaitCommitted
	if w.GetWait() {
		wait = replica.WaitApplied
	}
	return h.Replica.Propose(ctx, id, what, wait, int(w.GetWriteConsistencyFactor()))
}

// Health says how one replica is, by a read through its own loop.
func (h Held) Health(ctx context.Context, sh topology.Shard) *shardv1.ReplicaHealth {
	start := time.Now()
	st := h.Replica.Status()
	out := &shardv1.ReplicaHealth{CollectionId: uint64(sh.Collection), ShardId: uint64(sh.ID),
		Epoch: uint64(st.Placement.Epoch), AppliedSeq: uint64(st.Applied)}
	release, err := h.Replica.Acquire()
	if err == nil {
		_, _, err = h.Engine.Scroll(ctx, query.Scroll{Limit: 1})
		release()
	}
	if err != nil {
		out.Failure = failure(err, sh)
	}
	out.Latency = durationOf(time.Since(start))
	return out
}
