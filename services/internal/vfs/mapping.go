package vfs

import (
	"errors"
	"fmt"
	"io/fs"
	"runtime/debug"
	"sync"
	"unsafe"
)

// Alignment is what the address of a mapping's first byte is a multiple of.
const Alignment = 64

// Mapping is the contents of a file as memory that the garbage collector does not
// look into. It outlives the file's name. Bytes must not be written to, nor used
// after Close: that is a crash, not an error. The file must not be changed while it
// is mapped. A disk that fails later shows as a fault at the read: see Guard.
type Mapping interface {
	// Bytes are all of the file; nil after Close.
	Bytes() []byte
	// Advise tells the system how they will be read. A system that knows no such
	// advice ignores it.
	Advise(Advice) error
	// Close gives the memory back. A second call is fs.ErrClosed.
	Close() error
}

// Advice says how a mapping will be read.
type Advice uint8

// The advices. Normal takes Sequential and Random back. DontNeed: not soon, so its pages
// may leave memory now.
const (
	Normal Advice = iota
	Sequential
	WillNeed
	Random
	DontNeed
)

// Copy is a Mapping on the heap.
func Copy(fsys FS, name string) (Mapping, error) { return read(fsys, name, onHeap) }

// Load is a Mapping that owns its memory: off the heap and in huge pages where the
// system has them, so that reading it never waits for a disk.
func Load(fsys FS, name string) (Mapping, error) { return read(fsys, name, offHeap) }

// region is a Mapping of memory that a function gives back. Advice is for files.
type region struct {
	bytes []byte
	free  func() error
	hint  func([]byte, Advice) error
}

func (r *region) Bytes() []byte { return r.bytes }

func (r *region) Advise(a Advice) error {
	if r.hint == nil || len(r.bytes) == 0 {
		return nil
	}
	return r.hint(r.bytes, a)
}

func (r *region) Close() error {
	free := r.free
	if free == nil {
		return fs.ErrClosed
	}
	r.bytes, r.free, r.hint = nil, nil, nil
	return free()
}

func nothing() error { return nil }

// onHeap makes n bytes that begin at a multiple of Alignment.
func onHeap(n int) (*region, error) {
	b := make([]byte, n+Alignment)
	return &region{bytes: aligned(b, Alignment, n), free: nothing}, nil
}

// aligned cuts n bytes from the first multiple of align on out of b.
func aligned(b []byte, align, n int) []byte {
	skip := -int(uintptr(unsafe.Pointer(unsafe.SliceData(b)))) & (align - 1)
	return b[skip:][:n:n]
}

func read(fsys FS, name string, memory func(int) (*region, error)) (Mapping, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	r, err := fill(f, name, memory)
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	return r, nil
}

func fill(f File, name string, memory func(int) (*region, error)) (*region, error) {
	size, err := mappable(f, name)
	if err != nil {
		return nil, err
	}
	r, err := memory(size)
	if err != nil {
		return nil, &fs.PathError{Op: "load", Path: name, Err: err}
	}
	if _, err := f.ReadAt(r.bytes, 0); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

// mappable is the size of a file that fits into memory.
func mappable(f File, name string) (int, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	if size := info.Size(); !info.IsDir() && size == int64(int(size)) {
		return int(size), nil
	}
	return 0, &fs.PathError{Op: "map", Path: name, Err: fs.ErrInvalid}
}

// ErrFault is a read of mapped memory that the disk could not answer.
var ErrFault = errors.New("vfs: a mapped file could not be read")

// Guard runs do, which reads mappings, and answers ErrFault if the system could not
// give it a page: a damaged disk, or a file that was cut. Without it such a read
// ends the process. do must leave nothing locked when it is torn out. It holds for
// the calling goroutine alone.
func Guard(do func()) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		switch r := recover().(type) {
		case nil:
		case interface {
			error
			Addr() uintptr
		}:
			err = fmt.Errorf("%w: address %#x", ErrFault, r.Addr())
		default:
			panic(r)
		}
	}()
	do()
	return nil
}

// Group runs functions that read mappings, each in a goroutine of its own. The zero
// value is ready.
type Group struct {
	running sync.WaitGroup
	once    sync.Once
	torn    any // what the first of them panicked with
}

// Go runs do. It holds for do what Guard says.
func (g *Group) Go(do func()) {
	g.running.Go(func() {
		defer func() {
			if r := recover(); r != nil {
				g.once.Do(func() { g.torn = r })
			}
		}()
		debug.SetPanicOnFault(true)
		do()
	})
}

// Wait waits for all, and panics with what the first of them did: a Guard around it
// is one around them. To be deferred where the caller may be torn out as well.
func (g *Group) Wait() {
	if g.running.Wait(); g.torn != nil {
		panic(g.torn)
	}
}
