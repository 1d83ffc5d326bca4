package segment

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/pandodb/pando/services/dataplane/internal/point"
	"github.com/pandodb/pando/services/dataplane/internal/query"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/vfs"
)

// ErrPoints refuses points that are no segment: out of order, not alive, or not as
// many as was said.
var ErrPoints = errors.New("segment: points cannot be written")

// Write makes a segment of n points in strictly ascending order of their ids, all of
// them alive, in one pass and in memory that does not grow with them but for a bit
// for each. It is durable when the call returns. Equal rows and an equal spec make
// equal files. dir must exist. After an error (of points, ctx or fsys: see
// vfs.IsNoSpace; vfs.ErrFault if points come from a file that cannot be read) nothing
// stays that Clean does not remove.
func Write(ctx context.Context, fsys vfs.FS, dir string, spec Spec, n int, points iter.Seq2[Row, error]) (Description, error) {
	if len(spec.Earlier) >= MaxStages {
		return Description{}, fmt.Errorf("%w: %d stages, at most %d fit", ErrPoints, len(spec.Earlier)+1, MaxStages)
	}
	if n < 0 || n > MaxRows {
		return Description{}, fmt.Errorf("%w: %d of them, at most %d fit", ErrPoints, n, MaxRows)
	}
	b := &builder{fsys: fsys, dir: dir, spec: spec, n: n}
	var d Description
	var err error
	if fault := vfs.Guard(func() { d, err = b.build(ctx, points) }); fault != nil {
		err = fmt.Errorf("segment: after %d points: %w", b.rows, fault)
	}
	if err != nil {
		return Description{}, errors.Join(err, b.abandon())
	}
	return d, nil
}

// builder is a segment being written.
type builder struct {
	fsys    vfs.FS
	dir     string
	spec    Spec
	n       int
	rows    int
	numbers int // rows named by numbers
	last    topology.PointID
	digest  point.Digest

	base    []*writer // of KindIDs to KindRecords
	columns []*columnWriter
	earlier int     // stages before the last
	stages  *writer // nil: there are none before

	form, scratch, record []byte
	rest                  []point.Vector
	stamps                []point.Key
}

// checkEvery is how many points pass between looks at the context.
const checkEvery = 256

func (b *builder) build(ctx context.Context, points iter.Seq2[Row, error]) (Description, error) {
	for k := KindIDs; k <= KindRecords; k++ {
		w, err := create(b.fsys, b.dir, "", header{kind: k, rows: uint64(b.n)})
		if err != nil {
			return Description{}, err
		}
		b.base = append(b.base, w)
	}
	if b.earlier = len(b.spec.Earlier); b.earlier > 0 {
		var err error
		if b.stages, err = create(b.fsys, b.dir, "", header{kind: KindStages, rows: uint64(b.n)}); err != nil {
			return Description{}, err
		}
		b.stages.Write(appendEarlier(nil, b.spec.Earlier))
	}
	for _, v := range b.spec.Vectors {
		if v.Kind == query.Dense && v.Datatype.Size() > 0 {
			b.columns = append(b.columns, &columnWriter{VectorSchema: v, rows: b.n})
		}
	}
	for p, err := range points {
		if err == nil && b.rows%checkEvery == 0 {
			err = context.Cause(ctx)
		}
		if err == nil {
			err = b.add(p)
		}
		if err != nil {
			return Description{}, err
		}
	}
	if b.rows != b.n {
		return Description{}, fmt.Errorf("%w: %d came, not %d", ErrPoints, b.rows, b.n)
	}
	if err := context.Cause(ctx); err != nil {
		return Description{}, err
	}
	return b.finish()
}

func (b *builder) add(p Row) error {
	switch {
	case b.rows == b.n:
		return fmt.Errorf("%w: more than %d came", ErrPoints, b.n)
	case !p.Alive:
		return fmt.Errorf("%w: point %s is deleted", ErrPoints, p.ID)
	case int(p.Stage) > b.earlier:
		return fmt.Errorf("%w: point %s is of stage %d of %d", ErrPoints, p.ID, p.Stage, b.earlier+1)
	case b.rows > 0 && b.last.Compare(p.ID) >= 0:
		return fmt.Errorf("%w: point %s comes after %s", ErrPoints, p.ID, b.last)
	}
	b.last = p.ID
	b.form = p.AppendBinary(b.form[:0])
	one, scratch := p.Digest(b.form, b.scratch)
	b.digest, b.scratch = b.digest.Add(one), scratch
	if err := b.split(p.Point, &one); err != nil {
		return err
	}
	row := b.scratch[:0]
	if p.ID.IsUUID() {
		u := p.ID.UUID()
		row = binary.LittleEndian.AppendUint64(row, binary.BigEndian.Uint64(u[:8]))
		row = binary.LittleEndian.AppendUint64(row, binary.BigEndian.Uint64(u[8:]))
	} else {
		b.numbers++
		row = binary.LittleEndian.AppendUint64(row, p.ID.Number())
	}
	row = binary.LittleEndian.AppendUint64(row, uint64(p.Version()))
	ids := len(row)
	b.writer(KindPayload).Write(p.Payload)
	b.writer(KindRecords).Write(b.record)
	row = binary.LittleEndian.AppendUint64(row, uint64(b.writer(KindPayload).length()))
	row = binary.LittleEndian.AppendUint64(row, uint64(b.writer(KindRecords).length()))
	b.writer(KindIDs).Write(row[:ids])
	b.writer(KindRows).Write(row[ids:])
	if b.stages != nil {
		row = append(row, p.Stage)
		if _, err := b.stages.Write(row[len(row)-1:]); err != nil {
			return err
		}
	}
	b.scratch = row
	b.rows++
	for _, w := range b.base {
		if w.err != nil {
			return w.err
		}
	}
	return nil
}

func (b *builder) writer(k Kind) *writer { return b.base[k-1] }

// wants tells whether a vector is kept.
func (b *builder) wants(name string) bool {
	return !b.spec.Trim || slices.ContainsFunc(b.spec.Vectors, func(v query.VectorSchema) bool { return v.Name == name })
}

// split puts a point's vectors into the columns that take them, and makes the record
// of the rest; one is the point's digest.
func (b *builder) split(p *point.Point, one *point.Digest) error {
	if p.Written == nil && !slices.ContainsFunc(p.Vectors, func(v point.Vector) bool { return !b.wants(v.Name) }) {
		one = nil
	}
	rest := *p
	rest.Payload, rest.Vectors = nil, b.rest[:0]
	b.stamps = b.stamps[:0]
	next := 0
	for _, v := range p.Vectors {
		for next < len(b.columns) && b.columns[next].Name < v.Name {
			next++
		}
		if !b.wants(v.Name) {
			continue
		}
		taken := false
		if next < len(b.columns) && b.columns[next].Name == v.Name && isDense(&v) {
			var err error
			if taken, err = b.columns[next].take(b, v.Data); err != nil {
				return err
			}
		}
		switch {
		case !taken:
			rest.Vectors = append(rest.Vectors, v)
		case v.Stamp != point.Stamp{}:
			b.stamps = append(b.stamps, point.Key{Name: v.Name, Stamp: v.Stamp})
		}
	}
	b.rest = rest.Vectors
	b.form = rest.AppendBinary(b.form[:0])
	b.record = appendRecord(b.record[:0], b.form, b.stamps, one)
	return nil
}

// isDense tells whether Data is all there is to a vector besides its stamp.
func isDense(v *point.Vector) bool { return v.Data != nil && v.Indices == nil && v.Count == 0 }

// finish syncs all files and then gives them their names.
func (b *builder) finish() (Description, error) {
	writers := slices.Clone(b.base)
	extras := make([]uint64, len(writers))
	extras[KindIDs-1] = uint64(b.numbers)
	for _, c := range b.columns {
		if c.file == nil {
			continue
		}
		if err := c.complete(b.n); err != nil {
			return Description{}, err
		}
		writers, extras = append(writers, c.file), append(extras, uint64(c.count))
	}
	if b.stages != nil {
		writers, extras = append(writers, b.stages), append(extras, uint64(b.earlier))
	}
	d := Description{Part: b.spec.Part, Rows: b.n, Digest: b.digest}
	for i, w := range writers {
		f, err := w.finish(extras[i], b.digest)
		if err != nil {
			return Description{}, err
		}
		d.Files = append(d.Files, f)
	}
	return d, publish(b.fsys, b.dir, writers, d.Files)
}

func (b *builder) abandon() error {
	var err error
	for _, w := range b.base {
		err = errors.Join(err, w.abandon())
	}
	for _, c := range b.columns {
		if c.file != nil {
			err = errors.Join(err, c.file.abandon())
		}
	}
	if b.stages != nil {
		err = errors.Join(err, b.stages.abandon())
	}
	return err
}

// columnWriter writes the vectors of one name. There is no file before the first.
type columnWriter struct {
	query.VectorSchema
	rows    int // of the segment
	file    *writer
	present []uint64
	count   int
	written int // rows in the file
	row     []byte
	turbo   turboWriter
}

func (c *columnWriter) append(data []float32) ([]byte, bool) {
	if c.Datatype == query.Turbo4 {
		return c.turbo.append(c.row[:0], data)
	}
	return appendElements(c.row[:0], c.Datatype, data)
}

// take writes the vector of the builder's row; false if it does not fit here.
func (c *columnWriter) take(b *builder, data []float32) (bool, error) {
	if len(data) != c.Size {
		return false, nil
	}
	row, ok := c.append(data)
	c.row = row
	if !ok {
		return false, nil
	}
	width := rowBytes(c.Datatype, c.Size)
	if c.file == nil {
		h := header{kind: KindVectors, rows: uint64(c.rows), size: uint32(c.Size), stride: uint32(width / c.Datatype.Size()), datatype: uint32(c.Datatype)}
		w, err := create(b.fsys, b.dir, c.Name, h)
		if err != nil {
			return false, err
		}
		c.file, c.present = w, make([]uint64, (c.rows+63)/64)
	}
	if err := c.fill(b.rows); err != nil {
		return false, err
	}
	c.present[b.rows/64] |= 1 << (b.rows % 64)
	c.count++
	c.written++
	c.file.Write(row)
	return true, c.file.zeros(int64(width - len(row)))
}

// fill writes zeros for the rows before one that have no vector.
func (c *columnWriter) fill(row int) error {
	missing := int64(row-c.written) * int64(rowBytes(c.Datatype, c.Size))
	c.written = row
	return c.file.zeros(missing)
}

// complete writes the rest of the rows, and which of them have a vector unless all do.
func (c *columnWriter) complete(rows int) error {
	if err := c.fill(rows); err != nil || c.count == rows {
		return err
	}
	for _, w := range c.present {
		c.row = binary.LittleEndian.AppendUint64(c.row[:0], w)
		c.file.Write(c.row)
	}
	return c.file.err
}
