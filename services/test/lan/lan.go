// Package lan is a network of its own for processes on this machine: every host has a network namespace with one
// interface, and a switch in this program carries each frame between them. So any link can be cut, in one direction
// too, slowed down or made to lose frames, while it is in use; neither bridge nor firewall nor traffic control of the
// kernel is needed, only its namespaces and TAP devices. Alone makes sure that nothing of it outlives the program.
//
// It is not a model of a network: frames are those of the kernel's own TCP.
package lan

import (
	"errors"
	"net/netip"
	"time"
)

// Link is what happens to frames from one host to another. The zero value carries them at once.
type Link struct {
	Cut           bool
	Delay, Jitter time.Duration // of each frame; the jitter is added, up to so much
	Loss          float64       // share of frames that are lost
}

// Addr is the address of a host.
func Addr(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 1)}) }

// ErrNotHere: this system does not let the program make namespaces.
var ErrNotHere = errors.New("no namespaces of its own")
