// Package faultfs wraps a vfs.FS and makes chosen operations fail.
//
// It numbers the operations that change a disk, so that a test can run a
// workload once, ask how many there were, and run it again with a failure or a
// crash at each of them. Nothing here is random; rules that are get their own
// source.
package faultfs

import (
	"errors"
	"io"
	"io/fs"
	"slices"
	"sync"

	"github.com/pandodb/pando/services/internal/vfs"
)

// ErrCrashed is what every operation returns after the crash of a Crash rule.
var ErrCrashed = errors.New("faultfs: the machine has crashed")

// Kind names an operation of vfs.FS or vfs.File.
type Kind string

// The kinds from KindOpen to KindUsage change nothing and have no number.
const (
	KindCreate      Kind = "create"
	KindOpenRW      Kind = "openreadwrite"
	KindRemove      Kind = "remove"
	KindRemoveAll   Kind = "removeall"
	KindRename      Kind = "rename"
	KindLink        Kind = "link"
	KindMkdir       Kind = "mkdirall"
	KindLock        Kind = "lock"
	KindWrite       Kind = "write"
	KindSync        Kind = "sync"
	KindSyncDir     Kind = "syncdir"
	KindTruncate    Kind = "truncate"
	KindPreallocate Kind = "preallocate"

	KindOpen    Kind = "open"
	KindOpenDir Kind = "opendir"
	KindRead    Kind = "read"
	KindList    Kind = "list"
	KindStat    Kind = "stat"
	KindUsage   Kind = "diskusage"
)

// Op is one operation, shown to the rules before it happens.
type Op struct {
	// N counts the changing operations from 1; 0 for all others.
	N    int
	Kind Kind
	Path string
}

// Rule returns the error that op shall fail with, or nil. A failed operation is
// not passed on, except as ShortWrite says. Rules are called one at a time.
type Rule func(op Op) error

// ShortWrite, returned by a rule for a write, lets the first Bytes bytes
// through and reports Err. For other operations it is Err.
type ShortWrite struct {
	Bytes int
	Err   error
}

func (e *ShortWrite) Error() string { return "short write: " + e.Err.Error() }

// Unwrap lets errors.Is see the cause.
func (e *ShortWrite) Unwrap() error { return e.Err }

// Nth fails the n-th changing operation, once.
func Nth(n int, err error) Rule {
	return func(op Op) error {
		if op.N == n {
			return err
		}
		return nil
	}
}

// From fails the n-th changing operation and all after it.
func From(n int, err error) Rule {
	return func(op Op) error {
		if op.N >= n {
			return err
		}
		return nil
	}
}

// On fails every operation of the given kinds.
func On(err error, kinds ...Kind) Rule {
	return func(op Op) error {
		if slices.Contains(kinds, op.Kind) {
			return err
		}
		return nil
	}
}

// Crash calls crash just before the n-th changing operation would happen, and
// fails this and everything later, reads too, with ErrCrashed. crash may take
// a memfs.CrashClone; it must not use the FS that the rule belongs to.
func Crash(n int, crash func()) Rule {
	down := false
	return func(op Op) error {
		if !down && op.N >= n {
			down = true
			crash()
		}
		if down {
			return ErrCrashed
		}
		return nil
	}
}

// FS implements vfs.FS.
type FS struct {
	inner vfs.FS
	mu    struct {
		sync.Mutex
		rules []Rule
		count int
		last  Op
	}
}

var _ vfs.FS = (*FS)(nil)

// New wraps inner. The first rule that returns an error decides.
func New(inner vfs.FS, rules ...Rule) *FS {
	f := &FS{inner: inner}
	f.mu.rules = rules
	return f
}

// SetRules replaces the rules; the count goes on.
func (f *FS) SetRules(rules ...Rule) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mu.rules = rules
}

// Count returns how many changing operations were begun, failed ones included.
func (f *FS) Count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.mu.count
}

// Last returns the last changing operation, to name it in a failing test.
func (f *FS) Last() Op {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.mu.last
}

func (f *FS) change(kind Kind, path string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mu.count++
	f.mu.last = Op{N: f.mu.count, Kind: kind, Path: path}
	return f.judge(f.mu.last)
}

func (f *FS) look(kind Kind, path string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.judge(Op{Kind: kind, Path: path})
}

func (f *FS) judge(op Op) error {
	for _, rule := range f.mu.rules {
		if err := rule(op); err != nil {
			return &fs.PathError{Op: string(op.Kind), Path: op.Path, Err: err}
		}
	}
	return nil
}

func (f *FS) open(kind Kind, name string, open func(string) (vfs.File, error)) (vfs.File, error) {
	judge, sync := f.change, KindSync
	if kind == KindOpen || kind == KindOpenDir {
		judge = f.look
	}
	if kind == KindOpenDir {
		sync = KindSyncDir
	}
	if err := judge(kind, name); err != nil {
		return nil, err
	}
	inner, err := open(name)
	if err != nil {
		return nil, err
	}
	return &file{File: inner, fs: f, name: name, sync: sync}, nil
}

// Create implements vfs.FS.
func (f *FS) Create(name string) (vfs.File, error) { return f.open(KindCreate, name, f.inner.Create) }

// Open implements vfs.FS.
func (f *FS) Open(name string) (vfs.File, error) { return f.open(KindOpen, name, f.inner.Open) }

// Map implements vfs.FS. To the rules it opens and reads the file.
func (f *FS) Map(name string) (vfs.Mapping, error) {
	for _, kind := range []Kind{KindOpen, KindRead} {
		if err := f.look(kind, name); err != nil {
			return nil, err
		}
	}
	return f.inner.Map(name)
}

// OpenReadWrite implements vfs.FS.
func (f *FS) OpenReadWrite(name string) (vfs.File, error) {
	return f.open(KindOpenRW, name, f.inner.OpenReadWrite)
}

// OpenDir implements vfs.FS.
func (f *FS) OpenDir(name string) (vfs.File, error) {
	return f.open(KindOpenDir, name, f.inner.OpenDir)
}

// Remove implements vfs.FS.
func (f *FS) Remove(name string) error {
	if err := f.change(KindRemove, name); err != nil {
		return err
	}
	return f.inner.Remove(name)
}

// RemoveAll implements vfs.FS.
func (f *FS) RemoveAll(name string) error {
	if err := f.change(KindRemoveAll, name); err != nil {
		return err
	}
	return f.inner.RemoveAll(name)
}

// Rename implements vfs.FS.
func (f *FS) Rename(oldname, newname string) error {
	if err := f.change(KindRename, newname); err != nil {
		return err
	}
	return f.inner.Rename(oldname, newname)
}

// Link implements vfs.FS.
func (f *FS) Link(oldname, newname string) error {
	if err := f.change(KindLink, newname); err != nil {
		return err
	}
	return f.inner.Link(oldname, newname)
}

// MkdirAll implements vfs.FS.
func (f *FS) MkdirAll(dir string, perm fs.FileMode) error {
	if err := f.change(KindMkdir, dir); err != nil {
		return err
	}
	return f.inner.MkdirAll(dir, perm)
}

// Lock implements vfs.FS.
func (f *FS) Lock(name string) (io.Closer, error) {
	if err := f.change(KindLock, name); err != nil {
		return nil, err
	}
	return f.inner.Lock(name)
}

// List implements vfs.FS.
func (f *FS) List(dir string) ([]string, error) {
	if err := f.look(KindList, dir); err != nil {
		return nil, err
	}
	return f.inner.List(dir)
}

// Stat implements vfs.FS.
func (f *FS) Stat(name string) (fs.FileInfo, error) {
	if err := f.look(KindStat, name); err != nil {
		return nil, err
	}
	return f.inner.Stat(name)
}

// DiskUsage implements vfs.FS.
func (f *FS) DiskUsage(path string) (vfs.Usage, error) {
	if err := f.look(KindUsage, path); err != nil {
		return vfs.Usage{}, err
	}
	return f.inner.DiskUsage(path)
}

type file struct {
	vfs.File
	fs   *FS
	name string
	sync Kind
}

func (f *file) Read(p []byte) (int, error) {
	if err := f.fs.look(KindRead, f.name); err != nil {
		return 0, err
	}
	return f.File.Read(p)
}

func (f *file) ReadAt(p []byte, off int64) (int, error) {
	if err := f.fs.look(KindRead, f.name); err != nil {
		return 0, err
	}
	return f.File.ReadAt(p, off)
}

func (f *file) write(p []byte, write func([]byte) (int, error)) (int, error) {
	err := f.fs.change(KindWrite, f.name)
	if err == nil {
		return write(p)
	}
	var short *ShortWrite
	if !errors.As(err, &short) {
		return 0, err
	}
	n, werr := write(p[:min(short.Bytes, len(p))])
	return n, errors.Join(err, werr)
}

func (f *file) Write(p []byte) (int, error) { return f.write(p, f.File.Write) }

func (f *file) WriteAt(p []byte, off int64) (int, error) {
	return f.write(p, func(p []byte) (int, error) { return f.File.WriteAt(p, off) })
}

func (f *file) Sync() error {
	if err := f.fs.change(f.sync, f.name); err != nil {
		return err
	}
	return f.File.Sync()
}

func (f *file) SyncData() error {
	if err := f.fs.change(f.sync, f.name); err != nil {
		return err
	}
	return f.File.SyncData()
}

func (f *file) Truncate(size int64) error {
	if err := f.fs.change(KindTruncate, f.name); err != nil {
		return err
	}
	return f.File.Truncate(size)
}

func (f *file) Preallocate(off, length int64) error {
	if err := f.fs.change(KindPreallocate, f.name); err != nil {
		return err
	}
	return f.File.Preallocate(off, length)
}
