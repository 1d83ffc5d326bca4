package record

import (
	"bytes"
	"encoding/binary"
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
	records []rec
	fail    error
}

type rec struct {
	kind       Kind
	key, value string
}

func (l *list) Record(k Kind, key, value []byte) error {
	l.records = append(l.records, rec{k, string(key), string(value)})
	return l.fail
}

func (l *list) write(head []byte) (out []byte) {
	w := NewWriter(head)
	for _, r := range l.records {
		out = w.Record(out, r.kind, []byte(r.key), []byte(r.value))
	}
	return w.End(out)
}

func (l *list) put(k Kind, key []byte, value string) {
	if err := l.Record(k, key, []byte(value)); err != nil {
		panic(err)
	}
}

// tail is the key of a point of a generation.
func tail(gen uint64, id topology.PointID) []byte {
	return id.Append(binary.BigEndian.AppendUint64(nil, gen))
}

func number(n uint64) []byte { return topology.NumberID(n).Append(nil) }

// sample is a small copy with everything in it.
func sample() (Head, *list) {
	h := Head{Term: topology.Term{Epoch: 1, Run: 2}, Seq: 9, HLC: op.MakeHLC(4, 5), Floor: op.MakeHLC(3, 0), Digest: point.Digest{A: 6, B: 7},
		Points: 3, Bytes: 300, Revision: 8, Settings: []byte("{}")}
	l := &list{}
	alive := point.Point{ID: topology.NumberID(1), Alive: true, Base: point.Stamp{HLC: op.MakeHLC(4, 0), Origin: 7}, Vectors: []point.Vector{{Data: []float32{1, -0.5}}}}
	dead := point.Point{ID: topology.NumberID(2), Base: point.Stamp{HLC: op.MakeHLC(4, 5), Origin: 7}}
	partial := point.Point{ID: topology.UUIDID([16]byte{0xAB, 15: 0xCD}), Keys: []point.Key{{Name: "a", Stamp: point.Stamp{HLC: 9, Origin: 7}}}}
	l.put(Manifest, nil, "parts")
	l.put(File, FileKey(nil, 0, 0), "first")
	l.put(File, FileKey(nil, 0, 5), "second")
	l.put(Tail, tail(3, alive.ID), string(alive.AppendBinary(nil)))
	l.put(Dead, dead.ID.Append(nil), string(dead.AppendBinary(nil)))
	l.put(Dead, number(7), "")
	l.put(Dead, partial.ID.Append(nil), string(partial.AppendBinary(nil)))
	l.put(Open, dead.ID.Append(nil), "")
	l.put(Dedup, op.ID{Request: [16]byte{1}, Index: 2, Part: op.LastPart}.Append(nil), string(Applied{8, 9}.Append(nil)))
	l.put(Dedup, op.ID{Request: [16]byte{1}, Index: 2 | op.ClientIndexBit, Part: 0}.Append(nil), string(Applied{9, op.MakeHLC(4, 5)}.Append(nil)))
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
		_, err := read(h, head, body, piece, &back)
		if err != nil || !reflect.DeepEqual(&back, l) {
			t.Fatalf("pieces of %d: %+v, %v", piece, back, err)
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
	dedup := func(id op.ID, a Applied) []byte {
		return NewWriter(head).Record(nil, Dedup, id.Append(nil), a.Append(nil))
	}
	one := op.ID{Request: [16]byte{1}}
	two := func(k Kind, a, b []byte) []byte {
		w := NewWriter(head)
		return w.End(w.Record(w.Record(nil, k, a, nil), k, b, nil))
	}
	for _, c := range []struct {
		name string
		make []byte
	}{
		{"nothing", nil},
		{"points out of order", two(Tail, tail(1, topology.NumberID(2)), tail(1, topology.NumberID(1)))},
		{"generations out of order", two(Tail, tail(2, topology.NumberID(1)), tail(1, topology.NumberID(2)))},
		{"a point twice", two(Dead, number(1), number(1))},
		{"two manifests", two(Manifest, nil, nil)},
		{"pieces out of order", two(File, FileKey(nil, 1, 5), FileKey(nil, 1, 4))},
		{"points after dedup", NewWriter(head).Record(dedup(one, Applied{1, 1}), Dead, number(1), nil)},
		{"fewer records than it says", append(NewWriter(head).Record(nil, Dead, number(1), nil), NewWriter(head).End(nil)...)},
		{"dedup beyond the copy", dedup(one, Applied{10, 1})},
		{"dedup without id", dedup(op.ID{}, Applied{1, 1})},
		{"dedup at nothing", dedup(one, Applied{0, 1})},
		{"dedup of the future", dedup(one, Applied{1, h.HLC + 1})},
		{"an unknown kind", []byte{byte(endKind) + 1, 0}},
		{"no kind", []byte{0, 0}},
		{"a short point", []byte{byte(Dead), 3, 1, 2, 3}},
		{"an endless record", []byte{byte(Dead), 0xFF, 0xFF, 0xFF, 0xFF, 0x7F}},
		{"a long number", []byte{byte(Dead), 0x80, 0}},
		{"an endless number", []byte{byte(Dead), 0x80, 0x80, 0x80, 0x80, 0x80, 0x80}},
	} {
		if _, err := read(h, head, c.make, 5, &list{}); !errors.Is(err, op.ErrCorrupt) {
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
	if _, err := DecodeHead([]byte{3}); !errors.Is(err, op.ErrVersion) {
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
			l.put(Tail, tail(next, topology.NumberID(next)), string(rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "stored")))
		}
		for i := range rapid.IntRange(0, 8).Draw(t, "dedup") {
			id := op.ID{Request: [16]byte{byte(i + 1)}, Part: rapid.Uint32().Draw(t, "part")}
			l.put(Dedup, id.Append(nil), string(Applied{topology.Seq(i + 1), op.HLC(i)}.Append(nil)))
		}
		h := Head{Seq: 100, HLC: 100}
		head := h.AppendBinary(nil)
		var back list
		if _, err := read(h, head, l.write(head), rapid.IntRange(1, 700).Draw(t, "piece"), &back); err != nil || fmt.Sprint(&back) != fmt.Sprint(l) {
			t.Fatalf("%v: %v, want %v", err, &back, l)
		}
	})
}

// TestGolden: version 2 is read and written like this for ever.
func TestGolden(t *testing.T) {
	const file = "testdata/v2.golden"
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
	golden, err := os.ReadFile("testdata/v2.golden")
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
	f.Add([]byte{3}, []byte{3, 20}, uint16(3))
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
