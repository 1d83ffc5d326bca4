package segment

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"sync"

	"github.com/pandodb/pando/services/internal/vfs"
)

// Placement says where a file's contents are while it is open.
type Placement uint8

// The placements: in the system's page cache and read as they are touched, the same
// but fetched ahead, and in memory of our own outside of Go's heap.
const (
	Cold Placement = iota
	Cached
	Pinned
)

// parallelFrom is the size from which two goroutines check a file.
const parallelFrom = 4 << 20

// mapped is an open file whose every byte was checked.
type mapped struct {
	header
	footer
	path    string
	memory  vfs.Mapping
	content []byte
}

// openFile maps and checks a file.
func openFile(fsys vfs.FS, dir string, f File, p Placement) (*mapped, error) {
	path := filepath.Join(dir, f.FileName())
	open := vfs.FS.Map
	if p == Pinned {
		open = vfs.Load
	}
	memory, err := open(fsys, path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if err != nil {
		return nil, refused(err)
	}
	m := &mapped{path: path, memory: memory}
	err = errors.Join(memory.Advise(vfs.Sequential), memory.Advise(vfs.WillNeed))
	if err == nil {
		err = m.guarded(func() error { return m.check(f) })
	}
	if err == nil {
		// What was only checked need not be resident, and what is read from now on must not
		// leave memory as if it were read once.
		after := vfs.Normal
		if p == Cold {
			after = vfs.Random
		}
		err = errors.Join(memory.Advise(after), memory.Advise(vfs.DontNeed))
	}
	if err != nil {
		return nil, errors.Join(err, memory.Close())
	}
	return m, nil
}

// guarded calls do, which reads the file.
func (m *mapped) guarded(do func() error) (err error) {
	if fault := vfs.Guard(func() { err = do() }); fault != nil {
		return refused(fmt.Errorf("%s: %w", m.path, fault))
	}
	return err
}

func (m *mapped) damage(off int64, what string) error {
	return fmt.Errorf("%w: %s, offset %d: %s", ErrCorrupt, m.path, off, what)
}

func (m *mapped) check(f File) (err error) {
	b := m.memory.Bytes()
	if int64(len(b)) != f.Size || len(b) < headerSize+footerSize {
		return m.damage(int64(len(b)), fmt.Sprintf("the file ends here, it was written with %d bytes", f.Size))
	}
	if m.header, err = decodeHeader(b); err != nil {
		return fmt.Errorf("%s, offset 0: %w", m.path, err)
	}
	foot := int64(len(b)) - footerSize
	m.footer.length = binary.LittleEndian.Uint64(b[foot:])
	if m.footer.length > uint64(foot) {
		return m.damage(foot, "length of the contents")
	}
	end := paddedEnd(int64(m.footer.length))
	switch {
	case end+4*blocks(end) != foot:
		return m.damage(foot, "length of the contents")
	case checksum(fileSum(f.Kind, f.Name)^uint32(blocks(end)), b[end:foot+footerSize-8]) != binary.LittleEndian.Uint32(b[foot+footerSize-8:]):
		return m.damage(end, "checksum of the table of checksums differs")
	}
	m.footer.extra = binary.LittleEndian.Uint64(b[foot+8:])
	m.footer.digest.A, m.footer.digest.B = binary.LittleEndian.Uint64(b[foot+16:]), binary.LittleEndian.Uint64(b[foot+24:])
	if want := string(append(m.footer.append(nil), b[foot+footerSize-8:][:4]...)) + endMagic; string(b[foot:]) != want {
		return m.damage(foot, "footer has unknown fields")
	}
	if m.header.kind != f.Kind {
		return m.damage(0, fmt.Sprintf("this is a file of kind %s", m.header.kind))
	}
	m.content = b[headerSize:][:m.footer.length:m.footer.length]
	return m.verify(fileSum(f.Kind, f.Name), b[:end], b[end:foot])
}

// verify holds data against the table of checksums.
func (m *mapped) verify(sum uint32, data, table []byte) error {
	n := len(table) / 4
	half := n
	if len(data) >= parallelFrom {
		half = n / 2
	}
	var wg sync.WaitGroup
	var front, back error
	wg.Go(func() { front = m.guarded(func() error { return m.run(sum, data, table, 0, half) }) })
	back = m.guarded(func() error { return m.run(sum, data, table, half, n) })
	wg.Wait()
	if front != nil {
		return front
	}
	return back
}

func (m *mapped) run(sum uint32, data, table []byte, from, to int) error {
	for i := from; i < to; i++ {
		off := i * blockSize
		block := data[off:min(off+blockSize, len(data))]
		if checksum(sum^uint32(i), block) != binary.LittleEndian.Uint32(table[4*i:]) {
			return m.damage(int64(off), fmt.Sprintf("checksum of the %d bytes from here differs", len(block)))
		}
	}
	return nil
}
