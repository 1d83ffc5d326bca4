package suite

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	placementv1 "github.com/pandodb/pando/gen/go/pando/placement/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/pandodb/pando/services/controlplane"
	"github.com/pandodb/pando/services/internal/boot"
	"github.com/pandodb/pando/services/internal/fault"
	"github.com/pandodb/pando/services/internal/links"
	"github.com/pandodb/pando/services/internal/rpc"
)

const (
	// standingFile and bookFile lie in the data folder.
	standingFile = "membership.json"
	bookFile     = "book.json"
	// joinWithin bounds one attempt at one address; joinAgain is the pause before all are tried once more.
	joinWithin = 5 * time.Second
	joinAgain  = 250 * time.Millisecond
)

func dirOf(file string) string { return filepath.Dir(file) }

// belong makes this process one of a cluster: the one that it belonged to, one that it founds, or one that takes it in.
func (s *process) belong(ctx context.Context) error {
	kept, err := loadStanding(s.fs, s.standingFile())
	if err != nil && !s.cfg.Reinit {
		return boot.Exit(boot.ExitCorrupt, err)
	}
	if kept == nil && s.cfg.Reinit { // a folder that never belonged, or has forgotten that it did
		kept = &standing{State: removed, Folder: token(), Cluster: "unknown"}
	}
	next, join := plan(kept, s.cfg.Cluster.Hints(), s.cfg.Reinit, token)
	if !s.cfg.Reinit || !join {
		if err := saveStanding(s.fs, s.standingFile(), next); err != nil {
			return boot.Exit(boot.ExitData, err)
		}
	}
	if join {
		if next, err = s.join(ctx, next); err != nil {
			return err
		}
	}
	return s.settle(next)
}

func (s *process) standingFile() string { return filepath.Join(s.dir, standingFile) }

// settle puts into effect what was decided: first what must be forgotten, then who we are.
func (s *process) settle(now standing) error {
	if now.Forget {
		s.p.Log.Info("leaving the former cluster", "cluster", now.Cluster, "reinit", true)
		if err := errors.Join(controlplane.Forget(s.controlDir()), s.links.Reset()); err != nil {
			return boot.Exit(boot.ExitData, err)
		}
		now.Forget = false
		if err := saveStanding(s.fs, s.standingFile(), now); err != nil {
			return boot.Exit(boot.ExitData, err)
		}
	}
	s.standing, s.start = now, now.State
	s.identity.SetID(now.Cluster)
	s.left = s.data.Belong(now.Cluster)
	s.data.Record().Folder = now.Folder
	if now.State == removed {
		s.data.Retire()
		return nil
	}
	if err := s.links.Learn(s.welcome); err != nil {
		return boot.Exit(boot.ExitData, err)
	}
	has, err := controlplane.HasMember(s.controlDir())
	if err == nil {
		err = s.links.Announce(has)
	}
	return boot.Exit(boot.ExitData, err)
}

// join asks to be taken in until it is, is refused, or time runs out.
func (s *process) join(ctx context.Context, was standing) (standing, error) {
	hints := s.cfg.Cluster.Hints()
	if len(hints) == 0 {
		hints = was.Bootstrap
	}
	s.p.Log.Info("joining", "at", strings.Join(hints, " "), "uri", s.uri())
	peer := s.data.Record()
	peer.Folder = was.Folder
	req := &placementv1.JoinRequest{Process: s.id(), Peer: peer}
	timeout := s.cfg.Cluster.BootstrapTimeout()
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	for {
		resp, err := s.tryAll(ctx, hints, req)
		switch {
		case err == nil:
			return s.joined(was, hints, resp)
		case refusal(err):
			if was.State == joining { // surely not taken in: the folder may be used for anything
				err = errors.Join(err, dropStanding(s.fs, s.standingFile()))
			}
			return was, boot.Exit(boot.ExitCluster, fmt.Errorf("the cluster refuses this process: %w", err))
		case errors.Is(context.Cause(ctx), context.Canceled):
			return was, context.Canceled
		}
		select {
		case <-time.After(joinAgain):
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.Canceled) {
				return was, ctx.Err()
			}
			return was, boot.Exit(boot.ExitCluster, fmt.Errorf("no process at %s took this one into its cluster within %v (cluster.consensus."+
				"bootstrap_timeout_sec): %w", strings.Join(hints, ", "), timeout, err))
		}
	}
}

func (s *process) tryAll(ctx context.Context, hints []string, req *placementv1.JoinRequest) (*placementv1.JoinResponse, error) {
	var last error
	for _, at := range hints {
		resp, err := s.try(ctx, at, req)
		if err == nil {
			return resp, nil
		}
		last = fmt.Errorf("%s: %w", at, err)
		if refusal(err) {
			return nil, last
		}
	}
	return nil, last
}

func (s *process) try(ctx context.Context, at string, req *placementv1.JoinRequest) (*placementv1.JoinResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, joinWithin)
	defer cancel()
	stranger := rpc.NewCluster(s.cfg.Cluster.Secret, rpc.CallRules{}) // whatever we belonged to is of no matter
	conn, err := rpc.Dial(at, rpc.DialOptions{Tracer: s.p.Tracer, Cluster: stranger})
	if err != nil {
		return nil, err
	}
	resp, err := placementv1.NewMembersClient(conn).Join(ctx, req)
	if status.Code(err) == codes.Unimplemented {
		err = fault.New(fault.JoinRefused, "it takes nobody in: it runs standalone (cluster.enabled: false) there, or another version")
	}
	return resp, errors.Join(err, conn.Close())
}

// refusal tells an answer that no repetition changes.
func refusal(err error) bool {
	switch fault.ReasonOf(err) {
	case fault.JoinRefused, fault.WrongCluster, fault.Unauthenticated, fault.InvalidArgument, fault.Validation:
		return true
	}
	return false
}

// joined keeps that the cluster has taken us in, and where that was: should the book not get to the disk, it is asked for there.
func (s *process) joined(was standing, hints []string, resp *placementv1.JoinResponse) (standing, error) {
	book, err := links.Entries(resp.GetEntries())
	if err != nil {
		return was, err
	}
	s.welcome = book
	now := standing{State: belongs, Folder: was.Folder, Cluster: resp.GetClusterId(), Bootstrap: hints, Forget: was.State != joining}
	if err := saveStanding(s.fs, s.standingFile(), now); err != nil {
		return was, boot.Exit(boot.ExitData, err)
	}
	s.p.Log.Info("joined", "cluster", now.Cluster, "processes", len(book.Processes()))
	return now, nil
}

// depart keeps that this process was taken out of the cluster. It goes on serving what it holds.
func (s *process) depart() {
	s.leave.Do(func() {
		s.p.Log.Warn("this process was taken out of the cluster: it goes on serving what it holds, and does not come back by itself; " +
			"start it with --reinit and --bootstrap to join again")
		if err := s.become(removed); err != nil {
			s.p.Log.Error("that this process was taken out of the cluster is not kept", "error", err)
		}
		close(s.departed)
	})
}

// become keeps another state. Whoever was taken out stays so.
func (s *process) become(to state) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.standing.State == to || s.standing.State == removed {
		return nil
	}
	next := s.standing
	next.State = to
	if err := saveStanding(s.fs, s.standingFile(), next); err != nil {
		return boot.Exit(boot.ExitData, err)
	}
	s.standing = next
	return nil
}
