package member

import (
	"os"
	"path/filepath"
	"testing"
)

// FuzzIdentity: whatever member.json holds, reading ends, and what is accepted is usable.
func FuzzIdentity(f *testing.F) {
	f.Add([]byte(`{"format":1,"id":"a"}`), "a")
	f.Add([]byte(`{"format":2}`), "")
	f.Add([]byte(`{`), "")
	f.Fuzz(func(t *testing.T, data []byte, want string) {
		if id, err := parseIdentity("f", data, want); err == nil && (id.ID == "" || id.Format != formatVersion || (want != "" && id.ID != want)) {
			t.Fatalf("accepted %+v", id)
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
}

// TestEmpty: a crash between the two steps leaves nothing that is taken for a member, and nothing for ever.
func TestEmpty(t *testing.T) {
	dir := t.TempDir()
	wal := filepath.Join(dir, "etcd", "member", "wal")
	for name, prepare := range map[string]func() error{
		"nothing there":      func() error { return nil },
		"a member":           func() error { return os.MkdirAll(wal, 0o700) },
		"crash in the midst": func() error { return os.MkdirAll(filepath.Join(dir, "etcd.gone", "member", "wal"), 0o700) },
	} {
		if err := prepare(); err != nil {
			t.Fatal(err)
		}
		if err := Empty(dir); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if has, err := HasData(dir); has || err != nil {
			t.Errorf("%s: has data %v, %v", name, has, err)
		}
		left, err := os.ReadDir(dir)
		if err != nil || len(left) != 0 {
			t.Errorf("%s: left %v, %v", name, left, err)
		}
	}
	if err := os.MkdirAll(wal, 0o700); err != nil {
		t.Fatal(err)
	}
	if has, err := HasData(dir); !has || err != nil {
		t.Errorf("has data %v, %v", has, err)
	}
}

func TestNames(t *testing.T) {
	for _, tc := range []struct {
		urls []string
		name string
		want string
	}{
		{[]string{urlOf("7")}, "", "7"},
		{[]string{"http://10.0.0.1:2380"}, "n", "n"},
		{nil, "n", "n"},
	} {
		if got := processFrom(tc.urls, tc.name); got != tc.want {
			t.Errorf("%v: %q", tc, got)
		}
	}
}
