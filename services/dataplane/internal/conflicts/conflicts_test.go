package conflicts

import (
	"testing"

	"github.com/pandodb/pando/services/internal/vfs"
	"github.com/pandodb/pando/services/internal/vfs/memfs"
)

// TestList: the newest are kept, over a restart too, and a damaged file costs only them.
func TestList(t *testing.T) {
	mem := memfs.New()
	if err := mem.MkdirAll("/d", 0o750); err != nil {
		t.Fatal(err)
	}
	l, err := Open(mem, "/d")
	if err != nil {
		t.Fatal(err)
	}
	for i := range uint64(Kept + 5) {
		l.Add(Conflict{Shard: i, Effect: Lost})
	}
	if err := l.Save(); err != nil {
		t.Fatal(err)
	}
	again, err := Open(mem, "/d")
	if all := again.All(); err != nil || len(all) != Kept || all[0].Shard != 5 {
		t.Fatalf("%d conflicts, %v", len(all), err)
	}
	if err := vfs.WriteFileAtomic(mem, "/d/"+file, []byte("{")); err != nil {
		t.Fatal(err)
	}
	if l, err = Open(mem, "/d"); err == nil || len(l.All()) != 0 {
		t.Fatalf("a damaged file: %d conflicts, %v", len(l.All()), err)
	}
}
