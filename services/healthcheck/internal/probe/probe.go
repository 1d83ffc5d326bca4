// Package probe asks peers how they are. A probe is deep: it reads through each
// shard's own loop and, at most once a second, rewrites a file with fsync, so
// that a peer that answers pings and does no work is noticed. It judges nothing.
package probe

import (
	"context"
	"time"

	shardv1 "github.com/pandodb/pando/gen/go/pando/shard/v1"
	"github.com/pandodb/pando/services/internal/topology"
	"golang.org/x/sync/errgroup"
)

// DiskEvery is the shortest time between two disk probes of a peer.
const DiskEvery = time.Second

// Outcome is what one probe of one peer gave.
type Outcome struct {
	Peer topology.PeerID
	// At is the observer's monotonic time of the answer, or of giving up.
	At time.Duration
	// Err says why there is no answer.
	Err    error
	Answer *shardv1.ProbeResponse
}

// Prober asks through connections that it is given.
type Prober struct {
	// Dial finds a peer.
	Dial func(topology.PeerID) (shardv1.ProbeClient, error)
	// Timeout of one probe.
	Timeout time.Duration
	// Now is the observer's monotonic clock.
	Now func() time.Duration

	disk map[topology.PeerID]time.Duration
}

// Round probes all subjects at once and returns when each has answered or its
// time is over. Rounds must not overlap.
func (p *Prober) Round(ctx context.Context, subjects []topology.PeerID) []Outcome {
	if p.disk == nil {
		p.disk = map[topology.PeerID]time.Duration{}
	}
	out := make([]Outcome, len(subjects))
	var g errgroup.Group
	for i, s := range subjects {
		now := p.Now()
		last, seen := p.disk[s]
		disk := !seen || now-last >= DiskEvery
		if disk {
			p.disk[s] = now
		}
		g.Go(func() error {
			out[i] = p.one(ctx, s, disk)
			return nil
		})
	}
	_ = g.Wait() // each outcome carries its own error
	return out
}

func (p *Prober) one(ctx context.Context, s topology.PeerID, disk bool) Outcome {
	o := Outcome{Peer: s}
	ctx, cancel := context.WithTimeout(ctx, p.Timeout)
	defer cancel()
	c, err := p.Dial(s)
	if err == nil {
		o.Answer, err = c.Probe(ctx, &shardv1.ProbeRequest{Disk: disk})
	}
	o.Err, o.At = err, p.Now()
	return o
}
