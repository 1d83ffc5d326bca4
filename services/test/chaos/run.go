package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pandodb/pando/services/test/fleet"
	"github.com/pandodb/pando/services/test/lan"
)

// options of a run.
type options struct {
	binary   string
	dir      string
	duration time.Duration // of faults; what is under way then is finished
	seed     uint64
	peers    int
	only     string // faults whose names match; "" = all
	factor   int    // 0 = 2 and 3 by turns
	lan      bool   // a network and disks of our own; otherwise loopback
	keep     bool   // the folders of a run that was good, too
}

// Limits of what the cluster is given; what is slower is a failure.
const (
	startLimit = 60 * time.Second
	deadLimit  = 10 * time.Second
	wholeLimit = 60 * time.Second
	pauseLimit = 15 * time.Second
)

// run is a cluster, what happens to it, and what came of that.
type run struct {
	options
	rng   *rand.Rand
	fleet *fleet.Fleet
	net   *lan.Net // nil on loopback
	began time.Time

	// The collection of the round.
	collection       string
	shards, replicas int
	load             *load

	hurt    []atomic.Bool
	healed  []atomic.Int64             // when that was over last, in Unix nanoseconds
	current atomic.Pointer[occurrence] // the fault that is going on

	mu     sync.Mutex
	blind  [][2]time.Time // when some peer could not know what the others did
	report report
}

func newRun(o options) (*run, error) {
	r := &run{options: o, rng: rand.New(rand.NewPCG(o.seed, 1)), hurt: make([]atomic.Bool, o.peers), healed: make([]atomic.Int64, o.peers), began: time.Now(), report: newReport()}
	r.current.Store(&occurrence{})
	f := fleet.Options{Binary: o.binary, Dir: o.dir, Peers: o.peers}
	if o.lan {
		var err error
		if r.net, err = lan.New(o.peers); err != nil {
			return nil, err
		}
		f.Host = func(i int) string { return lan.Addr(i + 1).String() }
		f.Begin = func(i int, cmd *exec.Cmd) error { return r.net.Begin(i+1, cmd) }
	}
	var err error
	if r.fleet, err = fleet.New(f); err == nil && o.lan {
		err = lan.Disk(filepath.Join(r.fleet.Peers()[o.peers-1].Dir, "storage"), diskBytes)
	}
	return r, err
}

// do runs the cluster, hurts it, and looks at what is left. The report is of use also when it fails.
func (r *run) do(ctx context.Context) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	var watch sync.WaitGroup
	defer func() {
		cancel()
		watch.Wait()
		err = errors.Join(err, r.fleet.End())
		if r.net != nil {
			err = errors.Join(err, r.net.Close())
		}
		http.DefaultClient.CloseIdleConnections()
	}()
	starting, done := context.WithTimeout(ctx, startLimit)
	defer done()
	if err := r.fleet.Begin(starting); err != nil {
		return fmt.Errorf("the cluster does not start: %w", err)
	}
	r.note("%d peers are ready", r.peers)
	watch.Go(func() { r.fleet.Watch(ctx) })
	usable := slices.DeleteFunc(harms(), func(f harm) bool {
		return (f.needsNet || f.needsDisk) && r.net == nil || !matches(r.only, f.name)
	})
	if len(usable) == 0 {
		return fmt.Errorf("no fault is called %q", r.only)
	}
	cards := &deck{all: usable, rng: r.rng}
	over := time.Now().Add(r.duration)
	for n, turn := 0, r.rng.IntN(2); n == 0 || time.Now().Before(over); n++ {
		factor := r.factor
		if factor == 0 {
			factor = 2 + (turn+n)%2
		}
		if err := r.round(ctx, cards, fmt.Sprintf("round-%d", n), min(factor, r.peers), over); err != nil {
			return fmt.Errorf("round %d: %w", n, err)
		}
	}
	return r.end()
}

// end stops all peers, which should take it well.
func (r *run) end() error {
	failed := make([]error, r.peers)
	var group sync.WaitGroup
	for i, p := range r.fleet.Peers() {
		group.Go(func() {
			if err := p.Stop(); err != nil {
				failed[i] = fmt.Errorf("peer %d does not stop well: %w\n%s", p.ID, err, p.Tail(5))
			}
			// No fault here damages bytes, and a replica that is copied anew hides that they were.
			text, err := os.ReadFile(filepath.Join(p.Dir, "log"))
			if failed[i] = errors.Join(failed[i], err); bytes.Contains(text, []byte("data is damaged")) {
				failed[i] = errors.Join(failed[i], fmt.Errorf("peer %d: its log tells of damaged data", p.ID))
			}
		})
	}
	group.Wait()
	return errors.Join(failed...)
}

// A collection is looked at after so many faults, then there is another one.
const roundFaults = 6

// round makes a collection, loads it while one fault after another happens, and audits it.
func (r *run) round(ctx context.Context, cards *deck, collection string, factor int, over time.Time) error {
	r.collection, r.shards, r.replicas = collection, 4+r.rng.IntN(3), factor
	if err := r.create(ctx); err != nil {
		return err
	}
	r.note("%s: %d shards, replication factor %d", collection, r.shards, factor)
	l := newLoad(r.fleet, collection)
	l.hurt = func(i int, since time.Time) bool { return r.hurt[i].Load() || r.healed[i].Load() > since.UnixNano() }
	l.current = func() occurrence { return *r.current.Load() }
	l.note = r.note
	r.load = l
	working, stop := context.WithCancel(ctx)
	var clients sync.WaitGroup
	clients.Go(func() { l.run(working, r.rng) })
	g := newRegisters(l)
	clients.Go(func() { g.run(working, r.seed) })
	err := r.hurtAll(ctx, cards, over)
	stop()
	clients.Wait()
	r.report.add(l)
	if err != nil {
		return err
	}
	r.report.linear.add(decide(g.ops))
	a, err := r.auditAll(ctx, l)
	r.report.audit(a)
	if err != nil {
		return err
	}
	return r.drop(ctx)
}

func (r *run) drop(ctx context.Context) error {
	var out struct{ Result bool }
	ctx, cancel := context.WithTimeout(ctx, wholeLimit)
	defer cancel()
	for _, name := range []string{r.collection, registersOf(r.collection)} {
		if _, err := call(ctx, http.MethodDelete, fmt.Sprintf("http://%s/collections/%s?timeout=30", r.fleet.Peers()[0].Process().REST, name), http.Header{}, nil, &out); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) create(ctx context.Context) error {
	var out struct{ Result bool }
	ctx, cancel := context.WithTimeout(ctx, wholeLimit)
	defer cancel()
	through := r.fleet.Peers()[r.rng.IntN(r.peers)].Process().REST
	for name, shards := range map[string]int{r.collection: r.shards, registersOf(r.collection): registerShards} {
		_, err := call(ctx, http.MethodPut, fmt.Sprintf("http://%s/collections/%s?timeout=30", through, name), http.Header{},
			map[string]any{"vectors": map[string]any{"size": dim, "distance": "Dot"}, "shard_number": shards, "replication_factor": r.replicas,
				// So small that seals, merges and graphs happen while it is hurt.
				"optimizers_config": map[string]any{"indexing_threshold": 1, "vacuum_min_vector_number": 100, "default_segment_number": 2}}, &out)
		if err != nil {
			return fmt.Errorf("create: %w", err)
		}
	}
	if err := r.fleet.Await(ctx, r.isWhole); err != nil {
		return fmt.Errorf("a new collection is not whole: %w: %s", err, r.why())
	}
	return nil
}

// hurtAll draws faults until the round is over, and leaves the cluster whole.
func (r *run) hurtAll(ctx context.Context, cards *deck, over time.Time) error {
	for n := 0; n < roundFaults && (n == 0 || time.Now().Before(over)); n++ {
		if err := fleet.Pass(ctx, rand.N(500*ms)); err != nil {
			return err
		}
		f, peer := cards.draw(), r.victim(ctx)
		if f.needsDisk {
			peer = r.peers - 1
		}
		ended, err := r.befall(ctx, f, peer)
		if err != nil {
			return err
		}
		// With three copies another peer may be hurt before the first one has caught up.
		if another := cards.draw(); r.replicas > 2 && !another.needsDisk && r.rng.IntN(3) == 0 {
			next := (peer + 1 + r.rng.IntN(r.peers-1)) % r.peers
			if err := r.voting(ctx); err != nil {
				return err
			}
			if ended, err = r.befall(ctx, another, next); err != nil {
				return err
			}
			f.name = "one before another is whole"
			r.report.befell(f.name)
		}
		if err := r.heals(ctx, f, ended); err != nil {
			return err
		}
	}
	return nil
}

// voting waits until all peers have a vote again: a blank one begins without, and two voters cannot lose one.
func (r *run) voting(ctx context.Context) error {
	limited, done := context.WithTimeout(ctx, wholeLimit)
	defer done()
	if err := r.fleet.AwaitVoters(limited); err != nil {
		return fmt.Errorf("not all peers vote again within %v: %w", wholeLimit, err)
	}
	return nil
}

func (r *run) isWhole(p fleet.Placement) bool {
	return p.Whole(r.collection, r.shards, r.replicas) && p.Whole(registersOf(r.collection), registerShards, r.replicas)
}

// victim is any peer, more often than others the one that leads the control plane.
func (r *run) victim(ctx context.Context) int {
	if r.rng.IntN(3) == 0 {
		if i := r.fleet.Leader(ctx); i >= 0 {
			return i
		}
	}
	return r.rng.IntN(r.peers)
}

// befall has a fault happen to a peer, from begin to end, and tells when it was over.
func (r *run) befall(ctx context.Context, f harm, peer int) (ended time.Time, err error) {
	id := r.fleet.Peers()[peer].ID
	replicas, primaries := r.fleet.Placement().Active(r.collection, id)
	role := ""
	if r.fleet.Leader(ctx) == peer {
		role = ", leader of the control plane"
	}
	r.note("%s: peer %d (%d replicas, %d primaries%s)", f.name, id, replicas, primaries, role)
	r.hurt[peer].Store(true)
	at := r.report.befell(f.name)
	r.current.Store(&at)
	began := time.Now()
	if err := f.begin(ctx, r, peer); err != nil {
		return began, fmt.Errorf("%s: %w", f.name, err)
	}
	if f.dies {
		what := fmt.Sprintf("all replicas of peer %d are marked Dead", id)
		if err := r.fleet.AwaitWithin(ctx, deadLimit, what, func(p fleet.Placement) bool { return gone(p, r.collection, id) }, r.collection); err != nil {
			return began, fmt.Errorf("%s: %w", f.name, err)
		}
		if replicas > 0 { // otherwise it has been Dead before
			r.report.dead(f.name, time.Since(began))
		}
	}
	if err := fleet.Pass(ctx, f.hold[0]+rand.N(f.hold[1]-f.hold[0])); err != nil {
		return began, err
	}
	ended = time.Now()
	err = f.end(ctx, r, peer)
	if f.blinds {
		r.mu.Lock()
		r.blind = append(r.blind, [2]time.Time{began, time.Now()})
		r.mu.Unlock()
	}
	if err != nil {
		return ended, fmt.Errorf("%s is over: %w", f.name, err)
	}
	r.healed[peer].Store(time.Now().UnixNano())
	r.hurt[peer].Store(false)
	return ended, r.running()
}

// gone tells that no replica of a peer is Active but the last ones of their shards, and that it leads no others.
func gone(p fleet.Placement, collection string, id uint64) bool {
	for _, s := range p.Of(collection) {
		if fleet.IsActive(s, id) && fleet.CountActive(s) > 1 {
			return false
		}
	}
	return true
}

// running tells of peers that have ended without having been asked to.
func (r *run) running() error {
	for _, p := range r.fleet.Peers() {
		if now := p.Process(); now != nil && now.Ended() {
			return fmt.Errorf("peer %d has ended by itself:\n%s", p.ID, p.Tail(30))
		}
	}
	return nil
}

// heals waits until every replica is Active again.
func (r *run) heals(ctx context.Context, f harm, ended time.Time) error {
	limited, done := context.WithTimeout(ctx, wholeLimit)
	defer done()
	if err := r.awaitWhole(limited); err != nil {
		return errors.Join(fmt.Errorf("%s: the collection is not whole %v after that: %s", f.name, wholeLimit, r.why()), r.running())
	}
	r.report.whole(f.name, time.Since(ended))
	r.note("whole after %v", time.Since(ended).Round(ms))
	if err := r.settles(limited, f); err != nil {
		return err
	}
	r.current.Store(&occurrence{})
	return r.running()
}

// aftermath is how long something that was short may take to be noticed.
const aftermath = 2500 * ms

// settles waits until one more loss is not one too many: what was not noticed yet has been, and all peers vote.
func (r *run) settles(ctx context.Context, f harm) error {
	if !f.dies {
		if err := fleet.Pass(ctx, aftermath); err != nil {
			return err
		}
	}
	err := r.awaitWhole(ctx)
	if err != nil {
		err = fmt.Errorf("the collection is not whole: %s", r.why())
	} else if err = r.fleet.AwaitVoters(ctx); err != nil {
		err = fmt.Errorf("not all peers vote in the control plane: %w", err)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("%s: %v after that %w", f.name, wholeLimit, err), r.running())
	}
	return nil
}

// awaitWhole waits until all replicas are Active on record, and serve.
func (r *run) awaitWhole(ctx context.Context) error {
	tick := time.NewTicker(20 * ms)
	defer tick.Stop()
	for {
		if err := r.fleet.Await(ctx, r.isWhole); err != nil {
			return err
		}
		serve := true
		for _, s := range r.fleet.Placement().Of(r.collection) {
			_, digests, err := r.digests(ctx, s)
			serve = serve && err == nil && !slices.Contains(digests, "")
		}
		if serve && r.isWhole(r.fleet.Placement()) {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// why is what the peers say of the replicas that are not Active.
func (r *run) why() string {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	var out strings.Builder
	for _, p := range r.fleet.Peers() {
		var view struct {
			Result struct {
				Inactive []struct {
					Shard  int    `json:"shard_id"`
					Peer   uint64 `json:"peer_id"`
					State  string
					Reason string
					Since  string
					Next   string
				} `json:"inactive_replicas"`
			}
		}
		now := p.Process()
		if now == nil {
			fmt.Fprintf(&out, "\n    peer %d does not run", p.ID)
			continue
		}
		if _, err := call(ctx, http.MethodGet, "http://"+now.REST+"/cluster", http.Header{}, nil, &view); err != nil {
			fmt.Fprintf(&out, "\n    peer %d: %v", p.ID, err)
		}
		for _, i := range view.Result.Inactive {
			fmt.Fprintf(&out, "\n    peer %d: shard %d at peer %d is %s since %s: %s; next: %s", p.ID, i.Shard, i.Peer, i.State, i.Since, i.Reason, i.Next)
		}
	}
	return out.String()
}

// excused tells whether a read between two moments may have been answered by a replica that could not know better.
func (r *run) excused(start, end time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.ContainsFunc(r.blind, func(b [2]time.Time) bool {
		return end.After(b[0]) && start.Before(b[1].Add(unheard))
	})
}

// note prints a line of what happens.
func (r *run) note(format string, args ...any) {
	fmt.Printf("%7.2f s  %s\n", time.Since(r.began).Seconds(), fmt.Sprintf(format, args...))
}
