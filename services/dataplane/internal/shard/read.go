package shard

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/cockroachdb/pebble/v2"
	"github.com/pandodb/pando/services/dataplane/internal/filter"
	"github.com/pandodb/pando/services/dataplane/internal/index"
	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/payload"
	"github.com/pandodb/pando/services/dataplane/internal/query"
	"github.com/pandodb/pando/services/internal/topology"
)

// Every read sees one applied state (R1). Payloads of records are read-only and
// may alias memory of the shard, which never writes to it again.

// checkEvery is how many rows a scan passes between two looks at ctx.
const checkEvery = 4096

// Get answers the points that exist, in the order of g.IDs.
func (s *Shard) Get(_ context.Context, g query.Get) ([]query.Record, error) {
	r := s.rows
	r.RLock()
	defer r.RUnlock()
	w, err := r.want(g.Want)
	if err != nil {
		return nil, err
	}
	out := make([]query.Record, 0, len(g.IDs))
	for _, id := range g.IDs {
		if row, ok := r.ids[id]; ok {
			out = append(out, r.record(row, &w))
		}
	}
	return out, nil
}

// Count counts the points that satisfy the filter.
func (s *Shard) Count(ctx context.Context, c query.Count) (uint64, error) {
	m, err := filter.Compile(c.Filter)
	if err != nil {
		return 0, err
	}
	s.rows.RLock()
	defer s.rows.RUnlock()
	if m.All() {
		return uint64(len(s.rows.ids)), nil
	}
	chosen, n := s.rows.choose(m, c.Filter), uint64(0)
	if about, ok := chosen.Estimate(); ok && c.Approx {
		return uint64(about), nil
	}
	if _, bounded := chosen.Most(); bounded {
		if sel := chosen.Select(); sel.Exact {
			return uint64(sel.Len()), nil
		}
	}
	err = s.rows.scan(ctx, chosen, func(uint32) { n++ })
	return n, err
}

// scan is each with an end of its own: ctx's error.
func (r *rows) scan(ctx context.Context, c chosen, visit func(row uint32)) error {
	next := uint32(0)
	r.each(c, func(row uint32) bool {
		if row >= next {
			next = row + checkEvery
			if ctx.Err() != nil {
				return false
			}
		}
		visit(row)
		return true
	})
	return ctx.Err()
}

// Scroll answers the first Limit points from Offset on that satisfy the filter,
// in the order of ids, and the id of the one after them, if there is one.
func (s *Shard) Scroll(ctx context.Context, q query.Scroll) (page []query.Record, next *topology.PointID, err error) {
	m, err := filter.Compile(q.Filter)
	if err != nil || q.Limit <= 0 {
		return nil, nil, err
	}
	r := s.rows
	r.RLock()
	defer r.RUnlock()
	w, err := r.want(q.Want)
	if err != nil {
		return nil, nil, err
	}
	if q.Order != nil {
		page, err = r.byField(ctx, q, r.choose(m, q.Filter), &w)
		return page, nil, err
	}
	take := func(row uint32) bool {
		if len(page) == q.Limit {
			id := r.at[row]
			next = &id
			return false
		}
		page = append(page, r.record(row, &w))
		return true
	}
	if chosen := r.choose(m, q.Filter); r.few(chosen, q.Limit) {
		r.sorted(chosen, q.Offset, take)
		return page, next, nil
	}
	sub := subject{rows: r}
	err = s.ordered(ctx, q.Offset, func(id topology.PointID) bool {
		row, ok := r.ids[id]
		return !ok || !sub.match(m, row) || take(row)
	})
	if err != nil {
		return nil, nil, err
	}
	return page, next, nil
}

// few tells whether sorting all that c chooses is less work than passing over
// ids in their order until limit of them were found.
func (r *rows) few(c chosen, limit int) bool {
	most, bounded := c.Most()
	return bounded && most <= sortable+limit || bounded && float64(most)*float64(most) <= float64(sortWorth)*float64(limit)*float64(len(r.at))
}

const (
	// sortable is how many ids are sorted without asking whether it is worth it.
	sortable = 256
	// sortWorth is how much dearer it is to pass an id than to sort one. It leans to
	// sorting, which takes no longer where those that are chosen come last.
	sortWorth = 64
)

// sorted visits what c chooses in the order of ids, from offset on.
func (r *rows) sorted(c chosen, offset *topology.PointID, visit func(row uint32) bool) {
	sel, sub := c.Select(), subject{rows: r}
	rows := slices.DeleteFunc(sel.Rows(), func(row uint32) bool { return offset != nil && r.at[row].Compare(*offset) < 0 })
	slices.SortFunc(rows, func(a, b uint32) int { return r.at[a].Compare(r.at[b]) })
	for _, row := range rows {
		if (sel.Exact || sub.match(c.Matcher, row)) && !visit(row) {
			return
		}
	}
}

// ordered visits the ids of the store in their order, from offset on. It may name
// ids that rows do not show.
func (s *Shard) ordered(ctx context.Context, offset *topology.PointID, visit func(topology.PointID) bool) error {
	low := []byte{pointSpace}
	if offset != nil {
		low = idKey(nil, pointSpace, *offset)
	}
	it, err := s.store.NewIter(&pebble.IterOptions{LowerBound: low, UpperBound: []byte{pointSpace + 1}})
	if err != nil {
		return s.store.classify(err)
	}
	n := 0
	for ok := it.First(); ok; ok = it.Next() {
		id, bad := topology.DecodePointID(it.Key()[1:])
		if bad != nil {
			err = fmt.Errorf("%w: %w", ErrCorrupt, bad)
		} else if n++; n%checkEvery == 0 {
			err = ctx.Err()
		}
		if err != nil || !visit(id) {
			break
		}
	}
	if bad := it.Close(); err == nil {
		err = s.store.classify(bad)
	}
	return err
}

// Nearest answers each query with its best points, the best first, ties by id.
// Queries on one vector name share their passes over memory. Errors:
// VectorNameError, DimensionError, ErrNotFinite, filter.ErrFilter, ctx's.
func (s *Shard) Nearest(ctx context.Context, qs []query.Nearest) ([][]query.Scored, error) {
	r := s.rows
	r.RLock()
	defer r.RUnlock()
	out := make([][]query.Scored, len(qs))
	prepared := make([]index.Query, len(qs))
	wants := make([]want, len(qs))
	groups := map[string][]int{}
	for i := range qs {
		var err error
		if wants[i], err = r.want(qs[i].Want); err != nil {
			return nil, err
		}
		if prepared[i], err = r.prepare(&qs[i]); err != nil {
			return nil, err
		}
		groups[qs[i].Using] = append(groups[qs[i].Using], i)
	}
	for name, members := range groups {
		batch := make([]index.Query, len(members))
		for j, i := range members {
			batch[j] = prepared[i]
		}
		hits, err := r.field(name).index.SearchBatch(ctx, batch)
		if err != nil {
			return nil, err
		}
		for j, i := range members {
			out[i] = make([]query.Scored, len(hits[j]))
			for k, h := range hits[j] {
				out[i][k] = query.Scored{Record: r.record(h.Row, &wants[i]), Score: h.Score}
			}
		}
	}
	return out, nil
}

// prepare checks a query and puts it in the index's terms.
func (r *rows) prepare(q *query.Nearest) (index.Query, error) {
	f := r.field(q.Using)
	if f == nil {
		return index.Query{}, &VectorNameError{Name: q.Using}
	}
	if err := f.check(q.Vector); err != nil {
		return index.Query{}, err
	}
	m, err := filter.Compile(q.Filter)
	if err != nil {
		return index.Query{}, err
	}
	out := index.Query{Vector: q.Vector, K: q.Limit, Threshold: q.ScoreThreshold,
		Before: func(a, b uint32) bool { return r.at[a].Compare(r.at[b]) < 0 }}
	s := &subject{rows: r}
	accept := func(row uint32) bool { return s.match(m, row) }
	c := r.choose(m, q.Filter)
	switch most, bounded := c.Most(); {
	case m.All():
	case bounded && most <= len(r.at)/pickShare:
		sel := c.Select()
		if out.Rows = sel.Rows(); !sel.Exact {
			out.Accept = accept
		}
	default: // asked of the few rows only that are good enough
		out.Accept = accept
	}
	return out, nil
}

// pickShare: the index scores single rows instead of all in a row if they are at
// most this part of them.
const pickShare = 8

// check tells whether v may be a vector of f.
func (f *field) check(v []float32) error {
	if len(v) != f.Size {
		return &DimensionError{Name: f.Name, Want: f.Size, Got: len(v)}
	}
	for _, x := range v {
		if math.Float32bits(x)&0x7F800000 == 0x7F800000 {
			return fmt.Errorf("%w: vector %q", ErrNotFinite, f.Name)
		}
	}
	return nil
}

// want is a query.Want with its paths and names looked up.
type want struct {
	payload          bool
	include, exclude []payload.Path
	fields           []*field
}

func (r *rows) want(q query.Want) (w want, err error) {
	w.payload = q.Payload.All || len(q.Payload.Include) > 0 || len(q.Payload.Exclude) > 0
	if w.include, err = parsePaths(q.Payload.Include); err != nil {
		return w, err
	}
	if w.exclude, err = parsePaths(q.Payload.Exclude); err != nil {
		return w, err
	}
	for _, n := range q.VecNames {
		f := r.field(n)
		if f == nil {
			return w, &VectorNameError{Name: n}
		}
		w.fields = append(w.fields, f)
	}
	if q.Vectors && len(q.VecNames) == 0 {
		for i := range r.fields {
			w.fields = append(w.fields, &r.fields[i])
		}
	}
	return w, nil
}

func parsePaths(keys []filter.Key) ([]payload.Path, error) {
	var out []payload.Path
	for _, k := range keys {
		p, err := payload.ParsePath(string(k))
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, nil
}

// record answers a row.
func (r *rows) record(row uint32, w *want) query.Record {
	rec := query.Record{ID: r.at[row], Version: uint64(r.versions[row])}
	if w.payload {
		rec.Payload = r.payloads.Get(row)
		if len(w.include)+len(w.exclude) > 0 {
			rec.Payload = payload.Project(rec.Payload, w.include, w.exclude)
		}
	}
	for _, f := range w.fields {
		if v, ok := f.index.Vector(row, nil); ok {
			rec.Vectors = append(rec.Vectors, op.Vector{Name: f.Name, Data: v})
		}
	}
	return rec
}

// Info describes the shard as reads see it.
type Info struct {
	Position Position
	Points   int
	Payload  int64 // bytes of payload
	Vectors  []VectorInfo
	Disk     uint64 // bytes of the folder
}

// VectorInfo describes one named vector.
type VectorInfo struct {
	Name   string
	Points int
	Bytes  int64 // of vector elements
}

// Info counts.
func (s *Shard) Info() Info {
	s.rows.RLock()
	defer s.rows.RUnlock()
	i := Info{Position: s.rows.pos, Points: len(s.rows.ids), Payload: int64(s.rows.payloads.Bytes()), Disk: s.store.Metrics().DiskSpaceUsage()}
	for f := range s.rows.fields {
		f := &s.rows.fields[f]
		n := f.index.Len()
		i.Vectors = append(i.Vectors, VectorInfo{Name: f.Name, Points: n, Bytes: 4 * int64(n) * int64(f.Size)})
	}
	return i
}
