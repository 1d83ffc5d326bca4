package segment

import (
	"bytes"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"github.com/pandodb/pando/services/dataplane/internal/kernel"
	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/payload"
	"github.com/pandodb/pando/services/dataplane/internal/point"
	"github.com/pandodb/pando/services/dataplane/internal/query"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/vfs"
)

func numbered(i int) payload.Doc {
	var w payload.Writer
	w.Field("n", payload.AppendInt(nil, int64(i)))
	return w.Doc()
}

func rewrite() bool {
	f := flag.Lookup("rewrite")
	return f != nil && f.Value.String() == "true"
}

func TestMain(m *testing.M) {
	flag.Bool("rewrite", false, "write golden files anew")
	flag.Parse()
	os.Exit(m.Run())
}

// TestGolden: version 1 is written and read like this for ever, of one stage and of more.
func TestGolden(t *testing.T) {
	for golden, spec := range map[string]Spec{"testdata/v1": schema(), "testdata/v1-stages": staged()} {
		t.Run(golden, func(t *testing.T) { checkGolden(t, golden, spec, sample(9)) })
	}
	t.Run("testdata/v1-turbo", func(t *testing.T) { checkGolden(t, "testdata/v1-turbo", schema(), few(t, sample(9))) })
}

// few gives points vectors of turbo4, but for one, and that of another what it does not hold.
func few(t *testing.T, ps []point.Point) []point.Point {
	for i := range ps {
		data := make([]float32, 20)
		for j := range data {
			data[j] = float32((i*7+j*j*31)%41-20) / 8
		}
		v := op.Vector{Name: "few", Data: data}
		if i != 5 {
			var err error
			v, err = schema().Vectors[1].Stored(v)
			ok(t, err)
		}
		if i != 4 {
			ps[i].Apply(point.Stamp{HLC: op.HLC(100 + i), Origin: 4}, point.Change{Kind: op.UpdateVectors, Vectors: []op.Vector{v}})
		}
	}
	return ps
}

func checkGolden(t *testing.T, golden string, spec Spec, ps []point.Point) {
	disk := folder(t)
	d, err := write(disk, spec, ps)
	ok(t, err)
	art, err := put(disk)
	ok(t, err)
	files := contents(t, disk)
	files["description"] = string(d.AppendBinary(nil))
	if rewrite() {
		ok(t, os.RemoveAll(golden))
		ok(t, os.MkdirAll(golden, 0o755))
		for name, data := range files {
			ok(t, os.WriteFile(filepath.Join(golden, name), []byte(data), 0o644))
		}
	}
	entries, err := os.ReadDir(golden)
	ok(t, err)
	if len(entries) != len(files) {
		t.Errorf("%d golden files, %d are written", len(entries), len(files))
	}
	kept := folder(t)
	for _, e := range entries {
		want, err := os.ReadFile(filepath.Join(golden, e.Name()))
		ok(t, err)
		if files[e.Name()] != string(want) {
			t.Errorf("%s is written with other bytes", e.Name())
		}
		ok(t, vfs.WriteFileAtomic(kept, filepath.Join(dir, e.Name()), want))
	}
	form, err := vfs.ReadFile(kept, filepath.Join(dir, "description"))
	ok(t, err)
	old, err := DecodeDescription(form)
	ok(t, err)
	ok(t, checkAs(kept, spec, old, art, ps))
}

// TestNewer: files and descriptions of the future are told from damaged ones.
func TestNewer(t *testing.T) {
	h := header{kind: KindIDs}.append(nil)
	binary.LittleEndian.PutUint32(h[8:], format+1)
	if _, err := decodeHeader(h); !errors.Is(err, ErrCorrupt) {
		t.Errorf("checksum first: %v", err)
	}
	binary.LittleEndian.PutUint32(h[headerSize-4:], checksum(0, h[:headerSize-4]))
	if _, err := decodeHeader(h); !errors.Is(err, ErrVersion) {
		t.Errorf("newer file: %v", err)
	}
	if _, err := DecodeDescription([]byte{descriptionVersion + 1}); !errors.Is(err, ErrVersion) {
		t.Errorf("newer description: %v", err)
	}
	d := Description{Files: []File{{Kind: kinds}}}
	if _, err := DecodeDescription(d.AppendBinary(nil)); !errors.Is(err, ErrVersion) {
		t.Errorf("unknown kind: %v", err)
	}
	for _, d := range []Description{{Rows: MaxRows + 1}, {Files: []File{{Kind: 2}, {Kind: 1}}}, {Files: []File{{Kind: 1}, {Kind: 1}}}, {Files: []File{{Kind: 1, Size: -1}}}} {
		if _, err := DecodeDescription(d.AppendBinary(nil)); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%+v: %v", d, err)
		}
	}
}

// TestSchemaChanges: a segment outlives the settings that it was written under.
func TestSchemaChanges(t *testing.T) {
	ps := sample(20)
	disk := folder(t)
	d, err := write(disk, schema(), ps)
	ok(t, err)
	later := Spec{Part: 7, Vectors: []query.VectorSchema{{Name: "", Size: 4}, {Name: "half", Size: 5, Distance: query.Manhattan, Datatype: query.Float16}, {Name: "new", Size: 9}}}
	s, err := Open(disk, dir, later, d, nil)
	ok(t, err)
	for i := range ps {
		var p point.Point
		ok(t, s.Point(uint32(i), &p))
		if !bytes.Equal(p.AppendBinary(nil), ps[i].AppendBinary(nil)) {
			t.Errorf("row %d differs", i)
		}
	}
	if _, ok := s.Vectors(""); ok {
		t.Error("vectors of another size")
	}
	if vs, ok := s.Vectors("half"); !ok || vs.VectorSchema != later.Vectors[1] || len(vs.F16) != 20*vs.Stride || vs.Stride != 32 || vs.Len != 13 {
		t.Errorf("%v: %+v", ok, vs)
	}
	if _, ok := s.Vectors("image"); ok {
		t.Error("vectors that the schema does not have")
	}
	ok(t, s.Close())
}

// TestNarrow: every float16 comes back, and nothing else passes.
func TestNarrow(t *testing.T) {
	for h := range 1 << 16 {
		var wide [1]float32
		kernel.Widen(wide[:], []uint16{uint16(h)})
		bits := math.Float32bits(wide[0])
		if h&0x7c00 == 0x7c00 {
			if _, ok := narrow(bits); ok {
				t.Fatalf("%04x is not finite and passes", h)
			}
			continue
		}
		if got, ok := narrow(bits); !ok || got != uint16(h) {
			t.Fatalf("%04x becomes %04x, %v", h, got, ok)
		}
		for _, near := range []uint32{bits + 1, bits ^ 1<<12, bits | 1} {
			got, ok := narrow(near)
			kernel.Widen(wide[:], []uint16{got})
			if ok && math.Float32bits(wide[0]) != near {
				t.Fatalf("%08x passes as %04x", near, got)
			}
		}
	}
}

// TestDenseKnowsEveryField fails when a vector gets a field that isDense does not
// look at: it would be lost in a file of vectors.
func TestDenseKnowsEveryField(t *testing.T) {
	var names []string
	for _, f := range reflect.VisibleFields(reflect.TypeFor[point.Vector]()) {
		names = append(names, f.Name)
	}
	if want := []string{"Name", "Data", "Stamp", "Indices", "Count"}; !slices.Equal(names, want) {
		t.Errorf("point.Vector has the fields %v, isDense knows %v", names, want)
	}
}

// TestSeek holds the search against the definition, on ids that are dense, sparse,
// and as uneven as to defeat interpolation.
func TestSeek(t *testing.T) {
	var ids []topology.PointID
	for i := range uint64(300) {
		ids = append(ids, topology.NumberID(i*i*i*i), topology.NumberID(math.MaxUint64-i))
	}
	for i := range 64 {
		ids = append(ids, topology.NumberID(1<<i+1000), topology.UUIDID([16]byte{7: byte(i), 15: byte(i)}), topology.UUIDID([16]byte{15: byte(i)}))
	}
	slices.SortFunc(ids, topology.PointID.Compare)
	ids = slices.Compact(ids)
	ps := make([]point.Point, len(ids))
	for i, id := range ids {
		ps[i] = point.Point{ID: id, Alive: true, Base: point.Stamp{HLC: op.HLC(i + 1)}}
	}
	disk := folder(t)
	d, err := write(disk, Spec{}, ps)
	ok(t, err)
	s, err := Open(disk, dir, Spec{}, d, nil)
	ok(t, err)
	probe := slices.Clone(ids)
	for _, id := range ids {
		probe = append(probe, topology.NumberID(id.Number()+1), topology.NumberID(id.Number()-1), topology.UUIDID(id.UUID()))
	}
	for _, id := range probe {
		at, found := slices.BinarySearchFunc(ids, id, topology.PointID.Compare)
		if row, ok := s.Find(id); int(row) != at || ok != found || s.Seek(id) != row {
			t.Fatalf("%v: row %d, %v, want %d, %v", id, row, ok, at, found)
		}
	}
	if n := testing.AllocsPerRun(100, func() { s.Find(ids[77]); s.ID(99); s.Version(99) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
	ok(t, s.Close())
}

func FuzzDescription(f *testing.F) {
	d := Description{Part: 300, Rows: 5, Digest: point.Digest{A: 1, B: 2}, Files: []File{{Kind: 1, Size: 128, Sum: [16]byte{1}}, {Kind: 5, Name: "é", Size: 1 << 40}}}
	f.Add(d.AppendBinary(nil))
	f.Add([]byte{2})
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := DecodeDescription(b)
		if err == nil && !bytes.Equal(d.AppendBinary(nil), b) {
			t.Fatalf("% x is written back as % x", b, d.AppendBinary(nil))
		}
	})
}

func FuzzHeader(f *testing.F) {
	f.Add(header{KindVectors, 5, 100, 112, 0}.append(nil))
	f.Add([]byte(magic))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) >= headerSize { // let it look behind the checksum
			binary.LittleEndian.PutUint32(b[headerSize-4:], checksum(0, b[:headerSize-4]))
		}
		h, err := decodeHeader(b)
		if err == nil && !bytes.Equal(h.append(nil), b[:headerSize]) {
			t.Fatalf("% x is written back as % x", b, h.append(nil))
		}
	})
}

// FuzzFile opens files whose checksums are right and whose contents are anything.
func FuzzFile(f *testing.F) {
	f.Add(uint8(KindIDs), []byte("0123456701234567"), uint64(1), uint32(0), uint32(0))
	f.Add(uint8(KindVectors), make([]byte, 72), uint64(1), uint32(3), uint32(16))
	f.Add(uint8(KindRows), make([]byte, 16), uint64(0), uint32(0), uint32(0))
	f.Add(uint8(KindVectors), []byte("\x03\x00\x00\x00\x00\x00\x00\x00\x01"), uint64(1), uint32(0), uint32(0)) // the stages
	f.Add(uint8(KindRecords), []byte{2, 1, 1, 0}, uint64(0), uint32(0), uint32(0))
	f.Fuzz(func(t *testing.T, k uint8, content []byte, extra uint64, size, stride uint32) {
		disk := folder(t)
		p := point.Point{ID: topology.NumberID(7), Alive: true, Base: point.Stamp{HLC: 1}, Vectors: []point.Vector{{Data: []float32{1, 2, 3}}}}
		d, err := write(disk, staged(), []point.Point{p})
		ok(t, err)
		i := int(k) % len(d.Files)
		w, err := create(disk, dir, d.Files[i].Name, header{d.Files[i].Kind, 1, size, stride, 0})
		ok(t, err)
		_, err = w.Write(content)
		ok(t, err)
		file, err := w.finish(extra, d.Digest)
		ok(t, err)
		d.Files[i] = file
		ok(t, publish(disk, dir, []*writer{w}, []File{file}))
		s, err := Open(disk, dir, schema(), d, nil)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrVersion) {
				t.Fatal(err)
			}
			return
		}
		stages := s.Stages()
		if at := int(stages.At(0)); at > len(stages.Earlier) {
			t.Fatalf("stage %d of %d", at, len(stages.Earlier))
		}
		_ = fmt.Sprint(s.ID(0), s.Version(0), s.Seek(p.ID), s.Payload(0), s.columns)
		if err := s.Point(0, &p); err != nil && !errors.Is(err, ErrCorrupt) {
			t.Fatal(err)
		}
		ok(t, s.Close())
	})
}
