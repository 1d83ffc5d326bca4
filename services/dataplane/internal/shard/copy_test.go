package shard

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"path"
	"testing"

	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/point"
	"github.com/pandodb/pando/services/dataplane/internal/query"
	"github.com/pandodb/pando/services/dataplane/internal/shard/record"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/vfs"
	"github.com/pandodb/pando/services/internal/vfs/memfs"
)

// bulk is an entry of about a megabyte that does not compress.
func bulk(l *ledger, rng *rand.Rand) {
	var ps []op.Point
	for range 1000 {
		b := make([]byte, 1000)
		for i := range b {
			b[i] = byte(' ' + rng.IntN(95))
		}
		ps = append(ps, op.Point{ID: num(rng.Uint64N(1 << 40)), Payload: fields("b", string(b))})
	}
	l.add(op.Op{Kind: op.Upsert, Points: ps})
}

// export reads a whole copy.
func export(t testing.TB, s *Shard) (head, body []byte) {
	t.Helper()
	e, err := s.Export()
	ok(t, err)
	body, err = io.ReadAll(e)
	ok(t, errors.Join(err, e.Close()))
	h := e.Head()
	return h.AppendBinary(nil), body
}

// take imports a copy in pieces and finishes it.
func take(o Options, head, body []byte, piece int) error {
	i, err := NewImport(o, head)
	if err != nil {
		return err
	}
	for len(body) > 0 {
		n := min(piece, len(body))
		if _, err := i.Write(body[:n]); err != nil {
			return errors.Join(err, i.Close())
		}
		body = body[n:]
	}
	return i.Finish()
}

// randomEntry adds to l what a log may hold: also operations that come with old
// stamps, and parts that come twice.
func randomEntry(rng *rand.Rand, l *ledger) op.Entry {
	switch n := rng.IntN(10); {
	case n == 0 && l.clock.Last() > op.MakeHLC(4, 0):
		l.origin = 2
		e := l.stamped(randomOp(rng, l), l.clock.Last()-op.MakeHLC(uint64(1+rng.IntN(3)), 0)+op.HLC(rng.IntN(1000)+1),
			op.ID{Request: [16]byte{2, byte(len(l.entries)), byte(len(l.entries) >> 8)}, Part: op.LastPart})
		l.origin = 1
		return e
	case n == 1:
		id := op.ID{Request: [16]byte{3}, Index: op.ClientIndexBit * uint32(rng.IntN(2)), Part: uint32(rng.IntN(3))}
		return l.stamped(randomOp(rng, l), l.clock.Next(uint64(len(l.entries))), id)
	case n == 2:
		return l.stamped(op.Op{Kind: op.Config, Revision: uint64(len(l.entries)), Settings: []byte{byte(len(l.entries) % 32)}}, l.clock.Next(1), op.ID{})
	default:
		return l.add(randomOp(rng, l))
	}
}

// alike compares all that two shards answer, dedup and settings included. A copy
// has no mark before it has applied one itself.
func alike(t testing.TB, l *ledger, a, b *Shard, copied topology.Seq) {
	t.Helper()
	pa, pb := a.Applied(), b.Applied()
	if l.mark.Seq <= copied && pb.Mark != (point.Mark{}) || l.mark.Seq > copied && pb.Mark != pa.Mark {
		t.Fatalf("marks %+v and %+v, copied at %d", pa.Mark, pb.Mark, copied)
	}
	if pb.Mark = pa.Mark; pa != pb {
		t.Fatalf("positions %+v and %+v", pa, pb)
	}
	_, da := a.Digest()
	if _, db := b.Digest(); da != db || da != l.digest() {
		t.Fatalf("digests %s and %s, the fold has %s", da, db, l.digest())
	}
	ra, ca := a.Config()
	if rb, cb := b.Config(); ra != rb || !bytes.Equal(ca, cb) {
		t.Fatalf("settings %d %x and %d %x", ra, ca, rb, cb)
	}
	all := query.Want{Payload: query.PayloadWant{All: true}, Vectors: true}
	got, _, err := b.Scroll(ctx, query.Scroll{Limit: len(l.points) + 1, Want: all})
	ok(t, err)
	want := l.living()
	if len(got) != len(want) {
		t.Fatalf("%d points, want %d", len(got), len(want))
	}
	for i, p := range want {
		same(t, got[i], p)
	}
	for _, e := range l.entries {
		sa, fa, err := a.Seen(e.ID)
		ok(t, err)
		if sb, fb, err := b.Seen(e.ID); sa != sb || fa != fb || err != nil {
			t.Fatalf("operation %+v seen at %d and %d, %v", e.ID, sa, sb, err)
		}
	}
}

// TestCopy: a copy answers what the original answers, and goes on as it does.
func TestCopy(t *testing.T) {
	for seed := range uint64(25) {
		rng := rand.New(rand.NewPCG(seed, 11))
		a := open(t, options(memfs.New()))
		l := newLedger()
		for range rng.IntN(80) {
			e := randomEntry(rng, l)
			if rng.IntN(3) == 0 {
				ok(t, a.Apply(l.entries[a.Applied().Seq:e.Seq]))
			}
		}
		ok(t, a.Apply(l.entries[a.Applied().Seq:]))
		ok(t, a.Settle(ctx))
		head, body := export(t, a)
		again, same := export(t, a)
		if !bytes.Equal(head, again) || !bytes.Equal(body, same) {
			t.Fatal("two exports at one position differ")
		}
		disk := memfs.New()
		ok(t, take(options(disk), head, body, 1+rng.IntN(len(body))))
		b := open(t, options(disk.StrictClone()))
		at := a.Applied().Seq
		alike(t, l, a, b, at)
		for step := range 40 {
			e := randomEntry(rng, l)
			ok(t, a.Apply([]op.Entry{e}))
			ok(t, b.Apply([]op.Entry{e}))
			if step%4 == 3 {
				alike(t, l, a, b, at)
			}
		}
		// Copies of copies are copies.
		ok(t, errors.Join(a.Settle(ctx), b.Settle(ctx)))
		head, body = export(t, a)
		again, same = export(t, b)
		if !bytes.Equal(head, again) || !bytes.Equal(body, same) {
			t.Fatal("original and copy export different bytes")
		}
	}
}

// TestExportIsPinned: what is applied, checkpointed and read beside an export
// neither waits for it nor shows in it.
func TestExportIsPinned(t *testing.T) {
	s := open(t, options(memfs.New()))
	rng := rand.New(rand.NewPCG(1, 1))
	l := newLedger()
	for range 3 {
		bulk(l, rng)
	}
	l.catchUp(t, s)
	head, body := export(t, s)
	e, err := s.Export()
	ok(t, err)
	var got []byte
	buf := make([]byte, 100_000)
	for {
		n, err := e.Read(buf)
		got = append(got, buf[:n]...)
		if errors.Is(err, io.EOF) {
			break
		}
		ok(t, err)
		if held := cap(e.mu.buf); held > 2*fillBytes {
			t.Fatalf("%d bytes held", held)
		}
		if len(l.entries) < 12 {
			l.add(randomOp(rng, l))
			l.catchUp(t, s)
			_, err := s.Checkpoint()
			ok(t, err)
		}
	}
	if h := e.Head(); !bytes.Equal(h.AppendBinary(nil), head) || !bytes.Equal(got, body) {
		t.Errorf("%d bytes at %d, want %d", len(got), h.Seq, len(body))
	}
	ok(t, e.Close())
	ok(t, e.Close())
	if _, err := e.Read(buf); !errors.Is(err, io.EOF) {
		t.Errorf("read after close: %v", err)
	}
	if est := e.Head().Bytes; est < uint64(len(body))*9/10 || est > uint64(len(body))*11/10 {
		t.Errorf("about %d bytes, was %d", est, len(body))
	}
}

// TestExportEndsWithTheShard: closing the shard closes what still reads from it.
func TestExportEndsWithTheShard(t *testing.T) {
	s, err := Open(options(memfs.New()))
	ok(t, err)
	l := newLedger()
	bulk(l, rand.New(rand.NewPCG(1, 1)))
	l.catchUp(t, s)
	e, err := s.Export()
	ok(t, err)
	began, ended := make(chan struct{}), make(chan error)
	go func() {
		buf := make([]byte, 1000)
		_, err := e.Read(buf)
		close(began)
		for err == nil {
			_, err = e.Read(buf)
			if errors.Is(err, io.EOF) { // start over: Close has to end it
				if e, err = s.Export(); err == nil {
					continue
				}
			}
		}
		ended <- err
	}()
	<-began
	ok(t, s.Close())
	if err := <-ended; !errors.Is(err, ErrClosed) {
		t.Errorf("read: %v", err)
	}
	if _, err := s.Export(); !errors.Is(err, ErrClosed) {
		t.Errorf("export: %v", err)
	}
}

func TestImportRefuses(t *testing.T) {
	s := open(t, options(memfs.New()))
	l := newLedger()
	rng := rand.New(rand.NewPCG(4, 4))
	for range 40 {
		l.add(randomOp(rng, l))
	}
	l.catchUp(t, s)
	head, body := export(t, s)
	headWith := func(change func(*record.Head)) []byte {
		h, err := record.DecodeHead(head)
		ok(t, err)
		change(&h)
		return h.AppendBinary(nil)
	}
	// resealed is the copy under another head, with all its sums in order.
	resealed := func(head []byte) []byte {
		h, err := record.DecodeHead(head)
		ok(t, err)
		r := &relay{w: record.NewWriter(head)}
		_, err = record.NewReader(h, head, r).Write(body)
		if errors.Is(err, op.ErrCorrupt) { // the end has the old sum
			err = nil
		}
		ok(t, err)
		return r.w.End(r.out)
	}
	other := options(nil)
	other.Schema = query.Schema{Vectors: []query.VectorSchema{{Name: "", Size: 9, Distance: query.Dot}}}
	digest := headWith(func(h *record.Head) { h.Digest.A++ })
	clock := headWith(func(h *record.Head) { h.HLC = op.HLC(1) })
	for _, c := range []struct {
		name       string
		schema     query.Schema
		head, body []byte
		want       error
	}{
		{"whole", schema(), head, body, nil},
		{"no head", schema(), nil, body, ErrCopy},
		{"newer", schema(), append([]byte{3}, head[1:]...), body, ErrVersion},
		{"cut short", schema(), head, body[:len(body)-5], ErrCopy},
		{"nothing", schema(), head, nil, ErrCopy},
		{"other head", schema(), digest, body, ErrCopy},
		{"other digest", schema(), digest, resealed(digest), ErrCopy},
		{"points from the future", schema(), clock, resealed(clock), ErrCopy},
		{"dimension", other.Schema, head, body, ErrCopy},
	} {
		disk := memfs.New()
		o := options(disk)
		o.Schema = c.schema
		if err := take(o, c.head, c.body, 1000); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
		if c.want == nil {
			continue
		}
		if s, err := Open(o); err == nil {
			if s.Applied().Seq != 0 || points(t, s) != 0 {
				t.Errorf("%s: the folder opens at %d", c.name, s.Applied().Seq)
			}
			ok(t, s.Close())
		}
	}
	disk := memfs.New()
	ok(t, disk.MkdirAll(dir, 0o750))
	if _, err := NewImport(options(disk), head); !errors.Is(err, fs.ErrExist) {
		t.Errorf("into a folder that is there: %v", err)
	}
}

// relay writes records again.
type relay struct {
	w   *record.Writer
	out []byte
}

func (r *relay) Record(k record.Kind, key, value []byte) error {
	r.out = r.w.Record(r.out, k, key, value)
	return nil
}

// BenchmarkCopy: 150,000 points of 100 elements with a short payload, on the disk.
func BenchmarkCopy(b *testing.B) {
	const n = 150_000
	o := benchOptions(vfs.OS(), 100)
	o.Dir = path.Join(b.TempDir(), "shard")
	s := open(b, o)
	ok(b, s.Apply(random(n, 100, rand.New(rand.NewPCG(1, 1)))))
	_, err := s.Checkpoint()
	ok(b, err)
	rate := func(b *testing.B, bytes int64) {
		b.ReportMetric(float64(bytes)/1e6/b.Elapsed().Seconds(), "MB/s")
		b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds(), "points/s")
	}
	b.Run("export", func(b *testing.B) {
		total := int64(0)
		for b.Loop() {
			e, err := s.Export()
			ok(b, err)
			n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, e, make([]byte, 512<<10))
			ok(b, errors.Join(err, e.Close()))
			total += n
		}
		rate(b, total)
	})
	b.Run("export+import", func(b *testing.B) {
		total := int64(0)
		for b.Loop() {
			e, err := s.Export()
			ok(b, err)
			h := e.Head()
			to := o
			to.Dir = path.Join(b.TempDir(), "copy")
			i, err := NewImport(to, h.AppendBinary(nil))
			ok(b, err)
			n, err := io.CopyBuffer(i, e, make([]byte, 512<<10))
			ok(b, errors.Join(err, e.Close(), i.Finish()))
			total += n
		}
		rate(b, total)
	})
}
