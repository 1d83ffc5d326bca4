package node

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/query"
	"github.com/pandodb/pando/services/dataplane/internal/replica"
	"github.com/pandodb/pando/services/dataplane/internal/replica/core"
	"github.com/pandodb/pando/services/dataplane/internal/shard"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/vfs"
	"github.com/pandodb/pando/services/internal/vfs/memfs"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	schema  = query.Schema{Revision: 1, Vectors: []query.VectorSchema{{Size: 2, Distance: query.Euclid}}}
	shard0  = topology.Shard{Collection: 5, ID: 0}
	shard1  = topology.Shard{Collection: 5, ID: 1}
	timeout = 20 * time.Second
)

// house is a node with its folder, running.
type house struct {
	t     testing.TB
	n     *Node
	stop  context.CancelFunc
	ended chan error
}

func enter(t *testing.T, fsys vfs.FS, lim replica.Limits) *house {
	t.Helper()
	h, err := tryEnter(t, fsys, "/data", 16<<10, lim)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func tryEnter(t testing.TB, fsys vfs.FS, dir string, segment int64, lim replica.Limits) (*house, error) {
	f, err := OpenFolder(fsys, dir, 7, rand.Reader)
	if err != nil {
		return nil, err
	}
	st := Storage{SegmentBytes: segment}
	h := &house{t: t, ended: make(chan error, 1)}
	h.n = New(Options{Folder: f, Open: st.Open, Limits: lim, Random: rand.Reader, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	ctx, cancel := context.WithCancel(context.Background())
	h.stop = cancel
	go func() { h.ended <- errors.Join(h.n.Run(ctx), f.Close()) }()
	return h, nil
}

func (h *house) leave() {
	h.t.Helper()
	h.stop()
	if err := <-h.ended; err != nil {
		h.t.Errorf("Run: %v", err)
	}
}

// await waits until cond holds.
func await(t testing.TB, what string, cond func() bool) {
	t.Helper()
	tick, late := time.NewTicker(time.Millisecond), time.NewTimer(timeout)
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

// assign makes the assignment of a shard with the one replica here.
func assign(id topology.Shard, e topology.Epoch, s topology.ReplicaState, inc topology.Incarnation) Assignment {
	a := Assignment{Schema: schema, Settings: []byte("{}")}
	a.Placement = topology.Placement{Shard: id, Epoch: e, Replicas: []topology.Replica{{Peer: 7, State: s, Incarnation: inc}}}
	if s == topology.Active {
		a.Placement.Primary = 7
	}
	return a
}

func (h *house) holding(id topology.Shard) (Holding, bool) {
	inv := h.n.Inventory()
	i := slices.IndexFunc(inv, func(x Holding) bool { return x.Shard == id })
	if i < 0 {
		return Holding{}, false
	}
	return inv[i], true
}

// birth brings shards to life as C0 says: made and told under epoch 1, Active
// under epoch 2.
func (h *house) birth(revision uint64, ids ...topology.Shard) []Assignment {
	h.t.Helper()
	var first, second []Assignment
	for _, id := range ids {
		first = append(first, assign(id, 1, topology.Initializing, topology.Incarnation{}))
	}
	h.n.Apply(Desired{Revision: revision, Assignments: first})
	for _, id := range ids {
		await(h.t, "made", func() bool { x, ok := h.holding(id); return ok && x.Loaded && x.Epoch == 1 })
		x, _ := h.holding(id)
		second = append(second, assign(id, 2, topology.Active, x.Incarnation))
	}
	h.n.Apply(Desired{Revision: revision + 1, Assignments: second})
	h.ready(ids...)
	return second
}

func (h *house) ready(ids ...topology.Shard) {
	h.t.Helper()
	for _, id := range ids {
		await(h.t, "ready", func() bool {
			_, release, err := h.n.Reader(id)
			if err == nil {
				release()
			}
			x, _ := h.holding(id)
			return err == nil && x.Status.Settled
		})
	}
}

func upsert(id uint64, v float32) shard.Write {
	return shard.Write{Kind: op.Upsert, Points: []op.Point{{ID: topology.NumberID(id), Vectors: []op.Vector{{Data: []float32{v, 1}}}}}}
}

func (h *house) write(id topology.Shard, w shard.Write) (replica.Result, error) {
	r, err := h.n.Replica(id)
	if err != nil {
		return replica.Result{}, err
	}
	return r.Propose(context.Background(), newID(), w, replica.WaitApplied, 1)
}

func newID() (id op.ID) {
	if _, err := rand.Read(id.Request[:]); err != nil {
		panic(err)
	}
	return id
}

// value reads the first element of a point's vector; false if it is not there.
func (h *house) value(id topology.Shard, p uint64) (float32, bool) {
	h.t.Helper()
	sh, release, err := h.n.Reader(id)
	if err != nil {
		h.t.Fatal(err)
	}
	defer release()
	got, err := sh.Get(context.Background(), query.Get{IDs: []topology.PointID{topology.NumberID(p)}, Want: query.Want{Vectors: true}})
	if err != nil {
		h.t.Fatal(err)
	}
	if len(got) == 0 {
		return 0, false
	}
	return got[0].Vectors[0].Data[0], true
}

func TestLifeOfReplicas(t *testing.T) {
	fsys := memfs.New()
	h := enter(t, fsys, replica.Limits{})
	if _, err := h.n.Replica(shard0); !errors.Is(err, ErrNoReplica) {
		t.Errorf("%v", err)
	}
	as := h.birth(1, shard0, shard1)
	for p := range uint64(20) {
		if _, err := h.write(shard0, upsert(p, float32(p))); err != nil {
			t.Fatal(err)
		}
	}
	if v, ok := h.value(shard0, 13); !ok || v != 13 {
		t.Errorf("%v %v", v, ok)
	}
	h.leave()
	if _, err := h.write(shard0, upsert(1, 1)); !errors.Is(err, ErrNotLoaded) {
		t.Errorf("%v", err)
	}

	h = enter(t, fsys, replica.Limits{})
	h.n.Apply(Desired{Revision: 2, Assignments: as})
	h.ready(shard0, shard1)
	if v, ok := h.value(shard0, 13); !ok || v != 13 {
		t.Errorf("after a restart: %v %v", v, ok)
	}
	x, _ := h.holding(shard0)
	if x.Incarnation != as[0].Placement.Replicas[0].Incarnation || x.Status.Term != (topology.Term{Epoch: 2, Run: 2}) || x.Status.Role != core.Primary {
		t.Errorf("%+v", x)
	}
	h.n.Apply(Desired{Revision: 1, Confirmed: true}) // old news
	h.n.Apply(Desired{Revision: 3, Confirmed: true, Assignments: as[1:]})
	await(t, "dropped", func() bool { _, ok := h.holding(shard0); return !ok })
	if _, err := fsys.Stat("/data/collections/5/0"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
	if _, ok := h.value(shard1, 13); ok {
		t.Error("shards share points")
	}
	h.birth(4, shard0) // a new life, empty
	if _, ok := h.value(shard0, 13); ok {
		t.Error("the dropped replica's points are back")
	}
	y, _ := h.holding(shard0)
	if y.Incarnation == x.Incarnation {
		t.Error("the new replica has the old incarnation")
	}
	h.n.Apply(Desired{Revision: 9, Confirmed: true})
	await(t, "all dropped", func() bool { return len(h.n.Inventory()) == 0 })
	if _, err := fsys.Stat("/data/collections/5"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
	h.leave()
}

// The inventory is sent when Changed ticks, and a shard is born by it: a tick must follow the moment at which it says loaded.
func TestLoadedIsTold(t *testing.T) {
	h := enter(t, memfs.New(), replica.Limits{})
	late := time.After(timeout)
	for i := range topology.ShardID(50) {
		id := topology.Shard{Collection: 5, ID: i}
		h.n.Apply(Desired{Revision: uint64(i + 1), Assignments: []Assignment{assign(id, 1, topology.Initializing, topology.Incarnation{})}})
		for x, _ := h.holding(id); !x.Loaded; x, _ = h.holding(id) {
			select {
			case <-h.n.Changed():
			case <-late:
				t.Fatalf("shard %d: %+v, and nobody was told", i, x)
			}
		}
	}
	h.leave()
}

// TestSizeIsTold: bytes on disk, counted now and then.
func TestSizeIsTold(t *testing.T) {
	h := enter(t, memfs.New(), replica.Limits{})
	defer h.leave()
	id := topology.Shard{Collection: 1, ID: 2}
	h.birth(1, id)
	x, _ := h.holding(id)
	if x.Bytes == 0 {
		t.Error("a replica without bytes")
	}
	if _, err := h.write(id, upsert(1, 2)); err != nil {
		t.Fatal(err)
	}
	if again, _ := h.holding(id); again.Bytes != x.Bytes {
		t.Errorf("counted with every question: %d, then %d", x.Bytes, again.Bytes)
	}
	s, err := h.n.slot(id)
	if err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	s.mu.sized = s.mu.sized.Add(-sizeEvery)
	s.mu.Unlock()
	if again, _ := h.holding(id); again.Bytes <= x.Bytes {
		t.Errorf("half a minute and a write later: %d, then %d", x.Bytes, again.Bytes)
	}
}

// An orderly end says nothing of errors and opens nothing again.
func TestEndIsQuiet(t *testing.T) {
	fsys := memfs.New()
	var said bytes.Buffer
	for round := range 8 {
		f, err := OpenFolder(fsys, "/data", 7, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		opened := atomic.Int32{}
		st := Storage{}
		h := &house{t: t, ended: make(chan error, 1)}
		h.n = New(Options{Folder: f, Random: rand.Reader, Logger: slog.New(slog.NewTextHandler(&said, &slog.HandlerOptions{Level: slog.LevelWarn})),
			Open: func(fsys vfs.FS, dir string, a Assignment, hard core.Hard) (Parts, error) {
				opened.Add(1)
				return st.Open(fsys, dir, a, hard)
			}})
		ctx, cancel := context.WithCancel(context.Background())
		h.stop = cancel
		go func() { h.ended <- errors.Join(h.n.Run(ctx), f.Close()) }()
		ids := []topology.Shard{{Collection: topology.CollectionID(round + 1)}, {Collection: topology.CollectionID(round + 1), ID: 1}}
		h.birth(uint64(2*round+1), ids...)
		h.leave()
		if n := opened.Load(); n != int32(len(ids)) {
			t.Errorf("%d replicas were opened, %d are there", n, len(ids))
		}
	}
	if said.Len() > 0 {
		t.Errorf("said at the end:\n%s", said.String())
	}
}

// What a process knew of the placement when it ended may be older than a replica
// on its disk: that one stays until the control plane has spoken.
func TestNothingIsDroppedOnAnOldPlacement(t *testing.T) {
	fsys := memfs.New()
	h := enter(t, fsys, replica.Limits{})
	as := h.birth(1, shard0, shard1)
	if _, err := h.write(shard0, upsert(1, 7)); err != nil {
		t.Fatal(err)
	}
	h.leave()
	h = enter(t, fsys, replica.Limits{})
	h.n.Apply(Desired{Revision: 1, Assignments: as[1:]})
	h.ready(shard1)
	if _, err := h.n.Replica(shard0); !errors.Is(err, ErrNoReplica) {
		t.Errorf("%v", err)
	}
	h.n.Apply(Desired{Revision: 5, Confirmed: true, Assignments: as})
	h.ready(shard0)
	if v, ok := h.value(shard0, 1); !ok || v != 7 {
		t.Errorf("%v %v", v, ok)
	}
	h.leave()
}

func TestUnloadableReplicaStopsNobody(t *testing.T) {
	fsys := memfs.New()
	h := enter(t, fsys, replica.Limits{})
	as := h.birth(1, shard0, shard1)
	h.leave()
	if err := fsys.Rename("/data/collections/5/0/meta", "/data/meta"); err != nil {
		t.Fatal(err)
	}
	h = enter(t, fsys, replica.Limits{})
	h.n.Apply(Desired{Revision: 2, Assignments: as})
	h.ready(shard1)
	await(t, "told why", func() bool { x, _ := h.holding(shard0); return errors.Is(x.Why, errMetaLost) })
	if x, _ := h.holding(shard0); x.Loaded || x.Since.IsZero() {
		t.Errorf("%+v", x)
	}
	if _, err := h.n.Replica(shard0); !errors.Is(err, ErrNotLoaded) || !errors.Is(err, errMetaLost) {
		t.Errorf("%v", err)
	}
	h.leave()
}

// S3: the placement knows another incarnation, so the disk was lost: the replica
// is made anew, empty, and serves nothing.
func TestLostDisk(t *testing.T) {
	h := enter(t, memfs.New(), replica.Limits{})
	h.n.Apply(Desired{Revision: 8, Assignments: []Assignment{assign(shard0, 6, topology.Active, topology.Incarnation{1})}})
	await(t, "made", func() bool { x, _ := h.holding(shard0); return x.Loaded && x.Epoch == 6 })
	if _, _, err := h.n.Reader(shard0); !errors.Is(err, replica.ErrNotReady) {
		t.Errorf("%v", err)
	}
	if _, err := h.write(shard0, upsert(1, 1)); !errors.Is(err, replica.ErrNotPrimary) {
		t.Errorf("%v", err)
	}
	h.leave()
}

func TestDropIsFinishedAfterACrash(t *testing.T) {
	fsys := memfs.New()
	h := enter(t, fsys, replica.Limits{})
	h.birth(1, shard0)
	h.leave()
	if err := errors.Join(fsys.MkdirAll("/data/trash", 0o700), fsys.Rename("/data/collections/5/0", "/data/trash/5-0-1"),
		vfs.SyncDir(fsys, "/data"), vfs.SyncDir(fsys, "/data/trash"), vfs.SyncDir(fsys, "/data/collections/5")); err != nil {
		t.Fatal(err)
	}
	again := fsys.StrictClone()
	h = enter(t, again, replica.Limits{})
	await(t, "trash emptied", func() bool { l, _ := again.List("/data/trash"); return len(l) == 0 })
	if inv := h.n.Inventory(); len(inv) != 0 {
		t.Errorf("%+v", inv)
	}
	h.leave()
}

// siblingFS takes a collection's folder away as soon as a replica has left it, as
// another replica does that is dropped at the same moment.
type siblingFS struct{ *memfs.FS }

func (f siblingFS) Rename(from, to string) error {
	err := f.FS.Rename(from, to)
	if filepath.Dir(filepath.Dir(from)) == "/data/collections" {
		err = errors.Join(err, f.FS.Remove(filepath.Dir(from)))
	}
	return err
}

func TestDroppedWithItsCollection(t *testing.T) {
	fsys := memfs.New()
	var said bytes.Buffer
	h, err := tryEnter(t, siblingFS{fsys}, "/data", 16<<10, replica.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	h.n.o.Logger = slog.New(slog.NewTextHandler(&said, &slog.HandlerOptions{Level: slog.LevelWarn}))
	h.birth(1, shard0)
	h.n.Apply(Desired{Revision: 9, Confirmed: true})
	await(t, "dropped", func() bool { return len(h.n.Inventory()) == 0 })
	if left, _ := fsys.List("/data/trash"); len(left) > 0 {
		t.Errorf("left in the trash: %v", left)
	}
	h.leave()
	if said.Len() > 0 {
		t.Errorf("said:\n%s", &said)
	}
}

// TestStopOpensNothing: a wake-up left over from the start must not open a
// replica again while the process ends, which then reported it as not loaded.
func TestStopOpensNothing(t *testing.T) {
	var said bytes.Buffer
	h, err := tryEnter(t, memfs.New(), "/data", 16<<10, replica.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	h.n.o.Logger = slog.New(slog.NewTextHandler(&said, &slog.HandlerOptions{Level: slog.LevelWarn}))
	var ids []topology.Shard
	for i := range topology.ShardID(12) {
		ids = append(ids, topology.Shard{Collection: 5, ID: i})
	}
	h.birth(1, ids...)
	h.leave()
	if said.Len() > 0 {
		t.Errorf("a clean end says:\n%s", &said)
	}
}

// forgetful is an engine that has nothing durable at the end.
type forgetful struct{ replica.Engine }

func (forgetful) Checkpoint() (topology.Seq, error) { return 0, nil }

// askew is a log whose replica asks to be opened again.
type askew struct{ replica.Log }

func (askew) Iterate(topology.Seq, func(op.Entry) error) error { return replica.ErrReopen }

// A replica that ends with ErrReopen is opened again at once, and nobody complains.
func TestReopen(t *testing.T) {
	fsys := memfs.New()
	var said bytes.Buffer
	opened := 0
	start := func() *house {
		h, err := tryEnter(t, fsys, "/data", 16<<10, replica.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		h.n.o.Logger = slog.New(slog.NewTextHandler(&said, &slog.HandlerOptions{Level: slog.LevelWarn}))
		open := h.n.o.Open
		h.n.o.Open = func(fsys vfs.FS, dir string, a Assignment, hard core.Hard) (Parts, error) {
			p, err := open(fsys, dir, a, hard)
			switch opened++; opened {
			case 1:
				p.Engine = forgetful{p.Engine}
			case 2:
				p.Log = askew{p.Log}
			}
			return p, err
		}
		return h
	}
	h := start()
	as := h.birth(1, shard0)
	if _, err := h.write(shard0, upsert(1, 7)); err != nil {
		t.Fatal(err)
	}
	h.leave()
	h = start()
	h.n.Apply(Desired{Revision: 2, Assignments: as})
	h.ready(shard0)
	if v, ok := h.value(shard0, 1); !ok || v != 7 || opened != 3 {
		t.Errorf("%v %v, opened %d times", v, ok, opened)
	}
	h.leave()
	if said.Len() > 0 {
		t.Errorf("said:\n%s", &said)
	}
}

func TestPanicWhileOpening(t *testing.T) {
	h, err := tryEnter(t, memfs.New(), "/data", 0, replica.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	open := h.n.o.Open
	h.n.o.Open = func(fsys vfs.FS, dir string, a Assignment, hard core.Hard) (Parts, error) {
		if a.Placement.Shard == shard0 {
			panic("the store does not like this disk")
		}
		return open(fsys, dir, a, hard)
	}
	one := topology.Incarnation{}
	h.n.Apply(Desired{Revision: 1, Assignments: []Assignment{assign(shard0, 1, topology.Initializing, one), assign(shard1, 1, topology.Initializing, one)}})
	await(t, "both settled", func() bool {
		x, _ := h.holding(shard0)
		y, _ := h.holding(shard1)
		return errors.Is(x.Why, errPanic) && y.Loaded
	})
	h.leave()
}
