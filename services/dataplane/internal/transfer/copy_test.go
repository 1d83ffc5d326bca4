package transfer

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"sync/atomic"
	"testing"
	"time"

	shardv1 "github.com/pandodb/pando/gen/go/pando/shard/v1"
	"github.com/pandodb/pando/services/dataplane/internal/node"
	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/peer"
	"github.com/pandodb/pando/services/dataplane/internal/query"
	"github.com/pandodb/pando/services/dataplane/internal/replica"
	"github.com/pandodb/pando/services/dataplane/internal/replica/core"
	"github.com/pandodb/pando/services/dataplane/internal/shard"
	"github.com/pandodb/pando/services/internal/fault"
	"github.com/pandodb/pando/services/internal/rpc"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/vfs/memfs"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func await(t testing.TB, what string, cond func() bool) {
	t.Helper()
	tick, late := time.NewTicker(time.Millisecond), time.NewTimer(20*time.Second)
	defer tick.Stop()
	defer late.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-late.C:
			t.Fatalf("not in time: %s", what)
		}
	}
}

func storage(f node.Fetch) node.Storage {
	return node.Storage{Fetch: f, SegmentBytes: 64 << 10}
}

func assign(e topology.Epoch, rs ...topology.Replica) node.Assignment {
	a := node.Assignment{Schema: query.Schema{Revision: 1, Vectors: []query.VectorSchema{{Size: 100, Distance: query.Euclid}}}, Settings: []byte("{}")}
	a.Placement = topology.Placement{Shard: id, Epoch: e, Primary: 7, Replicas: rs}
	return a
}

// origin is a peer with one shard that serves copies over a connection like any other.
type origin struct {
	t      testing.TB
	n      *node.Node
	conn   *grpc.ClientConn
	pinned atomic.Int64 // exports that are open
	read   atomic.Int64 // bytes read from exports
	stop   func()
}

// counted is an export that is counted.
type counted struct {
	peer.Export
	o *origin
}

func (c counted) Read(b []byte) (int, error) {
	n, err := c.Export.Read(b)
	c.o.read.Add(int64(n))
	return n, err
}

func (c counted) Close() error {
	c.o.pinned.Add(-1)
	return c.Export.Close()
}

func newOrigin(t testing.TB, points int) *origin {
	t.Helper()
	f, err := node.OpenFolder(memfs.New(), "/data", 7, rand.Reader)
	must(t, err)
	o := &origin{t: t}
	o.n = node.New(node.Options{Folder: f, Open: storage(nil).Open, Random: rand.Reader, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	ctx, cancel := context.WithCancel(context.Background())
	ended, served := make(chan error, 1), make(chan error, 1)
	go func() { ended <- errors.Join(o.n.Run(ctx), f.Close()) }()
	server, err := rpc.NewServer(rpc.Options{})
	must(t, err)
	shardv1.RegisterReplicationServer(server, &peer.Replication{
		Server: &peer.Server{Replica: func(s topology.Shard) (peer.Replica, error) { return o.n.Replica(s) }},
		Export: func(s topology.Shard) (peer.Export, error) {
			x, err := o.n.Export(s)
			if err != nil {
				return nil, err
			}
			o.pinned.Add(1)
			return counted{x, o}, nil
		}})
	lis := bufconn.Listen(1 << 20)
	go func() { served <- server.Serve(lis) }()
	o.conn, err = grpc.NewClient("passthrough:///origin", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return lis.DialContext(ctx) }))
	must(t, err)
	o.stop = func() {
		cancel()
		must(t, <-ended)
	}
	t.Cleanup(func() {
		must(t, o.conn.Close())
		server.Stop()
		must(t, <-served)
		cancel()
	})
	o.fill(points)
	return o
}

func (o *origin) fill(points int) {
	o.n.Apply(node.Desired{Revision: 1, Assignments: []node.Assignment{assign(1, topology.Replica{Peer: 7, State: topology.Initializing})}})
	await(o.t, "made", func() bool { x := o.n.Inventory(); return len(x) == 1 && x[0].Loaded })
	in := o.n.Inventory()[0].Incarnation
	o.n.Apply(node.Desired{Revision: 2, Assignments: []node.Assignment{assign(2, topology.Replica{Peer: 7, Incarnation: in})}})
	await(o.t, "serving", func() bool {
		_, release, err := o.n.Reader(id)
		if err == nil {
			release()
		}
		return err == nil
	})
	for at := 0; at < points; at += 1000 {
		o.write(at, min(points, at+1000))
	}
}

func (o *origin) write(from, to int) {
	o.t.Helper()
	w := shard.Write{Kind: op.Upsert}
	for p := from; p < to; p++ {
		v := make([]float32, 100)
		for i := range v {
			v[i] = float32(p*31+i*17) / 7
		}
		w.Points = append(w.Points, op.Point{ID: topology.NumberID(uint64(p)), Vectors: []op.Vector{{Data: v}}})
	}
	r, err := o.n.Replica(id)
	must(o.t, err)
	var n op.ID
	_, err = rand.Read(n.Request[:])
	must(o.t, err)
	_, err = r.Propose(context.Background(), n, w, replica.WaitApplied, 1)
	must(o.t, err)
}

// fetch is what a facade does.
func (o *origin) fetch(ctx context.Context, from replica.CopySource, s topology.Shard, to node.Intake) error {
	return Fetch(ctx, o.conn, Request{Shard: s, Epoch: from.Epoch, ChunkBytes: 64 << 10}, to)
}

// TestCopyOverTheWire: a new replica takes a copy from a peer that goes on writing,
// and is opened with it.
func TestCopyOverTheWire(t *testing.T) {
	o := newOrigin(t, 5000)
	fsys := memfs.New()
	must(t, fsys.MkdirAll("/r", 0o750))
	open := func() node.Parts {
		t.Helper()
		p, err := storage(o.fetch).Open(fsys, "/r", assign(2), core.Hard{})
		must(t, err)
		return p
	}
	p := open()
	progress := replica.CopyProgress{}
	more := 5000
	c, err := p.Copier.Fetch(t.Context(), replica.CopySource{Peer: 7, Epoch: 2}, func(g replica.CopyProgress) {
		if g.Points < progress.Points || g.Bytes <= progress.Bytes || g.Bytes > g.TotalBytes {
			t.Errorf("%+v after %+v", g, progress)
		}
		if progress = g; more < 5300 {
			o.write(more, more+100)
			more += 100
		}
	})
	must(t, err)
	if progress.Points != 5000 || progress.TotalPoints != 5000 || more == 5000 {
		t.Errorf("%+v, %d points at the source by then", progress, more)
	}
	must(t, errors.Join(c.Commit(), p.Close()))
	await(t, "the source's export ended", func() bool { return o.pinned.Load() == 0 })
	p = open()
	if at, d := p.Reads.Digest(); at != c.At().Seq || p.Log.Tail().Last != c.At() {
		t.Errorf("at %d, log ends at %+v, the copy was at %+v, digest %s", at, p.Log.Tail().Last, c.At(), d)
	}
	got, err := p.Reads.Get(t.Context(), query.Get{IDs: []topology.PointID{topology.NumberID(4999)}, Want: query.Want{Vectors: true}})
	if err != nil || len(got) != 1 || got[0].Vectors[0].Data[2] != float32(4999*31+34)/7 {
		t.Errorf("%+v, %v", got, err)
	}
	must(t, p.Close())
	o.stop()
}

// TestSlowReceiver: a receiver that does not take what comes holds the source back,
// and the source's writes go on.
func TestSlowReceiver(t *testing.T) {
	o := newOrigin(t, 40_000) // 18 MB
	began, goOn := make(chan struct{}), make(chan struct{})
	first := true
	s := &sink{onWrite: func() {
		if first {
			first = false
			close(began)
			<-goOn
		}
	}}
	done := make(chan error, 1)
	go func() { done <- Fetch(t.Context(), o.conn, Request{Shard: id, Epoch: 2}, s) }()
	<-began
	for i := range 20 {
		o.write(50_000+i, 50_001+i)
	}
	if n := o.read.Load(); n > 8<<20 {
		t.Errorf("the source has read %d bytes while nobody takes them", n)
	}
	close(goOn)
	must(t, <-done)
	if len(s.body) < 16<<20 {
		t.Errorf("%d bytes", len(s.body))
	}
	o.stop()
}

// TestCopyEnds: whoever ends it, nothing stays behind, and the source's end does not
// wait for its receivers.
func TestCopyEnds(t *testing.T) {
	o := newOrigin(t, 40_000)
	for _, c := range []struct {
		name string
		end  func(cancel func())
		want error
	}{
		{"receiver", func(cancel func()) { cancel() }, context.Canceled},
		{"source", func(func()) { o.stop() }, fault.New(fault.ShardUnavailable, "")},
	} {
		fsys := memfs.New()
		must(t, fsys.MkdirAll("/r", 0o750))
		p, err := storage(o.fetch).Open(fsys, "/r", assign(2), core.Hard{})
		must(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		ended := false
		_, err = p.Copier.Fetch(ctx, replica.CopySource{Peer: 7, Epoch: 2}, func(replica.CopyProgress) {
			if !ended {
				ended = true
				c.end(cancel)
			}
		})
		cancel()
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
		await(t, "the source's export ended", func() bool { return o.pinned.Load() == 0 })
		if _, err := fsys.Stat("/r/state.new"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: something is left: %v", c.name, err)
		}
		must(t, p.Close())
	}
}
