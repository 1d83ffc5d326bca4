package node

import (
	"crypto/rand"
	"errors"
	"strings"
	"testing"

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
