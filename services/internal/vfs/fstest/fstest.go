// Package fstest holds the suite that every implementation of vfs.FS passes.
package fstest

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"unsafe"

	"github.com/pandodb/pando/services/internal/vfs"
)

// Open gives a test its own file system and an existing, empty directory in it.
type Open func(t *testing.T) (fsys vfs.FS, dir string)

// Run runs the whole suite.
func Run(t *testing.T, open Open) {
	for _, c := range []struct {
		name string
		run  func(s suite, t *testing.T)
	}{
		{"ReadWrite", suite.readWrite},
		{"ReadOnlyHandle", suite.readOnlyHandle},
		{"CreateReplaces", suite.createReplaces},
		{"OpenReadWriteKeeps", suite.openReadWriteKeeps},
		{"Stream", suite.stream},
		{"Truncate", suite.truncate},
		{"PreallocateKeepsSize", suite.preallocate},
		{"Missing", suite.missing},
		{"Rename", suite.rename},
		{"Link", suite.link},
		{"RemoveDirs", suite.removeDirs},
		{"ListSorted", suite.list},
		{"OpenDir", suite.openDir},
		{"Lock", suite.lock},
		{"RemovedFileStaysReadable", suite.removedStaysReadable},
		{"DiskUsage", suite.diskUsage},
		{"WriteFileAtomic", suite.writeFileAtomic},
		{"ConcurrentReads", suite.concurrentReads},
		{"Map", suite.mapped},
		{"MapMissing", suite.mapMissing},
	} {
		t.Run(c.name, func(t *testing.T) {
			fsys, dir := open(t)
			c.run(suite{fsys, dir}, t)
		})
	}
}

type suite struct {
	vfs.FS
	dir string
}

func (s suite) path(name string) string { return filepath.Join(s.dir, name) }

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func is(t *testing.T, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Fatalf("error %v, want %v", err, target)
	}
}

func (s suite) write(t *testing.T, name, data string) {
	t.Helper()
	f, err := s.Create(s.path(name))
	ok(t, err)
	n, err := f.Write([]byte(data))
	ok(t, err)
	if n != len(data) {
		t.Fatalf("wrote %d of %d bytes", n, len(data))
	}
	ok(t, f.Sync())
	ok(t, f.Close())
}

func (s suite) want(t *testing.T, name, data string) {
	t.Helper()
	got, err := vfs.ReadFile(s, s.path(name))
	ok(t, err)
	if string(got) != data {
		t.Fatalf("%s holds %q, want %q", name, got, data)
	}
}

func (s suite) readWrite(t *testing.T) {
	f, err := s.Create(s.path("a"))
	ok(t, err)
	block := bytes.Repeat([]byte("0123456789abcdef"), 1000)
	_, err = f.Write(block)
	ok(t, err)
	_, err = f.WriteAt([]byte("XY"), 4095)
	ok(t, err)
	_, err = f.WriteAt([]byte("end"), 40000)
	ok(t, err)
	_, err = f.Write([]byte("next"))
	ok(t, err)
	copy(block[4095:], "XY")

	got := make([]byte, 16004)
	n, err := f.ReadAt(got, 0)
	ok(t, err)
	if want := append(slices.Clone(block), "next"...); n != len(got) || !bytes.Equal(got, want) {
		t.Fatal("ReadAt differs from what was written")
	}
	n, err = f.ReadAt(got[:10], 39998)
	is(t, err, io.EOF)
	if string(got[:n]) != "\x00\x00end" {
		t.Fatalf("tail %q", got[:n])
	}
	_, err = f.ReadAt(got[:1], 40003)
	is(t, err, io.EOF)
	info, err := f.Stat()
	ok(t, err)
	if info.Size() != 40003 || info.IsDir() {
		t.Fatalf("size %d, dir %v", info.Size(), info.IsDir())
	}
	ok(t, f.SyncData())
	ok(t, f.Close())
	if _, err := f.Write([]byte("x")); err == nil {
		t.Fatal("write to a closed file")
	}
	is(t, f.Close(), fs.ErrClosed)
}

func (s suite) readOnlyHandle(t *testing.T) {
	s.write(t, "a", "hello")
	f, err := s.Open(s.path("a"))
	ok(t, err)
	if _, err := f.WriteAt([]byte("x"), 0); err == nil {
		t.Fatal("write through a handle for reading")
	}
	if err := f.Truncate(1); err == nil {
		t.Fatal("truncate through a handle for reading")
	}
	var two [2]byte
	for _, want := range []string{"he", "ll", "o"} {
		n, err := f.Read(two[:])
		ok(t, err)
		if string(two[:n]) != want {
			t.Fatalf("read %q, want %q", two[:n], want)
		}
	}
	_, err = f.Read(two[:])
	is(t, err, io.EOF)
	ok(t, f.Close())
	s.want(t, "a", "hello")
}

func (s suite) createReplaces(t *testing.T) {
	s.write(t, "a", "old contents")
	old, err := s.Open(s.path("a"))
	ok(t, err)
	s.write(t, "a", "new")
	s.want(t, "a", "new")
	got, err := io.ReadAll(old)
	ok(t, err)
	if string(got) != "old contents" {
		t.Fatalf("the replaced file changed to %q", got)
	}
	ok(t, old.Close())
	ok(t, s.MkdirAll(s.path("d"), 0o750))
	if _, err := s.Create(s.path("d/no/such")); err == nil {
		t.Fatal("create in a missing directory")
	}
}

func (s suite) openReadWriteKeeps(t *testing.T) {
	f, err := s.OpenReadWrite(s.path("a"))
	ok(t, err)
	_, err = f.Write([]byte("12345"))
	ok(t, err)
	ok(t, f.Close())
	f, err = s.OpenReadWrite(s.path("a"))
	ok(t, err)
	_, err = f.Write([]byte("ab"))
	ok(t, err)
	ok(t, f.Close())
	s.want(t, "a", "ab345")
}

func (s suite) stream(t *testing.T) {
	for _, n := range []int{0, 1, 4095, 4096, 4097, 256 << 10, 256<<10 + 1, 3*256<<10 - 1, 1<<20 + 4096} {
		data := make([]byte, n)
		for i := range data {
			data[i] = byte(i * i >> 7)
		}
		s.write(t, "a", string(data))
		var got []byte
		ok(t, vfs.Stream(s, s.path("a"), func(b []byte) error { got = append(got, b...); return nil }))
		if !bytes.Equal(got, data) {
			t.Fatalf("%d bytes, %d came, or others", n, len(got))
		}
	}
	enough := errors.New("enough")
	is(t, vfs.Stream(s, s.path("a"), func([]byte) error { return enough }), enough)
	is(t, vfs.Stream(s, s.path("missing"), nil), fs.ErrNotExist)
}

func (s suite) truncate(t *testing.T) {
	f, err := s.Create(s.path("a"))
	ok(t, err)
	_, err = f.Write(bytes.Repeat([]byte("z"), 10000))
	ok(t, err)
	ok(t, f.Truncate(3))
	ok(t, f.Truncate(9000))
	got, err := vfs.ReadFile(s, s.path("a"))
	ok(t, err)
	if want := append([]byte("zzz"), make([]byte, 8997)...); !bytes.Equal(got, want) {
		t.Fatal("a cut and regrown file must read as zero after the cut")
	}
	if err := f.Truncate(-1); err == nil {
		t.Fatal("negative size")
	}
	ok(t, f.Close())
}

func (s suite) preallocate(t *testing.T) {
	f, err := s.Create(s.path("a"))
	ok(t, err)
	_, err = f.Write([]byte("abc"))
	ok(t, err)
	ok(t, f.Preallocate(0, 1<<20))
	ok(t, f.Sync())
	ok(t, f.Close())
	s.want(t, "a", "abc")
}

func (s suite) missing(t *testing.T) {
	_, err := s.Open(s.path("none"))
	is(t, err, fs.ErrNotExist)
	_, err = s.Stat(s.path("none"))
	is(t, err, fs.ErrNotExist)
	_, err = s.OpenDir(s.path("none"))
	is(t, err, fs.ErrNotExist)
	_, err = s.List(s.path("none"))
	is(t, err, fs.ErrNotExist)
	is(t, s.Remove(s.path("none")), fs.ErrNotExist)
	is(t, s.Rename(s.path("none"), s.path("b")), fs.ErrNotExist)
	is(t, s.Link(s.path("none"), s.path("b")), fs.ErrNotExist)
	ok(t, s.RemoveAll(s.path("none")))
	ok(t, s.RemoveAll(s.path("none/below")))
}

func (s suite) rename(t *testing.T) {
	s.write(t, "a", "A")
	s.write(t, "b", "B")
	ok(t, s.Rename(s.path("a"), s.path("b")))
	s.want(t, "b", "A")
	_, err := s.Stat(s.path("a"))
	is(t, err, fs.ErrNotExist)
	ok(t, s.MkdirAll(s.path("d"), 0o750))
	ok(t, s.Rename(s.path("b"), s.path("d/c")))
	s.want(t, "d/c", "A")
	ok(t, s.Rename(s.path("d"), s.path("e")))
	s.want(t, "e/c", "A")
	ok(t, s.Rename(s.path("e/c"), s.path("e/c")))
	s.want(t, "e/c", "A")
}

func (s suite) link(t *testing.T) {
	s.write(t, "a", "one")
	ok(t, s.Link(s.path("a"), s.path("b")))
	is(t, s.Link(s.path("a"), s.path("b")), fs.ErrExist)
	f, err := s.OpenReadWrite(s.path("b"))
	ok(t, err)
	_, err = f.Write([]byte("two"))
	ok(t, err)
	ok(t, f.Close())
	s.want(t, "a", "two")
	ok(t, s.Remove(s.path("a")))
	s.want(t, "b", "two")
	s.write(t, "a", "three")
	s.want(t, "b", "two")
}

func (s suite) removeDirs(t *testing.T) {
	ok(t, s.MkdirAll(s.path("d/e/f"), 0o750))
	ok(t, s.MkdirAll(s.path("d/e"), 0o750))
	s.write(t, "d/e/file", "x")
	if err := s.Remove(s.path("d/e")); err == nil {
		t.Fatal("removed a directory that is not empty")
	}
	if err := s.MkdirAll(s.path("d/e/file/g"), 0o750); err == nil {
		t.Fatal("made a directory below a file")
	}
	info, err := s.Stat(s.path("d/e"))
	ok(t, err)
	if !info.IsDir() || info.Name() != "e" {
		t.Fatalf("%s: dir %v", info.Name(), info.IsDir())
	}
	ok(t, s.Remove(s.path("d/e/f")))
	ok(t, s.RemoveAll(s.path("d")))
	_, err = s.Stat(s.path("d/e/file"))
	is(t, err, fs.ErrNotExist)
}

func (s suite) list(t *testing.T) {
	for _, name := range []string{"b", "a", "c.tmp"} {
		s.write(t, name, name)
	}
	ok(t, s.MkdirAll(s.path("B"), 0o750))
	names, err := s.List(s.dir)
	ok(t, err)
	if want := []string{"B", "a", "b", "c.tmp"}; !slices.Equal(names, want) {
		t.Fatalf("listed %q, want %q", names, want)
	}
	if _, err := s.List(s.path("a")); err == nil {
		t.Fatal("listed a file")
	}
}

func (s suite) openDir(t *testing.T) {
	d, err := s.OpenDir(s.dir)
	ok(t, err)
	ok(t, d.Sync())
	info, err := d.Stat()
	ok(t, err)
	if !info.IsDir() {
		t.Fatal("a directory's Stat says file")
	}
	ok(t, d.Close())
	s.write(t, "a", "x")
	if _, err := s.OpenDir(s.path("a")); err == nil {
		t.Fatal("opened a file as a directory")
	}
	ok(t, vfs.SyncDir(s, s.dir))
}

func (s suite) lock(t *testing.T) {
	l, err := s.Lock(s.path("LOCK"))
	ok(t, err)
	_, err = s.Lock(s.path("LOCK"))
	is(t, err, vfs.ErrLocked)
	ok(t, l.Close())
	l, err = s.Lock(s.path("LOCK"))
	ok(t, err)
	ok(t, l.Close())
	if err := l.Close(); err == nil {
		t.Fatal("released twice")
	}
}

func (s suite) removedStaysReadable(t *testing.T) {
	s.write(t, "a", "still here")
	f, err := s.Open(s.path("a"))
	ok(t, err)
	ok(t, s.Remove(s.path("a")))
	got, err := io.ReadAll(f)
	ok(t, err)
	if string(got) != "still here" {
		t.Fatalf("read %q", got)
	}
	ok(t, f.Close())
}

func (s suite) diskUsage(t *testing.T) {
	u, err := s.DiskUsage(s.dir)
	ok(t, err)
	if u.Total == 0 || u.Avail > u.Total || u.Used > u.Total {
		t.Fatalf("usage %+v", u)
	}
	_, err = s.DiskUsage(s.path("none"))
	is(t, err, fs.ErrNotExist)
}

func (s suite) writeFileAtomic(t *testing.T) {
	ok(t, vfs.WriteFileAtomic(s, s.path("a"), []byte("first, longer")))
	ok(t, vfs.WriteFileAtomic(s, s.path("a"), []byte("second")))
	s.want(t, "a", "second")
	names, err := s.List(s.dir)
	ok(t, err)
	if !slices.Equal(names, []string{"a"}) {
		t.Fatalf("left behind: %q", names)
	}
}

func (s suite) concurrentReads(t *testing.T) {
	f, err := s.Create(s.path("a"))
	ok(t, err)
	data := bytes.Repeat([]byte("0123456789"), 2000)
	_, err = f.Write(data)
	ok(t, err)
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			buf := make([]byte, 1000)
			for k := range 50 {
				off := int64(i*1000 + k*100)
				if _, err := f.ReadAt(buf, off); err != nil || !bytes.Equal(buf, data[off:off+1000]) {
					t.Errorf("read at %d: %v", off, err)
				}
			}
		})
	}
	for k := range 50 {
		_, err := f.WriteAt(data[:100], int64(len(data)+k*100))
		ok(t, err)
	}
	wg.Wait()
	ok(t, f.Close())
}

// mapped: mapped, copied and loaded files hold the same bytes, begin where vector
// instructions want them, and outlive the file's name.
func (s suite) mapped(t *testing.T) {
	for _, size := range []int{0, 1, 4096, 3<<20 + 17} {
		data := bytes.Repeat([]byte("0123456789abcdefg"), size/17+1)[:size]
		s.write(t, "a", string(data))
		for name, open := range map[string]func(vfs.FS, string) (vfs.Mapping, error){"map": vfs.FS.Map, "copy": vfs.Copy, "load": vfs.Load} {
			m, err := open(s.FS, s.path("a"))
			ok(t, err)
			for _, a := range []vfs.Advice{vfs.Normal, vfs.Sequential, vfs.WillNeed, vfs.Random, vfs.DontNeed} {
				ok(t, m.Advise(a))
			}
			if name == "map" {
				ok(t, s.Remove(s.path("a")))
				s.write(t, "a", string(data))
			}
			got := m.Bytes()
			if !bytes.Equal(got, data) || cap(got) != len(got) {
				t.Fatalf("%s: %d bytes of %d, or others", name, len(got), size)
			}
			if at := uintptr(unsafe.Pointer(unsafe.SliceData(got))); size > 0 && at%vfs.Alignment != 0 {
				t.Fatalf("%s: begins at %#x", name, at)
			}
			ok(t, m.Close())
			is(t, m.Close(), fs.ErrClosed)
			if m.Bytes() != nil {
				t.Fatalf("%s: bytes after Close", name)
			}
		}
	}
}

func (s suite) mapMissing(t *testing.T) {
	_, err := s.Map(s.path("none"))
	is(t, err, fs.ErrNotExist)
	if _, err := s.Map(s.dir); err == nil {
		t.Fatal("mapped a directory")
	}
}
