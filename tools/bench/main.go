// Command bench compares the product's float32 gather with the same in C, and its
// scan of contiguous rows with a plain read. The C never becomes a part of the
// product: this is a module of its own, the only one with cgo. Its path lies
// beside the kernels because they are internal.
//
//	make bench-kernel
//
// Every round runs all variants in a new order and counts the CPU time of the
// thread, so that other load on the machine hits all alike. A cell holds ns per
// row, 5th percentile and median, and how fast that is relative to "C near".
package main

/*
#cgo CFLAGS: -O3 -march=native
#include "gather.h"
*/
import "C"

import (
	"flag"
	"fmt"
	"log"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"unsafe"

	"github.com/pandodb/pando/services/dataplane/internal/kernel"
	"golang.org/x/sys/unix"
)

const rows = 32 // per list, like the neighbours of a node

// job is one round's work: lists of rows to compare.
type job struct {
	q, table, out []float32
	dim           int
	ids           []uint32
}

func (j job) product(m kernel.Metric) {
	t := kernel.Rows[float32]{Data: j.table, Stride: j.dim}
	for at := 0; at < len(j.ids); at += rows {
		m.GatherFloat32(j.q, t, j.ids[at:][:rows], j.out[at:][:rows])
	}
}

func (j job) args() (q, table *C.float, ids *C.uint32_t, lists, dim C.long, out *C.float) {
	return (*C.float)(&j.q[0]), (*C.float)(&j.table[0]), (*C.uint32_t)(&j.ids[0]), C.long(len(j.ids) / rows), C.long(j.dim), (*C.float)(&j.out[0])
}

type variant struct {
	name string
	run  func(j job)
}

// near and far: into which cache the next rows are fetched. apart: as far, but
// multiplication and addition are rounded one by one, as the product's are.
func variants(m kernel.Metric) []variant {
	if m == kernel.Dot {
		return []variant{
			{"C near", func(j job) { q, t, ids, lists, d, out := j.args(); C.dot_near(q, t, ids, lists, rows, d, d, out) }},
			{"C far", func(j job) { q, t, ids, lists, d, out := j.args(); C.dot_far(q, t, ids, lists, rows, d, d, out) }},
			{"C apart", func(j job) { q, t, ids, lists, d, out := j.args(); C.dot_apart(q, t, ids, lists, rows, d, d, out) }},
			{"product", func(j job) { j.product(m) }},
		}
	}
	return []variant{
		{"C near", func(j job) { q, t, ids, lists, d, out := j.args(); C.l2_near(q, t, ids, lists, rows, d, d, out) }},
		{"C far", func(j job) { q, t, ids, lists, d, out := j.args(); C.l2_far(q, t, ids, lists, rows, d, d, out) }},
		{"C apart", func(j job) { q, t, ids, lists, d, out := j.args(); C.l2_apart(q, t, ids, lists, rows, d, d, out) }},
		{"product", func(j job) { j.product(m) }},
	}
}

func main() {
	mb := flag.Int("mb", 1024, "MiB of rows in main memory")
	rounds := flag.Int("rounds", 60, "rounds per line of the table")
	flag.Parse()
	if *mb < 64 || *rounds < 1 {
		log.Fatal("-mb must be at least 64, -rounds at least 1")
	}
	runtime.LockOSThread()
	ram := huge(*mb << 18)
	for i := range ram {
		ram[i] = float32(i%17) - 8
	}
	fmt.Printf("%-5s %-3s %4s", "rows", "", "dim")
	for _, v := range variants(kernel.Dot) {
		fmt.Printf(" | %-23s", v.name)
	}
	fmt.Println()
	for _, where := range []struct {
		name   string
		floats int
	}{{"RAM", len(ram)}, {"8M", 8 << 18}, {"256K", 1 << 16}} {
		for _, metric := range []kernel.Metric{kernel.Dot, kernel.L2} {
			for _, dim := range []int{128, 384, 768, 1536} {
				line(where.name, metric, dim, ram[:where.floats], *rounds)
			}
		}
	}
	scans(ram, *rounds)
}

// line measures one line of the table.
func line(where string, metric kernel.Metric, dim int, table []float32, rounds int) {
	rng := rand.New(rand.NewPCG(1, uint64(dim)))
	vs := variants(metric)
	took := make([][]float64, len(vs))
	j := job{q: table[:dim], table: table, dim: dim, ids: make([]uint32, rows*max(8, 64*128/dim))}
	j.out = make([]float32, len(j.ids))
	for range rounds {
		for _, v := range rng.Perm(len(vs)) {
			for i := range j.ids {
				j.ids[i] = uint32(rng.IntN(len(table) / dim))
			}
			start := cpuTime()
			vs[v].run(j)
			took[v] = append(took[v], (cpuTime()-start)/float64(len(j.ids)))
		}
	}
	agree(vs, j)
	fmt.Printf("%-5s %-3s %4d", where, map[kernel.Metric]string{kernel.Dot: "dot", kernel.L2: "l2"}[metric], dim)
	for i := range vs {
		slices.Sort(took[i])
		at := func(v, q int) float64 { return took[v][len(took[v])*q/100] }
		fmt.Printf(" | %6.1f %6.1f %.2f %.2f", at(i, 5), at(i, 50), at(0, 5)/at(i, 5), at(0, 50)/at(i, 50))
	}
	fmt.Println()
}

// agree ends the program if a variant computes something else.
func agree(vs []variant, j job) {
	var want []float32
	for _, v := range vs {
		v.run(j)
		if want == nil {
			want = slices.Clone(j.out)
		}
		for i, x := range j.out {
			if math.Abs(float64(x-want[i])) > 1e-4*math.Abs(float64(want[i]))+1e-3 {
				log.Fatalf("%s: row %d is %v, not %v", v.name, i, x, want[i])
			}
		}
	}
}

// cpuTime of this thread, ns.
func cpuTime() float64 {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		log.Fatal(err)
	}
	return float64(t.Nano())
}

// huge gives n floats of their own, in huge pages where allowed.
func huge(n int) []float32 {
	mem, err := unix.Mmap(-1, 0, 4*n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		log.Fatal(err)
	}
	_ = unix.Madvise(mem, unix.MADV_HUGEPAGE)
	return unsafe.Slice((*float32)(unsafe.Pointer(&mem[0])), n)
}
