package dataplane

import (
	"context"
	"fmt"

	placementv1 "github.com/pandodb/pando/gen/go/pando/placement/v1"
	"github.com/pandodb/pando/services/dataplane/internal/node"
	"github.com/pandodb/pando/services/dataplane/internal/peer"
	"github.com/pandodb/pando/services/dataplane/internal/query"
	"github.com/pandodb/pando/services/dataplane/internal/session"
	"github.com/pandodb/pando/services/internal/fault"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/wire"
)

// wireVersion is the version of the internal messages that this build speaks.
const wireVersion = 1

func (s *Service) openSession() (*session.Session, error) {
	id := make([]byte, 16)
	if _, err := s.deps.Random.Read(id); err != nil {
		return nil, fmt.Errorf("process id: %w", err)
	}
	s.record = &placementv1.Peer{PeerId: uint64(s.Self()), Uri: s.cfg.URI, Version: s.cfg.Version, Zone: s.cfg.Zone,
		Wire: &placementv1.WireRange{Min: wireVersion, Max: wireVersion}}
	return session.Open(session.Options{
		FS: s.deps.FS, Dir: s.cfg.Dir, ProcessID: fmt.Sprintf("%x", id), Peer: s.record,
		Control:   placementv1.NewSessionClient(s.deps.Control),
		Inventory: s.inventory, Changed: s.node.Changed(), Removed: s.deps.Removed, Log: s.deps.Log,
	})
}

// inventory says what this peer holds. What is only left to be removed is not told:
// a deletion need not wait for the disk.
func (s *Service) inventory() []*placementv1.ReplicaInventory {
	var out []*placementv1.ReplicaInventory
	for _, h := range s.node.Inventory() {
		if h.Ended {
			continue
		}
		r := &placementv1.ReplicaInventory{CollectionId: uint64(h.Shard.Collection), ShardId: uint64(h.Shard.ID),
			Incarnation: wire.ProtoIncarnation(h.Incarnation), PlacementEpoch: uint64(h.Epoch), Loaded: h.Loaded, Bytes: h.Bytes,
			Last: &placementv1.LogPosition{Epoch: uint64(h.Last.Term.Epoch), Run: uint64(h.Last.Term.Run), Seq: uint64(h.Last.Seq)}}
		if h.Why != nil {
			r.Reason, r.Detail = fault.ReplicaFailed, h.Why.Error()
		}
		out = append(out, r)
	}
	return out
}

// assign tells the node what this peer is to hold, with every new map.
func (s *Service) assign(ctx context.Context) error {
	for {
		m, changed := s.session.Changed()
		if err := s.apply(m); err != nil {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil
		}
	}
}

func (s *Service) apply(m *topology.Map) error {
	if m.Revision() == 0 {
		return nil
	}
	d, err := s.desired(m)
	if err == nil {
		s.node.Apply(d)
	}
	return err
}

// desired is this peer's share of the placement. Only a confirmed one lets
// replicas be dropped.
func (s *Service) desired(m *topology.Map) (node.Desired, error) {
	d := node.Desired{Revision: m.Revision(), Confirmed: s.session.Confirmed(m)}
	for _, c := range m.Collections() {
		var schema *query.Schema
		var settings []byte
		for _, p := range c.Shards {
			if _, ok := p.Replica(s.Self()); !ok {
				continue
			}
			if schema == nil {
				decoded, err := wire.Settings(c)
				if err != nil {
					return node.Desired{}, err
				}
				schema = new(peer.Schema(c.Revision, decoded))
				if settings, err = peer.Settings(decoded); err != nil {
					return node.Desired{}, err
				}
			}
			d.Assignments = append(d.Assignments, node.Assignment{Placement: p, Schema: *schema, Settings: settings})
		}
	}
	return d, nil
}

// Ready is nil once the peer belongs to the cluster, has caught up with its
// placement, and its own replicas serve; or they serve detached, by the placement that
// was kept.
func (s *Service) Ready() error {
	m := s.session.Map()
	if !s.session.Confirmed(m) && !s.Detached() {
		return fmt.Errorf("not caught up with the control plane yet")
	}
	for _, c := range m.Collections() {
		for _, p := range c.Shards {
			r, ok := p.Replica(s.Self())
			if !ok {
				continue
			}
			if r.State != topology.Active {
				return fmt.Errorf("shard %d of collection %s is %v here: %s", p.Shard.ID, c.Name, r.State, r.Reason)
			}
			if _, release, err := s.node.Reader(p.Shard); err != nil {
				return fmt.Errorf("shard %d of collection %s: %w", p.Shard.ID, c.Name, err)
			} else {
				release()
			}
		}
	}
	return nil
}
