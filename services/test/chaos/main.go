// Command chaos hurts a cluster of real processes while clients write to it and read from it, and then looks at every
// replica for every write that was acknowledged. Faults are drawn from a seed: kill -9, SIGTERM, SIGSTOP, blank and full
// disks, and in a network of its own cuts of a peer, of one direction and of pairs, delay and loss. One peer is hurt at a
// time; with three replicas another one may be before the first has caught up.
//
// Processes have times of their own: a seed repeats the faults, not what they meet.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"regexp"
	"syscall"
	"time"

	"github.com/pandodb/pando/services/test/lan"
)

// grace is what a run may take beyond its duration before it is ended.
const grace = 4 * time.Minute

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := command(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		os.Exit(1)
	}
}

func command(ctx context.Context, args []string) error {
	var o options
	var loopback bool
	f := flag.NewFlagSet("chaos", flag.ContinueOnError)
	f.StringVar(&o.binary, "pando", "./pando", "the binary to hurt")
	f.StringVar(&o.dir, "dir", os.TempDir(), "where folders of the peers are made; they stay if anything is wrong")
	f.DurationVar(&o.duration, "duration", time.Minute, "how long to hurt it")
	f.Uint64Var(&o.seed, "seed", 0, "which faults; 0 draws one")
	f.IntVar(&o.peers, "peers", 3, "peers")
	f.IntVar(&o.factor, "factor", 0, "replication factor; 0 takes 2 and 3 by turns")
	f.StringVar(&o.only, "faults", "", "only those whose names match this regular expression")
	f.BoolVar(&o.keep, "keep", false, "leave the folders of the peers, with what they have logged")
	f.BoolVar(&loopback, "loopback", false, "no network of its own: only what can happen to processes")
	if err := f.Parse(args); err != nil {
		return err
	}
	if _, err := regexp.Compile(o.only); err != nil {
		return fmt.Errorf("-faults: %w", err)
	}
	if o.seed == 0 {
		o.seed = 1 + rand.Uint64N(1e6)
	}
	ctx, cancel := context.WithTimeout(ctx, o.duration+grace)
	defer cancel()
	if o.lan = !loopback; lan.Inside() {
		return hurt(ctx, o)
	}
	var err error
	if o.dir, err = os.MkdirTemp(o.dir, "pando-chaos-"); err != nil {
		return err
	}
	if o.lan {
		return tidy(o, apart(ctx, args, o))
	}
	return tidy(o, hurt(ctx, o))
}

// apart hurts it in namespaces of its own, or on loopback where there are none.
func apart(ctx context.Context, args []string, o options) error {
	err := lan.Alone(ctx, append(args, "-seed", fmt.Sprint(o.seed), "-dir", o.dir)...)
	var exit *exec.ExitError
	switch {
	case errors.Is(err, lan.ErrNotHere):
		fmt.Println("left out: what needs a network or a disk of its own:", err)
		o.lan = false
		return hurt(ctx, o)
	case errors.As(err, &exit):
		return errors.New("see above")
	}
	return err
}

// tidy removes the folders of a run that was good.
func tidy(o options, err error) error {
	switch {
	case err != nil:
		return fmt.Errorf("%w; the folders of the peers stay in %s", err, o.dir)
	case o.keep:
		fmt.Println("folders of the peers:", o.dir)
		return nil
	}
	return os.RemoveAll(o.dir)
}

// hurt does one run and prints what came of it.
func hurt(ctx context.Context, o options) error {
	where := "on loopback"
	if o.lan {
		where = "in a network of its own"
	}
	fmt.Printf("seed %d, %s, %v\n", o.seed, where, o.duration)
	r, err := newRun(o)
	if err == nil {
		err = r.do(ctx)
		r.report.print()
		err = errors.Join(err, r.report.verdict())
	}
	if err != nil {
		return fmt.Errorf("seed %d: %w", o.seed, err)
	}
	return nil
}

func matches(pattern, name string) bool { return regexp.MustCompile(pattern).MatchString(name) }
