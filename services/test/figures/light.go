package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/test/failures"
	"github.com/pandodb/pando/services/test/fleet"
	"google.golang.org/grpc"
)

const (
	// pair is how many writers and how many readers each peer has that is not killed.
	pair = 2
	// rest is how long a client rests after a request, window how many points a writer writes before it writes them again.
	rest, window = 5 * time.Millisecond, 500
	// giveUp bounds a request.
	giveUp = 15 * time.Second
)

// seen is what clients met: requests that succeeded and that failed, and the longest time that one of them was without success.
type seen struct {
	done  int
	fails failures.Counts
	pause time.Duration
}

// client is one of them.
type client struct {
	seen
	last time.Time // success, or the begin
}

// note takes down how a request ended, and when.
func (c *client) note(at time.Time, err error) {
	c.pause = max(c.pause, at.Sub(c.last))
	if err == nil {
		c.done, c.last = c.done+1, at
		return
	}
	if c.fails == nil {
		c.fails = failures.Counts{}
	}
	c.fails.Note(err)
}

// sum joins what several met.
func sum(all ...seen) seen {
	out := seen{fails: failures.Counts{}}
	for _, s := range all {
		out.done, out.pause = out.done+s.done, max(out.pause, s.pause)
		out.fails.Add(s.fails)
	}
	return out
}

func (s seen) String() string {
	failed := s.fails.Sum()
	return fmt.Sprintf("pause %.2f s, %d failed of %d%s", s.pause.Seconds(), failed, s.done+failed, s.fails.Reasons())
}

// light is a light load: writers that wait for their points to be readable and readers that search, one request each.
type light struct {
	readers, writers []*client
	quit             context.CancelFunc
	group            sync.WaitGroup
}

// begin has clients work through these peers, on both collections of words by turns.
func (w words) begin(ctx context.Context, peers []*grpc.ClientConn) *light {
	l := &light{}
	ctx, l.quit = context.WithCancel(ctx)
	for i, cc := range peers {
		to := qdrant.NewPointsClient(cc)
		for k := range pair {
			nth := i*pair + k
			l.readers = append(l.readers, l.work(ctx, func(ctx context.Context, n int) error {
				return w.ask(ctx, to, nameOf(2+n%2), n+nth*7)
			}))
			first := 1_000_000_000 * (1 + nth) // ids apart from those of the words
			l.writers = append(l.writers, l.work(ctx, func(ctx context.Context, n int) error {
				wait, id := true, n/2%window
				_, err := to.Upsert(ctx, &qdrant.UpsertPoints{CollectionName: nameOf(2 + n%2), Wait: &wait,
					Points: []*qdrant.PointStruct{point(uint64(first+id), w.base[(n+nth)%len(w.base)])}})
				return err
			}))
		}
	}
	return l
}

// work has one client send its requests until ctx ends. The last one may end by itself.
func (l *light) work(ctx context.Context, one func(ctx context.Context, n int) error) *client {
	c := &client{last: time.Now()}
	l.group.Go(func() {
		for n := 0; fleet.Pass(ctx, rest) == nil; n++ {
			limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), giveUp)
			err := one(limited, n)
			cancel()
			c.note(time.Now(), err)
		}
	})
	return c
}

// end lets the clients end, and tells what they met.
func (l *light) end() (reads, writes seen) {
	l.quit()
	l.group.Wait()
	for _, c := range l.readers {
		reads = sum(reads, c.seen)
	}
	for _, c := range l.writers {
		writes = sum(writes, c.seen)
	}
	return reads, writes
}
