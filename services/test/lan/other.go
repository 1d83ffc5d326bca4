//go:build !linux

package lan

import (
	"context"
	"os/exec"
)

// Net exists on Linux only.
type Net struct{}

// New fails with ErrNotHere.
func New(int) (*Net, error) { return nil, ErrNotHere }

// Begin fails with ErrNotHere.
func (*Net) Begin(int, *exec.Cmd) error { return ErrNotHere }

// Set does nothing.
func (*Net) Set(_, _ int, _ Link) {}

// Heal does nothing.
func (*Net) Heal() {}

// Close does nothing.
func (*Net) Close() error { return nil }

// Inside is never the case.
func Inside() bool { return false }

// Alone fails with ErrNotHere.
func Alone(context.Context, ...string) error { return ErrNotHere }

// Disk fails with ErrNotHere.
func Disk(string, int64) error { return ErrNotHere }
