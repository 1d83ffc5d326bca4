package shard

import (
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"slices"
	"sync"
	"testing"

	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/query"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/vfs"
	"github.com/pandodb/pando/services/internal/vfs/memfs"
)

// atlas knows which files are mapped.
type atlas struct {
	vfs.FS
	mu     sync.Mutex
	mapped map[string]int // by their ending
}

func (a *atlas) count(name string, by int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.mapped[filepath.Ext(name)] += by; a.mapped[filepath.Ext(name)] == 0 {
		delete(a.mapped, filepath.Ext(name))
	}
}

func (a *atlas) Map(name string) (vfs.Mapping, error) {
	m, err := a.FS.Map(name)
	a.count(name, 1)
	return sheet{m, func() { a.count(name, -1) }}, err
}

type sheet struct {
	vfs.Mapping
	closed func()
}

func (s sheet) Close() error {
	s.closed()
	return s.Mapping.Close()
}

// TestMove: when placements change, files are opened anew where they are wanted, none is
// written, what was opened before is closed, and answers and deletions stay the same,
// before, while and after.
func TestMove(t *testing.T) {
	disk := &atlas{FS: memfs.New(), mapped: map[string]int{}}
	o := withGraphs(disk)
	o.Settings = func(b []byte) (s query.Settings, err error) {
		onDisk, ram := len(b) > 1 && b[1] == 1, len(b) > 2 && b[2] == 1
		s.Optimizers, s.PayloadOnDisk = query.Optimizers{IndexingThresholdKB: 16}, onDisk
		s.Vectors = []query.VectorSettings{{OnDisk: onDisk, HNSW: query.HNSW{M: 8, EfConstruct: 64, OnDisk: onDisk},
			Quantization: query.Quantization{Kind: query.ScalarQuantization, AlwaysRAM: ram}}}
		return s, nil
	}
	s := open(t, o)
	l := newLedger()
	rng := rand.New(rand.NewPCG(9, 9))
	for part := range 2 {
		clouds(l, rng, 1000*part, 1000)
		l.add(op.Op{Kind: op.Seal})
	}
	l.add(op.Op{Kind: op.Delete, IDs: []topology.PointID{num(1), num(1002)}})
	l.catchUp(t, s)
	ok(t, s.Settle(ctx))
	v := unit(rng)
	answer := func() (out [2][]topology.PointID) {
		out[0], _ = ask(t, s, v, true)
		out[1], _ = ask(t, s, v, false)
		return out
	}
	files, want := segmentFiles(t, disk), answer()
	always := map[string]int{".ids": 2, ".rows": 2, ".payload": 2, ".records": 2}
	for step, c := range []struct {
		settings []byte
		more     map[string]int
	}{
		{[]byte{0, 0, 0}, nil},
		{[]byte{0, 1, 0}, map[string]int{".vectors": 2, ".graph": 2, ".codes": 2}},
		{[]byte{0, 1, 1}, map[string]int{".vectors": 2, ".graph": 2}},
		{[]byte{0, 0, 0}, nil},
	} {
		l.add(op.Op{Kind: op.Config, Revision: uint64(step + 1), Settings: c.settings})
		l.catchUp(t, s)
		during := answer()
		ok(t, s.Settle(ctx))
		mapped := map[string]int{}
		for _, m := range []map[string]int{always, c.more} {
			for ending, n := range m {
				mapped[ending] = n
			}
		}
		if !reflect.DeepEqual(disk.mapped, mapped) {
			t.Errorf("step %d: mapped are %v, want %v", step, disk.mapped, mapped)
		}
		if got := answer(); !reflect.DeepEqual(got, want) || !reflect.DeepEqual(during, want) {
			t.Errorf("step %d: found %v, meanwhile %v, want %v", step, got, during, want)
		}
		if now := segmentFiles(t, disk); !slices.Equal(now, files) {
			t.Errorf("step %d: files %v, were %v", step, now, files)
		}
	}
	// A part that is being merged stays open for the merge.
	l.add(op.Op{Kind: op.Merge, Parts: partNumbers(s)})
	l.add(op.Op{Kind: op.Config, Revision: 9, Settings: []byte{0, 1, 0}})
	l.catchUp(t, s)
	ok(t, s.Settle(ctx))
	l.check(t, s)
	if got := answer(); !reflect.DeepEqual(got[0], want[0]) || disk.mapped[".vectors"] != 1 || len(s.state.Sealed.List) != 1 {
		t.Errorf("merged: found %v, want %v; mapped %v", got[0], want[0], disk.mapped)
	}
}

// partNumbers lists the parts on record; workers change them.
func partNumbers(s *Shard) (out []topology.Seq) {
	s.apply.Lock()
	defer s.apply.Unlock()
	for _, p := range s.weights() {
		out = append(out, p.Number)
	}
	return out
}
