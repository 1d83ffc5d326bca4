package node

import (
	"errors"
	"fmt"
	"io/fs"
	"testing"
	"time"

	"github.com/pandodb/pando/services/dataplane/internal/replica"
	"github.com/pandodb/pando/services/dataplane/internal/shard"
	"github.com/pandodb/pando/services/internal/vfs"
)

// TestLastingFaults: a file is given up after three tries over a minute that ended with
// it and nothing else.
func TestLastingFaults(t *testing.T) {
	open, read, other := fmt.Errorf("open: %w", shard.ErrUnreadable), fmt.Errorf("search: %w", vfs.ErrFault), errors.New("other")
	type step struct {
		at   time.Duration // since the first
		err  error
		want bool
	}
	for name, steps := range map[string][]step{
		"a minute":      {{0, open, false}, {30 * time.Second, open, false}, {time.Minute, open, true}, {75 * time.Second, open, true}},
		"many at once":  {{0, open, false}, {1, open, false}, {2, open, false}, {3, open, false}, {time.Minute, read, true}},
		"two":           {{0, read, false}, {time.Minute, read, false}},
		"it passed":     {{0, open, false}, {30 * time.Second, open, false}, {time.Minute, nil, false}, {75 * time.Second, open, false}, {2 * time.Minute, read, false}},
		"another error": {{0, open, false}, {30 * time.Second, open, false}, {time.Minute, other, false}, {2 * time.Minute, open, false}},
		"far apart":     {{0, read, false}, {2 * time.Hour, read, false}, {4 * time.Hour, read, false}, {6 * time.Hour, read, false}},
		"no such fault": {{0, fs.ErrNotExist, false}, {time.Minute, replica.ErrReopen, false}, {time.Hour, shard.ErrNoSpace, false}},
	} {
		var f faults
		for i, s := range steps {
			if got := f.lasting(s.err, time.Unix(0, 0).Add(s.at)); got != s.want {
				t.Errorf("%s, step %d: %v", name, i, got)
			}
		}
	}
}
