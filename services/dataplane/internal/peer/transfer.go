package peer

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	shardv1 "github.com/pandodb/pando/gen/go/pando/shard/v1"
	"github.com/pandodb/pando/services/dataplane/internal/replica"
	"github.com/pandodb/pando/services/dataplane/internal/replica/core"
	"github.com/pandodb/pando/services/dataplane/internal/shard/record"
	"github.com/pandodb/pando/services/internal/fault"
	"github.com/pandodb/pando/services/internal/topology"
	"google.golang.org/grpc"
)

// Sizes of a chunk in bytes.
const (
	chunkBytes    = 512 << 10
	minChunkBytes = 4 << 10
	maxChunkBytes = 4 << 20
)

// Export is a pinned state of a replica: the records of a copy, what they stand
// for, and where the terms of the log began up to there. It fails when the replica
// ends.
type Export interface {
	io.ReadCloser
	Head() record.Head
	History() []core.TermStart
}

// Replication answers pando.shard.v1.Replication.
type Replication struct {
	shardv1.UnimplementedReplicationServer
	Server  *Server
	Streams *Streams
	// Export pins the applied state of a replica on this peer.
	Export func(topology.Shard) (Export, error)
}

// Replicate takes the stream of another peer.
func (r *Replication) Replicate(stream grpc.BidiStreamingServer[shardv1.ReplicateRequest, shardv1.ReplicateResponse]) error {
	return r.Streams.Replicate(stream)
}

// Transfer streams a copy of an Active replica's state as records. What is in
// memory of it is one chunk; the receiver sets the pace.
func (r *Replication) Transfer(req *shardv1.TransferRequest, to grpc.ServerStreamingServer[shardv1.TransferResponse]) error {
	if !req.GetRecords() {
		return fault.Missing("transfer of files")
	}
	id := topology.Shard{Collection: topology.CollectionID(req.GetCollectionId()), ID: topology.ShardID(req.GetShardId())}
	err := r.transfer(id, req, to)
	if err == nil || to.Context().Err() != nil {
		return err
	}
	f := failure(err, id)
	return fault.Wrap(f.GetReason(), err, "%s", f.GetMessage())
}

func (r *Replication) transfer(id topology.Shard, req *shardv1.TransferRequest, to grpc.ServerStreamingServer[shardv1.TransferResponse]) (err error) {
	rep, st, err := r.source(id, topology.Epoch(req.GetEpoch()))
	if err != nil {
		return err
	}
	x, err := r.Export(id)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, x.Close()) }()
	head := x.Head()
	rep.Pinned(topology.PeerID(req.GetReceiver()), head.Seq)
	m := &shardv1.Snapshot{Term: protoTerm(st.Promised), At: &shardv1.Position{Term: protoTerm(head.Term), Seq: uint64(head.Seq)}, Manifest: head.AppendBinary(nil)}
	for _, h := range x.History() {
		m.EpochHistory = append(m.EpochHistory, &shardv1.TermStart{Term: protoTerm(h.Term), FirstSeq: uint64(h.First)})
	}
	if err := to.Send(&shardv1.TransferResponse{Piece: &shardv1.TransferResponse_Manifest{Manifest: m}, TotalBytes: head.Bytes}); err != nil {
		return err
	}
	size := chunkBytes
	if n := int(min(req.GetChunkBytes(), maxChunkBytes)); n > 0 {
		size = max(n, minChunkBytes)
	}
	table := crc32.MakeTable(crc32.Castagnoli)
	for off, last := uint64(0), false; !last; {
		if err := to.Context().Err(); err != nil {
			return err
		}
		data := make([]byte, size) // the message keeps it
		n, err := io.ReadFull(x, data)
		last = errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		if err != nil && !last {
			return err
		}
		c := &shardv1.Chunk{Offset: off, Data: data[:n], Crc32C: crc32.Checksum(data[:n], table), Last: last}
		if err := to.Send(&shardv1.TransferResponse{Piece: &shardv1.TransferResponse_Chunk{Chunk: c}, TotalBytes: max(head.Bytes, off+uint64(n))}); err != nil {
			return err
		}
		off += uint64(n)
	}
	return nil
}

// source finds a replica that may be copied: Active, under a placement that is not
// older than the one that the receiver asks by.
func (r *Replication) source(id topology.Shard, asked topology.Epoch) (Replica, replica.Status, error) {
	rep, err := r.Server.Replica(id)
	if err != nil {
		return nil, replica.Status{}, err
	}
	st := rep.Status()
	switch {
	case st.Phase == replica.Failed:
		return nil, st, fmt.Errorf("%w: %s", replica.ErrFailed, st.Reason)
	case st.Placement.Epoch < asked:
		return nil, st, fault.New(fault.ShardUnavailable, "shard %d: the replica here knows epoch %d, not %d yet", id.ID, st.Placement.Epoch, asked)
	case st.Role != core.Primary && st.Role != core.Follower:
		return nil, st, fault.New(fault.ShardUnavailable, "shard %d: the replica here is not Active in epoch %d", id.ID, st.Placement.Epoch)
	}
	return rep, st, nil
}
