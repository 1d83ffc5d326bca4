package api

import (
	"context"

	placementv1 "github.com/pandodb/pando/gen/go/pando/placement/v1"
	"github.com/pandodb/pando/services/controlplane/internal/book"
	"github.com/pandodb/pando/services/internal/fault"
	"github.com/pandodb/pando/services/internal/topology"
)

// Exchange merges the caller's book into ours and answers what we know better.
func (s addresses) Exchange(_ context.Context, req *placementv1.ExchangeRequest) (*placementv1.ExchangeResponse, error) {
	theirs := make(map[string]book.Address, len(req.GetEntries()))
	for _, e := range req.GetEntries() {
		if e.GetId() == "" || e.GetAddress() == "" {
			return nil, fault.BadInput("an address book entry needs an id and an address")
		}
		theirs[e.GetId()] = book.Address{
			Addr: e.GetAddress(), Generation: e.GetGeneration(), Peer: topology.PeerID(e.GetPeerId()), Member: e.GetMemberName(),
		}
	}
	changed, err := s.cfg.Book.Learn(book.New(theirs))
	if err != nil {
		return nil, edge(err)
	}
	for _, name := range changed {
		s.cfg.Logger.Info("process moved", "process", name, "address", theirs[name].Addr)
	}
	resp := &placementv1.ExchangeResponse{}
	for name, a := range s.cfg.Book.Book().Entries() {
		if known, ok := theirs[name]; ok && known == a {
			continue
		}
		resp.Entries = append(resp.Entries, &placementv1.BookEntry{
			Id: name, Address: a.Addr, Generation: a.Generation, PeerId: uint64(a.Peer), MemberName: a.Member,
		})
	}
	return resp, nil
}
