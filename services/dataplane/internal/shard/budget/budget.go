// Package budget is what the work in the background (merges, graphs, codes) may
// take of a process, so that searches and writes do not suffer from it: processors,
// and bytes written to the disk.
package budget

import (
	"context"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/pandodb/pando/services/internal/vfs"
	"golang.org/x/sync/semaphore"
	"golang.org/x/time/rate"
)

// Options of a Budget.
type Options struct {
	// Threads that work at a time; 0: all processors but one in 32, at least one
	// stays out where there are two; below 0: all but so many. At least one works.
	Threads int
	// BytesPerSecond written to files while clients write; 0: no bound.
	BytesPerSecond int
	// ScrubEvery is how often each file of a sealed part is read again; 0: never.
	ScrubEvery time.Duration
	// ScrubBytesPerSecond read for it, of all shards together; 0: no bound.
	ScrubBytesPerSecond int
}

const (
	// quiet is how long after the last write of a client nothing has to be spared.
	quiet = time.Second
	// burst is the most that is written without a pause: a block of a file, so that
	// a sync of the operation log waits behind few milliseconds of it.
	burst = 1 << 20
)

// Budget is shared by all shards of a process.
type Budget struct {
	threads int
	free    *semaphore.Weighted
	pace    *rate.Limiter
	scrub   *rate.Limiter
	every   time.Duration // of ScrubEvery
	wrote   atomic.Int64  // unix nanoseconds of the last write of a client
}

// New makes one.
func New(o Options) *Budget {
	b := &Budget{threads: threads(o.Threads, runtime.GOMAXPROCS(0)), pace: rate.NewLimiter(rate.Inf, burst), scrub: rate.NewLimiter(rate.Inf, burst), every: o.ScrubEvery}
	b.free = semaphore.NewWeighted(int64(b.threads))
	if o.BytesPerSecond > 0 {
		b.pace.SetLimit(rate.Limit(o.BytesPerSecond))
	}
	if o.ScrubBytesPerSecond > 0 {
		b.scrub.SetLimit(rate.Limit(o.ScrubBytesPerSecond))
	}
	return b
}

// threads of n processors that Options ask for.
func threads(asked, n int) int {
	switch {
	case asked == 0:
		asked = n - (n+31)/32
	case asked < 0:
		asked += n
	}
	return max(1, asked)
}

// Take waits for a thread, and takes as many more as are free, at most most in all;
// 0: any number. Errors: ctx's.
func (b *Budget) Take(ctx context.Context, most int) (n int, release func(), err error) {
	if err := b.free.Acquire(ctx, 1); err != nil {
		return 0, nil, err
	}
	if most <= 0 || most > b.threads {
		most = b.threads
	}
	for n = 1; n < most && b.free.TryAcquire(1); {
		n++
	}
	return n, func() { b.free.Release(int64(n)) }, nil
}

// ScrubEvery is how often each file of a sealed part is to be read again; 0: never.
func (b *Budget) ScrubEvery() time.Duration { return b.every }

// Scrub is called after n bytes were read again, at most 1 MiB, and waits until more may
// be. Errors: ctx's.
func (b *Budget) Scrub(ctx context.Context, n int) error { return b.scrub.WaitN(ctx, n) }

// Wrote tells that a client has written something.
func (b *Budget) Wrote() { b.wrote.Store(time.Now().UnixNano()) }

// wait is called before n bytes are written, at most burst.
func (b *Budget) wait(n int) {
	if time.Since(time.Unix(0, b.wrote.Load())) < quiet {
		_ = b.pace.WaitN(context.Background(), n) // never more than burst, and without an end
	}
}

// Paced is fs with a pace for what is written to new files.
func (b *Budget) Paced(fs vfs.FS) vfs.FS { return paced{fs, b} }

type paced struct {
	vfs.FS
	budget *Budget
}

// Create implements vfs.FS.
func (p paced) Create(name string) (vfs.File, error) {
	f, err := p.FS.Create(name)
	if err != nil {
		return nil, err
	}
	return pacedFile{f, p.budget}, nil
}

type pacedFile struct {
	vfs.File
	budget *Budget
}

// Write implements vfs.File.
func (f pacedFile) Write(p []byte) (n int, err error) {
	for first := true; err == nil && (first || n < len(p)); first = false {
		piece := p[n:min(len(p), n+burst)]
		f.budget.wait(len(piece))
		var k int
		k, err = f.File.Write(piece)
		n += k
	}
	return n, err
}
