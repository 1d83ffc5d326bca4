package dialect

import (
	"fmt"
	"testing"

	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"

	"github.com/pandodb/pando/gen/go/qdrant"
	_ "github.com/pandodb/pando/gen/go/pando/cluster/v1"
)

func TestSmoke(t *testing.T) {
	c := New("qdrant", "pando.cluster.v1")
	for _, tc := range []struct {
		m    proto.Message
		json string
	}{
		{&qdrant.UpsertPoints{}, `{"points":[{"id":1,"vector":[0.1,0.2],"payload":{"a":1,"b":1.0,"c":[1,null,"x"]}},{"id":"550e8400e29b41d4a716446655440000","vector":{"a":[1,2],"s":{"indices":[1],"values":[0.5]},"m":[[1,2],[3,4]]}}]}`},
		{&qdrant.UpsertPoints{}, `{"batch":{"ids":[1,2],"vectors":[[1,2],[3,4]],"payloads":[{"a":1},null]}}`},
		{&qdrant.QueryPoints{}, `{"query":[1,2],"filter":{"must":{"key":"a","match":{"value":1}},"must_not":[{"has_id":[1]},{"is_empty":{"key":"x"}},{"has_vector":"v"}]},"with_payload":["a"],"with_vectors":true,"limit":3,"prefetch":{"query":{"fusion":"rrf"}}}`},
		{&qdrant.CreateCollection{}, `{"vectors":{"size":4,"distance":"Cosine"},"optimizers_config":{"max_optimization_threads":"auto"},"quantization_config":{"scalar":{"type":"int8"}},"metadata":{"a":1}}`},
		{&qdrant.CreateCollection{}, `{"vectors":{"a":{"size":4,"distance":"Cosine"}},"sparse_vectors":{"s":{}}}`},
		{&qdrant.QueryPoints{}, `{"query":{"formula":{"sum":["$score",{"mult":[2,{"key":"a","match":{"value":"x"}}]}]},"defaults":{"x":1}}}`},
	} {
		if err := c.Decode([]byte(tc.json), tc.m); err != nil {
			t.Error(err)
			continue
		}
		fmt.Println(prototext.MarshalOptions{}.Format(tc.m))
		fmt.Println(string(c.Append(nil, tc.m, Options{})))
		fmt.Println(string(c.Append(nil, tc.m, Options{Response: true})))
	}
}
