package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	clusterv1 "github.com/pandodb/pando/gen/go/pando/cluster/v1"
	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/internal/rpc"
	"github.com/pandodb/pando/services/test/child"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
)

const (
	// peers, and how many replicas each shard has on them.
	size, copies = 3, 2
	// down is how long a peer stays away after it was found to be Dead, calm how long the load goes on when all is well.
	down, calm = 2 * time.Second, time.Second
	// patience bounds the wait for the cluster to see something.
	patience = time.Minute
)

// trio is a cluster on this machine.
type trio struct {
	*show
	homes []child.Home
	procs []*child.Process
	conns []*grpc.ClientConn // to the public API of each
	ids   []uint64
	holds map[uint64]int // replicas by peer
}

// together shows three peers.
func together(ctx context.Context, h child.Home, s *show) (err error) {
	s.shards, s.factor = 2*size, copies
	t := &trio{show: s}
	defer func() { err = errors.Join(err, t.down()) }()
	if err := t.up(ctx, h); err != nil {
		return err
	}
	if err := t.first(ctx); err != nil {
		return err
	}
	if err := t.create(ctx, again); err != nil {
		return err
	}
	if err := t.ask(ctx); err != nil {
		return err
	}
	if t.holds, err = t.count(ctx); err != nil {
		return err
	}
	storm, err := t.storm(ctx)
	if err != nil {
		return err
	}
	for i := range t.homes {
		if err := t.turn(ctx, i, storm); err != nil {
			return errors.Join(err, storm.stop())
		}
	}
	if err := storm.stop(); err != nil {
		return err
	}
	if err := errors.Join(storm.report(), t.audit(ctx, storm.ledgers)); err != nil {
		return err
	}
	return t.ask(ctx)
}

// up starts the peers at once: the first founds the cluster, the others join it.
func (t *trio) up(ctx context.Context, h child.Home) error {
	ports, err := child.FreePorts(3 * size) // fixed, so that clients find who comes back
	if err != nil {
		return err
	}
	for i := range size {
		one := h
		one.Dir, one.Clustered = filepath.Join(h.Dir, strconv.Itoa(i+1)), true
		one.REST, one.GRPC, one.Internal = ports[3*i], ports[3*i+1], ports[3*i+2]
		if i > 0 {
			one.Bootstrap = []string{fmt.Sprintf("127.0.0.1:%d", ports[2])}
		}
		if err := os.Mkdir(one.Dir, 0o750); err != nil {
			return err
		}
		t.homes = append(t.homes, one)
	}
	t.procs, t.conns, t.ids = make([]*child.Process, size), make([]*grpc.ClientConn, size), make([]uint64, size)
	begin := time.Now()
	g, gctx := errgroup.WithContext(ctx)
	for i := range t.homes {
		g.Go(func() (err error) {
			t.procs[i], err = t.homes[i].Start(gctx)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for i, p := range t.procs {
		if t.conns[i], err = rpc.Dial(p.GRPC, rpc.DialOptions{}); err != nil {
			return err
		}
	}
	if t.conn, err = t.client(true); err != nil {
		return err
	}
	ready := time.Since(begin)
	err = t.until(ctx, "three members that vote", func(ctx context.Context) (bool, error) {
		st, err := t.status(ctx, 0)
		if err != nil {
			return false, err
		}
		t.ids[0] = st.GetPeerId()
		return len(st.GetPeers()) == size && len(st.GetControlMembers()) == size && st.GetEvenVoters() == "", nil
	})
	for i := 1; i < size && err == nil; i++ {
		var st *clusterv1.ClusterStatus
		st, err = t.status(ctx, i)
		t.ids[i] = st.GetPeerId()
	}
	if err == nil {
		say("three", "peers ready after %d ms, all of them voters after %d ms; %d shards, %d replicas of each", ready.Milliseconds(), time.Since(begin).Milliseconds(), t.shards, copies)
	}
	return err
}

// down ends what runs.
func (t *trio) down() error {
	var err error
	if t.conn != nil {
		err = t.conn.Close()
	}
	for i := range t.procs {
		if t.conns[i] != nil {
			err = errors.Join(err, t.conns[i].Close())
		}
		if t.procs[i] != nil {
			err = errors.Join(err, t.procs[i].Stop())
		}
	}
	return err
}

// until asks again and again. It keeps the last error that an answer had.
func (t *trio) until(ctx context.Context, what string, done func(context.Context) (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		ok, err := done(ctx)
		if ok {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not within %v: %s: %w", patience, what, errors.Join(err, ctx.Err()))
		case <-tick.C:
		}
	}
}

// status is the cluster as a peer sees it.
func (t *trio) status(ctx context.Context, i int) (*clusterv1.ClusterStatus, error) {
	r, err := clusterv1.NewClusterClient(t.conns[i]).ClusterStatus(ctx, &clusterv1.ClusterStatusRequest{})
	return r.GetResult(), err
}

// count tells how many replicas each peer holds.
func (t *trio) count(ctx context.Context) (map[uint64]int, error) {
	out := map[uint64]int{}
	for _, name := range []string{words, again} {
		r, err := qdrant.NewCollectionsClient(t.conns[0]).CollectionClusterInfo(ctx, &qdrant.CollectionClusterInfoRequest{CollectionName: name})
		if err != nil {
			return nil, err
		}
		out[r.GetPeerId()] += len(r.GetLocalShards())
		for _, s := range r.GetRemoteShards() {
			out[s.GetPeerId()]++
		}
	}
	return out, nil
}

// turn kills one peer under load and brings it back.
func (t *trio) turn(ctx context.Context, i int, storm *storm) error {
	others := []int{(i + 1) % size, (i + 2) % size}
	led := ""
	if st, err := t.status(ctx, i); err == nil && st.GetRaftInfo().GetLeader() == t.ids[i] {
		led = ", which leads the control plane"
	}
	storm.lap()
	begin := time.Now()
	if err := t.procs[i].Kill(); err != nil {
		return err
	}
	// Every other peer has to know it: then reads and writes are sent elsewhere.
	if err := t.until(ctx, "its replicas are Dead", t.inactive(others, i, t.holds[t.ids[i]])); err != nil {
		return err
	}
	dead := time.Since(begin)
	if err := t.pass(ctx, down); err != nil {
		return err
	}
	begin = time.Now()
	p, err := t.homes[i].Launch()
	if err != nil {
		return err
	}
	t.procs[i] = p
	if err := p.AwaitReady(ctx); err != nil {
		return err
	}
	if err := t.until(ctx, "its replicas are Active again", t.inactive(others, i, 0)); err != nil {
		return err
	}
	whole := time.Since(begin)
	if err := t.pass(ctx, calm); err != nil {
		return err
	}
	reads, writes := storm.lap()
	say("kill -9", "peer %d%s: its %d replicas Dead after %.2f s, Active again %.2f s after its start; longest pause of reads %.2f s, of writes %.2f s", i+1, led,
		t.holds[t.ids[i]], dead.Seconds(), whole.Seconds(), reads.Seconds(), writes.Seconds())
	return nil
}

// inactive tells whether these peers see so many replicas that are not Active, all of peer i.
func (t *trio) inactive(by []int, i, want int) func(context.Context) (bool, error) {
	return func(ctx context.Context) (bool, error) {
		for _, j := range by {
			st, err := t.status(ctx, j)
			if err != nil {
				return false, err
			}
			n := 0
			for _, r := range st.GetInactiveReplicas() {
				if r.GetPeerId() != t.ids[i] {
					return false, fmt.Errorf("peer %d sees a replica of peer %d that is %v: %s", t.ids[j], r.GetPeerId(), r.GetState(), r.GetReason())
				}
				n++
			}
			if n != want {
				return false, fmt.Errorf("peer %d sees %d replicas that are not Active, not %d", t.ids[j], n, want)
			}
		}
		return true, nil
	}
}

// pass lets time pass.
func (t *trio) pass(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
