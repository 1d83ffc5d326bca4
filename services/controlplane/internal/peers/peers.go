// Package peers asks data peers on behalf of the control plane: to confirm a replica, to hand a shard over, whether they answer at
// all. It decides nothing and keeps nothing.
package peers

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	placementv1 "github.com/pandodb/pando/gen/go/pando/placement/v1"
	shardv1 "github.com/pandodb/pando/gen/go/pando/shard/v1"
	"github.com/pandodb/pando/services/controlplane/internal/messages"
	"github.com/pandodb/pando/services/controlplane/internal/store"
	"github.com/pandodb/pando/services/controlplane/internal/swap"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/wire"
)

// Peers reaches data peers.
type Peers struct {
	// Dial finds the process of a peer.
	Dial func(topology.PeerID) (grpc.ClientConnInterface, error)
}

var errNonce = errors.New("it answered another question")

// Confirm implements swap.Asker.
func (p Peers) Confirm(ctx context.Context, peer topology.PeerID, rec store.Shard) (swap.Answer, error) {
	c, err := p.Dial(peer)
	if err != nil {
		return swap.Answer{}, err
	}
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails: the process ends instead
	nonce := binary.BigEndian.Uint64(b[:])
	r, err := shardv1.NewConfirmClient(c).Confirm(ctx, &shardv1.ConfirmRequest{
		CollectionId: uint64(rec.Collection), ShardId: uint64(rec.Shard), Nonce: nonce, Placement: messages.Shard(rec),
	})
	if err != nil {
		return swap.Answer{}, err
	}
	if r.GetNonce() != nonce {
		return swap.Answer{}, errNonce
	}
	last := r.GetLast()
	return swap.Answer{
		Peer: peer, Incarnation: store.Incarnation(wire.Incarnation(r.GetIncarnation())), Epoch: topology.Epoch(r.GetPlacementEpoch()),
		Session: store.LeaseID(r.GetSessionId()), LastSeq: topology.Seq(last.GetSeq()),
		Last: topology.Term{Epoch: topology.Epoch(last.GetTerm().GetEpoch()), Run: topology.Run(last.GetTerm().GetRun())},
	}, nil
}

// Handover asks the primary of a shard to be succeeded, and comes back when it was or ctx ends.
func (p Peers) Handover(ctx context.Context, rec store.Shard, to topology.PeerID) error {
	c, err := p.Dial(rec.Primary)
	if err != nil {
		return err
	}
	_, err = shardv1.NewConfirmClient(c).Handover(ctx, &shardv1.HandoverRequest{
		CollectionId: uint64(rec.Collection), ShardId: uint64(rec.Shard), Epoch: uint64(rec.Epoch), To: uint64(to),
	})
	return err
}

// Probe tells whether the process of a peer answers; what it says does not matter.
func (p Peers) Probe(ctx context.Context, peer topology.PeerID) error {
	c, err := p.Dial(peer)
	if err != nil {
		return err
	}
	// No replica has this id: the answer costs no read.
	nothing := []*placementv1.ShardRef{{}}
	_, err = shardv1.NewProbeClient(c).Probe(ctx, &shardv1.ProbeRequest{Shards: nothing})
	switch status.Code(err) {
	case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled:
		return err
	}
	return nil // a refusal is an answer
}
