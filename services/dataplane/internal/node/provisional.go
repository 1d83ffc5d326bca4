package node

import (
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/oplog"
	list "github.com/pandodb/pando/services/dataplane/internal/replica/core/provisional"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/vfs"
)

// provisionalBytes is the size of a segment of a log of provisional operations.
const provisionalBytes = 4 << 20

// provisional keeps a replica's provisional operations in a log of their own, made when
// the first one comes, and lays them over the state.
type provisional struct {
	fsys  vfs.FS
	dir   string // of the log
	shard topology.Shard
	over  layers
	log   *oplog.Log // nil: there never were any
}

// layers shows operations over a state; a shard does.
type layers interface {
	Lay([]op.Entry) error
	Lift([]op.ID) error
}

// openProvisional opens what a replica's folder has of it.
func openProvisional(fsys vfs.FS, dir string, id topology.Shard, over layers) (*provisional, error) {
	p := &provisional{fsys: fsys, dir: filepath.Join(dir, provisionalDir), shard: id, over: over}
	_, err := fsys.Stat(p.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return p, nil
	}
	if err == nil {
		err = p.open()
	}
	return p, err
}

func (p *provisional) open() (err error) {
	p.log, err = oplog.Open(oplog.Options{FS: p.fsys, Dir: p.dir, Shard: p.shard, SegmentBytes: provisionalBytes})
	return err
}

// Load implements replica.Provisional.
func (p *provisional) Load() (es []op.Entry, end topology.Seq, err error) {
	if p.log == nil {
		return nil, 0, nil
	}
	r := p.log.Reader(p.log.First())
	for {
		e, err := r.Next()
		if errors.Is(err, io.EOF) {
			return es, p.log.Last().Seq, p.over.Lay(slices.Concat(list.Whole(es)...))
		}
		if err != nil {
			return nil, 0, err
		}
		e.Body = slices.Clone(e.Body) // it is the reader's
		es = append(es, e)
	}
}

// Keep implements replica.Provisional.
func (p *provisional) Keep(es []op.Entry) error {
	if p.log == nil {
		if err := p.open(); err != nil {
			p.log = nil
			return spare(err)
		}
	}
	if err := p.log.Append(es); err != nil {
		return spare(err)
	}
	if _, err := p.log.Sync(); err != nil {
		return err
	}
	return p.over.Lay(es)
}

// Lift implements replica.Provisional.
func (p *provisional) Lift(ids []op.ID, upto topology.Seq) error {
	if err := p.over.Lift(ids); err != nil || p.log == nil {
		return err
	}
	if last := p.log.Last(); upto >= last.Seq && p.log.First() <= last.Seq {
		return spare(p.log.Reset(last, nil))
	}
	return spare(p.log.TruncateFront(upto))
}

// Close closes the log.
func (p *provisional) Close() error {
	if p.log == nil {
		return nil
	}
	return p.log.Close()
}

// holdsProvisional tells whether a replica's folder has operations that are in no log
// yet, as far as anybody can tell.
func holdsProvisional(fsys vfs.FS, dir string, id topology.Shard) bool {
	p, err := openProvisional(fsys, dir, id, nil)
	if err != nil || p.log == nil {
		return err != nil
	}
	held := p.log.First() <= p.log.Last().Seq
	return p.log.Close() != nil || held
}
