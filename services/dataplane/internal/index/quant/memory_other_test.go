//go:build !linux

package quant

import (
	"testing"
	"time"
	"unsafe"
)

func floats(_ testing.TB, n int) []float32 { return make([]float32, n) }

func bytesOf(x []float32) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(x))), 4*len(x))
}

func cpuTime() time.Duration { return 0 }
