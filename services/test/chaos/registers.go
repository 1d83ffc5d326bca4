package main

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"
	"google.golang.org/grpc/metadata"
)

// Registers are points that are only made anew, each time with another number, and read linearizably (R3), by a few
// clients. Their histories must be those of registers that do one thing after another: what pairs of writes do not show,
// this does.
const (
	registerCount   = 48
	registerShards  = 2
	registerClients = 4
	// decideWithin bounds the search for orders of all histories of a round; one that is not decided is not passed.
	decideWithin = 60 * time.Second
)

// registers is the load on them and its history.
type registers struct {
	*load
	collection string
	began      time.Time
	mu         sync.Mutex
	ops        []porcupine.Operation
	last       int
}

// act is what a client does to a register: it writes a number, or reads.
type act struct {
	register, number int
	read             bool
}

func newRegisters(l *load) *registers {
	return &registers{load: l, collection: registersOf(l.collection), began: time.Now()}
}

func registersOf(collection string) string { return collection + "-registers" }

// run has the clients work until ctx ends. What is under way then is finished.
func (g *registers) run(ctx context.Context, seed uint64) {
	var group sync.WaitGroup
	for i := range registerClients {
		rng := rand.New(rand.NewPCG(seed, uint64(i)))
		group.Go(func() {
			for n := i; ctx.Err() == nil; n++ {
				select {
				case <-ctx.Done():
					return
				case <-time.After(time.Duration(rng.Int64N(int64(4 * rest)))):
				}
				a := act{register: rng.IntN(registerCount), read: rng.IntN(2) == 0}
				if !a.read {
					a.number = g.next()
				}
				g.do(ctx, i, n%len(g.fleet.Peers()), a)
			}
		})
	}
	group.Wait()
}

func (g *registers) next() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.last++
	return g.last
}

// do asks a peer and takes down what may have happened: nothing of a read that failed, or of a write that was refused.
func (g *registers) do(ctx context.Context, client, peer int, a act) {
	conn := g.fleet.Public(peer)
	if conn == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeSeconds*time.Second+giveUp)
	defer cancel()
	op := porcupine.Operation{ClientId: client, Input: a, Call: time.Since(g.began).Nanoseconds()}
	if a.read {
		found, err := read{kind: get, ids: []int{a.register}}.overGRPC(metadata.AppendToOutgoingContext(ctx, "pando-read", "linearizable"), conn, g.collection)
		if err != nil {
			return
		}
		op.Output = found[a.register].base
	} else {
		out, _ := write{n: a.number, kind: upsert, ids: []int{a.register}, wait: true}.overGRPC(ctx, conn, g.collection)
		switch op.Output = 0; out {
		case refused:
			return
		case unknown:
			op.Return = math.MaxInt64 // it may take effect at any time from now on, or never
		}
	}
	if op.Return == 0 {
		op.Return = time.Since(g.began).Nanoseconds()
	}
	g.mu.Lock()
	g.ops = append(g.ops, op)
	g.mu.Unlock()
}

// register is the law: a read finds the number that was written last, 0 before the first.
var register = porcupine.Model{
	Partition: func(all []porcupine.Operation) [][]porcupine.Operation {
		parts := make([][]porcupine.Operation, registerCount)
		for _, op := range all {
			r := op.Input.(act).register
			parts[r] = append(parts[r], op)
		}
		return parts
	},
	Init: func() any { return 0 },
	Step: func(state, input, output any) (bool, any) {
		if a := input.(act); !a.read {
			return true, a.number
		}
		return state == output, state
	},
	DescribeOperation: func(input, output any) string {
		if a := input.(act); !a.read {
			return fmt.Sprintf("write %d", a.number)
		}
		return fmt.Sprintf("read %v", output)
	},
}

// linear is what the histories of registers have shown.
type linear struct{ reads, writes, unknown, violations, undecided int }

// decide looks for an order of what was done.
func decide(ops []porcupine.Operation) (l linear) {
	for _, op := range ops {
		switch {
		case op.Input.(act).read:
			l.reads++
		case op.Return == math.MaxInt64:
			l.unknown++
		default:
			l.writes++
		}
	}
	until := time.Now().Add(decideWithin)
	for _, part := range register.Partition(ops) {
		if len(part) == 0 {
			continue
		}
		switch porcupine.CheckOperationsTimeout(register, part, max(time.Millisecond, time.Until(until))) { // 0 would be no bound
		case porcupine.Illegal:
			l.violations++
		case porcupine.Unknown:
			l.undecided++
		}
	}
	return l
}

func (l *linear) add(o linear) {
	l.reads, l.writes, l.unknown, l.violations, l.undecided = l.reads+o.reads, l.writes+o.writes, l.unknown+o.unknown, l.violations+o.violations, l.undecided+o.undecided
}
