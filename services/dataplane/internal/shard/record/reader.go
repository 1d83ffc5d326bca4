package record

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/internal/topology"
)

// Sink takes the records of a copy as they come. What it is given is lent for the
// call.
type Sink interface {
	Record(k Kind, key, value []byte) error
}

// Reader takes a copy apart that arrives in pieces of any size. It keeps no more
// than one record that has not arrived whole. It sees to order, count and checksum;
// digest and stored forms are the sink's matter.
type Reader struct {
	head  Head
	sink  Sink
	rest  []byte // of a record that began in an earlier piece
	sum   uint32
	last  Kind
	key   []byte // of the last record of that kind
	n     uint64
	ended bool
	err   error // sticks
}

// NewReader begins behind a head, given as h and as its bytes.
func NewReader(h Head, bytes []byte, to Sink) *Reader {
	return &Reader{head: h, sink: to, sum: checksum(0, bytes)}
}

// Write takes the next piece. Errors: op.ErrCorrupt for bytes that make no copy,
// and the sink's. After an error it takes nothing more.
func (r *Reader) Write(b []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	n := len(b)
	if len(r.rest) > 0 {
		r.rest = append(r.rest, b...)
		b = r.rest
	}
	left, err := r.records(b)
	if r.err = err; err != nil {
		return 0, err
	}
	r.rest = append(r.rest[:0], left...)
	return n, nil
}

// Ended tells whether the end has come.
func (r *Reader) Ended() bool { return r.ended }

// Close tells whether the copy is whole.
func (r *Reader) Close() error {
	if r.err == nil && !r.ended {
		r.err = fmt.Errorf("%w: the copy ends after %d records", op.ErrCorrupt, r.n)
	}
	return r.err
}

// records takes the whole records at the front of b and gives back the rest.
func (r *Reader) records(b []byte) ([]byte, error) {
	for len(b) > 0 {
		if r.ended {
			return nil, fmt.Errorf("%w: %d bytes after the end of the copy", op.ErrCorrupt, len(b))
		}
		k := Kind(b[0])
		size, w := binary.Uvarint(b[1:])
		switch {
		case k == 0 || k > endKind || k < r.last:
			return nil, fmt.Errorf("%w: record of kind %d after one of kind %d", op.ErrCorrupt, k, r.last)
		case w == 0 && len(b) <= binary.MaxVarintLen32:
			return b, nil
		case w <= 0, w > 1 && b[w] == 0, size > MaxSize, k == Dedup && size != op.IDSize+appliedSize, k == endKind && size != endSize:
			return nil, fmt.Errorf("%w: size of a record of kind %d", op.ErrCorrupt, k)
		case uint64(len(b)-1-w) < size:
			return b, nil
		}
		whole := b[:1+w+int(size)]
		if err := r.record(k, whole[1+w:]); err != nil {
			return nil, err
		}
		r.sum = checksum(r.sum, whole)
		b = b[len(whole):]
	}
	return nil, nil
}

func (r *Reader) record(k Kind, body []byte) error {
	if k == endKind {
		return r.end(body)
	}
	n := k.keySize()
	if len(body) < n {
		return fmt.Errorf("%w: record of %d bytes", op.ErrCorrupt, len(body))
	}
	if k == r.last && bytes.Compare(body[:n], r.key) <= 0 {
		return fmt.Errorf("%w: records out of order", op.ErrCorrupt)
	}
	r.last, r.key = k, append(r.key[:0], body[:n]...)
	r.n++
	if k == Dedup {
		if err := r.dedup(body); err != nil {
			return err
		}
	}
	return r.sink.Record(k, body[:n:n], body[n:])
}

func (r *Reader) dedup(body []byte) error {
	id, err := op.DecodeID(body[:op.IDSize])
	if err != nil {
		return err
	}
	a := Applied{Seq: topology.Seq(binary.LittleEndian.Uint64(body[op.IDSize:])), HLC: op.HLC(binary.LittleEndian.Uint64(body[op.IDSize+8:]))}
	if a.Seq == 0 || a.Seq > r.head.Seq || a.HLC > r.head.HLC || id.Request == [16]byte{} {
		return fmt.Errorf("%w: dedup entry of seq %d in a copy at %d", op.ErrCorrupt, a.Seq, r.head.Seq)
	}
	return nil
}

func (r *Reader) end(body []byte) error {
	n, sum := binary.LittleEndian.Uint64(body), binary.LittleEndian.Uint32(body[8:])
	switch {
	case n != r.n:
		return fmt.Errorf("%w: %d records came of %d", op.ErrCorrupt, r.n, n)
	case sum != r.sum:
		return fmt.Errorf("%w: checksum of the copy differs", op.ErrCorrupt)
	}
	r.ended = true
	return nil
}
