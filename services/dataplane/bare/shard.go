package bare

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/pandodb/pando/services/dataplane/internal/filter"
	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/query"
	"github.com/pandodb/pando/services/dataplane/internal/shard"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/vfs"
)

// whole is a shard's engine as a replica drives it: points come as committed entries, with stamps and versions.
type whole struct {
	s     *shard.Shard
	seq   topology.Seq
	clock op.Clock
}

func openShard(o Options) (Engine, error) {
	v := query.VectorSchema{Kind: query.Sparse, Distance: query.Dot}
	if o.Dim > 0 {
		d, err := distanceOf(o.Distance)
		if err != nil {
			return nil, err
		}
		v = query.VectorSchema{Size: o.Dim, Distance: d}
	}
	codes, ok := map[string]query.Quantization{"": {}, "scalar": {Kind: query.ScalarQuantization, Quantile: 0.99},
		"binary": {Kind: query.BinaryQuantization, Query: query.Scalar4Bits}, "product": {Kind: query.ProductQuantization, Compression: 16},
		"turbo": {Kind: query.TurboQuantization, Encoding: query.FourBits}}[o.Quantization]
	if !ok {
		return nil, fmt.Errorf("there is no quantization %q: scalar, binary, product or turbo", o.Quantization)
	}
	var fields []query.FieldIndex
	for _, f := range o.Fields {
		field := query.FieldIndex{Key: f.Key, Type: query.KeywordField}
		if f.Type == "integer" {
			field = query.FieldIndex{Key: f.Key, Type: query.IntegerField, Lookup: true, Range: true}
		}
		fields = append(fields, field)
	}
	// Everything ends in one segment with a graph, whatever it weighs.
	settings := query.Settings{Fields: fields, Optimizers: query.Optimizers{IndexingThresholdKB: 1 << 30, DeletedThreshold: 0.2, VacuumMinVectors: 1000, SegmentNumber: 1},
		Vectors: []query.VectorSettings{{HNSW: query.HNSW{M: o.M, EfConstruct: o.EfConstruct, Threads: o.Threads}, Quantization: codes, FullScanThreshold: query.DefaultSparseScan}}}
	s, err := shard.Open(shard.Options{
		FS: vfs.OS(), Dir: o.Dir, Schema: query.Schema{Revision: 1, Vectors: []query.VectorSchema{v}},
		Settings: func(b []byte) (query.Settings, error) {
			now := settings
			if len(b) > 0 {
				now.Optimizers.IndexingThresholdKB = 1
			}
			return now, nil
		},
	})
	if err != nil {
		return nil, err
	}
	w := &whole{s: s}
	return w, w.apply([]op.Op{{Kind: op.Config, Revision: 1}})
}

// apply commits operations, one entry each.
func (w *whole) apply(ops []op.Op) error {
	entries := make([]op.Entry, len(ops))
	for i, o := range ops {
		w.seq++
		id := op.ID{Part: op.LastPart}
		binary.BigEndian.PutUint64(id.Request[:], uint64(w.seq))
		entries[i] = op.Entry{Term: topology.Term{Epoch: 1, Run: 1}, Seq: w.seq, HLC: w.clock.Next(uint64(time.Now().UnixMilli())), Origin: 1, ID: id, Body: o.Append(nil)}
	}
	return w.s.Apply(entries)
}

func (w *whole) Add(ctx context.Context, points []Point) error {
	write := &shard.Write{Kind: op.Upsert, Points: make([]op.Point, len(points))}
	for i, p := range points {
		d, err := docOf(p.Payload)
		if err != nil {
			return err
		}
		write.Points[i] = op.Point{ID: topology.NumberID(p.ID), Vectors: []op.Vector{{Data: p.Vector, Indices: p.Indices}}, Payload: d}
	}
	ops, err := w.s.Resolve(ctx, write)
	if err != nil {
		return err
	}
	return w.apply(ops)
}

// Seal lets the optimizer work until it has nothing left to do. Graphs are asked for
// at the end only, so that building one is all that a build is.
func (w *whole) Seal(ctx context.Context) error {
	ops := []op.Op{{Kind: op.Seal}}
	for range maxSteps {
		if err := w.apply(ops); err != nil {
			return err
		}
		if err := w.s.Settle(ctx); err != nil {
			return err
		}
		o, due := w.s.Due()
		for i := 0; i < maxSteps && !due; i++ { // it has to be asked a few times to see that nobody writes
			o, due = w.s.Due()
		}
		if !due {
			break
		}
		ops = []op.Op{o}
	}
	if err := w.apply([]op.Op{{Kind: op.Config, Revision: 2, Settings: []byte{1}}}); err != nil {
		return err
	}
	if err := w.s.Settle(ctx); err != nil {
		return err
	}
	_, err := w.s.Checkpoint()
	return err
}

// maxSteps bounds what is asked of the optimizer.
const maxSteps = 64

func (w *whole) Search(ctx context.Context, q *Query, dst []uint64) ([]uint64, error) {
	found, err := w.s.Nearest(ctx, []query.Nearest{{Vector: q.Vector, Indices: q.Indices, Filter: (*filter.Filter)(q.Filter), Limit: q.K,
		Params: query.Params{Ef: q.Ef, Exact: q.Exact}}})
	if err != nil {
		return nil, err
	}
	for i := range found[0] {
		dst = append(dst, found[0][i].ID.Number())
	}
	return dst, nil
}

func (w *whole) Close() error { return w.s.Close() }
