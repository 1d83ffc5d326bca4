package statefile

import (
	"bytes"
	"errors"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/pandodb/pando/services/internal/vfs"
	"github.com/pandodb/pando/services/internal/vfs/faultfs"
	"github.com/pandodb/pando/services/internal/vfs/memfs"
)

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func want(t testing.TB, fsys vfs.FS, version uint32, payload string) {
	t.Helper()
	v, p, err := Load(fsys, "state")
	ok(t, err)
	if v != version || string(p) != payload {
		t.Fatalf("version %d, %q", v, p)
	}
}

func TestStoreLoad(t *testing.T) {
	m := memfs.New()
	_, _, err := Load(m, "state")
	if !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	for i, payload := range []string{"first", "", "a longer third one"} {
		ok(t, Store(m, "state", uint32(i), []byte(payload)))
		want(t, m.StrictClone(), uint32(i), payload)
	}
}

func TestEveryDamageIsFound(t *testing.T) {
	m := memfs.New()
	ok(t, Store(m, "state", 1, []byte("promised, placement, pending, run, incarnation")))
	data, err := vfs.ReadFile(m, "state")
	ok(t, err)
	check := func(what string, i int, data []byte) {
		t.Helper()
		f, err := m.Create("state")
		ok(t, err)
		_, err = f.Write(data)
		ok(t, err)
		_, _, err = Load(m, "state")
		var bad *CorruptError
		if !errors.As(err, &bad) || bad.File != "state" {
			t.Fatalf("%s %d: %v", what, i, err)
		}
	}
	for i := range data {
		for bit := range 8 {
			harmed := bytes.Clone(data)
			harmed[i] ^= 1 << bit
			check("byte", i, harmed)
		}
		check("cut at", i, data[:i])
	}
	check("longer by", 1, append(bytes.Clone(data), 0))
}

func TestLaterFrame(t *testing.T) {
	m := memfs.New()
	ok(t, Store(m, "state", 1, nil))
	data, err := vfs.ReadFile(m, "state")
	ok(t, err)
	data[8]++
	sum := checksum(data[:len(data)-tailSize])
	for i := range tailSize {
		data[len(data)-tailSize+i] = byte(sum >> (8 * i))
	}
	ok(t, vfs.WriteFileAtomic(m, "state", data))
	if _, _, err := Load(m, "state"); !errors.Is(err, ErrFormat) {
		t.Fatal(err)
	}
}

// What Load has returned is never taken back, also when the process that stored
// it ended before its last sync.
func TestLoadedStateIsDurable(t *testing.T) {
	points := 0
	for n := 1; ; n++ {
		for seed := range uint64(40) {
			m := memfs.New()
			ok(t, Store(m, "state", 1, []byte("old")))
			ffs := faultfs.New(m, faultfs.From(n, errors.New("killed")))
			err := Store(ffs, "state", 2, bytes.Repeat([]byte("new"), 300))
			v, _, lerr := Load(m, "state") // the next process, same machine
			ok(t, lerr)
			if err == nil && v != 2 {
				t.Fatalf("version %d after a good store", v)
			}
			for _, disk := range []*memfs.FS{m.StrictClone(), m.CrashClone(rand.New(rand.NewPCG(seed, 1)))} {
				if after, _, err := Load(disk, "state"); err != nil || after != v {
					t.Fatalf("operation %d: version %d was loaded, %d after the crash, %v", n, v, after, err)
				}
			}
			if err == nil {
				if points = n - 1; points != 5 {
					t.Fatalf("%d operations", points)
				}
				return
			}
		}
	}
}

func TestGolden(t *testing.T) {
	golden, err := vfs.ReadFile(vfs.OS(), filepath.Join("testdata", "v1.state"))
	ok(t, err)
	if got := appendFrame(nil, 1, []byte("pando")); !bytes.Equal(got, golden) {
		t.Fatalf("wrote % x\nwant  % x", got, golden)
	}
}

func FuzzParseFrame(f *testing.F) {
	f.Add(appendFrame(nil, 1, nil))
	f.Add(appendFrame(nil, 7, []byte("payload")))
	f.Add([]byte(magic))
	f.Fuzz(func(t *testing.T, data []byte) {
		version, payload, err := parseFrame(data)
		if err == nil && !bytes.Equal(appendFrame(nil, version, payload), data) {
			t.Fatal("what was accepted is not what would be written")
		}
	})
}
