//go:build !linux

package hnsw

import "testing"

func floats(_ testing.TB, n int) []float32 { return make([]float32, n) }
