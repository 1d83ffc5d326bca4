package budget

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pandodb/pando/services/internal/vfs"
	"github.com/pandodb/pando/services/internal/vfs/memfs"
)

func TestThreads(t *testing.T) {
	for _, c := range []struct{ asked, processors, want int }{
		{0, 1, 1}, {0, 2, 1}, {0, 8, 7}, {0, 32, 31}, {0, 33, 31}, {0, 64, 62}, {3, 2, 3}, {-1, 2, 1}, {-1, 8, 7}, {-9, 8, 1},
	} {
		if got := threads(c.asked, c.processors); got != c.want {
			t.Errorf("%d of %d processors: %d, want %d", c.asked, c.processors, got, c.want)
		}
	}
}

// TestTake: no more threads than there are work at a time; who comes when none is free
// waits for one, and gets as many as are free then.
func TestTake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(Options{Threads: 3})
		n, release, err := b.Take(t.Context(), 2)
		if err != nil || n != 2 {
			t.Fatal(n, err)
		}
		n, second, err := b.Take(t.Context(), 0)
		if err != nil || n != 1 {
			t.Fatal(n, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, _, err := b.Take(ctx, 0); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		got := 0
		go func() {
			n, _, _ := b.Take(t.Context(), 9)
			got = n
		}()
		synctest.Wait()
		if got != 0 {
			t.Fatalf("a fourth thread: %d", got)
		}
		release()
		synctest.Wait()
		if got == 0 {
			t.Fatal("it still waits")
		}
		second()
	})
}

// TestPaced: files are written at the pace while clients write, and at once when none
// has for a second.
func TestPaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(Options{BytesPerSecond: 10 << 20})
		write := func() time.Duration {
			t.Helper()
			start := time.Now()
			f, err := b.Paced(memfs.New()).Create("/a")
			if err != nil {
				t.Fatal(err)
			}
			if n, err := f.Write(make([]byte, 5<<20)); n != 5<<20 || err != nil {
				t.Fatal(n, err)
			}
			if n, err := f.Write(nil); n != 0 || err != nil {
				t.Fatal(n, err)
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			return time.Since(start)
		}
		if took := write(); took != 0 {
			t.Errorf("took %s when nobody writes", took)
		}
		b.Wrote()
		if took := write(); took < 390*time.Millisecond || took > 500*time.Millisecond { // a burst is free
			t.Errorf("5 MiB at 10 MiB/s took %s", took)
		}
		<-time.After(quiet)
		if took := write(); took != 0 {
			t.Errorf("took %s when nobody writes any more", took)
		}
	})
}

// TestNoSpace: what a file says of an error comes through, with what was written.
func TestNoSpace(t *testing.T) {
	fs := full{memfs.New()}
	f, err := New(Options{}).Paced(fs).Create("/a")
	if err != nil {
		t.Fatal(err)
	}
	if n, err := f.Write(make([]byte, 3*burst)); n != 7 || !errors.Is(err, errFull) {
		t.Errorf("wrote %d: %v", n, err)
	}
}

var errFull = errors.New("full")

type full struct{ vfs.FS }

func (f full) Create(name string) (vfs.File, error) {
	x, err := f.FS.Create(name)
	return fullFile{x}, err
}

type fullFile struct{ vfs.File }

func (fullFile) Write([]byte) (int, error) { return 7, errFull }
