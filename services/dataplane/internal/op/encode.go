package op

import (
	"encoding/binary"
	"errors"
	"math"
	"slices"

	"github.com/pandodb/pando/services/internal/topology"
)

// The first byte of every body. Each has one form only, so that equal contents
// have equal bytes: kindsVersion is that of bodies with a vector that is not dense.
const (
	bodyVersion  = 1
	kindsVersion = 2
)

// The greatest numbers of elements of a dense vector, of a multi-vector in all its
// rows, and of a sparse vector.
const (
	MaxVectorSize = 65536
	MaxMultiSize  = 1 << 20
	MaxSparseSize = 1 << 20
)

// What is wrong with bytes or operations.
var (
	ErrCorrupt  = errors.New("op: malformed bytes")
	ErrVersion  = errors.New("op: written by a newer version")
	ErrTooLarge = errors.New("op: one point does not fit into a log entry")
)

// Append adds the body of o: what Decode reads. o is in stored form.
func (o Op) Append(dst []byte) []byte {
	version := byte(bodyVersion)
	if slices.ContainsFunc(o.Points, func(p Point) bool { return slices.ContainsFunc(p.Vectors, Vector.other) }) {
		version = kindsVersion
	}
	dst = append(dst, version, byte(o.Kind))
	switch o.Kind {
	case Upsert, UpdateVectors:
		dst = binary.AppendUvarint(dst, uint64(len(o.Points)))
		for _, p := range o.Points {
			dst = appendVectors(p.ID.Append(dst), p.Vectors, version == kindsVersion)
			if o.Kind == Upsert {
				dst = appendBytes(dst, p.Payload)
			}
		}
	case SetPayload, OverwritePayload:
		dst = appendGroups(dst, o.Groups)
	case EditPayload:
		dst = appendNames(appendGroups(dst, o.Groups), o.Names)
	case Delete, ClearPayload:
		dst = appendIDs(dst, o.IDs)
	case DeletePayload, DeleteVectors:
		dst = appendNames(appendIDs(dst, o.IDs), o.Names)
	case Config:
		dst = appendBytes(binary.AppendUvarint(dst, o.Revision), o.Settings)
	case Floor:
		dst = binary.LittleEndian.AppendUint64(dst, uint64(o.Floor))
	case Merge:
		dst = binary.AppendUvarint(dst, uint64(len(o.Parts)))
		for _, p := range o.Parts {
			dst = binary.AppendUvarint(dst, uint64(p))
		}
	case EpochStart, Mark, Seal:
	}
	return dst
}

func appendBytes[T ~[]byte | ~string](dst []byte, b T) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(b))), b...)
}

func appendGroups(dst []byte, groups []Group) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(groups)))
	for _, g := range groups {
		dst = appendBytes(appendIDs(dst, g.IDs), g.Payload)
	}
	return dst
}

func appendNames(dst []byte, names []string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(names)))
	for _, n := range names {
		dst = appendBytes(dst, n)
	}
	return dst
}

func appendIDs(dst []byte, ids []topology.PointID) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(ids)))
	for _, id := range ids {
		dst = id.Append(dst)
	}
	return dst
}

// appendVectors adds the count of vectors and each one's name and contents: kind
// and value, or size and elements alone where all are dense.
func appendVectors(dst []byte, vs []Vector, kinds bool) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(vs)))
	for _, v := range vs {
		dst = appendBytes(dst, v.Name)
		if kinds {
			dst = AppendValue(dst, v)
		} else {
			dst = AppendFloats(dst, v.Data)
		}
	}
	return dst
}

// The first byte of a value.
const (
	denseValue = iota
	sparseValue
	multiValue
)

// other tells a vector that is not dense.
func (v Vector) other() bool { return v.Indices != nil || v.Count > 0 }

// AppendValue adds the kind of a vector and what it holds: what Reader.Value reads.
// Of ascending indices the distances are written.
func AppendValue(dst []byte, v Vector) []byte {
	switch {
	case v.Indices != nil:
		dst = binary.AppendUvarint(append(dst, sparseValue), uint64(len(v.Indices)))
		next := uint64(0)
		for _, i := range v.Indices {
			dst = binary.AppendUvarint(dst, uint64(i)-next)
			next = uint64(i) + 1
		}
		return appendElements(dst, v.Data)
	case v.Count > 0:
		return AppendFloats(binary.AppendUvarint(append(dst, multiValue), uint64(v.Count)), v.Data)
	}
	return AppendFloats(append(dst, denseValue), v.Data)
}

// AppendFloats adds the count of elements and the elements.
func AppendFloats(dst []byte, data []float32) []byte {
	return appendElements(binary.AppendUvarint(dst, uint64(len(data))), data)
}

// appendElements adds elements as IEEE 754 little-endian.
func appendElements(dst []byte, data []float32) []byte {
	for _, f := range data {
		dst = binary.LittleEndian.AppendUint32(dst, math.Float32bits(f))
	}
	return dst
}

// The sizes of encoded parts.

func uvarintSize(n int) int {
	size := 1
	for ; n >= 0x80; n >>= 7 {
		size++
	}
	return size
}

func bytesSize(n int) int { return uvarintSize(n) + n }

func pointSize(p Point) int {
	n := topology.PointIDSize + uvarintSize(len(p.Vectors)) + bytesSize(len(p.Payload))
	for _, v := range p.Vectors {
		n += bytesSize(len(v.Name)) + valueSize(v)
	}
	return n
}

// valueSize counts the kind, which bodies of dense vectors lack.
func valueSize(v Vector) int {
	n := 1 + uvarintSize(len(v.Data)) + 4*len(v.Data)
	if v.Count > 0 {
		n += uvarintSize(v.Count)
	}
	next := 0
	for _, i := range v.Indices {
		n += uvarintSize(int(i) - next)
		next = int(i) + 1
	}
	return n
}

func namesSize(names []string) int {
	n := uvarintSize(len(names))
	for _, s := range names {
		n += bytesSize(len(s))
	}
	return n
}

// Split cuts an operation into parts whose bodies are at most max bytes, in
// order; one that fits is its own only part. ErrTooLarge if a single point, or
// one payload with a single id, does not fit. The parts share o's memory.
func Split(o Op, max int) ([]Op, error) {
	const fixed = 2 + binary.MaxVarintLen32
	switch o.Kind {
	case Upsert, UpdateVectors:
		runs, err := cut(len(o.Points), max-fixed, func(i int) int { return pointSize(o.Points[i]) })
		return spread(runs, err, func(from, to int) Op { return Op{Kind: o.Kind, Points: o.Points[from:to]} })
	case SetPayload, OverwritePayload, EditPayload:
		return splitGroups(o, max-fixed-namesSize(o.Names))
	case Delete, ClearPayload, DeletePayload, DeleteVectors:
		room := max - fixed - namesSize(o.Names)
		runs, err := cut(len(o.IDs), room, func(int) int { return topology.PointIDSize })
		return spread(runs, err, func(from, to int) Op { return Op{Kind: o.Kind, IDs: o.IDs[from:to], Names: o.Names} })
	default:
		if len(o.Settings)+fixed+2*binary.MaxVarintLen64 > max {
			return nil, ErrTooLarge
		}
		return []Op{o}, nil
	}
}

// splitGroups first cuts groups by their ids, then packs the pieces.
func splitGroups(o Op, room int) ([]Op, error) {
	var pieces []Group
	for _, g := range o.Groups {
		own := room - binary.MaxVarintLen32 - bytesSize(len(g.Payload))
		runs, err := cut(len(g.IDs), own, func(int) int { return topology.PointIDSize })
		if err != nil {
			return nil, err
		}
		for i, from := range runs[:len(runs)-1] {
			pieces = append(pieces, Group{IDs: g.IDs[from:runs[i+1]], Payload: g.Payload})
		}
	}
	runs, err := cut(len(pieces), room, func(i int) int {
		return binary.MaxVarintLen32 + topology.PointIDSize*len(pieces[i].IDs) + bytesSize(len(pieces[i].Payload))
	})
	return spread(runs, err, func(from, to int) Op { return Op{Kind: o.Kind, Groups: pieces[from:to], Names: o.Names} })
}

// cut groups n items greedily into runs of at most room bytes; it gives the
// borders, 0 and n included.
func cut(n, room int, size func(int) int) ([]int, error) {
	borders, used := []int{0}, 0
	for i := range n {
		s := size(i)
		if s > room {
			return nil, ErrTooLarge
		}
		if used+s > room {
			borders, used = append(borders, i), 0
		}
		used += s
	}
	return append(borders, n), nil
}

func spread(borders []int, err error, part func(from, to int) Op) ([]Op, error) {
	if err != nil {
		return nil, err
	}
	var out []Op
	for i, from := range borders[:len(borders)-1] {
		out = append(out, part(from, borders[i+1]))
	}
	return out, nil
}
