// Package arch is the rules of docs/architecture.md as a test: who may import whom, how big things may get, and what is
// not written here at all. It has no code of its own. A rule that a place has to break stands in exceptions_test.go
// with the reason; an exception that nothing needs any more fails the test as well.
package arch
