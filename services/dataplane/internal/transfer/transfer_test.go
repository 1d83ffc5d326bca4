package transfer

import (
	"context"
	"errors"
	"hash/crc32"
	"io"
	"testing"
	"testing/synctest"
	"time"

	shardv1 "github.com/pandodb/pando/gen/go/pando/shard/v1"
	"github.com/pandodb/pando/services/dataplane/internal/replica/core"
	"github.com/pandodb/pando/services/internal/fault"
	"github.com/pandodb/pando/services/internal/topology"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// script is a connection to a source that says what it is told to, and then ends
// with an error (nil: the stream's end), or says nothing more until ctx ends.
type script struct {
	grpc.ClientConnInterface
	grpc.ClientStream
	pieces []*shardv1.TransferResponse
	err    error
	silent bool
	ctx    context.Context
	asked  *shardv1.TransferRequest
}

func (s *script) NewStream(ctx context.Context, _ *grpc.StreamDesc, method string, _ ...grpc.CallOption) (grpc.ClientStream, error) {
	if method != shardv1.Replication_Transfer_FullMethodName {
		return nil, errors.New(method)
	}
	s.ctx = ctx
	return s, nil
}

func (s *script) SendMsg(m any) error {
	s.asked = m.(*shardv1.TransferRequest)
	return nil
}

func (s *script) CloseSend() error { return nil }

func (s *script) RecvMsg(m any) error {
	if len(s.pieces) > 0 {
		proto.Merge(m.(proto.Message), s.pieces[0])
		s.pieces = s.pieces[1:]
		return nil
	}
	if s.silent {
		<-s.ctx.Done()
		return s.ctx.Err()
	}
	if s.err != nil {
		return s.err
	}
	return io.EOF
}

// sink keeps what comes.
type sink struct {
	head     []byte
	history  []core.TermStart
	body     []byte
	fail     error
	onWrite  func()
	beginErr error
}

func (s *sink) Begin(head []byte, history []core.TermStart) error {
	s.head, s.history = head, history
	return s.beginErr
}

func (s *sink) Write(b []byte) (int, error) {
	if s.onWrite != nil {
		s.onWrite()
	}
	s.body = append(s.body, b...)
	return len(b), s.fail
}

func manifest() *shardv1.TransferResponse {
	return &shardv1.TransferResponse{Piece: &shardv1.TransferResponse_Manifest{Manifest: &shardv1.Snapshot{Manifest: []byte("head"),
		EpochHistory: []*shardv1.TermStart{{Term: &shardv1.Term{Epoch: 2, Run: 3}, FirstSeq: 4}}}}}
}

func chunk(off int, data string, last bool) *shardv1.TransferResponse {
	return &shardv1.TransferResponse{Piece: &shardv1.TransferResponse_Chunk{Chunk: &shardv1.Chunk{Offset: uint64(off), Data: []byte(data), Last: last,
		Crc32C: crc32.Checksum([]byte(data), crc32.MakeTable(crc32.Castagnoli))}}}
}

func flipped() *shardv1.TransferResponse {
	c := chunk(0, "abc", true)
	c.GetChunk().Data[1] ^= 2
	return c
}

func named() *shardv1.TransferResponse {
	c := chunk(0, "abc", true)
	c.GetChunk().Name = "file"
	return c
}

var id = topology.Shard{Collection: 5, ID: 6}

func TestFetch(t *testing.T) {
	s := &script{pieces: []*shardv1.TransferResponse{manifest(), chunk(0, "abc", false), chunk(3, "de", false), chunk(5, "", true)}}
	var to sink
	if err := Fetch(t.Context(), s, Request{Shard: id, Epoch: 7, ChunkBytes: 8}, &to); err != nil {
		t.Fatal(err)
	}
	if string(to.head) != "head" || string(to.body) != "abcde" || len(to.history) != 1 || to.history[0] != (core.TermStart{Term: topology.Term{Epoch: 2, Run: 3}, First: 4}) {
		t.Errorf("%+v", to)
	}
	if a := s.asked; a.GetCollectionId() != 5 || a.GetShardId() != 6 || a.GetEpoch() != 7 || a.GetChunkBytes() != 8 || !a.GetRecords() {
		t.Errorf("asked %v", a)
	}
}

func TestFetchRefuses(t *testing.T) {
	no := errors.New("no")
	type pieces = []*shardv1.TransferResponse
	for _, c := range []struct {
		name   string
		pieces pieces
		err    error
		to     sink
		want   error
	}{
		{"nothing", nil, nil, sink{}, ErrBrokenOff},
		{"no chunk", pieces{manifest()}, nil, sink{}, ErrBrokenOff},
		{"no end", pieces{manifest(), chunk(0, "abc", false)}, nil, sink{}, ErrBrokenOff},
		{"a flipped bit", pieces{manifest(), flipped()}, nil, sink{}, ErrDamaged},
		{"a gap", pieces{manifest(), chunk(0, "a", false), chunk(2, "c", true)}, nil, sink{}, ErrDamaged},
		{"again", pieces{manifest(), chunk(0, "a", false), chunk(0, "a", true)}, nil, sink{}, ErrDamaged},
		{"no manifest", pieces{chunk(0, "a", true)}, nil, sink{}, ErrDamaged},
		{"two manifests", pieces{manifest(), manifest()}, nil, sink{}, ErrDamaged},
		{"a file", pieces{manifest(), named()}, nil, sink{}, ErrDamaged},
		{"after the end", pieces{manifest(), chunk(0, "a", true), chunk(1, "b", true)}, nil, sink{}, ErrDamaged},
		{"neither", pieces{{}}, nil, sink{}, ErrDamaged},
		{"the source fails", pieces{manifest()}, fault.New(fault.StorageCorrupt, "rotten").GRPCStatus().Err(), sink{}, fault.New(fault.StorageCorrupt, "")},
		{"the sink does not begin", pieces{manifest(), chunk(0, "a", true)}, nil, sink{beginErr: no}, no},
		{"the sink fails", pieces{manifest(), chunk(0, "a", true)}, nil, sink{fail: no}, no},
	} {
		s := &script{pieces: c.pieces, err: c.err}
		if err := Fetch(t.Context(), s, Request{Shard: id}, &c.to); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
		if s.ctx.Err() == nil {
			t.Errorf("%s: the stream was not ended", c.name)
		}
	}
}

func TestFetchEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := sink{onWrite: func() { <-time.After(10 * stall) }} // the sink may take its time
		start := time.Now()
		err := Fetch(t.Context(), &script{pieces: []*shardv1.TransferResponse{manifest(), chunk(0, "a", false)}, silent: true}, Request{Shard: id}, &slow)
		if d := time.Since(start); !errors.Is(err, ErrStalled) || d != 11*stall {
			t.Errorf("after %v: %v", d, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		start = time.Now()
		err = Fetch(ctx, &script{pieces: []*shardv1.TransferResponse{manifest()}, silent: true}, Request{Shard: id}, &sink{})
		if d := time.Since(start); !errors.Is(err, context.Canceled) || d != time.Second {
			t.Errorf("after %v: %v", d, err)
		}
	})
}
