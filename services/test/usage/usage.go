// Package usage tells what a process has used, as /proc does.
package usage

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Usage is resident memory in MB and CPU time in seconds.
type Usage struct{ RSS, CPU float64 }

// ticks is the unit of time in /proc/<pid>/stat: USER_HZ, 100 on every Linux that Go runs on.
const ticks = 100

// Of a process, its threads included.
func Of(pid int) (Usage, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return Usage{}, err
	}
	_, after, _ := strings.Cut(string(stat), ") ") // the name may hold anything
	f := strings.Fields(after)
	if len(f) < 22 {
		return Usage{}, fmt.Errorf("/proc/%d/stat has %d fields", pid, len(f))
	}
	var n [3]float64
	for i, at := range []int{11, 12, 21} { // utime, stime, rss: fields 14, 15, 24 of proc(5)
		if n[i], err = strconv.ParseFloat(f[at], 64); err != nil {
			return Usage{}, err
		}
	}
	return Usage{RSS: n[2] * float64(os.Getpagesize()) / 1e6, CPU: (n[0] + n[1]) / ticks}, nil
}
