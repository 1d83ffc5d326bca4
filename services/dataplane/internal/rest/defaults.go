package rest

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/dataplane/internal/api/validate"
	"github.com/pandodb/pando/services/dataplane/internal/rest/dialect"
	"github.com/pandodb/pando/services/internal/fault"
)

// NewCollection reads members of the body of PUT /collections/{name}, which an operator
// has set as the defaults of new collections, and checks them as that call does. Its
// error names the member that is wrong.
func NewCollection(members map[string]any) (*qdrant.CreateCollection, error) {
	body, err := json.Marshal(members)
	if err != nil {
		return nil, fmt.Errorf("defaults of new collections: %w", err)
	}
	out := &qdrant.CreateCollection{}
	if len(members) == 0 {
		return out, nil
	}
	codec := dialect.New("qdrant")
	if err := codec.Decode(body, out); err != nil {
		return nil, fmt.Errorf("defaults of new collections: %w", err)
	}
	var read map[string]any
	if err := json.Unmarshal(codec.Append(nil, out, dialect.Options{}), &read); err != nil {
		return nil, fmt.Errorf("defaults of new collections: %w", err)
	}
	if unknown := unread("", members, read); unknown != "" {
		return nil, fmt.Errorf("defaults of new collections: there is no %s", unknown)
	}
	named := proto.CloneOf(out)
	if named.CollectionName = "new"; validate.Create(named) != nil {
		return nil, fmt.Errorf("defaults of new collections: %s", fault.From(validate.Create(named)).Msg)
	}
	return out, nil
}

// unread is the first member of want that got does not have. Calls pass over members
// that they do not know; a setting that nobody knows is a mistake.
func unread(at string, want, got map[string]any) string {
	for _, name := range slices.Sorted(maps.Keys(want)) {
		v, has := got[name]
		if !has {
			return at + name
		}
		below, is := want[name].(map[string]any)
		if inner, ok := v.(map[string]any); is && ok {
			if m := unread(at+name+".", below, inner); m != "" {
				return m
			}
		}
	}
	return ""
}
