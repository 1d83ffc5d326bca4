//go:build !amd64

package kernel

import "unsafe"

// Without vector code of its own, a platform takes the law itself.

func (Metric) float32Vector(_, _ *float32, _, _ int, _ *uint32, _ int, _ *float32) bool { return false }

func (Metric) codeVector(_ bool, _, _ unsafe.Pointer, _, _ int, _ *uint32, _ int, _ *int64) bool {
	return false
}

func (Metric) float16Vector(_ *float32, _ *uint16, _, _ int, _ *uint32, _ int, _ *float32) bool {
	return false
}

func bitsVector(_ bitCount, _, _ *uint8, _, _ int, _ *uint32, _ int, _ *int64) bool { return false }

func (Levels) vector(_ *int8, _ *uint8, _, _ int, _ *uint32, _ int, _ *int64) bool { return false }

func (Metric) tableVector(_ *float32, _ int, _, _ *float32) bool { return false }

func elementsVector(_ bool, _, _ *float32, _ int) bool { return false }

func hadamardVector(*float32, int) bool { return false }

func leastVector(*uint32) int { return -1 }
