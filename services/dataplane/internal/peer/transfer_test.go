package peer

import (
	"bytes"
	"context"
	"errors"
	"hash/crc32"
	"io"
	"testing"

	shardv1 "github.com/pandodb/pando/gen/go/pando/shard/v1"
	"github.com/pandodb/pando/services/dataplane/internal/node"
	"github.com/pandodb/pando/services/dataplane/internal/replica"
	"github.com/pandodb/pando/services/dataplane/internal/replica/core"
	"github.com/pandodb/pando/services/dataplane/internal/shard"
	"github.com/pandodb/pando/services/dataplane/internal/shard/record"
	"github.com/pandodb/pando/services/internal/fault"
	"github.com/pandodb/pando/services/internal/topology"
	"google.golang.org/grpc"
)

// pinned is an Export of given bytes.
type pinned struct {
	io.Reader
	closed int
}

func (p *pinned) Close() error { p.closed++; return nil }

func (p *pinned) Head() record.Head {
	return record.Head{Term: topology.Term{Epoch: 3, Run: 1}, Seq: 20, Points: 2, Bytes: 900}
}

func (p *pinned) History() []core.TermStart {
	return []core.TermStart{{Term: topology.Term{Epoch: 1, Run: 1}, First: 1}, {Term: topology.Term{Epoch: 3, Run: 1}, First: 9}}
}

// sent is the receiving end of a Transfer.
type sent struct {
	grpc.ServerStream
	ctx    context.Context
	pieces []*shardv1.TransferResponse
	err    error
}

func (s *sent) Context() context.Context { return s.ctx }

func (s *sent) Send(p *shardv1.TransferResponse) error {
	s.pieces = append(s.pieces, p)
	return s.err
}

// broken fails after some bytes.
type broken struct{ err error }

func (b broken) Read([]byte) (int, error) { return 0, b.err }

func statusOf(role core.Role, epoch topology.Epoch) *standing {
	s := &standing{}
	s.st.Role, s.st.Placement.Epoch, s.st.Phase = role, epoch, replica.Serving
	return s
}

// standing is a replica with a given status.
type standing struct {
	Replica
	st     replica.Status
	pinned map[topology.PeerID]topology.Seq
}

func (s *standing) Pinned(p topology.PeerID, at topology.Seq) {
	s.pinned = map[topology.PeerID]topology.Seq{p: at}
}

func (s *standing) Status() replica.Status { return s.st }

func TestTransfer(t *testing.T) {
	body := make([]byte, 10_000)
	for i := range body {
		body[i] = byte(i * 7)
	}
	x := &pinned{Reader: bytes.NewReader(body)}
	r := &Replication{Server: &Server{Replica: func(topology.Shard) (Replica, error) { return statusOf(core.Follower, 4), nil }},
		Export: func(id topology.Shard) (Export, error) {
			if id != (topology.Shard{Collection: 5, ID: 6}) {
				t.Errorf("asked for %v", id)
			}
			return x, nil
		}}
	to := &sent{ctx: t.Context()}
	if err := r.Transfer(&shardv1.TransferRequest{CollectionId: 5, ShardId: 6, Epoch: 4, Records: true, ChunkBytes: 5000}, to); err != nil {
		t.Fatal(err)
	}
	m := to.pieces[0].GetManifest()
	h := x.Head()
	if m.GetAt().GetSeq() != 20 || m.GetAt().GetTerm().GetEpoch() != 3 || !bytes.Equal(m.GetManifest(), h.AppendBinary(nil)) ||
		len(m.GetEpochHistory()) != 2 || m.GetEpochHistory()[1].GetFirstSeq() != 9 || m.GetEpochHistory()[1].GetTerm().GetEpoch() != 3 {
		t.Errorf("manifest %v", m)
	}
	var got []byte
	for i, p := range to.pieces[1:] {
		c := p.GetChunk()
		if int(c.GetOffset()) != len(got) || c.GetLast() != (i == len(to.pieces)-2) || c.GetCrc32C() != crc32.Checksum(c.GetData(), crc32.MakeTable(crc32.Castagnoli)) || len(c.GetData()) > 5000 {
			t.Errorf("chunk %d: %d bytes at %d of %d, last %v", i, len(c.GetData()), c.GetOffset(), len(got), c.GetLast())
		}
		if got = append(got, c.GetData()...); p.GetTotalBytes() < uint64(len(got)) {
			t.Errorf("%d of %d bytes", len(got), p.GetTotalBytes())
		}
	}
	if !bytes.Equal(got, body) || x.closed != 1 || len(to.pieces) != 4 {
		t.Errorf("%d bytes in %d pieces, closed %d times", len(got), len(to.pieces), x.closed)
	}
}

func TestTransferRefuses(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	failed := statusOf(core.Stopped, 4)
	failed.st.Phase, failed.st.Reason = replica.Failed, "disk"
	gone := errors.New("receiver has gone")
	for _, c := range []struct {
		name    string
		ctx     context.Context
		rep     *standing
		repErr  error
		files   bool
		read    io.Reader
		pinErr  error
		sendErr error
		want    fault.Reason
	}{
		{name: "files", rep: statusOf(core.Primary, 4), files: true, want: fault.NotBuilt},
		{name: "not here", repErr: node.ErrNoReplica, want: fault.ShardUnavailable},
		{name: "not Active", rep: statusOf(core.Idle, 4), want: fault.ShardUnavailable},
		{name: "stopped", rep: statusOf(core.Stopped, 4), want: fault.ShardUnavailable},
		{name: "older", rep: statusOf(core.Primary, 3), want: fault.ShardUnavailable},
		{name: "failed", rep: failed, want: fault.ReplicaFailed},
		{name: "cannot be pinned", rep: statusOf(core.Primary, 4), pinErr: shard.ErrClosed, want: fault.ShardUnavailable},
		{name: "damaged", rep: statusOf(core.Primary, 4), read: broken{shard.ErrCorrupt}, want: fault.StorageCorrupt},
		{name: "ends on the way", rep: statusOf(core.Primary, 4), read: broken{shard.ErrClosed}, want: fault.ShardUnavailable},
		{name: "cannot be sent", rep: statusOf(core.Primary, 4), sendErr: gone, want: fault.ReplicaFailed},
		{name: "receiver ends", ctx: ended, rep: statusOf(core.Primary, 4), read: bytes.NewReader(nil)},
	} {
		x := &pinned{Reader: c.read}
		r := &Replication{Server: &Server{Replica: func(topology.Shard) (Replica, error) { return c.rep, c.repErr }},
			Export: func(topology.Shard) (Export, error) { return x, c.pinErr }}
		if c.ctx == nil {
			c.ctx = t.Context()
		}
		to := &sent{ctx: c.ctx, err: c.sendErr}
		err := r.Transfer(&shardv1.TransferRequest{CollectionId: 5, ShardId: 6, Epoch: 4, Records: !c.files}, to)
		if c.want != 0 && fault.ReasonOf(err) != c.want || err == nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if pinnedIt := c.read != nil || c.sendErr != nil; pinnedIt != (x.closed == 1) {
			t.Errorf("%s: closed %d times", c.name, x.closed)
		}
	}
}
