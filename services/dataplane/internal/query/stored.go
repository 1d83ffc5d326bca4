package query

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/pandodb/pando/services/dataplane/internal/kernel"
	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/query/turbo"
)

// What is wrong with a vector.
var (
	ErrVector    = errors.New("malformed vector")
	ErrNotFinite = errors.New("vector element is NaN or infinite")
)

// ErrNotBuilt reports a read that an engine does not know how to answer yet.
var ErrNotBuilt = errors.New("not built yet")

// DimensionError reports a vector of another length than the schema's.
type DimensionError struct {
	Name      string
	Want, Got int
}

func (e *DimensionError) Error() string {
	return fmt.Sprintf("vector %q has %d elements, expected %d", e.Name, e.Got, e.Want)
}

// Unwrap makes it an ErrVector.
func (e *DimensionError) Unwrap() error { return ErrVector }

// Fits tells whether a stored vector has the shape of the schema. Errors: ErrVector,
// DimensionError.
func (s VectorSchema) Fits(v op.Vector) error {
	switch kind, rows := s.Kind, max(1, v.Count); {
	case kind == Sparse && (v.Indices == nil || len(v.Indices) != len(v.Data)), kind != Sparse && v.Indices != nil, (kind == Multi) != (v.Count > 0):
		return fmt.Errorf("%w: %q is of another kind in the schema", ErrVector, v.Name)
	case kind != Sparse && len(v.Data) != rows*s.Size:
		return &DimensionError{Name: v.Name, Want: s.Size, Got: len(v.Data) / rows}
	}
	return nil
}

// Stored checks a vector and brings it into stored form (W3a): the indices of a
// sparse one ascend; each row of others is normalised for Cosine, where a zero
// vector stays one, and rounded to the datatype. Bytes are cut off and never
// normalised: Cosine divides by their lengths. The result is in memory of its own
// where it differs. Errors: ErrVector, ErrNotFinite, DimensionError.
func (s VectorSchema) Stored(v op.Vector) (op.Vector, error) {
	for _, x := range v.Data {
		if math.Float32bits(x)&0x7F800000 == 0x7F800000 {
			return v, fmt.Errorf("%w: vector %q", ErrNotFinite, v.Name)
		}
	}
	if s.Kind == Sparse {
		return ascending(v)
	}
	rows := 1
	switch {
	case v.Indices != nil, v.Count > 0 && s.Kind != Multi:
		return v, fmt.Errorf("%w: %q is of another kind in the schema", ErrVector, v.Name)
	case s.Kind == Multi:
		if rows = v.Count; rows < 1 || len(v.Data) > op.MaxMultiSize || len(v.Data)%rows != 0 {
			return v, fmt.Errorf("%w: multi vector %q of %d rows and %d elements", ErrVector, v.Name, v.Count, len(v.Data))
		}
	}
	if len(v.Data) != rows*s.Size {
		return v, &DimensionError{Name: v.Name, Want: s.Size, Got: len(v.Data) / rows}
	}
	cosine := s.Distance == Cosine && s.Datatype != Uint8
	if !cosine && s.Datatype == Float32 {
		return v, nil
	}
	v.Data = slices.Clone(v.Data)
	if cosine {
		for row := range slices.Chunk(v.Data, s.Size) {
			kernel.Normalize(row)
		}
	}
	if s.Datatype != Turbo4 {
		return v, s.Datatype.round(v.Data)
	}
	if s.Kind != Dense || s.Distance == Manhattan {
		return v, fmt.Errorf("%w: %q: turbo4 holds dense vectors, compared by Cosine, Dot or Euclid", ErrVector, s.Name)
	}
	return v, roundTurbo(v.Data)
}

// ascending sorts a sparse vector by its indices, which are unique.
func ascending(v op.Vector) (op.Vector, error) {
	if v.Indices == nil || len(v.Indices) != len(v.Data) || len(v.Data) > op.MaxSparseSize {
		return v, fmt.Errorf("%w: sparse vector %q of %d indices and %d values", ErrVector, v.Name, len(v.Indices), len(v.Data))
	}
	if !slices.IsSorted(v.Indices) {
		v.Indices, v.Data = sorted(v.Indices, v.Data)
	}
	for i := 1; i < len(v.Indices); i++ {
		if v.Indices[i-1] == v.Indices[i] {
			return v, fmt.Errorf("%w: sparse vector %q has index %d twice", ErrVector, v.Name, v.Indices[i])
		}
	}
	return v, nil
}

// sorted orders pairs by index, in memory of its own. The pairs are sorted as
// numbers: an index above the bits of its weight.
func sorted(indices []uint32, weights []float32) ([]uint32, []float32) {
	pairs := make([]uint64, len(indices))
	for i, x := range indices {
		pairs[i] = uint64(x)<<32 | uint64(math.Float32bits(weights[i]))
	}
	slices.Sort(pairs)
	indices, weights = make([]uint32, len(pairs)), make([]float32, len(pairs))
	for i, p := range pairs {
		indices[i], weights[i] = uint32(p>>32), math.Float32frombits(uint32(p))
	}
	return indices, weights
}

// MaxFloat16 is the greatest number of Float16.
const MaxFloat16 = 65504

// round makes each element one that d can hold. ErrVector where there is none near.
func (d Datatype) round(data []float32) error {
	for i, x := range data {
		switch {
		case d == Uint8 && x >= 0 && x <= math.MaxUint8:
			data[i] = float32(uint8(x))
		case d == Uint8:
			return fmt.Errorf("%w: element %d is %v, uint8 holds 0 to 255", ErrVector, i, x)
		case d == Float16 && (x > MaxFloat16 || x < -MaxFloat16):
			return fmt.Errorf("%w: element %d is %v, float16 holds -%d to %d", ErrVector, i, x, MaxFloat16, MaxFloat16)
		}
	}
	if d == Float16 {
		halves := make([]uint16, len(data))
		kernel.Narrow(halves, data)
		kernel.Widen(data, halves)
	}
	return nil
}

// roundTurbo makes v what Turbo4 keeps of it. ErrVector where it is too long.
func roundTurbo(v []float32) error {
	for i, x := range v {
		if x > turbo.MaxElement || x < -turbo.MaxElement {
			return fmt.Errorf("%w: element %d is %v, turbo4 holds -%g to %g", ErrVector, i, x, turbo.MaxElement, turbo.MaxElement)
		}
	}
	if err := turbo.New(len(v)).Round(v, &turbo.Scratch{}); err != nil {
		return fmt.Errorf("%w: %w", ErrVector, err)
	}
	return nil
}
