// Package bare opens the search engine of one shard in this process, without network, log and replicas, for programs that
// measure it. It is no way to store anything: what is added is gone when the folder is.
package bare

import (
	"context"
	"fmt"
	"slices"

	"github.com/pandodb/pando/services/dataplane/internal/filter"
	"github.com/pandodb/pando/services/dataplane/internal/payload"
	"github.com/pandodb/pando/services/dataplane/internal/query"
)

// Options of an engine.
type Options struct {
	Dir                     string // a folder that is not there yet
	Dim                     int    // 0: vectors are sparse
	Distance                string // as in the public API: Cosine, Euclid, Dot, Manhattan
	M, EfConstruct, Threads int    // of the graph, and of its building
	Quantization            string // "", "scalar", "binary", "product" or "turbo"
	Fields                  []Field
}

// Field is a payload field to be indexed: of type "keyword" or "integer".
type Field struct {
	Key  string `json:"key"`
	Type string `json:"type"`
}

// Point is a row of the data: its number is its id.
type Point struct {
	ID      uint64
	Vector  []float32
	Indices []uint32 // of a sparse vector
	Payload map[string]any
}

// Query asks for the K nearest points.
type Query struct {
	Vector  []float32
	Indices []uint32
	K       int
	Ef      int // 0: the default
	Exact   bool
	Filter  *Filter // nil: all points
}

// Engine finds points. Any number of goroutines may search after Seal.
type Engine interface {
	Add(ctx context.Context, points []Point) error
	// Seal returns when all that was added is indexed.
	Seal(ctx context.Context) error
	// Search appends the ids of the nearest points to dst, the best first.
	Search(ctx context.Context, q *Query, dst []uint64) ([]uint64, error)
	Close() error
}

// Open makes an engine: the whole of a shard, as a replica drives it.
func Open(o Options) (Engine, error) { return openShard(o) }

func distanceOf(name string) (query.Distance, error) {
	names := []string{"Cosine", "Euclid", "Dot", "Manhattan"}
	i := slices.Index(names, name)
	if i < 0 {
		return 0, fmt.Errorf("there is no distance %q: one of %v", name, names)
	}
	return query.Cosine + query.Distance(i), nil
}

// Condition wants the value of Key to be one of Any, or a number from GTE on and below LT.
type Condition struct {
	Key string   `json:"key"`
	Any []any    `json:"any,omitempty"`
	GTE *float64 `json:"gte,omitempty"`
	LT  *float64 `json:"lt,omitempty"`
}

// Filter is conditions that all must hold.
type Filter filter.Filter

// NewFilter makes a filter.
func NewFilter(all []Condition) (*Filter, error) {
	f := &Filter{}
	for _, c := range all {
		if len(c.Any) == 0 {
			f.Must = append(f.Must, filter.Range{Key: filter.Key(c.Key), GTE: c.GTE, LT: c.LT})
			continue
		}
		var values []filter.Scalar
		for _, v := range c.Any {
			switch v := v.(type) {
			case string:
				values = append(values, filter.Scalar{Kind: filter.StringScalar, Str: v})
			case float64: // as JSON has them
				values = append(values, filter.Scalar{Kind: filter.IntScalar, Int: int64(v)})
			default:
				return nil, fmt.Errorf("%s: a value of type %T", c.Key, v)
			}
		}
		f.Must = append(f.Must, filter.MatchAny{Key: filter.Key(c.Key), Values: values})
	}
	return f, nil
}

// docOf stores a payload of texts, whole numbers and lists of texts.
func docOf(m map[string]any) (payload.Doc, error) {
	var b payload.Builder
	b.BeginObject()
	for k, v := range m {
		b.Key(k)
		switch v := v.(type) {
		case string:
			b.Str(v)
		case float64:
			b.Int(int64(v))
		case []string:
			b.BeginList()
			for _, s := range v {
				b.Str(s)
			}
			b.End()
		default:
			return nil, fmt.Errorf("%s: a value of type %T", k, v)
		}
	}
	b.End()
	return b.Doc()
}
