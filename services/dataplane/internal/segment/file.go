package segment

import (
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/pandodb/pando/services/internal/vfs"
)

// What is wrong with files or descriptions. The error names file and offset.
var (
	ErrCorrupt = errors.New("segment: damaged")
	ErrVersion = errors.New("segment: written by a newer version")
	// ErrUnreadable: the disk does not give bytes that are there. It may pass.
	ErrUnreadable = errors.New("segment: the disk cannot read it")
)

// refused says what an error of the disk means for the file that is opened.
func refused(err error) error {
	if vfs.IsUnreadable(err) {
		return fmt.Errorf("%w: %w", ErrUnreadable, err)
	}
	return fmt.Errorf("segment: %w", err)
}

// Kind says what a file holds. Numbers are never reused.
type Kind uint8

// The kinds. Those up to KindVectors, and KindStages, make a segment; the others are
// artefacts.
const (
	KindIDs      Kind = iota + 1 // ids, ascending, and versions
	KindRows                     // where each row's payload and record end
	KindPayload                  // payloads
	KindRecords                  // points without payloads and without what KindVectors holds
	KindVectors                  // the dense vectors of one name
	KindGraph                    // links between rows
	KindCodes                    // quantized vectors
	KindPostings                 // inverted lists of the sparse vectors of one name
	KindMulti                    // the multi-vectors of one name
	KindFields                   // an index on a payload field
	KindStages                   // the stage of each row, if there is more than one
	kinds
)

// String is the ending of such files' names.
func (k Kind) String() string {
	names := [kinds]string{"", "ids", "rows", "payload", "records", "vectors", "graph", "codes", "postings", "multi", "fields", "stages"}
	if k == 0 || k >= kinds {
		return fmt.Sprintf("kind-%d", uint8(k))
	}
	return names[k]
}

// InSegment tells files of a segment from artefacts beside it, which can be made again.
func (k Kind) InSegment() bool { return k <= KindVectors || k == KindStages }

// sumSize is how much of the SHA-256 of a file names it.
const sumSize = 16

// File is one file of a segment, named by its contents.
type File struct {
	Kind Kind
	Name string // of the vectors, for KindVectors and artefacts
	Size int64  // in bytes
	Sum  [sumSize]byte
}

// FileName is the file's name in its folder: 32 hexadecimal digits and the kind.
func (f File) FileName() string { return hex.EncodeToString(f.Sum[:]) + "." + f.Kind.String() }

// parse reads a name that FileName made; Name and Size are not in it.
func parse(name string) (f File, ok bool) {
	stem, ending, _ := strings.Cut(name, ".")
	for k := Kind(1); k < kinds; k++ {
		if ending == k.String() {
			f.Kind = k
		}
	}
	if len(stem) != 2*sumSize {
		return f, false
	}
	_, err := hex.Decode(f.Sum[:], []byte(stem))
	return f, err == nil && f.FileName() == name
}

// Files that are being written have names of this form.
const (
	tempPrefix = "segment-"
	tempSuffix = ".tmp"
)

func isTemp(name string) bool {
	return strings.HasPrefix(name, tempPrefix) && strings.HasSuffix(name, tempSuffix)
}

// Clean removes every file of this package in dir that is not kept, those of
// interrupted writes included; other files stay. keep is given what a file's name
// tells: Kind and Sum; compare by FileName. Clean must not run while something writes
// there, nor before keep knows what was written.
func Clean(fsys vfs.FS, dir string, keep func(File) bool) error {
	names, err := fsys.List(dir)
	if err != nil {
		return err
	}
	removed := false
	for _, name := range names {
		f, ok := parse(name)
		if !isTemp(name) && (!ok || keep(f)) {
			continue
		}
		if err := fsys.Remove(filepath.Join(dir, name)); err != nil {
			return err
		}
		removed = true
	}
	if !removed {
		return nil
	}
	return vfs.SyncDir(fsys, dir)
}
