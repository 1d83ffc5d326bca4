package replica

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pandodb/pando/services/dataplane/internal/filter"
	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/point"
	"github.com/pandodb/pando/services/dataplane/internal/replica/core"
	"github.com/pandodb/pando/services/dataplane/internal/shard"
	"github.com/pandodb/pando/services/internal/topology"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeLog keeps entries in memory; it fails and dawdles on demand.
type fakeLog struct {
	mu struct {
		sync.Mutex
		entries   []op.Entry
		front     topology.Seq
		frontTerm topology.Term
		syncs     int
		marks     int
		syncTime  time.Duration
		syncErr   error
		appendErr error
		busy      bool // inside Sync
	}
}

func (l *fakeLog) Append(es []op.Entry) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.busy {
		return errors.New("append beside sync")
	}
	if l.mu.appendErr != nil {
		return l.mu.appendErr
	}
	for _, e := range es {
		if want := l.mu.front + topology.Seq(len(l.mu.entries)) + 1; e.Seq != want {
			return errors.New("gap in the log")
		}
		l.mu.entries = append(l.mu.entries, e)
	}
	return nil
}

func (l *fakeLog) Sync() (topology.Seq, error) {
	l.mu.Lock()
	l.mu.busy = true
	wait := l.mu.syncTime
	l.mu.Unlock()
	if wait > 0 {
		<-time.After(wait)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.busy = false
	l.mu.syncs++
	return l.mu.front + topology.Seq(len(l.mu.entries)), l.mu.syncErr
}

func (l *fakeLog) Tail() Tail {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := Tail{Last: core.Position{Term: l.mu.frontTerm, Seq: l.mu.front}}
	for _, e := range l.mu.entries {
		if t.Last.Term != e.Term {
			t.History = append(t.History, core.TermStart{Term: e.Term, First: e.Seq})
		}
		t.Last = core.Position{Term: e.Term, Seq: e.Seq}
	}
	return t
}

func (l *fakeLog) Iterate(from topology.Seq, fn func(op.Entry) error) error {
	for _, e := range l.all() {
		if e.Seq < from {
			continue
		}
		if err := fn(e); err != nil {
			return err
		}
	}
	return nil
}

func (l *fakeLog) TruncateFront(to topology.Seq) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.busy {
		return errors.New("truncation beside sync")
	}
	l.mu.frontTerm = l.mu.entries[to-l.mu.front-1].Term
	l.mu.entries = l.mu.entries[to-l.mu.front:]
	l.mu.front = to
	return nil
}

func (l *fakeLog) TruncateBack(after topology.Seq) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.busy {
		return errors.New("cut beside sync")
	}
	l.mu.entries = l.mu.entries[:after-l.mu.front]
	return nil
}

func (l *fakeLog) Read(from topology.Seq, _ int) (out []op.Entry, _ error) {
	for _, e := range l.all() {
		if e.Seq >= from && (len(out) > 0 || e.Seq == from) {
			out = append(out, e)
		}
	}
	return out, nil
}

func (l *fakeLog) Mark() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.marks++
	return ErrNoSpace
}

func (l *fakeLog) all() []op.Entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.mu.entries)
}

func (l *fakeLog) set(f func(l *fakeLog)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f(l)
}

// fakeEngine is a set of ids.
type fakeEngine struct {
	mu struct {
		sync.Mutex
		ids       map[topology.PointID]bool
		seen      map[op.ID]topology.Seq
		at        Position
		applyTime time.Duration
		applyErr  error
		saved     topology.Seq
		seenErr   error
		due       bool
	}
}

func newEngine() *fakeEngine {
	e := &fakeEngine{}
	e.mu.ids, e.mu.seen = map[topology.PointID]bool{}, map[op.ID]topology.Seq{}
	return e
}

var errRefused = errors.New("refused by the engine")

func (e *fakeEngine) Resolve(_ context.Context, w *shard.Write) ([]op.Op, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.mu.at.Config == 0 {
		return nil, errRefused
	}
	o := op.Op{Kind: w.Kind, Points: w.Points, IDs: w.IDs}
	if w.Filter != nil {
		for id := range e.mu.ids {
			o.IDs = append(o.IDs, id)
		}
		slices.SortFunc(o.IDs, topology.PointID.Compare)
	}
	if w.Mode == shard.UpdateOnly && !e.mu.ids[w.Points[0].ID] {
		return nil, errRefused
	}
	return []op.Op{o}, nil
}

func (e *fakeEngine) Apply(es []op.Entry) error {
	e.mu.Lock()
	wait := e.mu.applyTime
	e.mu.Unlock()
	if wait > 0 {
		<-time.After(wait)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.mu.applyErr != nil {
		return e.mu.applyErr
	}
	for _, en := range es {
		if en.Seq <= e.mu.at.Applied {
			continue
		}
		o, err := op.Decode(en.Body)
		if err != nil || en.Seq != e.mu.at.Applied+1 {
			return errors.Join(err, errors.New("entry out of order"))
		}
		for _, p := range o.Points {
			e.mu.ids[p.ID] = true
		}
		for _, id := range o.IDs {
			delete(e.mu.ids, id)
		}
		if en.ID.Request != [16]byte{} {
			e.mu.seen[en.ID] = en.Seq
		}
		e.mu.at = Position{Applied: en.Seq, MaxHLC: max(e.mu.at.MaxHLC, en.HLC), Config: max(e.mu.at.Config, o.Revision),
			Floor: max(e.mu.at.Floor, o.Floor), Mark: e.mu.at.Mark}
		if o.Kind == op.Mark {
			e.mu.at.Mark = point.Mark{Seq: en.Seq, Digest: e.digest()}
		}
	}
	return nil
}

// digest of the ids. The lock must be held.
func (e *fakeEngine) digest() (d point.Digest) {
	for id := range e.mu.ids {
		one, _ := point.DigestOf(id, nil, nil)
		d = d.Add(one)
	}
	return d
}

func (e *fakeEngine) Seen(id op.ID) (topology.Seq, bool, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	s, ok := e.mu.seen[id]
	return s, ok, e.mu.seenErr
}

func (e *fakeEngine) Position() Position {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.mu.at
}

func (e *fakeEngine) Checkpoint() (topology.Seq, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.mu.saved = e.mu.at.Applied
	return e.mu.saved, nil
}

func (e *fakeEngine) Due() (op.Op, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return op.Op{Kind: op.Seal}, e.mu.due
}

func (e *fakeEngine) set(f func(e *fakeEngine)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	f(e)
}

type fakeState struct {
	mu   sync.Mutex
	hard core.Hard
	err  error
}

func (s *fakeState) Save(h core.Hard) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	s.hard = h
	return nil
}

// fakeCopier hands out copies at a place, and counts what becomes of them.
type fakeCopier struct {
	mu        sync.Mutex
	at        core.Position
	err       error // of Fetch
	commitErr error
	asked     []CopySource
	committed int
	dropped   int
}

var _ Copier = (*fakeCopier)(nil)

func (c *fakeCopier) Fetch(ctx context.Context, from CopySource, progress func(CopyProgress)) (Copy, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked = append(c.asked, from)
	progress(CopyProgress{Points: 1, TotalPoints: 1, Bytes: 1, TotalBytes: 1})
	if err := errors.Join(c.err, ctx.Err()); err != nil {
		return nil, err
	}
	return &fakeCopy{c, c.at}, nil
}

type fakeCopy struct {
	c  *fakeCopier
	at core.Position
}

func (p *fakeCopy) At() core.Position { return p.at }

func (p *fakeCopy) Commit() error {
	p.c.mu.Lock()
	defer p.c.mu.Unlock()
	p.c.committed++
	return p.c.commitErr
}

func (p *fakeCopy) Drop() error {
	p.c.mu.Lock()
	defer p.c.mu.Unlock()
	p.c.dropped++
	return nil
}

// bench is one replica on fakes inside a synctest bubble.
type bench struct {
	t     *testing.T
	log   *fakeLog
	eng   *fakeEngine
	state *fakeState
	r     *Replica
	fails chan error // of the engine, in the background
	out   *strings.Builder
	stop  context.CancelFunc
	ended chan error
	n     byte
}

func alone(epoch topology.Epoch) core.PlacementSeen {
	return core.PlacementSeen{
		Placement: topology.Placement{Epoch: epoch, Primary: 1, Replicas: []topology.Replica{{Peer: 1, Incarnation: topology.Incarnation{1}}}},
		Config:    core.Config{Revision: 1, Settings: []byte("{}")},
	}
}

// bubble runs f with a replica that is primary of epoch 1 and readable.
func bubble(t *testing.T, lim Limits, f func(b *bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := &bench{t: t, log: &fakeLog{}, eng: newEngine(), state: &fakeState{}, fails: make(chan error, 1), out: &strings.Builder{}}
		b.start(lim)
		b.r.See(alone(1))
		synctest.Wait()
		if err := b.r.Readable(); err != nil {
			t.Fatal(err)
		}
		f(b)
		b.end()
	})
}

func (b *bench) start(lim Limits) {
	b.r = New(Options{
		Self: 1, Incarnation: topology.Incarnation{1}, Hard: b.state.hard, Log: b.log, Engine: b.eng, Failed: b.fails, State: b.state, Limits: lim,
		Logger: slog.New(slog.NewTextHandler(b.out, nil)),
	})
	ctx, cancel := context.WithCancel(context.Background())
	b.stop, b.ended = cancel, make(chan error, 1)
	go func() { b.ended <- b.r.Run(ctx) }()
}

func (b *bench) end() {
	b.stop()
	if err := <-b.ended; err != nil {
		b.t.Errorf("Run: %v", err)
	}
}

type outcome struct {
	res Result
	err error
}

// go1 proposes in the background, under a fresh id.
func (b *bench) go1(ctx context.Context, w shard.Write, wait WaitMode) chan outcome {
	b.n++
	return b.goID(ctx, b.n, w, wait)
}

func (b *bench) goID(ctx context.Context, n byte, w shard.Write, wait WaitMode) chan outcome {
	out := make(chan outcome, 1)
	go func() {
		res, err := b.r.Propose(ctx, op.ID{Request: [16]byte{n}}, w, wait, 1)
		out <- outcome{res, err}
	}()
	synctest.Wait() // so that writes enter in the order of the test
	return out
}

// put writes and waits.
func (b *bench) put(w shard.Write, wait WaitMode) (Result, error) {
	o := <-b.go1(context.Background(), w, wait)
	return o.res, o.err
}

func upsert(ids ...uint64) shard.Write {
	w := shard.Write{Kind: op.Upsert}
	for _, id := range ids {
		w.Points = append(w.Points, op.Point{ID: topology.NumberID(id)})
	}
	return w
}

func deleteAll() shard.Write { return shard.Write{Kind: op.Delete, Filter: &filter.Filter{}} }

var errDisk error = syscall.EIO
