// Package segment keeps sealed parts of a shard: immutable files, named by their
// contents, checked on opening and read in place (docs/format/segment.md). Nothing of
// a row is on Go's heap. What belongs to a segment and is derived from it, a graph or
// codes, is an artefact beside it. Which segments there are, which of their rows are
// dead and how they came about is the shard's business.
package segment

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/payload"
	"github.com/pandodb/pando/services/dataplane/internal/point"
	"github.com/pandodb/pando/services/dataplane/internal/query"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/vfs"
)

// Spec is what the files' contents depend on besides the points.
type Spec struct {
	Part    topology.Seq         // names the part: the seq of its entry in the log
	Vectors []query.VectorSchema // sorted by name, which is the one that points have
	// Trim (Write): vectors that are not among them are left out. The digest still
	// counts the points as they came.
	Trim    bool
	Earlier []topology.Seq // of Stages; only Write needs it
}

// Segment is an open segment. Its methods may be called from several goroutines.
// What they return aliases memory that ends with Close. A cold file is read from the
// disk as it is touched: see vfs.Guard.
type Segment struct {
	description Description
	files       []*mapped
	ids         keys
	ends        []byte // of KindRows
	payload     []byte
	records     []byte
	columns     []column // by name
	stages      Stages
}

// placeSize is the size of a row in KindRows: where its payload ends, and its record.
const placeSize = 8 + 8

// Open maps the files of a description and checks every byte of them, and that
// they belong together; artefacts that it lists are passed over. place says where
// each is kept; nil: Cached. ErrCorrupt and ErrVersion name file and offset, a
// missing file is ErrCorrupt and fs.ErrNotExist.
func Open(fsys vfs.FS, dir string, spec Spec, d Description, place func(k Kind, name string) Placement) (*Segment, error) {
	if binary.NativeEndian.Uint16([]byte{1, 0}) != 1 {
		return nil, fmt.Errorf("segment: big-endian machine: %w", errors.ErrUnsupported)
	}
	s := &Segment{description: d}
	s.description.Files = slices.Clone(d.Files)
	if err := s.open(fsys, dir, spec, place); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Segment) open(fsys vfs.FS, dir string, spec Spec, place func(Kind, string) Placement) error {
	for i, f := range s.description.Files {
		if !f.Kind.InSegment() {
			continue
		}
		if want := Kind(min(i+1, int(KindVectors))); f.Kind != want && (want < KindVectors || f.Kind != KindStages) {
			return fmt.Errorf("%w: the description lists %s where %s belongs", ErrCorrupt, f.Kind, want)
		}
		p := Cached
		if place != nil {
			p = place(f.Kind, f.Name)
		}
		m, err := openFile(fsys, dir, f, p)
		if err != nil {
			return err
		}
		s.files = append(s.files, m)
		if m.rows != uint64(s.description.Rows) || m.digest != s.description.Digest {
			return m.damage(0, "the file belongs to another segment")
		}
		if err := m.guarded(func() error { return s.adopt(f, m, spec) }); err != nil {
			return err
		}
	}
	if len(s.files) < int(KindRecords) {
		return fmt.Errorf("%w: the description lists %d files", ErrCorrupt, len(s.files))
	}
	return s.checkEnds()
}

func (s *Segment) adopt(f File, m *mapped, spec Spec) (err error) {
	switch f.Kind {
	case KindIDs:
		s.ids, err = openKeys(m)
	case KindRows:
		if s.ends = m.content; len(s.ends) != placeSize*s.Rows() {
			err = m.damage(headerSize, "size of the contents")
		}
	case KindPayload:
		s.payload = m.content
	case KindRecords:
		s.records = m.content
	case KindVectors:
		var c column
		c, err = openColumn(m, f.Name, spec)
		s.columns = append(s.columns, c)
	case KindStages:
		err = s.openStages(m)
	}
	return err
}

// checkEnds makes sure that every row lies within its files.
func (s *Segment) checkEnds() error {
	m := s.files[KindRows-1]
	return m.guarded(func() error {
		var payload, record uint64
		for row := range s.Rows() {
			p, r := s.end(row, 0), s.end(row, 8)
			if p < payload || r <= record || p > uint64(len(s.payload)) || r > uint64(len(s.records)) {
				return m.damage(int64(headerSize+placeSize*row), fmt.Sprintf("row %d ends at %d and %d", row, p, r))
			}
			payload, record = p, r
		}
		if payload != uint64(len(s.payload)) || record != uint64(len(s.records)) {
			return m.damage(headerSize, "rows end before their files")
		}
		return nil
	})
}

// end is one of the numbers of a row in KindRows; those of row -1 are zero.
func (s *Segment) end(row, at int) uint64 {
	if row < 0 {
		return 0
	}
	return binary.LittleEndian.Uint64(s.ends[placeSize*row+at:])
}

// Rows is the number of rows.
func (s *Segment) Rows() int { return s.description.Rows }

// Description is what the segment was opened by.
func (s *Segment) Description() Description { return s.description }

// ID is a row's id. Rows are in the order of their ids.
func (s *Segment) ID(row uint32) topology.PointID { return s.ids.id(int(row)) }

// Version is a row's point.Version.
func (s *Segment) Version(row uint32) op.HLC { return s.ids.version(int(row)) }

// Find is the row of an id.
func (s *Segment) Find(id topology.PointID) (row uint32, ok bool) {
	at := s.ids.seek(id)
	return uint32(at), at < s.Rows() && s.ids.id(at) == id
}

// Seek is the first row whose id is not less; Rows if there is none.
func (s *Segment) Seek(id topology.PointID) uint32 { return uint32(s.ids.seek(id)) }

// Payload is a row's payload.
func (s *Segment) Payload(row uint32) payload.Doc {
	from, to := s.end(int(row)-1, 0), s.end(int(row), 0)
	if from == to {
		return nil
	}
	return payload.Doc(s.payload[from:to:to])
}

// Point reads a whole row into p: the point as it was written, byte for byte in
// stored form. Its payload, its names and its float32 vectors alias the segment's
// memory.
func (s *Segment) Point(row uint32, p *point.Point) error {
	id := s.ID(row)
	from, to := s.end(int(row)-1, 8), s.end(int(row), 8)
	rest, stamps, whole, err := decodeRecord(s.records[from:to:to])
	if err == nil {
		*p, err = point.Decode(id, rest)
	}
	if p.Written = nil; whole != nil {
		p.Written = &point.Written{Digest: *whole, Version: s.Version(row)}
	}
	if err != nil {
		return fmt.Errorf("%w: %s, offset %d: %w", ErrCorrupt, s.files[KindRecords-1].path, headerSize+from, err)
	}
	p.Payload = s.Payload(row)
	var taken int
	p.Vectors = slices.Grow(p.Vectors, len(s.columns))
	for i := range s.columns {
		c := &s.columns[i]
		if !c.Has(row) {
			continue
		}
		v := point.Vector{Name: c.Name, Data: c.at(row)}
		if taken < len(stamps) && stamps[taken].Name == c.Name {
			v.Stamp = stamps[taken].Stamp
			taken++
		}
		at, found := slices.BinarySearchFunc(p.Vectors, c.Name, func(v point.Vector, n string) int { return strings.Compare(v.Name, n) })
		if found {
			return fmt.Errorf("%w: point %s has vector %q twice", ErrCorrupt, id, c.Name)
		}
		p.Vectors = slices.Insert(p.Vectors, at, v)
	}
	if taken != len(stamps) {
		return fmt.Errorf("%w: point %s lacks vector %q", ErrCorrupt, id, stamps[taken].Name)
	}
	return nil
}

// Vectors are the dense vectors of a name; false if no row has one in the form
// that the Spec of Open gives it.
func (s *Segment) Vectors(name string) (Vectors, bool) {
	for i := range s.columns {
		if c := &s.columns[i]; c.Name == name {
			return c.Vectors, c.current
		}
	}
	return Vectors{}, false
}

// Close gives the memory back. Whoever holds something of it crashes when reading on.
func (s *Segment) Close() error {
	var err error
	for _, m := range s.files {
		err = errors.Join(err, m.memory.Close())
	}
	*s = Segment{description: s.description}
	return err
}
