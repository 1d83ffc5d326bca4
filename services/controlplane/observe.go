package controlplane

import (
	"context"
	"fmt"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/pandodb/pando/services/controlplane/internal/store"
	"github.com/pandodb/pando/services/controlplane/internal/swap"
	"github.com/pandodb/pando/services/controlplane/internal/view"
)

// observe registers the gauges of this plane, which are read when scraped, and the counters of the performer.
func (s *Service) observe(p *swap.Performer) error {
	if s.deps.Meter == nil {
		return nil
	}
	m := s.deps.Meter.Meter("github.com/pandodb/pando/services/controlplane")
	if err := counters(m, p); err != nil {
		return err
	}
	names := []struct{ name, description string }{
		{"pando_control_leader", "1 while the member in this process leads the control plane."},
		{"pando_control_term", "Raft term of the control plane."},
		{"pando_control_revision", "Newest revision of the records that this member has read."},
		{"pando_control_peers", "Registered peers, by whether they have a session."},
		{"pando_control_collections", "Collections in the catalog."},
		{"pando_control_replicas", "Replicas by the state that the records give them."},
		{"pando_control_shards_without_primary", "Shards that nobody orders writes for."},
	}
	gauges := make([]metric.Int64ObservableGauge, 0, len(names))
	all := make([]metric.Observable, 0, len(names))
	for _, n := range names {
		g, err := m.Int64ObservableGauge(n.name, metric.WithDescription(n.description))
		if err != nil {
			return fmt.Errorf("metrics: %w", err)
		}
		gauges, all = append(gauges, g), append(all, g)
	}
	_, err := m.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		office, _ := s.engine.office()
		c := s.count()
		leads := int64(0)
		if office.Mine {
			leads = 1
		}
		o.ObserveInt64(gauges[0], leads)
		o.ObserveInt64(gauges[1], int64(office.Term))
		o.ObserveInt64(gauges[2], c.revision)
		o.ObserveInt64(gauges[3], c.alive, metric.WithAttributes(attribute.Bool("session", true)))
		o.ObserveInt64(gauges[3], c.peers-c.alive, metric.WithAttributes(attribute.Bool("session", false)))
		o.ObserveInt64(gauges[4], c.collections)
		for state, n := range c.replicas {
			o.ObserveInt64(gauges[5], n, metric.WithAttributes(attribute.String("state", string(state))))
		}
		o.ObserveInt64(gauges[6], c.headless)
		return nil
	}, all...)
	if err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	return nil
}

// counters counts what the performer does.
func counters(m metric.Meter, p *swap.Performer) error {
	swaps, err := m.Int64Counter("pando_control_swaps", metric.WithDescription("Changes of a shard's replica set that this member has written, by what they were for."))
	if err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	failed, err := m.Int64Counter("pando_control_confirms_failed", metric.WithDescription("Changes given up for the time being, since no replica that could stay confirmed itself."))
	if err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	p.Swapped = func(k swap.Kind) {
		swaps.Add(context.Background(), 1, metric.WithAttributes(attribute.String("kind", string(k))))
	}
	p.Unconfirmed = func() { failed.Add(context.Background(), 1) }
	return nil
}

type counts struct {
	revision, peers, alive, collections, headless int64
	replicas                                      map[store.State]int64
}

func (s *Service) count() (c counts) {
	c.replicas = map[store.State]int64{store.Initializing: 0, store.Active: 0, store.Partial: 0, store.Dead: 0}
	s.view.Read(func(st *view.State) {
		c.revision, c.peers, c.collections = st.Revision, int64(len(st.Peers)), int64(len(st.Collections))
		for id := range st.Peers {
			if _, alive := st.Sessions[id]; alive {
				c.alive++
			}
		}
		for _, shards := range st.Shards {
			for _, shard := range shards {
				if shard.Record.Primary == 0 {
					c.headless++
				}
				for _, r := range shard.Record.Replicas {
					c.replicas[r.State]++
				}
			}
		}
	})
	return c
}
