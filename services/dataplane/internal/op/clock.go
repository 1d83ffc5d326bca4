package op

// counterBits is the width of the counter that breaks ties within a millisecond.
const counterBits = 16

// MakeHLC joins milliseconds since 1970 and a counter.
func MakeHLC(ms uint64, counter uint16) HLC { return HLC(ms<<counterBits | uint64(counter)) }

// Ms is the stamp's wall-clock part in milliseconds since 1970.
func (h HLC) Ms() uint64 { return uint64(h >> counterBits) }

// Counter is the stamp's counter within its millisecond.
func (h HLC) Counter() uint16 { return uint16(h) }

// Clock issues stamps (W4). It reads no time itself and is not safe for
// concurrent use. The zero Clock has seen nothing.
type Clock struct{ last HLC }

// Next gives a stamp above every stamp issued or observed before, and not below
// the wall clock. A counter that overflows runs into the next millisecond.
func (c *Clock) Next(wallMs uint64) HLC {
	c.last = max(c.last+1, MakeHLC(wallMs, 0))
	return c.last
}

// Observe raises the clock to a stamp that was seen elsewhere. Whoever calls it
// has already refused stamps too far ahead (P9).
func (c *Clock) Observe(h HLC) { c.last = max(c.last, h) }

// Last is the greatest stamp issued or observed.
func (c *Clock) Last() HLC { return c.last }
