package suite

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/pandodb/pando/services/internal/vfs"
)

// state is where a process is on its way into, and out of, a cluster.
type state string

const (
	founding state = "founding" // it makes a cluster of one
	joining  state = "joining"  // it has asked to be taken in, and may have been
	belongs  state = "member"
	removed  state = "removed" // it was taken out, and does not come back by itself
)

// standing is what this process is to its cluster: <data folder>/membership.json, written before what it announces is done.
type standing struct {
	Format int   `json:"format"`
	State  state `json:"state"`
	// Folder is random: it tells the owner of a peer id from another process that was given the same.
	Folder string `json:"folder"`
	// Cluster is the id of the cluster; empty while joining.
	Cluster string `json:"cluster,omitempty"`
	// Bootstrap are the addresses that a join was tried at last, where a start that names none finds the others.
	Bootstrap []string `json:"bootstrap,omitempty"`
	// Forget says that what the folder knows of a former cluster must go before anything else is done.
	Forget bool `json:"forget,omitempty"`
}

const standingFormat = 1

var errStanding = errors.New("membership.json cannot be read; restore it, or start with --reinit to join a cluster anew or to go on alone")

// loadStanding answers nil where there is none.
func loadStanding(fsys vfs.FS, file string) (*standing, error) {
	data, err := vfs.ReadFile(fsys, file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return parseStanding(file, data)
}

func parseStanding(file string, data []byte) (*standing, error) {
	var s standing
	if err := json.Unmarshal(data, &s); err != nil {
		return nil, fmt.Errorf("%s: %w: %w", file, errStanding, err)
	}
	known := slices.Contains([]state{founding, joining, belongs, removed}, s.State)
	if s.Format != standingFormat || !known || s.Folder == "" || (s.Cluster == "") != (s.State == joining) {
		return nil, fmt.Errorf("%s: %w: format %d, state %q", file, errStanding, s.Format, s.State)
	}
	return &s, nil
}

func saveStanding(fsys vfs.FS, file string, s standing) error {
	s.Format = standingFormat
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	if err := vfs.WriteFileAtomic(fsys, file, append(data, '\n')); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return nil
}

// dropStanding makes the folder one that has never asked for anything.
func dropStanding(fsys vfs.FS, file string) error {
	return errors.Join(fsys.Remove(file), vfs.SyncDir(fsys, dirOf(file)))
}

// plan decides what a process does at its start, from what it kept (nil = nothing), the addresses that it was given and
// --reinit. The answer is what is to be kept before that is done, but for a join by --reinit, which changes nothing before
// it has succeeded: join is true then and whenever the process has to be taken in first.
func plan(kept *standing, hints []string, reinit bool, random func() string) (next standing, join bool) {
	if kept == nil {
		kept = &standing{Folder: random()}
		if len(hints) == 0 {
			return standing{State: founding, Folder: kept.Folder, Cluster: random()}, false
		}
		return standing{State: joining, Folder: kept.Folder, Bootstrap: hints}, true
	}
	next = *kept
	switch {
	case reinit && len(hints) > 0:
		return next, true
	case reinit:
		return standing{State: founding, Folder: kept.Folder, Cluster: random(), Forget: true}, false
	case kept.State == joining:
		if len(hints) > 0 {
			next.Bootstrap = hints
		}
		return next, true
	}
	return next, false
}

// token is 64 random bits: the id of a cluster, or of a folder.
func token() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails: the process ends instead
	return hex.EncodeToString(b[:])
}
