// Command demo shows what Pando promises on real data, from outside. First one peer: it loads word vectors, compares every
// answer with the exact one, kills the peer with -9 in the middle of a second load, starts it again and looks for every
// write that was acknowledged. Then three peers with two replicas of everything: each is killed in turn while clients ask
// and write, and at the end every acknowledged write is looked for on every replica. It is not a benchmark; its figures
// are those of one machine that also runs it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/internal/rpc"
	"github.com/pandodb/pando/services/test/child"
	"google.golang.org/grpc"
)

// limit bounds the whole run.
const limit = 15 * time.Minute

type options struct {
	data, dir               string
	shards, factor          uint // factor 0: one replica
	batch, writers, clients int
	alone, together         bool
	killAfter               int
}

func main() {
	var h child.Home
	var o options
	flag.StringVar(&h.Binary, "pando", "./pando", "the binary to show")
	flag.StringVar(&o.data, "data", "services/test/demo/words", "folder of word vectors with exact answers")
	flag.StringVar(&o.dir, "dir", os.TempDir(), "where the peer's folder is made; it is removed at the end")
	flag.UintVar(&o.shards, "shards", 2, "shards of the collections")
	flag.IntVar(&o.batch, "batch", 500, "points per request of the first load")
	flag.IntVar(&o.clients, "clients", runtime.NumCPU(), "queries at a time")
	flag.IntVar(&o.writers, "writers", 8, "writers of the second load")
	flag.IntVar(&o.killAfter, "kill-after", 0, "kill when so many points of the second load are acknowledged; 0: a sixth of the first load")
	flag.BoolVar(&o.alone, "alone", true, "show one peer")
	flag.BoolVar(&o.together, "together", true, "show three peers")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	ctx, cancel := context.WithTimeout(ctx, limit)
	err := run(ctx, h, o)
	cancel()
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, h child.Home, o options) (err error) {
	d, err := load(o.data)
	if err != nil {
		return err
	}
	if o.killAfter == 0 {
		o.killAfter = max(2000, len(d.base)/6)
	}
	say("data", "%s: %d vectors of %d numbers, %d queries", filepath.Base(o.data), len(d.base), len(d.base[0]), len(d.queries))
	dir, err := os.MkdirTemp(o.dir, "pando-demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	h.Dir, h.Apart = dir, true
	if o.alone {
		if err := alone(ctx, h, &show{options: o, data: d}); err != nil {
			return err
		}
	}
	if o.together {
		return together(ctx, h, &show{options: o, data: d})
	}
	return nil
}

// alone shows one peer.
func alone(ctx context.Context, h child.Home, s *show) (err error) {
	if err := s.up(ctx, h, "start"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.down()) }()
	if err := s.first(ctx); err != nil {
		return err
	}
	if err := s.ask(ctx); err != nil {
		return err
	}
	ledgers, err := s.second(ctx)
	if err != nil {
		return err
	}
	if err := s.up(ctx, h, "restart"); err != nil {
		return err
	}
	if err := s.audit(ctx, ledgers); err != nil {
		return err
	}
	return s.ask(ctx)
}

// show is the peer and what it should hold.
type show struct {
	options
	data *dataset
	peer *child.Process
	conn *grpc.ClientConn
}

func (s *show) points() qdrant.PointsClient { return qdrant.NewPointsClient(s.conn) }

func (s *show) up(ctx context.Context, h child.Home, what string) error {
	p, err := h.Start(ctx)
	if err != nil {
		return err
	}
	s.peer = p
	if s.conn, err = rpc.Dial(p.GRPC, rpc.DialOptions{}); err != nil {
		return errors.Join(err, s.down())
	}
	say(what, "ready after %d ms (process %d)", p.Ready.Milliseconds(), p.PID())
	return nil
}

// down ends the peer that runs, if one does.
func (s *show) down() error {
	var err error
	if s.conn != nil {
		err = s.conn.Close()
		s.conn = nil
	}
	if s.peer != nil {
		err = errors.Join(err, s.peer.Stop())
		s.peer = nil
	}
	return err
}

func say(what, format string, args ...any) {
	fmt.Printf("%-8s %s\n", what, fmt.Sprintf(format, args...))
}
