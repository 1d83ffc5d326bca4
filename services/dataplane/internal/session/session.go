// Package session is a data peer's tie to the control plane: it registers the
// peer, keeps its session alive, tells what replicas the peer holds, and follows
// the placement. The newest cluster map is read from here by everybody else.
//
// It is not needed to serve: the last placement seen is kept on the peer's disk
// and is the map after a start, until the control plane answers.
package session

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	placementv1 "github.com/pandodb/pando/gen/go/pando/placement/v1"
	"github.com/pandodb/pando/services/internal/fault"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/vfs"
	"golang.org/x/sync/errgroup"
)

// Options are what a session needs. All must be set but Removed.
type Options struct {
	// FS and Dir: where the last placement is kept.
	FS  vfs.FS
	Dir string
	// Peer is this peer's own record.
	Peer *placementv1.Peer
	// ProcessID is random for each start of the process.
	ProcessID string
	// Control is the control plane.
	Control placementv1.SessionClient
	// Inventory lists all replicas on this peer; Changed ticks when it changed.
	Inventory func() []*placementv1.ReplicaInventory
	Changed   <-chan struct{}
	// Removed is told that the peer was taken out of the cluster. The session goes
	// on with the placement that it has, and asks for no other.
	Removed func()
	Log     *slog.Logger
}

// Session is safe for concurrent use. Its loops run inside Run.
type Session struct {
	o  Options
	mu struct {
		sync.Mutex
		m       *topology.Map
		records records
		changed chan struct{} // closed and made anew with each map
		id      uint64
		joined  uint64 // the control plane's revision when this process registered first
		cluster string
		dirty   bool      // records are newer than the file
		full    bool      // the disk had no room for the file
		leaving bool      // the process is about to stop
		heard   time.Time // when the control plane answered last
		// anew is closed and set to nil with the next snapshot; not nil: one was asked for.
		anew chan struct{}
	}
	again      chan struct{} // cap 1: follow begins anew
	save       chan struct{}
	registered chan struct{} // closed by the first Register
	removed    chan struct{} // closed when the peer was taken out
	out        sync.Once
}

// Open reads the last placement from the disk; there may be none. A damaged
// file is an error that names it.
func Open(o Options) (*Session, error) {
	s := &Session{o: o, save: make(chan struct{}, 1), again: make(chan struct{}, 1), registered: make(chan struct{}), removed: make(chan struct{})}
	s.mu.changed, s.mu.m, s.mu.records = make(chan struct{}), topology.NewMap(), records{}
	kept, err := load(o.FS, o.Dir)
	if err != nil {
		return nil, err
	}
	if kept == nil {
		return s, nil
	}
	s.mu.records, s.mu.cluster = kept.records, kept.cluster
	if s.mu.m, err = kept.records.mapAt(kept.revision); err != nil {
		return nil, fmt.Errorf("placement kept in %s: %w", o.Dir, err)
	}
	return s, nil
}

// Belong says which cluster the peer belongs to, before Run. A placement that was
// kept of another one, which the peer has left, is answered and counts no more.
func (s *Session) Belong(cluster string) (left []*placementv1.Change) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if was := s.mu.cluster; was != cluster && was != "" {
		left = s.mu.records.list()
		s.mu.m, s.mu.records = topology.NewMap(), records{}
		s.o.Log.Info("the kept placement is that of a cluster that this peer has left", "cluster", cluster, "left", was)
	}
	s.mu.cluster = cluster
	return left
}

// Retire makes the session ask for nothing any more: the peer was taken out of
// the cluster.
func (s *Session) Retire() { s.out.Do(func() { close(s.removed) }) }

// Leave tells the control plane that this process is about to stop, so that others
// take its place first, and returns when that is done. The session goes on until
// Run ends, but is not opened again.
func (s *Session) Leave(ctx context.Context) error {
	id := s.ID()
	if id == 0 || s.retired() {
		return nil
	}
	s.mu.Lock()
	s.mu.leaving = true
	s.mu.Unlock()
	r, err := s.o.Control.Leave(ctx, &placementv1.LeaveRequest{SessionId: id, PeerId: s.o.Peer.GetPeerId()})
	if err != nil {
		return err
	}
	s.o.Log.Info("left the placement", "primaries", r.GetPrimaries(), "active", r.GetActive())
	return nil
}

func (s *Session) leaving() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.leaving
}

// Registered is closed when the peer has registered for the first time.
func (s *Session) Registered() <-chan struct{} { return s.registered }

// Map is the newest map.
func (s *Session) Map() *topology.Map {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.m
}

// ID names the session with the control plane; 0 before the first Register.
func (s *Session) ID() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.id
}

// Cluster is the cluster's id; empty before the peer ever belonged to one.
func (s *Session) Cluster() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.cluster
}

// Collection gives the control plane's record of a collection as it was sent.
// The caller must not change it.
func (s *Session) Collection(id topology.CollectionID) (*placementv1.Collection, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.mu.records[key{kind: kindCollection, a: uint64(id)}]
	return c.GetCollection(), ok
}

// Changed is closed when a newer map than the one returned with it is there.
func (s *Session) Changed() (*topology.Map, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.m, s.mu.changed
}

// Heard is when the control plane answered last, with a quorum behind it; zero: it has
// not. A peer that was taken out of the cluster expects nothing of it.
func (s *Session) Heard() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.retired() {
		return time.Now()
	}
	return s.mu.heard
}

func (s *Session) hear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.heard = time.Now()
}

// Confirmed tells whether m holds everything that the control plane had decided
// when this process registered. Before that a map may lack what was decided just
// before the process ended, so nothing may be dropped for not being in it.
func (s *Session) Confirmed(m *topology.Map) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.joined != 0 && m.Revision() >= s.mu.joined
}

// Await waits for a map of at least this revision.
func (s *Session) Await(ctx context.Context, revision uint64) error {
	if revision == 0 {
		return nil
	}
	return s.Newer(ctx, revision-1)
}

// Newer waits for a map above this revision.
func (s *Session) Newer(ctx context.Context, revision uint64) error {
	for {
		m, ch := s.Changed()
		if m.Revision() > revision {
			return nil
		}
		select {
		case <-ch:
		case <-ctx.Done():
			return fmt.Errorf("waiting for placement revision %d, have %d: %w", revision+1, m.Revision(), ctx.Err())
		}
	}
}

// Refetch asks for the whole placement instead of what changed, and returns when it is
// there. NO_LEADER if that takes longer than ctx.
func (s *Session) Refetch(ctx context.Context) error {
	s.mu.Lock()
	if s.mu.anew == nil {
		s.mu.anew = make(chan struct{})
		select {
		case s.again <- struct{}{}:
		default: // the stream is about to begin anew for an earlier call
		}
	}
	done := s.mu.anew
	s.mu.Unlock()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fault.Wrap(fault.NoLeader, ctx.Err(), "the control plane has not sent the cluster's state")
	}
}

// Run keeps the session and follows the placement until ctx ends.
func (s *Session) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.retry(ctx, "session", s.hold) })
	g.Go(func() error { return s.retry(ctx, "placement", s.follow) })
	g.Go(func() error { return s.keep(ctx) })
	if err := g.Wait(); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// Pauses between tries: short, since a peer without a session counts as gone.
const (
	firstPause = 50 * time.Millisecond
	lastPause  = time.Second
)

// retry runs f again and again. It logs when the state changes, not each try.
// An error that no repetition can mend ends the process.
func (s *Session) retry(ctx context.Context, what string, f func(context.Context, func()) error) error {
	pause, down := firstPause, false
	for {
		if s.retired() {
			<-ctx.Done()
			return ctx.Err()
		}
		err := f(ctx, func() {
			if down {
				s.o.Log.Info("control plane answers again", "stream", what)
			}
			pause, down = firstPause, false
		})
		if ctx.Err() != nil {
			return ctx.Err()
		}
		switch fault.ReasonOf(err) {
		case fault.WrongCluster, fault.InvalidArgument, fault.Validation, fault.JoinRefused:
			return fmt.Errorf("the control plane refuses this peer: %w", err)
		case fault.PeerRemoved:
			s.Retire()
			if s.o.Removed != nil {
				s.o.Removed()
			}
		}
		if !down && err != nil && !s.retired() {
			s.o.Log.Warn("control plane does not answer", "stream", what, "error", err)
			down = true
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		}
		pause = min(2*pause, lastPause)
	}
}

func (s *Session) retired() bool {
	select {
	case <-s.removed:
		return true
	default:
		return false
	}
}

// hold registers and keeps the session alive until its stream breaks.
func (s *Session) hold(ctx context.Context, up func()) error {
	if s.leaving() { // a new session would bring the peer back
		<-ctx.Done()
		return ctx.Err()
	}
	all, seen := s.o.Inventory(), s.Map().Revision()
	r, err := s.o.Control.Register(ctx, &placementv1.RegisterRequest{Peer: s.o.Peer, ProcessId: s.o.ProcessID, ClusterId: s.Cluster(),
		Inventory: &placementv1.Inventory{Full: true, Replicas: all}})
	if err != nil {
		return err
	}
	if was := s.Cluster(); was != "" && was != r.GetClusterId() {
		return fault.New(fault.WrongCluster, "this peer's folder belongs to cluster %s and the control plane to cluster %s: start it with the "+
			"control plane of its own cluster, or with an empty folder", was, r.GetClusterId())
	}
	if r.GetRevision() < seen { // it was written just now, so nothing newer is there
		return fault.New(fault.WrongCluster, "the control plane is at revision %d, and this peer has seen revision %d: its records come from an "+
			"older copy, by which newer collections would be dropped here; bring the newer records back", r.GetRevision(), seen)
	}
	s.mu.Lock()
	fresh := s.mu.id != r.GetSessionId()
	if s.mu.cluster != r.GetClusterId() {
		s.mark() // which cluster the folder belongs to must be kept, too
	}
	s.mu.id, s.mu.cluster = r.GetSessionId(), r.GetClusterId()
	if s.mu.joined == 0 {
		close(s.registered)
		s.mu.joined = max(r.GetRevision(), 1)
		s.wake() // the map may just have become confirmed
	}
	s.mu.Unlock()
	s.hear()
	up()
	if fresh {
		s.o.Log.Info("registered with the control plane", "session", r.GetSessionId(), "cluster", r.GetClusterId())
	}
	return s.beat(ctx, r)
}

// beat sends a sign of life three times in each TTL, and at once when the
// inventory changed. It ends when the control plane no longer answers in time:
// early enough to register with another member before the session ends.
func (s *Session) beat(ctx context.Context, r *placementv1.RegisterResponse) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := s.o.Control.KeepAlive(ctx)
	if err != nil {
		return err
	}
	answers, failed := make(chan *placementv1.KeepAliveResponse), make(chan error, 1)
	var g errgroup.Group
	defer func() { cancel(); _ = g.Wait() }()
	g.Go(func() error {
		for {
			a, err := stream.Recv()
			if err != nil {
				failed <- err
				return nil
			}
			select {
			case answers <- a:
			case <-ctx.Done():
				return nil
			}
		}
	})
	ttl := r.GetTtl().AsDuration()
	tick := time.NewTicker(max(ttl/3, time.Millisecond))
	defer tick.Stop()
	patience := 2 * ttl / 3
	silent := time.NewTimer(patience)
	defer silent.Stop()
	sent := inventory{}
	for n := uint64(1); ; n++ {
		inv := sent.update(s.o.Inventory(), n == 1)
		err := stream.Send(&placementv1.KeepAliveRequest{SessionId: r.GetSessionId(), PeerId: s.o.Peer.GetPeerId(), Sequence: n, Inventory: inv})
		if err != nil {
			return errors.Join(err, drained(failed))
		}
	wait:
		for {
			select {
			case <-tick.C:
				break wait
			case <-s.o.Changed:
				break wait
			case a := <-answers:
				if a.GetMoved() {
					return fault.New(fault.NoLeader, "the session moves to another member")
				}
				s.hear()
				silent.Reset(patience)
			case <-silent.C:
				return fault.New(fault.Timeout, "no answer to signs of life for %v", patience)
			case err := <-failed:
				return err
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
}

func drained(ch <-chan error) error {
	select {
	case err := <-ch:
		return err
	default:
		return nil
	}
}
