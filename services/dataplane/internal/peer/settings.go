package peer

import (
	"cmp"
	"fmt"
	"slices"

	shardv1 "github.com/pandodb/pando/gen/go/pando/shard/v1"
	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/dataplane/internal/query"
	"github.com/pandodb/pando/services/internal/topology"
	"google.golang.org/protobuf/proto"
)

// Settings is what a config entry of the collection's shards carries (W11).
func Settings(c *topology.Collection) ([]byte, error) {
	out := &shardv1.Settings{Config: &qdrant.CollectionConfig{}, PayloadIndexes: make(map[string]*qdrant.PayloadIndexParams, len(c.Indexes))}
	if err := proto.Unmarshal(c.Settings, out.Config); err != nil {
		return nil, fmt.Errorf("settings of collection %q: %w", c.Name, err)
	}
	for key, b := range c.Indexes {
		p := &qdrant.PayloadIndexParams{}
		if err := proto.Unmarshal(b, p); err != nil {
			return nil, fmt.Errorf("index %q of collection %q: %w", key, c.Name, err)
		}
		out.PayloadIndexes[key] = p
	}
	return proto.MarshalOptions{Deterministic: true}.Marshal(out)
}

// Fields reads out of such settings which payload fields the engine is to index,
// by key. A type that this build does not know is left out: the field is read
// without an index then.
func Fields(settings []byte) ([]query.FieldIndex, error) {
	var s shardv1.Settings
	if err := proto.Unmarshal(settings, &s); err != nil {
		return nil, err
	}
	out := make([]query.FieldIndex, 0, len(s.GetPayloadIndexes()))
	for key, p := range s.GetPayloadIndexes() {
		f := query.FieldIndex{Key: key}
		switch o := p.GetIndexParams().(type) {
		case *qdrant.PayloadIndexParams_KeywordIndexParams:
			f.Type = query.KeywordField
		case *qdrant.PayloadIndexParams_IntegerIndexParams:
			f.Type = query.IntegerField
			f.Lookup = o.IntegerIndexParams.Lookup == nil || *o.IntegerIndexParams.Lookup
			f.Range = o.IntegerIndexParams.Range == nil || *o.IntegerIndexParams.Range
		case *qdrant.PayloadIndexParams_FloatIndexParams:
			f.Type = query.FloatField
		case *qdrant.PayloadIndexParams_BoolIndexParams:
			f.Type = query.BoolField
		case *qdrant.PayloadIndexParams_DatetimeIndexParams:
			f.Type = query.DatetimeField
		case *qdrant.PayloadIndexParams_UuidIndexParams:
			f.Type = query.UUIDField
		default:
			continue
		}
		out = append(out, f)
	}
	slices.SortFunc(out, func(a, b query.FieldIndex) int { return cmp.Compare(a.Key, b.Key) })
	return out, nil
}
