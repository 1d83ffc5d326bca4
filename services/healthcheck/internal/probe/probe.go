// Package probe asks peers how they are. A probe is deep: it reads through each
// shard's own loop and asks for the state of the disk, so that a peer that
// answers pings and does no work is noticed. It judges nothing.
package probe

import (
	"context"
	"slices"
	"sync"
	"time"

	shardv1 "github.com/pandodb/pando/gen/go/pando/shard/v1"
	"github.com/pandodb/pando/services/internal/topology"
)

// Outcome is what one probe of one peer gave.
type Outcome struct {
	Peer topology.PeerID
	// At is the observer's monotonic time of the answer, or of giving up.
	At time.Duration
	// Err says why there is no answer.
	Err    error
	Answer *shardv1.ProbeResponse
}

// Prober asks each peer at an own pace, so that one that hangs delays neither
// the others nor what is concluded of them.
type Prober struct {
	// Dial finds a peer.
	Dial func(topology.PeerID) (shardv1.ProbeClient, error)
	// Interval between the beginnings of two probes of a peer; Timeout of one. A
	// probe that takes longer than an interval is followed by the next at once.
	Interval, Timeout time.Duration
	// Now is the observer's monotonic clock.
	Now func() time.Duration
}

// Run probes the peers that were named last until ctx ends, and waits for what
// is under way then.
func (p *Prober) Run(ctx context.Context, subjects <-chan []topology.PeerID, out chan<- Outcome) {
	watched := map[topology.PeerID]context.CancelFunc{}
	var all sync.WaitGroup
	defer all.Wait()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-subjects:
			for id, stop := range watched {
				if !slices.Contains(now, id) {
					stop()
					delete(watched, id)
				}
			}
			for _, id := range now {
				if watched[id] == nil {
					own, stop := context.WithCancel(ctx)
					watched[id] = stop
					all.Go(func() { p.watch(own, id, out) })
				}
			}
		}
	}
}

// watch probes one peer until ctx ends.
func (p *Prober) watch(ctx context.Context, id topology.PeerID, out chan<- Outcome) {
	tick := time.NewTicker(p.Interval)
	defer tick.Stop()
	for {
		o := p.one(ctx, id)
		if ctx.Err() != nil {
			return
		}
		select {
		case out <- o:
		case <-ctx.Done():
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (p *Prober) one(ctx context.Context, id topology.PeerID) Outcome {
	o := Outcome{Peer: id}
	ctx, cancel := context.WithTimeout(ctx, p.Timeout)
	defer cancel()
	c, err := p.Dial(id)
	if err == nil {
		o.Answer, err = c.Probe(ctx, &shardv1.ProbeRequest{Disk: true}) // the peer tries it once a second, for all who ask
	}
	o.Err, o.At = err, p.Now()
	return o
}
