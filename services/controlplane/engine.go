package controlplane

import (
	"context"
	"errors"
	"fmt"
	"time"

	placementv1 "github.com/pandodb/pando/gen/go/pando/placement/v1"
	"github.com/pandodb/pando/services/controlplane/internal/member"
	"github.com/pandodb/pando/services/controlplane/internal/seats"
	"github.com/pandodb/pando/services/controlplane/internal/store"
	"github.com/pandodb/pando/services/controlplane/internal/view"
	"github.com/pandodb/pando/services/internal/book"
	"github.com/pandodb/pando/services/internal/links"
	"github.com/pandodb/pando/services/internal/topology"
)

// engineStatus is what an engine knows of the members.
type engineStatus struct {
	term    uint64
	leader  uint64 // member id
	self    uint64
	members []member.Info
}

func (s *Service) book() book.Book {
	if s.deps.Links == nil {
		return book.Book{}
	}
	return s.deps.Links.Book()
}

// status names the members by the peers in their processes, as far as the book knows them. The leader has looked at all members;
// others know which processes they cannot connect to.
func (s *Service) status() *placementv1.StatusResponse {
	st, known := s.engine.status(), s.book()
	up, even, leads := map[uint64]bool{}, "", false
	if loop := s.seats.Load(); loop != nil {
		up, even, leads = loop.Seen()
	}
	var failing map[string]links.Failure
	if s.deps.Links != nil {
		failing = s.deps.Links.Failing()
	}
	resp := &placementv1.StatusResponse{Term: st.term, Even: even}
	voters := 0
	for _, m := range st.members {
		a, _ := known.Lookup(m.Process)
		if m.ID == st.leader {
			resp.Leader = uint64(a.Peer)
		}
		if !m.Learner {
			voters++
		}
		_, fails := failing[m.Process]
		resp.Members = append(resp.Members, &placementv1.Member{PeerId: uint64(a.Peer), Name: m.Process, Learner: m.Learner,
			Reachable: m.ID == st.self || leads && up[m.ID] || !leads && !fails})
	}
	if !leads && voters > 0 && voters%2 == 0 {
		resp.Even = fmt.Sprintf("%d voters: the leader knows what is awaited", voters)
	}
	return resp
}

// seating is what the loop that keeps the number of voters odd works on, while this member runs.
func (s *Service) seating(m *member.Member) seats.Config {
	return seats.Config{
		Members: m,
		Leads: func() (bool, <-chan struct{}) {
			o, changed := m.Leader()
			return o.Mine, changed
		},
		Processes: s.processes,
		Census: func() (n int64, changed <-chan struct{}) {
			changed = s.view.Changed()
			s.view.Read(func(st *view.State) { n = st.Census })
			return n, changed
		},
		Look: func(ctx context.Context, process string, id uint64) (seats.Report, error) {
			conn, err := s.deps.Dial(process)
			if err != nil {
				return seats.Report{}, err
			}
			r, err := placementv1.NewMembersClient(conn).Look(ctx, &placementv1.LookRequest{Member: id})
			return seats.Report{Member: r.GetMember(), Applied: r.GetApplied(), Ready: r.GetReady(), Vacant: r.GetVacant()}, err
		},
		Gone: func(process string) error {
			if process == s.cfg.ID {
				return nil // it is about to find out
			}
			return s.deps.Links.Expel(process)
		},
		Logger: s.deps.Log,
	}
}

// processes lists those in the book. The peer of one that does not belong is absent by a read that sees all that was decided
// before, since the view of a new leader may be older than the book; whoever is marked as removed was looked up then.
func (s *Service) processes(ctx context.Context) ([]seats.Process, error) {
	var out []seats.Process
	for id, a := range s.book().Entries() {
		p := seats.Process{ID: id, Belongs: true}
		s.view.Read(func(st *view.State) {
			_, p.Belongs = st.Peers[a.Peer]
			_, p.Alive = st.Sessions[a.Peer]
		})
		if !p.Belongs && !a.Removed && a.Peer != 0 {
			_, err := store.Load[store.Peer](ctx, s.records, store.PeerKey(a.Peer))
			if err != nil && !errors.Is(err, store.ErrNotFound) {
				return nil, err
			}
			p.Belongs = err == nil
		}
		out = append(out, p)
	}
	return out, nil
}

// list reads the members of the control plane linearizably.
func (s *Service) list(ctx context.Context) ([]member.Info, error) {
	if m, _ := s.seat.slot.Get(); m != nil {
		return m.List(ctx)
	}
	return nil, member.ErrStopped
}

// errLastMember: somebody has to keep the records.
var errLastMember = errors.New("its member is the only one that votes")

// removeMember waits until the process of a peer that does not belong any more has no member: the leader's loop removes it, after
// it has handed over if it led itself.
func (s *Service) removeMember(ctx context.Context, peer topology.PeerID) error {
	for {
		resp, err := s.seat.ask(ctx) // wherever they are known: the member here may be on its way out as well
		has := false
		for _, m := range resp.GetMembers() {
			a, _ := s.book().Lookup(m.GetProcess())
			has = has || a.Peer == peer
		}
		switch {
		case err == nil && !has:
			return nil
		case len(resp.GetMembers()) == 1:
			return errLastMember
		}
		if !pause(ctx, nil, removePoll) {
			return errors.Join(ctx.Err(), err)
		}
	}
}

// removePoll is how soon the end of a member is seen.
const removePoll = 50 * time.Millisecond
