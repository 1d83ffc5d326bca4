package provisional

import (
	"maps"
	"slices"

	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/replica/core/message"
	"github.com/pandodb/pando/services/internal/topology"
)

// Debts are operations that others, or a primary itself, want to know committed (P6).
type Debts []debt

type debt struct {
	to  topology.PeerID
	id  op.ID
	seq topology.Seq
}

// Owe notes that a peer is to be told when an operation is committed at its place.
func (d *Debts) Owe(to topology.PeerID, id op.ID, at topology.Seq) {
	if x := (debt{to, id, at}); !slices.Contains(*d, x) {
		*d = append(*d, x)
	}
}

// Refuse forgets those at places from one on: they are in no log.
func (d *Debts) Refuse(from topology.Seq) {
	*d = slices.DeleteFunc(*d, func(x debt) bool { return x.seq >= from })
}

// Settle gives what is to be told now that all up to a place is committed, by peers.
func (d *Debts) Settle(upto topology.Seq) (out []message.Envelope) {
	if len(*d) == 0 {
		return nil
	}
	tell := map[topology.PeerID][]message.Settled{}
	*d = slices.DeleteFunc(*d, func(x debt) bool {
		if x.seq <= upto {
			tell[x.to] = append(tell[x.to], message.Settled{ID: x.id, Seq: x.seq})
		}
		return x.seq <= upto
	})
	for _, p := range slices.Sorted(maps.Keys(tell)) {
		out = append(out, message.Envelope{To: p, Message: message.Reconciled{Settled: tell[p]}})
	}
	return out
}
