package swap

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/pandodb/pando/services/controlplane/internal/placement"
	"github.com/pandodb/pando/services/controlplane/internal/store"
	"github.com/pandodb/pando/services/internal/topology"
)

// Kind says what a swap was for, in metrics and logs.
type Kind string

// The kinds.
const (
	Birth    Kind = "birth"    // replicas that were made become Active (C0)
	Failover Kind = "failover" // another primary, since the old one is Dead or there is none (C3)
	Died     Kind = "dead"     // a replica is marked Dead (C1, C2)
	Handover Kind = "handover" // another primary, at the old one's word (C3b)
	Return   Kind = "return"   // a Dead replica begins to be copied (C7)
	Promote  Kind = "promote"  // a copy became Active (C8)
	Grow     Kind = "grow"     // a replica enters
	Drop     Kind = "drop"     // a replica goes
	Abort    Kind = "abort"    // a copy was ended, or is begun anew, by request
	Force    Kind = "force"    // a replica became Active that may lack what was acknowledged (F1)
)

// Plan is a swap that marks Active replicas Dead, takes them out or moves the primary. It is carried out only at the word of the
// replica that is the primary afterwards (C2a).
type Plan struct {
	Kind   Kind
	Was    store.Versioned[store.Shard]
	Copies Copies
	Dead   map[topology.PeerID]string // to be marked Dead, and why
	Out    []topology.PeerID          // to be taken out
	To     topology.PeerID            // becomes primary; 0 = the present one if it stays, else the best of those that confirm
	End    []topology.PeerID          // receivers of transfers that end
	If     []store.Cond               // compared too
	// Anyway: an operator's word. Without a confirmation the swap leaves the shard without a primary, for now or for good.
	Anyway bool
	// Force: To becomes Active, whatever it lacks, and those that were are Dead (F1).
	Force bool
}

func (p Plan) stays(peer topology.PeerID) bool {
	r := p.Was.Record.Replica(peer)
	_, dead := p.Dead[peer]
	return r != nil && r.State == store.Active && !dead && !slices.Contains(p.Out, peer)
}

// Heirs are the replicas of which one must confirm itself: the primary that stays, or all that may become it.
func (p Plan) Heirs() []topology.PeerID {
	switch {
	case p.To != 0:
		return []topology.PeerID{p.To}
	case p.stays(p.Was.Record.Primary):
		return []topology.PeerID{p.Was.Record.Primary}
	}
	return slices.DeleteFunc(p.Was.Record.Actives(), func(peer topology.PeerID) bool { return !p.stays(peer) })
}

// Moves tells whether the shard has another primary afterwards, or none.
func (p Plan) Moves() bool { return p.To != 0 || !p.stays(p.Was.Record.Primary) }

// Draft is the plan with the heir that confirmed itself; 0 = nobody did.
func (p Plan) Draft(heir topology.PeerID, at time.Time) *Draft {
	d := New(p.Was, p.Copies, at)
	for peer, why := range p.Dead {
		d.Set(peer, store.Dead, why)
	}
	for _, peer := range p.Out {
		d.Out(peer)
	}
	for _, to := range p.End {
		d.End(to)
	}
	if p.Anyway {
		d.Lose()
	}
	d.Lead(heir)
	if p.Force {
		d.Force(heir)
	}
	return d
}

// Answer is what a replica says to a Confirm.
type Answer struct {
	Peer        topology.PeerID
	Incarnation store.Incarnation
	Epoch       topology.Epoch // of the placement that it holds
	Session     store.LeaseID  // of its peer
	Last        topology.Term
	LastSeq     topology.Seq
}

// check tells why an answer does not count under a record.
func (a Answer) check(rec store.Shard) error {
	switch r := rec.Replica(a.Peer); {
	case r == nil || a.Incarnation != r.Incarnation:
		return errors.New("it has another incarnation than the recorded one")
	case a.Epoch != rec.Epoch:
		return fmt.Errorf("it is at epoch %d, the record at %d", a.Epoch, rec.Epoch)
	case a.Session == 0:
		return errors.New("it has no session")
	}
	return nil
}

// Asker asks a peer, with a fresh nonce, what it holds of a shard, and hands it the record.
type Asker interface {
	Confirm(ctx context.Context, peer topology.PeerID, rec store.Shard) (Answer, error)
}

var errEmpty = errors.New("it is empty")

// Refusal: nobody confirmed itself. Nothing was changed.
type Refusal struct {
	Shard topology.ShardID
	Why   map[topology.PeerID]error // by heir that was asked
}

func (r *Refusal) Error() string {
	var whys []string
	for _, p := range slices.Sorted(maps.Keys(r.Why)) {
		whys = append(whys, fmt.Sprintf("peer %d: %v", p, r.Why[p]))
	}
	if len(whys) == 0 {
		whys = []string{"none of them has a live session and is held alive"}
	}
	return fmt.Sprintf("no other Active replica of shard %d confirms itself: %s", r.Shard, strings.Join(whys, "; "))
}

// Performer carries plans out. It is safe for concurrent use.
type Performer struct {
	Ask Asker
	// Within is T_confirm: a swap is issued within it of the sending of the Confirm. 0 = 300 ms.
	Within time.Duration
	Now    func() time.Time
	// Swapped and Unconfirmed count, for metrics; nil = not.
	Swapped     func(Kind)
	Unconfirmed func()
}

// Commit writes a transaction, or tells why not.
type Commit func(context.Context, store.Txn) (int64, error)

// Done is a change that was written.
type Done struct {
	Shard    store.Shard
	Revision int64
}

// Write commits a draft that needs nobody's word.
func (p *Performer) Write(ctx context.Context, kind Kind, d *Draft, commit Commit, also ...store.Cond) (Done, error) {
	txn, err := d.Txn(also...)
	if err != nil {
		return Done{}, err
	}
	revision, err := commit(ctx, txn)
	if err == nil && p.Swapped != nil {
		p.Swapped(kind)
	}
	return Done{Shard: d.Now, Revision: revision}, err
}

// Do asks the heirs, or those of them that the caller thinks worth asking, chooses, and commits in time. *Refusal, ErrLast: nothing was
// changed. store.ErrConflict: the record or a session changed, or the answer came too late to act on: decide anew.
func (p *Performer) Do(ctx context.Context, plan Plan, heirs []topology.PeerID, commit Commit) (Done, error) {
	if len(plan.Heirs()) == 0 && !plan.Anyway {
		return Done{}, fmt.Errorf("shard %d: %w", plan.Was.Record.Shard, ErrLast)
	}
	sent := time.Now()
	answers, whys := p.ask(ctx, heirs, plan.Was.Record)
	conds, heir := plan.If, topology.PeerID(0)
	switch {
	case len(answers) > 0:
		best := choose(plan.Was.Record, answers)
		if plan.Force && best.LastSeq == 0 {
			return Done{}, &Refusal{Shard: plan.Was.Record.Shard, Why: map[topology.PeerID]error{best.Peer: errEmpty}}
		}
		heir, conds = best.Peer, append(slices.Clone(conds), store.Leased(store.SessionKey(best.Peer), best.Session))
	case !plan.Anyway:
		if p.Unconfirmed != nil {
			p.Unconfirmed()
		}
		return Done{}, &Refusal{Shard: plan.Was.Record.Shard, Why: whys}
	}
	if heir != 0 && time.Since(sent) >= p.within() {
		return Done{}, fmt.Errorf("shard %d: confirmed too long ago: %w", plan.Was.Record.Shard, store.ErrConflict)
	}
	return p.Write(ctx, plan.Kind, plan.Draft(heir, p.Now()), commit, conds...)
}

func (p *Performer) within() time.Duration {
	if p.Within == 0 {
		return 300 * time.Millisecond
	}
	return p.Within
}

// choose prefers the longest log. Every one of them has every committed entry.
func choose(rec store.Shard, answers []Answer) Answer {
	candidates := make([]placement.Candidate, len(answers))
	for i, a := range answers {
		candidates[i] = placement.Candidate{Peer: a.Peer, Last: a.Last, LastSeq: a.LastSeq}
	}
	best := placement.Primary(rec.Collection, rec.Shard, candidates)
	return answers[slices.IndexFunc(answers, func(a Answer) bool { return a.Peer == best })]
}

// ask sends a Confirm to all heirs at once. Once one has answered well, the others are waited for only a little longer: one that
// hangs must not use up the time in which the swap may be issued.
func (p *Performer) ask(ctx context.Context, heirs []topology.PeerID, rec store.Shard) ([]Answer, map[topology.PeerID]error) {
	type reply struct {
		Answer
		peer topology.PeerID
		err  error
	}
	ctx, cancel := context.WithTimeout(ctx, p.within())
	defer cancel()
	replies := make(chan reply, len(heirs))
	for _, peer := range heirs {
		go func() {
			a, err := p.Ask.Confirm(ctx, peer, rec)
			if a.Peer = peer; err == nil {
				err = a.check(rec)
			}
			replies <- reply{a, peer, err}
		}()
	}
	var answers []Answer
	var enough <-chan time.Time
	whys := map[topology.PeerID]error{}
	for open := len(heirs); open > 0; {
		select {
		case r := <-replies:
			if open--; r.err != nil {
				whys[r.peer] = r.err
				continue
			}
			answers = append(answers, r.Answer)
			enough = time.After(p.within() / 6)
		case <-enough:
			cancel() // the rest come back at once, and are not counted
			for ; open > 0; open-- {
				<-replies
			}
		}
	}
	return answers, whys
}
