package replica

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"path/filepath"

	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/replica/core"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/vfs"
)

// StateFile keeps the small durable state in two equal slots of one file, both
// allocated when the file is made: a save is two writes in place, so a full disk
// cannot refuse it, and a torn or rotten slot leaves the other one.
//
//	slot  = magic u32 · crc32c u32 of the rest · generation u64 · length u32 · state
//	state = version u8 · ... see appendHard; little-endian, docs/format/replica-state.md
type StateFile struct {
	file vfs.File
	path string
	gen  uint64
}

const (
	slotSize    = 32 << 10
	slotHead    = 20
	slotMagic   = 0x54535250 // "PRST"
	hardVersion = 1
)

// What a state file can be wrong with.
var (
	// ErrStateCorrupt: no slot can be read, and one was written once.
	ErrStateCorrupt = errors.New("replica state is corrupt")
	// ErrStateVersion: written by a later version.
	ErrStateVersion = errors.New("replica state is of a newer format")
)

// OpenState opens the state in path, made if missing, and reads what was saved
// last; the zero state if nothing was.
func OpenState(fsys vfs.FS, path string) (*StateFile, core.Hard, error) {
	f, err := fsys.OpenReadWrite(path)
	if err != nil {
		return nil, core.Hard{}, err
	}
	s := &StateFile{file: f, path: path}
	h, err := s.load()
	if err == nil {
		err = vfs.SyncDir(fsys, filepath.Dir(path))
	}
	if err != nil {
		return nil, core.Hard{}, errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
	}
	return s, h, nil
}

func (s *StateFile) load() (core.Hard, error) {
	b := make([]byte, 2*slotSize)
	n, err := s.file.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return core.Hard{}, err
	}
	var best core.Hard
	blank, torn := 0, 0
	for i := range 2 {
		slot := b[i*slotSize : (i+1)*slotSize]
		if empty(slot) {
			blank++
			continue
		}
		gen, state, ok := parseSlot(slot)
		if !ok {
			torn++
			continue
		}
		h, err := decodeHard(state)
		if err != nil {
			return core.Hard{}, err
		}
		if gen > s.gen {
			s.gen, best = gen, h
		}
	}
	// The first save writes the first slot first: torn beside blank is one that
	// never returned.
	if s.gen == 0 && torn > 0 && (blank == 0 || empty(b[:slotSize])) {
		return core.Hard{}, ErrStateCorrupt
	}
	if n < len(b) { // new, or made by a process that died on the way
		if _, err := s.file.WriteAt(b[n:], int64(n)); err != nil {
			return core.Hard{}, err
		}
		if err := s.file.Sync(); err != nil {
			return core.Hard{}, err
		}
	}
	return best, nil
}

// Save returns when h is durable. After an error nobody knows which state a crash
// leaves; the replica must stop.
func (s *StateFile) Save(h core.Hard) error {
	b := make([]byte, slotHead, 512)
	b = appendHard(b, h)
	if len(b) > slotSize {
		return fmt.Errorf("%s: state of %d bytes is above %d", s.path, len(b), slotSize)
	}
	s.gen++
	le := binary.LittleEndian
	le.PutUint32(b, slotMagic)
	le.PutUint64(b[8:], s.gen)
	le.PutUint32(b[16:], uint32(len(b)-slotHead))
	le.PutUint32(b[4:], slotSum(b))
	for i := range int64(2) {
		if _, err := s.file.WriteAt(b, i*slotSize); err != nil {
			return fmt.Errorf("%s: %w", s.path, err)
		}
		if err := s.file.SyncData(); err != nil {
			return fmt.Errorf("%s: %w", s.path, err)
		}
	}
	return nil
}

// Close closes the file; nothing is pending.
func (s *StateFile) Close() error { return s.file.Close() }

func empty(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

func slotSum(b []byte) uint32 { return crc32.Checksum(b[8:], crc32.MakeTable(crc32.Castagnoli)) }

func parseSlot(b []byte) (gen uint64, state []byte, ok bool) {
	le := binary.LittleEndian
	if len(b) < slotHead || le.Uint32(b) != slotMagic {
		return 0, nil, false
	}
	n := int(le.Uint32(b[16:]))
	if n > len(b)-slotHead || slotSum(b[:slotHead+n]) != le.Uint32(b[4:]) {
		return 0, nil, false
	}
	return le.Uint64(b[8:]), b[slotHead : slotHead+n], true
}

// appendHard: version · incarnation · promised · run · commit · hlc bound ·
// pending (epoch, n, peers) · placement (collection, shard, epoch, primary, flags,
// n, replicas (peer, state, incarnation, since, reason)).
func appendHard(b []byte, h core.Hard) []byte {
	le := binary.LittleEndian
	u64 := func(vs ...uint64) {
		for _, v := range vs {
			b = le.AppendUint64(b, v)
		}
	}
	b = append(b, hardVersion)
	b = append(b, h.Incarnation[:]...)
	u64(uint64(h.Promised.Epoch), uint64(h.Promised.Run), uint64(h.Run), uint64(h.Commit), uint64(h.HLCBound))
	u64(uint64(h.Pending.Epoch), uint64(len(h.Pending.Peers)))
	for _, p := range h.Pending.Peers {
		u64(uint64(p))
	}
	p := h.Placement
	u64(uint64(p.Shard.Collection), uint64(p.Shard.ID), uint64(p.Epoch), uint64(p.Primary))
	var flags byte
	if p.Forced {
		flags |= 1
	}
	if p.Lost {
		flags |= 2
	}
	b = append(b, flags)
	u64(uint64(len(p.Replicas)))
	for _, r := range p.Replicas {
		u64(uint64(r.Peer))
		b = append(b, byte(r.State))
		b = append(b, r.Incarnation[:]...)
		u64(uint64(r.SinceMs))
		reason := r.Reason[:min(len(r.Reason), 255)]
		b = append(append(b, byte(len(reason))), reason...)
	}
	return b
}

// hardReader reads fields until the bytes end; then everything is zero and bad.
type hardReader struct {
	b   []byte
	bad bool
}

func (r *hardReader) take(n int) []byte {
	if n > len(r.b) {
		r.bad, r.b = true, nil
		return make([]byte, n)
	}
	out := r.b[:n]
	r.b = r.b[n:]
	return out
}

func (r *hardReader) u64() uint64 { return binary.LittleEndian.Uint64(r.take(8)) }
func (r *hardReader) byte() byte  { return r.take(1)[0] }

// count reads a number of elements of at least size bytes each.
func (r *hardReader) count(size int) int {
	n := r.u64()
	if n > uint64(len(r.b)/size) {
		r.bad = true
		return 0
	}
	return int(n)
}

func decodeHard(b []byte) (core.Hard, error) {
	r := &hardReader{b: b}
	var h core.Hard
	if v := r.byte(); v != hardVersion {
		return h, fmt.Errorf("%w: %d", ErrStateVersion, v)
	}
	h.Incarnation = topology.Incarnation(r.take(16))
	h.Promised = topology.Term{Epoch: topology.Epoch(r.u64()), Run: topology.Run(r.u64())}
	h.Run, h.Commit, h.HLCBound = topology.Run(r.u64()), topology.Seq(r.u64()), op.HLC(r.u64())
	h.Pending.Epoch = topology.Epoch(r.u64())
	for range r.count(8) {
		h.Pending.Peers = append(h.Pending.Peers, topology.PeerID(r.u64()))
	}
	p := &h.Placement
	p.Shard = topology.Shard{Collection: topology.CollectionID(r.u64()), ID: topology.ShardID(r.u64())}
	p.Epoch, p.Primary = topology.Epoch(r.u64()), topology.PeerID(r.u64())
	flags := r.byte()
	p.Forced, p.Lost = flags&1 != 0, flags&2 != 0
	for range r.count(8 + 1 + 16 + 8 + 1) {
		m := topology.Replica{Peer: topology.PeerID(r.u64()), State: topology.ReplicaState(r.byte())}
		m.Incarnation = topology.Incarnation(r.take(16))
		m.SinceMs = int64(r.u64())
		m.Reason = string(r.take(int(r.byte())))
		p.Replicas = append(p.Replicas, m)
	}
	if r.bad || len(r.b) != 0 || flags > 3 {
		return core.Hard{}, fmt.Errorf("%w: %d bytes", ErrStateCorrupt, len(b))
	}
	return h, nil
}
