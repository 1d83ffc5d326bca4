package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	placementv1 "github.com/pandodb/pando/gen/go/pando/placement/v1"
	"github.com/pandodb/pando/services/test/fleet"
	"github.com/pandodb/pando/services/test/lan"
)

// harm is something that befalls one peer for a while.
type harm struct {
	name string
	// begin hurts the peer, end helps it up again. It then runs, or the run is over.
	begin, end func(ctx context.Context, r *run, peer int) error
	// dies: all replicas of the peer that are not the last ones have to be marked Dead.
	dies bool
	// hold bounds how long it lasts, at least and at most, from when they are.
	hold [2]time.Duration
	// blinds: the peer may not know what the others do, and its replicas serve on for a while (R2).
	blinds bool
	// needs: a network of our own, or a small disk, which only the last peer has.
	needsNet, needsDisk bool
}

const ms = time.Millisecond

// harms are all that there are.
func harms() []harm {
	return []harm{
		{name: "kill -9", begin: kill, end: startAt(true), dies: true, hold: [2]time.Duration{0, 1500 * ms}},
		{name: "kill -9, other ports", begin: kill, end: startAt(false), dies: true, hold: [2]time.Duration{0, 1500 * ms}},
		{name: "kill -9, up at once", begin: kill, end: startAt(true), hold: [2]time.Duration{0, 200 * ms}},
		{name: "SIGTERM", begin: stop, end: startAt(false), dies: true, hold: [2]time.Duration{0, 1000 * ms}},
		{name: "stopped", begin: pause, end: resume, dies: true, hold: [2]time.Duration{0, 3000 * ms}, blinds: true},
		{name: "stopped briefly", begin: pause, end: resume, hold: [2]time.Duration{100 * ms, 1200 * ms}, blinds: true},
		{name: "replicas lost", begin: wipe("collections"), end: startAt(true), dies: true, hold: [2]time.Duration{0, 500 * ms}},
		{name: "blank disk", begin: wipe("."), end: replace, dies: true, hold: [2]time.Duration{0, 500 * ms}},
		{name: "disk full", begin: fill, end: empty, hold: [2]time.Duration{1000 * ms, 3000 * ms}, needsDisk: true},
		{name: "cut off", begin: links(all, lan.Link{Cut: true}), end: heal, dies: true, hold: [2]time.Duration{0, 2000 * ms}, blinds: true, needsNet: true},
		{name: "cut from peers", begin: links(peers, lan.Link{Cut: true}), end: heal, dies: true, hold: [2]time.Duration{0, 2000 * ms}, blinds: true, needsNet: true},
		{name: "cut briefly", begin: links(peers, lan.Link{Cut: true}), end: heal, hold: [2]time.Duration{100 * ms, 1500 * ms}, blinds: true, needsNet: true},
		{name: "mute", begin: links(out, lan.Link{Cut: true}), end: heal, hold: [2]time.Duration{500 * ms, 4000 * ms}, blinds: true, needsNet: true},
		{name: "deaf", begin: links(in, lan.Link{Cut: true}), end: heal, hold: [2]time.Duration{500 * ms, 4000 * ms}, blinds: true, needsNet: true},
		{name: "pair cut", begin: links(pair, lan.Link{Cut: true}), end: heal, hold: [2]time.Duration{500 * ms, 4000 * ms}, blinds: true, needsNet: true},
		{name: "pair cut one way", begin: links(pairOneWay, lan.Link{Cut: true}), end: heal, hold: [2]time.Duration{500 * ms, 4000 * ms}, blinds: true, needsNet: true},
		{name: "slow", begin: links(all, lan.Link{Delay: 40 * ms, Jitter: 40 * ms}), end: heal, hold: [2]time.Duration{1000 * ms, 4000 * ms}, blinds: true, needsNet: true},
		{name: "30 % lost", begin: links(all, lan.Link{Loss: 0.3, Jitter: 5 * ms}), end: heal, hold: [2]time.Duration{1000 * ms, 4000 * ms}, blinds: true, needsNet: true},
		{name: "10 % lost", begin: links(all, lan.Link{Loss: 0.1, Jitter: 5 * ms}), end: heal, hold: [2]time.Duration{1000 * ms, 4000 * ms}, blinds: true, needsNet: true},
	}
}

func kill(_ context.Context, r *run, peer int) error { return r.fleet.Peers()[peer].Kill() }

func stop(_ context.Context, r *run, peer int) error { return r.fleet.Peers()[peer].Stop() }

func pause(_ context.Context, r *run, peer int) error { return r.fleet.Peers()[peer].Process().Pause() }

func resume(_ context.Context, r *run, peer int) error {
	return r.fleet.Peers()[peer].Process().Resume()
}

// startAt starts the peer at the ports that it had, or at others.
func startAt(same bool) func(context.Context, *run, int) error {
	return func(ctx context.Context, r *run, peer int) error {
		if !same {
			r.fleet.Peers()[peer].OtherPort()
		}
		return r.fleet.Start(ctx, peer)
	}
}

// wipe kills the peer and removes what is in a folder of its data.
func wipe(folder string) func(context.Context, *run, int) error {
	return func(_ context.Context, r *run, peer int) error {
		p := r.fleet.Peers()[peer]
		if err := p.Kill(); err != nil {
			return err
		}
		dir := filepath.Join(p.Dir, "storage", folder)
		left, err := os.ReadDir(dir) // the data folder itself may be where a disk is mounted
		for _, e := range left {
			err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
		}
		return err
	}
}

// replace does what an operator does whose machine is lost: takes the peer out, lets a blank one of the same name join,
// and orders the replicas that are missing.
func replace(ctx context.Context, r *run, peer int) error {
	id, helper := r.fleet.Peers()[peer].ID, (peer+1)%r.peers
	var out struct{ Result bool }
	at := r.fleet.Peers()[helper].Process().REST
	if _, err := call(ctx, http.MethodDelete, fmt.Sprintf("http://%s/cluster/peer/%d?force=true", at, id), http.Header{}, nil, &out); err != nil {
		return err
	}
	if err := r.fleet.Start(ctx, peer); err != nil {
		return err
	}
	for _, name := range []string{r.collection, registersOf(r.collection)} {
		for _, s := range r.fleet.Placement().Of(name) {
			if len(s.GetReplicas()) >= r.replicas {
				continue
			}
			if err := r.copyTo(ctx, name, s.GetShardId(), id, at); err != nil {
				return fmt.Errorf("shard %d of %s: %w", s.GetShardId(), name, err)
			}
		}
	}
	return nil
}

// patience is how long an order is repeated that waits for another transfer of its shard to end, or for a primary.
const patience = 20 * time.Second

// copyTo orders a replica of a shard, from its primary.
func (r *run) copyTo(ctx context.Context, collection string, shard, to uint64, at string) error {
	var out struct{ Result bool }
	for begun := time.Now(); ; {
		var from uint64
		for _, s := range r.fleet.Placement().Of(collection) {
			if s.GetShardId() == shard {
				from = s.GetPrimary()
			}
		}
		order := map[string]any{"replicate_shard": map[string]any{"shard_id": shard, "from_peer_id": from, "to_peer_id": to}}
		_, err := call(ctx, http.MethodPost, fmt.Sprintf("http://%s/collections/%s/cluster?timeout=20", at, collection), http.Header{}, order, &out)
		busy := err != nil && (from == 0 || strings.Contains(err.Error(), "already involved"))
		if !busy || time.Since(begun) > patience {
			return err
		}
		if err := fleet.Pass(ctx, 100*ms); err != nil {
			return err
		}
	}
}

// diskBytes is the size of the small disk, ballast the name of what fills it.
const (
	diskBytes = 1 << 30
	ballast   = "ballast"
)

// fill takes all room on the disk of a peer, and has so much written that logs need more: of a shard that it is the
// primary of, and of one that it follows.
func fill(ctx context.Context, r *run, peer int) error {
	p := r.fleet.Peers()[peer]
	if err := ballastOf(p); err != nil {
		return err
	}
	var group sync.WaitGroup
	led, followed := false, false
	for _, s := range r.fleet.Placement().Of(r.collection) {
		role := &followed // one shard of each kind will do
		if s.GetPrimary() == p.ID {
			role = &led
		}
		if *role || !fleet.IsActive(s, p.ID) {
			continue
		}
		*role = true
		active := func() bool {
			return slices.ContainsFunc(r.fleet.Placement().Of(r.collection), func(now *placementv1.Shard) bool {
				return now.GetShardId() == s.GetShardId() && fleet.IsActive(now, p.ID)
			})
		}
		group.Go(func() { r.load.fill(ctx, (peer+1)%r.peers, s.GetShardId(), r.shards, active) })
	}
	group.Wait()
	replicas, primaries := r.fleet.Placement().Active(r.collection, p.ID)
	r.note("the disk of peer %d is full: %d replicas are Active there, %d are primaries", p.ID, replicas, primaries)
	return nil
}

// ballastOf writes until there is no room left.
func ballastOf(p *fleet.Peer) error {
	f, err := os.Create(filepath.Join(p.Dir, "storage", ballast))
	if err != nil {
		return err
	}
	_, err = io.Copy(f, io.LimitReader(zeros{}, 2*diskBytes))
	if !errors.Is(err, syscall.ENOSPC) {
		err = fmt.Errorf("the disk does not get full: %w", err)
	} else {
		err = nil
	}
	return errors.Join(err, f.Close())
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// empty makes room. A process that has ended for want of it is started again, as its supervisor would.
func empty(ctx context.Context, r *run, peer int) error {
	p := r.fleet.Peers()[peer]
	if err := os.Remove(filepath.Join(p.Dir, "storage", ballast)); err != nil {
		return err
	}
	if err := fleet.Pass(ctx, 500*ms); err != nil { // it may be about to end
		return err
	}
	if !p.Process().Ended() {
		return nil
	}
	r.note("peer %d has ended on its full disk", p.ID)
	if err := p.Kill(); err != nil {
		return err
	}
	return r.fleet.Start(ctx, peer)
}

// way is a link from one host to another; host 0 are the clients, and peer i is host i+1.
type way struct{ from, to int }

// Which links of a peer are meant.
func all(r *run, peer int) []way { return append(peers(r, peer), way{0, peer + 1}, way{peer + 1, 0}) }

func peers(r *run, peer int) []way { return append(in(r, peer), out(r, peer)...) }

func in(r *run, peer int) (w []way) {
	for i := range r.fleet.Peers() {
		w = append(w, way{i + 1, peer + 1})
	}
	return w
}

func out(r *run, peer int) (w []way) {
	for i := range r.fleet.Peers() {
		w = append(w, way{peer + 1, i + 1})
	}
	return w
}

func pair(r *run, peer int) []way {
	one := pairOneWay(r, peer)[0]
	return []way{one, {one.to, one.from}}
}

func pairOneWay(r *run, peer int) []way {
	n := len(r.fleet.Peers())
	return []way{{peer + 1, (peer+1+r.rng.IntN(n-1))%n + 1}}
}

// links changes links of the peer.
func links(which func(*run, int) []way, to lan.Link) func(context.Context, *run, int) error {
	return func(_ context.Context, r *run, peer int) error {
		for _, w := range which(r, peer) {
			r.net.Set(w.from, w.to, to)
		}
		return nil
	}
}

func heal(_ context.Context, r *run, _ int) error {
	r.net.Heal()
	return nil
}

// deck deals faults so that each comes as often as the others.
type deck struct {
	all  []harm
	left []harm
	rng  *rand.Rand
}

func (d *deck) draw() harm {
	if len(d.left) == 0 {
		d.left = append(d.left, d.all...)
		d.rng.Shuffle(len(d.left), func(i, j int) { d.left[i], d.left[j] = d.left[j], d.left[i] })
	}
	f := d.left[0]
	d.left = d.left[1:]
	return f
}
