//go:build !race

// See fault_test.go for why these run without the race detector.
package shard

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"path"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"

	"github.com/pandodb/pando/services/dataplane/internal/point"
	"github.com/pandodb/pando/services/dataplane/internal/shard/manifest"
	"github.com/pandodb/pando/services/dataplane/internal/shard/record"
	"github.com/pandodb/pando/services/dataplane/internal/shard/store"
	"github.com/pandodb/pando/services/internal/vfs"
	"github.com/pandodb/pando/services/internal/vfs/faultfs"
	"github.com/pandodb/pando/services/internal/vfs/memfs"
)

// TestImportCrashes cuts the power before each change of the disk. What is found
// then is either the whole copy or something that nobody takes for it; after
// Finish it is the copy.
func TestImportCrashes(t *testing.T) {
	l := history(60)
	s := open(t, options(memfs.New()))
	l.catchUp(t, s)
	head, body := export(t, s)
	l.mark = point.Mark{} // a copy has none
	whole, other := 0, 0
	for n := 1; ; n++ {
		mem := memfs.New()
		var after []*memfs.FS
		rng := rand.New(rand.NewPCG(uint64(n), 3))
		err := take(options(faultfs.New(mem, faultfs.Crash(n, func() {
			for range 3 {
				after = append(after, mem.CrashClone(rng))
			}
		}))), head, body, 500)
		if finished := err == nil; finished {
			after = append(after, mem.StrictClone())
		} else if after == nil {
			t.Fatal(err)
		}
		for _, disk := range after {
			c, oerr := Open(options(disk))
			switch {
			case oerr != nil && !errors.Is(oerr, ErrCorrupt):
				t.Fatalf("crash at %d: %v", n, oerr)
			case oerr != nil:
				other++
			case c.Applied().Seq == 0 && points(t, c) == 0 && err != nil:
				other++
				ok(t, c.Close())
			default:
				l.check(t, c)
				ok(t, c.Close())
				whole++
			}
		}
		if err == nil {
			t.Logf("%d changes; %d disks held the copy, %d did not", n-1, whole, other)
			return
		}
	}
}

// TestImportFails: a full and a failing disk are told apart, and closing waits for
// neither.
func TestImportFails(t *testing.T) {
	s := open(t, options(memfs.New()))
	l := newLedger()
	bulk(l, rand.New(rand.NewPCG(1, 1)))
	l.catchUp(t, s)
	head, body := export(t, s)
	full := memfs.New()
	full.SetCapacity(300 << 10)
	if err := take(options(full), head, body, 100_000); !errors.Is(err, ErrNoSpace) || errors.Is(err, ErrFailed) {
		t.Errorf("full disk: %v", err)
	}
	failing := faultfs.New(memfs.New())
	failing.SetRules(func(o faultfs.Op) error {
		if o.Kind == faultfs.KindSync && strings.HasSuffix(o.Path, ".sst") {
			return syscall.EIO
		}
		return nil
	})
	if err := take(options(failing), head, body, 100_000); !errors.Is(err, ErrFailed) || !errors.Is(err, syscall.EIO) {
		t.Errorf("failing disk: %v", err)
	}
}

// TestExportOfDamage: a flipped bit under the export ends it with an error, or lay
// where nothing of the copy is kept.
func TestExportOfDamage(t *testing.T) {
	mem := memfs.New()
	s, err := Open(options(mem))
	ok(t, err)
	l := newLedger()
	bulk(l, rand.New(rand.NewPCG(1, 1)))
	l.catchUp(t, s)
	_, err = s.Checkpoint()
	ok(t, err)
	ok(t, s.Close())
	names, err := mem.List(dir)
	ok(t, err)
	found := 0
	rng := rand.New(rand.NewPCG(6, 6))
	for _, name := range names {
		if !strings.HasSuffix(name, ".sst") {
			continue
		}
		file := path.Join(dir, name)
		data, err := vfs.ReadFile(mem, file)
		ok(t, err)
		for range 20 {
			disk := mem.StrictClone()
			o := options(disk)
			o.Cache = store.NewCache(0, 8) // nothing is read from memory
			s, err := Open(o)
			ok(t, err)
			want, body := export(t, s)
			at := rng.IntN(len(data))
			f, err := disk.OpenReadWrite(file)
			ok(t, err)
			_, err = f.WriteAt([]byte{data[at] ^ 1<<rng.IntN(8)}, int64(at))
			ok(t, errors.Join(err, f.Close()))
			e, err := s.Export()
			ok(t, err)
			got, err := io.ReadAll(e)
			h := e.Head()
			switch {
			case errors.Is(err, ErrCorrupt):
				found++
			case err != nil || !bytes.Equal(got, body) || !bytes.Equal(h.AppendBinary(nil), want):
				t.Errorf("byte %d of %s: %v", at, name, err)
			}
			ok(t, errors.Join(e.Close(), s.Close()))
			o.Cache.Close()
		}
	}
	if found == 0 {
		t.Error("no damage was found")
	}
}

// memory is what this process has from the system and has not given back.
func memory() int {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.Sys - m.HeapReleased)
}

// TestImportInBoundedMemory takes a copy that is larger than what it may hold.
func TestImportInBoundedMemory(t *testing.T) {
	const points, size = 24_000, 16_000
	rng := rand.New(rand.NewPCG(1, 1))
	noise := make([]float32, 2*size/4)
	for i := range noise {
		noise[i] = rng.Float32()
	}
	var stored []byte
	make := func(n int) point.Point { // no two alike, and none compresses
		from := n % (size / 4)
		was := noise[from]
		noise[from] = float32(n)
		p := point.Point{ID: num(uint64(n)), Alive: true, Base: point.Stamp{HLC: 1, Origin: 1}, Vectors: []point.Vector{{Name: "x", Data: noise[from : from+size/4]}}}
		stored = p.AppendBinary(stored[:0])
		noise[from] = was
		return p
	}
	h := record.Head{Seq: 1, HLC: 1, Points: points}
	var scratch []byte
	for n := range points {
		p := make(n)
		var d point.Digest
		d, scratch = point.DigestOf(p.ID, stored, scratch)
		h.Digest = h.Digest.Add(d)
	}
	o := options(vfs.OS())
	o.Dir = path.Join(t.TempDir(), "copy")
	head := h.AppendBinary(nil)
	debug.FreeOSMemory()
	before, most := memory(), 0
	i, err := NewImport(o, head)
	ok(t, err)
	w := record.NewWriter(head)
	buf := w.Record(nil, record.Manifest, nil, (&manifest.Manifest{}).AppendBinary(nil))
	_, err = i.Write(buf)
	ok(t, err)
	for n := range points {
		buf = w.Record(buf[:0], record.Tail, make(n).ID.Append(binary.BigEndian.AppendUint64(nil, 0)), stored)
		_, err := i.Write(buf)
		ok(t, err)
		if n%100 == 0 {
			most = max(most, memory()-before)
		}
	}
	_, err = i.Write(w.End(nil))
	ok(t, errors.Join(err, i.Finish()))
	most = max(most, memory()-before)
	t.Logf("%d MB, memory grew by %d MB", points*size/1_000_000, most/1_000_000)
	if most > 256<<20 {
		t.Errorf("memory grew by %d bytes", most)
	}
}
