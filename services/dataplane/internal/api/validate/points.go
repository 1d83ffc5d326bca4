package validate

import (
	"math"

	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/payload"
	"github.com/pandodb/pando/services/internal/fault"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/wire"
)

// Upsert checks points and gives them without those that a later one of the
// same id replaces. It reuses the slice.
func (s Schema) Upsert(points []*qdrant.PointStruct) ([]*qdrant.PointStruct, error) {
	if len(points) == 0 {
		return nil, empty()
	}
	last := make(map[topology.PointID]int, len(points))
	for i, p := range points {
		id, err := wire.PointID(p.GetId())
		if err != nil {
			return nil, fault.Wrap(fault.Malformed, err, "Unable to parse UUID: %v", err)
		}
		last[id] = i
		if err := s.vectors(Place{List: "points", Index: i, Part: "vector"}, p.GetVectors()); err != nil {
			return nil, err
		}
		size, err := document(Place{List: "points", Index: i, Part: "payload"}, p.GetPayload())
		if err != nil {
			return nil, err
		}
		if err := fits(i, p.GetVectors(), size); err != nil {
			return nil, err
		}
	}
	if len(last) == len(points) {
		return points, nil
	}
	out := points[:0]
	for i, p := range points {
		if id, err := wire.PointID(p.GetId()); err == nil && last[id] == i {
			out = append(out, p)
		}
	}
	return out, nil
}

// Vectors checks vectors that replace those of points.
func (s Schema) Vectors(points []*qdrant.PointVectors) error {
	if len(points) == 0 {
		return empty()
	}
	for i, p := range points {
		if err := ID(p.GetId()); err != nil {
			return err
		}
		at := Place{List: "points", Index: i, Part: "vector"}
		if p.GetVectors() == nil {
			return unable("Malformed vectors: %s is missing", at)
		}
		if err := s.vectors(at, p.GetVectors()); err != nil {
			return err
		}
		if err := fits(i, p.GetVectors(), 0); err != nil {
			return err
		}
	}
	return nil
}

// fits refuses a point that no entry of the log can hold; the slack is for id and
// counts.
func fits(i int, vs *qdrant.Vectors, payload int) error {
	const slack = 64
	if stored(vs)+payload > op.MaxBody-slack {
		return fault.BadInput("points[%d] is larger than %d MiB, vectors and payload together", i, op.MaxBody>>20)
	}
	return nil
}

// Payload checks what is to be stored with points.
func Payload(p map[string]*qdrant.Value) error {
	_, err := document(Place{Part: "payload"}, p)
	return err
}

// document checks a payload and gives its size as it is stored.
func document(at Place, m map[string]*qdrant.Value) (int, error) {
	size, err := fields(at, m, 1)
	if err == nil && size > payload.MaxSize {
		err = fault.BadInput("%s is larger than %d MiB", at, payload.MaxSize>>20)
	}
	return size, err
}

// fields checks the values of an object that is the level-th from the outside.
func fields(at Place, m map[string]*qdrant.Value, level int) (int, error) {
	if level > payload.MaxDepth {
		return 0, tooDeep(at)
	}
	size := payload.SizeOf(payload.Object, 0)
	for k, v := range m {
		n, err := value(at, v, level)
		if err != nil {
			return 0, err
		}
		size += payload.KeySize(k) + n
	}
	return size, nil
}

func tooDeep(at Place) error {
	return fault.BadInput("%s is nested deeper than %d levels", at, payload.MaxDepth)
}

func value(at Place, v *qdrant.Value, level int) (int, error) {
	switch o := v.GetKind().(type) {
	case *qdrant.Value_BoolValue:
		return payload.SizeOf(payload.Bool, 0), nil
	case *qdrant.Value_IntegerValue:
		return payload.SizeOf(payload.Integer, 0), nil
	case *qdrant.Value_DoubleValue:
		if math.IsNaN(o.DoubleValue) || math.IsInf(o.DoubleValue, 0) {
			return 0, fault.BadInput("%s holds a number that is NaN or infinite", at)
		}
		return payload.SizeOf(payload.Double, 0), nil
	case *qdrant.Value_StringValue:
		return payload.SizeOf(payload.String, len(o.StringValue)), nil
	case *qdrant.Value_StructValue:
		return fields(at, o.StructValue.GetFields(), level+1)
	case *qdrant.Value_ListValue:
		if level+1 > payload.MaxDepth {
			return 0, tooDeep(at)
		}
		size := payload.SizeOf(payload.List, 0)
		for _, e := range o.ListValue.GetValues() {
			n, err := value(at, e, level+1)
			if err != nil {
				return 0, err
			}
			size += n
		}
		return size, nil
	}
	return payload.SizeOf(payload.Null, 0), nil
}

// Params checks the parameters of a search that stands at a place: `searches[2].`.
func (c *Check) Params(at string, p *qdrant.SearchParams) {
	if p == nil {
		return
	}
	optAtLeast(c, at+"params.hnsw_ef", p.HnswEf, 1)
	if q := p.GetQuantization(); q != nil {
		optAtLeast(c, at+"params.quantization.oversampling", q.Oversampling, 1)
	}
	if a := p.GetAcorn(); a != nil {
		optBetween(c, at+"params.acorn.max_selectivity", a.MaxSelectivity, 0, 1)
	}
}

// Limit checks a number of points that must be at least 1.
func (c *Check) Limit(limit uint64) { c.LimitAt("limit", limit) }

// LimitAt is Limit for a field of another name.
func (c *Check) LimitAt(field string, limit uint64) { atLeast(c, field, limit, 1) }

// Threshold checks a score threshold.
func (c *Check) Threshold(at string, t *float32) {
	if t != nil && *t != *t {
		c.Add(at+"score_threshold", "value NaN invalid, must be a number")
	}
}

// Mode checks which points an upsert may touch.
func Mode(m qdrant.UpdateMode) error {
	if m < qdrant.UpdateMode_Upsert || m > qdrant.UpdateMode_UpdateOnly {
		return unable("Malformed update_mode: %d", int32(m))
	}
	return nil
}

// Some wants a list with something in it.
func Some(field string, n int) error {
	var c Check
	if n == 0 {
		c.Add(field, "value [] invalid, must not be empty")
	}
	return c.Err()
}

// Unknown is an element of a list that holds none of the known kinds.
func Unknown(list string, i int) error {
	return unable("Malformed request: %s[%d] holds nothing known", list, i)
}
