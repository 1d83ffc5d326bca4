package dataplane

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"

	"github.com/pandodb/pando/services/dataplane/internal/shard"
	"github.com/pandodb/pando/services/internal/topology"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// care tells of what replicas do for their files.
type care struct {
	log                    *slog.Logger
	lost, mended, scrubbed metric.Int64Counter
	conflicts              metric.Int64Counter
}

func newCare(meters metric.MeterProvider, log *slog.Logger) (c care, err error) {
	c.log = log
	m := meters.Meter(tracerName)
	for _, x := range []struct {
		to               *metric.Int64Counter
		name, unit, text string
	}{
		{&c.scrubbed, "pando_data_scrubbed", "By", "Bytes of sealed parts that were read again from the disk and held against their checksums."},
		{&c.lost, "pando_data_lost_artefacts", "", "Graphs, codes and indexes whose files were found damaged, missing or unreadable, by kind."},
		{&c.conflicts, "pando_data_conflicts", "", "Operations that were acknowledged while a replica was cut off and of which later ones left nothing, or not all, by replica and point, and by effect."},
		{&c.mended, "pando_data_mended_artefacts", "", "Such files that were made again from their segments, by kind."},
	} {
		if *x.to, err = m.Int64Counter(x.name, metric.WithUnit(x.unit), metric.WithDescription(x.text)); err != nil {
			return c, fmt.Errorf("metrics: %w", err)
		}
	}
	return c, nil
}

// of are the events of a replica.
func (c care) of(id topology.Shard) shard.Events {
	log := c.log.With("collection", uint64(id.Collection), "shard", uint64(id.ID))
	return shard.Events{
		Lost: func(file string, reason error) {
			log.Warn("file of an index is lost, it is made again from its segment", "file", file, "reason", reason)
			c.lost.Add(context.Background(), 1, kindOf(file))
		},
		Mended: func(file string) {
			log.Info("file of an index was made again", "file", file)
			c.mended.Add(context.Background(), 1, kindOf(file))
		},
		Scrubbed: func(bytes int) { c.scrubbed.Add(context.Background(), int64(bytes)) },
	}
}

func kindOf(file string) metric.MeasurementOption {
	return metric.WithAttributes(attribute.String("kind", strings.TrimPrefix(filepath.Ext(file), ".")))
}
