package coordinator

import (
	"context"
	"errors"
	"slices"
	"time"

	shardv1 "github.com/pandodb/pando/gen/go/pando/shard/v1"
	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/internal/fault"
	"github.com/pandodb/pando/services/internal/topology"
	"google.golang.org/protobuf/types/known/durationpb"
)

// Write is one operation of a client. Op is a ShardWrite whose operation is
// set and whose routing is not; it is not changed.
type Write struct {
	Target   Target
	Op       *shardv1.ShardWrite
	Wait     bool
	Ordering qdrant.WriteOrderingType
	Timeout  time.Duration // 0: DefaultTimeout
	// ID is the client's `pando-op-id`, if it sent one; Index tells the
	// operations of one request apart.
	ID    *[16]byte
	Index uint32
}

// Outcome of a write that did not fail.
type Outcome struct {
	Seq    uint64 // the highest place in a log; 0 if no shard was concerned
	Status qdrant.UpdateStatus
	// Parts is the most log entries that it took in one shard: above 1 it is not atomic
	// there.
	Parts uint32
	// Disks: shards took it provisionally, and so many disks have it at least (P3); 0: all
	// of it is committed.
	Disks uint32
}

// part is the share of one shard in a write.
type part struct {
	shard  topology.Shard
	write  *shardv1.ShardWrite
	done   bool
	result *shardv1.ShardWriteResult
	err    *fault.Error // why it is not done
	moved  bool         // the shard knows that it may belong elsewhere
	astray int          // tries that did not reach a primary
}

// Write carries an operation out on all shards that it concerns. The id is made
// once and kept over all tries (W1), so a repetition has no second effect. An
// error of reason WRITE_OUTCOME_UNKNOWN says that the operation may still take
// effect; any other error says that on the shard it names nothing happened, or
// that nothing is left of it because the collection was dropped meanwhile.
func (c *Coordinator) Write(ctx context.Context, w Write) (Outcome, error) {
	id, clientBit, err := w.requestID()
	if err != nil {
		return Outcome{}, fault.Wrap(fault.Unspecified, err, "cannot make an operation id")
	}
	parts, err := split(w.Target, w.Op)
	if err != nil {
		return Outcome{}, err
	}
	ctx, cancel := deadline(ctx, w.Timeout)
	defer cancel()
	for _, p := range parts {
		p.write.Id = &shardv1.OperationId{Request: id[:], Index: w.Index | clientBit}
		p.write.Ordering, p.write.Wait = w.Ordering, w.Wait
		p.write.WriteConsistencyFactor = w.Target.Collection.WriteConsistency
		p.write.SchemaRevision = w.Target.Collection.Revision
		if w.Target.Routed {
			p.write.RoutedRevision = w.Target.Collection.Revision
		}
	}
	for pause := firstPause; ; pause = next(pause) {
		m := c.o.Map()
		c.try(ctx, m, w.Target, parts)
		open, final := pending(parts)
		if final != nil {
			return Outcome{}, final
		}
		if err := rerouted(parts); err != nil {
			return Outcome{}, err
		}
		if !open {
			return outcome(parts, w.Wait), nil
		}
		if c.await(ctx, m, pause) != nil {
			return Outcome{}, giveUp(parts)
		}
	}
}

func (w Write) requestID() (id [16]byte, bit uint32, err error) {
	if w.ID != nil {
		return *w.ID, 1 << 31, nil
	}
	id, err = newRequestID()
	return id, 0, err
}

// taker is who is asked to take a write: the primary. A weak one may be taken by any
// Active replica that is detached (P1), so these are asked where the primary is not
// reached. One here is asked first; it says, too, why another write cannot be taken.
func (c *Coordinator) taker(p *part, pl topology.Placement) topology.PeerID {
	if c.o.Detached != nil && c.o.Detached(p.shard) {
		return c.o.Self
	}
	if p.write.GetOrdering() != qdrant.WriteOrderingType_Weak {
		return pl.Primary
	}
	var others []topology.PeerID
	for _, r := range pl.Replicas {
		if r.State == topology.Active && r.Peer != pl.Primary {
			others = append(others, r.Peer)
		}
	}
	if i := p.astray % (len(others) + 1); i > 0 {
		return others[i-1]
	}
	return pl.Primary
}

// try sends every open part to whoever takes it, one RPC to each peer.
func (c *Coordinator) try(ctx context.Context, m *topology.Map, t Target, parts []*part) {
	byPeer := map[topology.PeerID][]*part{}
	for _, p := range parts {
		if p.done {
			continue
		}
		pl, ok := m.Placement(p.shard)
		switch {
		case !ok:
			p.err, p.done = t.unplaced(m, p.shard)
		case pl.Primary == 0:
			p.err = located(fault.New(fault.ShardUnavailable, "shard %d has no primary at the moment", p.shard.ID), p.shard, 0)
		default:
			p.write.Route = &shardv1.Route{CollectionId: uint64(p.shard.Collection), ShardId: uint64(p.shard.ID), Epoch: uint64(pl.Epoch)}
			to := c.taker(p, pl)
			byPeer[to] = append(byPeer[to], p)
		}
	}
	each(byPeer, func(peer topology.PeerID, ps []*part) { c.send(ctx, peer, ps) })
}

// send is one RPC to one peer.
func (c *Coordinator) send(ctx context.Context, peer topology.PeerID, ps []*part) {
	shards, err := c.o.Peer(peer)
	if err != nil {
		for _, p := range ps {
			p.astray++
			p.err = located(fault.Wrap(fault.ShardUnavailable, err, "peer %d of shard %d cannot be reached", peer, p.shard.ID), p.shard, peer)
		}
		return
	}
	req := &shardv1.WriteRequest{}
	timeout := durationpb.New(left(ctx))
	for _, p := range ps {
		p.write.Timeout = timeout
		req.Writes = append(req.Writes, p.write)
	}
	rctx, cancel := c.rpcContext(ctx, func(m *topology.Map) bool {
		return !slices.ContainsFunc(ps, func(p *part) bool {
			pl, _ := m.Placement(p.shard)
			return uint64(pl.Epoch) != p.write.GetRoute().GetEpoch() && pl.Primary != peer
		})
	})
	defer cancel()
	rctx, end := c.o.Span(rctx, "shard.write", peer, len(ps))
	resp, err := shards.Write(rctx, req)
	if context.Cause(rctx) == errLeft {
		err = errLeft
	}
	end(err)
	if err == nil && len(resp.GetResults()) != len(ps) {
		err = errors.New("the answer has another number of results than the request has writes")
	}
	if err != nil && refused(err) {
		for _, p := range ps {
			p.err, p.done = located(fault.From(err), p.shard, peer), true
		}
		return
	}
	for i, p := range ps {
		if err != nil {
			p.astray++
			p.result = &shardv1.ShardWriteResult{Status: shardv1.WriteStatus_WRITE_STATUS_UNKNOWN}
			p.err = located(fault.Wrap(fault.WriteOutcomeUnknown, err, "peer %d did not answer for shard %d", peer, p.shard.ID), p.shard, peer)
			continue
		}
		p.take(resp.GetResults()[i], peer)
	}
}

// refused tells that a peer turned the whole RPC away before doing any of it.
func refused(err error) bool {
	switch fault.From(err).Reason {
	case fault.WrongCluster, fault.Unauthenticated, fault.Forbidden, fault.NotBuilt, fault.TooLarge, fault.Malformed, fault.Validation:
		return true
	}
	return false
}

// take judges the answer of one shard: finished, to be tried again, or refused.
func (p *part) take(r *shardv1.ShardWriteResult, peer topology.PeerID) {
	was := p.result
	p.result, p.err, p.moved = r, nil, r.GetFailure().GetMeta()[fault.MetaRerouted] != ""
	switch r.GetStatus() {
	case shardv1.WriteStatus_WRITE_STATUS_APPLIED, shardv1.WriteStatus_WRITE_STATUS_COMMITTED:
		p.done = true
		return
	case shardv1.WriteStatus_WRITE_STATUS_REFUSED:
		p.err = failureOf(r.GetFailure(), p.shard, peer)
		p.done = !transient(p.err.Reason)
		p.astray++
	case shardv1.WriteStatus_WRITE_STATUS_NOT_PRIMARY:
		p.astray++
		p.err = failureOf(r.GetFailure(), p.shard, peer)
	default:
		p.err = located(fault.New(fault.WriteOutcomeUnknown, "%s", r.GetFailure().GetMessage()), p.shard, peer)
	}
	// An earlier try whose outcome is unknown keeps the whole part unknown
	// until a primary says what became of it.
	if was.GetStatus() == shardv1.WriteStatus_WRITE_STATUS_UNKNOWN && !p.done && !p.moved {
		p.result = was
	}
}

// transient reasons go away by themselves or with a newer placement.
func transient(r fault.Reason) bool {
	switch r {
	case fault.NotPrimary, fault.StaleEpoch, fault.ShardUnavailable, fault.ShuttingDown:
		return true
	}
	return false
}

// pending tells whether parts are open, or the first error that no try will mend.
func pending(parts []*part) (open bool, final error) {
	for _, p := range parts {
		if p.done && p.err != nil && final == nil {
			final = p.err
		}
		open = open || !p.done
	}
	return open, final
}

// rerouted is ErrRerouted once no part is open but those that a shard did not take.
func rerouted(parts []*part) error {
	var moved *part
	for _, p := range parts {
		switch {
		case p.done:
		case !p.moved:
			return nil
		default:
			moved = p
		}
	}
	if moved == nil {
		return nil
	}
	return fault.Wrap(fault.ShardUnavailable, ErrRerouted, "%s", moved.err.Msg)
}

// giveUp says what is known when time is over: if any part may have happened,
// the outcome is unknown and must not be called a failure (W10).
func giveUp(parts []*part) error {
	var err *fault.Error
	for _, p := range parts {
		if p.done {
			continue
		}
		if p.result.GetStatus() == shardv1.WriteStatus_WRITE_STATUS_UNKNOWN {
			return located(fault.Wrap(fault.WriteOutcomeUnknown, p.err,
				"Timeout: the outcome of the write on shard %d is unknown, it may still take effect", p.shard.ID), p.shard, 0)
		}
		if err == nil {
			err = p.err
		}
	}
	if err == nil {
		err = fault.New(fault.Timeout, "Timeout: the write was not sent in time")
	}
	return err
}

func outcome(parts []*part, wait bool) Outcome {
	o := Outcome{Status: qdrant.UpdateStatus_Acknowledged}
	if wait {
		o.Status = qdrant.UpdateStatus_Completed
	}
	for _, p := range parts {
		o.Seq, o.Parts = max(o.Seq, p.result.GetSeq()), max(o.Parts, p.result.GetParts())
		if wait && p.result.GetStatus() == shardv1.WriteStatus_WRITE_STATUS_COMMITTED {
			o.Status = qdrant.UpdateStatus_WaitTimeout
		}
	}
	for _, p := range parts {
		if p.result.GetProvisional() { // not everybody shows it yet
			o.Status = qdrant.UpdateStatus_Acknowledged
			if d := p.result.GetDisks(); o.Disks == 0 || d < o.Disks {
				o.Disks = d
			}
		}
	}
	return o
}

// clone copies the frame of a write without its operation.
func clone(op *shardv1.ShardWrite) *shardv1.ShardWrite {
	return &shardv1.ShardWrite{Traceparent: op.GetTraceparent()}
}

// whole gives every shard of the target the same operation: those that select
// by a filter. The operation is shared, nobody changes it.
func whole(t Target, op *shardv1.ShardWrite) []*part {
	var parts []*part
	for _, s := range t.shards() {
		w := clone(op)
		w.Operation = op.GetOperation()
		parts = append(parts, &part{shard: s, write: w})
	}
	return parts
}
