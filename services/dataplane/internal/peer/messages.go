package peer

import (
	"encoding/binary"
	"fmt"

	shardv1 "github.com/pandodb/pando/gen/go/pando/shard/v1"
	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/point"
	"github.com/pandodb/pando/services/dataplane/internal/replica/core"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/wire"
)

// request prints what is said on the own stream; nil if the message is an answer.
func request(m core.Message, traces map[topology.Seq]string) *shardv1.ReplicateRequest {
	out := &shardv1.ReplicateRequest{}
	switch x := m.(type) {
	case core.Append:
		a := &shardv1.Append{Term: protoTerm(x.Term), Prev: protoPosition(x.Prev), Commit: uint64(x.Commit), CommitComplete: x.Complete,
			Session: x.Session, Sequence: x.Round, Entries: protoEntries(x.Entries)}
		if x.Placement != nil {
			a.Placement = wire.ProtoPlacement(*x.Placement)
		}
		for i := range x.Entries {
			if t := traces[x.Entries[i].Seq]; t != "" {
				if a.Traceparents == nil {
					a.Traceparents = map[uint64]string{}
				}
				a.Traceparents[uint64(x.Entries[i].Seq)] = t
			}
		}
		out.Message = &shardv1.ReplicateRequest_Append{Append: a}
	case core.Offer:
		out.Message = &shardv1.ReplicateRequest_Offer{Offer: &shardv1.Offer{Term: protoTerm(x.Term), Session: x.Session}}
	case core.Diverged:
		out.Message = &shardv1.ReplicateRequest_Diverged{Diverged: &shardv1.Diverged{Term: protoTerm(x.Term), Mark: uint64(x.Mark)}}
	case core.Copy:
		out.Message = &shardv1.ReplicateRequest_Copy{Copy: &shardv1.ProvisionalCopy{Placement: wire.ProtoPlacement(x.Placement), Upto: uint64(x.Upto), Entries: protoEntries(x.Entries)}}
	case core.Reconcile:
		out.Message = &shardv1.ReplicateRequest_Reconcile{Reconcile: &shardv1.Reconcile{Entries: protoEntries(x.Entries)}}
	default:
		return nil
	}
	return out
}

// response prints an answer; nil if the message is none.
func response(m core.Message) *shardv1.ReplicateResponse {
	out := &shardv1.ReplicateResponse{}
	nack := func(n *shardv1.Nack) { out.Message = &shardv1.ReplicateResponse_Nack{Nack: n} }
	switch x := m.(type) {
	case core.Ack:
		a := &shardv1.AppendAck{Term: protoTerm(x.Term), Durable: uint64(x.Durable), Applied: uint64(x.Applied), Mark: uint64(x.Mark.Seq), Session: x.Session, Sequence: x.Round, Owes: x.Owes}
		if x.Mark.Seq > 0 {
			a.Digest = protoDigest(x.Mark.Digest)
		}
		out.Message = &shardv1.ReplicateResponse_Ack{Ack: a}
	case core.Stale:
		nack(&shardv1.Nack{Term: protoTerm(x.Term), Reason: &shardv1.Nack_StaleEpoch_{StaleEpoch: &shardv1.Nack_StaleEpoch{Placement: wire.ProtoPlacement(x.Placement)}}})
	case core.Mismatch:
		n := &shardv1.Nack_Mismatch{LastSeq: uint64(x.Last), Session: x.Session}
		for _, h := range x.History {
			n.EpochHistory = append(n.EpochHistory, &shardv1.TermStart{Term: protoTerm(h.Term), FirstSeq: uint64(h.First)})
		}
		nack(&shardv1.Nack{Term: protoTerm(x.Term), Reason: &shardv1.Nack_Mismatch_{Mismatch: n}})
	case core.Stranger:
		nack(&shardv1.Nack{Term: protoTerm(x.Term), Reason: &shardv1.Nack_WrongIncarnation_{WrongIncarnation: &shardv1.Nack_WrongIncarnation{}}})
	case core.Kept:
		out.Message = &shardv1.ReplicateResponse_Kept{Kept: &shardv1.ProvisionalKept{Upto: uint64(x.Upto)}}
	case core.Reconciled:
		r := &shardv1.Reconciled{}
		for _, s := range x.Settled {
			r.Settled = append(r.Settled, &shardv1.Reconciled_Settled{Id: protoEntryID(s.ID), Seq: uint64(s.Seq)})
		}
		out.Message = &shardv1.ReplicateResponse_Reconciled{Reconciled: r}
	default:
		return nil
	}
	return out
}

// fromRequest reads what another peer says on its stream.
func fromRequest(r *shardv1.ReplicateRequest) (core.Message, map[topology.Seq]string, error) {
	switch o := r.GetMessage().(type) {
	case *shardv1.ReplicateRequest_Append:
		return appendOf(o.Append)
	case *shardv1.ReplicateRequest_Offer:
		return core.Offer{Term: termOf(o.Offer.GetTerm()), Session: o.Offer.GetSession()}, nil, nil
	case *shardv1.ReplicateRequest_Diverged:
		return core.Diverged{Term: termOf(o.Diverged.GetTerm()), Mark: topology.Seq(o.Diverged.GetMark())}, nil, nil
	case *shardv1.ReplicateRequest_Copy:
		es, err := entriesOf(o.Copy.GetEntries())
		return core.Copy{Placement: wire.Placement(o.Copy.GetPlacement()), Upto: topology.Seq(o.Copy.GetUpto()), Entries: es}, nil, err
	case *shardv1.ReplicateRequest_Reconcile:
		es, err := entriesOf(o.Reconcile.GetEntries())
		return core.Reconcile{Entries: es}, nil, err
	}
	return nil, nil, fmt.Errorf("message %T of a primary is not known here", r.GetMessage())
}

func appendOf(a *shardv1.Append) (core.Message, map[topology.Seq]string, error) {
	out := core.Append{Term: termOf(a.GetTerm()), Prev: positionOf(a.GetPrev()), Commit: topology.Seq(a.GetCommit()), Complete: a.GetCommitComplete(),
		Session: a.GetSession(), Round: a.GetSequence()}
	if p := a.GetPlacement(); p != nil {
		pl := wire.Placement(p)
		out.Placement = &pl
	}
	var err error
	if out.Entries, err = entriesOf(a.GetEntries()); err != nil {
		return nil, nil, err
	}
	var traces map[topology.Seq]string
	for seq, t := range a.GetTraceparents() {
		if traces == nil {
			traces = map[topology.Seq]string{}
		}
		traces[topology.Seq(seq)] = t
	}
	return out, traces, nil
}

// fromResponse reads an answer.
func fromResponse(r *shardv1.ReplicateResponse) (core.Message, error) {
	switch o := r.GetMessage().(type) {
	case *shardv1.ReplicateResponse_Kept:
		return core.Kept{Upto: topology.Seq(o.Kept.GetUpto())}, nil
	case *shardv1.ReplicateResponse_Reconciled:
		return reconciledOf(o.Reconciled)
	}
	if a := r.GetAck(); a != nil {
		out := core.Ack{Term: termOf(a.GetTerm()), Durable: topology.Seq(a.GetDurable()), Applied: topology.Seq(a.GetApplied()), Session: a.GetSession(), Round: a.GetSequence(), Owes: a.GetOwes()}
		switch d := a.GetDigest(); len(d) {
		case 0:
		case 16:
			out.Mark.Seq = topology.Seq(a.GetMark())
			out.Mark.Digest = point.Digest{A: binary.LittleEndian.Uint64(d), B: binary.LittleEndian.Uint64(d[8:])}
		default:
			return nil, fmt.Errorf("digest of %d bytes", len(d))
		}
		return out, nil
	}
	n := r.GetNack()
	switch o := n.GetReason().(type) {
	case *shardv1.Nack_StaleEpoch_:
		return core.Stale{Term: termOf(n.GetTerm()), Placement: wire.Placement(o.StaleEpoch.GetPlacement())}, nil
	case *shardv1.Nack_Mismatch_:
		out := core.Mismatch{Term: termOf(n.GetTerm()), Last: topology.Seq(o.Mismatch.GetLastSeq()), Session: o.Mismatch.GetSession()}
		for _, h := range o.Mismatch.GetEpochHistory() {
			out.History = append(out.History, core.TermStart{Term: termOf(h.GetTerm()), First: topology.Seq(h.GetFirstSeq())})
		}
		return out, nil
	case *shardv1.Nack_WrongIncarnation_:
		return core.Stranger{Term: termOf(n.GetTerm())}, nil
	}
	return nil, fmt.Errorf("message %T of a follower is not known here", r.GetMessage())
}

func reconciledOf(r *shardv1.Reconciled) (core.Message, error) {
	var out core.Reconciled
	for _, s := range r.GetSettled() {
		id, err := entryIDOf(s.GetId())
		if err != nil {
			return nil, err
		}
		out.Settled = append(out.Settled, core.Settled{ID: id, Seq: topology.Seq(s.GetSeq())})
	}
	return out, nil
}

func termOf(t *shardv1.Term) topology.Term {
	return topology.Term{Epoch: topology.Epoch(t.GetEpoch()), Run: topology.Run(t.GetRun())}
}

func positionOf(p *shardv1.Position) core.Position {
	return core.Position{Term: termOf(p.GetTerm()), Seq: topology.Seq(p.GetSeq())}
}

func protoPosition(p core.Position) *shardv1.Position {
	return &shardv1.Position{Term: protoTerm(p.Term), Seq: uint64(p.Seq)}
}

func protoEntry(e *op.Entry) *shardv1.Entry {
	return &shardv1.Entry{Term: protoTerm(e.Term), Seq: uint64(e.Seq), Hlc: uint64(e.HLC), Origin: uint64(e.Origin), Body: e.Body,
		Id: protoEntryID(e.ID)}
}

func protoEntries(es []op.Entry) []*shardv1.Entry {
	out := make([]*shardv1.Entry, len(es))
	for i := range es {
		out[i] = protoEntry(&es[i])
	}
	return out
}

func protoEntryID(id op.ID) *shardv1.EntryId {
	return &shardv1.EntryId{Request: id.Request[:], Index: id.Index, Part: id.Part}
}

func entryIDOf(id *shardv1.EntryId) (op.ID, error) {
	if len(id.GetRequest()) != 16 {
		return op.ID{}, fmt.Errorf("operation id of %d bytes, must be 16", len(id.GetRequest()))
	}
	return op.ID{Request: [16]byte(id.GetRequest()), Index: id.GetIndex(), Part: id.GetPart()}, nil
}

func entriesOf(es []*shardv1.Entry) ([]op.Entry, error) {
	out := make([]op.Entry, 0, len(es))
	for _, e := range es {
		one, err := entryOf(e)
		if err != nil {
			return nil, err
		}
		out = append(out, one)
	}
	return out, nil
}

func entryOf(e *shardv1.Entry) (op.Entry, error) {
	id, err := entryIDOf(e.GetId())
	if err != nil {
		return op.Entry{}, fmt.Errorf("entry %d: %w", e.GetSeq(), err)
	}
	if len(e.GetBody()) > op.MaxBody {
		return op.Entry{}, fmt.Errorf("body of entry %d has %d bytes, at most %d are allowed", e.GetSeq(), len(e.GetBody()), op.MaxBody)
	}
	return op.Entry{Term: termOf(e.GetTerm()), Seq: topology.Seq(e.GetSeq()), HLC: op.HLC(e.GetHlc()), Origin: topology.PeerID(e.GetOrigin()),
		ID: id, Body: e.GetBody()}, nil
}

func protoDigest(d point.Digest) []byte {
	return binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, d.A), d.B)
}
