package member

import (
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pandodb/pando/services/controlplane/internal/book"
)

// FuzzFiles: whatever the two small files of a member hold, reading ends, and what is read is written alike.
func FuzzFiles(f *testing.F) {
	f.Add([]byte(`{"format":1,"id":"a"}`), "a")
	f.Add([]byte(`{"n.pando.internal:6335":{"addr":"h:1","generation":7,"peer":3,"member":"m"}}`), "")
	f.Add([]byte(`{"format":2}`), "")
	f.Add([]byte(`{`), "")
	f.Fuzz(func(t *testing.T, data []byte, want string) {
		if id, err := parseIdentity("f", data, want); err == nil && (id.ID == "" || id.Format != formatVersion || (want != "" && id.ID != want)) {
			t.Fatalf("accepted %+v", id)
		}
		b, err := parseBook("f", data)
		if err != nil {
			return
		}
		file := filepath.Join(t.TempDir(), "book.json")
		if err := saveBook(file, b); err != nil {
			t.Fatal(err)
		}
		again, err := loadBook(file)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(b.Entries(), again.Entries()); d != "" {
			t.Fatal(d)
		}
	})
}

// TestIdentityIsKept: a folder keeps the id that it was given or that was made for it.
func TestIdentityIsKept(t *testing.T) {
	dir := t.TempDir()
	first, err := loadIdentity(dir, "")
	if err != nil {
		t.Fatal(err)
	}
	second, err := loadIdentity(dir, first.ID)
	if err != nil || second != first || len(first.ID) != 16 {
		t.Fatalf("%+v, then %+v, %v", first, second, err)
	}
	if empty, err := loadBook(filepath.Join(dir, "book.json")); err != nil || len(empty.Names()) != 0 {
		t.Fatalf("no book is an empty one: %v, %v", empty, err)
	}
	m, err := New(Config{Dir: dir, Addr: "h:1", Peer: 5})
	if err != nil {
		t.Fatal(err)
	}
	want, _ := m.Book().Lookup(book.NameOf(first.ID))
	if want.Addr != "h:1" || want.Peer != 5 || want.Member != first.ID {
		t.Fatalf("announced %+v", want)
	}
	// A newer entry of this process, from an earlier life at another address, is outbid.
	if _, err := m.Learn(book.New(map[string]book.Address{m.name: {Addr: "h:2", Generation: 1 << 60}})); err != nil {
		t.Fatal(err)
	}
	if now, _ := m.Book().Lookup(m.name); now.Addr != "h:1" || now.Generation != 1<<60+1 {
		t.Fatalf("after a rumour of another address: %+v", now)
	}
}
