package shard

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/cockroachdb/pebble/v2"
	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/point"
	"github.com/pandodb/pando/services/dataplane/internal/query"
	"github.com/pandodb/pando/services/dataplane/internal/segment"
	"github.com/pandodb/pando/services/dataplane/internal/shard/manifest"
	"github.com/pandodb/pando/services/dataplane/internal/shard/record"
	"github.com/pandodb/pando/services/dataplane/internal/shard/sealed"
	"github.com/pandodb/pando/services/dataplane/internal/shard/store"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/vfs"
)

// importBatch is about how much of a copy is handed to the store at once.
const importBatch = 1 << 20

// Import builds the folder of a shard out of a copy. Memory does not grow with the
// copy. The meta record, without which nobody takes the folder for a shard with
// this contents, is written last. One goroutine at a time may use it.
type Import struct {
	opts     Options
	head     record.Head
	store    *store.Store
	segments sealed.Folder
	records  *record.Reader
	bytes    uint64
	batch    *pebble.Batch
	manifest []byte
	schema   []query.VectorSchema
	// Files of segments, the one that is being written, and how far.
	files []segment.File
	file  vfs.File
	at    int
	end   int64
	// Scratch memory.
	key []byte
}

// NewImport begins a folder that must not exist yet, for a copy with this head.
// Events are not used. Errors: ErrCopy, ErrVersion (a newer Pando sent
// the copy), fs.ErrExist, ErrNoSpace, ErrFailed.
func NewImport(o Options, head []byte) (*Import, error) {
	h, err := record.DecodeHead(head)
	if err != nil {
		return nil, copyError(err)
	}
	if _, err := o.FS.Stat(o.Dir); !errors.Is(err, fs.ErrNotExist) {
		return nil, errors.Join(&fs.PathError{Op: "import", Path: o.Dir, Err: fs.ErrExist}, err)
	}
	settings, err := o.settings(h.Settings)
	if err != nil {
		return nil, fmt.Errorf("%w: settings: %w", ErrCopy, err)
	}
	o.Events = Events{}
	st, err := o.openStore()
	if err != nil {
		return nil, err
	}
	i := &Import{opts: o, head: h, store: st, segments: sealed.NewFolder(o.FS, o.Dir), batch: st.NewBatch(), schema: settings.Schema}
	i.records = record.NewReader(h, head, (*intake)(i))
	if err := o.FS.MkdirAll(i.segments.Dir, 0o750); err != nil {
		return nil, errors.Join(st.Classify(err), i.Close())
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

// Points tells about how many points have come.
func (i *Import) Points() uint64 {
	if i.records.Ended() {
		return i.head.Points
	}
	return uint64(float64(i.head.Points) * min(1, float64(i.bytes)/float64(max(1, i.head.Bytes))))
}

// Write takes the next bytes, cut anywhere. Errors, which end the import: ErrCopy,
// ErrVersion, ErrNoSpace, ErrFailed.
func (i *Import) Write(b []byte) (int, error) {
	n, err := i.records.Write(b)
	i.bytes += uint64(n)
	return n, i.store.Classify(copyError(err))
}

// Finish checks that the copy is whole and is what its head says, makes the folder
// durable, and opens and closes it once as a shard. Errors are those of Write, and
// ErrCorrupt. After an error the folder is rubbish.
func (i *Import) Finish() error {
	if err := i.finish(); err != nil {
		return errors.Join(err, i.Close())
	}
	if err := i.Close(); err != nil {
		return err
	}
	s, err := Open(i.opts)
	if errors.Is(err, ErrCorrupt) {
		return fmt.Errorf("%w: %w", ErrCopy, err)
	}
	if err != nil {
		return err
	}
	return s.Close()
}

func (i *Import) finish() error {
	if err := i.records.Close(); err != nil {
		return copyError(err)
	}
	if i.manifest == nil || i.at != len(i.files) || i.file != nil {
		return fmt.Errorf("%w: %d of %d files came", ErrCopy, i.at, len(i.files))
	}
	if err := vfs.SyncDir(i.opts.FS, i.segments.Dir); err != nil {
		return i.store.Classify(err)
	}
	h := &i.head
	m := store.Meta{Position: Position{Term: h.Term, Seq: h.Seq, HLC: h.HLC, Floor: h.Floor}, Digest: h.Digest, Revision: h.Revision, Settings: h.Settings}
	if err := errors.Join(i.batch.Set(store.ManifestKey(), i.manifest, nil), i.batch.Set(store.MetaKey(), m.AppendBinary(nil), nil)); err != nil {
		return err
	}
	if err := i.flushBatch(); err != nil {
		return err
	}
	return i.store.Flush()
}

// Close ends the import; the folder is of use only if Finish returned nil.
func (i *Import) Close() error {
	if i.store == nil {
		return nil
	}
	err := errors.Join(i.batch.Close(), i.store.Close())
	if i.file != nil {
		err = errors.Join(err, i.file.Close())
	}
	i.store, i.file = nil, nil
	return err
}

func (i *Import) flushBatch() error {
	if err := i.store.Commit(i.batch); err != nil {
		return err
	}
	i.batch = i.store.NewBatch()
	return nil
}

// intake is the import as the reader of records sees it.
type intake Import

// Record implements record.Sink.
func (i *intake) Record(k record.Kind, key, value []byte) error {
	switch k {
	case record.Manifest:
		m, err := manifest.Decode(value)
		i.manifest, i.files = slices.Clone(value), m.Files()
		return err
	case record.File:
		return i.piece(key, value)
	case record.Tail:
		if err := i.check(key[store.TailHead-1:], value); err != nil {
			return err
		}
		i.key = append(append(i.key[:0], store.TailSpace), key...)
	case record.Dead:
		if len(value) > 0 {
			if err := i.check(key, value); err != nil {
				return err
			}
		}
		i.key = append(append(i.key[:0], store.DeadSpace), key...)
	case record.Open:
		i.key = append(append(i.key[:0], store.OpenSpace), key...)
	case record.Dedup:
		return i.dedup(key, value)
	}
	if err := i.batch.Set(i.key, value, nil); err != nil {
		return err
	}
	return i.room()
}

// check looks at a point.
func (i *intake) check(key, stored []byte) error {
	id, err := topology.DecodePointID(key)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrCopy, err)
	}
	p, err := point.Decode(id, stored)
	if err != nil {
		return err
	}
	if p.Version() > i.head.HLC {
		return fmt.Errorf("%w: point %s is later than the copy", ErrCopy, id)
	}
	for _, v := range p.Vectors {
		for _, f := range i.schema {
			if f.Key() != v.Name || v.Data == nil {
				continue
			}
			if err := f.Fits(op.Vector{Name: v.Name, Data: v.Data, Indices: v.Indices, Count: v.Count}); err != nil {
				return fmt.Errorf("%w: point %s: %w", ErrCopy, id, err)
			}
		}
	}
	return nil
}

// piece writes a piece of a file, which must follow what came before.
func (i *intake) piece(key, b []byte) error {
	file, off := record.Piece(key)
	if int(file) != i.at || i.at >= len(i.files) || off != i.end || i.end+int64(len(b)) > i.files[i.at].Size {
		return fmt.Errorf("%w: a piece of a file that is not the next", ErrCopy)
	}
	f := i.files[i.at]
	if i.file == nil {
		var err error
		if i.file, err = i.opts.FS.Create(i.segments.Path(f)); err != nil {
			return err
		}
	}
	if _, err := i.file.Write(b); err != nil {
		return err
	}
	if i.end += int64(len(b)); i.end < f.Size {
		return nil
	}
	err := errors.Join(i.file.Sync(), i.file.Close())
	i.file, i.end, i.at = nil, 0, i.at+1
	return err
}

func (i *intake) dedup(key, value []byte) error {
	id, err := op.DecodeID(key)
	if err != nil {
		return err
	}
	_, h, err := store.DecodeDedupValue(value)
	if err != nil {
		return err
	}
	i.key = store.DedupKey(i.key, id)
	if err := i.batch.Set(i.key, value, nil); err != nil {
		return err
	}
	i.key = store.AgeKey(i.key, h, id)
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
