package node

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/oplog"
	"github.com/pandodb/pando/services/dataplane/internal/oplog/statefile"
	"github.com/pandodb/pando/services/dataplane/internal/point"
	"github.com/pandodb/pando/services/dataplane/internal/shard"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/vfs"
)

// What is in a replica's folder (docs/format/copy.md draws an installation).
const (
	stateDir    = "state"
	newStateDir = "state.new"
	logDir      = "log"
	// provisionalDir holds operations that may be in no log yet.
	provisionalDir = "provisional"
	metaFile       = "meta"
	installFile    = "install"
)

// installVersion is the payload version of an install file.
const installVersion = 1

var (
	// errDisagree is not damage of one file: log and state are each whole, and no
	// installation explains how they came together.
	errDisagree = errors.New("log and state do not belong together: remove the folder and let it fill from another replica")
	// errInstall: the folder's state is not the copy that its install file names.
	errInstall = errors.New("state is not the copy that was to be installed: remove the folder and let it fill from another replica")
)

// install is a copy that replaces a state (C6a).
type install struct {
	at      oplog.Position
	digest  point.Digest
	history []oplog.TermStart // up to at, oldest first
}

func (in *install) encode() []byte {
	le := binary.LittleEndian
	var b []byte
	for _, n := range [...]uint64{uint64(in.at.Epoch), uint64(in.at.Run), uint64(in.at.Seq), in.digest.A, in.digest.B, uint64(len(in.history))} {
		b = le.AppendUint64(b, n)
	}
	for _, h := range in.history {
		b = le.AppendUint64(le.AppendUint64(le.AppendUint64(b, uint64(h.Epoch)), uint64(h.Run)), uint64(h.First))
	}
	return b
}

func decodeInstall(b []byte) (*install, error) {
	r := op.NewReader(b)
	term := func() topology.Term {
		return topology.Term{Epoch: topology.Epoch(r.Uint64()), Run: topology.Run(r.Uint64())}
	}
	in := &install{at: oplog.Position{Term: term(), Seq: topology.Seq(r.Uint64())}, digest: point.Digest{A: r.Uint64(), B: r.Uint64()}}
	for n := r.Uint64(); n > 0 && r.Err() == nil; n-- {
		in.history = append(in.history, oplog.TermStart{Term: term(), First: topology.Seq(r.Uint64())})
	}
	return in, r.Close()
}

// mark makes the copy in dir/state.new the one to be installed.
func (in *install) mark(fsys vfs.FS, dir string) error {
	return statefile.Store(fsys, filepath.Join(dir, newStateDir, installFile), installVersion, in.encode())
}

func loadInstall(fsys vfs.FS, state string) (*install, error) {
	path := filepath.Join(state, installFile)
	version, payload, err := statefile.Load(fsys, path)
	switch {
	case err != nil:
		return nil, err
	case version != installVersion:
		return nil, fmt.Errorf("%s: installation %d: %w", path, version, statefile.ErrFormat)
	}
	in, err := decodeInstall(payload)
	if err != nil {
		return nil, &statefile.CorruptError{File: path, Reason: err.Error()}
	}
	return in, nil
}

// pendingInstall puts a copy in the place of the state if that was decided, and
// tells which copy the log has yet to be brought in line with; nil: none. A copy
// that was not decided upon is removed. Each step may have been done before.
func pendingInstall(fsys vfs.FS, dir string) (*install, error) {
	state, fresh := filepath.Join(dir, stateDir), filepath.Join(dir, newStateDir)
	in, err := loadInstall(fsys, fresh)
	if errors.Is(err, fs.ErrNotExist) {
		if err := fsys.RemoveAll(fresh); err != nil {
			return nil, err
		}
		if in, err = loadInstall(fsys, state); errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		return in, err
	}
	if err != nil {
		return nil, err
	}
	if err := fsys.RemoveAll(state); err != nil {
		return nil, err
	}
	if err := vfs.SyncDir(fsys, dir); err != nil {
		return nil, err
	}
	if err := fsys.Rename(fresh, state); err != nil {
		return nil, err
	}
	return in, vfs.SyncDir(fsys, dir)
}

// alignLog holds the log against the state: it has to lead there. After an
// installation (in is set) it is made to.
func alignLog(fsys vfs.FS, dir string, in *install, sh *shard.Shard, log *oplog.Log, commit topology.Seq) error {
	applied := sh.Applied()
	at := oplog.Position{Term: applied.Term, Seq: applied.Seq}
	there, err := log.Position(at.Seq)
	if err == nil && there != at {
		err = fmt.Errorf("entry %d of the log is of epoch %d, run %d", at.Seq, there.Epoch, there.Run)
	}
	if in == nil {
		switch {
		case errors.Is(err, oplog.ErrBeyond):
			return &oplog.CorruptError{File: filepath.Join(dir, logDir), Reason: fmt.Sprintf("the log ends with entry %d, but entry %d was durable", log.Last().Seq, at.Seq)}
		case err != nil:
			return fmt.Errorf("%s: %w: the state is at entry %d of epoch %d, run %d; %w", dir, errDisagree, at.Seq, at.Epoch, at.Run, err)
		}
		return nil
	}
	if _, digest := sh.Digest(); at != in.at || digest != in.digest {
		return fmt.Errorf("%s: %w: it is at entry %d, not %d", dir, errInstall, at.Seq, in.at.Seq)
	}
	if err != nil {
		if beyond := errors.Is(err, oplog.ErrBeyond); log.First() > at.Seq+1 || commit >= at.Seq && !beyond {
			return fmt.Errorf("%s: %w: the copy is at entry %d of epoch %d, run %d; %w", dir, errDisagree, at.Seq, at.Epoch, at.Run, err)
		}
		if err := log.Reset(at, in.history); err != nil {
			return err
		}
	}
	state := filepath.Join(dir, stateDir)
	if err := fsys.Remove(filepath.Join(state, installFile)); err != nil {
		return err
	}
	return vfs.SyncDir(fsys, state)
}
