//go:build !amd64

package kernel

// Without vector code of its own, a platform takes the law itself.

func (Metric) float32Vector(_, _ *float32, _, _ int, _ *uint32, _ int, _ *float32) bool { return false }
