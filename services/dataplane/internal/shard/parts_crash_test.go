//go:build !race

// See fault_test.go for why these run without the race detector.
package shard

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/query"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/vfs"
	"github.com/pandodb/pando/services/internal/vfs/faultfs"
	"github.com/pandodb/pando/services/internal/vfs/memfs"
)

// derived are options under which a few points get graphs, codes and, from
// thousands on, indexes on payload fields.
func derived(fsys vfs.FS) Options {
	o := options(fsys)
	o.Schema = query.Schema{Vectors: []query.VectorSchema{{Name: "", Size: 16, Distance: query.Cosine}, {Name: "sparse", Kind: query.Sparse, Distance: query.Dot}}}
	o.Settings = func(b []byte) (s query.Settings, err error) {
		s.Fields, err = fieldsOf(b)
		s.Optimizers = query.Optimizers{IndexingThresholdKB: 1, DeletedThreshold: 0.2, VacuumMinVectors: 100, SegmentNumber: 2}
		v := query.VectorSettings{HNSW: query.HNSW{M: 4, EfConstruct: 16}}
		if len(b) > 1 {
			v.HNSW.M = 4 + int(b[1]%2)
			v.Quantization.Kind = query.QuantizationKind(b[1] % 4)
			v.Quantization.Compression = 4
		}
		s.Vectors = []query.VectorSettings{v}
		return s, err
	}
	return o
}

// parts is a history of tails, segments and what is derived from them.
func parts(rounds int) *ledger {
	rng := rand.New(rand.NewPCG(9, 9))
	l := newLedger()
	for round := range rounds {
		l.add(op.Op{Kind: op.Config, Revision: uint64(len(l.entries)) + 1, Settings: []byte{byte(rng.IntN(32)), byte(rng.IntN(8))}})
		for range 1 + rng.IntN(3) {
			var ps []op.Point
			for range 40 {
				p := op.Point{ID: num(uint64(rng.IntN(150))), Payload: fields("k", rng.IntN(5), "l", []any{rng.IntN(3), "s"}, "x0", rng.IntN(9))}
				p.Vectors = append(p.Vectors, op.Vector{Data: unit(rng)})
				if rng.IntN(2) == 0 {
					p.Vectors = append(p.Vectors, op.Vector{Name: "sparse", Indices: []uint32{1, 7}, Data: []float32{rng.Float32(), 1}})
				}
				ps = append(ps, p)
			}
			l.add(op.Op{Kind: op.Upsert, Points: ps})
		}
		l.add(op.Op{Kind: op.Seal})
		var gone []topology.PointID
		for range 10 {
			gone = append(gone, num(uint64(rng.IntN(150))))
		}
		l.add(op.Op{Kind: op.Delete, IDs: gone})
		l.add(op.Op{Kind: op.SetPayload, Groups: []op.Group{{IDs: []topology.PointID{num(uint64(rng.IntN(150)))}, Payload: fields("x1", rng.IntN(9))}}})
		if round%2 == 1 {
			l.add(l.merge(rng))
		}
		if rng.IntN(3) == 0 {
			l.add(op.Op{Kind: op.Mark})
		}
	}
	// Points that nobody changes: graphs are grown.
	var merged []topology.Seq
	for i := range 3 {
		clouds(l, rng, 1000+50*i, 50)
		if merged = append(merged, l.add(op.Op{Kind: op.Seal}).Seq); len(merged) == 2 {
			merged = []topology.Seq{l.add(op.Op{Kind: op.Merge, Parts: merged}).Seq}
		}
	}
	return l
}

// settled makes all there is to make, and lists the files.
func settled(t *testing.T, fsys vfs.FS, s *Shard) []string {
	t.Helper()
	ok(t, s.Settle(ctx))
	_, err := s.Checkpoint()
	ok(t, err)
	return segmentFiles(t, fsys)
}

// TestCrashesOfParts cuts the power before changes of the disk while segments are made,
// merged and indexed: PANDO_CRASH_POINTS=all tries each, otherwise some are. What is
// found again is the fold of a prefix that has all that a checkpoint had, and it leads
// to the same files, name by name, as at a replica that never crashed.
func TestCrashesOfParts(t *testing.T) {
	l := parts(8)
	calm := memfs.New()
	s := open(t, derived(calm))
	l.catchUp(t, s)
	want := settled(t, calm, s)
	for _, kind := range []string{".graph", ".codes", ".postings", ".vectors", ".stages"} {
		if !slices.ContainsFunc(want, func(name string) bool { return strings.HasSuffix(name, kind) }) {
			t.Fatalf("no %s in %v", kind, want)
		}
	}
	count := faultfs.New(memfs.New())
	_, err := l.live(derived(count), true)
	ok(t, err)
	total, step := count.Count(), 1
	if os.Getenv("PANDO_CRASH_POINTS") != "all" {
		step += total / 40
	}
	tried, missed, segments := 0, 0, 0
	for n := 1; n <= total; n += step {
		mem := memfs.New()
		var after []*memfs.FS
		rng := rand.New(rand.NewPCG(uint64(n), 4))
		faulty := faultfs.New(mem, faultfs.Crash(n, func() { after = append(after, mem.CrashClone(rng), mem.CrashClone(rng), mem.StrictClone()) }))
		durable, err := l.live(derived(faulty), true)
		if after == nil { // this run was shorter
			ok(t, err)
			missed++
			continue
		}
		if tried++; filepath.Base(filepath.Dir(faulty.Last().Path)) == "segments" {
			segments++
		}
		for i, disk := range after {
			s, err := Open(derived(disk))
			if err != nil {
				t.Fatalf("crash %d at %d of %d (%v): %v", i, n, total, faulty.Last(), err)
			}
			at := s.Applied().Seq
			if at < durable {
				t.Fatalf("crash %d at %d: applied %d, checkpoint was at %d", i, n, at, durable)
			}
			l.prefix(int(at)).check(t, s)
			l.catchUp(t, s)
			if got := settled(t, disk, s); !slices.Equal(got, want) {
				t.Fatalf("crash %d at %d (%v): files\n%v, want\n%v", i, n, faulty.Last(), got, want)
			}
			ok(t, s.Close())
		}
	}
	t.Logf("%d changes of the disk, crashed at %d, %d in the segments; %d runs were shorter", total, tried, segments, missed)
	if segments < 5 {
		t.Errorf("only %d crashes were in the segments", segments)
	}
}
