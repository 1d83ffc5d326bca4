package peer

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	shardv1 "github.com/pandodb/pando/gen/go/pando/shard/v1"
	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/point"
	"github.com/pandodb/pando/services/dataplane/internal/replica/core"
	"github.com/pandodb/pando/services/internal/rpc"
	"github.com/pandodb/pando/services/internal/topology"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

func messages() []core.Message {
	t := topology.Term{Epoch: 4, Run: 9}
	pl := topology.Placement{Shard: topology.Shard{Collection: 3, ID: 1}, Epoch: 5, Primary: 7,
		Replicas: []topology.Replica{{Peer: 7, State: topology.Dead, Incarnation: topology.Incarnation{1}, Reason: "why", SinceMs: 12}}}
	return []core.Message{
		core.Append{Term: t, Prev: core.Position{Term: t, Seq: 6}, Commit: 5, Complete: true, Session: 8, Placement: &pl, Entries: []op.Entry{
			{Term: t, Seq: 7, HLC: 1 << 60, Origin: 2, ID: op.ID{Request: [16]byte{5}, Index: op.ClientIndexBit | 3, Part: op.LastPart}, Body: []byte("body")},
		}},
		core.Append{Term: t, Entries: []op.Entry{}},
		core.Offer{Term: t, Session: 8},
		core.Copy{Placement: pl, Upto: 9, Entries: []op.Entry{{Term: t, Seq: 9, HLC: 10, Origin: 3, ID: op.ID{Request: [16]byte{4}, Index: 1, Part: op.LastPart}, Body: []byte{5}}}},
		core.Kept{Upto: 9},
		core.Reconcile{Entries: []op.Entry{{Term: t, Seq: 9, HLC: 10, Origin: 3, ID: op.ID{Request: [16]byte{4}, Part: op.LastPart}, Body: []byte{5}}}},
		core.Reconciled{Settled: []core.Settled{{ID: op.ID{Request: [16]byte{4}, Part: op.LastPart}, Seq: 11}}},
		core.Diverged{Term: t, Mark: 12},
		core.Ack{Term: t, Durable: 7, Applied: 6, Mark: point.Mark{Seq: 5, Digest: point.Digest{A: 1, B: 2}}, Session: 8, Owes: true},
		core.Ack{Term: t},
		core.Stale{Term: t, Placement: pl},
		core.Mismatch{Term: t, History: []core.TermStart{{Term: t, First: 3}}, Last: 7, Session: 8},
		core.Stranger{Term: t},
	}
}

func TestMessagesBothWays(t *testing.T) {
	for _, m := range messages() {
		var got core.Message
		var err error
		if r := request(m, map[topology.Seq]string{7: "00-trace"}); r != nil {
			back := &shardv1.ReplicateRequest{}
			got, _, err = fromRequest(through(t, r, back))
		} else {
			back := &shardv1.ReplicateResponse{}
			got, err = fromResponse(through(t, response(m), back))
		}
		if diff := cmp.Diff(m, got); diff != "" || err != nil {
			t.Errorf("%T: %v %s", m, err, diff)
		}
	}
}

func through[T proto.Message](t *testing.T, m, back T) T {
	t.Helper()
	b, err := proto.Marshal(m)
	if err == nil {
		err = proto.Unmarshal(b, back)
	}
	if err != nil {
		t.Fatal(err)
	}
	return back
}

func TestWrongMessagesAreRefused(t *testing.T) {
	for name, r := range map[string]*shardv1.ReplicateRequest{
		"empty":    {},
		"short id": {Message: &shardv1.ReplicateRequest_Append{Append: &shardv1.Append{Entries: []*shardv1.Entry{{Id: &shardv1.EntryId{Request: []byte{1}}}}}}},
		"large": {Message: &shardv1.ReplicateRequest_Append{Append: &shardv1.Append{Entries: []*shardv1.Entry{
			{Id: &shardv1.EntryId{Request: make([]byte, 16)}, Body: make([]byte, op.MaxBody+1)}}}}},
	} {
		if _, _, err := fromRequest(r); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	for name, r := range map[string]*shardv1.ReplicateResponse{
		"empty":        {},
		"digest":       {Message: &shardv1.ReplicateResponse_Ack{Ack: &shardv1.AppendAck{Digest: []byte{1}}}},
		"empty denial": {Message: &shardv1.ReplicateResponse_Nack{Nack: &shardv1.Nack{}}},
	} {
		if _, err := fromResponse(r); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// FuzzMessages: nothing that a stranger sends makes the reader panic.
func FuzzMessages(f *testing.F) {
	for _, m := range messages() {
		var p proto.Message = response(m)
		if r := request(m, nil); r != nil {
			p = r
		}
		b, err := proto.Marshal(p)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var q shardv1.ReplicateRequest
		if proto.Unmarshal(b, &q) == nil {
			_, _, _ = fromRequest(&q)
		}
		var r shardv1.ReplicateResponse
		if proto.Unmarshal(b, &r) == nil {
			_, _ = fromResponse(&r)
		}
	})
}

// ear notes what it hears.
type ear struct {
	Replica
	mu    sync.Mutex
	heard []core.Message
	trace string
}

func (e *ear) Receive(_ topology.PeerID, m core.Message, traces map[topology.Seq]string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.heard = append(e.heard, m)
	if t := traces[7]; t != "" {
		e.trace = t
	}
}

func (e *ear) all() []core.Message {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.heard
}

// TestStreamsEndWithTheProcess: a stop does not wait for a stream on which nothing is said any more.
func TestStreamsEndWithTheProcess(t *testing.T) {
	health := rpc.NewHealth(slog.New(slog.DiscardHandler))
	server, err := rpc.NewServer(rpc.Options{Plane: "data", Health: health})
	if err != nil {
		t.Fatal(err)
	}
	heard := make(chan struct{})
	shardv1.RegisterReplicationServer(server, &Replication{Streams: &Streams{Self: 2, Log: slog.New(slog.DiscardHandler),
		Replica: func(topology.Shard) (Replica, error) { close(heard); return nil, errors.New("not here") }}})
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(lis) }()
	conn, err := rpc.Dial(lis.Addr().String(), rpc.DialOptions{})
	if err != nil {
		t.Fatal(err)
	}
	stream, err := shardv1.NewReplicationClient(conn).Replicate(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(request(core.Append{}, nil)); err != nil {
		t.Fatal(err)
	}
	<-heard
	health.EndStreams()
	ended := make(chan struct{})
	go func() { server.GracefulStop(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(5 * time.Second):
		t.Error("the server waits for a silent stream")
		server.Stop()
		<-ended
	}
	if err := errors.Join(<-served, conn.Close()); err != nil {
		t.Error(err)
	}
}

// TestStreams: messages arrive in order, answers come back on the same stream, and
// a stream that broke is opened again.
func TestStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ears := map[topology.PeerID]*ear{1: {}, 2: {}}
		locals := map[topology.PeerID]*rpc.Local{}
		var mu sync.Mutex
		up := func() {
			mu.Lock()
			defer mu.Unlock()
			for p := range ears {
				l, err := rpc.NewLocal(rpc.Options{Plane: "data"})
				if err != nil {
					t.Fatal(err)
				}
				locals[p] = l
			}
		}
		up()
		streams := map[topology.PeerID]*Streams{}
		ctx, stop := context.WithCancel(t.Context())
		var ended sync.WaitGroup
		for p, e := range ears {
			s := &Streams{Self: p, Log: slog.New(slog.DiscardHandler),
				Replica: func(s topology.Shard) (Replica, error) {
					if s.ID != 1 {
						return nil, errors.New("not here")
					}
					return e, nil
				},
				Dial: func(to topology.PeerID) (grpc.ClientConnInterface, error) {
					mu.Lock()
					defer mu.Unlock()
					return locals[to], nil
				}}
			shardv1.RegisterReplicationServer(locals[p], &Replication{Streams: s})
			streams[p] = s
			ended.Go(func() {
				if err := s.Run(ctx); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		here, gone := topology.Shard{Collection: 3, ID: 1}, topology.Shard{Collection: 3, ID: 9}
		say := func(from, to topology.PeerID, m core.Message) {
			streams[from].Send(here, []core.Envelope{{To: to, Message: m}}, map[topology.Seq]string{7: "00-trace"})
			streams[from].Send(gone, []core.Envelope{{To: to, Message: m}}, nil)
			synctest.Wait()
		}
		ms := messages()
		say(2, 1, ms[4]) // an answer where nobody has asked is lost
		say(1, 2, ms[0])
		say(1, 2, ms[2])
		say(2, 1, ms[4])
		if diff := cmp.Diff(ears[2].all(), []core.Message{ms[0], ms[2]}); diff != "" || ears[2].trace != "00-trace" {
			t.Errorf("%s, trace %q", diff, ears[2].trace)
		}
		if diff := cmp.Diff(ears[1].all(), []core.Message{ms[4]}); diff != "" {
			t.Error(diff)
		}

		mu.Lock()
		old := locals[2]
		mu.Unlock()
		broken, cancel := context.WithCancel(ctx)
		cancel()
		old.Close(broken)
		up()
		for p, s := range streams {
			shardv1.RegisterReplicationServer(locals[p], &Replication{Streams: s})
		}
		<-time.After(time.Second)
		say(1, 2, ms[3])
		<-time.After(time.Second)
		say(1, 2, ms[3])
		if n := len(ears[2].all()); n < 3 {
			t.Errorf("%d messages after the stream broke", n)
		}
		stop()
		ended.Wait()
	})
}
