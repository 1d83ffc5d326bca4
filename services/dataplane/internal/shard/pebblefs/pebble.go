package pebblefs

import (
	"path/filepath"
	"strings"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	pvfs "github.com/cockroachdb/pebble/v2/vfs"
)

// RemoveLogs removes the empty logs that the store makes although it is told to
// have none. Without them opening replays and flushes nothing, which it would
// try for ever on a disk that fails.
func RemoveLogs(fs pvfs.FS, dir string) error {
	names, err := fs.List(dir)
	for _, n := range names {
		if err == nil && strings.HasSuffix(n, ".log") {
			err = fs.Remove(filepath.Join(dir, n))
		}
	}
	return err
}

// Gate lets no compaction begin before the store is open: one that runs
// when opening fails would work on what is already given back. It is the one
// without a ticker of its own; compactions follow flushes.
type Gate struct {
	*pebble.ConcurrencyLimitScheduler
	open atomic.Bool
}

// NewGate makes one that is closed.
func NewGate() *Gate {
	return &Gate{ConcurrencyLimitScheduler: pebble.NewConcurrencyLimitSchedulerWithNoPeriodicGrantingForTest()}
}

// Open lets compactions begin.
func (g *Gate) Open() { g.open.Store(true) }

// TrySchedule is what pebble asks before each.
func (g *Gate) TrySchedule() (bool, pebble.CompactionGrantHandle) {
	if !g.open.Load() {
		return false, nil
	}
	return g.ConcurrencyLimitScheduler.TrySchedule()
}
