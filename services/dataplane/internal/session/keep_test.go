package session

import (
	"errors"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	placementv1 "github.com/pandodb/pando/gen/go/pando/placement/v1"
	"github.com/pandodb/pando/services/internal/vfs"
	"github.com/pandodb/pando/services/internal/vfs/faultfs"
)

// What a full disk refused is written once there is room, also if nothing changes
// any more.
func TestFullDiskIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fsys := faultfs.New(disk(t))
		f := open(t, fsys, newControl())
		f.run(t, func() {
			fsys.SetRules(faultfs.On(syscall.ENOSPC, faultfs.KindWrite))
			f.control.events <- snapshot(9, 0, true, collection(1, "a"))
			<-time.After(time.Minute)
			if kept, _ := load(fsys, "/d"); kept != nil {
				t.Fatal("the disk was not full")
			}
			fsys.SetRules()
			<-time.After(time.Minute)
			if kept, err := load(fsys, "/d"); err != nil || kept == nil || kept.revision != 9 {
				t.Errorf("%+v, %v", kept, err)
			}
		})
	})
}

func TestDamagedFileIsNamed(t *testing.T) {
	list := []*placementv1.Change{collection(1, "a"), shard(1, 0, 3)}
	good, err := encode(keptPlacement{revision: 4, cluster: "tree"}, list)
	if err != nil {
		t.Fatal(err)
	}
	for i := range good {
		bad := append([]byte(nil), good...)
		bad[i] ^= 0x10
		if _, err := decode(bad); !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrVersion) {
			t.Fatalf("flip at %d: %v", i, err)
		}
	}
	fsys := disk(t)
	if err := vfs.WriteFileAtomic(fsys, "/d/placement", good[:20]); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Options{FS: fsys, Dir: "/d"}); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "/d/placement") {
		t.Errorf("%v", err)
	}
}

func FuzzDecode(f *testing.F) {
	good, err := encode(keptPlacement{revision: 4, cluster: "tree"}, []*placementv1.Change{collection(1, "a"), shard(1, 0, 3)})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(fileMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := decode(b)
		if err == nil && p.records == nil {
			t.Fatal("no error and no records")
		}
	})
}
