// Package intake puts the records of a copy (docs/format/copy.md) into the folder of a
// shard that is being made.
package intake

import (
	"errors"
	"fmt"
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

// ErrCopy: bytes that should be a copy of a shard are damaged, incomplete or not
// what their head says.
var ErrCopy = errors.New("shard: copy is damaged or incomplete")

// batchBytes is about how much of a copy is handed to the store at once.
const batchBytes = 1 << 20

// Options are where the records go and what they have to agree with.
type Options struct {
	FS       vfs.FS
	Store    *store.Store
	Segments sealed.Folder
	Head     record.Head
	Schema   []query.VectorSchema
}

// Intake is a copy on its way; one goroutine at a time may use it.
type Intake struct {
	Options
	batch    *pebble.Batch
	manifest []byte
	// Files of segments, the one that is being written, and how far.
	files []segment.File
	file  vfs.File
	at    int
	end   int64
	// Scratch memory.
	key []byte
}

// New begins one.
func New(o Options) *Intake { return &Intake{Options: o, batch: o.Store.NewBatch()} }

// Record implements record.Sink.
func (i *Intake) Record(k record.Kind, key, value []byte) error {
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
func (i *Intake) check(key, stored []byte) error {
	id, err := topology.DecodePointID(key)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrCopy, err)
	}
	p, err := point.Decode(id, stored)
	if err != nil {
		return err
	}
	if p.Version() > i.Head.HLC {
		return fmt.Errorf("%w: point %s is later than the copy", ErrCopy, id)
	}
	for _, v := range p.Vectors {
		for _, f := range i.Schema {
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
func (i *Intake) piece(key, b []byte) error {
	file, off := record.Piece(key)
	if int(file) != i.at || i.at >= len(i.files) || off != i.end || i.end+int64(len(b)) > i.files[i.at].Size {
		return fmt.Errorf("%w: a piece of a file that is not the next", ErrCopy)
	}
	f := i.files[i.at]
	if i.file == nil {
		var err error
		if i.file, err = i.FS.Create(i.Segments.Path(f)); err != nil {
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

func (i *Intake) dedup(key, value []byte) error {
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

func (i *Intake) room() error {
	if i.batch.Len() < batchBytes {
		return nil
	}
	return i.flush()
}

func (i *Intake) flush() error {
	if err := i.Store.Commit(i.batch); err != nil {
		return err
	}
	i.batch = i.Store.NewBatch()
	return nil
}

// Finish makes durable what came, if it is whole. The meta record, without which nobody
// takes the folder for a shard with this contents, is written last. Errors: ErrCopy and
// those of the store.
func (i *Intake) Finish() error {
	if i.manifest == nil || i.at != len(i.files) || i.file != nil {
		return fmt.Errorf("%w: %d of %d files came", ErrCopy, i.at, len(i.files))
	}
	if err := vfs.SyncDir(i.FS, i.Segments.Dir); err != nil {
		return i.Store.Classify(err)
	}
	h := &i.Head
	m := store.Meta{Position: store.Position{Term: h.Term, Seq: h.Seq, HLC: h.HLC, Floor: h.Floor}, Digest: h.Digest, Revision: h.Revision, Settings: h.Settings}
	if err := errors.Join(i.batch.Set(store.ManifestKey(), i.manifest, nil), i.batch.Set(store.MetaKey(), m.AppendBinary(nil), nil)); err != nil {
		return err
	}
	if err := i.flush(); err != nil {
		return err
	}
	return i.Store.Flush()
}

// Close lets go of what did not come to the end; not of the store.
func (i *Intake) Close() error {
	err := i.batch.Close()
	if i.file != nil {
		err = errors.Join(err, i.file.Close())
		i.file = nil
	}
	return err
}
