package oplog

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/pandodb/pando/services/dataplane/internal/line"
	"github.com/pandodb/pando/services/dataplane/internal/oplog/statefile"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/vfs"
)

const (
	chainName = "chain"
	// maxHistory bounds the terms kept from before the log's first entry.
	maxHistory = 1024
)

// chain is the contents of the file of that name: which segment files are the
// log. Every change of structure is one atomic replacement of it; a segment
// file that it does not name is rubbish.
type chain struct {
	log     [16]byte
	shard   topology.Shard
	serial  uint64 // of the next segment to be made
	floor   int64  // the last segment is durable up to here, if not further
	history []TermStart
	links   []link
}

// link is a segment of a chain. All but the last are sealed: every byte before
// end is a record, durable, and never changes.
type link struct {
	serial uint64
	first  topology.Seq
	last   topology.Seq // sealed only; first-1 = empty
	end    int64        // sealed only, offset behind the last record
}

func (k link) name() string { return fmt.Sprintf("%016x-%08x.log", uint64(k.first), k.serial) }

func (c *chain) encode() []byte {
	le := binary.LittleEndian
	b := append([]byte(nil), c.log[:]...)
	for _, v := range []uint64{uint64(c.shard.Collection), uint64(c.shard.ID), c.serial, uint64(c.floor),
		uint64(len(c.history)), uint64(len(c.links))} {
		b = le.AppendUint64(b, v)
	}
	for _, h := range c.history {
		b = le.AppendUint64(b, uint64(h.Epoch))
		b = le.AppendUint64(b, uint64(h.Run))
		b = le.AppendUint64(b, uint64(h.First))
	}
	for _, k := range c.links {
		for _, v := range []uint64{k.serial, uint64(k.first), uint64(k.last), uint64(k.end)} {
			b = le.AppendUint64(b, v)
		}
	}
	return b
}

var errChain = errors.New("contents make no chain")

func decodeChain(b []byte) (chain, error) {
	const head = 16 + 6*8
	if len(b) < head {
		return chain{}, errChain
	}
	c := chain{log: [16]byte(b)}
	b = b[16:]
	next := func() uint64 {
		v := binary.LittleEndian.Uint64(b)
		b = b[8:]
		return v
	}
	c.shard = topology.Shard{Collection: topology.CollectionID(next()), ID: topology.ShardID(next())}
	c.serial, c.floor = next(), int64(next())
	terms, links := next(), next()
	if terms > uint64(len(b)) || links > uint64(len(b)) || terms*24+links*32 != uint64(len(b)) {
		return chain{}, errChain
	}
	for range terms {
		term := topology.Term{Epoch: topology.Epoch(next()), Run: topology.Run(next())}
		c.history = append(c.history, TermStart{Term: term, First: topology.Seq(next())})
	}
	for range links {
		c.links = append(c.links, link{serial: next(), first: topology.Seq(next()), last: topology.Seq(next()), end: int64(next())})
	}
	return c, c.check()
}

// check refuses a chain with a gap, a serial used twice or a history out of order.
func (c *chain) check() error {
	if c.floor < 0 || !line.Ordered(c.history) {
		return errChain
	}
	for i, k := range c.links {
		sealed := i < len(c.links)-1
		switch {
		case k.serial >= c.serial, k.first == 0, i > 0 && k.serial <= c.links[i-1].serial:
			return errChain
		case i > 0 && k.first != c.links[i-1].last+1:
			return errChain
		case sealed && (k.end < segHead || k.last+1 < k.first):
			return errChain
		}
	}
	return nil
}

// store makes c the chain of dir. See statefile.Store for what an error means.
func (c *chain) store(fsys vfs.FS, path string) error {
	return statefile.Store(fsys, path, format, c.encode())
}

func loadChain(fsys vfs.FS, path string) (chain, error) {
	version, payload, err := statefile.Load(fsys, path)
	if err != nil {
		return chain{}, err
	}
	if version != format {
		return chain{}, fmt.Errorf("%s: chain %d: %w", path, version, statefile.ErrFormat)
	}
	c, err := decodeChain(payload)
	if err != nil {
		return chain{}, &CorruptError{File: path, Reason: err.Error()}
	}
	return c, nil
}

// pruneHistory drops the oldest terms that end before first, if there are too many.
func pruneHistory(h []TermStart, first topology.Seq) []TermStart {
	for len(h) > maxHistory && h[1].First < first {
		h = h[1:]
	}
	return h
}
