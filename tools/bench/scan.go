package main

/*
#include "gather.h"
*/
import "C"

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"unsafe"

	"github.com/pandodb/pando/services/dataplane/internal/kernel"
)

const scanned = 16 << 20 // bytes per measurement, of a table many times as large

// scans prints how fast contiguous rows are compared beside a plain read of the
// same bytes, GB/s and share: medians.
func scans(ram []float32, rounds int) {
	codes := unsafe.Slice((*uint8)(unsafe.Pointer(&ram[0])), 4*len(ram))
	fmt.Println("\nscan  dim | stream | dot float32 | l2 float32 |   dot uint8 |    l2 uint8")
	for _, dim := range []int{128, 384, 768, 1536} {
		floats, wide := make([]float32, scanned/4/dim), make([]int64, scanned/dim)
		float := func(m kernel.Metric) func(at int) {
			return func(at int) {
				m.Float32(ram[:dim], kernel.Rows[float32]{Data: ram[at/4:][:scanned/4], Stride: dim}, floats)
			}
		}
		code := func(m kernel.Metric) func(at int) {
			return func(at int) {
				m.Uint8(codes[:dim], kernel.Rows[uint8]{Data: codes[at:][:scanned], Stride: dim}, wide)
			}
		}
		vs := []func(at int){
			func(at int) { C.stream(unsafe.Pointer(&codes[at]), scanned) },
			float(kernel.Dot), float(kernel.L2), code(kernel.Dot), code(kernel.L2),
		}
		speed := make([][]float64, len(vs))
		for range rounds {
			for _, v := range rand.Perm(len(vs)) {
				at := rand.IntN(len(codes)/scanned) * scanned
				start := cpuTime()
				vs[v](at)
				speed[v] = append(speed[v], scanned/(cpuTime()-start))
			}
		}
		fmt.Printf("%9d", dim)
		median := func(v int) float64 { slices.Sort(speed[v]); return speed[v][rounds/2] }
		fmt.Printf(" | %6.1f", median(0))
		for v := 1; v < len(vs); v++ {
			fmt.Printf(" | %5.1f %.2f ", median(v), median(v)/median(0))
		}
		fmt.Println()
	}
}
