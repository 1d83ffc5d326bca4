package shard

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/cockroachdb/pebble/v2"
	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/point"
	"github.com/pandodb/pando/services/dataplane/internal/shard/record"
	"github.com/pandodb/pando/services/internal/topology"
)

// importBatch is about how much of a copy is handed to the store at once.
const importBatch = 1 << 20

// Import builds the folder of a shard out of a copy. Memory does not grow with the
// copy. The meta record, without which nobody takes the folder for a shard with
// this contents, is written last. One goroutine at a time may use it.
type Import struct {
	head    record.Head
	dir     string
	store   *store
	records *record.Reader
	sizes   map[string]int // of the schema's vectors
	batch   *pebble.Batch
	digest  point.Digest
	// Scratch memory.
	key, hash []byte
}

// NewImport begins a folder that must not exist yet, for a copy with this head.
// Index and Events are not used. Errors: ErrCopy, ErrVersion (a newer Pando sent
// the copy), fs.ErrExist, ErrNoSpace, ErrFailed.
func NewImport(o Options, head []byte) (*Import, error) {
	h, err := record.DecodeHead(head)
	if err != nil {
		return nil, copyError(err)
	}
	if _, err := o.FS.Stat(o.Dir); !errors.Is(err, fs.ErrNotExist) {
		return nil, errors.Join(&fs.PathError{Op: "import", Path: o.Dir, Err: fs.ErrExist}, err)
	}
	o.Events = Events{}
	st, err := openStore(&o)
	if err != nil {
		return nil, err
	}
	st.most = maxUnflushed / 2 // several copies may come in at once
	i := &Import{head: h, dir: o.Dir, store: st, sizes: map[string]int{}, batch: st.NewBatch()}
	i.records = record.NewReader(h, head, (*intake)(i))
	for _, v := range o.Schema.Vectors {
		i.sizes[v.Name] = v.Size
	}
	return i, nil
}

// copyError classifies an error of reading a copy.
func copyError(err error) error {
	if errors.Is(err, op.ErrVersion) {
		return fmt.Errorf("%w: %w", ErrVersion, err)
	}
	if errors.Is(err, op.ErrCorrupt) {
		return fmt.Errorf("%w: %w", ErrCopy, err)
	}
	return err
}

// Head says what the copy stands for.
func (i *Import) Head() record.Head { return i.head }

// Points tells how many points have come.
func (i *Import) Points() uint64 {
	n, _ := i.records.Counts()
	return n
}

// Write takes the next bytes, cut anywhere. Errors, which end the import: ErrCopy,
// ErrVersion, ErrNoSpace, ErrFailed.
func (i *Import) Write(b []byte) (int, error) {
	n, err := i.records.Write(b)
	return n, copyError(err)
}

// Finish checks that the copy is whole and is what its head says, makes the folder
// durable, reads it once more and closes it. Errors are those of Write, and
// ErrCorrupt. After an error the folder is rubbish.
func (i *Import) Finish() error {
	err := i.finish()
	return errors.Join(err, i.Close())
}

func (i *Import) finish() error {
	if err := i.records.Close(); err != nil {
		return copyError(err)
	}
	if i.digest != i.head.Digest {
		return fmt.Errorf("%w: digest of its points is %s, its sender had %s", ErrCopy, i.digest, i.head.Digest)
	}
	h := &i.head
	m := meta{Position: Position{Term: h.Term, Seq: h.Seq, HLC: h.HLC, Floor: h.Floor}, digest: h.Digest, revision: h.Revision, settings: h.Settings}
	if err := i.batch.Set(metaKey(), m.append(nil), nil); err != nil {
		return err
	}
	if err := i.flushBatch(); err != nil {
		return err
	}
	if err := i.store.flush(); err != nil {
		return err
	}
	d, err := i.store.readAll(func(topology.PointID, []byte) error { return nil })
	if err != nil {
		return i.store.classify(err)
	}
	if d != h.Digest {
		return fmt.Errorf("%w: %s: digest of the points is %s, was %s when they were written", ErrCorrupt, i.dir, d, h.Digest)
	}
	return nil
}

// Close ends the import; the folder is of use only if Finish returned nil.
func (i *Import) Close() error {
	if i.store == nil {
		return nil
	}
	err := errors.Join(i.batch.Close(), i.store.close())
	i.store = nil
	return err
}

func (i *Import) flushBatch() error {
	if err := i.store.room(i.batch.Len()); err != nil {
		return err
	}
	if err := i.store.Apply(i.batch, pebble.NoSync); err != nil {
		return i.store.fail(err)
	}
	err := i.batch.Close()
	i.batch = i.store.NewBatch()
	return err
}

// intake is the import as the reader of records sees it.
type intake Import

func (i *intake) Point(id topology.PointID, stored []byte) error {
	p, err := point.Decode(id, stored)
	if err != nil {
		return err
	}
	if p.Version() > i.head.HLC {
		return fmt.Errorf("%w: point %s is later than the copy", ErrCopy, id)
	}
	for _, v := range p.Vectors {
		if n, ok := i.sizes[v.Name]; ok && v.Data != nil && len(v.Data) != n {
			return fmt.Errorf("%w: point %s: %w", ErrCopy, id, &DimensionError{Name: v.Name, Want: n, Got: len(v.Data)})
		}
	}
	var d point.Digest
	d, i.hash = point.DigestOf(id, stored, i.hash)
	i.digest = i.digest.Add(d)
	i.key = idKey(i.key, pointSpace, id)
	if err := i.batch.Set(i.key, stored, nil); err != nil {
		return err
	}
	if !p.Settled() {
		i.key = idKey(i.key, openSpace, id)
		if err := i.batch.Set(i.key, nil, nil); err != nil {
			return err
		}
	}
	return i.room()
}

func (i *intake) Dedup(d record.Dedup) error {
	i.key, i.hash = dedupKey(i.key, d.ID), dedupValue(i.hash, d.Seq, d.HLC)
	if err := i.batch.Set(i.key, i.hash, nil); err != nil {
		return err
	}
	i.key = ageKey(i.key, d.HLC, d.ID)
	if err := i.batch.Set(i.key, nil, nil); err != nil {
		return err
	}
	return i.room()
}

func (i *intake) room() error {
	if i.batch.Len() < importBatch {
		return nil
	}
	return (*Import)(i).flushBatch()
}
