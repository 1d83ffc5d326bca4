// Package op holds what a shard's operation log is made of: the entry with its
// place, stamp and identity (replication.md §1), and the operations that entry
// bodies carry. Bodies name explicit point ids and stored values only: whatever
// had to be evaluated was evaluated by the primary before the append (W3, W3a).
// It is pure; docs/format/op.md draws the bytes.
package op

import (
	"github.com/pandodb/pando/services/dataplane/internal/payload"
	"github.com/pandodb/pando/services/internal/topology"
)

// HLC is a hybrid logical clock stamp: 48 bits of milliseconds since 1970 and
// 16 bits of counter.
type HLC uint64

// LastPart marks the last or only part of an operation.
const LastPart uint32 = 0xFFFFFFFF

// ClientIndexBit is set in ID.Index when the 16 bytes came from a client's
// `pando-op-id`.
const ClientIndexBit uint32 = 1 << 31

// RetryWindowMS is how long a client may repeat an operation by its id: the floor, below
// which nobody does, lags by it (D2).
const RetryWindowMS = 15 * 60 * 1000

// ID names an operation over all its retries (W1): the request's 16 bytes, the
// operation's index in the request and the part of a split operation.
type ID struct {
	Request [16]byte
	Index   uint32
	Part    uint32
}

// Entry is one place of a shard's log. Body is opaque to log and protocol.
type Entry struct {
	topology.Term
	Seq    topology.Seq
	HLC    HLC
	Origin topology.PeerID
	ID     ID
	Body   []byte
}

// MaxBody is the greatest body in bytes; a larger operation is appended in parts.
const MaxBody = 16 << 20

// Kind numbers the operations in their binary form. Numbers are never reused.
type Kind uint8

// The operations of format version 1.
const (
	// EpochStart opens a (epoch, run) of a primary and changes nothing (C4).
	EpochStart Kind = iota + 1
	// Upsert replaces whole points.
	Upsert
	// Delete leaves tombstones.
	Delete
	// SetPayload sets top-level keys of the payload of each id.
	SetPayload
	// OverwritePayload replaces the payload part of each id.
	OverwritePayload
	// DeletePayload removes top-level keys.
	DeletePayload
	// ClearPayload removes the payload part.
	ClearPayload
	// UpdateVectors sets named vectors and keeps the others.
	UpdateVectors
	// DeleteVectors removes named vectors.
	DeleteVectors
	// Config brings schema settings of a revision into effect (W11).
	Config
	// Floor lets stamps, tombstones and dedup below a stamp be folded away (D2).
	Floor
	// Mark changes nothing; each replica remembers the digest of its state there,
	// so that replicas can be compared at one place of the log (C8).
	Mark
	// Seal ends the tail: its points become a part of their own, named by the entry's
	// seq, that only loses rows from then on.
	Seal
	// Merge makes one part, named by the entry's seq, of the living rows of others.
	Merge
	// EditPayload is SetPayload and DeletePayload in one.
	EditPayload
)

// Alone tells whether an entry of this kind is about more than the points that it names.
func (k Kind) Alone() bool { return k >= Config && k != EditPayload }

// Op is a decoded body. Which fields count is said by Kind:
//
//	Upsert            Points (ID, Vectors, Payload)
//	UpdateVectors     Points (ID, Vectors)
//	SetPayload,
//	OverwritePayload  Groups (IDs get Payload)
//	EditPayload       Groups (IDs get Payload and lose Names, which it does not hold)
//	Delete, ClearPayload            IDs
//	DeletePayload                   IDs, Names (top-level keys)
//	DeleteVectors                   IDs, Names (vector names)
//	Config            Revision, Settings
//	Floor             Floor
//	Merge             Parts, ascending
//	EpochStart, Mark, Seal  none
type Op struct {
	Kind     Kind
	Points   []Point
	Groups   []Group
	IDs      []topology.PointID
	Names    []string
	Revision uint64
	Settings []byte
	Floor    HLC
	Parts    []topology.Seq
}

// Point is a point in stored form: vectors normalised and converted, payload
// canonical. Vectors are sorted by name, names are unique.
type Point struct {
	ID      topology.PointID
	Vectors []Vector
	Payload payload.Doc
}

// Vector is one named vector; the default vector's name is "".
type Vector struct {
	Name string
	// Data are the elements: of one dense vector, of Count dense vectors one after
	// the other, or the weights that belong to Indices.
	Data []float32
	// Indices, if not nil, make it sparse: strictly ascending, one for each element.
	Indices []uint32
	// Count of a multi-vector; 0: it is none.
	Count int
}

// Group gives one payload to many points.
type Group struct {
	IDs     []topology.PointID
	Payload payload.Doc
}
