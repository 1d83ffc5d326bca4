package dataplane

import (
	"context"
	"fmt"
	"time"

	"github.com/pandodb/pando/services/internal/topology"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// observe registers the gauges of this peer; they are read when scraped.
func (s *Service) observe() error {
	m := s.deps.Meter.Meter(tracerName)
	replicas, err := m.Int64ObservableGauge("pando_data_replicas", metric.WithDescription("Replicas that the placement gives this peer, by state and by whether they are loaded."))
	if err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	single, err := m.Int64ObservableGauge("pando_data_single_copy_shards", metric.WithDescription("Shards held here of which only one copy is Active."))
	if err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	revision, err := m.Int64ObservableGauge("pando_data_placement_revision", metric.WithDescription("Revision of the placement that this peer has seen."))
	if err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	diverged, err := m.Int64ObservableCounter("pando_data_divergent_replicas",
		metric.WithDescription("Replicas whose state was found to differ from that of the other replicas, by primaries here."))
	if err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	detached, err := m.Int64ObservableGauge("pando_data_detached_shards", metric.WithDescription("Shards whose replica here reaches neither the other replicas nor the control plane and goes on by itself."))
	if err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	provisional, err := m.Int64ObservableGauge("pando_data_provisional_operations", metric.WithDescription("Acknowledged operations held here that are not known to be in their shard's log."))
	if err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	age, err := m.Float64ObservableGauge("pando_data_scrub_age", metric.WithUnit("s"), metric.WithDescription("How long ago the file of a sealed part was read and checked that was longest ago: all were since."))
	if err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	aside, err := m.Int64ObservableGauge("pando_data_set_aside_replicas",
		metric.WithDescription("Folders under set-aside: what replicas had acknowledged that their shard was forced to go on without. An operator removes them."))
	if err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	_, err = m.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		count, alone := s.replicaCounts()
		for k, n := range count {
			o.ObserveInt64(replicas, n, metric.WithAttributes(attribute.String("state", k.state.String()), attribute.Bool("loaded", k.loaded)))
		}
		o.ObserveInt64(single, alone)
		o.ObserveInt64(revision, int64(s.revision()))
		found, cut, held := uint64(0), int64(0), 0
		for _, h := range s.node.Inventory() {
			if found += h.Status.Diverged; h.Status.Detached {
				cut++
			}
			held += h.Status.Provisional
		}
		o.ObserveInt64(diverged, int64(found))
		o.ObserveInt64(detached, cut)
		o.ObserveInt64(provisional, int64(held))
		o.ObserveFloat64(age, s.scrubAge().Seconds())
		folders, err := s.node.Aside()
		o.ObserveInt64(aside, int64(len(folders)))
		return err
	}, replicas, single, revision, diverged, detached, provisional, age, aside)
	if err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	return nil
}

// scrubAge is how long ago the file was read that was read longest ago.
func (s *Service) scrubAge() (age time.Duration) {
	for _, h := range s.node.Inventory() {
		if !h.Scrubbed.IsZero() {
			age = max(age, time.Since(h.Scrubbed))
		}
	}
	return age
}

type replicaKind struct {
	state  topology.ReplicaState
	loaded bool
}

func (s *Service) replicaCounts() (count map[replicaKind]int64, alone int64) {
	loaded := map[topology.Shard]bool{}
	for _, h := range s.node.Inventory() {
		loaded[h.Shard] = h.Loaded
	}
	count = map[replicaKind]int64{{topology.Active, true}: 0}
	for _, c := range s.session.Map().Collections() {
		for _, p := range c.Shards {
			r, ok := p.Replica(s.Self())
			if !ok {
				continue
			}
			count[replicaKind{r.State, loaded[p.Shard]}]++
			if r.State == topology.Active && p.ActiveCount() == 1 {
				alone++
			}
		}
	}
	return count, alone
}
