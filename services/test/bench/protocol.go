package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"

	"github.com/pandodb/pando/services/dataplane/bare"
	"golang.org/x/sys/unix"
)

// request is a line that a driver reads, reply the line that it answers with. A driver holds one index.
type request struct {
	Do string `json:"do"` // "build", "search", "memory"

	// Of build.
	Folder       string       `json:"folder,omitempty"` // of the data set
	Rows         int          `json:"rows,omitempty"`   // of its base; 0: all
	Distance     string       `json:"distance,omitempty"`
	M            int          `json:"m,omitempty"`
	EfConstruct  int          `json:"ef_construct,omitempty"`
	Threads      int          `json:"threads,omitempty"` // of search too
	Quantization string       `json:"quantization,omitempty"`
	Fields       []bare.Field `json:"fields,omitempty"` // to be indexed; none: points have no payload
	Sparse       bool         `json:"sparse,omitempty"` // the sparse vectors of the set
	Scratch      string       `json:"scratch,omitempty"`

	// Of search.
	Ef      int                `json:"ef,omitempty"`
	K       int                `json:"k,omitempty"`
	Queries int                `json:"queries,omitempty"` // so many from the first on; 0: all
	Seconds float64            `json:"seconds,omitempty"` // at least; whole passes over the queries
	Exact   bool               `json:"exact,omitempty"`
	Acorn   bool               `json:"acorn,omitempty"`   // another way through a filter, of those that have it
	Filters [][]bare.Condition `json:"filters,omitempty"` // one for all queries, or one for each
}

// reply has times in seconds and sizes in bytes.
type reply struct {
	Error   string  `json:"error,omitempty"`
	Version string  `json:"version,omitempty"`
	Wall    float64 `json:"wall,omitempty"` // of search: of one pass over the queries, on average
	CPU     float64 `json:"cpu,omitempty"`  // the same, of the whole process
	Adding  float64 `json:"adding,omitempty"`
	P50     float64 `json:"p50,omitempty"`
	P99     float64 `json:"p99,omitempty"`
	// RSS is what is resident, Before without the index.
	RSS    int64      `json:"rss,omitempty"`
	Before int64      `json:"before,omitempty"`
	IDs    [][]uint64 `json:"ids,omitempty"`
}

// driver is a program that holds an index, and answers.
type driver struct {
	name string
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Reader
}

// start runs a driver, on one CPU if that is not negative. Its threads inherit that.
func start(ctx context.Context, name string, cpu int, argv ...string) (*driver, error) {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Stderr = os.Stderr
	cmd.Env = append(os.Environ(), "OMP_NUM_THREADS=1", "OPENBLAS_NUM_THREADS=1", "PYTHONUNBUFFERED=1")
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	d := &driver{name: name, cmd: cmd, in: in, out: bufio.NewReaderSize(out, 1<<20)}
	if err := pinned(cpu, cmd.Start); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return d, nil
}

// pinned calls do on a thread that may use this CPU only.
func pinned(cpu int, do func() error) (err error) {
	if cpu < 0 {
		return do()
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before, only unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		return err
	}
	only.Set(cpu)
	if err := unix.SchedSetaffinity(0, &only); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unix.SchedSetaffinity(0, &before)) }()
	return do()
}

// ask sends a request and waits for the answer.
func (d *driver) ask(r request) (a reply, err error) {
	b, err := json.Marshal(r)
	if err != nil {
		return a, err
	}
	if _, err := d.in.Write(append(b, '\n')); err != nil {
		return a, fmt.Errorf("%s: %s: %w", d.name, r.Do, err)
	}
	line, err := d.out.ReadBytes('\n')
	if err != nil {
		return a, fmt.Errorf("%s: %s: it ended: %w", d.name, r.Do, err)
	}
	if err := json.Unmarshal(line, &a); err != nil {
		return a, fmt.Errorf("%s: %s: %.80q: %w", d.name, r.Do, line, err)
	}
	if a.Error != "" {
		return a, fmt.Errorf("%s: %s: %s", d.name, r.Do, a.Error)
	}
	return a, nil
}

// stop ends the driver: it does at the end of its input.
func (d *driver) stop() error {
	if err := errors.Join(d.in.Close(), d.cmd.Wait()); err != nil {
		return fmt.Errorf("%s: %w", d.name, err)
	}
	return nil
}
