package record

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/point"
	"github.com/pandodb/pando/services/internal/topology"
	"pgregory.net/rapid"
)

func rewrite() bool {
	f := flag.Lookup("rewrite")
	return f != nil && f.Value.String() == "true"
}

func TestMain(m *testing.M) {
	flag.Bool("rewrite", false, "write golden files anew")
	flag.Parse()
	os.Exit(m.Run())
}

// list is a sink that keeps what it is given, and writes it back.
type list struct {
	points []struct {
		id     topology.PointID
		stored string
	}
	dedup []Dedup
	fail  error
}

func (l *list) Point(id topology.PointID, stored []byte) error {
	l.points = append(l.points, struct {
		id     topology.PointID
		stored string
	}{id, string(stored)})
	return l.fail
}

func (l *list) Dedup(d Dedup) error {
	l.dedup = append(l.dedup, d)
	return l.fail
}

func (l *list) write(head []byte) (out []byte) {
	w := NewWriter(head)
	for _, p := range l.points {
		out = w.Point(out, p.id, []byte(p.stored))
	}
	for _, d := range l.dedup {
		out = w.Dedup(out, d)
	}
	return w.End(out)
}

func (l *list) put(id topology.PointID, stored string) {
	if err := l.Point(id, []byte(stored)); err != nil {
		panic(err)
	}
}

// sample is a small copy with everything in it.
func sample() (Head, *list) {
	h := Head{Term: topology.Term{Epoch: 1, Run: 2}, Seq: 9, HLC: op.MakeHLC(4, 5), Floor: op.MakeHLC(3, 0), Digest: point.Digest{A: 6, B: 7},
		Points: 3, Bytes: 300, Revision: 8, Settings: []byte("{}")}
	l := &list{}
	alive := point.Point{ID: topology.NumberID(1), Alive: true, Base: point.Stamp{HLC: op.MakeHLC(4, 0), Origin: 7}, Vectors: []point.Vector{{Data: []float32{1, -0.5}}}}
	dead := point.Point{ID: topology.NumberID(2), Base: point.Stamp{HLC: op.MakeHLC(4, 5), Origin: 7}}
	partial := point.Point{ID: topology.UUIDID([16]byte{0xAB, 15: 0xCD}), Keys: []point.Key{{Name: "a", Stamp: point.Stamp{HLC: 9, Origin: 7}}}}
	for _, p := range []point.Point{alive, dead, partial} {
		l.put(p.ID, string(p.AppendBinary(nil)))
	}
	l.dedup = []Dedup{{op.ID{Request: [16]byte{1}, Index: 2, Part: op.LastPart}, 8, 9}, {op.ID{Request: [16]byte{1}, Index: 2 | op.ClientIndexBit, Part: 0}, 9, op.MakeHLC(4, 5)}}
	return h, l
}

// read feeds a copy in pieces of the given size.
func read(h Head, head, body []byte, piece int, to Sink) (*Reader, error) {
	r := NewReader(h, head, to)
	for len(body) > 0 {
		n := min(piece, len(body))
		mine := bytes.Clone(body[:n])
		if _, err := r.Write(mine); err != nil {
			return r, err
		}
		clear(mine) // it was lent
		body = body[n:]
	}
	return r, r.Close()
}

func TestPiecesOfAnySize(t *testing.T) {
	h, l := sample()
	head := h.AppendBinary(nil)
	got, err := DecodeHead(head)
	if err != nil || !reflect.DeepEqual(got, h) {
		t.Fatalf("%+v, %v", got, err)
	}
	body := l.write(head)
	for piece := 1; piece <= len(body); piece++ {
		var back list
		r, err := read(h, head, body, piece, &back)
		if err != nil || !reflect.DeepEqual(&back, l) {
			t.Fatalf("pieces of %d: %+v, %v", piece, back, err)
		}
		if p, d := r.Counts(); p != 3 || d != 2 {
			t.Fatalf("%d points, %d dedup entries", p, d)
		}
	}
	for n := range body {
		if _, err := read(h, head, body[:n], len(body), &list{}); !errors.Is(err, op.ErrCorrupt) {
			t.Fatalf("cut at %d: %v", n, err)
		}
	}
}

// TestEveryBitFlip: nothing that differs from what was written is a whole copy.
// Stored forms are opaque here, so the checksum has to find them.
func TestEveryBitFlip(t *testing.T) {
	h, l := sample()
	head := h.AppendBinary(nil)
	body := l.write(head)
	for i := range 8 * len(body) {
		bad := bytes.Clone(body)
		bad[i/8] ^= 1 << (i % 8)
		if _, err := read(h, head, bad, 7, &list{}); !errors.Is(err, op.ErrCorrupt) {
			t.Errorf("bit %d of byte %d: %v", i%8, i/8, err)
		}
	}
	for i := range 8 * len(head) {
		bad := bytes.Clone(head)
		bad[i/8] ^= 1 << (i % 8)
		other, err := DecodeHead(bad)
		if err == nil {
			_, err = read(other, bad, body, 7, &list{})
		}
		if !errors.Is(err, op.ErrCorrupt) && !errors.Is(err, op.ErrVersion) {
			t.Errorf("bit %d of byte %d of the head: %v", i%8, i/8, err)
		}
	}
}

func TestRefuses(t *testing.T) {
	h, _ := sample()
	head := h.AppendBinary(nil)
	id := topology.NumberID
	for _, c := range []struct {
		name string
		make func() []byte
	}{
		{"nothing", func() []byte { return nil }},
		{"points out of order", func() []byte {
			w := NewWriter(head)
			return w.End(w.Point(w.Point(w.Point(nil, id(2), nil), id(1), nil), id(3), nil))
		}},
		{"a point twice", func() []byte {
			w := NewWriter(head)
			return w.End(w.Point(w.Point(w.Point(nil, id(1), nil), id(1), nil), id(3), nil))
		}},
		{"too few points", func() []byte { w := NewWriter(head); return w.End(w.Point(nil, id(1), nil)) }},
		{"too many points", func() []byte {
			w := NewWriter(head)
			b := []byte(nil)
			for i := range uint64(4) {
				b = w.Point(b, id(i), nil)
			}
			return w.End(b)
		}},
		{"points after dedup", func() []byte {
			w := NewWriter(head)
			return w.Point(w.Dedup(nil, Dedup{op.ID{Request: [16]byte{1}}, 1, 1}), id(1), nil)
		}},
		{"dedup beyond the copy", func() []byte { return NewWriter(head).Dedup(nil, Dedup{op.ID{Request: [16]byte{1}}, 10, 1}) }},
		{"dedup without id", func() []byte { return NewWriter(head).Dedup(nil, Dedup{op.ID{}, 1, 1}) }},
		{"dedup at nothing", func() []byte { return NewWriter(head).Dedup(nil, Dedup{op.ID{Request: [16]byte{1}}, 0, 1}) }},
		{"dedup of the future", func() []byte { return NewWriter(head).Dedup(nil, Dedup{op.ID{Request: [16]byte{1}}, 1, h.HLC + 1}) }},
		{"an unknown kind", func() []byte { return []byte{4, 0} }},
		{"no kind", func() []byte { return []byte{0, 0} }},
		{"a short point", func() []byte { return []byte{1, 3, 1, 2, 3} }},
		{"no id", func() []byte { return append([]byte{1, 17, 9}, make([]byte, 16)...) }},
		{"an endless record", func() []byte { return []byte{1, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F} }},
		{"a long number", func() []byte { return []byte{1, 0x80, 0} }},
		{"an endless number", func() []byte { return []byte{1, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80} }},
	} {
		if _, err := read(h, head, c.make(), 5, &list{}); !errors.Is(err, op.ErrCorrupt) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	_, l := sample()
	body := l.write(head)
	if _, err := read(h, head, append(body, 1), 5, &list{}); !errors.Is(err, op.ErrCorrupt) {
		t.Errorf("more after the end: %v", err)
	}
	r, err := read(h, head, body, 5, &list{fail: errors.ErrUnsupported})
	if !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("the sink's error: %v", err)
	}
	if _, again := r.Write(body); !errors.Is(again, errors.ErrUnsupported) || !errors.Is(r.Close(), errors.ErrUnsupported) {
		t.Errorf("it does not stick: %v", again)
	}
	if _, err := DecodeHead([]byte{2}); !errors.Is(err, op.ErrVersion) {
		t.Errorf("head of the future: %v", err)
	}
	if _, err := DecodeHead(head[:20]); !errors.Is(err, op.ErrCorrupt) {
		t.Errorf("short head: %v", err)
	}
}

func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := &list{}
		next := uint64(0)
		for range rapid.IntRange(0, 8).Draw(t, "points") {
			next += rapid.Uint64Range(1, 1<<40).Draw(t, "step")
			l.put(topology.NumberID(next), string(rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "stored")))
		}
		for i := range rapid.IntRange(0, 8).Draw(t, "dedup") {
			l.dedup = append(l.dedup, Dedup{op.ID{Request: [16]byte{byte(i + 1)}, Part: rapid.Uint32().Draw(t, "part")}, topology.Seq(i + 1), op.HLC(i)})
		}
		h := Head{Seq: 100, HLC: 100, Points: uint64(len(l.points))}
		head := h.AppendBinary(nil)
		var back list
		if _, err := read(h, head, l.write(head), rapid.IntRange(1, 700).Draw(t, "piece"), &back); err != nil || fmt.Sprint(&back) != fmt.Sprint(l) {
			t.Fatalf("%v: %v, want %v", err, &back, l)
		}
	})
}

// TestGolden: version 1 is read and written like this for ever.
func TestGolden(t *testing.T) {
	const file = "testdata/v1.golden"
	h, l := sample()
	head := h.AppendBinary(nil)
	got := hex.EncodeToString(head) + "\n" + hex.EncodeToString(l.write(head)) + "\n"
	if rewrite() {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Fatalf("got:\n%swant:\n%s", got, want)
	}
}

func seeds(f *testing.F) (head, body []byte) {
	golden, err := os.ReadFile("testdata/v1.golden")
	if err != nil {
		f.Fatal(err)
	}
	a, b, _ := strings.Cut(strings.TrimSpace(string(golden)), "\n")
	head, err = hex.DecodeString(a)
	if err != nil {
		f.Fatal(err)
	}
	if body, err = hex.DecodeString(b); err != nil {
		f.Fatal(err)
	}
	return head, body
}

// FuzzReader: what is taken for a copy is written back as the same bytes, however
// it was cut into pieces.
func FuzzReader(f *testing.F) {
	head, body := seeds(f)
	f.Add(head, body, uint16(9))
	f.Add(head, body[:40], uint16(1))
	f.Add([]byte{2}, []byte{3, 20}, uint16(3))
	f.Fuzz(func(t *testing.T, head, body []byte, piece uint16) {
		h, err := DecodeHead(head)
		if err != nil {
			return
		}
		if again := h.AppendBinary(nil); !bytes.Equal(again, head) {
			t.Fatalf("head % x is written back as % x", head, again)
		}
		var l list
		if _, err := read(h, head, body, int(piece)+1, &l); err != nil {
			return
		}
		if again := l.write(head); !bytes.Equal(again, body) {
			t.Fatalf("% x is written back as % x", body, again)
		}
	})
}
