// Package timing holds the waits of the replication protocol (replication.md §15).
package timing

import (
	"fmt"

	"github.com/pandodb/pando/services/internal/topology"
)

// Timing holds the waits of replication.md §15, in milliseconds of Time.Mono.
type Timing struct {
	// Deadline: a required follower that moves nothing for so long is reported Dead (C1).
	Deadline int64
	// Repeat: a follower that owes an answer is asked again.
	Repeat int64
	// Heartbeat: an idle follower hears from the primary.
	Heartbeat int64
	// Silence: a Partial that says nothing for so long is reported Dead.
	Silence int64
	// Serve is T_read: a replica that heard nothing for so long stops serving (R2).
	Serve int64
	// Detach is T_detach: a replica that heard neither another one that is required nor
	// the control plane for so long is detached (P1).
	Detach int64
	// Away: so long the floor waits for a replica that is not there (D2a).
	Away int64
	// Move: a handover that is not over by then is given up (C3b).
	Move int64
	// Compare: the Active replicas compare their states so often while clients write.
	Compare int64
	// Near is N of C8: so close behind, in entries, a Partial becomes required.
	Near topology.Seq
	// Window is how many bytes of entries may be on the way to one follower.
	Window int
}

// Default is that of replication.md §15.
func Default() Timing {
	return Timing{Deadline: 1000, Repeat: 300, Heartbeat: 2500, Silence: 10_000, Serve: 10_000, Detach: 5000, Away: 24 * 3600_000, Move: 1000, Compare: 20_000, Near: 1000, Window: 8 << 20}
}

// Validate says which wait does not fit the others.
func (t Timing) Validate() error {
	switch {
	case t.Repeat <= 0 || 2*t.Repeat >= t.Deadline:
		return fmt.Errorf("repeat %d ms must be positive and less than half of the deadline of %d ms", t.Repeat, t.Deadline)
	case 3*t.Heartbeat > t.Serve || t.Heartbeat <= 0:
		return fmt.Errorf("heartbeat %d ms must be positive and a third of the time to serve unheard, %d ms, at most", t.Heartbeat, t.Serve)
	case t.Detach < t.Deadline || t.Detach >= t.Serve:
		return fmt.Errorf("detach %d ms must be the deadline of %d ms at least, and less than the time to serve unheard, %d ms", t.Detach, t.Deadline, t.Serve)
	case t.Silence < 2*t.Heartbeat:
		return fmt.Errorf("silence %d ms must be two heartbeats of %d ms at least", t.Silence, t.Heartbeat)
	case t.Move <= 0 || t.Away <= 0 || t.Compare <= 0 || t.Near == 0 || t.Window <= 0:
		return fmt.Errorf("move %d ms, away %d ms, compare %d ms, near %d entries and window %d bytes must be positive", t.Move, t.Away, t.Compare, t.Near, t.Window)
	}
	return nil
}
