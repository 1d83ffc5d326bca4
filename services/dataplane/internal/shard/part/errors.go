package part

import (
	"errors"
	"fmt"
)

// What is wrong with a request.
var (
	ErrDimension  = errors.New("wrong vector dimension")
	ErrVectorName = errors.New("no such vector name")
	ErrNotFinite  = errors.New("vector element is NaN or infinite")
	// ErrNoIndex: the replica has no index that could answer. One that the collection
	// asks for may be about to come.
	ErrNoIndex = errors.New("no index on the payload field that could answer")
)

// DimensionError is ErrDimension with its particulars.
type DimensionError struct {
	Name      string
	Want, Got int
}

func (e *DimensionError) Error() string {
	return fmt.Sprintf("%v: vector %q has %d elements, expected %d", ErrDimension, e.Name, e.Got, e.Want)
}

func (e *DimensionError) Unwrap() error { return ErrDimension }

// VectorNameError is ErrVectorName with the name.
type VectorNameError struct{ Name string }

func (e *VectorNameError) Error() string { return fmt.Sprintf("%v: %q", ErrVectorName, e.Name) }

func (e *VectorNameError) Unwrap() error { return ErrVectorName }
