package controlplane

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"

	placementv1 "github.com/pandodb/pando/gen/go/pando/placement/v1"
	"github.com/pandodb/pando/services/controlplane/internal/book"
	"github.com/pandodb/pando/services/controlplane/internal/member"
	"github.com/pandodb/pando/services/controlplane/internal/reconcile"
)

// engineStatus is what an engine knows of the members.
type engineStatus struct {
	term    uint64
	leader  uint64 // member id
	self    uint64
	members []member.Info
}

// etcdEngine is a member of a real cluster.
type etcdEngine struct{ *member.Member }

// run runs the member and, once it is ready, work. The member outlives work; work ends with the member.
func (e etcdEngine) run(ctx context.Context, work func(context.Context) error) error {
	memberCtx, stopMember := context.WithCancel(context.WithoutCancel(ctx))
	workCtx, stopWork := context.WithCancel(ctx)
	defer stopMember()
	defer stopWork()
	var group errgroup.Group
	group.Go(func() error {
		defer stopWork()
		return e.Member.Run(memberCtx)
	})
	group.Go(func() error {
		defer stopMember()
		select {
		case <-e.Ready():
			return work(workCtx)
		case <-workCtx.Done():
			return nil
		}
	})
	return group.Wait()
}

func (e etcdEngine) office() (reconcile.Office, <-chan struct{}) {
	o, changed := e.Leader()
	return reconcile.Office{Term: o.Term, Member: o.Leader, Mine: o.Mine}, changed
}

func (e etcdEngine) clusterID() string {
	if id := e.ClusterID(); id != 0 {
		return fmt.Sprintf("%016x", id)
	}
	return ""
}

func (e etcdEngine) status() engineStatus {
	o, _ := e.Leader()
	return engineStatus{term: o.Term, leader: o.Leader, self: e.MemberID(), members: e.Members()}
}

// status names the members by the peers in their processes, as far as the book knows them.
func (s *Service) status() *placementv1.StatusResponse {
	st, peers := s.engine.status(), map[string]book.Address{}
	for _, a := range s.engine.Book().Entries() {
		if a.Member != "" {
			peers[a.Member] = a
		}
	}
	resp := &placementv1.StatusResponse{Term: st.term}
	for _, m := range st.members {
		peer := uint64(peers[m.Name].Peer)
		if m.ID == st.leader {
			resp.Leader = peer
		}
		// What is reachable is known of this process and, if it follows somebody, of the leader.
		reachable := m.ID == st.self || m.ID == st.leader
		resp.Members = append(resp.Members, &placementv1.Member{PeerId: peer, Name: m.Name, Learner: m.Learner, Reachable: reachable})
	}
	return resp
}
