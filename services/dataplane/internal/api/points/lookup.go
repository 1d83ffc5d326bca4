package points

import (
	"context"

	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/dataplane/internal/api/validate"
	"github.com/pandodb/pando/services/dataplane/internal/api/view"
	"github.com/pandodb/pando/services/dataplane/internal/coordinator"
	"github.com/pandodb/pando/services/internal/fault"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/wire"
)

// reference is a point whose vector stands for a query.
type reference struct {
	id   topology.PointID
	wire *qdrant.PointId
	from place
	in   coordinator.Target
}

// place is where to find a referenced vector; points of one place are read
// together.
type place struct {
	collection topology.CollectionID
	vector     string
	keys       string // of the shards
}

// refer makes a question's reference: to a point of the collection itself or of
// the one that `lookup_from` names.
func (s *Service) refer(ctx context.Context, col *view.Collection, q *question, id *qdrant.PointId) error {
	pid, err := wire.PointID(id)
	if err != nil {
		return fault.Wrap(fault.Malformed, err, "Unable to parse UUID: %v", err)
	}
	from, vector, keys := col, q.in.GetUsing(), q.in.GetShardKeySelector()
	if l := q.in.GetLookupFrom(); l != nil {
		keys = l.GetShardKeySelector()
		if l.GetCollectionName() != "" {
			if from, err = s.d.View.Resolve(ctx, l.GetCollectionName()); err != nil {
				return err
			}
		}
		if l.VectorName != nil {
			vector = *l.VectorName
		}
	}
	if _, err := from.Schema.Using(vector); err != nil {
		return err
	}
	if from.ID == col.ID {
		q.exclude = id
	}
	t, err := s.target(ctx, from, keys, false)
	if err != nil {
		return err
	}
	q.ref = &reference{id: pid, wire: id, in: t, from: place{from.ID, vector, keys.String()}}
	return nil
}

// resolve puts the vectors of referenced points into their questions.
func (s *Service) resolve(ctx context.Context, read coordinator.Read, qs []*question) error {
	groups := map[place][]*question{}
	var order []place
	for _, q := range qs {
		if q.ref == nil {
			continue
		}
		if groups[q.ref.from] == nil {
			order = append(order, q.ref.from)
		}
		groups[q.ref.from] = append(groups[q.ref.from], q)
	}
	for _, at := range order {
		if err := s.fetch(ctx, read, at.vector, groups[at]); err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) fetch(ctx context.Context, read coordinator.Read, vector string, qs []*question) error {
	read.Target = qs[0].ref.in
	ids := make([]*qdrant.PointId, 0, len(qs))
	seen := map[topology.PointID]bool{}
	for _, q := range qs {
		if !seen[q.ref.id] {
			seen[q.ref.id] = true
			ids = append(ids, q.ref.wire)
		}
	}
	sel := &qdrant.WithVectorsSelector{SelectorOptions: &qdrant.WithVectorsSelector_Enable{Enable: true}}
	if vector != "" {
		sel.SelectorOptions = &qdrant.WithVectorsSelector_Include{Include: &qdrant.VectorsSelector{Names: []string{vector}}}
	}
	points, err := s.d.Coordinator.Get(ctx, read, ids, coordinator.Select{Vectors: sel})
	if err != nil {
		return err
	}
	found := make(map[topology.PointID]*qdrant.VectorsOutput, len(points))
	for _, p := range points {
		id, err := wire.PointID(p.GetId())
		if err != nil {
			return fault.Wrap(fault.Unspecified, err, "Service internal error: a shard answered a point without an id")
		}
		found[id] = p.GetVectors()
	}
	for _, q := range qs {
		v, ok := found[q.ref.id]
		if !ok {
			return fault.New(fault.PointNotFound, "Not found: No point with id %s found", q.ref.id)
		}
		in := inputOf(v, vector)
		if in == nil {
			return fault.BadInput("Point %s has no vector named `%s`", q.ref.id, vector)
		}
		if q.vector, err = q.want.Input(validate.Place{Part: "query"}, in); err != nil {
			return err
		}
	}
	return nil
}

// inputOf finds one vector among those of an answer; nil if it is not there.
func inputOf(v *qdrant.VectorsOutput, name string) *qdrant.VectorInput {
	one := v.GetVector()
	if named := v.GetVectors(); named != nil {
		one = named.GetVectors()[name]
	} else if name != "" {
		return nil
	}
	switch o := one.GetVector().(type) {
	case *qdrant.VectorOutput_Dense:
		return &qdrant.VectorInput{Variant: &qdrant.VectorInput_Dense{Dense: o.Dense}}
	case *qdrant.VectorOutput_Sparse:
		return &qdrant.VectorInput{Variant: &qdrant.VectorInput_Sparse{Sparse: o.Sparse}}
	case *qdrant.VectorOutput_MultiDense:
		return &qdrant.VectorInput{Variant: &qdrant.VectorInput_MultiDense{MultiDense: o.MultiDense}}
	}
	return nil
}
