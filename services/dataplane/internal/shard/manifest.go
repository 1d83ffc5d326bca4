package shard

import (
	"encoding/binary"
	"fmt"

	"github.com/RoaringBitmap/roaring/v2"
	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/segment"
	"github.com/pandodb/pando/services/internal/topology"
)

// manifestVersion is the first byte of a manifest.
const manifestVersion = 1

// manifest says which sealed parts there are and where (docs/format/shard.md). It
// is stored in one batch with what it goes with.
type manifest struct {
	active topology.Seq // generation of the tail
	parts  []entry      // ascending
}

// entry is a sealed part: a segment, or what one is to be made of.
type entry struct {
	number  topology.Seq
	origin  origin   // of a segment
	sources []source // of what is to become one; nil: it is one
}

// origin is where points are stored: a generation of the store, or a segment.
type origin struct {
	number    topology.Seq // of the part that it was sealed as
	gen       topology.Seq
	segment   *segment.Description // nil: a generation
	artefacts []artefact
}

// artefact is a file that was derived from a segment, and from which settings.
type artefact struct {
	segment.File
	of string
}

// source is an origin without the rows that were dead: numbers of a segment's rows,
// or ids of a generation's points.
type source struct {
	origin
	rows *roaring.Bitmap
	ids  []topology.PointID
}

func (m *manifest) append(dst []byte) []byte {
	dst = binary.AppendUvarint(append(dst, manifestVersion), uint64(m.active))
	dst = binary.AppendUvarint(dst, uint64(len(m.parts)))
	for i := range m.parts {
		e := &m.parts[i]
		dst = binary.AppendUvarint(dst, uint64(e.number))
		dst = binary.AppendUvarint(dst, uint64(len(e.sources)))
		if len(e.sources) == 0 {
			dst = e.origin.append(dst)
		}
		for j := range e.sources {
			dst = e.sources[j].append(dst)
		}
	}
	return dst
}

func (o *origin) append(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(o.number))
	if o.segment == nil {
		return binary.AppendUvarint(append(dst, 0), uint64(o.gen))
	}
	d := o.segment.AppendBinary(nil)
	dst = append(binary.AppendUvarint(append(dst, 1), uint64(len(d))), d...)
	dst = binary.AppendUvarint(dst, uint64(len(o.artefacts)))
	for _, a := range o.artefacts {
		d := (&segment.Description{Files: []segment.File{a.File}}).AppendBinary(nil)
		dst = append(binary.AppendUvarint(dst, uint64(len(d))), d...)
		dst = append(binary.AppendUvarint(dst, uint64(len(a.of))), a.of...)
	}
	return dst
}

func (s *source) append(dst []byte) []byte {
	dst = s.origin.append(dst)
	if s.segment != nil {
		b, err := s.rows.ToBytes()
		if err != nil {
			panic(err) // a buffer takes everything
		}
		return append(binary.AppendUvarint(dst, uint64(len(b))), b...)
	}
	dst = binary.AppendUvarint(dst, uint64(len(s.ids)))
	for _, id := range s.ids {
		dst = id.Append(dst)
	}
	return dst
}

func decodeManifest(b []byte) (m manifest, err error) {
	r := op.NewReader(b)
	if v := r.Byte(); v != manifestVersion && r.Err() == nil {
		return m, fmt.Errorf("%w: manifest of version %d", ErrVersion, v)
	}
	m.active = topology.Seq(r.Uvarint())
	for range r.Count(3) {
		e := entry{number: topology.Seq(r.Uvarint())}
		if n := len(m.parts); n > 0 && e.number <= m.parts[n-1].number {
			r.Fail("parts out of order")
		}
		n := r.Count(3)
		if n == 0 {
			if e.origin = readOrigin(r); e.origin.segment == nil {
				r.Fail("part without a segment or sources")
			}
		}
		for range n {
			e.sources = append(e.sources, readSource(r))
		}
		m.parts = append(m.parts, e)
	}
	if err := r.Close(); err != nil {
		return m, fmt.Errorf("%w: manifest: %w", ErrCorrupt, err)
	}
	return m, nil
}

func readOrigin(r *op.Reader) (o origin) {
	o.number = topology.Seq(r.Uvarint())
	switch r.Byte() {
	case 0:
		o.gen = topology.Seq(r.Uvarint())
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
	o.segment = &d
	for range r.Count(2) {
		d, err := segment.DecodeDescription(r.Bytes())
		of := r.Text()
		if err != nil || len(d.Files) != 1 {
			r.Fail("artefact")
			break
		}
		o.artefacts = append(o.artefacts, artefact{d.Files[0], of})
	}
	return o
}

func readSource(r *op.Reader) (s source) {
	s.origin = readOrigin(r)
	if s.segment == nil {
		for range r.Count(topology.PointIDSize) {
			s.ids = append(s.ids, r.PointID())
		}
		return s
	}
	s.rows = roaring.New()
	if b := r.Bytes(); r.Err() == nil {
		if n, err := s.rows.FromBuffer(append([]byte(nil), b...)); err != nil || int(n) != len(b) {
			r.Fail("dead rows")
		}
		if err := s.rows.Validate(); err != nil {
			r.Fail(err.Error())
		}
	}
	return s
}

// files are all that m names.
func (m *manifest) files(visit func(segment.File)) {
	of := func(o *origin) {
		if o.segment != nil {
			for _, f := range o.segment.Files {
				visit(f)
			}
		}
		for _, a := range o.artefacts {
			visit(a.File)
		}
	}
	for i := range m.parts {
		of(&m.parts[i].origin)
		for j := range m.parts[i].sources {
			of(&m.parts[i].sources[j].origin)
		}
	}
}
