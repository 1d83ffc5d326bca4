package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"

	"github.com/pandodb/pando/services/dataplane/internal/line"
	"github.com/pandodb/pando/services/dataplane/internal/oplog"
	"github.com/pandodb/pando/services/dataplane/internal/replica"
	"github.com/pandodb/pando/services/dataplane/internal/replica/core"
	"github.com/pandodb/pando/services/dataplane/internal/shard"
	"github.com/pandodb/pando/services/dataplane/internal/shard/record"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/vfs"
)

// spareRoom is what a copy leaves free on the disk, so that logs can go on.
const spareRoom = 64 << 20

var (
	errNoFetch  = errors.New("this peer cannot reach others")
	errBegun    = errors.New("pieces of a copy out of order")
	errDecided  = errors.New("the copy's fate was decided before")
	errTerms    = errors.New("history of terms does not lead to the copy's position")
	errNotFresh = errors.New("another copy waits to be installed")
)

// Export is a pinned state of a replica.
type Export struct {
	*shard.Export
	history []core.TermStart
}

// History says where the terms of the replica's log began, up to the state.
func (x *Export) History() []core.TermStart { return x.history }

// Intake takes a copy as it comes: its head and history once, then its bytes, cut
// anywhere.
type Intake interface {
	Begin(head []byte, history []core.TermStart) error
	io.Writer
}

// Fetch brings a copy of a shard from another peer to an Intake; nil: all of it.
type Fetch func(ctx context.Context, from replica.CopySource, id topology.Shard, to Intake) error

// exportOf pins the state.
func exportOf(sh *shard.Shard, log *oplog.Log) (*Export, error) {
	e, err := sh.Export()
	if err != nil {
		return nil, err
	}
	x := &Export{Export: e}
	h := e.Head()
	for _, t := range log.History() {
		if t.First <= h.Seq {
			x.history = append(x.history, t)
		}
	}
	return x, nil
}

// copier builds copies beside a replica's state.
type copier struct {
	fsys  vfs.FS
	dir   string // of the replica
	id    topology.Shard
	state shard.Options // of the state to be built
	fetch Fetch
}

// Fetch implements replica.Copier.
func (c *copier) Fetch(ctx context.Context, from replica.CopySource, progress func(replica.CopyProgress)) (_ replica.Copy, err error) {
	if c.fetch == nil {
		return nil, errNoFetch
	}
	if err := c.remove(); err != nil {
		return nil, err
	}
	in := &intake{c: c, from: from, progress: progress}
	defer func() {
		if r := recover(); r != nil { // as when the engine's store is opened on a disk that fails
			err = fmt.Errorf("%s: %w: %v", c.state.Dir, errPanic, r)
		}
		if err != nil {
			err = errors.Join(full(err), in.close(), c.remove())
		}
	}()
	if err := c.fetch(ctx, from, c.id, in); err != nil {
		return nil, err
	}
	if err := in.finish(); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return &prepared{c: c, in: in.install}, nil
}

// remove takes away what is not to be installed. It never touches what is.
func (c *copier) remove() error {
	switch _, err := c.fsys.Stat(filepath.Join(c.state.Dir, installFile)); {
	case err == nil:
		return fmt.Errorf("%s: %w", c.state.Dir, errNotFresh)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	return c.fsys.RemoveAll(c.state.Dir)
}

// intake is one copy on its way in.
type intake struct {
	c        *copier
	from     replica.CopySource
	progress func(replica.CopyProgress)
	state    *shard.Import // nil: not begun
	head     record.Head
	install  install
	bytes    uint64
}

// Begin implements Intake.
func (t *intake) Begin(head []byte, history []core.TermStart) error {
	if t.state != nil {
		return errBegun
	}
	h, err := record.DecodeHead(head)
	if err != nil {
		return err
	}
	if t.from.Line.Clashes(history, h.Seq) {
		return fmt.Errorf("%w: %d entries are", replica.ErrClash, t.from.Line.Commit)
	}
	if h.Seq <= t.from.After {
		return fmt.Errorf("%w: it is at entry %d, this replica at %d", replica.ErrCopyOld, h.Seq, t.from.After)
	}
	t.head = h
	t.install = install{at: oplog.Position{Term: h.Term, Seq: h.Seq}, digest: h.Digest, history: history}
	if !leads(t.install.history, t.install.at) {
		return errTerms
	}
	if err := t.room(); err != nil {
		return err
	}
	t.state, err = shard.NewImport(t.c.state, head)
	return err
}

// leads tells whether a history is one, and ends with the term of at.
func leads(h []oplog.TermStart, at oplog.Position) bool {
	n := len(h)
	return n > 0 && line.Ordered(h) && h[n-1].Term == at.Term && h[n-1].First <= at.Seq
}

// room refuses a copy that the disk has no space for, before it takes any: until
// it is installed the old state needs its own.
func (t *intake) room() error {
	u, err := t.c.fsys.DiskUsage(t.c.dir)
	if need := t.head.Bytes + spareRoom; err == nil && u.Avail < need {
		err = fmt.Errorf("%w: %s: the copy needs about %d MiB, %d MiB are free", replica.ErrNoSpace, t.c.dir, need>>20, u.Avail>>20)
	}
	return err
}

// Write implements Intake.
func (t *intake) Write(b []byte) (int, error) {
	if t.state == nil {
		return 0, errBegun
	}
	n, err := t.state.Write(b)
	t.bytes += uint64(n)
	if err == nil && t.progress != nil {
		t.progress(replica.CopyProgress{Points: t.state.Points(), TotalPoints: t.head.Points, Bytes: t.bytes, TotalBytes: max(t.bytes, t.head.Bytes)})
	}
	return n, err
}

func (t *intake) finish() error {
	if t.state == nil {
		return errBegun
	}
	return t.state.Finish()
}

func (t *intake) close() error {
	if t.state == nil {
		return nil
	}
	return t.state.Close()
}

// prepared is a copy that waits for its fate.
type prepared struct {
	c       *copier
	in      install
	decided bool
}

// At implements replica.Copy.
func (p *prepared) At() core.Position { return p.in.at }

// Commit implements replica.Copy.
func (p *prepared) Commit() error {
	if p.decided {
		return errDecided
	}
	p.decided = true
	err := p.in.mark(p.c.fsys, p.c.dir)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, vfs.ErrUncertain):
		return fmt.Errorf("%w: %w", replica.ErrFailed, err)
	default:
		return errors.Join(space(err), p.c.remove())
	}
}

// Drop implements replica.Copy.
func (p *prepared) Drop() error {
	if p.decided {
		return errDecided
	}
	p.decided = true
	return p.c.remove()
}

// space marks an error that says that the disk is full.
func space(err error) error {
	if vfs.IsNoSpace(err) {
		return fmt.Errorf("%w: %w", replica.ErrNoSpace, err)
	}
	return err
}
