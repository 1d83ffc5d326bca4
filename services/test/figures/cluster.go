package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/test/child"
	"github.com/pandodb/pando/services/test/fleet"
	"google.golang.org/grpc"
)

const (
	// shards of each collection on a cluster.
	shards = 6
	// patience bounds each wait for a cluster to come to something.
	patience = time.Minute
)

// cluster is a number of peers on this machine, all of which run unless one is being killed.
type cluster struct {
	options
	words words
	fleet *fleet.Fleet
}

// on starts a cluster of so many peers, does something with it, and stops it in order.
func on(ctx context.Context, h child.Home, o options, w words, dir string, peers int, do func(*cluster) error) (err error) {
	f, err := fleet.New(fleet.Options{Binary: h.Binary, Dir: dir, Peers: peers, Apart: h.Apart})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Stop()) }()
	starting, done := context.WithTimeout(ctx, patience)
	defer done()
	if err := f.Begin(starting); err != nil {
		return fmt.Errorf("%d peers do not come together within %v: %w", peers, patience, err)
	}
	watching, quit := context.WithCancel(ctx)
	var watch sync.WaitGroup
	watch.Go(func() { f.Watch(watching) })
	defer watch.Wait()
	defer quit()
	return do(&cluster{options: o, words: w, fleet: f})
}

// conns are connections to all peers that run but one; -1: to all.
func (c *cluster) conns(without int) (out []*grpc.ClientConn) {
	for i := range c.fleet.Peers() {
		if to := c.fleet.Public(i); i != without && to != nil {
			out = append(out, to)
		}
	}
	return out
}

// create makes a collection and waits until all its replicas are Active.
func (c *cluster) create(ctx context.Context, name string, dim, factor int) error {
	if err := create(ctx, qdrant.NewCollectionsClient(c.fleet.Public(0)), name, dim, shards, uint32(factor)); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return c.await(ctx, name+" is whole", func(p fleet.Placement) bool { return p.Whole(name, shards, factor) })
}

func (c *cluster) drop(ctx context.Context, name string) error {
	_, err := qdrant.NewCollectionsClient(c.fleet.Public(0)).Delete(ctx, &qdrant.DeleteCollection{CollectionName: name})
	return err
}

// await waits until the placement is so.
func (c *cluster) await(ctx context.Context, what string, is func(fleet.Placement) bool) error {
	return c.fleet.AwaitWithin(ctx, patience, what, is, nameOf(2), nameOf(3))
}

// together measures clusters, of three peers more than of fewer.
func together(ctx context.Context, h child.Home, o options, top string) error {
	w, err := load(o.data)
	if err != nil {
		return err
	}
	say("cluster", "up to 3 peers on this machine share its %d cores with the clients; %d shards; %s: %d vectors of %d numbers", runtime.NumCPU(), shards,
		filepath.Base(o.data), len(w.base), len(w.base[0]))
	for peers := 1; peers <= 3; peers++ {
		begin := time.Now()
		if err := on(ctx, h, o, w, filepath.Join(top, fmt.Sprintf("peers-%d", peers)), peers, func(c *cluster) error {
			say("start", "cluster of %d, empty: all take part after %d ms", peers, time.Since(begin).Milliseconds())
			err := c.searches(ctx)
			if err == nil && peers == 3 {
				err = c.three(ctx)
			}
			return err
		}); err != nil {
			return err
		}
	}
	return kills(ctx, h, o, w, top)
}

// three measures what three peers cost while idle, and what each replica of a write costs.
func (c *cluster) three(ctx context.Context) error {
	if err := c.fill(ctx, 2); err != nil {
		return err
	}
	var pids []int
	for _, p := range c.fleet.Peers() {
		pids = append(pids, p.Process().PID())
	}
	if err := idle(ctx, fmt.Sprintf("cluster of 3 with collections %s, %s and %s", nameOf(1), nameOf(2), nameOf(3)), c.idle, pids...); err != nil {
		return err
	}
	for factor := 1; factor <= 3; factor++ {
		if err := c.upserts(ctx, factor); err != nil {
			return err
		}
	}
	return nil
}

// upserts measures acknowledged writes of single points through all peers. Every replica has synced one before its client
// hears of it.
func (c *cluster) upserts(ctx context.Context, factor int) error {
	for _, clients := range []int{8, 64} {
		name := fmt.Sprintf("writes_%d_%d", factor, clients)
		if err := c.create(ctx, name, dim, factor); err != nil {
			return err
		}
		if err := write(ctx, fmt.Sprintf("cluster of 3, factor %d, ", factor), c.conns(-1), name, c.each, clients, 1); err != nil {
			return err
		}
		if err := c.drop(ctx, name); err != nil {
			return err
		}
	}
	return nil
}
