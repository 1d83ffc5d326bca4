package node

import (
	"crypto/rand"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pandodb/pando/services/dataplane/internal/replica"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/vfs"
	"github.com/pandodb/pando/services/internal/vfs/faultfs"
	"github.com/pandodb/pando/services/internal/vfs/memfs"
)

func TestFolderKeepsThePeersName(t *testing.T) {
	fsys := memfs.New()
	f, err := OpenFolder(fsys, "/data/pando", 0, rand.Reader)
	if err != nil || f.Peer == 0 || f.Peer > topology.MaxPeerID {
		t.Fatalf("%+v %v", f, err)
	}
	if _, err := OpenFolder(fsys, "/data/pando", 0, rand.Reader); !errors.Is(err, ErrFolderInUse) || !strings.Contains(err.Error(), "/data/pando") {
		t.Errorf("%v", err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	g, err := OpenFolder(fsys.StrictClone(), "/data/pando", f.Peer, rand.Reader)
	if err != nil || g.Peer != f.Peer {
		t.Errorf("after a crash: %+v %v", g, err)
	}
	if _, err := OpenFolder(fsys, "/data/pando", f.Peer+1, rand.Reader); !errors.Is(err, ErrFolderPeer) {
		t.Errorf("%v", err)
	}
	if _, err := OpenFolder(memfs.New(), "/d", topology.MaxPeerID+1, rand.Reader); err == nil {
		t.Error("a peer id above 2^53 accepted")
	}
}

func TestFolderRefuses(t *testing.T) {
	for content, want := range map[string]error{
		`{"format":2,"peer_id":5}`: ErrFolderVersion,
		`{"format":1,"peer_id":0}`: ErrFolderDamaged,
		`{"format":1`:              ErrFolderDamaged,
	} {
		fsys := memfs.New()
		if err := errors.Join(fsys.MkdirAll("/d", 0o700), vfs.WriteFileAtomic(fsys, "/d/peer.json", []byte(content))); err != nil {
			t.Fatal(err)
		}
		for range 2 { // the lock is given back
			if _, err := OpenFolder(fsys, "/d", 0, rand.Reader); !errors.Is(err, want) {
				t.Errorf("%s: %v", content, err)
			}
		}
	}
	fsys := memfs.New()
	if err := fsys.MkdirAll("/d/collections", 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenFolder(fsys, "/d", 0, rand.Reader); !errors.Is(err, ErrFolderDamaged) {
		t.Errorf("%v", err)
	}
	disk := errors.New("read-only file system")
	if _, err := OpenFolder(faultfs.New(memfs.New(), faultfs.From(1, disk)), "/d", 0, rand.Reader); !errors.Is(err, disk) || !strings.Contains(err.Error(), "not writable") {
		t.Errorf("%v", err)
	}
}

// stuckFS cannot rename a replica's folder away.
type stuckFS struct{ *memfs.FS }

func (f stuckFS) Rename(from, to string) error {
	if filepath.Base(filepath.Dir(to)) == trashDir {
		return errors.New("stuck")
	}
	return f.FS.Rename(from, to)
}

// What may take writes is told from the first moment on, and until it cannot any more, however long its folder stays.
func TestInventoryIsWhatMayServe(t *testing.T) {
	disk := memfs.New()
	f, err := OpenFolder(disk, "/data", 7, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	n := New(Options{Folder: f})
	n.Apply(Desired{Revision: 1, Assignments: []Assignment{assign(shard0, 2, topology.Active, topology.Incarnation{1})}})
	if inv := n.Inventory(); len(inv) != 1 || inv[0].Shard != shard0 || inv[0].Ended || inv[0].Loaded {
		t.Errorf("before it is opened: %+v", inv)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}

	h := enter(t, stuckFS{disk}, replica.Limits{})
	h.birth(1, shard0)
	if x, _ := h.holding(shard0); x.Ended {
		t.Errorf("%+v", x)
	}
	h.n.Apply(Desired{Revision: 9, Confirmed: true})
	await(t, "ended", func() bool { x, ok := h.holding(shard0); return ok && x.Ended })
	if _, err := h.n.Replica(shard0); !errors.Is(err, ErrNotLoaded) {
		t.Errorf("ended, and %v", err)
	}
	h.leave()
}
