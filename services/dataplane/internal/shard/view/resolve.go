package view

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/pandodb/pando/services/dataplane/internal/filter"
	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/payload"
	"github.com/pandodb/pando/services/dataplane/internal/query"
	"github.com/pandodb/pando/services/dataplane/internal/shard/part"
	"github.com/pandodb/pando/services/internal/topology"
)

// Resolve turns a write into operations of explicit ids and stored values (W3,
// W3a), decided on the applied state; the caller has seen to it that all earlier
// entries are applied. The operations are to be appended in their order; each
// fits into an entry. None: there is nothing to do. The operations may alias w
// and memory of the shard that is never written again.
//
// Errors: part.VectorNameError, NoPointError (an update names an id that does not
// exist), query.ErrVector, query.DimensionError,
// query.ErrNotFinite, ErrWrite, payload.ErrPath, filter.ErrFilter,
// payload.ErrTooLarge, payload.ErrDepth, op.ErrTooLarge, ctx's.
func (s *Reads) Resolve(ctx context.Context, w *Write) ([]op.Op, error) {
	r := s.read()
	defer r.end()
	bound := *w
	w = &bound
	m, err := r.compile(&w.Filter)
	if err != nil {
		return nil, err
	}
	v := resolver{reader: r, w: w, filter: m}
	var ops []op.Op
	err = r.guarded(func() (err error) {
		ops, err = v.resolve(ctx)
		return err
	})
	if err != nil {
		return nil, err
	}
	var parts []op.Op
	for _, o := range ops {
		cut, err := op.Split(o, op.MaxBody)
		if err != nil {
			return nil, err
		}
		parts = append(parts, cut...)
	}
	return parts, nil
}

// NeedsState tells whether Resolve decides anything on the state of points, so
// that it must wait for earlier entries (W3). Writes that do not may pipeline.
func (w *Write) NeedsState() bool {
	return w.Filter != nil || w.Mode != UpsertAny || (w.Kind != op.Upsert && w.Kind != op.Delete)
}

type resolver struct {
	*reader
	w      *Write
	filter *filter.Matcher
}

func (v *resolver) resolve(ctx context.Context) ([]op.Op, error) {
	w := v.w
	switch w.Kind {
	case op.Upsert, op.UpdateVectors:
		return v.points()
	case op.Delete, op.SetPayload, op.OverwritePayload, op.DeletePayload, op.ClearPayload, op.DeleteVectors:
	default:
		return nil, fmt.Errorf("%w: kind %d", ErrWrite, w.Kind)
	}
	ids, err := v.targets(ctx)
	if err != nil || len(ids) == 0 {
		return nil, err
	}
	switch w.Kind {
	case op.SetPayload:
		return v.setPayload(ids)
	case op.OverwritePayload:
		return []op.Op{{Kind: op.OverwritePayload, Groups: []op.Group{{IDs: ids, Payload: w.Payload}}}}, nil
	case op.DeletePayload:
		return v.deletePayload(ids)
	case op.DeleteVectors:
		return v.deleteVectors(ids)
	default:
		return []op.Op{{Kind: w.Kind, IDs: ids}}, nil
	}
}

// targets are the ids that a write acts on, each once. Explicit ids must exist,
// but for deletions of points and of vectors.
func (v *resolver) targets(ctx context.Context) (ids []topology.PointID, err error) {
	if v.w.Filter != nil {
		err = v.each(func(p part.View) error {
			return p.Scan(ctx, p.Choose(v.filter, v.w.Filter), func(row uint32) { ids = append(ids, p.ID(row)) })
		})
		slices.SortFunc(ids, topology.PointID.Compare)
		return ids, err
	}
	seen := make(map[topology.PointID]struct{}, len(v.w.IDs))
	for _, id := range v.w.IDs {
		if _, twice := seen[id]; twice {
			continue
		}
		seen[id] = struct{}{}
		if _, _, ok := v.row(id); !ok {
			switch v.w.Kind {
			case op.Delete:
				// Kept: it also hides what is still on its way (P5).
			case op.DeleteVectors:
				continue
			default:
				return nil, &NoPointError{ID: id}
			}
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// points resolves upserts and updates of vectors. Of an id that comes twice the
// last upsert counts; updates of one id are put together.
func (v *resolver) points() ([]op.Op, error) {
	place := make(map[topology.PointID]int, len(v.w.Points))
	out := make([]op.Point, 0, len(v.w.Points))
	for i := range v.w.Points {
		p := v.w.Points[i]
		vs, err := v.stored(p.Vectors)
		if err != nil {
			return nil, fmt.Errorf("point %s: %w", p.ID, err)
		}
		in, row, exists := v.row(p.ID)
		switch {
		case !exists && v.w.Kind == op.UpdateVectors:
			return nil, &NoPointError{ID: p.ID}
		case exists && v.w.Mode == InsertOnly, !exists && v.w.Mode == UpdateOnly:
			continue
		case exists && !in.Subject().Match(v.filter, row):
			continue
		}
		p.Vectors = vs
		at, twice := place[p.ID]
		if !twice {
			place[p.ID] = len(out)
			out = append(out, p)
			continue
		}
		if v.w.Kind == op.UpdateVectors {
			p.Vectors = joined(out[at].Vectors, p.Vectors)
		}
		out[at] = p
	}
	if len(out) == 0 {
		return nil, nil
	}
	return []op.Op{{Kind: v.w.Kind, Points: out}}, nil
}

// joined is two sorted lists of vectors in one; b's count where both have a name.
func joined(a, b []op.Vector) []op.Vector {
	out := slices.Clone(b)
	for _, x := range a {
		if !slices.ContainsFunc(b, func(y op.Vector) bool { return y.Name == x.Name }) {
			out = append(out, x)
		}
	}
	slices.SortFunc(out, byName)
	return out
}

func byName(a, b op.Vector) int { return strings.Compare(a.Name, b.Name) }

// stored checks vectors and brings them into stored form under their keys, in memory
// of its own where that changes them.
func (v *resolver) stored(vs []op.Vector) ([]op.Vector, error) {
	out := slices.Clone(vs)
	slices.SortFunc(out, byName)
	for i := range out {
		f := v.tail.Field(out[i].Name)
		if f == nil {
			return nil, &part.VectorNameError{Name: out[i].Name}
		}
		if i+1 < len(out) && out[i+1].Name == out[i].Name {
			return nil, fmt.Errorf("%w: vector %q occurs twice", ErrWrite, out[i].Name)
		}
		if f.Kind == query.Dense {
			if err := f.Check(out[i].Data); err != nil {
				return nil, err
			}
		}
		var err error
		if out[i], err = f.Stored(out[i]); err != nil {
			return nil, err
		}
		out[i].Name = f.Key()
	}
	return out, nil
}

// payload of a point that exists, in memory of its own: operations outlive the read.
func (v *resolver) payload(id topology.PointID) payload.Doc {
	in, row, ok := v.row(id)
	if !ok {
		return nil
	}
	return slices.Clone(in.Payload(row))
}

// setPayload sets the payload's keys. A null removes its key, as the public
// call has it. Under a path, whole top-level values are computed per point.
func (v *resolver) setPayload(ids []topology.PointID) ([]op.Op, error) {
	if v.w.Path != "" {
		path, err := payload.ParsePath(string(v.w.Path))
		if err != nil {
			return nil, err
		}
		top := payload.KeyPath(path.Top())
		groups, err := v.rewrite(ids, func(d payload.Doc) (payload.Doc, error) {
			set, err := payload.SetAt(payload.Project(d, []payload.Path{top}, nil), path, v.w.Payload)
			if err == nil {
				err = fits(d, set)
			}
			return set, err
		})
		return edit(groups, nil), err
	}
	for _, id := range ids {
		if err := fits(v.payload(id), v.w.Payload); err != nil {
			return nil, fmt.Errorf("point %s: %w", id, err)
		}
	}
	var set payload.Writer
	var names []string
	for key, value := range v.w.Payload.All() {
		if value.Kind() == payload.Null {
			names = append(names, key)
		} else {
			set.Field(key, value)
		}
	}
	return edit([]op.Group{{IDs: ids, Payload: set.Doc()}}, names), nil
}

// edit is one operation that sets payloads and removes keys, of all ids in groups, so
// that nobody ever sees half of it. Groups without payload come last, if at all.
func edit(groups []op.Group, names []string) []op.Op {
	last := len(groups) - 1
	switch {
	case last < 0:
		return nil
	case len(names) == 0 && len(groups[last].Payload) > 0:
		return []op.Op{{Kind: op.SetPayload, Groups: groups}}
	case len(names) == 0:
		return edit(groups[:last], nil)
	case last == 0 && len(groups[0].Payload) == 0:
		return []op.Op{{Kind: op.DeletePayload, IDs: groups[0].IDs, Names: names}}
	}
	return []op.Op{{Kind: op.EditPayload, Groups: groups, Names: names}}
}

// fits is payload.ErrTooLarge where d, with set merged into it, outgrows the
// limit: the point could not be upserted again as it is.
func fits(d, set payload.Doc) error {
	if len(d)+len(set) <= payload.MaxSize {
		return nil
	}
	_, err := payload.Merge(d, set)
	return err
}

// deletePayload removes top-level keys by name, and rewrites the top-level
// values in which paths go deeper.
func (v *resolver) deletePayload(ids []topology.PointID) ([]op.Op, error) {
	var names []string
	var deeper, tops []payload.Path
	for _, k := range v.w.Keys {
		p, err := payload.ParsePath(k)
		if err != nil {
			return nil, err
		}
		if p.IsTop() {
			names = append(names, p.Top())
		} else {
			deeper, tops = append(deeper, p), append(tops, payload.KeyPath(p.Top()))
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	if len(deeper) == 0 {
		return edit([]op.Group{{IDs: ids}}, names), nil
	}
	gone := make([]payload.Path, len(names))
	for i, n := range names {
		gone[i] = payload.KeyPath(n)
	}
	groups, err := v.rewrite(ids, func(d payload.Doc) (payload.Doc, error) {
		old := payload.Project(d, tops, gone)
		return changed(old, payload.DeleteAt(old, deeper)), nil
	})
	return edit(groups, names), err
}

// changed keeps the fields of d whose values differ from those in old.
func changed(old, d payload.Doc) payload.Doc {
	var w payload.Writer
	for key, value := range d.All() {
		if was, _ := old.Get(key); !slices.Equal(was, value) {
			w.Field(key, value)
		}
	}
	return w.Doc()
}

// rewrite asks change for the payload of each point; points with equal answers share a
// group, those with an empty one the last.
func (v *resolver) rewrite(ids []topology.PointID, change func(payload.Doc) (payload.Doc, error)) ([]op.Group, error) {
	var groups []op.Group
	var same op.Group
	place := map[string]int{}
	for _, id := range ids {
		d, err := change(v.payload(id))
		if err != nil {
			return nil, fmt.Errorf("point %s: %w", id, err)
		}
		if len(d) == 0 {
			same.IDs = append(same.IDs, id)
			continue
		}
		at, ok := place[string(d)]
		if !ok {
			at = len(groups)
			place[string(d)] = at
			groups = append(groups, op.Group{Payload: d})
		}
		groups[at].IDs = append(groups[at].IDs, id)
	}
	if len(same.IDs) > 0 {
		groups = append(groups, same)
	}
	return groups, nil
}

func (v *resolver) deleteVectors(ids []topology.PointID) ([]op.Op, error) {
	names := slices.Clone(v.w.Keys)
	slices.Sort(names)
	names = slices.Compact(names)
	for i, n := range names {
		f := v.tail.Field(n)
		if f == nil {
			return nil, &part.VectorNameError{Name: n}
		}
		names[i] = f.Key()
	}
	if len(names) == 0 {
		return nil, nil
	}
	return []op.Op{{Kind: op.DeleteVectors, IDs: ids, Names: names}}, nil
}
