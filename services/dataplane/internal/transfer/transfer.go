// Package transfer fetches a copy of a shard's state from another peer: the client
// of pando.shard.v1 Replication/Transfer. It checks what the wire can damage and
// hands on the rest; what the bytes mean is the receiver's matter. A copy that
// breaks off is begun anew by whoever wanted it.
package transfer

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"time"

	shardv1 "github.com/pandodb/pando/gen/go/pando/shard/v1"
	"github.com/pandodb/pando/services/dataplane/internal/replica/core"
	"github.com/pandodb/pando/services/internal/fault"
	"github.com/pandodb/pando/services/internal/topology"
	"google.golang.org/grpc"
)

var (
	// ErrDamaged: bytes changed on the way, or are not where they belong.
	ErrDamaged = errors.New("copy was damaged on the way")
	// ErrBrokenOff: the source ended the stream before the copy was whole.
	ErrBrokenOff = errors.New("copy broke off")
	// ErrStalled: nothing came from the source for too long.
	ErrStalled = errors.New("source of the copy does not go on")
)

// stall is how long a source may take for one piece.
const stall = 30 * time.Second

// Request says which copy is wanted.
type Request struct {
	Shard topology.Shard
	// Epoch of the receiver's placement: an older source refuses.
	Epoch topology.Epoch
	// Receiver is who asks.
	Receiver topology.PeerID
	// ChunkBytes is the most that one message carries; 0: the source's choice.
	ChunkBytes uint32
}

// Sink takes the copy: the head once, with the history of terms up to it, then
// the records' bytes, cut anywhere. It keeps nothing of what it is lent.
type Sink interface {
	Begin(head []byte, history []core.TermStart) error
	io.Writer
}

// Fetch brings the whole copy to the sink. It holds one piece in memory, and the
// next ones wait at the source while the sink works. Errors: the source's as a
// fault, the sink's, ErrDamaged, ErrBrokenOff, ErrStalled, ctx's.
func Fetch(ctx context.Context, conn grpc.ClientConnInterface, r Request, to Sink) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watch := time.AfterFunc(stall, func() { cancel(ErrStalled) })
	defer watch.Stop()
	f := fetch{to: to, table: crc32.MakeTable(crc32.Castagnoli)}
	err := f.run(ctx, conn, r, watch)
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return fmt.Errorf("copy of shard %d of collection %d: %w", r.Shard.ID, r.Shard.Collection, err)
	}
	return nil
}

// fetch is one copy on its way.
type fetch struct {
	to    Sink
	table *crc32.Table
	begun bool
	whole bool
	off   uint64
}

// run takes the pieces as they come. The watch runs while it waits for one.
func (f *fetch) run(ctx context.Context, conn grpc.ClientConnInterface, r Request, watch *time.Timer) error {
	in, err := shardv1.NewReplicationClient(conn).Transfer(ctx, &shardv1.TransferRequest{CollectionId: uint64(r.Shard.Collection),
		ShardId: uint64(r.Shard.ID), Epoch: uint64(r.Epoch), ChunkBytes: r.ChunkBytes, Records: true, Receiver: uint64(r.Receiver)})
	for err == nil {
		var p *shardv1.TransferResponse
		watch.Reset(stall)
		if p, err = in.Recv(); err != nil {
			break
		}
		watch.Stop()
		if err := f.take(p); err != nil {
			return err
		}
	}
	switch {
	case !errors.Is(err, io.EOF):
		return fault.From(err)
	case !f.whole:
		return ErrBrokenOff
	}
	return nil
}

func (f *fetch) take(p *shardv1.TransferResponse) error {
	switch p := p.GetPiece().(type) {
	case *shardv1.TransferResponse_Manifest:
		if f.begun {
			return fmt.Errorf("%w: a second manifest", ErrDamaged)
		}
		f.begun = true
		return f.to.Begin(p.Manifest.GetManifest(), historyOf(p.Manifest.GetEpochHistory()))
	case *shardv1.TransferResponse_Chunk:
		return f.chunk(p.Chunk)
	default:
		return fmt.Errorf("%w: a piece of a kind that this version does not know", ErrDamaged)
	}
}

func (f *fetch) chunk(c *shardv1.Chunk) error {
	switch {
	case !f.begun, f.whole, c.GetOffset() != f.off, c.GetName() != "":
		return fmt.Errorf("%w: bytes from %d on came after %d bytes", ErrDamaged, c.GetOffset(), f.off)
	case crc32.Checksum(c.GetData(), f.table) != c.GetCrc32C():
		return fmt.Errorf("%w: checksum of %d bytes from %d on", ErrDamaged, len(c.GetData()), f.off)
	}
	f.off += uint64(len(c.GetData()))
	f.whole = c.GetLast()
	_, err := f.to.Write(c.GetData())
	return err
}

func historyOf(h []*shardv1.TermStart) []core.TermStart {
	out := make([]core.TermStart, len(h))
	for i, t := range h {
		out[i] = core.TermStart{Term: topology.Term{Epoch: topology.Epoch(t.GetTerm().GetEpoch()), Run: topology.Run(t.GetTerm().GetRun())},
			First: topology.Seq(t.GetFirstSeq())}
	}
	return out
}
