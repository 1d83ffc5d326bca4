package api

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc"

	placementv1 "github.com/pandodb/pando/gen/go/pando/placement/v1"
	"github.com/pandodb/pando/services/controlplane/internal/messages"
	"github.com/pandodb/pando/services/controlplane/internal/store"
	"github.com/pandodb/pando/services/controlplane/internal/view"
	"github.com/pandodb/pando/services/internal/fault"
)

const (
	// chunk is how many records a piece of a snapshot holds: well below a message of 4 MB.
	chunk = 500
	// progressEvery is how late a peer learns of revisions in which nothing changed for it, and that this member is alive.
	progressEvery = 500 * time.Millisecond
	// blindTicks is how often in a row a member may be found without a leader before its watchers are sent to another one; an
	// election takes less.
	blindTicks = 2
	// catchUp is how long a member that lags behind the caller is given before it answers by a snapshot.
	catchUp = 2 * time.Second
)

// WatchPlacement sends a snapshot in pieces, then one Delta per revision. It goes on from after_revision if this member still
// remembers what followed; otherwise, and whenever the stream falls behind what is remembered, it starts over with a snapshot.
func (s session) WatchPlacement(req *placementv1.WatchPlacementRequest, stream grpc.ServerStreamingServer[placementv1.WatchPlacementResponse]) error {
	ctx := stream.Context()
	if err := s.ready(ctx); err != nil {
		return err
	}
	w := &watcher{view: s.cfg.View, send: stream.Send, reached: int64(req.GetAfterRevision())}
	if err := w.join(ctx); err != nil {
		return edge(err)
	}
	tick := time.NewTicker(progressEvery)
	defer tick.Stop()
	for blind := 0; ; {
		changed, err := w.deltas()
		if err != nil {
			return edge(err)
		}
		select {
		case <-ctx.Done():
			return edge(ctx.Err())
		case <-changed:
		case <-tick.C:
			if blind++; s.usable() {
				blind = 0
			}
			if blind > blindTicks {
				return fault.New(fault.NoLeader, "this member of the control plane has no leader: others may have gone on without it")
			}
			if err := w.progress(); err != nil {
				return edge(err)
			}
		}
	}
}

// watcher is one stream's position.
type watcher struct {
	view    *view.View
	send    func(*placementv1.WatchPlacementResponse) error
	reached int64 // everything up to here was looked at
}

// join waits for a view that lags behind what the peer has seen already, or sends the first snapshot.
func (w *watcher) join(ctx context.Context) error {
	if w.reached == 0 {
		return w.snapshot()
	}
	wait, cancel := context.WithTimeout(ctx, catchUp)
	defer cancel()
	if err := w.view.Wait(wait, w.reached); err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return nil
}

// deltas sends what happened since the last call and answers the channel of the next change.
func (w *watcher) deltas() (<-chan struct{}, error) {
	batches, now, changed, err := w.view.Since(w.reached)
	if errors.Is(err, store.ErrCompacted) {
		return changed, w.snapshot()
	}
	if err != nil {
		return nil, err
	}
	for _, b := range batches {
		delta := &placementv1.Delta{Revision: uint64(b.Revision)}
		for _, c := range b.Changes {
			change, err := messages.Change(c)
			if err != nil {
				return nil, err
			}
			if change != nil {
				delta.Changes = append(delta.Changes, change)
			}
		}
		if len(delta.Changes) == 0 {
			continue
		}
		if err := w.send(&placementv1.WatchPlacementResponse{Event: &placementv1.WatchPlacementResponse_Delta{Delta: delta}}); err != nil {
			return nil, err
		}
	}
	w.reached = now
	return changed, nil
}

func (w *watcher) progress() error {
	return w.send(&placementv1.WatchPlacementResponse{Event: &placementv1.WatchPlacementResponse_Progress{
		Progress: &placementv1.Progress{Revision: uint64(w.reached)},
	}})
}

// snapshot sends everything as of the view's present revision. Records are immutable, so only the lists are copied under the
// view's lock.
func (w *watcher) snapshot() error {
	var all []view.Change
	var revision int64
	w.view.Read(func(s *view.State) {
		revision = s.Revision
		for _, p := range s.Peers {
			all = append(all, view.Change{Now: p})
		}
		for _, c := range s.Collections {
			all = append(all, view.Change{Now: c})
		}
		for _, a := range s.Aliases {
			if s.Live(a.Record) {
				all = append(all, view.Change{Now: a})
			}
		}
		for id, shards := range s.Shards {
			if _, live := s.Names[id]; !live {
				continue
			}
			for _, sh := range shards {
				all = append(all, view.Change{Now: sh})
			}
		}
		for _, t := range s.Transfers {
			all = append(all, view.Change{Now: t})
		}
		for _, m := range s.Metadata {
			all = append(all, view.Change{Now: m})
		}
	})
	for index := uint32(0); ; index++ {
		n := min(len(all), chunk)
		piece := &placementv1.SnapshotChunk{Revision: uint64(revision), Index: index, Last: n == len(all)}
		for _, c := range all[:n] {
			change, err := messages.Change(c)
			if err != nil {
				return err
			}
			piece.Records = append(piece.Records, change)
		}
		if err := w.send(&placementv1.WatchPlacementResponse{Event: &placementv1.WatchPlacementResponse_Snapshot{Snapshot: piece}}); err != nil {
			return err
		}
		if all = all[n:]; piece.Last {
			break
		}
	}
	w.reached = revision
	return nil
}
