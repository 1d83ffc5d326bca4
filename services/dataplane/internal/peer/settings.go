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

// Fields reads out of such settings which payload fields the engine is to index,
// by key. What this build does not know is left out: the field is read without an
// index then.
func Fields(settings []byte) ([]query.FieldIndex, error) {
	var s shardv1.Settings
	if err := proto.Unmarshal(settings, &s); err != nil {
		return nil, err
	}
	out := make([]query.FieldIndex, 0, len(s.GetPayloadIndexes()))
	for key, p := range s.GetPayloadIndexes() {
		if f, err := schema.Field(key, p); err == nil {
			out = append(out, f)
		}
	}
	slices.SortFunc(out, func(a, b query.FieldIndex) int { return cmp.Compare(a.Key, b.Key) })
	return out, nil
}
