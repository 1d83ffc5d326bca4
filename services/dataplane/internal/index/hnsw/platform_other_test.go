//go:build !linux

package hnsw

import (
	"testing"
	"time"
)

func floats(_ testing.TB, n int) []float32 { return make([]float32, n) }

// cpu is not known here.
func cpu() time.Duration { return 0 }
