package session

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	placementv1 "github.com/pandodb/pando/gen/go/pando/placement/v1"
	"github.com/pandodb/pando/services/internal/fault"
	"github.com/pandodb/pando/services/internal/rpc"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/vfs"
	"github.com/pandodb/pando/services/internal/vfs/memfs"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// control is a control plane that does what a test tells it.
type control struct {
	placementv1.UnimplementedSessionServer
	mu        sync.Mutex
	registers int
	revision  uint64 // that a registration gets
	refuse    error
	heard     []*placementv1.KeepAliveRequest
	asked     []*placementv1.RegisterRequest
	told      chan struct{}
	after     []uint64
	events    chan *placementv1.WatchPlacementResponse
	breakBeat chan error
	mute      bool // signs of life are not answered
}

func newControl() *control {
	return &control{revision: 7, events: make(chan *placementv1.WatchPlacementResponse), breakBeat: make(chan error), told: make(chan struct{}, 100)}
}

func (c *control) Register(_ context.Context, r *placementv1.RegisterRequest) (*placementv1.RegisterResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked = append(c.asked, r)
	if c.refuse != nil {
		return nil, c.refuse
	}
	c.registers++
	return &placementv1.RegisterResponse{SessionId: uint64(c.registers), ClusterId: "tree", Revision: c.revision, Ttl: durationpb.New(time.Second)}, nil
}

func (c *control) KeepAlive(s grpc.BidiStreamingServer[placementv1.KeepAliveRequest, placementv1.KeepAliveResponse]) error {
	in := make(chan *placementv1.KeepAliveRequest)
	go func() {
		defer close(in)
		for {
			r, err := s.Recv()
			if err != nil {
				return
			}
			in <- r
		}
	}()
	var result error
	for {
		select {
		case r, ok := <-in:
			if !ok {
				return result
			}
			if result != nil {
				continue
			}
			c.mu.Lock()
			c.heard = append(c.heard, r)
			mute := c.mute
			c.mu.Unlock()
			if mute {
				continue
			}
			if r.GetInventory() != nil {
				c.told <- struct{}{}
			}
			if err := s.Send(&placementv1.KeepAliveResponse{Sequence: r.GetSequence()}); err != nil {
				result = err
			}
		case err := <-c.breakBeat:
			return err
		}
	}
}

func (c *control) WatchPlacement(r *placementv1.WatchPlacementRequest, s grpc.ServerStreamingServer[placementv1.WatchPlacementResponse]) error {
	c.mu.Lock()
	c.after = append(c.after, r.GetAfterRevision())
	c.mu.Unlock()
	for {
		select {
		case e := <-c.events:
			if e == nil {
				return fault.New(fault.NoLeader, "no leader")
			}
			if err := s.Send(e); err != nil {
				return err
			}
		case <-s.Context().Done():
			return s.Context().Err()
		}
	}
}

func snapshot(revision uint64, index uint32, last bool, cs ...*placementv1.Change) *placementv1.WatchPlacementResponse {
	return &placementv1.WatchPlacementResponse{Event: &placementv1.WatchPlacementResponse_Snapshot{
		Snapshot: &placementv1.SnapshotChunk{Revision: revision, Index: index, Last: last, Records: cs}}}
}

func delta(revision uint64, cs ...*placementv1.Change) *placementv1.WatchPlacementResponse {
	return &placementv1.WatchPlacementResponse{Event: &placementv1.WatchPlacementResponse_Delta{
		Delta: &placementv1.Delta{Revision: revision, Changes: cs}}}
}

func collection(id uint64, name string) *placementv1.Change {
	return &placementv1.Change{Change: &placementv1.Change_Collection{Collection: &placementv1.Collection{CollectionId: id, Name: name}}}
}

func shard(c, id, epoch uint64) *placementv1.Change {
	return &placementv1.Change{Change: &placementv1.Change_Shard{Shard: &placementv1.Shard{CollectionId: c, ShardId: id, Epoch: epoch}}}
}

type fixture struct {
	*Session
	control *control
	fs      vfs.FS
	changed chan struct{}
	mu      sync.Mutex
	have    []*placementv1.ReplicaInventory
}

func open(t *testing.T, fsys vfs.FS, c *control) *fixture {
	t.Helper()
	local, err := rpc.NewLocal(rpc.Options{})
	if err != nil {
		t.Fatal(err)
	}
	placementv1.RegisterSessionServer(local, c)
	f := &fixture{control: c, fs: fsys, changed: make(chan struct{}, 1)}
	f.Session, err = Open(Options{FS: fsys, Dir: "/d", Peer: &placementv1.Peer{PeerId: 10}, ProcessID: "p",
		Control: placementv1.NewSessionClient(local), Changed: f.changed, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Inventory: func() []*placementv1.ReplicaInventory {
			f.mu.Lock()
			defer f.mu.Unlock()
			return f.have
		}})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// run runs the session for the length of body, which begins once the session has
// tried to register: a registration after a snapshot of a later revision than
// control gives would be refused, since no honest control plane does that.
func (f *fixture) run(t *testing.T, body func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	synctest.Wait()
	body()
	cancel()
	if err := <-done; err != nil {
		t.Errorf("run ended with %v", err)
	}
}

func disk(t *testing.T) vfs.FS {
	t.Helper()
	fsys := memfs.New()
	if err := fsys.MkdirAll("/d", 0o755); err != nil {
		t.Fatal(err)
	}
	return fsys
}

func TestFollowsKeepsAndStartsFromWhatItKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fsys := disk(t)
		f := open(t, fsys, newControl())
		f.run(t, func() {
			<-f.control.told
			f.control.events <- snapshot(5, 0, false, collection(1, "a"))
			if f.Map().Revision() != 0 {
				t.Error("half a snapshot became a map")
			}
			f.control.events <- snapshot(5, 1, true, shard(1, 0, 3))
			f.control.events <- delta(8, collection(2, "b"), shard(1, 0, 2))
			if err := f.Await(t.Context(), 8); err != nil {
				t.Fatal(err)
			}
			if p, ok := f.Map().Placement(topology.Shard{Collection: 1}); !ok || p.Epoch != 3 {
				t.Errorf("placement %+v, %v: a lower epoch must not win", p, ok)
			}
		})
		g := open(t, fsys, newControl())
		g.control.revision = 8
		if c, ok := g.Map().Resolve("b"); !ok || c.ID != 2 || g.Map().Revision() != 8 || g.Cluster() != "tree" {
			t.Fatalf("after a start: %+v, %v, revision %d, cluster %q", c, ok, g.Map().Revision(), g.Cluster())
		}
		if p, _ := g.Map().Placement(topology.Shard{Collection: 1}); p.Epoch != 3 {
			t.Errorf("kept epoch %d", p.Epoch)
		}
		g.run(t, func() {
			synctest.Wait()
			if a := g.control.after; len(a) != 1 || a[0] != 8 {
				t.Errorf("watches after %v, want 8", a)
			}
		})
	})
}

// A map kept from before, or one still catching up, may lack a shard that was
// placed just before the process ended.
func TestMapIsConfirmedOnceItHasCaughtUpWithTheRegistration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := open(t, disk(t), newControl())
		f.run(t, func() {
			<-f.control.told
			for _, c := range []struct {
				revision uint64
				want     bool
			}{{6, false}, {7, true}, {9, true}} {
				f.control.events <- delta(c.revision)
				if err := f.Await(t.Context(), c.revision); err != nil {
					t.Fatal(err)
				}
				if got := f.Confirmed(f.Map()); got != c.want {
					t.Errorf("confirmed at revision %d: %v", c.revision, got)
				}
			}
		})
	})
}

func TestAwaitEndsWithItsContext(t *testing.T) {
	f := open(t, disk(t), newControl())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := f.Await(ctx, 4); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "revision 4") {
		t.Errorf("%v", err)
	}
	if err := f.Await(ctx, 0); err != nil {
		t.Errorf("revision 0 is always there: %v", err)
	}
}

func TestRegistersAgainAfterTheSessionEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := open(t, disk(t), newControl())
		f.run(t, func() {
			<-f.control.told
			f.control.breakBeat <- fault.New(fault.NotFound, "the session has ended")
			<-f.control.told
			synctest.Wait()
			if f.ID() != 2 {
				t.Errorf("session %d, want the second", f.ID())
			}
		})
	})
}

// A member that no longer answers is given up early enough for the session to be
// kept by another one.
func TestRegistersElsewhereWithinTheTTL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := open(t, disk(t), newControl())
		f.run(t, func() {
			<-f.control.told
			<-time.After(2 * time.Second)
			f.control.mu.Lock()
			f.control.mute = true
			f.control.mu.Unlock()
			began := time.Now()
			for n := 1; n < 2; {
				<-time.After(10 * time.Millisecond)
				f.control.mu.Lock()
				n = f.control.registers
				f.control.mu.Unlock()
			}
			// The last answered sign of life was up to a third of the TTL before.
			if d := time.Since(began); d > 800*time.Millisecond {
				t.Errorf("registered again after %v of silence", d)
			}
			f.control.mu.Lock()
			f.control.mute = false
			f.control.mu.Unlock()
		})
	})
}

// A peer that was taken out says so once, keeps its map, and asks for nothing more;
// also when it is known from the start.
func TestTakenOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fsys := disk(t)
		f := open(t, fsys, newControl())
		told := 0
		f.o.Removed = func() { told++ }
		f.Belong("tree")
		f.run(t, func() {
			<-f.control.told
			f.control.events <- snapshot(8, 0, true, collection(1, "a"))
			if err := f.Await(t.Context(), 8); err != nil {
				t.Fatal(err)
			}
			f.control.mu.Lock()
			f.control.refuse = fault.New(fault.PeerRemoved, "peer 10 was taken out")
			f.control.mu.Unlock()
			f.control.breakBeat <- fault.New(fault.NotFound, "the session has ended")
			<-time.After(time.Minute)
			synctest.Wait()
			if _, ok := f.Map().Resolve("a"); !ok {
				t.Error("the map is gone")
			}
		})
		if n := len(f.control.asked); n != 2 || told != 1 || f.control.asked[0].GetClusterId() != "tree" {
			t.Errorf("registered %d times, told %d times, %v", n, told, f.control.asked[0])
		}
		g := open(t, fsys, newControl())
		g.Belong("tree")
		g.Retire()
		g.run(t, func() {
			<-time.After(time.Minute)
			synctest.Wait()
			if _, ok := g.Map().Resolve("a"); !ok || len(g.control.asked)+len(g.control.after) != 0 {
				t.Errorf("known %v, asked %v %v", ok, g.control.asked, g.control.after)
			}
		})
	})
}

// A peer that has left its cluster for another one starts from nothing, and hands
// out what it knew.
func TestLeavesItsCluster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fsys := disk(t)
		f := open(t, fsys, newControl())
		f.run(t, func() {
			<-f.control.told
			f.control.events <- snapshot(8, 0, true, collection(1, "a"))
			if err := f.Await(t.Context(), 8); err != nil {
				t.Fatal(err)
			}
		})
		g := open(t, fsys, newControl())
		if left := g.Belong("tree"); left != nil || g.Map().Revision() != 8 {
			t.Errorf("in its own cluster: %v left, revision %d", left, g.Map().Revision())
		}
		left := g.Belong("forest")
		if len(left) != 1 || left[0].GetCollection().GetName() != "a" || g.Map().Revision() != 0 || g.Cluster() != "forest" {
			t.Errorf("%v left, revision %d in cluster %q", left, g.Map().Revision(), g.Cluster())
		}
		if err := g.Flush(); err != nil {
			t.Fatal(err)
		}
		if h := open(t, fsys, newControl()); h.Map().Revision() != 8 {
			t.Error("what is left was overwritten before anything new was there")
		}
	})
}

func TestBeatsWithinTheTTLAndTellsOnlyChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := open(t, disk(t), newControl())
		r := func(seq uint64) *placementv1.ReplicaInventory {
			return &placementv1.ReplicaInventory{CollectionId: 1, ShardId: 0, AppliedSeq: seq}
		}
		f.have = []*placementv1.ReplicaInventory{r(1), {CollectionId: 1, ShardId: 1}}
		f.run(t, func() {
			<-f.control.told
			f.mu.Lock()
			f.have = []*placementv1.ReplicaInventory{r(2)}
			f.mu.Unlock()
			f.changed <- struct{}{}
			<-f.control.told
			<-time.After(5 * time.Second)
			synctest.Wait()
		})
		heard := f.control.heard
		if n := len(heard); n < 15 || n > 18 {
			t.Errorf("%d signs of life in 5 s of a 1 s TTL", n)
		}
		if !heard[0].GetInventory().GetFull() || len(heard[0].GetInventory().GetReplicas()) != 2 {
			t.Errorf("the first tells %v", heard[0])
		}
		want := &placementv1.Inventory{Replicas: []*placementv1.ReplicaInventory{r(2)}, Gone: []*placementv1.ShardRef{{CollectionId: 1, ShardId: 1}}}
		if !proto.Equal(heard[1].GetInventory(), want) {
			t.Errorf("the change tells %v, want %v", heard[1].GetInventory(), want)
		}
		for _, h := range heard[2:] {
			if h.GetInventory() != nil {
				t.Errorf("an inventory without a change: %v", h)
			}
		}
	})
}

func TestWatchIsOpenedAgainFromWhereItWas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := open(t, disk(t), newControl())
		f.run(t, func() {
			f.control.events <- snapshot(5, 0, true, collection(1, "a"))
			f.control.events <- nil
			f.control.events <- delta(6, collection(2, "b"))
			if err := f.Await(t.Context(), 6); err != nil {
				t.Fatal(err)
			}
		})
		if a := f.control.after; len(a) != 2 || a[0] != 0 || a[1] != 5 {
			t.Errorf("watched after %v", a)
		}
	})
}

// TestRefetch: the whole placement comes again, of the same revision too; what it lacks is
// gone. Nobody waits for one that does not come, and whoever asks next gets it.
func TestRefetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := open(t, disk(t), newControl())
		f.run(t, func() {
			f.control.events <- snapshot(7, 0, true, collection(1, "a"), collection(2, "lost elsewhere"))
			synctest.Wait()
			short, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if err := f.Refetch(short); fault.ReasonOf(err) != fault.NoLeader {
				t.Errorf("without an answer: %v", err)
			}
			var asked sync.WaitGroup
			for range 2 {
				asked.Go(func() {
					if err := f.Refetch(t.Context()); err != nil {
						t.Error(err)
					}
				})
			}
			synctest.Wait()
			f.control.events <- snapshot(7, 0, false, collection(1, "a"))
			f.control.events <- snapshot(7, 1, true, collection(3, "c"))
			asked.Wait()
			if m := f.Map(); m.Revision() != 7 || len(m.Collections()) != 2 || m.Collections()[1].Name != "c" {
				t.Errorf("revision %d: %v", m.Revision(), m.Collections())
			}
			f.control.events <- delta(8, collection(4, "d"))
			if err := f.Await(t.Context(), 8); err != nil {
				t.Error(err)
			}
		})
		f.control.mu.Lock()
		defer f.control.mu.Unlock()
		for i, after := range f.control.after {
			if after != 0 {
				t.Errorf("watch %d was opened after %d", i, after)
			}
		}
	})
}

// TestSilentStreamIsLeft: a control plane that hangs keeps its connections, and says nothing. Signs of life keep the stream; they
// make no new map.
func TestSilentStreamIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := open(t, disk(t), newControl())
		f.run(t, func() {
			f.control.events <- snapshot(5, 0, true, collection(1, "a"))
			synctest.Wait()
			first, changed := f.Changed()
			progress := &placementv1.WatchPlacementResponse{Event: &placementv1.WatchPlacementResponse_Progress{Progress: &placementv1.Progress{Revision: 5}}}
			for range 10 {
				<-time.After(time.Second)
				f.control.events <- progress
			}
			select {
			case <-changed:
				t.Error("a sign of life made a new map")
			default:
			}
			f.control.mu.Lock()
			if n := len(f.control.after); n != 1 {
				t.Errorf("watched %d times while there were signs of life", n)
			}
			f.control.mu.Unlock()
			<-time.After(silence + time.Second)
			f.control.mu.Lock()
			if a := f.control.after; len(a) != 2 || a[1] != 5 {
				t.Errorf("after a silence: watched after %v", a)
			}
			f.control.mu.Unlock()
			f.control.events <- delta(6, collection(2, "b"))
			if err := f.Newer(t.Context(), first.Revision()); err != nil {
				t.Fatal(err)
			}
		})
	})
}

func TestRefusedPeerEndsTheProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := open(t, disk(t), newControl())
		f.control.refuse = fault.New(fault.WrongCluster, "this peer belongs to another cluster")
		if err := f.Run(t.Context()); fault.ReasonOf(err) != fault.WrongCluster {
			t.Errorf("%v", err)
		}
	})
}

func TestFolderOfAnotherClusterIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fsys := disk(t)
		b, err := encode(keptPlacement{revision: 4, cluster: "shrub"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := vfs.WriteFileAtomic(fsys, "/d/placement", b); err != nil {
			t.Fatal(err)
		}
		err = open(t, fsys, newControl()).Run(t.Context())
		if fault.ReasonOf(err) != fault.WrongCluster || !strings.Contains(err.Error(), "shrub") || !strings.Contains(err.Error(), "tree") {
			t.Errorf("%v", err)
		}
	})
}

// A control plane that was set back to an older copy of its records does not know
// the newest collections: nothing that it leaves out may count as gone.
func TestOlderRecordsAreNotTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fsys := disk(t)
		f := open(t, fsys, newControl())
		f.run(t, func() {
			f.control.events <- snapshot(9, 0, true, collection(1, "a"), shard(1, 0, 3))
			if err := f.Await(t.Context(), 9); err != nil {
				t.Fatal(err)
			}
			f.control.events <- snapshot(8, 0, true)
			synctest.Wait()
			if _, ok := f.Map().Resolve("a"); !ok {
				t.Error("an older snapshot took the collection out")
			}
			<-time.After(time.Second)
			f.control.events <- snapshot(10, 0, true)
			if err := f.Await(t.Context(), 10); err != nil {
				t.Fatal(err)
			}
			if _, ok := f.Map().Resolve("a"); ok {
				t.Error("a newer snapshot left the collection in")
			}
		})
		g := open(t, fsys, newControl()) // at revision 7
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := g.Run(ctx); fault.ReasonOf(err) != fault.WrongCluster || !strings.Contains(err.Error(), "older") || g.Confirmed(g.Map()) {
			t.Errorf("%v, confirmed %v", err, g.Confirmed(g.Map()))
		}
	})
}
