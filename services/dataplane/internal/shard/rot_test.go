//go:build !race

// See fault_test.go for why these run without the race detector.
package shard

import (
	"errors"
	"io"
	"math/rand/v2"
	"path"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/point"
	"github.com/pandodb/pando/services/dataplane/internal/query"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/vfs"
	"github.com/pandodb/pando/services/internal/vfs/faultfs"
	"github.com/pandodb/pando/services/internal/vfs/memfs"
)

// damage flips a bit of a file.
func damage(t *testing.T, disk vfs.FS, file string, at int64, bit int) {
	t.Helper()
	f, err := disk.OpenReadWrite(file)
	ok(t, err)
	b := make([]byte, 1)
	_, err = f.ReadAt(b, at)
	ok(t, err)
	b[0] ^= 1 << bit
	_, err = f.WriteAt(b, at)
	ok(t, errors.Join(err, f.Sync(), f.Close()))
}

// TestBitFlipsOfParts: each flipped bit of a segment is found with file and offset; what
// is derived from it is made again; a flip in the store's files is found, or a prefix
// is, whole.
func TestBitFlipsOfParts(t *testing.T) {
	l := parts(6)
	mem := memfs.New()
	s, err := Open(derived(mem))
	ok(t, err)
	l.catchUp(t, s)
	settled(t, mem, s)
	ok(t, s.Close())
	rng := rand.New(rand.NewPCG(8, 8))
	counts := map[string][2]int{}
	for _, folder := range []string{path.Join(dir, "segments"), dir} {
		names, err := mem.List(folder)
		ok(t, err)
		for _, name := range names {
			file := path.Join(folder, name)
			info, err := mem.Stat(file)
			ok(t, err)
			if info.IsDir() || info.Size() == 0 {
				continue
			}
			for range 12 {
				disk := mem.StrictClone()
				at := rng.Int64N(info.Size())
				damage(t, disk, file, at, rng.IntN(8))
				var r reports
				s, err := Open(r.of(derived(disk)))
				n := counts[path.Ext(name)]
				if err == nil {
					n[1]++
					// The store's own log of its files ends where it is damaged, as after a power cut: what
					// is found then is what an earlier checkpoint had, and the replica's log tells.
					l.prefix(int(s.Applied().Seq)).check(t, s)
					if folder != dir {
						ok(t, s.Settle(ctx))
						again, err := vfs.ReadFile(disk, file)
						ok(t, err)
						if whole, err := vfs.ReadFile(mem, file); err != nil || !slices.Equal(again, whole) || !slices.Equal(r.lost, []string{name}) || !slices.Equal(r.mended, r.lost) {
							t.Errorf("byte %d of %s: lost %v, mended %v", at, file, r.lost, r.mended)
						}
					}
					ok(t, s.Close())
				} else if n[0]++; folder != dir && (!errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrVersion) || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "offset")) {
					t.Errorf("byte %d of %s: %v", at, file, err)
				}
				counts[path.Ext(name)] = n
			}
		}
	}
	t.Logf("found, harmless: %v", counts)
}

// TestDiskFullOfParts: the disk becomes full somewhere in a merge or in making graphs.
// Nothing is left over, reads go on, and with room again all is made, after a restart
// or without one.
func TestDiskFullOfParts(t *testing.T) {
	l := parts(8)
	calm := memfs.New()
	s := open(t, derived(calm))
	l.catchUp(t, s)
	want := settled(t, calm, s)
	refused := 0
	for extra := uint64(0); extra < 160<<10; extra += 20 << 10 {
		mem, news := memfs.New(), make(chan bool, 64)
		o := derived(mem)
		o.Events.Full = func(full bool) { news <- full }
		s, err := Open(o)
		ok(t, err)
		half := l.prefix(len(l.entries) / 2)
		half.catchUp(t, s)
		settled(t, mem, s)
		u, err := mem.DiskUsage(dir)
		ok(t, err)
		mem.SetCapacity(u.Total - u.Avail + extra)
		err = s.Apply(l.entries[len(half.entries):])
		_, full := s.Checkpoint()
		if err = errors.Join(err, full); err != nil {
			refused++
			if !errors.Is(err, ErrNoSpace) || errors.Is(err, ErrFailed) {
				t.Errorf("%d bytes left: %v", extra, err)
			}
		}
		l.prefix(int(s.Applied().Seq)).check(t, s)
		if extra%(40<<10) == 0 {
			ok(t, s.Close())
			for _, name := range segmentFiles(t, mem) {
				if strings.HasSuffix(name, ".tmp") {
					t.Errorf("%d bytes left: %s stays", extra, name)
				}
			}
			mem.SetCapacity(0)
			s, err = Open(derived(mem))
			ok(t, err)
		}
		mem.SetCapacity(0)
		for _, err = s.Checkpoint(); errors.Is(err, ErrNoSpace); _, err = s.Checkpoint() {
			<-news // that there is room
		}
		ok(t, err)
		l.catchUp(t, s)
		if got := settled(t, mem, s); !slices.Equal(got, want) {
			t.Errorf("%d bytes left: files %v, want %v", extra, got, want)
		}
		ok(t, s.Close())
	}
	if refused == 0 {
		t.Error("the disk was never full")
	}
}

// TestFailedSyncOfParts: a file of a segment that cannot be synced fails the shard;
// reads go on, and a restart makes the segment.
func TestFailedSyncOfParts(t *testing.T) {
	l := parts(4)
	for _, kind := range []faultfs.Kind{faultfs.KindSync, faultfs.KindSyncDir, faultfs.KindRename, faultfs.KindWrite, faultfs.KindCreate, faultfs.KindRead, faultfs.KindOpen} {
		mem := memfs.New()
		faulty := faultfs.New(mem)
		s, err := Open(derived(faulty))
		ok(t, err)
		faulty.SetRules(func(o faultfs.Op) error {
			if o.Kind == kind && strings.Contains(o.Path, "segments") {
				return syscall.EIO
			}
			return nil
		})
		err = errors.Join(s.Apply(l.entries), s.Settle(ctx))
		if !errors.Is(err, ErrFailed) || !errors.Is(err, syscall.EIO) || !strings.Contains(err.Error(), dir) {
			t.Errorf("%s: %v", kind, err)
		}
		l.prefix(int(s.Applied().Seq)).check(t, s)
		ok(t, s.Close())
		again, err := Open(derived(mem.StrictClone()))
		ok(t, err)
		l.catchUp(t, again)
		ok(t, errors.Join(again.Settle(ctx), again.Close()))
	}
}

// TestCopyOfParts: a copy of segments that is cut or damaged anywhere is refused; one
// whose source merges and removes the files meanwhile is whole.
func TestCopyOfParts(t *testing.T) {
	l := parts(6)
	mem := memfs.New()
	s := open(t, derived(mem))
	l.catchUp(t, s)
	want := settled(t, mem, s)
	e, err := s.Export()
	ok(t, err)
	body := make([]byte, 3000)
	_, err = io.ReadFull(e, body)
	ok(t, err)
	at := *l
	at.entries = slices.Clone(l.entries)
	var all []topology.Seq
	for _, p := range s.apply.manifest.Parts {
		all = append(all, p.Number)
	}
	l.add(op.Op{Kind: op.Delete, IDs: []topology.PointID{num(1), num(2)}})
	l.add(op.Op{Kind: op.Merge, Parts: all})
	ok(t, s.Apply(l.entries[len(at.entries):]))
	if got := settled(t, mem, s); slices.Equal(got, want) {
		t.Fatal("nothing was merged")
	}
	rest, err := io.ReadAll(e)
	ok(t, errors.Join(err, e.Close()))
	body = append(body, rest...)
	h := e.Head()
	head := h.AppendBinary(nil)
	rng := rand.New(rand.NewPCG(3, 3))
	for range 150 {
		bad := slices.Clone(body)
		bad[rng.IntN(len(bad))] ^= 1 << rng.IntN(8)
		if err := take(derived(memfs.New()), head, bad, 1+rng.IntN(9000)); !errors.Is(err, ErrCopy) && !errors.Is(err, ErrVersion) {
			t.Errorf("damaged: %v", err)
		}
		if err := take(derived(memfs.New()), head, body[:rng.IntN(len(body))], 1+rng.IntN(9000)); !errors.Is(err, ErrCopy) {
			t.Errorf("cut: %v", err)
		}
	}
	disk := memfs.New()
	ok(t, take(derived(disk), head, body, 4096))
	c := open(t, derived(disk))
	if got := settled(t, disk, c); !slices.Equal(got, want) {
		t.Errorf("files of the copy %v, want %v", got, want)
	}
	l.mark = point.Mark{} // a copy has none
	l.catchUp(t, c)
	if got, want := settled(t, disk, c), segmentFiles(t, mem); !slices.Equal(got, want) {
		t.Errorf("files of the copy after the merge %v, want %v", got, want)
	}
}

// TestCopyInBoundedMemory copies a segment that is larger than what either end may hold.
func TestCopyInBoundedMemory(t *testing.T) {
	const points, dim, step = 24_000, 2000, 500
	on := func(name string) Options {
		o := benchOptions(vfs.OS(), dim)
		o.Dir = path.Join(t.TempDir(), name)
		o.Settings = func([]byte) (query.Settings, error) {
			return query.Settings{PayloadOnDisk: true, Vectors: []query.VectorSettings{{OnDisk: true}}}, nil
		}
		return o
	}
	s := open(t, on("source"))
	noise := make([]float32, dim+points)
	rng := rand.New(rand.NewPCG(1, 1))
	for i := range noise {
		noise[i] = rng.Float32()
	}
	l := newLedger()
	for from := 0; from < points; from += step {
		var ps []op.Point
		for i := from; i < from+step; i++ {
			ps = append(ps, op.Point{ID: num(uint64(i)), Vectors: []op.Vector{{Data: noise[i:][:dim]}}})
		}
		o := op.Op{Kind: op.Upsert, Points: ps}
		ok(t, s.Apply([]op.Entry{{Seq: s.Applied().Seq + 1, HLC: l.clock.Next(1), Origin: 1, Body: o.Append(nil)}}))
	}
	seal := op.Op{Kind: op.Seal}
	ok(t, s.Apply([]op.Entry{{Seq: s.Applied().Seq + 1, HLC: l.clock.Next(1), Origin: 1, Body: seal.Append(nil)}}))
	ok(t, s.Settle(ctx))
	_, err := s.Checkpoint()
	ok(t, err)
	debug.FreeOSMemory()
	before, most := memory(), 0
	e, err := s.Export()
	ok(t, err)
	h := e.Head()
	i, err := NewImport(on("copy"), h.AppendBinary(nil))
	ok(t, err)
	piece, total := make([]byte, 512<<10), 0
	for err == nil {
		var n int
		n, err = e.Read(piece)
		if _, werr := i.Write(piece[:n]); werr != nil {
			t.Fatal(werr)
		}
		total += n
		most = max(most, memory()-before)
	}
	if err != io.EOF {
		t.Fatal(err)
	}
	ok(t, errors.Join(e.Close(), i.Finish()))
	most = max(most, memory()-before)
	t.Logf("%d MB, memory grew by %d MB", total/1_000_000, most/1_000_000)
	if total < points*dim*4 || most > 64<<20 {
		t.Errorf("memory grew by %d bytes for a copy of %d", most, total)
	}
}
