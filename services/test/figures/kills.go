package main

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/pandodb/pando/services/test/child"
	"github.com/pandodb/pando/services/test/fleet"
	"github.com/pandodb/pando/services/test/percentile"
	"golang.org/x/sync/errgroup"
)

// role is what a peer does when it is killed.
type role string

const (
	leads    role = "control leader's peer"
	follows  role = "follower's peer"
	primary  role = "primary's peer"
	anything role = "any peer"
)

// before and after are how long the load goes on when all is well.
const before, after = time.Second, time.Second / 2

// death is what a kill led to.
type death struct {
	role
	led           time.Duration // from the kill until each shard had a primary elsewhere; 0: the peer was no primary
	dead          time.Duration // from the kill until all replicas of the peer were Dead and no shard had its primary there
	whole         time.Duration // from its start until all replicas were Active
	reads, writes seen
}

// every asks for each collection that is there while peers are killed.
func every(is func(name string, factor int) bool) bool { return is(nameOf(2), 2) && is(nameOf(3), 3) }

func whole(p fleet.Placement) bool {
	return every(func(name string, factor int) bool { return p.Whole(name, shards, factor) })
}

// kills kills peers of each role, in a new cluster each round: a peer that has died before within a minute has to answer longer
// than the first time until it is held to be back, and rounds should not tell of each other.
func kills(ctx context.Context, h child.Home, o options, w words, top string) error {
	var all []death
	for n := range o.kills {
		if err := on(ctx, h, o, w, filepath.Join(top, fmt.Sprintf("kills-%d", n+1)), 3, func(c *cluster) error {
			deaths, err := c.round(ctx)
			all = append(all, deaths...)
			return err
		}); err != nil {
			return fmt.Errorf("kills, round %d: %w", n+1, err)
		}
	}
	if len(all) > 0 {
		for _, r := range []role{follows, primary, leads, anything} {
			report(r, all)
		}
	}
	return nil
}

// round kills one peer of each role. One that comes back holds followers only, so that the role of a follower falls to the one
// that was killed as the leader before.
func (c *cluster) round(ctx context.Context) (all []death, err error) {
	for _, factor := range []int{2, 3} {
		if err := c.fill(ctx, factor); err != nil {
			return nil, err
		}
	}
	for _, r := range []role{leads, follows, primary} {
		peer, err := c.victim(ctx, r)
		if err != nil {
			return nil, err
		}
		d, err := c.die(ctx, peer, r)
		if err != nil {
			return nil, fmt.Errorf("the %s, %d: %w", r, c.fleet.Peers()[peer].ID, err)
		}
		all = append(all, d)
	}
	return all, nil
}

// victim is a peer of this role. If there is none, another one is killed first, which does not count.
func (c *cluster) victim(ctx context.Context, r role) (int, error) {
	for range 4 {
		leader := c.fleet.Leader(ctx)
		if leader < 0 { // nobody knows it yet
			if err := fleet.Pass(ctx, before); err != nil {
				return 0, err
			}
			continue
		}
		other := (leader + 1) % len(c.fleet.Peers())
		for i := range c.fleet.Peers() {
			if _, primaries := c.holds(i); roleOf(i == leader, primaries) == r {
				return i, nil
			}
		}
		if r == primary { // all primaries are with the leader
			other = leader
		}
		if _, err := c.die(ctx, other, "for the next one"); err != nil {
			return 0, err
		}
	}
	return 0, fmt.Errorf("no peer gets to be a %s", r)
}

func roleOf(leader bool, primaries int) role {
	switch {
	case leader:
		return leads
	case primaries == 0:
		return follows
	}
	return primary
}

// holds counts the Active replicas of a peer, and the shards that it is the primary of.
func (c *cluster) holds(peer int) (replicas, primaries int) {
	now := c.fleet.Placement()
	every(func(name string, _ int) bool {
		r, p := now.Active(name, c.fleet.Peers()[peer].ID)
		replicas, primaries = replicas+r, primaries+p
		return true
	})
	return replicas, primaries
}

// die kills a peer under light load through the others, and brings it back.
func (c *cluster) die(ctx context.Context, peer int, as role) (d death, err error) {
	d.role = as
	p := c.fleet.Peers()[peer]
	replicas, primaries := c.holds(peer)
	l := c.words.begin(ctx, c.conns(peer))
	defer func() {
		if d.reads, d.writes = l.end(); err == nil {
			say("kill -9", "%s, %d (%d replicas, %d primaries): primaries elsewhere after %s, Dead after %s, whole %s after its start; reads: %v; writes: %v",
				as, p.ID, replicas, primaries, span([]time.Duration{d.led}), span([]time.Duration{d.dead}), span([]time.Duration{d.whole}), d.reads, d.writes)
		}
	}()
	if err := fleet.Pass(ctx, before); err != nil {
		return d, err
	}
	if err := c.lose(ctx, p, &d); err != nil {
		return d, err
	}
	if primaries == 0 {
		d.led = 0
	}
	began := time.Now()
	if err := c.fleet.Start(ctx, peer); err != nil {
		return d, err
	}
	if err := c.await(ctx, "all replicas are Active again", whole); err != nil {
		return d, err
	}
	d.whole = time.Since(began)
	return d, fleet.Pass(ctx, after)
}

// lose kills a peer and waits until the others have it on record.
func (c *cluster) lose(ctx context.Context, p *fleet.Peer, d *death) error {
	g, gctx := errgroup.WithContext(ctx)
	began := time.Now()
	if err := p.Kill(); err != nil {
		return err
	}
	for _, w := range []struct {
		took *time.Duration
		what string
		is   func(fleet.Placement, string, uint64) bool
	}{{&d.led, "each shard has a primary elsewhere", fleet.Placement.Led}, {&d.dead, "all its replicas are Dead", fleet.Placement.Dead}} {
		g.Go(func() error {
			err := c.await(gctx, w.what, func(now fleet.Placement) bool {
				return every(func(name string, _ int) bool { return w.is(now, name, p.ID) })
			})
			*w.took = time.Since(began)
			return err
		})
	}
	return g.Wait()
}

// report sums up the kills in a role.
func report(r role, all []death) {
	var led, dead, whole []time.Duration
	var reads, writes seen
	for _, d := range all {
		if d.role != r && r != anything {
			continue
		}
		if d.led > 0 {
			led = append(led, d.led)
		}
		dead, whole = append(dead, d.dead), append(whole, d.whole)
		reads, writes = sum(reads, d.reads), sum(writes, d.writes)
	}
	say("kills", "%d of %s: to Dead %s; to primaries elsewhere %s; from its start to whole %s; reads: longest %v; writes: longest %v",
		len(dead), r, span(dead), span(led), span(whole), reads, writes)
}

// span is the middle and the end of some times; with less than a hundred, the 99th percentile is the greatest.
func span(all []time.Duration) string {
	s := slices.Sorted(slices.Values(all))
	last := percentile.Of(s, 100).Seconds()
	switch {
	case len(s) == 0 || last == 0:
		return "-"
	case len(s) == 1:
		return fmt.Sprintf("%.2f s", last)
	case len(s) < 100:
		return fmt.Sprintf("p50 %.2f s, p99 (max) %.2f s", percentile.Of(s, 50).Seconds(), last)
	}
	return fmt.Sprintf("p50 %.2f s, p99 %.2f s, max %.2f s", percentile.Of(s, 50).Seconds(), percentile.Of(s, 99).Seconds(), last)
}
