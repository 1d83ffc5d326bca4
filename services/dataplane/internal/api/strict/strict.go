// Package strict holds requests against the limits of a collection's strict mode. It
// looks at the messages of the public API as they come and knows nothing of how they
// are answered, so that a limit holds for all calls that it is about. It is pure: what
// the collection holds and what time it is it is told.
package strict

import (
	"fmt"

	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/internal/fault"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Limits are those of one collection.
type Limits struct {
	*qdrant.StrictModeConfig
	// Indexes on its payload fields, by key.
	Indexes map[string]*qdrant.PayloadIndexParams
}

// Op is what a request does.
type Op struct {
	Write bool // it changes points
	// Cost is how many operations it counts for: searches of a batch, updates of one.
	Cost int
	// Points and Bytes are about what it stores; 0: it takes no room.
	Points, Bytes uint64
}

// Of tells what a request of the service qdrant.Points does.
func Of(req proto.Message) Op {
	switch r := req.(type) {
	case *qdrant.UpdateBatchPoints:
		op := Op{Write: true}
		for _, o := range r.GetOperations() {
			var one Op
			switch o := o.GetOperation().(type) {
			case *qdrant.PointsUpdateOperation_Upsert:
				one = storing(o.Upsert, len(o.Upsert.GetPoints()))
			case *qdrant.PointsUpdateOperation_UpdateVectors_:
				one = storing(o.UpdateVectors, 0)
			case *qdrant.PointsUpdateOperation_SetPayload_:
				one = storing(o.SetPayload, 0)
			case *qdrant.PointsUpdateOperation_OverwritePayload_:
				one = storing(o.OverwritePayload, 0)
			}
			op.Cost, op.Points, op.Bytes = op.Cost+1, op.Points+one.Points, op.Bytes+one.Bytes
		}
		return op
	case *qdrant.UpsertPoints:
		return storing(r, len(r.GetPoints()))
	case *qdrant.UpdatePointVectors, *qdrant.SetPayloadPoints:
		return storing(r, 0)
	case *qdrant.DeletePoints, *qdrant.DeletePointVectors, *qdrant.DeletePayloadPoints, *qdrant.ClearPayloadPoints,
		*qdrant.CreateFieldIndexCollection, *qdrant.DeleteFieldIndexCollection, *qdrant.CreateVectorNameRequest, *qdrant.DeleteVectorNameRequest:
		return Op{Write: true, Cost: 1}
	}
	_, n := batch(req)
	return Op{Cost: max(1, n)}
}

func storing(r proto.Message, points int) Op {
	return Op{Write: true, Cost: 1, Points: uint64(points), Bytes: uint64(proto.Size(r))}
}

// batch is how many searches a request holds, and the name of the field.
func batch(req proto.Message) (field string, n int) {
	switch r := req.(type) {
	case *qdrant.QueryBatchPoints:
		return "query_points", len(r.GetQueryPoints())
	case *qdrant.SearchBatchPoints:
		return "search_points", len(r.GetSearchPoints())
	case *qdrant.RecommendBatchPoints:
		return "recommend_points", len(r.GetRecommendPoints())
	case *qdrant.DiscoverBatchPoints:
		return "discover_points", len(r.GetDiscoverPoints())
	}
	return "", 0
}

// Check holds a request of the service qdrant.Points, which does op, against all limits
// that the request alone decides about. INVALID_ARGUMENT.
func (l *Limits) Check(req proto.Message, op Op) error {
	c := checker{Limits: l, write: op.Write}
	if field, n := batch(req); field != "" {
		c.most(field, uint64(n), l.SearchMaxBatchsize, "search_max_batchsize")
	}
	if r, ok := req.(*qdrant.CreateFieldIndexCollection); ok {
		c.index(r.GetFieldName())
	}
	c.walk(req.ProtoReflect())
	return c.err
}

// checker keeps the first violation.
type checker struct {
	*Limits
	write bool
	err   error
}

func (c *checker) refuse(format, help string, args ...any) {
	if c.err == nil {
		c.err = fault.New(fault.InvalidArgument, "%s. Help: %s", fmt.Sprintf(format, args...), help)
	}
}

// most refuses a value above a limit; nil: there is none.
func (c *checker) most(field string, is uint64, most *uint64, limit string) {
	if most != nil && is > *most {
		c.refuse("Limit exceeded %d > %d for %q", fmt.Sprintf("Reduce %q to or below %d, which the collection's %s allows.", field, *most, limit), is, *most, field)
	}
}

func wide(n *uint32) *uint64 {
	if n == nil {
		return nil
	}
	return new(uint64(*n))
}

// walk looks at a message and at all in it, but for the contents of points and queries.
func (c *checker) walk(m protoreflect.Message) {
	if c.err != nil || !m.IsValid() {
		return
	}
	switch r := m.Interface().(type) {
	case *qdrant.Filter:
		c.filter(r)
		return
	case *qdrant.SearchParams:
		c.params(r) // and on: a corpus is a filter
	case *qdrant.PointStruct:
		c.vectors(r.GetVectors())
		return
	case *qdrant.PointVectors:
		c.vectors(r.GetVectors())
		return
	case *qdrant.Value, *qdrant.PointId, *qdrant.Vector, *qdrant.DenseVector, *qdrant.VectorInput:
		return
	case *qdrant.UpsertPoints:
		c.most("points", uint64(len(r.GetPoints())), c.UpsertMaxBatchsize, "upsert_max_batchsize")
	case *qdrant.PointsUpdateOperation_PointStructList:
		c.most("points", uint64(len(r.GetPoints())), c.UpsertMaxBatchsize, "upsert_max_batchsize")
	case *qdrant.UpdatePointVectors:
		c.most("points", uint64(len(r.GetPoints())), c.UpsertMaxBatchsize, "upsert_max_batchsize")
	case *qdrant.PointsUpdateOperation_UpdateVectors:
		c.most("points", uint64(len(r.GetPoints())), c.UpsertMaxBatchsize, "upsert_max_batchsize")
	case *qdrant.Condition: // of a formula
		c.filter(&qdrant.Filter{Must: []*qdrant.Condition{r}})
		return
	}
	c.numbers(m)
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.Message() == nil:
		case f.IsMap():
			if f.MapValue().Message() != nil {
				v.Map().Range(func(_ protoreflect.MapKey, v protoreflect.Value) bool { c.walk(v.Message()); return c.err == nil })
			}
		case f.IsList():
			for i := 0; i < v.List().Len() && c.err == nil; i++ {
				c.walk(v.List().Get(i).Message())
			}
		default:
			c.walk(v.Message())
		}
		return c.err == nil
	})
}

// The numbers of points that are answered where a request does not say.
const (
	defaultLimit     = 10
	defaultGroupSize = 3
)

// numbers checks the limit and the timeout of a message that has them.
func (c *checker) numbers(m protoreflect.Message) {
	fields := m.Descriptor().Fields()
	number := func(name protoreflect.Name, unset uint64) (n uint64, there bool) {
		f := fields.ByName(name)
		if f == nil || f.Kind() != protoreflect.Uint64Kind && f.Kind() != protoreflect.Uint32Kind || f.IsList() {
			return 1, false
		}
		if !m.Has(f) {
			return unset, true
		}
		return m.Get(f).Uint(), true
	}
	if n, there := number("timeout", 0); there {
		c.most("timeout", n, wide(c.MaxTimeout), "max_timeout")
	}
	limit, limited := number("limit", defaultLimit)
	size, grouped := number("group_size", defaultGroupSize)
	if !limited || c.write {
		return
	}
	field := "limit"
	if grouped {
		field, limit = "limit * group_size", limit*size
	}
	c.most(field, limit, wide(c.MaxQueryLimit), "max_query_limit")
	if sample, sampled := number("sample", defaultLimit); sampled {
		c.most("sample", sample, wide(c.MaxQueryLimit), "max_query_limit")
	}
}

func (c *checker) params(p *qdrant.SearchParams) {
	if p.HnswEf != nil {
		c.most("hnsw_ef", p.GetHnswEf(), wide(c.SearchMaxHnswEf), "search_max_hnsw_ef")
	}
	if p.GetExact() && c.SearchAllowExact != nil && !*c.SearchAllowExact {
		c.refuse("Exact search is disabled", `Set "exact" to false, the collection's search_allow_exact is false.`)
	}
	if o, most := p.GetQuantization().GetOversampling(), c.SearchMaxOversampling; most != nil && o > float64(*most) {
		c.refuse("Limit exceeded %v > %v for \"oversampling\"", fmt.Sprintf("Reduce \"oversampling\" to or below %v, which the collection's search_max_oversampling allows.", *most), o, *most)
	}
}

// index checks how many indexes there will be.
func (c *checker) index(key string) {
	if _, there := c.Indexes[key]; !there && c.MaxPayloadIndexCount != nil && uint64(len(c.Indexes)) >= *c.MaxPayloadIndexCount {
		c.refuse("Collection already has the maximum number of payload indices (%d)", "Delete an index, or raise max_payload_index_count of the collection.",
			*c.MaxPayloadIndexCount)
	}
}

// vectors checks the lengths of multi-vectors and of sparse ones.
func (c *checker) vectors(vs *qdrant.Vectors) {
	if c.MultivectorConfig == nil && c.SparseConfig == nil {
		return
	}
	if v := vs.GetVector(); v != nil {
		c.vector("", v)
	}
	for name, v := range vs.GetVectors().GetVectors() {
		c.vector(name, v)
	}
}

func (c *checker) vector(name string, v *qdrant.Vector) {
	if l := c.GetMultivectorConfig().GetMultivectorConfig()[name]; l != nil {
		rows := len(v.GetMultiDense().GetVectors())
		if v.GetVector() == nil && v.GetVectorsCount() > 0 { // the flat form
			rows = int(v.GetVectorsCount())
		}
		c.most("vectors of multi-vector "+name, uint64(rows), l.MaxVectors, "multivector_config")
	}
	if l := c.GetSparseConfig().GetSparseConfig()[name]; l != nil {
		n := len(v.GetSparse().GetIndices())
		if v.GetVector() == nil { // the flat form
			n = len(v.GetIndices().GetData())
		}
		c.most("length of sparse vector "+name, uint64(n), l.MaxLength, "sparse_config")
	}
}

// Usage is what a collection holds.
type Usage struct{ Points, VectorBytes, PayloadBytes uint64 }

// Sized tells whether any limit is about what the collection holds.
func (l *Limits) Sized() bool {
	return l.MaxPointsCount != nil || l.MaxCollectionVectorSizeBytes != nil || l.MaxCollectionPayloadSizeBytes != nil
}

// Room refuses what takes room in a collection that has reached its size.
// INVALID_ARGUMENT.
func (l *Limits) Room(u Usage) error {
	for _, limit := range []struct {
		is    uint64
		most  *uint64
		what  string
		limit string
	}{
		{u.Points, l.MaxPointsCount, "points count limit of %d", "max_points_count"},
		{u.VectorBytes, l.MaxCollectionVectorSizeBytes, "vector storage size limit of %d bytes", "max_collection_vector_size_bytes"},
		{u.PayloadBytes, l.MaxCollectionPayloadSizeBytes, "payload storage size limit of %d bytes", "max_collection_payload_size_bytes"},
	} {
		if limit.most != nil && limit.is >= *limit.most {
			return fault.New(fault.InvalidArgument, "Max "+limit.what+" reached. Help: Delete points, or raise %s of the collection.", *limit.most, limit.limit)
		}
	}
	return nil
}
