package peer

import (
	"cmp"
	"slices"

	shardv1 "github.com/pandodb/pando/gen/go/pando/shard/v1"
	"github.com/pandodb/pando/services/dataplane/internal/query"
	"github.com/pandodb/pando/services/dataplane/internal/schema"
	"google.golang.org/protobuf/proto"
)

// Settings is what a config entry of the collection's shards carries (W11).
func Settings(s *shardv1.Settings) ([]byte, error) {
	return proto.MarshalOptions{Deterministic: true}.Marshal(s)
}

// indexedFields reads out of settings which payload fields the engine is to index, by key.
// What this build does not know is left out: the field is read without an index then.
func indexedFields(s *shardv1.Settings) []query.FieldIndex {
	out := make([]query.FieldIndex, 0, len(s.GetPayloadIndexes()))
	for key, p := range s.GetPayloadIndexes() {
		if f, err := schema.Field(key, p); err == nil {
			out = append(out, f)
		}
	}
	slices.SortFunc(out, func(a, b query.FieldIndex) int { return cmp.Compare(a.Key, b.Key) })
	return out
}
