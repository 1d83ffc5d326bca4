package manifest

import (
	"bytes"
	"encoding/hex"
	"errors"
	"reflect"
	"slices"
	"testing"

	"github.com/RoaringBitmap/roaring/v2"
	"github.com/pandodb/pando/services/dataplane/internal/point"
	"github.com/pandodb/pando/services/dataplane/internal/segment"
	"github.com/pandodb/pando/services/dataplane/internal/shard/store"
	"github.com/pandodb/pando/services/internal/topology"
)

// sample has an entry of each sort: a segment with an artefact, and a part that is to
// be made of a segment and a generation.
func sample() Manifest {
	records := segment.File{Kind: segment.KindRecords, Size: 10, Sum: [16]byte{1}}
	graph := segment.File{Kind: segment.KindGraph, Name: "img", Size: 20, Sum: [16]byte{2}}
	of := func(n topology.Seq) *segment.Description {
		return &segment.Description{Part: n, Rows: 3, Digest: point.Digest{A: 1, B: 2}, Files: []segment.File{records}}
	}
	return Manifest{Active: 7, Parts: []Entry{
		{Number: 2, Origin: Origin{Number: 2, Segment: of(2), Artefacts: []Artefact{{File: graph, Of: "m=16"}}}},
		{Number: 7, Sources: []Source{
			{Origin: Origin{Number: 5, Segment: of(5)}, Rows: roaring.BitmapOf(1, 2), Stage: Keep},
			{Origin: Origin{Number: 6, Gen: 5}, IDs: []topology.PointID{topology.NumberID(3)}, Stage: 2},
		}, Earlier: []topology.Seq{3, 5}},
	}}
}

// TestVersion1: what the first version wrote, which knew no stages, is read for ever.
func TestVersion1(t *testing.T) {
	old, err := hex.DecodeString("0107020200020127010203010000000000000002000000000000000104000a01000000000000000000000000000000012a01000000000000000000000000" +
		"000000000000010603696d671402000000000000000000000000000000046d3d31360702050127010503010000000000000002000000000000000104000a010000000000000000000000" +
		"0000000000143a30000001000000000001001000000001000200060005010000000000000000000000000000000003")
	if err != nil {
		t.Fatal(err)
	}
	got, err := Decode(old)
	if err != nil {
		t.Fatal(err)
	}
	want := sample()
	want.Parts[1].Earlier, want.Parts[1].Sources[0].Stage, want.Parts[1].Sources[1].Stage = nil, 0, 0
	if !got.Parts[1].Sources[0].Rows.Equals(want.Parts[1].Sources[0].Rows) {
		t.Errorf("dead rows %v", got.Parts[1].Sources[0].Rows)
	}
	got.Parts[1].Sources[0].Rows = want.Parts[1].Sources[0].Rows
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v is read as %+v", want, got)
	}
}

// TestStages: those that no log can lead to are refused.
func TestStages(t *testing.T) {
	for name, change := range map[string]func(e *Entry){
		"not ascending":              func(e *Entry) { e.Earlier = []topology.Seq{5, 5} },
		"not before the part":        func(e *Entry) { e.Earlier = []topology.Seq{3, 7} },
		"unknown stage":              func(e *Entry) { e.Sources[1].Stage = 3 },
		"generation keeps its own":   func(e *Entry) { e.Sources[1].Stage = Keep },
		"more than a segment can be": func(e *Entry) { e.Number = 1000; e.Earlier = upTo(segment.MaxStages) },
	} {
		m := sample()
		change(&m.Parts[1])
		if _, err := Decode(m.AppendBinary(nil)); !errors.Is(err, store.ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func upTo(n int) (out []topology.Seq) {
	for i := range n {
		out = append(out, topology.Seq(i+1))
	}
	return out
}

func TestCodec(t *testing.T) {
	m := sample()
	b := m.AppendBinary(nil)
	got, err := Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	rows := got.Parts[1].Sources[0].Rows
	if !rows.Equals(m.Parts[1].Sources[0].Rows) {
		t.Errorf("dead rows %v", rows)
	}
	got.Parts[1].Sources[0].Rows = m.Parts[1].Sources[0].Rows
	lent := slices.Clone(b)
	kept, err := Decode(lent)
	clear(lent) // the store takes back what it lends
	if err != nil || !bytes.Equal(kept.AppendBinary(nil), b) {
		t.Errorf("%+v changes with the bytes that it was read from, %v", kept, err)
	}
	if !reflect.DeepEqual(got, m) {
		t.Errorf("%+v is read back as %+v", m, got)
	}
	for n := range b {
		if _, err := Decode(b[:n]); !errors.Is(err, store.ErrCorrupt) {
			t.Errorf("first %d bytes: %v", n, err)
		}
	}
	if _, err := Decode(append([]byte{manifestVersion + 1}, b[1:]...)); !errors.Is(err, store.ErrVersion) {
		t.Errorf("newer version: %v", err)
	}
}

// TestFiles: a file that two segments share is named once.
func TestFiles(t *testing.T) {
	m := sample()
	if fs := m.Files(); len(fs) != 2 || fs[0].Kind != segment.KindRecords || fs[1].Kind != segment.KindGraph {
		t.Errorf("files %+v", fs)
	}
}

// TestDerive: an artefact is noted where its segment stands, be it a source, and not
// in manifests that share the sources.
func TestDerive(t *testing.T) {
	before := sample()
	m := before
	m.Parts = append([]Entry(nil), before.Parts...)
	a := []Artefact{{File: segment.File{Kind: segment.KindCodes, Name: "img"}, Of: "codes"}}
	m.Derive(5, a)
	if got := m.Parts[1].Sources[0].Artefacts; !reflect.DeepEqual(got, a) {
		t.Errorf("source has %+v", got)
	}
	m.Derive(2, a)
	if got := m.Parts[0].Origin.Artefacts; !reflect.DeepEqual(got, a) {
		t.Errorf("part has %+v", got)
	}
	if want := sample(); !reflect.DeepEqual(before.Parts[0], want.Parts[0]) || before.Parts[1].Sources[0].Artefacts != nil {
		t.Errorf("the manifest before became %+v", before)
	}
}

func FuzzDecode(f *testing.F) {
	m := sample()
	f.Add(m.AppendBinary(nil))
	f.Add((&Manifest{}).AppendBinary(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Decode(b)
		if err != nil {
			return
		}
		first := m.AppendBinary(nil)
		again, err := Decode(first)
		if err != nil {
			t.Fatalf("% x is written back as % x: %v", b, first, err)
		}
		if second := again.AppendBinary(nil); !bytes.Equal(first, second) {
			t.Fatalf("% x is written back as % x", first, second)
		}
	})
}
