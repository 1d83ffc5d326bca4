package segment

import (
	"encoding/binary"
	"fmt"

	"github.com/pandodb/pando/services/dataplane/internal/point"
	"github.com/pandodb/pando/services/internal/topology"
)

// MaxStages is the greatest number of stages of a segment.
const MaxStages = 256

// Row is a point that is written.
type Row struct {
	*point.Point
	Stage uint8 // see Stages
}

// Stages say how the graphs of a segment grow: rows of a stage are added to the graph of
// the rows of those before, which another part may have.
type Stages struct {
	// Earlier are the parts whose graphs have the rows of the first stages, ascending.
	// The last stage is the segment's own part.
	Earlier []topology.Seq
	// Of is the stage of each row: its place in Earlier, or len(Earlier). nil: all rows
	// are of the last.
	Of []uint8
}

// At is the stage of a row.
func (s *Stages) At(row uint32) uint8 {
	if s.Of == nil {
		return uint8(len(s.Earlier))
	}
	return s.Of[row]
}

// Stages are those that the segment was written with.
func (s *Segment) Stages() Stages { return s.stages }

// appendEarlier adds what KindStages begins with.
func appendEarlier(dst []byte, earlier []topology.Seq) []byte {
	for _, n := range earlier {
		dst = binary.LittleEndian.AppendUint64(dst, uint64(n))
	}
	return dst
}

func (s *Segment) openStages(m *mapped) error {
	n := m.extra
	if n == 0 || n >= MaxStages || uint64(len(m.content)) != 8*n+m.rows {
		return m.damage(headerSize, fmt.Sprintf("%d bytes for %d rows and %d stages before the last", len(m.content), m.rows, n))
	}
	for i := range int(n) {
		part := topology.Seq(binary.LittleEndian.Uint64(m.content[8*i:]))
		if i > 0 && part <= s.stages.Earlier[i-1] || part >= s.description.Part {
			return m.damage(int64(headerSize+8*i), fmt.Sprintf("stage %d is part %d", i, part))
		}
		s.stages.Earlier = append(s.stages.Earlier, part)
	}
	s.stages.Of = m.content[8*n:]
	for row, stage := range s.stages.Of {
		if uint64(stage) > n {
			return m.damage(int64(headerSize+8*int(n)+row), fmt.Sprintf("row %d is of stage %d", row, stage))
		}
	}
	return nil
}
