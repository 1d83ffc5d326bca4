package shard

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/shard/intake"
	"github.com/pandodb/pando/services/dataplane/internal/shard/record"
	"github.com/pandodb/pando/services/dataplane/internal/shard/sealed"
	"github.com/pandodb/pando/services/dataplane/internal/shard/store"
)

// Import builds the folder of a shard out of a copy. Memory does not grow with the
// copy. One goroutine at a time may use it.
type Import struct {
	opts    Options
	head    record.Head
	store   *store.Store // nil: closed
	records *record.Reader
	intake  *intake.Intake
	bytes   uint64
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
	folder := sealed.NewFolder(o.FS, o.Dir)
	i := &Import{opts: o, head: h, store: st, intake: intake.New(intake.Options{FS: o.FS, Store: st, Segments: folder, Head: h, Schema: settings.Schema})}
	i.records = record.NewReader(h, head, i.intake)
	if err := o.FS.MkdirAll(folder.Dir, 0o750); err != nil {
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
	return i.intake.Finish()
}

// Close ends the import; the folder is of use only if Finish returned nil.
func (i *Import) Close() error {
	if i.store == nil {
		return nil
	}
	err := errors.Join(i.intake.Close(), i.store.Close())
	i.store = nil
	return err
}
