package session

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"path/filepath"
	"time"

	placementv1 "github.com/pandodb/pando/gen/go/pando/placement/v1"
	"github.com/pandodb/pando/services/internal/vfs"
	"google.golang.org/protobuf/proto"
)

// The file: "PDOP" | version u32 | crc32c u32 of the rest | revision u64 |
// cluster id length u32 | cluster id | a placementv1.Delta with all records.
// All numbers are little-endian. It is written anew and renamed into place.
const (
	fileName    = "placement"
	fileMagic   = "PDOP"
	fileVersion = 1
	headerSize  = 12
)

// ErrDamaged reports a placement file whose bytes are not what was written.
var ErrDamaged = errors.New("damaged placement file")

// ErrVersion reports a placement file of another format version.
var ErrVersion = errors.New("placement file of an unknown version")

type keptPlacement struct {
	revision uint64
	cluster  string
	records  records
}

const (
	// keepPause gathers changes that follow each other closely into one write.
	keepPause = 100 * time.Millisecond
	// keepAgain is when a write that found the disk full is repeated.
	keepAgain = 5 * time.Second
)

// keep writes the placement to the disk soon after it changed, and at the end.
func (s *Session) keep(ctx context.Context) error {
	again := time.NewTicker(keepAgain)
	defer again.Stop()
	for {
		select {
		case <-s.save:
		case <-again.C: // writes nothing unless the disk was full
		case <-ctx.Done():
			return errors.Join(ctx.Err(), s.Flush())
		}
		select {
		case <-time.After(keepPause):
		case <-ctx.Done():
		}
		if err := s.Flush(); err != nil {
			return err
		}
	}
}

// Flush writes the placement if it changed since it was written last. A full
// disk is not an error here: the file stays as it was, and the next Flush tries
// again.
func (s *Session) Flush() error {
	s.mu.Lock()
	dirty, p := s.mu.dirty, keptPlacement{revision: s.mu.m.Revision(), cluster: s.mu.cluster}
	list := s.mu.records.list()
	s.mu.dirty = false
	s.mu.Unlock()
	if !dirty {
		return nil
	}
	b, err := encode(p, list)
	if err != nil {
		return err
	}
	err = vfs.WriteFileAtomic(s.o.FS, filepath.Join(s.o.Dir, fileName), b)
	full := vfs.IsNoSpace(err)
	s.mu.Lock()
	was := s.mu.full
	s.mu.full, s.mu.dirty = full, s.mu.dirty || full
	s.mu.Unlock()
	if full {
		err = nil
	}
	if full && !was {
		s.o.Log.Warn("disk full: the placement was not kept", "dir", s.o.Dir)
	}
	return err
}

func encode(p keptPlacement, list []*placementv1.Change) ([]byte, error) {
	b := make([]byte, headerSize, 4096)
	copy(b, fileMagic)
	binary.LittleEndian.PutUint32(b[4:], fileVersion)
	b = binary.LittleEndian.AppendUint64(b, p.revision)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(p.cluster)))
	b = append(b, p.cluster...)
	b, err := proto.MarshalOptions{}.MarshalAppend(b, &placementv1.Delta{Revision: p.revision, Changes: list})
	if err != nil {
		return nil, fmt.Errorf("placement: %w", err)
	}
	binary.LittleEndian.PutUint32(b[8:], crc32.Checksum(b[headerSize:], crc32.MakeTable(crc32.Castagnoli)))
	return b, nil
}

func decode(b []byte) (*keptPlacement, error) {
	if len(b) < headerSize+12 || string(b[:4]) != fileMagic {
		return nil, ErrDamaged
	}
	if v := binary.LittleEndian.Uint32(b[4:]); v != fileVersion {
		return nil, fmt.Errorf("version %d, this build reads %d: %w", v, fileVersion, ErrVersion)
	}
	if crc32.Checksum(b[headerSize:], crc32.MakeTable(crc32.Castagnoli)) != binary.LittleEndian.Uint32(b[8:]) {
		return nil, ErrDamaged
	}
	p := &keptPlacement{revision: binary.LittleEndian.Uint64(b[headerSize:]), records: records{}}
	n := uint64(binary.LittleEndian.Uint32(b[headerSize+8:]))
	rest := b[headerSize+12:]
	if n > uint64(len(rest)) {
		return nil, ErrDamaged
	}
	p.cluster = string(rest[:n])
	var d placementv1.Delta
	if err := proto.Unmarshal(rest[n:], &d); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	for _, c := range d.GetChanges() {
		p.records.apply(c)
	}
	return p, nil
}

// load gives nil when there is no file.
func load(fsys vfs.FS, dir string) (*keptPlacement, error) {
	name := filepath.Join(dir, fileName)
	b, err := vfs.ReadFile(fsys, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("placement kept at %s: %w", name, err)
	}
	p, err := decode(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w; remove it to fetch the placement from the control plane", name, err)
	}
	return p, nil
}
