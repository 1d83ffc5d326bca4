package replica

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/replica/core"
	"github.com/pandodb/pando/services/dataplane/internal/shard"
	"github.com/pandodb/pando/services/internal/topology"
)

// trio is three replicas of one shard in a bubble, each on its fakes, with a
// network that can be cut and a control plane that does what it is asked.
type trio struct {
	t  *testing.T
	mu struct {
		sync.Mutex
		place topology.Placement
		cut   map[topology.PeerID]bool
		// down: the control plane answers nobody since then.
		down time.Time
	}
	hosts map[topology.PeerID]*trioHost
}

type trioHost struct {
	trio    *trio
	id      topology.PeerID
	log     *fakeLog
	eng     *fakeEngine
	state   *fakeState
	kept    *fakeKept
	r       *Replica
	session uint64
	stop    context.CancelFunc
	ended   chan error
	traced  []string // what Follow was told
}

func withTrio(t *testing.T, states []topology.ReplicaState, f func(t *testing.T, x *trio)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		x := &trio{t: t, hosts: map[topology.PeerID]*trioHost{}}
		x.mu.cut = map[topology.PeerID]bool{}
		x.mu.place = topology.Placement{Epoch: 1, Primary: 1}
		for i, s := range states {
			id := topology.PeerID(i + 1)
			x.mu.place.Replicas = append(x.mu.place.Replicas, topology.Replica{Peer: id, State: s, Incarnation: topology.Incarnation{byte(id)}})
			x.hosts[id] = &trioHost{trio: x, id: id, log: &fakeLog{}, eng: newEngine(), state: &fakeState{}, kept: &fakeKept{}}
		}
		for _, h := range x.hosts {
			h.start()
		}
		x.announce()
		synctest.Wait()
		f(t, x)
		for _, h := range x.hosts {
			if err := h.end(); err != nil {
				t.Errorf("peer %d: %v", h.id, err)
			}
		}
	})
}

func (h *trioHost) start() {
	x := h.trio
	h.session++
	h.r = New(Options{
		Self: h.id, Incarnation: topology.Incarnation{byte(h.id)}, Hard: h.state.hard, Log: h.log, Engine: h.eng, State: h.state,
		Peers: h, Provisional: h.kept, Control: x.heard, Session: h.session, Logger: slog.New(slog.DiscardHandler),
		Tracer: Tracer{
			Context: func(ctx context.Context) string { s, _ := ctx.Value(traceKey{}).(string); return s },
			Follow: func(parent string, _ topology.Shard) func() {
				h.traced = append(h.traced, parent+" opened")
				return func() { h.traced = append(h.traced, parent+" ended") }
			},
		},
	})
	ctx, cancel := context.WithCancel(context.Background())
	h.stop, h.ended = cancel, make(chan error, 1)
	r := h.r
	go func() { h.ended <- r.Run(ctx) }()
}

type traceKey struct{}

func (h *trioHost) end() error {
	h.stop()
	return <-h.ended
}

// Send is the network.
func (h *trioHost) Send(msgs []core.Envelope, traces map[topology.Seq]string) {
	x := h.trio
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, m := range msgs {
		if to := x.hosts[m.To]; to != nil && !x.mu.cut[h.id] && !x.mu.cut[m.To] {
			seen := map[topology.Seq]string{}
			if a, ok := m.Message.(core.Append); ok {
				for _, e := range a.Entries {
					if t := traces[e.Seq]; t != "" {
						seen[e.Seq] = t
					}
				}
			}
			to.r.Receive(h.id, m.Message, seen)
		}
	}
}

func (h *trioHost) SetState(s core.SetState) {
	h.trio.swap(s.Epoch, func(p *topology.Placement) {
		for i := range p.Replicas {
			if p.Replicas[i].Peer == s.Peer {
				p.Replicas[i].State = s.To
			}
		}
	})
}

func (h *trioHost) HandOver(m core.Move) {
	h.trio.swap(m.Epoch, func(p *topology.Placement) { p.Primary = m.To })
}

func (x *trio) swap(expected topology.Epoch, change func(*topology.Placement)) {
	x.mu.Lock()
	if x.mu.place.Epoch == expected && x.mu.down.IsZero() {
		x.mu.place.Replicas = slices.Clone(x.mu.place.Replicas)
		change(&x.mu.place)
		x.mu.place.Epoch++
	}
	x.mu.Unlock()
	x.announce()
}

func (x *trio) announce() {
	x.mu.Lock()
	defer x.mu.Unlock()
	for id, h := range x.hosts {
		if !x.mu.cut[id] && x.mu.down.IsZero() {
			h.r.See(core.PlacementSeen{Placement: x.mu.place, Config: core.Config{Revision: 1, Settings: []byte("{}")}})
		}
	}
}

func (x *trio) cutOff(p topology.PeerID, cut bool) {
	x.mu.Lock()
	x.mu.cut[p] = cut
	x.mu.Unlock()
	x.announce()
}

// heard is when the control plane was.
func (x *trio) heard() time.Time {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.mu.down.IsZero() {
		return time.Now()
	}
	return x.mu.down
}

// control takes the control plane away, or brings it back.
func (x *trio) control(up bool) {
	x.mu.Lock()
	if x.mu.down = time.Now(); up {
		x.mu.down = time.Time{}
	}
	x.mu.Unlock()
	x.announce()
}

func (x *trio) state(p topology.PeerID) topology.ReplicaState {
	x.mu.Lock()
	defer x.mu.Unlock()
	r, _ := x.mu.place.Replica(p)
	return r.State
}

func (x *trio) epoch() topology.Epoch {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.mu.place.Epoch
}

func (x *trio) primary() topology.PeerID {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.mu.place.Primary
}

func (x *trio) put(ctx context.Context, at topology.PeerID, n byte, wait WaitMode) error {
	w := shard.Write{Kind: op.Upsert, Points: []op.Point{{ID: topology.NumberID(uint64(n))}}}
	_, err := x.hosts[at].r.Propose(ctx, op.ID{Request: [16]byte{n}}, w, wait, 1)
	return err
}

// has tells whether a replica shows a point.
func (x *trio) has(p topology.PeerID, n byte) bool {
	e := x.hosts[p].eng
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.mu.ids[topology.NumberID(uint64(n))]
}

func TestReplicates(t *testing.T) {
	withTrio(t, []topology.ReplicaState{topology.Active, topology.Active, topology.Active}, func(t *testing.T, x *trio) {
		ctx := context.WithValue(context.Background(), traceKey{}, "trace-1")
		if err := x.put(ctx, 1, 7, WaitApplied); err != nil {
			t.Fatal(err)
		}
		for p := range x.hosts {
			if !x.has(p, 7) {
				t.Errorf("W8: peer %d does not show the write", p)
			}
			if err := x.hosts[p].r.Readable(); err != nil {
				t.Errorf("peer %d: %v", p, err)
			}
		}
		if err := x.put(ctx, 2, 8, WaitApplied); !errors.Is(err, ErrNotPrimary) {
			t.Errorf("a follower takes a write: %v", err)
		}
		for _, p := range []topology.PeerID{2, 3} {
			if got, want := fmt.Sprint(x.hosts[p].traced), "[trace-1 opened trace-1 ended]"; got != want {
				t.Errorf("peer %d: spans %s, want %s", p, got, want)
			}
		}
	})
}

// R3: a primary reads linearizably as long as all others that count obey it; one that
// was replaced without hearing of it does not.
func TestLinearize(t *testing.T) {
	three := []topology.ReplicaState{topology.Active, topology.Active, topology.Active}
	withTrio(t, three, func(t *testing.T, x *trio) {
		ctx := context.Background()
		if err := x.put(ctx, 1, 1, WaitCommitted); err != nil {
			t.Fatal(err)
		}
		if err := x.hosts[1].r.Linearize(ctx); err != nil || !x.has(1, 1) {
			t.Errorf("the primary: %v", err)
		}
		if err := x.hosts[2].r.Linearize(ctx); !errors.Is(err, ErrNotPrimary) {
			t.Errorf("a follower: %v", err)
		}
		x.cutOff(3, true) // nobody is told: C1 finds out, and the read goes on without it
		begun := time.Now()
		if err := x.hosts[1].r.Linearize(ctx); err != nil || time.Since(begun) < time.Second || time.Since(begun) > 3*time.Second {
			t.Errorf("after a follower vanished: %v after %v", err, time.Since(begun))
		}
		x.cutOff(1, true)
		x.swap(x.epoch(), func(p *topology.Placement) { p.Primary, p.Replicas[0].State = 2, topology.Dead })
		synctest.Wait()
		if err := x.put(ctx, 2, 2, WaitApplied); err != nil {
			t.Fatal(err)
		}
		if err := x.hosts[1].r.Readable(); err != nil {
			t.Errorf("it does not know yet: %v", err)
		}
		short, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		if err := x.hosts[1].r.Linearize(short); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the old primary: %v", err)
		}
		waits := make(chan error, 1)
		go func() { waits <- x.hosts[1].r.Linearize(ctx) }()
		synctest.Wait()
		x.cutOff(1, false)
		if err := <-waits; !errors.Is(err, ErrNotPrimary) {
			t.Errorf("the old primary, when it hears of it: %v", err)
		}
	})
}

// Copies that differ are found while there are writes, and the one that is wrong is
// taken out, be it the primary's: two others outvote it. It is made anew.
func TestCopiesDiffer(t *testing.T) {
	three := []topology.ReplicaState{topology.Active, topology.Active, topology.Active}
	for wrong := topology.PeerID(1); wrong <= 3; wrong++ {
		withTrio(t, three, func(t *testing.T, x *trio) {
			ctx := context.Background()
			if err := x.put(ctx, 1, 1, WaitApplied); err != nil {
				t.Fatal(err)
			}
			x.hosts[wrong].eng.set(func(e *fakeEngine) { e.mu.ids[topology.NumberID(200)] = true })
			begun, found := time.Now(), func() uint64 { return x.hosts[1].r.Status().Diverged }
			for n := byte(2); x.state(wrong) == topology.Active && n < 100; n++ {
				if err := x.put(ctx, x.primary(), n, WaitCommitted); err != nil && !errors.Is(err, ErrMoving) && !errors.Is(err, ErrNotPrimary) {
					t.Fatal(err)
				}
				<-time.After(time.Second)
			}
			if took := time.Since(begun); x.state(wrong) != topology.Dead || took > time.Minute || found() != 1 {
				t.Errorf("peer %d is %v after %v, %d found", wrong, x.state(wrong), took, found())
			}
			for p := range x.hosts {
				if p != wrong && x.state(p) != topology.Active {
					t.Errorf("peer %d is right, and %v", p, x.state(p))
				}
			}
			x.swap(x.epoch(), func(p *topology.Placement) { p.Replicas[wrong-1].State = topology.Partial })
			select {
			case err := <-x.hosts[wrong].ended:
				if !errors.Is(err, ErrWipe) {
					t.Errorf("its run ended with %v", err)
				}
			case <-time.After(time.Minute):
				t.Error("the wrong copy was not wiped")
			}
			x.hosts[wrong].ended <- nil
		})
	}
}

// A follower that vanishes holds a write up until it is marked Dead (C1), and
// returns through Partial by proof (C7, C8).
func TestFollowerVanishesAndReturns(t *testing.T) {
	withTrio(t, []topology.ReplicaState{topology.Active, topology.Active}, func(t *testing.T, x *trio) {
		ctx := context.Background()
		if err := x.put(ctx, 1, 1, WaitApplied); err != nil {
			t.Fatal(err)
		}
		x.cutOff(2, true)
		begun := time.Now()
		if err := x.put(ctx, 1, 2, WaitApplied); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(begun); d < time.Second || d > 2*time.Second {
			t.Errorf("C1: the write took %v", d)
		}
		if x.state(2) != topology.Dead {
			t.Fatal("C1: not marked Dead")
		}
		for n := byte(3); n < 30; n++ {
			if err := x.put(ctx, 1, n, WaitCommitted); err != nil {
				t.Fatal(err)
			}
		}
		if <-time.After(11 * time.Second); x.hosts[2].r.Readable() == nil {
			t.Error("R2: the one that was cut off still serves")
		}
		x.cutOff(2, false)
		x.swap(x.epoch(), func(p *topology.Placement) { p.Replicas[1].State = topology.Partial })
		<-time.After(2 * time.Second)
		if x.state(2) != topology.Active || !x.has(2, 29) || x.hosts[2].r.Readable() != nil {
			t.Errorf("C8: %v, shows %v, %v", x.state(2), x.has(2, 29), x.hosts[2].r.Readable())
		}
	})
}

func TestHandOver(t *testing.T) {
	withTrio(t, []topology.ReplicaState{topology.Active, topology.Active}, func(t *testing.T, x *trio) {
		ctx := context.Background()
		x.hosts[2].log.set(func(l *fakeLog) { l.mu.syncTime = 50 * time.Millisecond })
		if err := x.put(ctx, 1, 1, WaitApplied); err != nil {
			t.Fatal(err)
		}
		late := make(chan error, 1)
		go func() { late <- x.put(ctx, 1, 2, WaitApplied) }()
		synctest.Wait()
		moved := make(chan topology.PeerID, 1)
		go func() {
			p, err := x.hosts[1].r.HandOver(ctx, 1, 2)
			if err != nil {
				t.Error(err)
			}
			moved <- p.Primary
		}()
		synctest.Wait()
		if err := x.put(ctx, 1, 3, WaitApplied); !errors.Is(err, ErrMoving) {
			t.Errorf("C3b: taken while the primary moves: %v", err)
		}
		if err := <-late; err != nil {
			t.Errorf("C3b: drained write: %v", err)
		}
		if p := <-moved; p != 2 {
			t.Errorf("C3b: primary is %d", p)
		}
		<-time.After(200 * time.Millisecond)
		if err := x.put(ctx, 1, 3, WaitApplied); !errors.Is(err, ErrNotPrimary) {
			t.Errorf("the old primary: %v", err)
		}
		if err := x.put(ctx, 2, 3, WaitApplied); err != nil {
			t.Errorf("the new primary: %v", err)
		}
	})
}

// An unsynced tail that nobody else has is cut when its writer returns as a follower (C6).
func TestConflictIsCut(t *testing.T) {
	withTrio(t, []topology.ReplicaState{topology.Active, topology.Active}, func(t *testing.T, x *trio) {
		ctx := context.Background()
		if err := x.put(ctx, 1, 1, WaitApplied); err != nil {
			t.Fatal(err)
		}
		x.cutOff(1, true)
		short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
		defer cancel()
		if err := x.put(short, 1, 2, WaitApplied); !errors.Is(err, ErrUnknownOutcome) {
			t.Errorf("W10: %v", err)
		}
		x.swap(1, func(p *topology.Placement) { p.Primary, p.Replicas[0].State = 2, topology.Dead })
		if err := x.put(ctx, 2, 3, WaitApplied); err != nil {
			t.Fatal(err)
		}
		x.cutOff(1, false)
		x.swap(2, func(p *topology.Placement) { p.Replicas[0].State = topology.Partial })
		<-time.After(2 * time.Second)
		if x.state(1) != topology.Active || x.has(1, 2) || !x.has(1, 3) {
			t.Errorf("C6: %v, lost write %v, kept write %v", x.state(1), x.has(1, 2), x.has(1, 3))
		}
	})
}
