//go:build !linux

package kernel

import "testing"

func beforeFault[E any](_ testing.TB, n int) []E { return make([]E, n) }

func fromRAM[E any](_ testing.TB, n int) []E { return make([]E, n) }
