//go:build !race

// See fault_test.go for why these run without the race detector.
package shard

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/query"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/vfs"
)

// TestUnreadablePages: a page of a mapped file that the disk does not give, read by
// whatever part of the engine and however many goroutines, fails the shard and not the
// process.
func TestUnreadablePages(t *testing.T) {
	for _, c := range []struct {
		name, kind string
		do         func(s *Shard, l *ledger) error
	}{
		{"search", ".vectors", func(s *Shard, _ *ledger) error {
			_, err := s.Nearest(ctx, []query.Nearest{{Vector: make([]float32, 16), Limit: 3, Params: query.Params{Exact: true}}})
			return err
		}},
		{"graph", ".vectors", func(s *Shard, l *ledger) error {
			l.add(op.Op{Kind: op.Config, Revision: 2, Settings: []byte{0, 4}})
			return errors.Join(s.Apply(l.entries[s.Applied().Seq:]), s.Settle(ctx))
		}},
		{"codes", ".vectors", func(s *Shard, l *ledger) error {
			l.add(op.Op{Kind: op.Config, Revision: 2, Settings: []byte{0, 1}})
			return errors.Join(s.Apply(l.entries[s.Applied().Seq:]), s.Settle(ctx))
		}},
		{"index on a field", ".payload", func(s *Shard, l *ledger) error {
			l.add(op.Op{Kind: op.Config, Revision: 2, Settings: []byte{1}})
			return s.Apply(l.entries[s.Applied().Seq:])
		}},
		{"merge", ".records", func(s *Shard, l *ledger) error {
			l.add(op.Op{Kind: op.Merge, Parts: []topology.Seq{2}})
			return errors.Join(s.Apply(l.entries[s.Applied().Seq:]), s.Settle(ctx))
		}},
		{"update", ".ids", func(s *Shard, l *ledger) error {
			clouds(l, rand.New(rand.NewPCG(2, 2)), 4000, 1)
			return s.Apply(l.entries[s.Applied().Seq:])
		}},
		{"get", ".rows", func(s *Shard, _ *ledger) error {
			_, err := s.Get(ctx, query.Get{IDs: []topology.PointID{num(4000)}, Want: query.Want{Payload: query.PayloadWant{All: true}}})
			return err
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := derived(vfs.OS())
			o.Dir = filepath.Join(t.TempDir(), "shard")
			of := o.Settings
			o.Settings = func(b []byte) (query.Settings, error) {
				s, err := of(b)
				s.Vectors[0].OnDisk, s.PayloadOnDisk = true, true
				if len(b) < 2 { // as before the config
					s.Optimizers.IndexingThresholdKB = 0
				}
				return s, err
			}
			l := newLedger()
			clouds(l, rand.New(rand.NewPCG(1, 1)), 0, 5000)
			l.add(op.Op{Kind: op.Seal})
			s := open(t, o)
			ok(t, s.Apply(l.entries))
			ok(t, s.Settle(ctx))
			names, err := vfs.OS().List(filepath.Join(o.Dir, "segments"))
			ok(t, err)
			for _, name := range names {
				if strings.HasSuffix(name, c.kind) {
					f, err := vfs.OS().OpenReadWrite(filepath.Join(o.Dir, "segments", name))
					ok(t, err)
					ok(t, errors.Join(f.Truncate(4096), f.Close()))
				}
			}
			if err := c.do(s, l); !errors.Is(err, ErrFailed) || !errors.Is(err, vfs.ErrFault) {
				t.Errorf("answers %v", err)
			}
			if err := s.Err(); !errors.Is(err, ErrFailed) {
				t.Errorf("the shard is in the state %v", err)
			}
		})
	}
}

// TestAnswersOutliveTheirFiles: what was answered, names included, can be read when the
// files that it came from are mapped no longer, as after a merge.
func TestAnswersOutliveTheirFiles(t *testing.T) {
	o := kinds(vfs.OS())
	o.Dir = filepath.Join(t.TempDir(), "shard")
	s, l, rng := open(t, o), newLedger(), rand.New(rand.NewPCG(3, 3))
	for range 30 {
		randomKinds(t, s, l, rng)
	}
	l.add(op.Op{Kind: op.Seal})
	l.catchUp(t, s)
	ok(t, s.Settle(ctx))
	answers := everything(t, s)
	ok(t, s.Close())
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if fault := recover(); fault != nil {
			t.Errorf("part of an answer lies in a file that is gone: %v", fault)
		}
	}()
	if text := fmt.Sprint(answers...); !strings.Contains(text, "sparse") || !strings.Contains(text, "multi") {
		t.Errorf("nothing was answered: %.200s", text)
	}
}
