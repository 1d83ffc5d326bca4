package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/test/failures"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"
)

const (
	// window is how many points a writer has; when all are there it writes them again.
	window = 2000
	// breath is the pause of a client between two requests: the machine has other things to do as well.
	breath = 2 * time.Millisecond
	// timeout of one request.
	timeout = 15 * time.Second
)

// client is one connection over all peers, in turn, as gRPC offers it to any client that is given several addresses. One
// that tries again does so where no peer has answered (UNAVAILABLE), up to four times within about a second and a half.
func (t *trio) client(retries bool) (*grpc.ClientConn, error) {
	r := manual.NewBuilderWithScheme("peers")
	var state resolver.State
	for _, p := range t.fleet.Peers() {
		state.Addresses = append(state.Addresses, resolver.Address{Addr: p.Process().GRPC})
	}
	r.InitialState(state)
	config := `{"loadBalancingConfig": [{"round_robin": {}}]}`
	if retries {
		config = `{"loadBalancingConfig": [{"round_robin": {}}], "methodConfig": [{"name": [{}], "retryPolicy":
			{"maxAttempts": 5, "initialBackoff": "0.1s", "maxBackoff": "1s", "backoffMultiplier": 2, "retryableStatusCodes": ["UNAVAILABLE"]}}]}`
	}
	return grpc.NewClient("peers:///", grpc.WithResolvers(r), grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultServiceConfig(config),
		grpc.WithConnectParams(grpc.ConnectParams{MinConnectTimeout: time.Second,
			Backoff: backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second}}))
}

// storm is the load under which peers are killed: readers that ask for what is known exactly, and writers, half of each
// with a client that tries again.
type storm struct {
	ledgers []*ledger
	kinds   []*kind
	conns   []*grpc.ClientConn
	end     context.CancelFunc
	group   *errgroup.Group
}

// kind counts what clients of one kind have done.
type kind struct {
	what    string
	retries bool
	mu      sync.Mutex
	done    int
	wrong   int // answers that are not the exact ones
	fails   failures.Counts
	lap     time.Duration // longest pause since the last lap
	pause   time.Duration // longest pause
	first   error         // of the failures
}

func (t *trio) storm(ctx context.Context) (*storm, error) {
	s := &storm{}
	ctx, s.end = context.WithCancel(ctx)
	s.group = &errgroup.Group{}
	for _, retries := range []bool{true, false} {
		conn, err := t.client(retries)
		if err != nil {
			return nil, errors.Join(err, s.stop())
		}
		s.conns = append(s.conns, conn)
		to := qdrant.NewPointsClient(conn)
		reads, writes := &kind{what: "reads", retries: retries, fails: failures.Counts{}}, &kind{what: "writes", retries: retries, fails: failures.Counts{}}
		s.kinds = append(s.kinds, reads, writes)
		for r := range max(1, t.clients/2) {
			s.group.Go(func() error {
				return reads.run(ctx, func(ctx context.Context, n int) (bool, error) { return t.query(ctx, to, n+r*17) })
			})
		}
		for range max(1, t.writers/2) {
			l := &ledger{first: uint64(len(s.ledgers)+1) * 1e9} // apart from the rows of the base
			s.ledgers = append(s.ledgers, l)
			s.group.Go(func() error {
				return writes.run(ctx, func(ctx context.Context, n int) (bool, error) { return true, t.rewrite(ctx, to, l, n) })
			})
		}
	}
	return s, nil
}

// query asks the n-th question; true if the answer is the exact one.
func (t *trio) query(ctx context.Context, to qdrant.PointsClient, n int) (bool, error) {
	k, i := uint64(top), n%len(t.data.queries)
	r, err := to.Query(ctx, &qdrant.QueryPoints{CollectionName: words, Limit: &k, Query: nearest(t.data.queries[i])})
	if err != nil {
		return false, err
	}
	var ids []uint64
	for _, h := range r.GetResult() {
		ids = append(ids, h.GetId().GetNum())
	}
	return t.data.hits(t.data.queries[i], ids, t.data.exact[i], top, nil) == top, nil
}

// rewrite sends the n-th request of a writer: its points from the first to the last, and then all again.
func (t *trio) rewrite(ctx context.Context, to qdrant.PointsClient, l *ledger, n int) error {
	from := n * burst % window
	if from == len(l.sent) {
		l.sent, l.acked = append(l.sent, make([]uint64, burst)...), append(l.acked, make([]uint64, burst)...)
	}
	return t.upsert(ctx, to, l, from, n%2 == 0)
}

// run is one client at work until ctx ends. A request that fails is not repeated here.
func (k *kind) run(ctx context.Context, one func(ctx context.Context, n int) (right bool, err error)) error {
	last := time.Now()
	tick := time.NewTicker(breath)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		// A request under way is not cut off at the end: its outcome would be unknown for no reason.
		rctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
		right, err := one(rctx, n)
		cancel()
		now := time.Now()
		k.note(right, err, now.Sub(last))
		if err == nil {
			last = now
		}
	}
}

// note takes down the outcome of a request, and how long ago the client's last success was.
func (k *kind) note(right bool, err error, pause time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.lap, k.pause = max(k.lap, pause), max(k.pause, pause)
	switch {
	case err != nil:
		k.fails.Note(err)
		if k.first == nil {
			k.first = err
		}
	case !right:
		k.wrong++
	default:
		k.done++
	}
}

// lap gives the longest pauses since the last one.
func (s *storm) lap() (reads, writes time.Duration) {
	for _, k := range s.kinds {
		k.mu.Lock()
		if k.what == "reads" {
			reads = max(reads, k.lap)
		} else {
			writes = max(writes, k.lap)
		}
		k.lap = 0
		k.mu.Unlock()
	}
	return reads, writes
}

// stop ends the load and lets the last requests end.
func (s *storm) stop() error {
	s.end()
	err := s.group.Wait()
	for _, c := range s.conns {
		err = errors.Join(err, c.Close())
	}
	s.conns = nil
	return err
}

// report says how the clients fared. An answer that is wrong is an error, and so is a failure in spite of trying again.
func (s *storm) report() error {
	var failed error
	for _, k := range s.kinds {
		how := "clients that do not retry"
		if k.retries {
			how = "clients that retry at the next peer"
		}
		n := k.fails.Sum()
		say(k.what, "%s: %d requests, failed %d%s, longest pause %.2f s", how, k.done+k.wrong+n, n, k.fails.Reasons(), k.pause.Seconds())
		if k.wrong > 0 {
			failed = errors.Join(failed, fmt.Errorf("%d of the %d answers are not the exact ones", k.wrong, k.done+k.wrong))
		}
		if k.retries && n > 0 {
			failed = errors.Join(failed, fmt.Errorf("%d %s failed although they were tried again, the first with: %w", n, k.what, k.first))
		}
	}
	return failed
}
