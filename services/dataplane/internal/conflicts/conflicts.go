// Package conflicts remembers the operations that were acknowledged while a replica was
// cut off and of which a later one left nothing, or not all (replication.md P8, D2a), so
// that an operator can look at them. It is not part of any state: replicas agree without it.
package conflicts

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"sync"

	"github.com/pandodb/pando/services/internal/vfs"
)

// Kept is how many are remembered; older ones are forgotten.
const Kept = 1000

// file is in the peer's folder.
const file = "conflicts.json"

// Effect is what is left of an operation.
type Effect string

// The effects.
const (
	// Lost: a later operation has overwritten all of it.
	Lost Effect = "lost"
	// Partly: some of its fields are those of a later operation.
	Partly Effect = "partly lost"
	// Late: it came when its shard had forgotten so much that nobody could tell whether it
	// was in the log already, so it was not applied.
	Late Effect = "too late"
)

// Conflict is one operation on one point.
type Conflict struct {
	Collection uint64 `json:"collection"` // its number
	Shard      uint64 `json:"shard"`
	Operation  string `json:"operation"` // id and index
	Point      string `json:"point,omitempty"`
	Effect     Effect `json:"effect"`
	// Stamp and Winner are the times of the operation and of the later one, milliseconds
	// since 1970 by the clocks of those who took them.
	Stamp  uint64 `json:"stamp_ms"`
	Winner uint64 `json:"winner_ms,omitempty"`
}

// List is the conflicts that the replicas of a peer have seen, oldest first. It is safe
// for concurrent use.
type List struct {
	fsys vfs.FS
	path string
	mu   struct {
		sync.Mutex
		all   []Conflict
		dirty bool
	}
}

// Open reads what a start finds. A file that cannot be read is begun anew: nothing
// depends on it.
func Open(fsys vfs.FS, dir string) (l *List, damaged error) {
	l = &List{fsys: fsys, path: filepath.Join(dir, file)}
	b, err := vfs.ReadFile(fsys, l.path)
	if errors.Is(err, fs.ErrNotExist) {
		return l, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &l.mu.all)
	}
	if err != nil {
		l.mu.all = nil
		return l, fmt.Errorf("%s: %w", l.path, err)
	}
	return l, nil
}

// Add remembers one.
func (l *List) Add(c Conflict) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.all = append(l.mu.all, c)
	l.mu.all = l.mu.all[max(0, len(l.mu.all)-Kept):]
	l.mu.dirty = true
}

// All gives them.
func (l *List) All() []Conflict {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.mu.all)
}

// Save writes what was added since the last time.
func (l *List) Save() error {
	l.mu.Lock()
	dirty := l.mu.dirty
	l.mu.dirty = false
	l.mu.Unlock()
	if !dirty {
		return nil
	}
	b, err := json.Marshal(l.All())
	if err == nil {
		err = vfs.WriteFileAtomic(l.fsys, l.path, b)
	}
	if err != nil {
		l.mu.Lock()
		l.mu.dirty = true
		l.mu.Unlock()
	}
	return err
}
