package part

import (
	"errors"
	"fmt"
)

// What is wrong with a request.
var (
	ErrVectorName = errors.New("no such vector name")
	// ErrNoIndex: the replica has no index that could answer. One that the collection
	// asks for may be about to come.
	ErrNoIndex = errors.New("no index on the payload field that could answer")
)

// VectorNameError is ErrVectorName with the name.
type VectorNameError struct{ Name string }

func (e *VectorNameError) Error() string { return fmt.Sprintf("%v: %q", ErrVectorName, e.Name) }

func (e *VectorNameError) Unwrap() error { return ErrVectorName }
