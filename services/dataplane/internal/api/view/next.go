package view

import (
	"fmt"
	"time"

	"github.com/pandodb/pando/services/internal/topology"
)

// Next says what happens to a replica next, or what it waits for; "" for one that
// is Active. It is derived from the map alone, so it is the same on every peer
// that has seen the same.
func Next(m *topology.Map, p topology.Placement, r topology.Replica, now time.Time) string {
	primary, _ := p.Replica(p.Primary)
	led := p.Primary != 0 && primary.State == topology.Active
	_, known := m.Peer(r.Peer)
	_, asked := m.Transfer(topology.Copy{Shard: p.Shard, To: r.Peer})
	switch {
	case r.State == topology.Active:
		return ""
	case !known:
		return "it is taken out: its peer was removed"
	case r.State == topology.Initializing:
		return fmt.Sprintf("it becomes Active when peer %d has made it", r.Peer)
	case p.ActiveCount() == 0:
		return "it waits for an Active replica to copy from, and none is left: one must return"
	case !led:
		return "it waits for the shard to have a primary again"
	case r.State == topology.Partial:
		return fmt.Sprintf("it becomes Active when it has all that peer %d has, proven by equal digests", p.Primary)
	case r.State != topology.Dead:
		return ""
	case r.RetryMs > now.UnixMilli():
		return fmt.Sprintf("it is copied from peer %d again, not before %s", p.Primary, time.UnixMilli(r.RetryMs).UTC().Format(time.TimeOnly))
	case asked:
		return fmt.Sprintf("it is copied from peer %d as soon as peer %d has made it", p.Primary, r.Peer)
	}
	return fmt.Sprintf("it is copied from peer %d as soon as both peers have been well for a while (one that comes and goes longer) and a transfer is free", p.Primary)
}
