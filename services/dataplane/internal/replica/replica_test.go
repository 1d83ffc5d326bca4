package replica

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/replica/core"
	"github.com/pandodb/pando/services/dataplane/internal/shard"
	"github.com/pandodb/pando/services/internal/topology"
)

var background = context.Background()

// later lets virtual time pass.
func later(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func TestAnswersAtCommitAndAtApply(t *testing.T) {
	bubble(t, Limits{}, func(b *bench) {
		b.log.set(func(l *fakeLog) { l.mu.syncTime = 10 * time.Millisecond })
		b.eng.set(func(e *fakeEngine) { e.mu.applyTime = 30 * time.Millisecond })
		began := time.Now()
		committed, applied := b.go1(background, upsert(1), WaitCommitted), b.go1(background, upsert(2), WaitApplied)
		if o := <-committed; o.err != nil || o.res.Applied || o.res.Seq != 3 || time.Since(began) != 10*time.Millisecond {
			t.Errorf("wait=false: %+v after %v", o, time.Since(began))
		}
		if o := <-applied; o.err != nil || !o.res.Applied || o.res.Seq != 4 || len(b.eng.mu.ids) != 2 {
			t.Errorf("wait=true: %+v after %v", o, time.Since(began))
		}
	})
}

func TestGroupCommit(t *testing.T) {
	bubble(t, Limits{}, func(b *bench) {
		b.log.set(func(l *fakeLog) { l.mu.syncTime, l.mu.syncs = 5*time.Millisecond, 0 })
		var outs []chan outcome
		for i := range uint64(100) {
			outs = append(outs, b.go1(background, upsert(i), WaitApplied))
		}
		for i, out := range outs {
			if o := <-out; o.err != nil || o.res.Seq != topology.Seq(3+i) {
				t.Fatalf("write %d: %+v", i, o)
			}
		}
		if b.log.mu.syncs != 2 {
			t.Errorf("%d fsyncs for one write and the 99 that came while it was synced", b.log.mu.syncs)
		}
	})
}

// W3: the delete sees the upsert before it and not the one after it, and waits
// for the first to be applied.
func TestEvaluatedWriteWaitsAndHoldsBack(t *testing.T) {
	bubble(t, Limits{}, func(b *bench) {
		b.eng.set(func(e *fakeEngine) { e.mu.applyTime = 50 * time.Millisecond })
		first := b.go1(background, upsert(1, 2), WaitCommitted)
		middle := b.go1(background, deleteAll(), WaitApplied)
		last := b.go1(background, upsert(3), WaitApplied)
		for _, out := range []chan outcome{first, middle, last} {
			if o := <-out; o.err != nil {
				t.Fatal(o.err)
			}
		}
		var got []op.Op
		for _, e := range b.log.all()[2:] {
			o, err := op.Decode(e.Body)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, o)
		}
		want := []topology.PointID{topology.NumberID(1), topology.NumberID(2)}
		if len(got) != 3 || !slices.Equal(got[1].IDs, want) || got[2].Points[0].ID != topology.NumberID(3) {
			t.Fatalf("%+v", got)
		}
		if len(b.eng.mu.ids) != 1 {
			t.Errorf("ids left: %v", b.eng.mu.ids)
		}
	})
}

func TestRefusedWriteTakesNoPlace(t *testing.T) {
	bubble(t, Limits{}, func(b *bench) {
		w := upsert(9)
		w.Mode = shard.UpdateOnly
		if _, err := b.put(w, WaitApplied); !errors.Is(err, errRefused) {
			t.Errorf("%v", err)
		}
		if n := len(b.log.all()); n != 2 {
			t.Errorf("log has %d entries", n)
		}
		if _, err := b.r.Propose(background, op.ID{Request: [16]byte{77}}, upsert(1), WaitApplied, 3); err != nil {
			t.Errorf("a factor above the replicas that exist is capped: %v", err)
		}
	})
}

func TestUnknownPastIsNotRepeated(t *testing.T) {
	bubble(t, Limits{}, func(b *bench) {
		b.eng.set(func(e *fakeEngine) { e.mu.seenErr = errDisk })
		if _, err := b.put(upsert(1), WaitApplied); !errors.Is(err, errDisk) || len(b.log.all()) != 2 {
			t.Errorf("%v", err)
		}
		b.eng.set(func(e *fakeEngine) { e.mu.seenErr = nil })
	})
}

func TestRepetitionGetsTheSamePlace(t *testing.T) {
	bubble(t, Limits{}, func(b *bench) {
		b.log.set(func(l *fakeLog) { l.mu.syncTime = 10 * time.Millisecond })
		one, two := b.goID(background, 50, upsert(1), WaitApplied), b.goID(background, 50, upsert(1), WaitCommitted)
		a, c := <-one, <-two
		again := <-b.goID(background, 50, deleteAll(), WaitApplied) // not judged anew
		if a.err != nil || a.res.Seq != 3 || c.res.Seq != 3 || again.res != (Result{Seq: 3, Applied: true}) || a.res.Parts != 1 || c.res.Parts != 0 {
			t.Errorf("%+v %+v %+v", a, c, again)
		}
		if n := len(b.log.all()); n != 3 {
			t.Errorf("log has %d entries", n)
		}
	})
}

func TestEndOfContext(t *testing.T) {
	bubble(t, Limits{}, func(b *bench) {
		b.log.set(func(l *fakeLog) { l.mu.syncTime = 100 * time.Millisecond })
		b.eng.set(func(e *fakeEngine) { e.mu.applyTime = 100 * time.Millisecond })
		ctx, cancel := context.WithTimeout(background, 50*time.Millisecond)
		defer cancel()
		inLog := b.go1(ctx, upsert(1), WaitApplied)
		queued := b.go1(ctx, upsert(2), WaitApplied)
		if o := <-inLog; !errors.Is(o.err, ErrUnknownOutcome) || !errors.Is(o.err, context.DeadlineExceeded) {
			t.Errorf("in the log: %v", o.err)
		}
		if o := <-queued; errors.Is(o.err, ErrUnknownOutcome) || !errors.Is(o.err, context.DeadlineExceeded) {
			t.Errorf("not begun: %v", o.err)
		}
		later(time.Second)
		if n := len(b.log.all()); n != 3 {
			t.Errorf("log has %d entries", n)
		}
		ctx2, cancel2 := context.WithTimeout(background, 150*time.Millisecond)
		defer cancel2()
		if o := <-b.go1(ctx2, upsert(3), WaitApplied); o.err != nil || o.res.Applied || o.res.Seq != 4 {
			t.Errorf("committed, not applied in time: %+v", o)
		}
		later(time.Second)
	})
}

func TestFailedSyncIsFinal(t *testing.T) {
	bubble(t, Limits{}, func(b *bench) {
		if _, err := b.put(upsert(1), WaitApplied); err != nil {
			t.Fatal(err)
		}
		b.log.set(func(l *fakeLog) { l.mu.syncErr = errDisk })
		if _, err := b.put(upsert(2), WaitApplied); !errors.Is(err, ErrUnknownOutcome) || !errors.Is(err, errDisk) {
			t.Errorf("%v", err)
		}
		b.log.set(func(l *fakeLog) { l.mu.syncErr = nil })
		later(time.Minute)
		if _, err := b.put(upsert(3), WaitApplied); !errors.Is(err, ErrFailed) {
			t.Errorf("%v", err)
		}
		if err := b.r.Readable(); err != nil {
			t.Errorf("what was applied was durable: %v", err)
		}
		if s := b.r.Status(); s.Phase != Failed || !strings.Contains(s.Reason, "sync log") || len(b.log.all()) != 4 {
			t.Errorf("%+v", s)
		}
		if n := strings.Count(b.out.String(), "level=ERROR"); n != 1 {
			t.Errorf("%d lines of error:\n%s", n, b.out)
		}
	})
}

func TestOtherFatalErrors(t *testing.T) {
	for name, c := range map[string]struct {
		breakIt  func(b *bench)
		want     error
		readable bool
	}{
		"log refuses":   {func(b *bench) { b.log.set(func(l *fakeLog) { l.mu.appendErr = errDisk }) }, ErrUnknownOutcome, true},
		"state":         {func(b *bench) { b.state.mu.Lock(); b.state.err = errDisk; b.state.mu.Unlock(); b.r.See(alone(2)) }, ErrFailed, true},
		"engine":        {func(b *bench) { b.eng.set(func(e *fakeEngine) { e.mu.applyErr = errDisk }) }, ErrUnknownOutcome, false},
		"background":    {func(b *bench) { b.fails <- errDisk }, ErrFailed, true},
		"log has holes": {func(b *bench) { b.log.set(func(l *fakeLog) { l.mu.entries = nil }) }, ErrUnknownOutcome, true},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, Limits{}, func(b *bench) {
				c.breakIt(b)
				synctest.Wait()
				if _, err := b.put(upsert(2), WaitApplied); !errors.Is(err, c.want) {
					t.Errorf("%v", err)
				}
				if _, err := b.put(deleteAll(), WaitApplied); !errors.Is(err, ErrFailed) {
					t.Errorf("after it: %v", err)
				}
				if err := b.r.Readable(); (err == nil) != c.readable {
					t.Errorf("reads: %v", err)
				}
			})
		})
	}
}

func TestFullDiskRefusesWritesAndKeepsReads(t *testing.T) {
	bubble(t, Limits{}, func(b *bench) {
		b.log.set(func(l *fakeLog) { l.mu.appendErr = ErrNoSpace })
		for range 3 {
			if _, err := b.put(upsert(1), WaitApplied); !errors.Is(err, ErrNoSpace) {
				t.Fatal(err)
			}
		}
		if s := b.r.Status(); s.Phase != Full || b.r.Readable() != nil {
			t.Errorf("%+v, reads: %v", s, b.r.Readable())
		}
		b.log.set(func(l *fakeLog) { l.mu.appendErr = nil })
		if o := <-b.goID(background, 1, upsert(1), WaitApplied); o.err != nil || o.res.Seq != 3 {
			t.Errorf("with space again: %+v", o)
		}
		if s := b.r.Status(); s.Phase != Serving {
			t.Errorf("%+v", s)
		}
		// The engine may be the first to notice.
		b.eng.set(func(e *fakeEngine) { e.mu.applyErr = ErrNoSpace })
		if _, err := b.put(upsert(2), WaitCommitted); err != nil {
			t.Error(err)
		}
		waits := b.go1(background, upsert(3), WaitApplied)
		later(3 * time.Second)
		if s := b.r.Status(); s.Phase != Full || s.Applied != 3 || s.Commit != 5 {
			t.Errorf("%+v", s)
		}
		b.eng.set(func(e *fakeEngine) { e.mu.applyErr = nil })
		if o := <-waits; o.err != nil || !o.res.Applied {
			t.Errorf("%+v", o)
		}
	})
}

func TestBackpressure(t *testing.T) {
	bubble(t, Limits{Mailbox: 2, Unapplied: 300}, func(b *bench) {
		b.log.set(func(l *fakeLog) { l.mu.syncTime = time.Second })
		first := b.go1(background, upsert(1), WaitApplied)
		var outs []chan outcome
		for i := range uint64(2) {
			outs = append(outs, b.go1(background, upsert(i), WaitApplied))
		}
		if o := <-b.go1(background, upsert(9), WaitApplied); !errors.Is(o.err, ErrBusy) {
			t.Errorf("%v", o.err)
		}
		for _, out := range append(outs, first) {
			if o := <-out; o.err != nil {
				t.Error(o.err)
			}
		}
		b.log.set(func(l *fakeLog) { l.mu.syncTime = 0 })
		b.eng.set(func(e *fakeEngine) { e.mu.applyTime = time.Hour })
		for i := range uint64(10) {
			b.go1(background, upsert(i), WaitCommitted)
		}
		if s := b.r.Status(); s.Unapplied > 500 || s.Commit == s.Applied {
			t.Errorf("%d bytes unapplied", s.Unapplied)
		}
		b.eng.set(func(e *fakeEngine) { e.mu.applyTime = 0 })
	})
}

// TestMaintains: what the engine asks for is appended once at a time, by the primary.
func TestMaintains(t *testing.T) {
	bubble(t, Limits{}, func(b *bench) {
		seals := func() (n int) {
			for _, e := range b.log.all() {
				if e.Body[1] == byte(op.Seal) {
					n++
				}
			}
			return n
		}
		b.eng.set(func(e *fakeEngine) { e.mu.due, e.mu.applyTime = true, 10*time.Second })
		later(5 * time.Second)
		if n := seals(); n != 1 {
			t.Errorf("%d seals before the first one is applied", n)
		}
		b.eng.set(func(e *fakeEngine) { e.mu.applyTime = 0 })
		later(20 * time.Second)
		b.eng.set(func(e *fakeEngine) { e.mu.due = false })
		n := seals()
		if n < 3 {
			t.Errorf("%d seals", n)
		}
		if later(5 * time.Second); seals() != n {
			t.Errorf("%d seals nobody asked for", seals()-n)
		}
	})
}

func TestCheckpointTruncatesTheLog(t *testing.T) {
	bubble(t, Limits{CheckpointBytes: 1000, CheckpointEvery: time.Hour}, func(b *bench) {
		for i := range uint64(12) {
			if _, err := b.put(upsert(i), WaitApplied); err != nil {
				t.Fatal(err)
			}
		}
		later(time.Second)
		if b.log.mu.front != 14 || b.eng.mu.saved != 14 {
			t.Errorf("truncated to %d, checkpoint %d", b.log.mu.front, b.eng.mu.saved)
		}
		if b.log.mu.marks != 1 {
			t.Errorf("marked %d times while idle", b.log.mu.marks)
		}
		if _, err := b.put(upsert(99), WaitApplied); err != nil {
			t.Error(err)
		}
		later(2 * time.Hour)
		if b.log.mu.front < 15 {
			t.Errorf("an old checkpoint is renewed: %d", b.log.mu.front)
		}
	})
}

func TestStop(t *testing.T) {
	bubble(t, Limits{}, func(b *bench) {
		b.log.set(func(l *fakeLog) { l.mu.syncTime = time.Second })
		inLog, queued := b.go1(background, upsert(1), WaitApplied), b.go1(background, upsert(2), WaitApplied)
		release, err := b.r.Acquire()
		if err != nil {
			t.Fatal(err)
		}
		b.stop()
		if o := <-inLog; !errors.Is(o.err, ErrUnknownOutcome) {
			t.Errorf("%v", o.err)
		}
		if o := <-queued; !errors.Is(o.err, ErrStopped) || errors.Is(o.err, ErrUnknownOutcome) {
			t.Errorf("%v", o.err)
		}
		later(time.Minute)
		select {
		case <-b.ended:
			t.Error("Run returned with a reader inside")
		default:
		}
		release()
		if _, err := b.put(upsert(3), WaitApplied); !errors.Is(err, ErrStopped) {
			t.Error(err)
		}
		if _, err := b.r.Acquire(); !errors.Is(err, ErrStopped) {
			t.Error(err)
		}
	})
}

// A commit that only a new placement allows is acknowledged under that placement
// or not at all.
func TestNothingIsAcknowledgedUnderAnUnsavedPlacement(t *testing.T) {
	bubble(t, Limits{}, func(b *bench) {
		two := alone(2)
		two.Placement.Replicas = append(two.Placement.Replicas, topology.Replica{Peer: 2})
		b.r.See(two)
		synctest.Wait()
		out := b.go1(background, upsert(1), WaitCommitted)
		later(time.Second) // durable here, and the other replica says nothing
		b.state.mu.Lock()
		b.state.err = errDisk
		b.state.mu.Unlock()
		b.r.See(alone(3))
		if o := <-out; !errors.Is(o.err, ErrUnknownOutcome) {
			t.Errorf("%+v", o)
		}
		later(time.Second)
		if n := len(b.eng.mu.ids); n != 0 {
			t.Errorf("%d points applied", n)
		}
	})
}

func TestEndWhileLoading(t *testing.T) {
	bubble(t, Limits{}, func(b *bench) {
		if _, err := b.put(upsert(1), WaitApplied); err != nil {
			t.Fatal(err)
		}
		b.end()
		b.eng = newEngine()
		b.state.hard.Commit = 3
		b.r = New(Options{Self: 1, Hard: b.state.hard, Log: b.log, Engine: b.eng, State: b.state, Logger: slog.New(slog.DiscardHandler)})
		ctx, cancel := context.WithCancel(background)
		cancel()
		if err := b.r.Run(ctx); err != nil {
			t.Errorf("told to end before it was loaded: %v", err)
		}
		b.start(Limits{})
	})
}

func TestRestartAndRoles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &bench{t: t, log: &fakeLog{}, eng: newEngine(), state: &fakeState{}, out: &strings.Builder{}}
		b.start(Limits{})
		if _, err := b.put(upsert(1), WaitApplied); !errors.Is(err, ErrNotPrimary) {
			t.Error(err)
		}
		if err := b.r.Readable(); !errors.Is(err, ErrNotReady) {
			t.Error(err)
		}
		b.r.See(alone(1))
		synctest.Wait()
		for i := range uint64(3) {
			if _, err := b.put(upsert(i), WaitApplied); err != nil {
				t.Fatal(err)
			}
		}
		b.end()

		b.eng = newEngine() // nothing was checkpointed
		b.start(Limits{})
		synctest.Wait() // the placement comes from its own state
		if err := b.r.Readable(); err != nil || len(b.eng.mu.ids) != 3 {
			t.Fatalf("%v, %d ids", err, len(b.eng.mu.ids))
		}
		later(time.Second)
		if s := b.r.Status(); s.Term != (topology.Term{Epoch: 1, Run: 2}) {
			t.Errorf("S2: %+v", s.Term)
		}
		moved := alone(2)
		moved.Placement.Replicas = append(moved.Placement.Replicas, topology.Replica{Peer: 2})
		moved.Placement.Primary = 2
		b.r.See(moved)
		b.r.See(alone(1)) // late
		synctest.Wait()
		if _, err := b.put(upsert(1), WaitApplied); !errors.Is(err, ErrNotPrimary) || b.r.Status().Placement.Primary != 2 {
			t.Error(err)
		}
		b.end()

		was := b.eng.Position().Applied
		b.start(Limits{}) // with the engine as it is: the log is not needed up to there
		b.r.See(alone(3))
		later(time.Second)
		if b.log.mu.front != was {
			t.Errorf("log begins after %d, the state was loaded at %d", b.log.mu.front, was)
		}
		b.end()

		b.log.set(func(l *fakeLog) { l.mu.entries, l.mu.front = nil, 2 })
		b.start(Limits{})
		if err := <-b.ended; err == nil || !strings.Contains(err.Error(), "the log ends at 2") {
			t.Errorf("I3: %v", err)
		}
		b.stop()
	})
}

func TestLoadAppliesWhatIsCommitted(t *testing.T) {
	l, e := &fakeLog{}, newEngine()
	term := topology.Term{Epoch: 1, Run: 1}
	conf := op.Op{Kind: op.Config, Revision: 4}.Append(nil)
	for s := topology.Seq(1); s <= 5; s++ {
		en := op.Entry{Term: term, Seq: s, HLC: op.HLC(s), Body: conf}
		if s < 5 {
			en.Body, en.ID = op.Op{Kind: op.Upsert}.Append(nil), op.ID{Request: [16]byte{byte(s)}, Part: op.LastPart}
		}
		l.mu.entries = append(l.mu.entries, en)
	}
	_, st, err := load(background, Options{Log: l, Engine: e, Hard: core.Hard{Commit: 3}})
	if err != nil || st.Applied != 3 || len(st.Entries) != 2 || st.MaxHLC != 5 {
		t.Fatalf("%+v %v", st, err)
	}
	l.mu.entries = slices.Delete(l.mu.entries, 3, 4)
	if _, _, err := load(background, Options{Log: l, Engine: newEngine()}); err == nil {
		t.Error("a hole in the log loads")
	}
	if _, _, err := load(background, Options{Log: &fakeLog{}, Engine: e}); err == nil {
		t.Error("a log behind the state loads")
	}
	if _, _, err := load(background, Options{Log: &fakeLog{}, Engine: newEngine(), Hard: core.Hard{Commit: 1}}); err == nil {
		t.Error("a log behind the commit loads")
	}
}
