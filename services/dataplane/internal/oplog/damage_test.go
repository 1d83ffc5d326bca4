package oplog

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"syscall"
	"testing"

	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/oplog/statefile"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/vfs"
	"github.com/pandodb/pando/services/internal/vfs/faultfs"
	"github.com/pandodb/pando/services/internal/vfs/memfs"
)

func storeRaw(fsys vfs.FS, path string, version uint32, payload []byte) error {
	return statefile.Store(fsys, path, version, payload)
}

func readAll(t testing.TB, fsys vfs.FS, name string) []byte {
	t.Helper()
	data, err := vfs.ReadFile(fsys, name)
	ok(t, err)
	return data
}

// overwrite changes bytes of a file behind the log's back.
func overwrite(t testing.TB, fsys vfs.FS, name string, off int64, data []byte) {
	t.Helper()
	f, err := fsys.OpenReadWrite(name)
	ok(t, err)
	_, err = f.WriteAt(data, off)
	ok(t, err)
	ok(t, f.Sync())
	ok(t, f.Close())
}

// flipped has two sealed segments and in the third one three groups of a sync
// each, of 1, 2 and 2 entries. starts are the offsets of the records in there.
func flipped(t testing.TB) (m *memfs.FS, l *Log, want []op.Entry, starts []int64) {
	m = memfs.New()
	l = mustOpen(t, m)
	add := func(n, size int) {
		b := batch(term(1, len(want)/3), topology.Seq(len(want)+1), n, size)
		off := l.active().end
		ok(t, l.Append(b))
		if len(l.mu.segs) == 3 {
			if off != l.active().end-int64(n)*recordSize(size) {
				off = segHead
			}
			for range n {
				starts = append(starts, off)
				off += recordSize(size)
			}
		}
		want = append(want, b...)
		_, err := l.Sync()
		ok(t, err)
	}
	add(2, 1900)
	add(2, 1700)
	add(1, 700)
	add(2, 61)
	add(2, 33)
	if len(l.mu.segs) != 3 || len(starts) != 5 {
		t.Fatalf("%d segments, records at %v", len(l.mu.segs), starts)
	}
	return m, l, want, starts
}

// outcome opens the log and reads all of it.
func outcome(fsys vfs.FS) ([]op.Entry, error) {
	l, err := Open(options(fsys))
	if err != nil {
		return nil, err
	}
	got, err := readFrom(l, l.First())
	return got, errors.Join(err, l.Close())
}

// Every byte of every file is damaged in turn. After a clean end nothing but
// the unused rest of a file may be changed without an error. After a crash the
// records of the last sync, and they alone, may be taken for the crash's work:
// then the log ends before the damaged one.
func TestEveryBitFlip(t *testing.T) {
	for _, clean := range []bool{true, false} {
		t.Run(fmt.Sprintf("clean=%v", clean), func(t *testing.T) {
			m, l, want, starts := flipped(t)
			ends := map[string]int64{"log/chain": 1 << 30}
			for _, s := range l.mu.segs {
				ends[s.path] = s.end
			}
			end, active := l.active().end, slices.Max(segments(t, m))
			if clean {
				ok(t, l.Close())
			}
			disk := m.StrictClone()
			var caught, cut, unused int
			for _, name := range append(segments(t, disk), chainName) {
				data := readAll(t, disk, "log/"+name)
				for i := 0; i < len(data); i++ {
					if int64(i) > ends["log/"+name] {
						i = min(i+60, len(data)-1) // zeros, one like the other
					}
					m := disk.StrictClone()
					overwrite(t, m, "log/"+name, int64(i), []byte{data[i] ^ 1<<(i%8)})
					got, err := outcome(m)
					lost := len(want) // first entry that may be gone
					switch off := int64(i); {
					case off >= ends["log/"+name]:
						unused++
					case name == active && !clean && off >= starts[3]:
						lost = 7
						if off >= starts[4] {
							lost = 8
						}
						cut++
					default:
						var bad *CorruptError
						if !errors.As(err, &bad) || bad.File != "log/"+name {
							t.Fatalf("%s byte %d: %v, %d entries", name, i, err, len(got))
						}
						caught++
						continue
					}
					if err != nil {
						t.Fatalf("%s byte %d: %v", name, i, err)
					}
					same(t, got, want[:lost])
				}
			}
			t.Logf("caught %d, cut as a torn tail %d, in unused space %d", caught, cut, unused)
			if wantCut := int(end - starts[3]); caught == 0 || unused == 0 || (clean && cut != 0) || (!clean && cut != wantCut) {
				t.Fatal("the cases are not what they were meant to be")
			}
		})
	}
}

// What is a record elsewhere is none here: in another place of the file, in
// another segment, in a reused block.
func TestMisplacedRecordsAreNoRecords(t *testing.T) {
	m, l, want, starts := flipped(t)
	ok(t, l.Close())
	active := "log/" + slices.Max(segments(t, m))
	data := readAll(t, m, active)
	rec := func(i int) []byte { return data[starts[i] : starts[i]+recordSize(len(want[4+i].Body))] }
	end := starts[4] + recordSize(len(want[8].Body))

	twin := memfs.New() // the same log, grown once more
	l, err := Open(options(twin))
	ok(t, err)
	for i, n := range []int{2, 2, 1, 2, 2, 1} {
		from := []int{0, 2, 4, 5, 7, 9}[i]
		if from == 9 {
			ok(t, l.Append(batch(term(1, 9), 10, 1, 50)))
			continue
		}
		ok(t, l.Append(want[from:from+n]))
	}
	ok(t, l.Close())
	next := readAll(t, twin, active)[end : end+recordSize(50)]

	for name, c := range map[string]struct {
		off  int64
		data []byte
		want int
	}{
		"the twin's next record, in place":     {end, next, 10},
		"the twin's next record, 8 bytes on":   {end + 8, next, 9},
		"the last record again":                {end, rec(4), 9},
		"a record of an earlier place":         {end, rec(1), 9},
		"a record of another segment's place":  {end, readAll(t, m, "log/"+segments(t, m)[0])[segHead : segHead+recordSize(1900)], 9},
		"a record head without the rest":       {end, next[:100], 9},
		"a record without its head, and zeros": {end, append(make([]byte, 80), next[80:]...), 9},
	} {
		t.Run(name, func(t *testing.T) {
			m := m.StrictClone()
			overwrite(t, m, active, c.off, c.data)
			got, err := outcome(m)
			ok(t, err)
			if len(got) != c.want {
				t.Fatalf("%d entries, want %d", len(got), c.want)
			}
			same(t, got[:9], want)
			// Whatever was there is gone: a second look finds a clean end.
			rest := readAll(t, m, active)[end:]
			if zero := !slices.ContainsFunc(rest, func(b byte) bool { return b != 0 }); zero == (c.want == 10) {
				t.Fatalf("rest of the file is zero: %v", zero)
			}
		})
	}
}

// A block that another segment of the same log used before holds whole records at
// the right offsets. They are none of this segment's.
func TestReusedBlock(t *testing.T) {
	m := memfs.New()
	l := mustOpen(t, m)
	want := batch(term(1, 1), 1, 20, 200)
	for i := range want {
		ok(t, l.Append(want[i:i+1]))
	}
	end, old := l.active().end, l.mu.segs[0]
	if len(l.mu.segs) != 2 || end >= old.end {
		t.Fatalf("%d segments, ends %d and %d", len(l.mu.segs), old.end, end)
	}
	data := readAll(t, m, old.path)[end:old.end]
	if _, err := decodeRecord(data, old.seed, end); err != nil {
		t.Fatal(err)
	}
	ok(t, l.Close())
	overwrite(t, m, "log/"+slices.Max(segments(t, m)), end, data)
	got, err := outcome(m)
	ok(t, err)
	same(t, got, want)
}

// Entries that Append refused are in the log of no crash, also not in company
// with those that were appended in their place.
func TestRefusedEntriesNeverComeBack(t *testing.T) {
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 5))
		m := memfs.New()
		ffs := faultfs.New(m)
		l, err := Open(options(ffs))
		ok(t, err)
		want := batch(term(1, 1), 1, 2, 150)
		ok(t, l.Append(want))
		ffs.SetRules(faultfs.Nth(ffs.Count()+1, &faultfs.ShortWrite{Bytes: 1 << 20, Err: syscall.ENOSPC}))
		is(t, l.Append(batch(term(1, 1), 3, 4, 200)), ErrNoSpace)
		got, err := outcome(m.CrashClone(rng))
		ok(t, err)
		same(t, got, want)
		fresh := batch(term(1, 2), 3, 2, 200) // as long as those that were refused
		ok(t, l.Append(fresh))
		got, err = outcome(m.CrashClone(rng))
		ok(t, err)
		same(t, got, slices.Concat(want, fresh)[:max(2, min(len(got), 4))])
	}
}

// Entries of one unsynced group reach the disk in any order: a hole before a
// whole record is a torn tail, not damage. The same hole before a record that
// was written after a sync is damage.
func TestHoleBeforeAWholeRecord(t *testing.T) {
	for _, synced := range []bool{false, true} {
		m := memfs.New()
		l := mustOpen(t, m)
		want := batch(term(1, 1), 1, 3, 200)
		for i := range want {
			ok(t, l.Append(want[i:i+1]))
			if synced {
				_, err := l.Sync()
				ok(t, err)
			}
		}
		overwrite(t, m, "log/"+segments(t, m)[0], segHead+recordSize(200), make([]byte, recordSize(200)))
		got, err := outcome(m)
		if synced {
			if bad := isCorrupt(t, err); bad.Offset != segHead+recordSize(200) {
				t.Fatal(bad)
			}
			continue
		}
		ok(t, err)
		same(t, got, want[:1])
	}
}

func TestDamageInASealedSegmentIsFoundByReaders(t *testing.T) {
	m, l, want, _ := flipped(t)
	ok(t, l.Close())
	overwrite(t, m, "log/"+segments(t, m)[0], 1000, []byte("damage"))
	l = mustOpen(t, m)
	bad := isCorrupt(t, l.Verify())
	if bad.Offset != segHead {
		t.Fatal(bad)
	}
	_, err := l.Read(2)
	isCorrupt(t, err)
	got, err := readFrom(l, 3)
	ok(t, err)
	same(t, got, want[2:])
	ok(t, l.TruncateFront(2))
	ok(t, l.Verify())
}

func TestFailedSyncIsFinal(t *testing.T) {
	for _, kind := range []faultfs.Kind{faultfs.KindSync, faultfs.KindWrite} {
		m := memfs.New()
		ffs := faultfs.New(m)
		l, err := Open(options(ffs))
		ok(t, err)
		want := batch(term(1, 1), 1, 2, 100)
		ok(t, l.Append(want))
		_, err = l.Sync()
		ok(t, err)
		if kind == faultfs.KindSync {
			ok(t, l.Append(batch(term(1, 1), 3, 1, 100)))
		}
		ffs.SetRules(faultfs.On(syscall.EIO, kind))
		if kind == faultfs.KindWrite {
			err = l.Append(batch(term(1, 1), 3, 1, 100))
		} else {
			_, err = l.Sync()
		}
		is(t, err, ErrFailed)
		is(t, err, syscall.EIO)
		ffs.SetRules()
		count := ffs.Count()
		_, err = l.Sync()
		is(t, err, ErrFailed)
		is(t, l.Append(batch(term(1, 1), 4, 1, 0)), ErrFailed)
		is(t, l.Mark(), ErrFailed)
		is(t, l.TruncateBack(1), ErrFailed)
		is(t, l.TruncateFront(1), ErrFailed)
		is(t, l.Reset(Position{}, nil), ErrFailed)
		if l.Durable() != 2 {
			t.Fatalf("durable %d", l.Durable())
		}
		same(t, all(t, l)[:2], want)
		ok(t, l.Close())
		if ffs.Count() != count {
			t.Fatal("the disk was written to after the failure")
		}
		got, err := outcome(m.StrictClone())
		ok(t, err)
		same(t, got, want)
	}
}

// The disk is full at each operation in turn, with part of a write done. Nothing
// but a failed sync may end the log; what was refused is never seen again, and
// the same entries go in when there is space.
func TestNoSpaceAtEveryOperation(t *testing.T) {
	refused, failed := 0, 0
	for n := 1; ; n++ {
		m := memfs.New()
		ffs := faultfs.New(m)
		l, err := Open(options(ffs))
		ok(t, err)
		count := ffs.Count()
		ffs.SetRules(faultfs.Nth(count+n, &faultfs.ShortWrite{Bytes: 333 * (n % 7), Err: syscall.ENOSPC}))
		var want []op.Entry
		refusedOnce := false
		for len(want) < 16 && !errors.Is(err, ErrFailed) {
			seq := topology.Seq(len(want) + 1)
			b := batch(term(1, 1), seq, 1+len(want)%3, 600)
			if refusedOnce {
				b = batch(term(2, 1), seq, 1+len(want)%3, 520) // not what was refused
			}
			if err = l.Append(b); err == nil {
				want = append(want, b...)
				_, err = l.Sync()
			}
			if err == nil {
				continue
			}
			is(t, err, syscall.ENOSPC)
			if errors.Is(err, ErrNoSpace) {
				refused++
				refusedOnce = true
				same(t, all(t, l), want)
				got, err := outcome(m.StrictClone())
				ok(t, err)
				same(t, got, want)
			}
		}
		if errors.Is(err, ErrFailed) {
			if k := ffs.Last().Kind; k != faultfs.KindSync && k != faultfs.KindSyncDir {
				t.Fatalf("operation %d, a %s, ended the log", n, k)
			}
			failed++
			continue
		}
		same(t, all(t, l), want)
		got, err := outcome(m.StrictClone())
		ok(t, err)
		same(t, got, want)
		if ffs.Count() < count+n {
			break
		}
	}
	if refused < 10 || failed < 3 {
		t.Fatalf("refused %d times, failed %d times", refused, failed)
	}
}

// A really full disk: writes are refused, reads go on, the log can be truncated,
// and then takes writes again.
func TestFullDisk(t *testing.T) {
	m := memfs.New()
	l := mustOpen(t, m)
	m.SetCapacity(64 << 10)
	var want []op.Entry
	var err error
	for err == nil {
		b := batch(term(1, 1), topology.Seq(len(want)+1), 1, 900)
		if err = l.Append(b); err == nil {
			want = append(want, b...)
			_, err = l.Sync()
		}
	}
	is(t, err, ErrNoSpace)
	same(t, all(t, l), want)
	is(t, l.Append(batch(term(1, 1), topology.Seq(len(want)+1), 1, 900)), ErrNoSpace)
	got, err := outcome(m.StrictClone())
	ok(t, err)
	same(t, got, want)
	m.SetCapacity(68 << 10) // one page, for the chain
	ok(t, l.TruncateFront(20))
	for range 5 {
		b := batch(term(1, 1), topology.Seq(len(want)+1), 1, 900)
		ok(t, l.Append(b))
		want = append(want, b...)
	}
	same(t, all(t, l), want[l.First()-1:])
}

// Readers run beside a writer that appends, truncates and rolls.
func TestReadersBesideTheWriter(t *testing.T) {
	l := mustOpen(t, memfs.New())
	const last = 800
	ok(t, l.Append(batch(term(1, 1), 1, 1, 100)))
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			r := l.Reader(1)
			for seq := topology.Seq(1); seq <= last; {
				e, err := r.Next()
				switch {
				case errors.Is(err, ErrTruncated):
					seq = max(l.First(), seq)
					r = l.Reader(seq)
				case err == nil && (e.Seq != seq || len(e.Body) != 100):
					t.Errorf("entry %d with %d bytes in place of %d", e.Seq, len(e.Body), seq)
					return
				case err == nil:
					seq++
				case err.Error() != "EOF":
					t.Error(err)
					return
				}
				l.Last()
				l.Durable()
				l.Size()
			}
		})
	}
	for seq := topology.Seq(2); seq <= last; seq += 3 {
		ok(t, l.Append(batch(term(1, 1), seq, 3, 100)))
		if seq%5 == 0 {
			_, err := l.Sync()
			ok(t, err)
		}
		if seq%200 == 2 && seq > 200 {
			ok(t, l.TruncateFront(seq-150))
		}
	}
	wg.Wait()
	ok(t, l.Close())
}
