// Package percentile picks values out of samples. It keeps nothing.
package percentile

import "cmp"

// Of gives the p-th percentile of sorted values by nearest rank; zero if there are none.
func Of[T cmp.Ordered](sorted []T, p int) T {
	if len(sorted) == 0 {
		var zero T
		return zero
	}
	return sorted[min(len(sorted)-1, (len(sorted)*p+99)/100-1)]
}
