// Package api serves pando.placement.v1: Session, Catalog, Decisions and Members.
//
// Every member of the control plane serves all of it, whoever leads: a mutation is a transaction on the store, reads and
// waits use the member's view; reports alone go to the leader. It places no shards (reconcile does) and holds no state of its own
// but calls under way.
// This is the edge of the plane: here the sentinels of the packages below become faults.
package api

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"golang.org/x/sync/singleflight"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	placementv1 "github.com/pandodb/pando/gen/go/pando/placement/v1"
	"github.com/pandodb/pando/services/controlplane/internal/evidence"
	"github.com/pandodb/pando/services/controlplane/internal/messages"
	"github.com/pandodb/pando/services/controlplane/internal/store"
	"github.com/pandodb/pando/services/controlplane/internal/swap"
	"github.com/pandodb/pando/services/controlplane/internal/view"
	"github.com/pandodb/pando/services/internal/fault"
	"github.com/pandodb/pando/services/internal/topology"
)

// Desk takes observers' words in while this process leads; ok is false while it does not.
type Desk interface {
	Report(evidence.Report) (assignment evidence.Assignment, ok bool)
}

// Peers asks data peers.
type Peers interface {
	// Handover asks the primary of a shard to be succeeded, and comes back when it was.
	Handover(ctx context.Context, rec store.Shard, to topology.PeerID) error
}

// Config holds what the services work on.
type Config struct {
	Store   store.Store
	View    *view.View
	Members Members
	// Usable tells whether the member in this process runs, has caught up and knows a leader; nil = always. While it is not,
	// streams end and calls that would wait for long are refused, so that callers go to another member.
	Usable func() bool
	// ClusterID was minted when the cluster was founded.
	ClusterID func() string
	// Status answers what this member knows of the control plane.
	Status func() *placementv1.StatusResponse
	// Desk is the leader's, in this process; Leader reaches the process that leads.
	Desk   Desk
	Leader func() (placementv1.DecisionsClient, error)
	// Performer carries out what needs a replica's word; Peers hands shards over.
	Performer *swap.Performer
	Peers     Peers
	// RemoveMember takes the etcd member out that lives in the process of a removed peer; nil = there is none. A peer without a
	// member, or that is not known, is no error.
	RemoveMember func(ctx context.Context, peer topology.PeerID) error
	// Room fails while new records should be refused for want of disk space; nil = there is always room.
	Room func() error
	// ReportEvery is how often an observer reports at the latest, so that it hears of a new leader. 0 = 500 ms.
	ReportEvery time.Duration
	// SessionTTL is how long a session outlives its last KeepAlive. 0 = 1 s.
	SessionTTL time.Duration
	// NewID mints collection ids; random numbers that are never repeated.
	NewID  func() uint64
	Now    func() time.Time // nil = time.Now
	Logger *slog.Logger
}

// Server implements all services of the package.
type Server struct {
	cfg     Config
	flights singleflight.Group
}

// New makes a server. It starts nothing.
func New(cfg Config) *Server {
	if cfg.SessionTTL == 0 {
		cfg.SessionTTL = time.Second
	}
	if cfg.ReportEvery == 0 {
		cfg.ReportEvery = 500 * time.Millisecond
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.RemoveMember == nil {
		cfg.RemoveMember = func(context.Context, topology.PeerID) error { return nil }
	}
	if cfg.Room == nil {
		cfg.Room = func() error { return nil }
	}
	if cfg.RemoveMember == nil {
		cfg.RemoveMember = func(context.Context, topology.PeerID) error { return nil }
	}
	return &Server{cfg: cfg}
}

// One type per service, since methods of different services may be named alike.
type (
	session struct {
		placementv1.UnimplementedSessionServer
		*Server
	}
	catalog struct {
		placementv1.UnimplementedCatalogServer
		*Server
	}
	decisions struct {
		placementv1.UnimplementedDecisionsServer
		*Server
	}
	members struct {
		placementv1.UnimplementedMembersServer
		*Server
	}
)

// Register adds the services to a server.
func (s *Server) Register(r grpc.ServiceRegistrar) {
	placementv1.RegisterSessionServer(r, session{Server: s})
	placementv1.RegisterCatalogServer(r, catalog{Server: s})
	placementv1.RegisterDecisionsServer(r, decisions{Server: s})
	placementv1.RegisterMembersServer(r, members{Server: s})
}

// maxCall bounds a call that names no timeout of its own.
const maxCall = 10 * time.Second

// retryPause is the wait before a transaction that lost a race or found no quorum is decided anew.
const retryPause = 20 * time.Millisecond

// grow is coalesce for what makes the records grow: it is refused while the disk is full.
func grow[Req, Resp proto.Message](ctx context.Context, s *Server, method string, req Req, timeout time.Duration,
	fn func(ctx context.Context, req Req) (Resp, error),
) (Resp, error) {
	if err := s.cfg.Room(); err != nil {
		var none Resp
		return none, fault.Wrap(fault.DiskFull, err, "the disk of the control plane is full: it takes no new records until there is room")
	}
	return coalesce(ctx, s, method, req, timeout, fn)
}

// coalesce runs identical mutations that are under way at the same time once. The work is cut loose from the callers' contexts,
// so that one caller who goes away does not fail the others; it ends within the timeout and a grace.
func coalesce[Req, Resp proto.Message](ctx context.Context, s *Server, method string, req Req, timeout time.Duration,
	fn func(ctx context.Context, req Req) (Resp, error),
) (Resp, error) {
	var none Resp
	if err := s.ready(ctx); err != nil {
		return none, err
	}
	key, err := proto.MarshalOptions{Deterministic: true}.Marshal(req)
	if err != nil {
		return none, fault.Wrap(fault.Malformed, err, "the request cannot be encoded")
	}
	answer, err, shared := s.flights.Do(method+"\x00"+string(key), func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout+time.Second)
		defer cancel()
		return fn(ctx, req)
	})
	if err != nil {
		return none, edge(err)
	}
	resp, ok := answer.(Resp)
	if !ok {
		return none, fault.New(fault.Unspecified, "two methods share the name %s", method)
	}
	if shared { // each caller owns its answer
		resp, ok = proto.Clone(resp).(Resp)
		if !ok {
			return none, fault.New(fault.Unspecified, "clone of %s has another type", method)
		}
	}
	return resp, nil
}

// maxStart is how long a call waits for a member that is about to be there.
const maxStart = time.Second

// ready waits until this member knows the cluster. One that has lost its leader refuses at once: another one may have one.
func (s *Server) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, maxStart)
	defer cancel()
	select {
	case <-s.cfg.View.Ready():
	case <-ctx.Done():
		return fault.Wrap(fault.NoLeader, ctx.Err(), "the member of the control plane in this process has not caught up, or there is none")
	}
	if !s.usable() {
		return fault.New(fault.NoLeader, "the member of the control plane in this process has no leader")
	}
	return nil
}

func (s *Server) usable() bool { return s.cfg.Usable == nil || s.cfg.Usable() }

// errUnknown marks a transaction that may or may not have happened.
var errUnknown = errors.New("api: the outcome of the change is unknown")

// settle repeats try while it loses races. A try reads what it needs, decides, and commits. repeatable says that a try
// recognises its own earlier success, so that it may run again after an unknown outcome; otherwise that ends with errUnknown.
func (s *Server) settle(ctx context.Context, repeatable bool, try func(ctx context.Context) error) error {
	var last error // why it was tried again, which says more than that time ran out
	for {
		err := try(ctx)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, store.ErrConflict), errors.Is(err, store.ErrUnavailable) && repeatable:
			last = err
		case last != nil && ctx.Err() != nil:
			return last
		default:
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(retryPause):
		}
	}
}

// commit is the last act of a try that is not repeatable: from here on, no answer means an unknown outcome.
func (s *Server) commit(ctx context.Context, txn store.Txn) (int64, error) {
	revision, err := s.cfg.Store.Commit(ctx, txn)
	if errors.Is(err, store.ErrUnavailable) || (err != nil && ctx.Err() != nil) {
		return 0, errors.Join(errUnknown, err)
	}
	return revision, err
}

// edge turns what the packages below answer into faults. Faults pass unchanged.
func edge(err error) error {
	if f, ok := errors.AsType[*fault.Error](err); ok {
		return f
	}
	if r, ok := errors.AsType[*swap.Refusal](err); ok {
		return fault.Wrap(fault.ShardUnavailable, err, "%v; nothing was changed", r)
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errUnknown):
		return fault.Wrap(fault.WriteOutcomeUnknown, err, "no answer from the control plane's quorum in time: the change may or may not have happened")
	case errors.Is(err, store.ErrUnavailable):
		return fault.Wrap(fault.NoLeader, err, "the control plane has no leader or no quorum")
	case errors.Is(err, store.ErrConflict):
		return fault.Wrap(fault.Timeout, err, "Timeout error: other changes of the same record kept winning")
	case errors.Is(err, swap.ErrLast):
		return fault.Wrap(fault.InvalidArgument, err, "Wrong input: the shard must keep at least one active replica: %v", err)
	case errors.Is(err, store.ErrTooLarge):
		return fault.Wrap(fault.InvalidArgument, err, "Wrong input: the change is too large for one transaction")
	}
	return fault.From(err)
}

// clip bounds a text that a peer sends for people.
func clip(s string) string { return messages.Clip(s) }

// stamp is the time as records hold it.
func (s *Server) stamp() time.Time { return s.cfg.Now().UTC().Truncate(time.Millisecond) }
