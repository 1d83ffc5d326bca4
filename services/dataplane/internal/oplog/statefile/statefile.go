// Package statefile keeps a small state durable: one file, replaced whole, with
// a checksum and a version. A crash leaves the old state or the new one.
//
// It is not a key-value store and not meant for more than a few hundred KiB;
// each Store costs two syncs. docs/format/oplog.md draws the bytes.
package statefile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"path/filepath"

	"github.com/pandodb/pando/services/internal/vfs"
)

// The frame: magic, format of the frame, version of the payload, length, payload, CRC.
const (
	magic       = "pandosta"
	frameFormat = 1
	headSize    = len(magic) + 4 + 4 + 8
	tailSize    = 4
)

// ErrFormat says that the file was written by a later Pando.
var ErrFormat = errors.New("format is newer than this version of Pando")

// CorruptError says which file is damaged, and where. It never carries contents.
type CorruptError struct {
	File   string
	Offset int64 // bytes from the start of File
	Reason string
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("%s is corrupt at byte %d: %s", e.File, e.Offset, e.Reason)
}

// Store replaces the state in path. After an error the old state is still there,
// unless the error is vfs.ErrUncertain: then nobody knows what a crash leaves,
// and the caller must not act on either state.
func Store(fsys vfs.FS, path string, version uint32, payload []byte) error {
	return vfs.WriteFileAtomic(fsys, path, appendFrame(nil, version, payload))
}

// Load returns the state in path and the version that Store was given, and makes
// sure that it is durable: an earlier process may have ended just before. A missing
// file is fs.ErrNotExist, a damaged one a *CorruptError, a frame that this
// program does not know ErrFormat.
func Load(fsys vfs.FS, path string) (version uint32, payload []byte, err error) {
	data, err := vfs.ReadFile(fsys, path)
	if err == nil {
		err = vfs.SyncDir(fsys, filepath.Dir(path))
	}
	if err != nil {
		return 0, nil, err
	}
	version, payload, err = parseFrame(data)
	var bad *CorruptError
	if errors.As(err, &bad) {
		bad.File = path
		return 0, nil, bad
	}
	if err != nil {
		return 0, nil, fmt.Errorf("%s: %w", path, err)
	}
	return version, payload, nil
}

func appendFrame(b []byte, version uint32, payload []byte) []byte {
	start := len(b)
	b = append(b, magic...)
	b = binary.LittleEndian.AppendUint32(b, frameFormat)
	b = binary.LittleEndian.AppendUint32(b, version)
	b = binary.LittleEndian.AppendUint64(b, uint64(len(payload)))
	b = append(b, payload...)
	return binary.LittleEndian.AppendUint32(b, checksum(b[start:]))
}

// parseFrame returns a payload that aliases data.
func parseFrame(data []byte) (version uint32, payload []byte, err error) {
	corrupt := func(off int, reason string) (uint32, []byte, error) {
		return 0, nil, &CorruptError{Offset: int64(off), Reason: reason}
	}
	body := len(data) - headSize - tailSize
	switch {
	case body < 0:
		return corrupt(len(data), "shorter than the frame")
	case checksum(data[:len(data)-tailSize]) != binary.LittleEndian.Uint32(data[len(data)-tailSize:]):
		return corrupt(len(data)-tailSize, "checksum differs")
	case !bytes.HasPrefix(data, []byte(magic)):
		return corrupt(0, "no state file")
	}
	if f := binary.LittleEndian.Uint32(data[8:]); f != frameFormat {
		return 0, nil, fmt.Errorf("frame %d: %w", f, ErrFormat)
	}
	if binary.LittleEndian.Uint64(data[16:]) != uint64(body) {
		return corrupt(16, "length differs from the file's")
	}
	return binary.LittleEndian.Uint32(data[12:]), data[headSize : headSize+body], nil
}

func checksum(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }
