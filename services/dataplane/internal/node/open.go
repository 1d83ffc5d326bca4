package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"

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
	// SegmentBytes is the size of a log segment; 0: the log's default.
	SegmentBytes int64
}

// Open is an Opener.
func (st Storage) Open(fsys vfs.FS, dir string, a Assignment, hard core.Hard) (Parts, error) {
	o := st.Shard
	o.FS, o.Dir, o.Schema = fsys, filepath.Join(dir, "state"), a.Schema
	sh, err := shard.Open(o)
	if err != nil {
		return Parts{}, err
	}
	log, err := oplog.Open(oplog.Options{
		FS: fsys, Dir: filepath.Join(dir, "log"), Shard: a.Placement.Shard, SegmentBytes: st.SegmentBytes,
		AtLeast: max(sh.Applied().Seq, hard.Commit),
	})
	if err != nil {
		return Parts{}, errors.Join(err, sh.Close())
	}
	return Parts{
		Log: logOf{log}, Engine: engineOf{sh}, Reads: sh,
		Bytes: func() uint64 { return uint64(log.Size()) + sh.Info().Disk },
		Close: func() error { return errors.Join(log.Close(), sh.Close()) },
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
func (l logOf) Mark() error                           { return spare(l.Log.Mark()) }

func (l logOf) Tail() replica.Tail {
	last := l.Last()
	t := replica.Tail{Last: core.Position{Term: last.Term, Seq: last.Seq}}
	for _, h := range l.History() {
		t.History = append(t.History, core.TermStart{Term: h.Term, First: h.First})
	}
	return t
}

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

func (e engineOf) Apply(es []op.Entry) error { return full(e.sh.Apply(es)) }

func (e engineOf) Checkpoint() (topology.Seq, error) {
	s, err := e.sh.Checkpoint()
	return s, full(err)
}

func (e engineOf) Position() replica.Position {
	p := e.sh.Applied()
	revision, _ := e.sh.Config()
	return replica.Position{Applied: p.Seq, MaxHLC: p.HLC, Config: revision, Floor: p.Floor}
}

func full(err error) error {
	if errors.Is(err, shard.ErrNoSpace) && !errors.Is(err, shard.ErrFailed) {
		return fmt.Errorf("%w: %w", replica.ErrNoSpace, err)
	}
	return err
}
