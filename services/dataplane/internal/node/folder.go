package node

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"

	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/vfs"
)

// folderFormat numbers the layout of the data folder. A folder of another number
// is refused, never converted silently.
const folderFormat = 1

// What keeps a process out of a data folder. The texts say what to do.
var (
	ErrFolderInUse      = errors.New("data folder is in use by another process: stop that one, or start this one with another storage path")
	ErrFolderUnwritable = errors.New("data folder is not writable: let this user write there and see that there is room, or start with another storage path")
	ErrFolderVersion    = errors.New("data folder was written by another version: start that version, or start with an empty folder and let it fill from the other replicas")
	ErrFolderPeer       = errors.New("data folder belongs to another peer: use that peer id, or start with an empty folder")
	ErrFolderDamaged    = errors.New("data folder's peer.json is damaged: restore it, or start with an empty folder and let it fill from the other replicas")
)

// Folder is a locked data folder. It gives the peer its name for the life of the
// disk.
//
//	<dir>/lock        held while a process uses the folder
//	<dir>/peer.json   format of the folder, peer id
//	<dir>/collections/<collection>/<shard>/{log,provisional,state,state.new,meta}
//	<dir>/conflicts.json  what was acknowledged and lost to later writes
//	<dir>/set-aside   replicas that are kept and not used
//	<dir>/trash       what is being removed
type Folder struct {
	FS   vfs.FS
	Dir  string
	Peer topology.PeerID
	lock io.Closer
}

type identity struct {
	Format int    `json:"format"`
	PeerID uint64 `json:"peer_id"`
}

// OpenFolder locks dir, made if missing, and reads or makes its identity: with
// the wanted peer id, or a random one if that is 0.
func OpenFolder(fsys vfs.FS, dir string, want topology.PeerID, random io.Reader) (*Folder, error) {
	if want > topology.MaxPeerID {
		return nil, fmt.Errorf("peer id %d is above %d", want, topology.MaxPeerID)
	}
	if err := fsys.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("%s: %w: %w", dir, ErrFolderUnwritable, err)
	}
	lock, err := fsys.Lock(filepath.Join(dir, "lock"))
	switch {
	case errors.Is(err, vfs.ErrLocked):
		return nil, fmt.Errorf("%s: %w", dir, ErrFolderInUse)
	case err != nil:
		return nil, fmt.Errorf("%s: %w: %w", dir, ErrFolderUnwritable, err)
	}
	f := &Folder{FS: fsys, Dir: dir, lock: lock}
	if err := f.identify(want, random); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return f, nil
}

func (f *Folder) identify(want topology.PeerID, random io.Reader) error {
	file := filepath.Join(f.Dir, "peer.json")
	data, err := vfs.ReadFile(f.FS, file)
	if errors.Is(err, fs.ErrNotExist) {
		return f.christen(file, want, random)
	}
	if err != nil {
		return err
	}
	var id identity
	if err := json.Unmarshal(data, &id); err != nil {
		return fmt.Errorf("%s: %w: %w", f.Dir, ErrFolderDamaged, err)
	}
	f.Peer = topology.PeerID(id.PeerID)
	switch {
	case id.Format != folderFormat:
		return fmt.Errorf("%s: %w (format %d, this version reads %d)", f.Dir, ErrFolderVersion, id.Format, folderFormat)
	case f.Peer == 0 || f.Peer > topology.MaxPeerID:
		return fmt.Errorf("%s: %w: peer id %d", f.Dir, ErrFolderDamaged, f.Peer)
	case want != 0 && want != f.Peer:
		return fmt.Errorf("%s: %w (%d, not %d)", f.Dir, ErrFolderPeer, f.Peer, want)
	}
	return nil
}

// christen names the peer. A folder with replicas but without a name has lost it.
func (f *Folder) christen(file string, want topology.PeerID, random io.Reader) error {
	if _, err := f.FS.Stat(filepath.Join(f.Dir, collectionsDir)); err == nil {
		return fmt.Errorf("%s: %w: the file is missing", f.Dir, ErrFolderDamaged)
	}
	f.Peer = want
	for f.Peer == 0 {
		var b [8]byte
		if _, err := io.ReadFull(random, b[:]); err != nil {
			return err
		}
		f.Peer = topology.PeerID(binary.LittleEndian.Uint64(b[:])) & topology.MaxPeerID
	}
	data, err := json.Marshal(identity{folderFormat, uint64(f.Peer)})
	if err != nil {
		return err
	}
	if err := vfs.WriteFileAtomic(f.FS, file, append(data, '\n')); err != nil {
		return fmt.Errorf("%s: %w: %w", f.Dir, ErrFolderUnwritable, err)
	}
	return vfs.SyncDir(f.FS, filepath.Dir(f.Dir))
}

// Close gives the folder free.
func (f *Folder) Close() error { return f.lock.Close() }
