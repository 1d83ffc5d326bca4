package segment

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io/fs"
	"math/rand/v2"
	"path/filepath"

	"github.com/pandodb/pando/services/dataplane/internal/point"
	"github.com/pandodb/pando/services/internal/vfs"
)

// The form of every file (docs/format/segment.md).
const (
	magic      = "pandoseg"
	endMagic   = "pend"
	format     = 1
	headerSize = 64
	footerSize = 64
	blockSize  = 64 << 10
	// syncEvery is how much is written between syncs. One sync of a whole file would
	// make the operation log's wait for all of it.
	syncEvery = 8 << 20
	// alignment of a file's contents and of a row of vectors.
	alignment = vfs.Alignment
)

// header is what is known before the contents.
type header struct {
	kind                   Kind
	rows                   uint64
	size, stride, datatype uint32 // KindVectors: elements of a vector and of a row
}

func (h header) append(dst []byte) []byte {
	at := len(dst)
	dst = append(dst, magic...)
	dst = binary.LittleEndian.AppendUint32(dst, format)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(h.kind))
	dst = binary.LittleEndian.AppendUint64(dst, h.rows)
	for _, n := range [...]uint32{h.size, h.stride, h.datatype} {
		dst = binary.LittleEndian.AppendUint32(dst, n)
	}
	dst = append(dst, make([]byte, headerSize-4-(len(dst)-at))...)
	return binary.LittleEndian.AppendUint32(dst, checksum(0, dst[at:]))
}

// decodeHeader reads the first headerSize bytes of b.
func decodeHeader(b []byte) (h header, err error) {
	word := func(at int) uint32 { return binary.LittleEndian.Uint32(b[at:]) }
	switch {
	case len(b) < headerSize:
		return h, fmt.Errorf("%w: %d bytes are no file", ErrCorrupt, len(b))
	case string(b[:8]) != magic, checksum(0, b[:headerSize-4]) != word(headerSize-4):
		return h, fmt.Errorf("%w: checksum of the header differs", ErrCorrupt)
	case word(8) != format:
		return h, fmt.Errorf("%w: format %d", ErrVersion, word(8))
	}
	h = header{Kind(word(12)), binary.LittleEndian.Uint64(b[16:]), word(24), word(28), word(32)}
	if string(h.append(nil)) != string(b[:headerSize]) {
		return header{}, fmt.Errorf("%w: header has unknown fields", ErrCorrupt)
	}
	return h, nil
}

// footer is what is known after the contents.
type footer struct {
	length uint64       // of the contents
	extra  uint64       // KindIDs: rows named by numbers; KindVectors: rows with a vector
	digest point.Digest // of the points that the file belongs to; zero in artefacts
}

func (f footer) append(dst []byte) []byte {
	for _, n := range [...]uint64{f.length, f.extra, f.digest.A, f.digest.B, blockSize, 0} {
		dst = binary.LittleEndian.AppendUint64(dst, n)
	}
	return append(dst, 0, 0, 0, 0, 0, 0, 0, 0)
}

// blocks is how many checksums there are for contents that end at end, padded.
func blocks(end int64) int64 { return (end + blockSize - 1) / blockSize }

// paddedEnd is where the padding after contents of the given length ends.
func paddedEnd(length int64) int64 {
	return (headerSize + length + alignment - 1) &^ (alignment - 1)
}

func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// checksum goes on with the CRC-32C of what came before.
func checksum(sum uint32, b []byte) uint32 { return crc32.Update(sum, castagnoli(), b) }

// fileSum begins the checksums of a file: that of its block i starts from fileSum XOR
// i, so that bytes of another place or another file's do not pass.
func fileSum(k Kind, name string) uint32 { return checksum(0, append([]byte{byte(k)}, name...)) }

// writer makes one file under a temporary name, in one pass.
type writer struct {
	fsys  vfs.FS
	path  string // temporary
	dir   string
	kind  Kind
	name  string
	sum   uint32 // fileSum
	file  vfs.File
	sha   hash.Hash
	buf   []byte // of the block that begins at off
	off   int64
	table []byte
	err   error
}

// create begins a file. Its temporary name is drawn, since several may be written
// to one folder at once; no byte of the contents depends on it.
func create(fsys vfs.FS, dir, name string, h header) (*writer, error) {
	path := filepath.Join(dir, fmt.Sprintf("%s%016x%s", tempPrefix, rand.Uint64(), tempSuffix))
	f, err := fsys.Create(path)
	if err != nil {
		return nil, fmt.Errorf("segment: %w", err)
	}
	w := &writer{fsys: fsys, path: path, dir: dir, kind: h.kind, name: name, sum: fileSum(h.kind, name), file: f, sha: sha256.New(), buf: make([]byte, 0, blockSize)}
	w.buf = h.append(w.buf)
	return w, nil
}

// Write adds contents. An error sticks.
func (w *writer) Write(p []byte) (int, error) {
	total := len(p)
	for len(p) > 0 && w.err == nil {
		n := min(len(p), blockSize-len(w.buf))
		w.buf, p = append(w.buf, p[:n]...), p[n:]
		if len(w.buf) == blockSize {
			w.flush()
		}
	}
	return total - len(p), w.err
}

// zeros adds n bytes of zero.
func (w *writer) zeros(n int64) error {
	var some [4096]byte
	for n > 0 && w.err == nil {
		k := min(n, int64(len(some)))
		if _, err := w.Write(some[:k]); err != nil {
			return err
		}
		n -= k
	}
	return w.err
}

// length is that of the contents so far.
func (w *writer) length() int64 { return w.off + int64(len(w.buf)) - headerSize }

func (w *writer) flush() {
	if len(w.buf) == 0 {
		return
	}
	w.table = binary.LittleEndian.AppendUint32(w.table, checksum(w.sum^uint32(w.off/blockSize), w.buf))
	w.put(w.buf)
	w.off += int64(len(w.buf))
	w.buf = w.buf[:0]
	if w.off%syncEvery == 0 && w.err == nil {
		w.fail(w.file.SyncData())
	}
}

func (w *writer) put(b []byte) {
	if w.err != nil {
		return
	}
	w.sha.Write(b)
	_, err := w.file.Write(b)
	w.fail(err)
}

// fail records the first error, if there is one.
func (w *writer) fail(err error) {
	if err != nil && w.err == nil {
		w.err = fmt.Errorf("segment: %w", err)
	}
}

// finish completes the file and syncs its contents. It keeps its temporary name.
func (w *writer) finish(extra uint64, digest point.Digest) (File, error) {
	length := w.length()
	if err := w.zeros(paddedEnd(length) - headerSize - length); err != nil {
		return File{}, err
	}
	w.flush()
	end := footer{uint64(length), extra, digest}.append(w.table)
	end = binary.LittleEndian.AppendUint32(end, checksum(w.sum^uint32(blocks(w.off)), end))
	w.put(append(end, endMagic...))
	f := File{Kind: w.kind, Name: w.name, Size: w.off + int64(len(end)+len(endMagic)), Sum: [sumSize]byte(w.sha.Sum(nil))}
	if w.err == nil {
		w.fail(w.file.Sync())
	}
	if w.err != nil {
		return File{}, w.err
	}
	w.fail(w.file.Close())
	w.file = nil
	return f, w.err
}

// rename gives a finished file its name. It is durable after a sync of the folder.
func (w *writer) rename(f File) error {
	err := w.fsys.Rename(w.path, filepath.Join(w.dir, f.FileName()))
	if err == nil {
		w.path = ""
	}
	return err
}

// abandon removes what has no name yet, after an error: what cannot be removed is
// left to Clean.
func (w *writer) abandon() error {
	var err error
	if w.file != nil {
		err = w.file.Close()
		w.file = nil
	}
	if w.path != "" {
		err = errors.Join(err, w.fsys.Remove(w.path))
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// publish names the files of finished writers and makes them durable.
func publish(fsys vfs.FS, dir string, ws []*writer, files []File) error {
	for i, w := range ws {
		if err := w.rename(files[i]); err != nil {
			return fmt.Errorf("segment: %w", err)
		}
	}
	if err := vfs.SyncDir(fsys, dir); err != nil {
		return fmt.Errorf("segment: %w", err)
	}
	return nil
}
