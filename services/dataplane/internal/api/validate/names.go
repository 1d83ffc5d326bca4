package validate

import "github.com/pandodb/pando/gen/go/qdrant"

// addressed is a request about one named vector of a collection.
type addressed interface {
	GetCollectionName() string
	GetVectorName() string
	GetOrdering() *qdrant.WriteOrdering
}

func (c *Check) vectorOf(r addressed, timeout *uint64) {
	c.Name("collection_name", r.GetCollectionName())
	if r.GetVectorName() == "" {
		c.Add("vector_name", "value \"\" invalid, must be from 1 to %d characters", MaxVectorNameBytes)
	}
	c.VectorName("vector_name", r.GetVectorName())
	c.Timeout(timeout)
	c.Ordering(r.GetOrdering())
}

// OldVector checks a request that drops a vector.
func OldVector(r *qdrant.DeleteVectorNameRequest) error {
	var c Check
	c.vectorOf(r, r.Timeout)
	return c.Err()
}

// NewVector checks a request that adds a vector: its parameters obey what Create asks
// of a collection's.
func NewVector(r *qdrant.CreateVectorNameRequest) error {
	var c Check
	c.vectorOf(r, r.Timeout)
	switch o := r.GetVectorConfig().(type) {
	case *qdrant.CreateVectorNameRequest_DenseConfig:
		d := o.DenseConfig
		c.dense("dense", &qdrant.VectorParams{Size: d.GetSize(), Distance: d.GetDistance(), MultivectorConfig: d.GetMultivectorConfig(), Datatype: d.Datatype})
	case *qdrant.CreateVectorNameRequest_SparseConfig:
		c.weights("sparse.datatype", o.SparseConfig.GetDatatype())
		c.modifier("sparse", o.SparseConfig.GetModifier())
	default:
		c.refuse(unable("Malformed request: give the parameters of a dense or of a sparse vector"))
	}
	return c.Err()
}
