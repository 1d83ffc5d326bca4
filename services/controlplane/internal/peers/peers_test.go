package peers

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	shardv1 "github.com/pandodb/pando/gen/go/pando/shard/v1"
	"github.com/pandodb/pando/services/controlplane/internal/store"
	"github.com/pandodb/pando/services/controlplane/internal/swap"
	"github.com/pandodb/pando/services/internal/fault"
	"github.com/pandodb/pando/services/internal/rpc"
	"github.com/pandodb/pando/services/internal/topology"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// peer answers by script.
type peer struct {
	shardv1.UnimplementedConfirmServer
	shardv1.UnimplementedProbeServer
	asked  *shardv1.ConfirmRequest
	handed *shardv1.HandoverRequest
	nonce  uint64 // added to the one that was sent
	err    error
}

func (p *peer) Confirm(_ context.Context, r *shardv1.ConfirmRequest) (*shardv1.ConfirmResponse, error) {
	p.asked = r
	return &shardv1.ConfirmResponse{Nonce: r.GetNonce() + p.nonce, Incarnation: append(make([]byte, 15), 7), PlacementEpoch: 5, SessionId: 70,
		Last: &shardv1.Position{Term: &shardv1.Term{Epoch: 4, Run: 2}, Seq: 99}}, p.err
}

func (p *peer) Handover(ctx context.Context, r *shardv1.HandoverRequest) (*shardv1.HandoverResponse, error) {
	p.handed = r
	if p.err == nil {
		<-ctx.Done()
		return nil, fault.From(ctx.Err())
	}
	return nil, p.err
}

func (p *peer) Probe(context.Context, *shardv1.ProbeRequest) (*shardv1.ProbeResponse, error) {
	return &shardv1.ProbeResponse{}, p.err
}

func TestPeers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, down := &peer{}, errors.New("no address")
		local, err := rpc.NewLocal(rpc.Options{})
		if err != nil {
			t.Fatal(err)
		}
		shardv1.RegisterConfirmServer(local, p)
		shardv1.RegisterProbeServer(local, p)
		ask := Peers{Dial: func(id topology.PeerID) (grpc.ClientConnInterface, error) {
			if id != 7 {
				return nil, down
			}
			return local, nil
		}}
		rec := store.Shard{Collection: 1, Shard: 2, Epoch: 5, Primary: 7, Replicas: []store.Replica{{Peer: 7, State: store.Active}, {Peer: 8, State: store.Dead}}}
		a, err := ask.Confirm(t.Context(), 7, rec)
		want := swap.Answer{Peer: 7, Incarnation: store.Incarnation{15: 7}, Epoch: 5, Session: 70, Last: topology.Term{Epoch: 4, Run: 2}, LastSeq: 99}
		if err != nil || a != want {
			t.Errorf("%+v, %v", a, err)
		}
		first := p.asked
		if m := first.GetPlacement(); first.GetCollectionId() != 1 || first.GetShardId() != 2 || m.GetEpoch() != 5 || len(m.GetReplicas()) != 2 {
			t.Errorf("it was handed %v", first)
		}
		if _, err := ask.Confirm(t.Context(), 7, rec); err != nil || p.asked.GetNonce() == first.GetNonce() {
			t.Errorf("the nonce of two questions is %d (%v)", p.asked.GetNonce(), err)
		}
		p.nonce = 1
		if _, err := ask.Confirm(t.Context(), 7, rec); !errors.Is(err, errNonce) {
			t.Errorf("the answer to another question: %v", err)
		}
		if _, err := ask.Confirm(t.Context(), 9, rec); !errors.Is(err, down) {
			t.Errorf("no address: %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		if err := ask.Handover(ctx, rec, 8); status.Code(err) != codes.DeadlineExceeded || p.handed.GetEpoch() != 5 || p.handed.GetTo() != 8 {
			t.Errorf("handover: %v, asked %v", err, p.handed)
		}
		cancel()
		p.err = fault.New(fault.NotPrimary, "not me")
		if err := ask.Handover(t.Context(), rec, 8); err == nil || !strings.Contains(err.Error(), "not me") {
			t.Errorf("handover refused: %v", err)
		}
		for _, c := range []struct {
			err  error
			down bool
		}{
			{nil, false}, {fault.New(fault.NotFound, "x"), false}, {fault.New(fault.Unspecified, "x"), false},
			{fault.New(fault.ShuttingDown, "x"), true}, {context.DeadlineExceeded, true},
		} {
			p.err = c.err
			if err := ask.Probe(t.Context(), 7); (err != nil) != c.down {
				t.Errorf("%v means %v", c.err, err)
			}
		}
		if err := ask.Probe(t.Context(), 9); !errors.Is(err, down) {
			t.Errorf("no address: %v", err)
		}
		local.Close(t.Context())
	})
}
