// Package fleet runs a cluster of real peers and watches from outside what the control plane has on record of their
// shards. It knows nothing about what is stored, and hurts nobody by itself.
package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"

	placementv1 "github.com/pandodb/pando/gen/go/pando/placement/v1"
	"github.com/pandodb/pando/services/internal/boot"
	"github.com/pandodb/pando/services/internal/rpc"
	"github.com/pandodb/pando/services/test/child"
)

// secret is shown on every internal call.
const secret = "fleet"

// Options of a fleet.
type Options struct {
	Binary string // path of pando
	Dir    string // every peer gets a folder in it
	Peers  int
	Env    []string
	Apart  bool // child.Home.Apart
	// Host is the address of a peer, Begin starts a command there; nil: loopback, here.
	Host  func(i int) string
	Begin func(i int, cmd *exec.Cmd) error
}

// Fleet is a number of peers, and what is known of their shards. Its methods may be called from any goroutine.
type Fleet struct {
	peers    []*Peer
	identity *rpc.Cluster
	mu       struct {
		sync.Mutex
		seen    Placement
		changed chan struct{}
	}
}

// Peer is one of them, running or not.
type Peer struct {
	ID  uint64
	Dir string

	home child.Home
	mu   struct {
		sync.Mutex
		process *child.Process // nil: it was not started, or was ended
		links   [2]*grpc.ClientConn
	}
}

// FirstID is the id of the first peer; the others count on.
const FirstID = 101

// New makes folders; nothing runs yet.
func New(o Options) (*Fleet, error) {
	f := &Fleet{identity: rpc.NewCluster(secret, rpc.CallRules{})}
	f.mu.changed = make(chan struct{})
	f.mu.seen = Placement{Collections: map[string]uint64{}, Shards: map[Ref]*placementv1.Shard{}}
	for i := range o.Peers {
		p := &Peer{ID: FirstID + uint64(i), Dir: filepath.Join(o.Dir, fmt.Sprintf("peer-%d", i))}
		p.home = child.Home{Binary: o.Binary, Dir: p.Dir, Clustered: true, Apart: o.Apart,
			Env: append([]string{"PANDO__CLUSTER__SECRET=" + secret, fmt.Sprintf("PANDO__CLUSTER__PEER_ID=%d", p.ID)}, o.Env...)}
		if o.Host != nil {
			p.home.Host = o.Host(i)
		}
		if o.Begin != nil {
			p.home.Begin = func(cmd *exec.Cmd) error { return o.Begin(i, cmd) }
		}
		if err := os.MkdirAll(filepath.Join(p.Dir, "storage"), 0o700); err != nil {
			return nil, err
		}
		f.peers = append(f.peers, p)
	}
	return f, nil
}

// Peers of the fleet.
func (f *Fleet) Peers() []*Peer { return f.peers }

// Index of the peer with an id, -1 if it is none.
func (f *Fleet) Index(id uint64) int {
	return slices.IndexFunc(f.peers, func(p *Peer) bool { return p.ID == id })
}

// Begin starts the first peer, then the others, and waits until all take part and an odd number votes.
func (f *Fleet) Begin(ctx context.Context) error {
	if err := f.Start(ctx, 0); err != nil {
		return err
	}
	id, err := f.peers[0].clusterID()
	if err != nil {
		return err
	}
	f.identity.SetID(id)
	var group sync.WaitGroup
	failed := make([]error, len(f.peers))
	for i := range f.peers[1:] {
		group.Go(func() { failed[i] = f.Start(ctx, i+1) })
	}
	group.Wait()
	if err := errors.Join(failed...); err != nil {
		return err
	}
	return f.AwaitVoters(ctx)
}

// AwaitVoters waits until the control plane has as many voters as there may be of these peers: an odd number. Before that one more
// loss may be one too many for it.
func (f *Fleet) AwaitVoters(ctx context.Context) error {
	return f.until(ctx, func() bool {
		i := f.Leader(ctx)
		if i < 0 {
			return false
		}
		st, err := f.Status(ctx, i)
		voters := 0
		for _, m := range st.GetMembers() {
			if !m.GetLearner() {
				voters++
			}
		}
		return err == nil && st.GetEven() == "" && voters == len(f.peers)-(len(f.peers)+1)%2
	})
}

func (p *Peer) clusterID() (string, error) {
	var kept struct{ Cluster string }
	data, err := os.ReadFile(filepath.Join(p.Dir, "storage", "membership.json"))
	if err == nil {
		err = json.Unmarshal(data, &kept)
	}
	return kept.Cluster, err
}

// Start starts a peer that does not run, and waits until it is ready. It is told of those that run. Its ports are those of
// its first start.
func (f *Fleet) Start(ctx context.Context, i int) error {
	h := f.peers[i].home
	for _, o := range f.peers {
		if p := o.Process(); p != nil {
			h.Bootstrap = append(h.Bootstrap, p.Internal)
		}
	}
	p, err := h.Start(ctx)
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.ExitCode() == boot.ExitPort && h.Internal != 0 {
		h.REST, h.GRPC, h.Internal = 0, 0, 0 // somebody has taken a port meanwhile
		p, err = h.Start(ctx)
	}
	if err != nil {
		return fmt.Errorf("peer %d: %w", f.peers[i].ID, err)
	}
	for addr, to := range map[string]*int{p.REST: &f.peers[i].home.REST, p.GRPC: &f.peers[i].home.GRPC, p.Internal: &f.peers[i].home.Internal} {
		_, port, _ := strings.Cut(addr, ":")
		if *to, err = strconv.Atoi(port); err != nil {
			return err
		}
	}
	f.peers[i].take(p)
	return nil
}

// take notes another process, and forgets the connections to the one before.
func (p *Peer) take(process *child.Process) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mu.process = process
	for k, c := range p.mu.links {
		if c != nil {
			_ = c.Close() // nobody listens there any more
		}
		p.mu.links[k] = nil
	}
}

// OtherPort lets the internal port of the next start be another one; otherwise it stays.
func (p *Peer) OtherPort() { p.home.Internal = 0 }

// Process is what runs; nil if nothing does.
func (p *Peer) Process() *child.Process {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mu.process
}

// Kill is kill -9.
func (p *Peer) Kill() error { return p.end((*child.Process).Kill) }

// Stop is SIGTERM, and waiting.
func (p *Peer) Stop() error { return p.end((*child.Process).Stop) }

func (p *Peer) end(how func(*child.Process) error) error {
	now := p.Process()
	if now == nil {
		return nil
	}
	err := how(now)
	p.take(nil)
	return err
}

// Tail is the end of what the peer has logged.
func (p *Peer) Tail(lines int) string { return p.home.Tail(lines) }

// The two ports that speak gRPC.
const (
	public = iota
	internal
)

// Public is a connection to the public API of a peer; nil while it does not run.
func (f *Fleet) Public(i int) *grpc.ClientConn { return f.link(i, public) }

// Internal is a connection to the internal port of a peer, as another process of the cluster has it; nil while it does not run.
func (f *Fleet) Internal(i int) *grpc.ClientConn { return f.link(i, internal) }

func (f *Fleet) link(i, which int) *grpc.ClientConn {
	p := f.peers[i]
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.process == nil {
		return nil
	}
	if p.mu.links[which] == nil {
		to, o := p.mu.process.GRPC, rpc.DialOptions{}
		if which == internal {
			to, o.Cluster = p.mu.process.Internal, f.identity
		}
		c, err := rpc.Dial(to, o)
		if err != nil {
			return nil // the target is an address, which cannot be wrong
		}
		p.mu.links[which] = c
	}
	return p.mu.links[which]
}

// Status is what a peer knows of the control plane.
func (f *Fleet) Status(ctx context.Context, i int) (*placementv1.StatusResponse, error) {
	c := f.Internal(i)
	if c == nil {
		return nil, errors.New("it does not run")
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	return placementv1.NewCatalogClient(c).Status(ctx, &placementv1.StatusRequest{})
}

// Leader is the peer in whose process the control plane's leader is; -1 while none is known.
func (f *Fleet) Leader(ctx context.Context) int {
	for i := range f.peers {
		if st, err := f.Status(ctx, i); err == nil && st.GetLeader() != 0 {
			return f.Index(st.GetLeader())
		}
	}
	return -1
}

// Stop stops what runs, in order: SIGTERM to one peer after the other.
func (f *Fleet) Stop() error {
	var err error
	for _, p := range f.peers {
		err = errors.Join(err, p.Stop())
	}
	return err
}

// End kills what runs.
func (f *Fleet) End() error {
	var err error
	for _, p := range f.peers {
		err = errors.Join(err, p.Kill())
	}
	return err
}

// Pass lets time pass.
func Pass(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// until asks again and again.
func (f *Fleet) until(ctx context.Context, done func() bool) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
