package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"

	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/oplog"
	"github.com/pandodb/pando/services/dataplane/internal/replica"
	"github.com/pandodb/pando/services/dataplane/internal/replica/core"
	"github.com/pandodb/pando/services/dataplane/internal/shard"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/vfs"
)

// Storage opens replicas on operation log and shard engine.
type Storage struct {
	// Shard is the engine's options but for place and schema.
	Shard shard.Options
	// Events of a shard's engine; nil: nobody hears of them.
	Events func(topology.Shard) shard.Events
	// SegmentBytes is the size of a log segment; 0: the log's default.
	SegmentBytes int64
	// Fetch brings copies from other peers; nil: none can be had.
	Fetch Fetch
}

// Open is an Opener. It finishes an installation that was decided upon before.
func (st Storage) Open(fsys vfs.FS, dir string, a Assignment, hard core.Hard) (Parts, error) {
	in, err := pendingInstall(fsys, dir)
	if err != nil {
		return Parts{}, err
	}
	o := st.Shard
	o.FS, o.Dir, o.Schema = fsys, filepath.Join(dir, stateDir), a.Schema
	if st.Events != nil {
		o.Events = st.Events(a.Placement.Shard)
	}
	failed, also := make(chan error, 1), o.Events.Failed
	o.Events.Failed = func(err error) {
		failed <- err // it comes once
		if also != nil {
			also(err)
		}
	}
	sh, err := shard.Open(o)
	if err != nil {
		return Parts{}, err
	}
	least := max(sh.Applied().Seq, hard.Commit)
	if in != nil && hard.Commit < in.at.Seq {
		least = 0 // the log may end before the copy, and is reset then
	}
	log, err := oplog.Open(oplog.Options{
		FS: fsys, Dir: filepath.Join(dir, logDir), Shard: a.Placement.Shard, SegmentBytes: st.SegmentBytes, AtLeast: least,
	})
	if err != nil {
		return Parts{}, errors.Join(err, sh.Close())
	}
	if err := alignLog(fsys, dir, in, sh, log, hard.Commit); err != nil {
		return Parts{}, errors.Join(err, log.Close(), sh.Close())
	}
	kept, err := openProvisional(fsys, dir, a.Placement.Shard, sh)
	if err != nil {
		return Parts{}, errors.Join(err, log.Close(), sh.Close())
	}
	o.Dir = filepath.Join(dir, newStateDir)
	return Parts{
		Log: logOf{log}, Engine: engineOf{sh}, Provisional: kept, Failed: failed, Reads: sh,
		Export: func() (*Export, error) { return exportOf(sh, log) },
		Copier: &copier{fsys: fsys, dir: dir, id: a.Placement.Shard, state: o, fetch: st.Fetch},
		Bytes:  func() uint64 { return uint64(log.Size()) + sh.Disk() }, Scrubbed: sh.Scrubbed,
		Close: func() error { return errors.Join(kept.Close(), log.Close(), sh.Close()) },
	}, nil
}

// logOf is an operation log as a replica wants it.
type logOf struct{ *oplog.Log }

// spare marks the errors after which the log is as it was.
func spare(err error) error {
	if errors.Is(err, oplog.ErrNoSpace) && !errors.Is(err, oplog.ErrFailed) {
		return fmt.Errorf("%w: %w", replica.ErrNoSpace, err)
	}
	return err
}

func (l logOf) Append(es []op.Entry) error            { return spare(l.Log.Append(es)) }
func (l logOf) TruncateFront(upto topology.Seq) error { return spare(l.Log.TruncateFront(upto)) }
func (l logOf) TruncateBack(after topology.Seq) error { return spare(l.Log.TruncateBack(after)) }

// Read gives what a follower lacks; a place that is not in the log is no error.
func (l logOf) Read(from topology.Seq, bytes int) (out []op.Entry, err error) {
	r := l.Reader(from)
	for size := 0; size < bytes; {
		e, err := r.Next()
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, oplog.ErrTruncated), errors.Is(err, oplog.ErrBeyond):
			return out, nil
		case err != nil:
			return nil, err
		}
		e.Body = slices.Clone(e.Body) // it is the reader's
		size += len(e.Body) + op.EntryOverhead
		out = append(out, e)
	}
	return out, nil
}

func (l logOf) Mark() error { return spare(l.Log.Mark()) }

func (l logOf) Tail() replica.Tail { return replica.Tail{Last: l.Last(), History: l.History()} }

func (l logOf) Iterate(from topology.Seq, fn func(op.Entry) error) error {
	r := l.Reader(from)
	for {
		e, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		e.Body = bytes.Clone(e.Body) // it is the reader's
		if err := fn(e); err != nil {
			return err
		}
	}
}

// engineOf is a shard as a replica wants it.
type engineOf struct{ sh *shard.Shard }

func (e engineOf) Resolve(ctx context.Context, w *shard.Write) ([]op.Op, error) {
	return e.sh.Resolve(ctx, w)
}

func (e engineOf) Seen(id op.ID) (topology.Seq, bool, error) { return e.sh.Seen(id) }

func (e engineOf) Due() (op.Op, bool) { return e.sh.Due() }

func (e engineOf) Apply(es []op.Entry) error { return full(e.sh.Apply(es)) }

func (e engineOf) Checkpoint() (topology.Seq, error) {
	s, err := e.sh.Checkpoint()
	return s, full(err)
}

func (e engineOf) Position() replica.Position {
	p := e.sh.Applied()
	revision, _ := e.sh.Config()
	return replica.Position{Applied: p.Seq, MaxHLC: p.HLC, Config: revision, Floor: p.Floor, Mark: p.Mark}
}

func full(err error) error {
	if errors.Is(err, shard.ErrNoSpace) && !errors.Is(err, shard.ErrFailed) {
		return fmt.Errorf("%w: %w", replica.ErrNoSpace, err)
	}
	return err
}
