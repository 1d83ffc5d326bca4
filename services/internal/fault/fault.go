// Package fault is the one error type that leaves a process: a machine-readable reason, a gRPC code, a text for people
// and a few named facts.
//
// It is for edges only (api, peer, controlplane/api, rest, rpc). Everything below them owns sentinels and wraps them
// with %w; the edge decides which Reason a sentinel is. From there one table (reason.go) decides the gRPC code and the
// HTTP status, so that both protocols and every service answer alike. Callers compare reasons, never texts.
//
// A fault travels as a gRPC status with one google.rpc.ErrorInfo detail {Domain, reason, meta}; FromStatus reads it
// back on the other side without loss.
package fault

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Domain is the ErrorInfo domain of every reason in pando.cluster.v1.Reason.
const Domain = "pando.dev"

// Keys of Meta that the transports know about. All other keys are only shown.
const (
	// MetaRetryAfter holds whole seconds, rounded up; it becomes gRPC metadata and the HTTP header of that name.
	MetaRetryAfter = "retry-after"
	// MetaMethod names a gRPC method as package.Service/Method.
	MetaMethod = "method"
	// MetaRerouted names, in the failure of a shard that did not take a write since it may
	// belong elsewhere, the revision of the settings that the shard knows.
	MetaRerouted = "rerouted"
	// MetaCollection names a collection.
	MetaCollection = "collection"
)

// Error is an error with everything that a caller may decide by. Treat it as immutable once returned.
type Error struct {
	// Reason is what callers compare.
	Reason Reason
	// Code is the gRPC code; constructors take it from the table.
	Code codes.Code
	// Msg is for people. It never holds vectors, payloads or keys.
	Msg string
	// Meta holds named facts for programs: {"collection": "c", "shard": "3"}. Nil when there are none.
	Meta map[string]string

	cause error
}

// New builds an error for r; code and HTTP status come from the table.
func New(r Reason, format string, args ...any) *Error {
	return &Error{Reason: r, Code: rowOf(r).code, Msg: fmt.Sprintf(format, args...)}
}

// Wrap is New with a cause that errors.Is and errors.As can still see. The cause stays in this process: its text is
// not sent unless the caller puts it into the message.
func Wrap(r Reason, cause error, format string, args ...any) *Error {
	e := New(r, format, args...)
	e.cause = cause
	return e
}

// With returns a copy that carries one more fact.
func (e *Error) With(key, value string) *Error {
	c := *e
	c.Meta = make(map[string]string, len(e.Meta)+1)
	maps.Copy(c.Meta, e.Meta)
	c.Meta[key] = value
	return &c
}

func (e *Error) Error() string { return e.Msg }

// Unwrap gives the cause, which exists only in the process where the error was made.
func (e *Error) Unwrap() error { return e.cause }

// Is makes errors.Is(err, fault.New(r, "")) true for any error of reason r.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Reason == e.Reason
}

// GRPCStatus is what grpc and status.FromError look for, also through %w.
func (e *Error) GRPCStatus() *status.Status {
	st := status.New(e.Code, e.Msg)
	if e.Reason == Unspecified && len(e.Meta) == 0 {
		return st
	}
	detailed, err := st.WithDetails(&errdetails.ErrorInfo{Reason: Name(e.Reason), Domain: Domain, Metadata: e.Meta})
	if err != nil { // only for code OK, which no row of the table has
		return st
	}
	return detailed
}

// From turns any error into an Error, so that an edge can answer it: an Error anywhere in the chain is kept (with the
// wrapping text as message), a gRPC status is decoded, the end of a context becomes Timeout or the code Canceled, and
// anything else is an internal error. From(nil) is nil.
func From(err error) *Error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*Error](err); ok {
		if err == error(e) {
			return e
		}
		return &Error{Reason: e.Reason, Code: e.Code, Msg: err.Error(), Meta: e.Meta, cause: err}
	}
	if s, ok := errors.AsType[interface {
		error
		GRPCStatus() *status.Status
	}](err); ok {
		e := FromStatus(s.GRPCStatus())
		if e != nil {
			e.cause = err
			return e
		}
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return Wrap(Timeout, err, "Timeout error: %v", err)
	case errors.Is(err, context.Canceled):
		return &Error{Code: codes.Canceled, Msg: "the caller has gone away", cause: err}
	}
	return Wrap(Unspecified, err, "Service internal error: %v", err)
}

// FromStatus reads the reason and the facts back out of a status. Without an ErrorInfo of our domain the reason is
// Unspecified and the code stands alone. A nil status or one of code OK gives nil.
func FromStatus(st *status.Status) *Error {
	if st == nil || st.Code() == codes.OK {
		return nil
	}
	e := &Error{Code: st.Code(), Msg: st.Message()}
	for _, d := range st.Details() {
		info, ok := d.(*errdetails.ErrorInfo)
		if !ok || info.GetDomain() != Domain {
			continue
		}
		e.Reason = parseName(info.GetReason())
		if len(info.GetMetadata()) > 0 {
			e.Meta = info.GetMetadata()
		}
		break
	}
	return e
}

// ReasonOf is the reason of err after From; Unspecified for nil and for errors that have none.
func ReasonOf(err error) Reason {
	if e := From(err); e != nil {
		return e.Reason
	}
	return Unspecified
}

// HTTPStatus is the HTTP status of err: by its reason where it has one, by its gRPC code otherwise; 200 for nil.
func HTTPStatus(err error) int {
	e := From(err)
	if e == nil {
		return 200
	}
	// A sender may override the code (a newer peer, a narrower case): then the code decides, not the reason's row.
	if r := rowOf(e.Reason); e.Reason != Unspecified && r.code == e.Code {
		return r.http
	}
	return httpOfCode(e.Code)
}

// OnlyCanceled says whether err tells nothing but that its maker was told to end: context.Canceled, wrapped or not,
// or a join of nothing else. Any other error beside it makes the answer no.
func OnlyCanceled(err error) bool {
	if err == nil {
		return false
	}
	switch e := err.(type) {
	case interface{ Unwrap() []error }:
		for _, part := range e.Unwrap() {
			if !OnlyCanceled(part) {
				return false
			}
		}
		return true
	case interface{ Unwrap() error }:
		return OnlyCanceled(e.Unwrap())
	}
	return err == context.Canceled
}
