// Package memfs is a file system in memory that can crash.
//
// It remembers, apart from what a reader sees, what a disk would hold for
// sure: contents as of the last Sync of the file, names as of the last Sync of
// their directory. CrashClone gives the file system that a machine could find
// after losing power now: everything synced, and of the rest a random part,
// sector by sector and name by name, in any order.
//
// Truncations are treated like writes, so that a crash may show a mixture of a
// file before and after one. Code that is safe here does not rely on the
// journal of any particular file system.
//
// It knows no permissions and no times.
package memfs

import (
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/pandodb/pando/services/internal/vfs"
)

// FS implements vfs.FS. The zero value is not ready; use New.
type FS struct {
	mu struct {
		sync.RWMutex
		root    *node
		pending []change // name changes that no directory sync covers, oldest first
		locked  map[*node]bool
		total   uint64 // capacity in bytes; 0 = unlimited
		used    uint64 // bytes of pages that are allocated
	}
}

var _ vfs.FS = (*FS)(nil)

// New returns an empty file system.
func New() *FS {
	m := &FS{}
	m.mu.root = newDir()
	m.mu.locked = map[*node]bool{}
	return m
}

// SetCapacity makes writes fail with ENOSPC once that many bytes are in use;
// 0 takes the limit away. Space is counted in pages of 4 KiB that were written;
// that of a file comes back with the removal of its last name.
func (m *FS) SetCapacity(bytes uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mu.total = bytes
}

// A change sets or removes names, all or nothing.
type change []edit

type edit struct {
	dir  *node
	name string
	node *node // nil: the name goes away
}

func (e edit) applyTo(names map[string]*node) {
	if e.node == nil {
		delete(names, e.name)
		return
	}
	names[e.name] = e.node
}

// commit makes edits visible now and durable with the next sync of one of the
// directories involved.
func (m *FS) commit(edits ...edit) {
	for _, e := range edits {
		if old := e.dir.names[e.name]; old != nil && old != e.node {
			m.unref(old)
		}
		if e.node != nil {
			e.node.links++
		}
		e.applyTo(e.dir.names)
	}
	m.mu.pending = append(m.mu.pending, edits)
}

func (m *FS) unref(n *node) {
	n.links--
	if n.links == 0 && !n.isDir() {
		m.mu.used -= n.allocated()
	}
}

// syncDir makes every change that touches dir durable, and with it the earlier
// changes of every other directory that one of them touches: a rename from one
// directory to another must not be overtaken.
func (m *FS) syncDir(dir *node) {
	covered := map[*node]bool{dir: true}
	apply := make([]bool, len(m.mu.pending))
	for i, c := range slices.Backward(m.mu.pending) {
		if apply[i] = c.touches(covered); apply[i] {
			for _, e := range c {
				covered[e.dir] = true
			}
		}
	}
	var kept []change
	for i, c := range m.mu.pending {
		if !apply[i] {
			kept = append(kept, c)
			continue
		}
		for _, e := range c {
			e.applyTo(e.dir.durable)
		}
	}
	m.mu.pending = kept
}

func (c change) touches(dirs map[*node]bool) bool {
	return slices.ContainsFunc(c, func(e edit) bool { return dirs[e.dir] })
}

func pathErr(op, name string, err error) error {
	return &fs.PathError{Op: op, Path: name, Err: err}
}

// parts splits a name into its elements; none of them for the root.
func parts(name string) []string {
	clean := strings.Trim(filepath.ToSlash(filepath.Clean(name)), "/")
	if clean == "" || clean == "." {
		return nil
	}
	return strings.Split(clean, "/")
}

func (m *FS) lookup(name string) (*node, error) {
	n := m.mu.root
	for _, p := range parts(name) {
		if !n.isDir() {
			return nil, syscall.ENOTDIR
		}
		if n = n.names[p]; n == nil {
			return nil, fs.ErrNotExist
		}
	}
	return n, nil
}

// lookupParent returns the directory of name and its last element.
func (m *FS) lookupParent(name string) (*node, string, error) {
	p := parts(name)
	if len(p) == 0 {
		return nil, "", fs.ErrInvalid
	}
	dir, err := m.lookup(strings.Join(p[:len(p)-1], "/"))
	if err != nil {
		return nil, "", err
	}
	if !dir.isDir() {
		return nil, "", syscall.ENOTDIR
	}
	return dir, p[len(p)-1], nil
}

// Create implements vfs.FS.
func (m *FS) Create(name string) (vfs.File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir, base, err := m.lookupParent(name)
	if err != nil {
		return nil, pathErr("create", name, err)
	}
	if old := dir.names[base]; old != nil && old.isDir() {
		return nil, pathErr("create", name, syscall.EISDIR)
	}
	n := &node{}
	m.commit(edit{dir, base, n})
	return &file{fs: m, node: n, name: name, writable: true}, nil
}

// Open implements vfs.FS.
func (m *FS) Open(name string) (vfs.File, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	n, err := m.lookup(name)
	if err != nil {
		return nil, pathErr("open", name, err)
	}
	return &file{fs: m, node: n, name: name}, nil
}

// Map implements vfs.FS. It copies: later writes to the file do not show.
func (m *FS) Map(name string) (vfs.Mapping, error) { return vfs.Copy(m, name) }

// OpenReadWrite implements vfs.FS.
func (m *FS) OpenReadWrite(name string) (vfs.File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.openOrMake(name)
	if err != nil {
		return nil, pathErr("open", name, err)
	}
	return &file{fs: m, node: n, name: name, writable: true}, nil
}

func (m *FS) openOrMake(name string) (*node, error) {
	dir, base, err := m.lookupParent(name)
	if err != nil {
		return nil, err
	}
	n := dir.names[base]
	if n == nil {
		n = &node{}
		m.commit(edit{dir, base, n})
	}
	if n.isDir() {
		return nil, syscall.EISDIR
	}
	return n, nil
}

// OpenDir implements vfs.FS.
func (m *FS) OpenDir(name string) (vfs.File, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	n, err := m.lookup(name)
	if err == nil && !n.isDir() {
		err = syscall.ENOTDIR
	}
	if err != nil {
		return nil, pathErr("opendir", name, err)
	}
	return &file{fs: m, node: n, name: name}, nil
}

// Remove implements vfs.FS.
func (m *FS) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir, base, err := m.lookupParent(name)
	if err != nil {
		return pathErr("remove", name, err)
	}
	n := dir.names[base]
	switch {
	case n == nil:
		return pathErr("remove", name, fs.ErrNotExist)
	case n.isDir() && len(n.names) > 0:
		return pathErr("remove", name, syscall.ENOTEMPTY)
	}
	m.commit(edit{dir, base, nil})
	return nil
}

// RemoveAll implements vfs.FS.
func (m *FS) RemoveAll(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir, base, err := m.lookupParent(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return pathErr("removeall", name, err)
	}
	if dir.names[base] != nil {
		m.removeTree(dir, base)
	}
	return nil
}

func (m *FS) removeTree(dir *node, base string) {
	n := dir.names[base]
	for _, child := range n.sortedNames() {
		m.removeTree(n, child)
	}
	m.commit(edit{dir, base, nil})
}

// Rename implements vfs.FS.
func (m *FS) Rename(oldname, newname string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	fromDir, from, err := m.lookupParent(oldname)
	if err != nil {
		return pathErr("rename", oldname, err)
	}
	toDir, to, err := m.lookupParent(newname)
	if err != nil {
		return pathErr("rename", newname, err)
	}
	n, old := fromDir.names[from], toDir.names[to]
	switch {
	case n == nil:
		return pathErr("rename", oldname, fs.ErrNotExist)
	case n == old:
		return nil
	case old != nil && old.isDir() != n.isDir():
		return pathErr("rename", newname, fs.ErrExist)
	case old != nil && len(old.names) > 0:
		return pathErr("rename", newname, syscall.ENOTEMPTY)
	}
	m.commit(edit{toDir, to, n}, edit{fromDir, from, nil})
	return nil
}

// Link implements vfs.FS.
func (m *FS) Link(oldname, newname string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.lookup(oldname)
	if err == nil && n.isDir() {
		err = syscall.EPERM
	}
	if err != nil {
		return pathErr("link", oldname, err)
	}
	dir, base, err := m.lookupParent(newname)
	if err == nil && dir.names[base] != nil {
		err = fs.ErrExist
	}
	if err != nil {
		return pathErr("link", newname, err)
	}
	m.commit(edit{dir, base, n})
	return nil
}

// MkdirAll implements vfs.FS.
func (m *FS) MkdirAll(dir string, _ fs.FileMode) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.mu.root
	for _, p := range parts(dir) {
		next := n.names[p]
		if next == nil {
			next = newDir()
			m.commit(edit{n, p, next})
		}
		if !next.isDir() {
			return pathErr("mkdir", dir, syscall.ENOTDIR)
		}
		n = next
	}
	return nil
}

// Lock implements vfs.FS. A crash clone holds no locks.
func (m *FS) Lock(name string) (io.Closer, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.openOrMake(name)
	if err == nil && m.mu.locked[n] {
		err = vfs.ErrLocked
	}
	if err != nil {
		return nil, pathErr("lock", name, err)
	}
	m.mu.locked[n] = true
	return &lock{fs: m, node: n}, nil
}

type lock struct {
	fs   *FS
	node *node
}

func (l *lock) Close() error {
	l.fs.mu.Lock()
	defer l.fs.mu.Unlock()
	if !l.fs.mu.locked[l.node] {
		return fs.ErrClosed
	}
	delete(l.fs.mu.locked, l.node)
	return nil
}

// List implements vfs.FS.
func (m *FS) List(dir string) ([]string, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	n, err := m.lookup(dir)
	if err == nil && !n.isDir() {
		err = syscall.ENOTDIR
	}
	if err != nil {
		return nil, pathErr("list", dir, err)
	}
	return n.sortedNames(), nil
}

// Stat implements vfs.FS.
func (m *FS) Stat(name string) (fs.FileInfo, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	n, err := m.lookup(name)
	if err != nil {
		return nil, pathErr("stat", name, err)
	}
	return n.info(filepath.Base(name)), nil
}

// DiskUsage implements vfs.FS. Without a capacity the disk has 1 TiB.
func (m *FS) DiskUsage(path string) (vfs.Usage, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if _, err := m.lookup(path); err != nil {
		return vfs.Usage{}, pathErr("statfs", path, err)
	}
	u := vfs.Usage{Total: m.mu.total, Used: m.mu.used}
	if u.Total == 0 {
		u.Total = 1 << 40
	}
	u.Avail = u.Total - min(u.Used, u.Total)
	return u, nil
}

// info is the fs.FileInfo of a node.
type info struct {
	name string
	size int64
	mode fs.FileMode
}

func (n *node) info(name string) fs.FileInfo {
	if n.isDir() {
		return info{name: name, mode: fs.ModeDir | 0o750}
	}
	return info{name: name, size: n.size, mode: 0o640}
}

func (i info) Name() string       { return i.name }
func (i info) Size() int64        { return i.size }
func (i info) Mode() fs.FileMode  { return i.mode }
func (i info) ModTime() time.Time { return time.Time{} }
func (i info) IsDir() bool        { return i.mode.IsDir() }
func (i info) Sys() any           { return nil }

func (n *node) sortedNames() []string {
	names := make([]string, 0, len(n.names))
	for name := range n.names {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}
