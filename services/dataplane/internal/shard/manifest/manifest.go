// Package manifest is the record of which sealed parts a shard has and where
// (docs/format/shard.md): its form, and what follows from it. It opens nothing.
package manifest

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/RoaringBitmap/roaring/v2"
	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/segment"
	"github.com/pandodb/pando/services/dataplane/internal/shard/store"
	"github.com/pandodb/pando/services/internal/topology"
)

// manifestVersion is the first byte of a manifest. Version 1, without stages, is read
// as well.
const manifestVersion = 2

// Manifest says which sealed parts there are and where (docs/format/shard.md). It
// is stored in one batch with what it goes with.
type Manifest struct {
	Active topology.Seq // generation of the tail
	Parts  []Entry      // ascending
}

// Entry is a sealed part: a segment, or what one is to be made of.
type Entry struct {
	Number  topology.Seq
	Origin  Origin   // of a segment
	Sources []Source // of what is to become one; nil: it is one
	// Earlier are the stages before the last of what is to become one (segment.Stages).
	Earlier []topology.Seq
}

// Origin is where points are stored: a generation of the store, or a segment.
type Origin struct {
	Number    topology.Seq // of the part that it was sealed as
	Gen       topology.Seq
	Segment   *segment.Description // nil: a generation
	Artefacts []Artefact
}

// Artefact is a file that was derived from a segment, and from which settings.
type Artefact struct {
	segment.File
	Of string
}

// Source is an origin without the rows that were dead: numbers of a segment's rows,
// or ids of a generation's points.
type Source struct {
	Origin
	Rows  *roaring.Bitmap
	IDs   []topology.PointID
	Stage int // of its rows in the part; or Keep
}

// Keep is the Stage of a segment whose rows keep theirs.
const Keep = -1

// AppendBinary encodes m, and appends that to dst.
func (m *Manifest) AppendBinary(dst []byte) []byte {
	dst = binary.AppendUvarint(append(dst, manifestVersion), uint64(m.Active))
	dst = binary.AppendUvarint(dst, uint64(len(m.Parts)))
	for i := range m.Parts {
		e := &m.Parts[i]
		dst = binary.AppendUvarint(dst, uint64(e.Number))
		dst = binary.AppendUvarint(dst, uint64(len(e.Sources)))
		if len(e.Sources) == 0 {
			dst = e.Origin.append(dst)
		}
		for j := range e.Sources {
			dst = e.Sources[j].append(dst)
		}
		if len(e.Sources) == 0 {
			continue
		}
		dst = binary.AppendUvarint(dst, uint64(len(e.Earlier)))
		for _, n := range e.Earlier {
			dst = binary.AppendUvarint(dst, uint64(n))
		}
		for j := range e.Sources {
			dst = binary.AppendUvarint(dst, uint64(e.Sources[j].Stage-Keep))
		}
	}
	return dst
}

func (o *Origin) append(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(o.Number))
	if o.Segment == nil {
		return binary.AppendUvarint(append(dst, 0), uint64(o.Gen))
	}
	d := o.Segment.AppendBinary(nil)
	dst = append(binary.AppendUvarint(append(dst, 1), uint64(len(d))), d...)
	dst = binary.AppendUvarint(dst, uint64(len(o.Artefacts)))
	for _, a := range o.Artefacts {
		d := (&segment.Description{Files: []segment.File{a.File}}).AppendBinary(nil)
		dst = append(binary.AppendUvarint(dst, uint64(len(d))), d...)
		dst = append(binary.AppendUvarint(dst, uint64(len(a.Of))), a.Of...)
	}
	return dst
}

func (s *Source) append(dst []byte) []byte {
	dst = s.Origin.append(dst)
	if s.Segment != nil {
		b, err := s.Rows.ToBytes()
		if err != nil {
			panic(err) // a buffer takes everything
		}
		return append(binary.AppendUvarint(dst, uint64(len(b))), b...)
	}
	dst = binary.AppendUvarint(dst, uint64(len(s.IDs)))
	for _, id := range s.IDs {
		dst = id.Append(dst)
	}
	return dst
}

// Decode reads a manifest, which does not alias b. Errors: store.ErrVersion, store.ErrCorrupt.
func Decode(b []byte) (m Manifest, err error) {
	r := op.NewReader(b)
	version := r.Byte()
	if (version < 1 || version > manifestVersion) && r.Err() == nil {
		return m, fmt.Errorf("%w: manifest of version %d", store.ErrVersion, version)
	}
	m.Active = topology.Seq(r.Uvarint())
	for range r.Count(3) {
		e := Entry{Number: topology.Seq(r.Uvarint())}
		if n := len(m.Parts); n > 0 && e.Number <= m.Parts[n-1].Number {
			r.Fail("parts out of order")
		}
		n := r.Count(3)
		if n == 0 {
			if e.Origin = readOrigin(r); e.Origin.Segment == nil {
				r.Fail("part without a segment or sources")
			}
		}
		for range n {
			e.Sources = append(e.Sources, readSource(r))
		}
		if n > 0 && version > 1 {
			e.readStages(r)
		}
		m.Parts = append(m.Parts, e)
	}
	if err := r.Close(); err != nil {
		return m, fmt.Errorf("%w: manifest: %w", store.ErrCorrupt, err)
	}
	return m, nil
}

func (e *Entry) readStages(r *op.Reader) {
	for range r.Count(1) {
		n := topology.Seq(r.Uvarint())
		if i := len(e.Earlier); i > 0 && n <= e.Earlier[i-1] || n >= e.Number || i+1 == segment.MaxStages {
			r.Fail("stages out of order")
		}
		e.Earlier = append(e.Earlier, n)
	}
	for j := range e.Sources {
		n := r.Uvarint()
		if n > uint64(len(e.Earlier)-Keep) || int(n)+Keep == Keep && e.Sources[j].Segment == nil {
			r.Fail("stage of a source")
		}
		e.Sources[j].Stage = int(n) + Keep
	}
}

func readOrigin(r *op.Reader) (o Origin) {
	o.Number = topology.Seq(r.Uvarint())
	switch r.Byte() {
	case 0:
		o.Gen = topology.Seq(r.Uvarint())
		return o
	case 1:
	default:
		r.Fail("kind of an origin")
		return o
	}
	d, err := segment.DecodeDescription(r.Bytes())
	if err != nil {
		r.Fail(err.Error())
	}
	o.Segment = &d
	for range r.Count(2) {
		d, err := segment.DecodeDescription(r.Bytes())
		of := strings.Clone(r.Text())
		if err != nil || len(d.Files) != 1 {
			r.Fail("artefact")
			break
		}
		o.Artefacts = append(o.Artefacts, Artefact{d.Files[0], of})
	}
	return o
}

func readSource(r *op.Reader) (s Source) {
	s.Origin = readOrigin(r)
	if s.Segment == nil {
		for range r.Count(topology.PointIDSize) {
			s.IDs = append(s.IDs, r.PointID())
		}
		return s
	}
	s.Rows = roaring.New()
	if b := r.Bytes(); r.Err() == nil {
		n, err := s.Rows.FromBuffer(append([]byte(nil), b...))
		if err == nil {
			err = s.Rows.Validate()
		}
		switch {
		case err != nil:
			r.Fail(err.Error())
		case int(n) != len(b):
			r.Fail("dead rows")
		}
	}
	return s
}

// Files are those that m names, each once, in an order that depends on m alone.
func (m *Manifest) Files() (fs []segment.File) {
	seen := map[string]bool{}
	visit := func(f segment.File) {
		if !seen[f.FileName()] {
			seen[f.FileName()] = true
			fs = append(fs, f)
		}
	}
	of := func(o *Origin) {
		if o.Segment != nil {
			for _, f := range o.Segment.Files {
				visit(f)
			}
		}
		for _, a := range o.Artefacts {
			visit(a.File)
		}
	}
	for i := range m.Parts {
		of(&m.Parts[i].Origin)
		for j := range m.Parts[i].Sources {
			of(&m.Parts[i].Sources[j].Origin)
		}
	}
	return fs
}

// Without is m without the artefacts in files of these names.
func (m *Manifest) Without(names map[string]bool) Manifest {
	of := func(o Origin) Origin {
		o.Artefacts = slices.DeleteFunc(slices.Clone(o.Artefacts), func(a Artefact) bool { return names[a.FileName()] })
		return o
	}
	out := Manifest{Active: m.Active, Parts: slices.Clone(m.Parts)}
	for i := range out.Parts {
		e := &out.Parts[i]
		e.Origin, e.Sources = of(e.Origin), slices.Clone(e.Sources)
		for j := range e.Sources {
			e.Sources[j].Origin = of(e.Sources[j].Origin)
		}
	}
	return out
}

// Derive notes the artefacts of a segment, wherever it stands. It writes to m.Parts.
func (m *Manifest) Derive(number topology.Seq, artefacts []Artefact) {
	for i := range m.Parts {
		e := &m.Parts[i]
		if e.Number == number && len(e.Sources) == 0 {
			e.Origin.Artefacts = artefacts
		}
		e.Sources = slices.Clone(e.Sources)
		for j := range e.Sources {
			if e.Sources[j].Number == number {
				e.Sources[j].Artefacts = artefacts
			}
		}
	}
}
