// Package failures counts requests that failed, by why.
package failures

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Counts are how many requests failed with each code.
type Counts map[codes.Code]int

// Note counts a failure.
func (c Counts) Note(err error) { c[status.Code(err)]++ }

// Add counts those of others as well.
func (c Counts) Add(others Counts) {
	for code, n := range others {
		c[code] += n
	}
}

// Sum is how many there were.
func (c Counts) Sum() (n int) {
	for _, m := range c {
		n += m
	}
	return n
}

// Reasons lists them behind a number: " (Unavailable 4)"; "" if there were none.
func (c Counts) Reasons() string {
	var out []string
	for _, code := range slices.Sorted(maps.Keys(c)) {
		out = append(out, fmt.Sprintf("%v %d", code, c[code]))
	}
	if len(out) == 0 {
		return ""
	}
	return " (" + strings.Join(out, ", ") + ")"
}
