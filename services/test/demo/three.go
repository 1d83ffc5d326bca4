package main

import (
	"context"
	"errors"
	"time"

	"github.com/pandodb/pando/services/test/child"
	"github.com/pandodb/pando/services/test/fleet"
)

const (
	// size is how many peers there are, copies how many replicas each shard has on them.
	size, copies = 3, 2
	// away is how long a peer stays away after it was found to be Dead, calm how long the load goes on when all is well.
	away, calm = 2 * time.Second, time.Second
	// patience bounds the wait for the cluster to come to something.
	patience = time.Minute
)

// trio is a cluster on this machine.
type trio struct {
	*show
	fleet *fleet.Fleet
}

// together shows three peers.
func together(ctx context.Context, h child.Home, s *show) (err error) {
	s.shards, s.factor = 2*size, copies
	t := &trio{show: s}
	if t.fleet, err = fleet.New(fleet.Options{Binary: h.Binary, Dir: h.Dir, Peers: size, Apart: true}); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.end()) }()
	begin := time.Now()
	if err := t.fleet.Begin(ctx); err != nil {
		return err
	}
	say("three", "peers, all of them voters of the control plane, after %d ms; %d shards, %d replicas of each", time.Since(begin).Milliseconds(), t.shards, copies)
	watching, stop := context.WithCancel(ctx)
	watched := make(chan struct{})
	go func() { t.fleet.Watch(watching); close(watched) }()
	defer func() { stop(); <-watched }()
	if t.conn, err = t.client(true); err != nil {
		return err
	}
	return t.play(ctx)
}

func (t *trio) play(ctx context.Context) error {
	if err := t.first(ctx); err != nil {
		return err
	}
	if err := t.create(ctx, again); err != nil {
		return err
	}
	if err := t.ask(ctx); err != nil {
		return err
	}
	if err := t.await(ctx, "all replicas are Active", t.whole); err != nil {
		return err
	}
	storm, err := t.storm(ctx)
	if err != nil {
		return err
	}
	for i := range size {
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

// end stops what runs, in order.
func (t *trio) end() error {
	var err error
	if t.conn != nil {
		err = t.conn.Close()
	}
	return errors.Join(err, t.fleet.Stop())
}

func (t *trio) whole(p fleet.Placement) bool {
	return p.Whole(words, int(t.shards), copies) && p.Whole(again, int(t.shards), copies)
}

// await waits until the placement is so.
func (t *trio) await(ctx context.Context, what string, is func(fleet.Placement) bool) error {
	return t.fleet.AwaitWithin(ctx, patience, what, is, words, again)
}

// turn kills one peer under load and brings it back.
func (t *trio) turn(ctx context.Context, i int, storm *storm) error {
	peer, led, now := t.fleet.Peers()[i], "", t.fleet.Placement()
	if t.fleet.Leader(ctx) == i {
		led = ", where the control plane's leader is"
	}
	held, lead := now.Active(words, peer.ID)
	more, leads := now.Active(again, peer.ID)
	storm.lap()
	begin := time.Now()
	if err := peer.Kill(); err != nil {
		return err
	}
	if err := t.await(ctx, "none of its replicas is Active, each shard has a primary elsewhere", func(p fleet.Placement) bool {
		a, b := p.Active(words, peer.ID)
		c, d := p.Active(again, peer.ID)
		return a+b+c+d == 0
	}); err != nil {
		return err
	}
	dead := time.Since(begin)
	if err := fleet.Pass(ctx, away); err != nil {
		return err
	}
	begin = time.Now()
	if err := t.fleet.Start(ctx, i); err != nil {
		return err
	}
	if err := t.await(ctx, "all replicas are Active again", t.whole); err != nil {
		return err
	}
	whole := time.Since(begin)
	if err := fleet.Pass(ctx, calm); err != nil {
		return err
	}
	reads, writes := storm.lap()
	say("kill -9", "peer %d%s: its %d replicas, %d of them primaries, Dead after %.2f s; Active again %.2f s after its start; longest pause of reads %.2f s, of writes %.2f s",
		peer.ID, led, held+more, lead+leads, dead.Seconds(), whole.Seconds(), reads.Seconds(), writes.Seconds())
	return nil
}
