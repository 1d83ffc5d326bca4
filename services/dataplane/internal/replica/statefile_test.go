package replica

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pandodb/pando/services/dataplane/internal/replica/core"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/vfs"
	"github.com/pandodb/pando/services/internal/vfs/memfs"
)

const statePath = "/state"

func hard(n uint64) core.Hard {
	return core.Hard{
		Incarnation: topology.Incarnation{1, 2, 3}, Promised: topology.Term{Epoch: topology.Epoch(n), Run: 4}, Run: topology.Run(n),
		Commit: topology.Seq(n), HLCBound: 1 << 60, Pending: core.Pending{Epoch: 3, Peers: []topology.PeerID{9, 8}},
		Placement: topology.Placement{
			Shard: topology.Shard{Collection: 7, ID: 2}, Epoch: topology.Epoch(n), Primary: 5, Forced: true, Lost: true,
			Replicas: []topology.Replica{{Peer: 5, State: topology.Partial, Incarnation: topology.Incarnation{9}, Reason: "disk lost", SinceMs: -5}, {Peer: 6}},
		},
	}
}

func openState(t *testing.T, fsys vfs.FS) (*StateFile, core.Hard) {
	t.Helper()
	s, h, err := OpenState(fsys, statePath)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s, h
}

func TestStateRoundTrip(t *testing.T) {
	fsys := memfs.New()
	s, h := openState(t, fsys)
	if diff := cmp.Diff(core.Hard{}, h); diff != "" {
		t.Fatal(diff)
	}
	u, err := fsys.DiskUsage("/")
	if err != nil {
		t.Fatal(err)
	}
	fsys.SetCapacity(u.Used) // full from now on
	for n := uint64(1); n < 4; n++ {
		if err := s.Save(hard(n)); err != nil {
			t.Fatal(err)
		}
		_, h = openState(t, fsys.StrictClone())
		if diff := cmp.Diff(hard(n), h); diff != "" {
			t.Fatal(diff)
		}
	}
}

// A crash at any point leaves the state before or the one being saved.
func TestStateCrashes(t *testing.T) {
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 1))
		fsys := memfs.New()
		s, _ := openState(t, fsys)
		saves := rng.IntN(4)
		for n := range saves {
			if err := s.Save(hard(uint64(n + 1))); err != nil {
				t.Fatal(err)
			}
		}
		// Half a save: the first slot written, perhaps synced, the second not begun.
		b := make([]byte, slotHead)
		b = appendHard(b, hard(99))
		if _, err := s.file.WriteAt(b[:rng.IntN(len(b))], int64(rng.IntN(2))*slotSize); err != nil {
			t.Fatal(err)
		}
		if saves == 0 {
			continue
		}
		_, h := openState(t, fsys.CrashClone(rng))
		if h.Run != topology.Run(saves) {
			t.Fatalf("seed %d: run %d after %d saves", seed, h.Run, saves)
		}
	}
}

func TestStateDamage(t *testing.T) {
	flip := func(f vfs.File, off int64) {
		b := make([]byte, 1)
		if _, err := f.ReadAt(b, off); err != nil {
			t.Fatal(err)
		}
		b[0] ^= 1
		if _, err := f.WriteAt(b, off); err != nil {
			t.Fatal(err)
		}
	}
	fsys := memfs.New()
	s, _ := openState(t, fsys)
	if err := s.Save(hard(1)); err != nil {
		t.Fatal(err)
	}
	flip(s.file, slotHead+3)
	if _, h := openState(t, fsys); h.Run != 1 {
		t.Errorf("the other slot holds it too: %+v", h)
	}
	flip(s.file, slotSize+slotHead+3)
	if _, _, err := OpenState(fsys, statePath); !errors.Is(err, ErrStateCorrupt) {
		t.Errorf("%v", err)
	}
	big := hard(1)
	big.Placement.Replicas = make([]topology.Replica, 2000)
	if err := s.Save(big); err == nil {
		t.Error("a state above the slot saved")
	}
	if _, err := decodeHard([]byte{9}); !errors.Is(err, ErrStateVersion) {
		t.Error(err)
	}
}

func TestStateGolden(t *testing.T) {
	want, err := os.ReadFile(filepath.Join("testdata", "hard-v1.bin"))
	if os.Getenv("PANDO_GOLDEN") != "" {
		want, err = appendHard(nil, hard(6)), nil
		if err := os.WriteFile(filepath.Join("testdata", "hard-v1.bin"), want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	got, err := decodeHard(want)
	if diff := cmp.Diff(hard(6), got); diff != "" || err != nil {
		t.Fatal(diff, err)
	}
	if diff := cmp.Diff(want, appendHard(nil, got)); diff != "" {
		t.Fatal(diff)
	}
}

func FuzzState(f *testing.F) {
	f.Add(appendHard(nil, core.Hard{}))
	f.Add(appendHard(nil, hard(3)))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := decodeHard(b)
		if err != nil {
			return
		}
		if diff := cmp.Diff(b, appendHard(nil, h)); diff != "" {
			t.Fatal(diff)
		}
		parseSlot(b)
	})
}
