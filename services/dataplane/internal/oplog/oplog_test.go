package oplog

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/vfs"
	"github.com/pandodb/pando/services/internal/vfs/memfs"
)

var testShard = topology.Shard{Collection: 7, ID: 3}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func is(t testing.TB, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Fatalf("error %v, want %v", err, target)
	}
}

func isCorrupt(t testing.TB, err error) *CorruptError {
	t.Helper()
	var c *CorruptError
	if !errors.As(err, &c) {
		t.Fatalf("error %v, want *CorruptError", err)
	}
	return c
}

func options(fsys vfs.FS) Options {
	return Options{FS: fsys, Dir: "log", Shard: testShard, SegmentBytes: minSegmentBytes, Rand: bytes.NewReader(bytes.Repeat([]byte{0xA5}, 16))}
}

func mustOpen(t testing.TB, fsys vfs.FS) *Log {
	t.Helper()
	l, err := Open(options(fsys))
	ok(t, err)
	return l
}

func term(epoch, run int) topology.Term {
	return topology.Term{Epoch: topology.Epoch(epoch), Run: topology.Run(run)}
}

// makeEntry fills every field from seq and term, so that no two entries that may not
// be confused are alike.
func makeEntry(t topology.Term, seq topology.Seq, size int) op.Entry {
	rng := rand.New(rand.NewPCG(uint64(seq), uint64(t.Epoch)<<32|uint64(t.Run)))
	e := op.Entry{Term: t, Seq: seq, HLC: op.HLC(rng.Uint64()), Origin: topology.PeerID(rng.Uint64() >> 11), Body: make([]byte, size)}
	for i := range e.ID.Request {
		e.ID.Request[i] = byte(rng.Uint32())
	}
	e.ID.Index, e.ID.Part = rng.Uint32(), op.LastPart
	for i := range e.Body {
		e.Body[i] = byte(rng.Uint32())
	}
	return e
}

func batch(t topology.Term, first topology.Seq, n, size int) []op.Entry {
	out := make([]op.Entry, n)
	for i := range out {
		out[i] = makeEntry(t, first+topology.Seq(i), size)
	}
	return out
}

// all reads the whole log.
func all(t testing.TB, l *Log) []op.Entry {
	t.Helper()
	out, err := readFrom(l, l.First())
	ok(t, err)
	return out
}

func readFrom(l *Log, seq topology.Seq) ([]op.Entry, error) {
	var out []op.Entry
	for r := l.Reader(seq); ; {
		e, err := r.Next()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return out, err
		}
		e.Body = slices.Clone(e.Body)
		out = append(out, e)
	}
}

func equal(a, b op.Entry) bool {
	body := bytes.Equal(a.Body, b.Body)
	a.Body, b.Body = nil, nil
	return body && reflect.DeepEqual(a, b)
}

func same(t testing.TB, got, want []op.Entry) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("got %d entries, want %d", len(got), len(want))
	}
	for i := range got {
		if !equal(got[i], want[i]) {
			t.Fatalf("entry %d is not entry %d as it was appended", got[i].Seq, want[i].Seq)
		}
	}
}

func TestAppendSyncReopen(t *testing.T) {
	m := memfs.New()
	l := mustOpen(t, m)
	if l.First() != 1 || l.Last() != (Position{}) || l.Durable() != 0 {
		t.Fatalf("a new log: first %d, last %v, durable %d", l.First(), l.Last(), l.Durable())
	}
	var want []op.Entry
	seq := topology.Seq(1)
	for i, n := range []int{1, 3, 0, 8, 1, 20} {
		b := batch(term(1+i/2, i%2+1), seq, n, 300*i)
		ok(t, l.Append(b))
		want, seq = append(want, b...), seq+topology.Seq(n)
		same(t, all(t, l), want)
		durable, err := l.Sync()
		ok(t, err)
		if durable != seq-1 || l.Durable() != seq-1 {
			t.Fatalf("durable %d and %d, want %d", durable, l.Durable(), seq-1)
		}
	}
	history := []TermStart{{Term: term(1, 1), First: 1}, {Term: term(1, 2), First: 2}, {Term: term(2, 2), First: 5}, {Term: term(3, 1), First: 13}, {Term: term(3, 2), First: 14}}
	for range 2 {
		if d := cmp.Diff(history, l.History()); d != "" {
			t.Fatal(d)
		}
		for _, e := range want {
			p, err := l.Position(e.Seq)
			ok(t, err)
			if p != (Position{Term: e.Term, Seq: e.Seq}) {
				t.Fatalf("position of %d: %v", e.Seq, p)
			}
			got, err := l.Read(e.Seq)
			ok(t, err)
			same(t, []op.Entry{got}, []op.Entry{e})
		}
		ok(t, l.Verify())
		ok(t, l.Close())
		is(t, l.Close(), ErrClosed)
		l = mustOpen(t, m.StrictClone())
		same(t, all(t, l), want)
		if l.Durable() != seq-1 {
			t.Fatalf("durable %d after opening", l.Durable())
		}
	}
}

func TestAppendRefuses(t *testing.T) {
	l := mustOpen(t, memfs.New())
	ok(t, l.Append(batch(term(2, 2), 1, 2, 10)))
	for name, c := range map[string]struct {
		entries []op.Entry
		want    error
	}{
		"gap":          {batch(term(2, 2), 4, 1, 0), ErrOrder},
		"repeated":     {batch(term(2, 2), 2, 1, 0), ErrOrder},
		"gap in batch": {append(batch(term(2, 2), 3, 1, 0), makeEntry(term(2, 2), 5, 0)), ErrOrder},
		"older epoch":  {batch(term(1, 9), 3, 1, 0), ErrOrder},
		"older run":    {batch(term(2, 1), 3, 1, 0), ErrOrder},
		"body":         {[]op.Entry{{Term: term(2, 2), Seq: 3, Body: make([]byte, op.MaxBody+1)}}, ErrTooLarge},
	} {
		if err := l.Append(c.entries); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	same(t, all(t, l), batch(term(2, 2), 1, 2, 10))
	ok(t, l.Append(batch(term(2, 2), 3, 1, 5)))
	_, err := l.Read(4)
	is(t, err, ErrBeyond)
	_, err = l.Position(4)
	is(t, err, ErrBeyond)
	_, err = l.Read(0)
	is(t, err, ErrTruncated)
	ok(t, l.Close())
	is(t, l.Append(batch(term(2, 2), 4, 1, 5)), ErrClosed)
	_, err = l.Sync()
	is(t, err, ErrClosed)
	_, err = l.Read(1)
	is(t, err, ErrClosed)
}

func TestLargestEntry(t *testing.T) {
	m := memfs.New()
	l := mustOpen(t, m)
	want := append(batch(term(1, 1), 1, 1, op.MaxBody), batch(term(1, 1), 2, 1, 3)...)
	ok(t, l.Append(want[:1]))
	ok(t, l.Append(want[1:]))
	_, err := l.Sync()
	ok(t, err)
	l = mustOpen(t, m.StrictClone())
	if got := all(t, l); len(got) != 2 || !bytes.Equal(got[0].Body, want[0].Body) || got[1].Seq != 2 {
		t.Fatalf("%d entries came back", len(got))
	}
}

// filled has 20 entries of two terms in several segments.
func filled(t testing.TB, m *memfs.FS) (*Log, []op.Entry) {
	l := mustOpen(t, m)
	want := append(batch(term(1, 1), 1, 12, 700), batch(term(3, 2), 13, 8, 700)...)
	for i := range want {
		ok(t, l.Append(want[i:i+1]))
	}
	if len(l.mu.segs) < 4 {
		t.Fatalf("%d segments", len(l.mu.segs))
	}
	return l, want
}

func TestTruncateFront(t *testing.T) {
	m := memfs.New()
	l, want := filled(t, m)
	before := l.Size()
	ok(t, l.TruncateFront(0))
	same(t, all(t, l), want)
	r := l.Reader(3)
	_, err := r.Next()
	ok(t, err)
	ok(t, l.TruncateFront(15))
	first := l.First()
	if first < 10 || first > 16 || l.Size() >= before {
		t.Fatalf("first %d, size %d of %d", first, l.Size(), before)
	}
	_, err = r.Next()
	is(t, err, ErrTruncated)
	for range 2 {
		same(t, all(t, l), want[first-1:])
		p, err := l.Position(first - 1)
		ok(t, err)
		if p.Term != want[first-2].Term {
			t.Fatalf("position before the first entry: %v", p)
		}
		_, err = l.Position(first - 2)
		is(t, err, ErrTruncated)
		if d := cmp.Diff([]TermStart{{Term: term(1, 1), First: 1}, {Term: term(3, 2), First: 13}}, l.History()); d != "" {
			t.Fatal(d)
		}
		_, err = l.Sync()
		ok(t, err)
		l = mustOpen(t, m.StrictClone())
	}
	ok(t, l.TruncateFront(20))
	if l.Last().Seq != 20 || l.First() > 20 {
		t.Fatalf("the segment that is written to must stay: %d to %d", l.First(), l.Last().Seq)
	}
}

func TestTruncateBack(t *testing.T) {
	for after := topology.Seq(0); after <= 21; after++ {
		m := memfs.New()
		l, want := filled(t, m)
		r := l.Reader(1)
		for range 20 {
			_, err := r.Next()
			ok(t, err)
		}
		ok(t, l.TruncateBack(after))
		n := min(int(after), 20)
		for _, l := range []*Log{l, mustOpen(t, m.StrictClone())} {
			if after < 20 {
				same(t, all(t, l), want[:n])
			}
			if p := l.Last(); p.Seq != topology.Seq(n) || (n > 0 && p.Term != want[n-1].Term) {
				t.Fatalf("after %d: last %v", after, p)
			}
		}
		fresh := batch(term(9, 9), topology.Seq(n+1), 3, 700)
		ok(t, l.Append(fresh))
		// The reader waits for entry 21, wherever that is now.
		for next := 21; ; next++ {
			e, err := r.Next()
			if next > n+3 {
				is(t, err, io.EOF)
				break
			}
			ok(t, err)
			same(t, []op.Entry{e}, fresh[next-n-1:next-n])
		}
		_, err := l.Sync()
		ok(t, err)
		l = mustOpen(t, m.StrictClone())
		same(t, all(t, l), append(slices.Clone(want[:n]), fresh...))
	}
}

func TestTruncateBackBeforeTheLog(t *testing.T) {
	l, _ := filled(t, memfs.New())
	ok(t, l.TruncateFront(12))
	first := l.First()
	is(t, l.TruncateBack(first-2), ErrTruncated)
	ok(t, l.TruncateBack(first-1))
	if p := l.Last(); l.First() != first || p.Seq != first-1 || p.Term != term(1, 1) {
		t.Fatalf("first %d, last %v", l.First(), p)
	}
	ok(t, l.Append(batch(term(1, 1), first, 1, 10)))
}

func TestReset(t *testing.T) {
	m := memfs.New()
	l, _ := filled(t, m)
	pos := Position{Term: term(5, 1), Seq: 1000}
	history := []TermStart{{Term: term(2, 1), First: 1}, {Term: term(5, 1), First: 990}}
	for _, bad := range []struct {
		pos     Position
		history []TermStart
	}{
		{Position{Term: term(5, 2), Seq: 1000}, history},
		{Position{Term: term(5, 1), Seq: 989}, history},
		{pos, []TermStart{{Term: term(5, 1), First: 5}, {Term: term(5, 1), First: 6}}},
		{pos, []TermStart{{Term: term(5, 1), First: 990}, {Term: term(6, 1), First: 1001}}},
	} {
		is(t, l.Reset(bad.pos, bad.history), ErrOrder)
	}
	r := l.Reader(5)
	_, err := r.Next()
	ok(t, err)
	ok(t, l.Reset(pos, history))
	_, err = r.Next()
	is(t, err, ErrTruncated)
	for range 2 {
		if l.First() != 1001 || l.Last() != pos || l.Durable() != 1000 {
			t.Fatalf("first %d, last %v, durable %d", l.First(), l.Last(), l.Durable())
		}
		if d := cmp.Diff(history, l.History()); d != "" {
			t.Fatal(d)
		}
		if p, err := l.Position(1000); err != nil || p != pos {
			t.Fatal(p, err)
		}
		l = mustOpen(t, m.StrictClone())
	}
	want := batch(term(6, 1), 1001, 2, 10)
	ok(t, l.Append(want))
	same(t, all(t, l), want)
	ok(t, l.Reset(Position{Term: term(7, 7), Seq: 3}, nil))
	if d := cmp.Diff([]TermStart{{Term: term(7, 7), First: 3}}, l.History()); d != "" || l.First() != 4 {
		t.Fatal(l.First(), d)
	}
	ok(t, l.Reset(Position{}, nil))
	if l.First() != 1 || l.Last() != (Position{}) {
		t.Fatal(l.First(), l.Last())
	}
}

func TestOpenRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		harm func(t *testing.T, m *memfs.FS, o *Options)
		want error // nil: *CorruptError
	}{
		"other shard": {func(_ *testing.T, _ *memfs.FS, o *Options) { o.Shard.ID++ }, ErrShard},
		"later format": {func(t *testing.T, m *memfs.FS, o *Options) {
			ok(t, storeRaw(m, "log/chain", format+1, nil))
		}, ErrFormat},
		"chain lost":   {func(t *testing.T, m *memfs.FS, _ *Options) { ok(t, m.Remove("log/chain")) }, nil},
		"segment lost": {func(t *testing.T, m *memfs.FS, _ *Options) { ok(t, m.Remove("log/"+segments(t, m)[1])) }, nil},
		"last segment lost": {func(t *testing.T, m *memfs.FS, _ *Options) {
			ok(t, m.Remove("log/"+slices.Max(segments(t, m))))
		}, nil},
		"segments swapped": {func(t *testing.T, m *memfs.FS, _ *Options) {
			names := segments(t, m)
			last := names[len(names)-1]
			ok(t, m.Rename("log/"+names[0], "log/"+last))
			ok(t, m.Link("log/"+last, "log/"+names[0]))
		}, nil},
		"segment cut": {func(t *testing.T, m *memfs.FS, _ *Options) {
			f, err := m.OpenReadWrite("log/" + segments(t, m)[0])
			ok(t, err)
			ok(t, f.Truncate(2000))
		}, nil},
		"shorter than the state": {func(_ *testing.T, _ *memfs.FS, o *Options) { o.AtLeast = 21 }, nil},
		"chain of nonsense": {func(t *testing.T, m *memfs.FS, _ *Options) {
			ok(t, storeRaw(m, "log/chain", format, []byte("nonsense")))
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			m := memfs.New()
			l, _ := filled(t, m)
			ok(t, l.Close())
			o := options(m)
			o.AtLeast = 20
			l, err := Open(o)
			ok(t, err)
			ok(t, l.Close())
			c.harm(t, m, &o)
			_, err = Open(o)
			if c.want != nil {
				is(t, err, c.want)
			} else if bad := isCorrupt(t, err); bad.File == "" || bad.Reason == "" {
				t.Fatalf("%+v", bad)
			}
		})
	}
}

func segments(t testing.TB, fsys vfs.FS) []string {
	t.Helper()
	names, err := fsys.List("log")
	ok(t, err)
	return slices.DeleteFunc(names, func(n string) bool { return n == chainName })
}

func TestSweepRemovesRubbishOnly(t *testing.T) {
	m := memfs.New()
	l, want := filled(t, m)
	ok(t, l.Close())
	names := segments(t, m)
	for _, n := range []string{"0000000000000099-00000063.log", "chain.tmp", "notes.txt"} {
		f, err := m.Create("log/" + n)
		ok(t, err)
		ok(t, f.Close())
	}
	l = mustOpen(t, m)
	same(t, all(t, l), want)
	if got := segments(t, m); !slices.Equal(got, append(names, "notes.txt")) {
		t.Fatalf("left: %q", got)
	}
}

// A reader at the end gets more when there is more, without opening anything anew.
func TestReaderFollows(t *testing.T) {
	l := mustOpen(t, memfs.New())
	r := l.Reader(1)
	for seq := topology.Seq(1); seq < 60; seq++ {
		_, err := r.Next()
		is(t, err, io.EOF)
		ok(t, l.Append(batch(term(1, 1), seq, 1, 500)))
		e, err := r.Next()
		ok(t, err)
		same(t, []op.Entry{e}, batch(term(1, 1), seq, 1, 500))
	}
}

func TestHistoryIsBounded(t *testing.T) {
	m := memfs.New()
	l := mustOpen(t, m)
	const terms = maxHistory + 300
	for i := 1; i <= terms; i++ {
		ok(t, l.Append(batch(term(i, 1), topology.Seq(i), 1, 0)))
	}
	if got := len(l.History()); got != terms {
		t.Fatalf("%d terms of entries that are in the log", got)
	}
	ok(t, l.TruncateFront(terms))
	ok(t, l.Close())
	l = mustOpen(t, m)
	h := l.History()
	if len(h) < maxHistory || len(h) > maxHistory+50 || h[len(h)-1].First != terms {
		t.Fatalf("%d terms, the last from %d", len(h), h[len(h)-1].First)
	}
	if p, err := l.Position(l.First() - 1); err != nil || p.Epoch != topology.Epoch(l.First()-1) {
		t.Fatal(p, err)
	}
}

func ExampleLog() {
	l, err := Open(Options{FS: memfs.New(), Dir: "log", Shard: topology.Shard{Collection: 1}})
	if err != nil {
		panic(err)
	}
	_ = l.Append([]op.Entry{{Term: term(1, 1), Seq: 1, Body: []byte("body")}})
	durable, _ := l.Sync()
	e, _ := l.Read(1)
	fmt.Println(durable, string(e.Body))
	// Output: 1 body
}
