package memfs

import (
	"io"
	"io/fs"
	"syscall"

	"github.com/pandodb/pando/services/internal/vfs"
)

const (
	pageSize       = 4096
	sectorSize     = 512
	sectorsPerPage = pageSize / sectorSize
)

type (
	page   [pageSize]byte
	sector [sectorSize]byte
)

// node is a file or a directory. A file's pages are sparse: nil reads as zero.
// The bytes after size within the last page are zero.
type node struct {
	names   map[string]*node // directories only: what a reader sees
	durable map[string]*node // directories only: what a crash leaves for sure

	links int
	pages []*page
	size  int64
	// dirty holds, for each sector changed since the last sync, its older
	// contents: the durable ones first, then what each later write replaced.
	dirty map[int64][]sector
	// sizes likewise: the durable size first; empty = the size is durable.
	sizes []int64
}

func newDir() *node {
	return &node{names: map[string]*node{}, durable: map[string]*node{}}
}

func (n *node) isDir() bool { return n.names != nil }

func (n *node) allocated() uint64 {
	count := uint64(0)
	for _, p := range n.pages {
		if p != nil {
			count++
		}
	}
	return count * pageSize
}

func (n *node) sector(s int64) sector {
	i := s / sectorsPerPage
	if i >= int64(len(n.pages)) || n.pages[i] == nil {
		return sector{}
	}
	off := s % sectorsPerPage * sectorSize
	return sector(n.pages[i][off : off+sectorSize])
}

// remember keeps the contents of the sectors of [off, end) for a crash.
func (n *node) remember(off, end int64) {
	if n.dirty == nil {
		n.dirty = map[int64][]sector{}
	}
	for s := off / sectorSize; s*sectorSize < end; s++ {
		n.dirty[s] = append(n.dirty[s], n.sector(s))
	}
}

func (n *node) setSize(size int64) {
	if size == n.size {
		return
	}
	n.sizes = append(n.sizes, n.size)
	n.size = size
}

func (n *node) synced() {
	n.dirty, n.sizes = nil, nil
}

// newPages counts the pages that a write to [off, end) would allocate.
func (n *node) newPages(off, end int64) uint64 {
	count := uint64(0)
	for i := off / pageSize; i*pageSize < end; i++ {
		if i >= int64(len(n.pages)) || n.pages[i] == nil {
			count++
		}
	}
	return count
}

func (n *node) writeAt(p []byte, off int64) {
	end := off + int64(len(p))
	n.remember(off, end)
	for len(p) > 0 {
		i := off / pageSize
		for i >= int64(len(n.pages)) {
			n.pages = append(n.pages, nil)
		}
		if n.pages[i] == nil {
			n.pages[i] = new(page)
		}
		k := copy(n.pages[i][off%pageSize:], p)
		p, off = p[k:], off+int64(k)
	}
	if end > n.size {
		n.setSize(end)
	}
}

func (n *node) readAt(p []byte, off int64) (int, error) {
	if off >= n.size {
		return 0, io.EOF
	}
	var err error
	if rest := n.size - off; int64(len(p)) > rest {
		p, err = p[:rest], io.EOF
	}
	total := len(p)
	for len(p) > 0 {
		i, in := off/pageSize, off%pageSize
		k := min(int64(len(p)), pageSize-in)
		if i < int64(len(n.pages)) && n.pages[i] != nil {
			copy(p[:k], n.pages[i][in:])
		} else {
			clear(p[:k])
		}
		p, off = p[k:], off+k
	}
	return total, err
}

// truncate returns how many pages it gave back.
func (n *node) truncate(size int64) (freed uint64) {
	if size < n.size {
		for i := size / pageSize; i < int64(len(n.pages)); i++ {
			if n.pages[i] == nil {
				continue
			}
			from := max(size-i*pageSize, 0)
			n.remember(i*pageSize+from, (i+1)*pageSize)
			if from > 0 {
				clear(n.pages[i][from:])
				continue
			}
			n.pages[i] = nil
			freed++
		}
	}
	n.setSize(size)
	return freed
}

// file is an open handle. Its position is not guarded: Read and Write are not
// for concurrent use.
type file struct {
	fs       *FS
	node     *node
	name     string
	writable bool
	closed   bool
	pos      int64
}

var _ vfs.File = (*file)(nil)

// check refuses what a closed, read-only or directory handle cannot do. The
// caller holds the lock.
func (f *file) check(op string, write bool) error {
	switch {
	case f.closed:
		return pathErr(op, f.name, fs.ErrClosed)
	case f.node.isDir():
		return pathErr(op, f.name, syscall.EISDIR)
	case write && !f.writable:
		return pathErr(op, f.name, syscall.EBADF)
	}
	return nil
}

func (f *file) Read(p []byte) (int, error) {
	n, err := f.ReadAt(p, f.pos)
	f.pos += int64(n)
	if n > 0 && err == io.EOF {
		err = nil
	}
	return n, err
}

func (f *file) ReadAt(p []byte, off int64) (int, error) {
	f.fs.mu.RLock()
	defer f.fs.mu.RUnlock()
	if err := f.check("read", false); err != nil {
		return 0, err
	}
	if off < 0 {
		return 0, pathErr("read", f.name, fs.ErrInvalid)
	}
	if len(p) == 0 {
		return 0, nil
	}
	return f.node.readAt(p, off)
}

func (f *file) Write(p []byte) (int, error) {
	n, err := f.WriteAt(p, f.pos)
	f.pos += int64(n)
	return n, err
}

func (f *file) WriteAt(p []byte, off int64) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.check("write", true); err != nil {
		return 0, err
	}
	if off < 0 {
		return 0, pathErr("write", f.name, fs.ErrInvalid)
	}
	if len(p) == 0 {
		return 0, nil
	}
	need := f.node.newPages(off, off+int64(len(p))) * pageSize
	if f.fs.mu.total > 0 && f.fs.mu.used+need > f.fs.mu.total {
		return 0, pathErr("write", f.name, syscall.ENOSPC)
	}
	f.node.writeAt(p, off)
	if f.node.links > 0 {
		f.fs.mu.used += need
	}
	return len(p), nil
}

func (f *file) Close() error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if f.closed {
		return pathErr("close", f.name, fs.ErrClosed)
	}
	f.closed = true
	return nil
}

func (f *file) Sync() error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if f.closed {
		return pathErr("sync", f.name, fs.ErrClosed)
	}
	if f.node.isDir() {
		f.fs.syncDir(f.node)
		return nil
	}
	f.node.synced()
	return nil
}

func (f *file) SyncData() error { return f.Sync() }

func (f *file) Truncate(size int64) error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.check("truncate", true); err != nil {
		return err
	}
	if size < 0 {
		return pathErr("truncate", f.name, fs.ErrInvalid)
	}
	freed := f.node.truncate(size)
	if f.node.links > 0 {
		f.fs.mu.used -= freed * pageSize
	}
	return nil
}

func (f *file) Preallocate(off, length int64) error {
	f.fs.mu.RLock()
	defer f.fs.mu.RUnlock()
	if off < 0 || length <= 0 {
		return pathErr("preallocate", f.name, fs.ErrInvalid)
	}
	return f.check("preallocate", true)
}

func (f *file) Stat() (fs.FileInfo, error) {
	f.fs.mu.RLock()
	defer f.fs.mu.RUnlock()
	if f.closed {
		return nil, pathErr("stat", f.name, fs.ErrClosed)
	}
	return f.node.info(f.name), nil
}
