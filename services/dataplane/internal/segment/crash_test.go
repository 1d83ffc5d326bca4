package segment

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/point"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/vfs"
	"github.com/pandodb/pando/services/internal/vfs/faultfs"
	"github.com/pandodb/pando/services/internal/vfs/memfs"
)

// sample is n points with vectors of every column, some missing, and payloads.
// Their files take several blocks from 3,000 points on.
func sample(n int) []point.Point {
	ps := make([]point.Point, n)
	for i := range ps {
		p := &ps[i]
		p.ID = topology.NumberID(uint64(3 * i))
		if i >= 2*n/3 {
			p.ID = topology.UUIDID([16]byte{byte(i >> 16), byte(i >> 8), byte(i), 15: 1})
		}
		vs := []op.Vector{{Name: "", Data: []float32{float32(i), 0.5, -1}}}
		if i%3 > 0 {
			vs = append(vs, op.Vector{Name: "half", Data: []float32{1, 2, 0.25, float32(i % 2048), -1}})
		}
		if i%5 > 0 {
			vs = append(vs, op.Vector{Name: "image", Data: make([]float32, 20)}, op.Vector{Name: "other", Data: []float32{float32(i)}})
		}
		p.Apply(point.Stamp{HLC: op.HLC(i + 1), Origin: 3}, point.Change{Kind: op.Upsert, Vectors: vs, Payload: numbered(i)})
		if i%7 == 0 {
			p.Apply(point.Stamp{HLC: op.HLC(i + 2), Origin: 3}, point.Change{Kind: op.UpdateVectors, Vectors: vs[:1]})
		}
	}
	return ps
}

func put(fsys vfs.FS) (File, error) {
	return WriteArtefact(fsys, dir, KindGraph, "half", func(w io.Writer) error {
		_, err := io.WriteString(w, strings.Repeat("links", 15_000))
		return err
	})
}

// both writes a segment and an artefact.
func both(fsys vfs.FS, ps []point.Point) (d Description, f File, err error) {
	if d, err = write(fsys, staged(), ps); err == nil {
		f, err = put(fsys)
	}
	return d, f, err
}

func check(fsys vfs.FS, d Description, f File, ps []point.Point) error {
	return checkAs(fsys, staged(), d, f, ps)
}

func checkAs(fsys vfs.FS, spec Spec, d Description, f File, ps []point.Point) error {
	d.Files = append(d.Files[:len(d.Files):len(d.Files)], f)
	s, err := Open(fsys, dir, schema(), d, nil)
	if err != nil {
		return err
	}
	if err := errors.Join(same(s, spec, ps), s.Close()); err != nil {
		panic(err) // what opens is whole
	}
	a, err := OpenArtefact(fsys, dir, f, Pinned)
	if err != nil {
		return err
	}
	if string(a.Bytes()) != strings.Repeat("links", 15_000) {
		panic("an artefact opens and differs")
	}
	return a.Close()
}

// TestCrashes cuts the power before each change of the disk: what was reported as
// written is whole, the rest is whole or refused, and Clean leaves nothing of it.
func TestCrashes(t *testing.T) {
	ps := sample(3000)
	count := faultfs.New(folder(t))
	d, f, err := both(count, ps)
	ok(t, err)
	ok(t, check(count, d, f, ps))
	if total := count.Count(); total < 50 {
		t.Fatalf("only %d changes", total)
	}
	for n := 1; n <= count.Count()+1; n++ {
		mem := folder(t)
		var after []*memfs.FS
		rng := rand.New(rand.NewPCG(uint64(n), 5))
		crash := func() {
			after = append(after, mem.StrictClone())
			for range 4 {
				after = append(after, mem.CrashClone(rng))
			}
		}
		faulty := faultfs.New(mem, faultfs.Crash(n, crash))
		_, _, err := both(faulty, ps)
		done := err == nil
		if done {
			crash()
		}
		if done != (n > count.Count()) {
			t.Fatalf("crash at %d of %d: %v", n, count.Count(), err)
		}
		for i, disk := range after {
			if err := check(disk, d, f, ps); done && err != nil {
				t.Fatalf("clone %d: written, then %v", i, err)
			} else if err != nil && !errors.Is(err, ErrCorrupt) {
				t.Fatalf("crash at %d (%v), clone %d: %v", n, faulty.Last(), i, err)
			}
			ok(t, Clean(disk, dir, func(File) bool { return false }))
			if left := contents(t, disk.StrictClone()); len(left) > 0 {
				t.Fatalf("crash at %d: Clean leaves %d files", n, len(left))
			}
		}
	}
}

// TestFaults fails each change of the disk once: the error comes through, nothing
// stays but what has its name already, and a second attempt succeeds.
func TestFaults(t *testing.T) {
	ps := sample(300)
	for n := 1; ; n++ {
		mem := folder(t)
		faulty := faultfs.New(mem, faultfs.Nth(n, &faultfs.ShortWrite{Bytes: 9, Err: syscall.EIO}))
		_, _, err := both(faulty, ps)
		if n > faulty.Count() {
			ok(t, err)
			return
		}
		if !errors.Is(err, syscall.EIO) {
			t.Fatalf("change %d failed: %v", n, err)
		}
		for name := range contents(t, mem) {
			if isTemp(name) {
				t.Fatalf("change %d failed, %s stays", n, name)
			}
		}
		d, f, err := both(mem, ps)
		ok(t, err)
		ok(t, check(mem, d, f, ps))
	}
}

func TestFullDisk(t *testing.T) {
	ps := sample(3000)
	full := 0
	for room := uint64(0); ; room += 40 << 10 {
		mem := folder(t)
		mem.SetCapacity(room + 1)
		d, f, err := both(mem, ps)
		if err == nil {
			ok(t, check(mem, d, f, ps))
			break
		}
		if full++; !vfs.IsNoSpace(err) {
			t.Fatalf("room for %d: %v", room, err)
		}
		for name := range contents(t, mem) {
			if isTemp(name) {
				t.Fatalf("%s stays on a full disk", name)
			}
		}
	}
	if full < 5 {
		t.Fatalf("the disk was full %d times", full)
	}
}

// TestDamage flips bits all over every file: each is found when the file is opened,
// and named with file and offset.
func TestDamage(t *testing.T) {
	ps := sample(3000)
	disk := folder(t)
	d, art, err := both(disk, ps)
	ok(t, err)
	rng := rand.New(rand.NewPCG(1, 1))
	for _, f := range append(d.Files, art) {
		name := filepath.Join(dir, f.FileName())
		offsets := []int64{0, 8, 12, 59, 60, headerSize, f.Size - 1, f.Size - 5, f.Size - footerSize, f.Size - footerSize + 40, f.Size - footerSize - 1}
		for range 60 {
			offsets = append(offsets, rng.Int64N(f.Size))
		}
		for _, off := range offsets {
			bad := disk.StrictClone()
			file, err := bad.OpenReadWrite(name)
			ok(t, err)
			var b [1]byte
			_, err = file.ReadAt(b[:], off)
			ok(t, err)
			b[0] ^= 1 << rng.IntN(8)
			_, err = file.WriteAt(b[:], off)
			ok(t, err)
			ok(t, file.Close())
			if err = check(bad, d, art, ps); !errors.Is(err, ErrCorrupt) {
				t.Fatalf("%s, byte %d: %v", name, off, err)
			}
			var at int64
			if _, place, found := strings.Cut(err.Error(), name+", offset "); !found {
				t.Fatalf("byte %d of %s: %v", off, name, err)
			} else if _, serr := fmt.Sscanf(place, "%d:", &at); serr != nil || at > off || off-at > blockSize && off < f.Size-footerSize {
				t.Fatalf("byte %d of %s: %v", off, name, err)
			}
		}
		for _, size := range []int64{0, 63, f.Size - 1, f.Size - 4, f.Size + 64} {
			bad := disk.StrictClone()
			file, err := bad.OpenReadWrite(name)
			ok(t, err)
			ok(t, file.Truncate(size))
			ok(t, file.Close())
			if err := check(bad, d, art, ps); !errors.Is(err, ErrCorrupt) {
				t.Fatalf("%s cut at %d: %v", name, size, err)
			}
		}
	}
}

// TestMisplaced: blocks and files that are whole but elsewhere do not pass.
func TestMisplaced(t *testing.T) {
	ps := sample(6000)
	disk := folder(t)
	d, art, err := both(disk, ps)
	ok(t, err)
	swap := func(what string, change func(files map[string]string)) {
		t.Helper()
		files := contents(t, disk)
		change(files)
		bad := folder(t)
		for name, data := range files {
			ok(t, vfs.WriteFileAtomic(bad, filepath.Join(dir, name), []byte(data)))
		}
		if err := check(bad, d, art, ps); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", what, err)
		}
	}
	vectors := d.Files[KindVectors-1].FileName()
	swap("blocks of a file", func(files map[string]string) {
		b := []byte(files[vectors])
		copy(b[blockSize:], files[vectors][2*blockSize:3*blockSize])
		files[vectors] = string(b)
	})
	changed := sample(6000)
	changed[10].Apply(point.Stamp{HLC: 1 << 50, Origin: 1}, point.Change{Kind: op.UpdateVectors, Vectors: []op.Vector{{Data: []float32{9, 9, 9}}}})
	other := folder(t)
	foreign, err := write(other, staged(), changed)
	ok(t, err)
	for i, f := range foreign.Files {
		swap("file of another segment: "+f.Kind.String(), func(files map[string]string) {
			files[d.Files[i].FileName()] = contents(t, other)[f.FileName()]
		})
	}
	for i, f := range d.Files[1:] {
		swap("file of another kind or name", func(files map[string]string) { files[d.Files[i].FileName()] = files[f.FileName()] })
		swap("missing file", func(files map[string]string) { delete(files, f.FileName()) })
	}
	for _, bad := range []Description{{}, {Files: d.Files[:3]}, {Files: d.Files[1:]}, {Part: d.Part, Rows: d.Rows, Digest: d.Digest, Files: append(d.Files[:3:3], d.Files[len(d.Files)-1])}, {Rows: 5, Digest: d.Digest, Files: d.Files}, {Rows: d.Rows, Files: d.Files}} {
		if _, err := Open(disk, dir, schema(), bad, nil); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}

func TestRefusesPoints(t *testing.T) {
	ps := sample(600)
	stop := errors.New("stop")
	dead := point.Point{ID: topology.NumberID(0), Base: point.Stamp{HLC: 1}}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(stop)
	for name, c := range map[string]struct {
		ctx    context.Context
		n      int
		points []point.Point
		err    error
		want   error
		stages int
	}{
		"too many":      {t.Context(), 599, ps, nil, ErrPoints, 2},
		"too few":       {t.Context(), 601, ps, nil, ErrPoints, 2},
		"negative":      {t.Context(), -1, nil, nil, ErrPoints, 2},
		"more rows":     {t.Context(), MaxRows + 1, nil, nil, ErrPoints, 2},
		"twice":         {t.Context(), 2, []point.Point{ps[1], ps[1]}, nil, ErrPoints, 2},
		"descending":    {t.Context(), 2, []point.Point{ps[599], ps[1]}, nil, ErrPoints, 2},
		"tombstone":     {t.Context(), 1, []point.Point{dead}, nil, ErrPoints, 2},
		"no such stage": {t.Context(), 600, ps, nil, ErrPoints, 4},
		"source fails":  {t.Context(), 601, ps, stop, stop, 2},
		"cancelled":     {ctx, 600, ps, nil, stop, 2},
	} {
		disk := folder(t)
		_, err := Write(c.ctx, disk, dir, staged(), c.n, func(yield func(Row, error) bool) {
			for p := range each(c.points, c.stages) {
				if !yield(p, nil) {
					return
				}
			}
			if c.err != nil {
				yield(Row{}, c.err)
			}
		})
		if left := contents(t, disk); !errors.Is(err, c.want) || len(left) > 0 {
			t.Errorf("%s: %v, %d files", name, err, len(left))
		}
	}
	if _, err := write(folder(t), Spec{Part: 1000, Earlier: make([]topology.Seq, MaxStages)}, ps); !errors.Is(err, ErrPoints) {
		t.Errorf("too many stages: %v", err)
	}
}

// TestClean keeps what is named and what is not this package's.
func TestClean(t *testing.T) {
	ps := sample(50)
	disk := folder(t)
	d, art, err := both(disk, ps)
	ok(t, err)
	want := contents(t, disk)
	old, err := write(disk, schema(), sample(49))
	ok(t, err)
	for _, name := range []string{"segment-0011.tmp", "notes.tmp", "0123.ids", strings.ToUpper(fileNames(old)[0])} {
		ok(t, vfs.WriteFileAtomic(disk, filepath.Join(dir, name), []byte(name)))
		if name != "segment-0011.tmp" {
			want[name] = name
		}
	}
	keep := map[string]bool{}
	for _, name := range append(fileNames(d), art.FileName()) {
		keep[name] = true
	}
	ok(t, Clean(disk, dir, func(f File) bool { return keep[f.FileName()] }))
	if got := contents(t, disk.StrictClone()); !reflect.DeepEqual(got, want) {
		t.Fatalf("%d files, want %d", len(got), len(want))
	}
	ok(t, check(disk, d, art, ps))
}

// TestRealDisk: files large enough to be checked by two goroutines, on the machine's
// own file system, in every placement: rows are aligned, and damage in either half is
// found, also where the file was cut while it was mapped.
func TestRealDisk(t *testing.T) {
	const n = 3 * parallelFrom / 2 / (4 * benchSize)
	path := t.TempDir()
	d, err := Write(t.Context(), vfs.OS(), path, benchSpec(), n, flow(n, even))
	ok(t, err)
	for _, p := range []Placement{Cold, Cached, Pinned} {
		place := func(Kind, string) Placement { return p }
		open := func() (*Segment, error) { return Open(vfs.OS(), path, benchSpec(), d, place) }
		s, err := open()
		ok(t, err)
		vs, found := s.Vectors("")
		if at := uintptr(unsafe.Pointer(unsafe.SliceData(vs.F32))); !found || vs.Len != n || vs.Present != nil || len(vs.F32) != n*benchSize || at%alignment != 0 {
			t.Fatalf("%v: %d vectors at %#x", found, vs.Len, at)
		}
		row := 0
		for p, err := range flow(n, even) {
			ok(t, err)
			if at, ok := s.Find(p.ID); !ok || int(at) != row || !slices.Equal(vs.F32[row*vs.Stride:][:vs.Size], p.Vectors[0].Data) {
				t.Fatalf("row %d", row)
			}
			row++
		}
		ok(t, s.Close())
		if allocs := testing.AllocsPerRun(1, func() {
			s, err := open()
			ok(t, err)
			ok(t, s.Close())
		}); allocs > 300 {
			t.Errorf("%v allocations to open %d rows", allocs, n)
		}
		f := d.Files[KindVectors-1]
		file, err := vfs.OS().OpenReadWrite(filepath.Join(path, f.FileName()))
		ok(t, err)
		for _, off := range []int64{f.Size / 4, 3 * f.Size / 4} {
			var was [1]byte
			_, err = file.ReadAt(was[:], off)
			ok(t, err)
			_, err = file.WriteAt([]byte{was[0] ^ 1}, off)
			ok(t, err)
			if s, err := open(); !errors.Is(err, ErrCorrupt) {
				t.Fatalf("byte %d: %v, %v", off, s, err)
			}
			_, err = file.WriteAt(was[:], off)
			ok(t, err)
		}
		ok(t, file.Close())
	}
}
