package dataplane

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/pandodb/pando/services/dataplane/internal/api/cluster"
	"github.com/pandodb/pando/services/dataplane/internal/api/points"
	"github.com/pandodb/pando/services/dataplane/internal/conflicts"
	"github.com/pandodb/pando/services/dataplane/internal/node"
	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/point"
	"github.com/pandodb/pando/services/dataplane/internal/shard"
	"github.com/pandodb/pando/services/internal/topology"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
)

// detachedHere tells whether the replica here takes weak writes provisionally (P1).
func (s *Service) detachedHere(sh topology.Shard) bool {
	rep, err := s.node.Replica(sh)
	return err == nil && rep.Status().Detached
}

// detached lists the replicas here that are, or that still hold what they took then.
func (s *Service) detached() (out []cluster.Detached) {
	for _, h := range s.node.Inventory() {
		if h.Status.Detached || h.Status.Provisional > 0 {
			out = append(out, cluster.Detached{Shard: h.Shard, Since: s.session.Heard(), Provisional: h.Status.Provisional})
		}
	}
	return out
}

// Detached tells whether replicas here go on without control plane and without others.
func (s *Service) Detached() bool {
	return slices.ContainsFunc(s.node.Inventory(), func(h node.Holding) bool { return h.Status.Detached })
}

// late remembers operations that were acknowledged and are in no log (D2a).
func (s *Service) late(sh topology.Shard, es []op.Entry) {
	for _, e := range es {
		if e.ID.IsLast() {
			s.conflict(conflicts.Conflict{Collection: uint64(sh.Collection), Shard: uint64(sh.ID), Operation: named(e.ID), Effect: conflicts.Late, Stamp: e.HLC.Ms()})
		}
	}
}

// overtaken remembers an operation of which a later one left nothing, or not all (P8).
func (s *Service) overtaken(sh topology.Shard) func(e *op.Entry, p topology.PointID, left point.Effect, winner op.HLC) {
	return func(e *op.Entry, p topology.PointID, left point.Effect, winner op.HLC) {
		c := conflicts.Conflict{Collection: uint64(sh.Collection), Shard: uint64(sh.ID), Operation: named(e.ID), Point: p.String(), Effect: conflicts.Lost,
			Stamp: e.HLC.Ms(), Winner: winner.Ms()}
		if left == point.Partly {
			c.Effect = conflicts.Partly
		}
		s.conflict(c)
	}
}

// events are those of a replica's engine.
func (s *Service) events(sh topology.Shard) shard.Events {
	e := s.care.of(sh)
	e.Overtaken = s.overtaken(sh)
	return e
}

func (s *Service) conflict(c conflicts.Conflict) {
	s.conflicts.Add(c)
	s.care.conflicts.Add(context.Background(), 1, metric.WithAttributes(attribute.String("effect", string(c.Effect))))
}

func named(id op.ID) string { return fmt.Sprintf("%x-%d", id.Request, id.Index&^op.ClientIndexBit) }

// saveEvery is how much of the list of conflicts a crash may lose.
const saveEvery = time.Second

// saveConflicts keeps the list on the disk as it grows.
func (s *Service) saveConflicts(ctx context.Context) error {
	tick := time.NewTicker(saveEvery)
	defer tick.Stop()
	for failing := false; ; {
		err := s.conflicts.Save()
		if err != nil && !failing {
			s.deps.Log.Warn("the list of conflicts was not written, it will be tried again", "reason", err)
		}
		failing = err != nil
		select {
		case <-tick.C:
		case <-ctx.Done():
			return s.conflicts.Save()
		}
	}
}

// unsure says beside the answer to a read that a detached replica gave it (X2).
func unsure(ctx context.Context) {
	_ = grpc.SetHeader(ctx, metadata.Pairs(points.HeaderDetached, "true")) // fails without a call only
}

// heardControl is when the control plane answered last.
func (s *Service) heardControl() time.Time { return s.session.Heard() }
