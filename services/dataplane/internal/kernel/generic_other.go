//go:build !amd64

package kernel

// Without vector code of its own, a platform takes the law itself.

func dotVector(_, _, _ []float32) bool { return false }
func l2Vector(_, _, _ []float32) bool  { return false }
func l1Vector(_, _, _ []float32) bool  { return false }
