package points

import (
	"context"

	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/dataplane/internal/api/validate"
	"github.com/pandodb/pando/services/dataplane/internal/coordinator"
	"github.com/pandodb/pando/services/dataplane/internal/coordinator/plan"
	"github.com/pandodb/pando/services/internal/fault"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/wire"
	"google.golang.org/protobuf/proto"
)

// reference is a point whose vector stands for an input of a query.
type reference struct {
	id   topology.PointID
	wire *qdrant.PointId
	from place
	// want is what the vector must be, slot is where it is put.
	want validate.Vector
	slot *qdrant.VectorInput
}

// place is where referenced vectors are looked up.
type place struct {
	in     coordinator.Target
	vector string
	keys   *qdrant.ShardKeySelector
}

// same tells whether points of two places can be read together.
func (p place) same(as place) bool {
	return p.in.Collection.ID == as.in.Collection.ID && p.vector == as.vector && proto.Equal(p.keys, as.keys)
}

// lookup is where the ids in a query are looked up: in the collection itself or where
// `lookup_from` says.
func (b *builder) lookup(ctx context.Context, in *qdrant.PrefetchQuery, keys *qdrant.ShardKeySelector) (place, error) {
	from, vector := b.col, in.GetUsing()
	if l := in.GetLookupFrom(); l != nil {
		keys = l.GetShardKeySelector()
		if l.GetCollectionName() != "" {
			var err error
			if from, err = b.s.d.View.Resolve(ctx, l.GetCollectionName()); err != nil {
				return place{}, err
			}
		}
		if l.VectorName != nil {
			vector = *l.VectorName
		}
	}
	if _, err := from.Schema.Using(vector); err != nil {
		return place{}, err
	}
	t, err := b.s.target(ctx, from, keys, false)
	return place{t, vector, keys}, err
}

// refer notes that a point's vector is to be put into a slot.
func (b *builder) refer(from place, id *qdrant.PointId, want validate.Vector, slot *qdrant.VectorInput) error {
	pid, err := wire.PointID(id)
	if err != nil {
		return fault.Wrap(fault.Malformed, err, "Unable to parse UUID: %v", err)
	}
	b.refs = append(b.refs, &reference{id: pid, wire: id, from: from, want: want, slot: slot})
	return nil
}

// resolve puts the vectors of referenced points into their slots, those of one place
// with one read, and does what had to wait for them.
func (b *builder) resolve(ctx context.Context, read coordinator.Read) error {
	for rest := b.refs; len(rest) > 0; {
		var now, later []*reference
		for _, r := range rest {
			if r.from.same(rest[0].from) {
				now = append(now, r)
			} else {
				later = append(later, r)
			}
		}
		if err := b.fetch(ctx, read, now); err != nil {
			return err
		}
		rest = later
	}
	for _, f := range b.then {
		if err := f(); err != nil {
			return err
		}
	}
	return nil
}

func (b *builder) fetch(ctx context.Context, read coordinator.Read, refs []*reference) error {
	from := refs[0].from
	read.Target = from.in
	ids := make([]*qdrant.PointId, 0, len(refs))
	seen := map[topology.PointID]bool{}
	for _, r := range refs {
		if !seen[r.id] {
			seen[r.id] = true
			ids = append(ids, r.wire)
		}
	}
	sel := &qdrant.WithVectorsSelector{SelectorOptions: &qdrant.WithVectorsSelector_Enable{Enable: true}}
	if from.vector != "" {
		sel.SelectorOptions = &qdrant.WithVectorsSelector_Include{Include: &qdrant.VectorsSelector{Names: []string{from.vector}}}
	}
	points, err := b.s.d.Coordinator.Get(ctx, read, ids, coordinator.Select{Vectors: sel})
	if err != nil {
		return err
	}
	found, err := byID(points)
	if err != nil {
		return err
	}
	for _, r := range refs {
		p, ok := found[r.id]
		if !ok {
			return fault.New(fault.PointNotFound, "Not found: No point with id %s found", r.id)
		}
		in := inputOf(plan.Vector(p.GetVectors(), from.vector))
		if in == nil {
			return fault.BadInput("Point %s has no vector named `%s`", r.id, from.vector)
		}
		if in, err = r.want.Input(validate.Place{Part: "query"}, in); err != nil {
			return err
		}
		r.slot.Variant = in.GetVariant()
	}
	return nil
}

func byID(points []*qdrant.RetrievedPoint) (map[topology.PointID]*qdrant.RetrievedPoint, error) {
	out := make(map[topology.PointID]*qdrant.RetrievedPoint, len(points))
	for _, p := range points {
		id, err := wire.PointID(p.GetId())
		if err != nil {
			return nil, noID(err)
		}
		out[id] = p
	}
	return out, nil
}

func noID(err error) error {
	return fault.Wrap(fault.Unspecified, err, "Service internal error: a shard answered a point without an id")
}

// inputOf makes a query of a vector of an answer; nil if it is none.
func inputOf(v *qdrant.VectorOutput) *qdrant.VectorInput {
	switch o := v.GetVector().(type) {
	case *qdrant.VectorOutput_Dense:
		return &qdrant.VectorInput{Variant: &qdrant.VectorInput_Dense{Dense: o.Dense}}
	case *qdrant.VectorOutput_Sparse:
		return &qdrant.VectorInput{Variant: &qdrant.VectorInput_Sparse{Sparse: o.Sparse}}
	case *qdrant.VectorOutput_MultiDense:
		return &qdrant.VectorInput{Variant: &qdrant.VectorInput_MultiDense{MultiDense: o.MultiDense}}
	}
	return nil
}
