package rest

import (
	"encoding/json"
	"fmt"

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
	if err := dialect.New("qdrant").Decode(body, out); err != nil {
		return nil, fmt.Errorf("defaults of new collections: %w", err)
	}
	named := proto.CloneOf(out)
	if named.CollectionName = "new"; validate.Create(named) != nil {
		return nil, fmt.Errorf("defaults of new collections: %s", fault.From(validate.Create(named)).Msg)
	}
	return out, nil
}
