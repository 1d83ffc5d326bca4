package dialect

import (
	"errors"
	"math"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	clusterv1 "github.com/pandodb/pando/gen/go/pando/cluster/v1"
	"github.com/pandodb/pando/gen/go/qdrant"
)

func codec() *Codec { return New("qdrant", "pando.cluster.v1") }

// TestBothWays reads JSON, prints it and reads that again. Each row is a form
// that differs from a plain object of the message's fields.
func TestBothWays(t *testing.T) {
	const uuid = "550e8400-e29b-41d4-a716-446655440000"
	tests := []struct {
		name    string
		message proto.Message
		in      string
		out     string // empty if as in
	}{
		{"id, number", &qdrant.PointId{}, `18446744073709551615`, ``},
		{"id, hyphens", &qdrant.PointId{}, `"` + uuid + `"`, ``},
		{"id, simple", &qdrant.PointId{}, `"550E8400E29B41D4A716446655440000"`, `"` + uuid + `"`},
		{"id, urn", &qdrant.PointId{}, `"urn:uuid:` + uuid + `"`, `"` + uuid + `"`},
		{"value, null", &qdrant.Value{}, `null`, ``},
		{"value, integer", &qdrant.Value{}, `-9223372036854775808`, ``},
		{"value, double", &qdrant.Value{}, `1.0`, ``},
		{"value, beyond int64", &qdrant.Value{}, `9223372036854775808`, `9223372036854776000.0`[:0] + `9.223372036854776e18`},
		{"value, minus zero", &qdrant.Value{}, `-0`, `-0.0`},
		{"value, tiny", &qdrant.Value{}, `1E-7`, `1e-7`},
		{"value, text", &qdrant.Value{}, `"\u00e9\ud83d\ude00\/\u0007\"\\\n\r\t"`, `"é😀/\u0007\"\\\n\r\t"`},
		{"value, tree", &qdrant.Value{}, `{"b": [1, [], {}], "a": {"": true}}`, `{"a":{"":true},"b":[1,[],{}]}`},
		{"value, key twice", &qdrant.Value{}, `{"a":1,"a":2}`, `{"a":2}`},
		{"shard key, text", &qdrant.ShardKeySelector{}, `"a"`, ``},
		{"shard key, number", &qdrant.ShardKeySelector{}, `7`, ``},
		{"shard keys", &qdrant.ShardKeySelector{}, `["a",7]`, ``},
		{"shard key, list of one", &qdrant.ShardKeySelector{}, `["a"]`, `"a"`},
		{"shard key, fallback", &qdrant.ShardKeySelector{}, `{"target":"a","fallback":7}`, ``},
		{"with payload", &qdrant.WithPayloadSelector{}, `true`, ``},
		{"with payload, paths", &qdrant.WithPayloadSelector{}, `["a"]`, `{"include":["a"]}`},
		{"with payload, exclude", &qdrant.WithPayloadSelector{}, `{"exclude":["a","b"]}`, ``},
		{"with vectors", &qdrant.WithVectorsSelector{}, `false`, ``},
		{"with vectors, names", &qdrant.WithVectorsSelector{}, `["a"]`, ``},
		{"order by, key", &qdrant.OrderBy{}, `"n"`, `{"key":"n"}`},
		{"order by", &qdrant.OrderBy{}, `{"key":"n","direction":"asc","start_from":1.5}`, ``},
		{"start, integer", &qdrant.StartFrom{}, `5`, ``},
		{"start, date", &qdrant.StartFrom{}, `"2024-02-29"`, `"2024-02-29T00:00:00Z"`},
		{"time, RFC 3339", &qdrant.StartFrom{}, `"2024-02-29T12:30:00.25+02:00"`, `"2024-02-29T10:30:00.25Z"`},
		{"time, space", &qdrant.StartFrom{}, `"2024-02-29 12:30:00"`, `"2024-02-29T12:30:00Z"`},
		{"time, no zone", &qdrant.StartFrom{}, `"2024-02-29T12:30:00.5"`, `"2024-02-29T12:30:00.5Z"`},
		{"time, no seconds", &qdrant.StartFrom{}, `"2024-02-29 12:30"`, `"2024-02-29T12:30:00Z"`},
		{"lookup, name", &qdrant.WithLookup{}, `"c"`, `{"collection":"c"}`},
		{"dense", &qdrant.Vector{}, `[0.1,1,-2.5e-8]`, `[0.1,1.0,-2.5e-8]`},
		{"empty", &qdrant.Vector{}, `[]`, ``},
		{"multi", &qdrant.Vector{}, `[[1.0,2.0],[3.0,4.0]]`, ``},
		{"sparse", &qdrant.Vector{}, `{"values":[0.5],"indices":[4294967295]}`, `{"indices":[4294967295],"values":[0.5]}`},
		{"document", &qdrant.Vector{}, `{"text":"t","model":"m","options":{"k":1.2}}`, ``},
		{"image", &qdrant.Vector{}, `{"image":"u","model":"m"}`, ``},
		{"object", &qdrant.Vector{}, `{"object":{"a":1},"model":"m"}`, ``},
		{"vectors, one", &qdrant.Vectors{}, `[1.0]`, ``},
		{"vectors, named", &qdrant.Vectors{}, `{"text":[1.0],"":[2.0]}`, `{"":[2.0],"text":[1.0]}`},
		{"vectors, document", &qdrant.Vectors{}, `{"text":"t","model":"m"}`, ``},
		{"vectors, names like those of a sparse one", &qdrant.Vectors{}, `{"indices":[1.0],"values":[2.0]}`, ``},
		{"input, id", &qdrant.VectorInput{}, `5`, ``},
		{"input, uuid", &qdrant.VectorInput{}, `"` + uuid + `"`, ``},
		{"input, sparse", &qdrant.VectorInput{}, `{"indices":[1],"values":[0.5]}`, ``},
		{"example, id", &qdrant.VectorExample{}, `5`, ``},
		{"target", &qdrant.TargetVector{}, `[1.0]`, ``},
		{"filter, one condition", &qdrant.Filter{}, `{"must":{"key":"a","is_null":true}}`, `{"must":[{"key":"a","is_null":true}]}`},
		{"filter, null", &qdrant.Filter{}, `{"must":null}`, `{}`},
		{"filter, key twice", &qdrant.Filter{}, `{"must":[{"has_id":[1]}],"must":[{"has_id":[2]}]}`, `{"must":[{"has_id":[2]}]}`},
		{"match text", &qdrant.Match{}, `{"text":"t"}`, ``},
		{"match any of none", &qdrant.Match{}, `{"any":[]}`, ``},
		{"match any integers", &qdrant.Match{}, `{"any":[1,-2]}`, ``},
		{"match except", &qdrant.Match{}, `{"except":["a"]}`, ``},
		{"match except integers", &qdrant.Match{}, `{"except":[1]}`, ``},
		{"match boolean", &qdrant.Match{}, `{"value":false}`, ``},
		{"match integer", &qdrant.Match{}, `{"value":-9223372036854775808}`, ``},
		{"conditions", &qdrant.Filter{}, `{"should":[{"key":"a","range":{"lt":1.5,"gte":-2.0}},{"key":"t","range":{"gt":"2024-01-01T00:00:00Z"}},` +
			`{"key":"g","geo_bounding_box":{"top_left":{"lon":1.0,"lat":2.0},"bottom_right":{"lon":3.0,"lat":0.0}}},` +
			`{"key":"g","geo_radius":{"center":{"lon":1.0,"lat":2.0},"radius":1000.5}},` +
			`{"key":"g","geo_polygon":{"exterior":{"points":[{"lon":0.0,"lat":0.0}]},"interiors":[{"points":[]}]}},` +
			`{"key":"c","values_count":{"lte":5}},{"is_empty":{"key":"e"}},{"key":"e","is_empty":false},{"is_null":{"key":"e"}},` +
			`{"has_id":[1,"` + uuid + `"]},{"has_vector":"v"},{"slice":{"total":4,"index":3}},` +
			`{"nested":{"key":"a[]","filter":{"must_not":[{"key":"b","match":{"prefix":"x"}}]}}},{"must":[{"has_id":[]}]},{}],` +
			`"min_should":{"conditions":[],"min_count":1}}`, ``},
		{"query, nearest", &qdrant.Query{}, `[0.5]`, `{"nearest":[0.5]}`},
		{"query, mmr", &qdrant.Query{}, `{"mmr":{"diversity":0.5},"nearest":5}`, `{"nearest":5,"mmr":{"diversity":0.5}}`},
		{"query, no mmr", &qdrant.Query{}, `{"nearest":5,"mmr":null}`, `{"nearest":5}`},
		{"query, context", &qdrant.Query{}, `{"context":{"positive":1,"negative":2}}`, `{"context":[{"positive":1,"negative":2}]}`},
		{"query, order", &qdrant.Query{}, `{"order_by":"n"}`, `{"order_by":{"key":"n"}}`},
		{"query, fusion", &qdrant.Query{}, `{"fusion":"dbsf"}`, ``},
		{"query, rrf", &qdrant.Query{}, `{"rrf":{"k":5,"weights":[1.0,0.5]}}`, ``},
		{"query, sample", &qdrant.Query{}, `{"sample":"random"}`, ``},
		{"query, text", &qdrant.Query{}, `{"text":"w"}`, `{"text":{"query":"w"}}`},
		{"query, text and scoring", &qdrant.Query{}, `{"text":{"query":"w","scoring":{"bm25":{"b":0.5}}}}`, ``},
		{"formula", &qdrant.Query{}, `{"formula":{"sum":["$score[0]",{"mult":[2.0,{"key":"a","match":{"value":"x"}}]}]},"defaults":{"a":1}}`, ``},
		{"operators", &qdrant.Expression{}, `{"max":[{"neg":1.0},{"div":{"left":1.0,"right":"x"}},{"lin_decay":{"x":{"datetime_key":"t"},"target":{"datetime":"2024-01-01"}}},{"acosh":2.0},{"must":[]}]}`,
			`{"max":[{"neg":1.0},{"div":{"left":1.0,"right":"x"}},{"lin_decay":{"x":{"datetime_key":"t"},"target":{"datetime":"2024-01-01"}}},{"acosh":2.0},{}]}`},
		{"idf", &qdrant.IdfParams{}, `"global"`, ``},
		{"idf, corpus", &qdrant.IdfParams{}, `{"corpus":{"must":[{"has_id":[1]}]}}`, ``},
		{"selector, points win", &qdrant.SetPayloadPoints{}, `{"payload":{},"points":[1],"filter":{}}`, `{"payload":{},"points":[1]}`},
		{"selector, points win before", &qdrant.SetPayloadPoints{}, `{"filter":{},"points":[1],"payload":{}}`, `{"payload":{},"points":[1]}`},
		{"vectors of a collection, one", &qdrant.VectorsConfig{}, `{"size":4,"distance":"Cosine"}`, ``},
		{"vectors of a collection, named size", &qdrant.VectorsConfig{}, `{"size":{"size":4,"distance":"Dot"}}`, ``},
		{"vectors of a collection, none", &qdrant.VectorsConfig{}, `{}`, ``},
		{"quantization off", &qdrant.QuantizationConfigDiff{}, `"Disabled"`, ``},
		{"quantization", &qdrant.QuantizationConfigDiff{}, `{"turbo":{"bits":"bits1_5"}}`, ``},
		{"query encoding", &qdrant.BinaryQuantization{}, `{"encoding":"two_bits","query_encoding":"scalar4bits"}`, ``},
		{"threads, auto", &qdrant.OptimizersConfigDiff{}, `{"max_optimization_threads":"auto"}`, ``},
		{"threads, number", &qdrant.OptimizersConfigDiff{}, `{"max_optimization_threads":0}`, ``},
		{"index, name", &qdrant.CreateFieldIndexCollection{}, `{"field_name":"a","field_schema":"uuid"}`, ``},
		{"index, parameters", &qdrant.CreateFieldIndexCollection{}, `{"field_name":"a","field_schema":{"type":"integer","lookup":true,"range":false}}`, ``},
		{"index, no prefix", &qdrant.KeywordIndexParams{}, `{"prefix":false}`, `{}`},
		{"index, no scoring", &qdrant.TextIndexParams{}, `{"tokenizer":"word","scoring":false}`, `{"tokenizer":"word"}`},
		{"stopwords", &qdrant.StopwordsSet{}, `"english"`, `{"languages":["english"],"custom":[]}`},
		{"stemmer", &qdrant.StemmingAlgorithm{}, `{"type":"snowball","language":"german"}`, ``},
		{"stemmer, none", &qdrant.StemmingAlgorithm{}, `{"type":"none"}`, ``},
		{"optimizer", &qdrant.OptimizerStatus{}, `"ok"`, ``},
		{"optimizer, error", &qdrant.OptimizerStatus{}, `{"error":"e"}`, ``},
		{"old search, sparse", &qdrant.SearchPoints{}, `{"limit":1,"vector":{"name":"s","vector":{"indices":[1],"values":[0.5]}}}`, ``},
		{"old recommend", &qdrant.RecommendPoints{}, `{"positive":[[1.0],5],"negative":[],"limit":1}`, `{"positive":[5,[1.0]],"negative":[],"limit":1}`},
	}
	c := codec()
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			if err := c.Decode([]byte(tc.in), tc.message); err != nil {
				t.Fatal(err)
			}
			want := tc.out
			if want == "" {
				want = tc.in
			}
			got := c.Append(nil, tc.message, Options{})
			if string(got) != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
			again := tc.message.ProtoReflect().New().Interface()
			if err := c.Decode(got, again); err != nil {
				t.Fatal(err)
			}
			if tc.name != "old recommend" && !proto.Equal(tc.message, again) {
				t.Errorf("read again: %v, was %v", again, tc.message)
			}
		})
	}
}

func TestFloats(t *testing.T) {
	for want, f := range map[string]float64{
		"0.0": 0, "-0.0": math.Copysign(0, -1), "1.0": 1, "0.1": 0.1, "1e-7": 1e-7, "0.00001": 1e-5, "9999999999999998.0": 9999999999999998,
		"1e16": 1e16, "1.5e300": 1.5e300, "-2.5e-10": -2.5e-10, "5e-324": 5e-324, "null": math.NaN(),
	} {
		if got := string(AppendFloat(nil, f, 64)); got != want {
			t.Errorf("%v: got %s, want %s", f, got, want)
		}
	}
	for want, f := range map[string]float32{"0.1": 0.1, "1e-45": 1e-45, "16777216.0": 1 << 24, "1e13": 1e13, "3.4028235e38": math.MaxFloat32, "null": float32(math.Inf(1))} {
		if got := string(AppendFloat(nil, float64(f), 32)); got != want {
			t.Errorf("%v: got %s, want %s", f, got, want)
		}
	}
}

// TestOldVectorForm prints what only gRPC clients send.
func TestOldVectorForm(t *testing.T) {
	two := uint32(2)
	for want, v := range map[string]*qdrant.Vector{
		`[1.0,2.0]`:                      {Data: []float32{1, 2}},
		`[[1.0],[2.0]]`:                  {Data: []float32{1, 2}, VectorsCount: &two},
		`{"indices":[7],"values":[1.0]}`: {Data: []float32{1}, Indices: &qdrant.SparseIndices{Data: []uint32{7}}},
	} {
		if got := string(codec().Append(nil, v, Options{})); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

// TestErrorsKeepSecrets looks for payload and vectors in error texts.
func TestErrorsKeepSecrets(t *testing.T) {
	for _, body := range []string{
		`{"points":[{"id":1,"vector":["secret"]}]}`,
		`{"points":[{"id":1,"vector":[1],"payload":{"secret":[1e999]}}]}`,
		`{"points":[{"id":1,"vector":[1],"payload":{"a":{"secret":1e999}}}]}`,
		`{"points":[{"id":1,"vector":[1],"payload":"secret"}]}`,
		`{"points":[{"id":1,"vector":[123456e99]}]}`,
	} {
		err := codec().Decode([]byte(body), &qdrant.UpsertPoints{})
		if err == nil || strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "123456") {
			t.Errorf("%s: %v", body, err)
		}
	}
}

func TestErrorHasPlace(t *testing.T) {
	err := codec().Decode([]byte("{\"filter\": {\n  \"must\": [{\"has_id\": [1, -5]}]}}"), &qdrant.ScrollPoints{})
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Path != "filter.must[0].has_id[1]" || e.Line != 2 || e.Column != 27 {
		t.Errorf("got %#v", err)
	}
}

// TestTableNamesExist keeps the table in step with the protos.
func TestTableNamesExist(t *testing.T) {
	table := rules()
	c := codec()
	for name := range table.messages {
		if c.messages[name] == nil {
			t.Errorf("no message %s", name)
		}
	}
	for name := range table.fields {
		if d, err := protoregistry.GlobalFiles.FindDescriptorByName(name); err != nil {
			t.Errorf("no field %s", name)
		} else if _, ok := d.(protoreflect.FieldDescriptor); !ok {
			t.Errorf("%s is no field", name)
		}
	}
	for name, members := range table.required {
		m := c.messages[name]
		if m == nil {
			t.Errorf("no message %s", name)
			continue
		}
		for _, member := range strings.Fields(members) {
			if m.fields[member] == nil {
				t.Errorf("%s has no member %s", name, member)
			}
		}
	}
	for _, m := range c.messages {
		if len(m.required) > 64 {
			t.Errorf("%s has too many required members", m.desc.FullName())
		}
		if (m.rule.sole != "" && m.sole == nil) || (m.rule.short != "" && m.short == nil) {
			t.Errorf("%s: the table names a field that is not there", m.desc.FullName())
		}
	}
}

// TestNoNameTwice finds members of one message that would hide each other.
func TestNoNameTwice(t *testing.T) {
	for _, m := range codec().messages {
		seen := map[string]bool{}
		for _, f := range m.order {
			if seen[f.name] && f.name != "range" {
				t.Errorf("%s has two members %s", m.desc.FullName(), f.name)
			}
			seen[f.name] = true
		}
	}
}

// requests are the request types of all services.
func requests() []protoreflect.MessageType {
	var out []protoreflect.MessageType
	for _, pkg := range []protoreflect.FullName{"qdrant", "pando.cluster.v1"} {
		protoregistry.GlobalFiles.RangeFilesByPackage(pkg, func(fd protoreflect.FileDescriptor) bool {
			for i := range fd.Services().Len() {
				methods := fd.Services().Get(i).Methods()
				for j := range methods.Len() {
					t, err := protoregistry.GlobalTypes.FindMessageByName(methods.Get(j).Input().FullName())
					if err == nil {
						out = append(out, t)
					}
				}
			}
			return true
		})
	}
	return out
}

// FuzzDecode reads any text as any request: it never panics, and what it reads
// it prints so that it reads the same again.
func FuzzDecode(f *testing.F) {
	types := requests()
	index := func(m proto.Message) uint8 {
		for i, t := range types {
			if t.Descriptor() == m.ProtoReflect().Descriptor() {
				return uint8(i)
			}
		}
		f.Fatalf("%T is no request", m)
		return 0
	}
	f.Add(index(&qdrant.UpsertPoints{}), `{"points":[{"id":1,"vector":{"a":[1,2],"s":{"indices":[1],"values":[2]}},"payload":{"a":[1.5,null]}}],"shard_key":{"target":"a","fallback":1}}`)
	f.Add(index(&qdrant.UpsertPoints{}), `{"batch":{"ids":[1],"vectors":{"a":[[1]]},"payloads":[{}]}}`)
	f.Add(index(&qdrant.QueryPoints{}), `{"prefetch":{"query":{"formula":{"sum":[1,"$score",{"exp_decay":{"x":{"key":"a","match":{"any":[1]}}}}]},"defaults":{"a":1}}},"query":{"nearest":[1],"mmr":{}},"with_payload":["a"],"params":{"idf":"global"}}`)
	f.Add(index(&qdrant.ScrollPoints{}), `{"filter":{"must":{"key":"a","range":{"gt":"2024-01-01"}},"should":[{"has_id":["550e8400-e29b-41d4-a716-446655440000"]},{"nested":{"key":"a","filter":{}}}]},"order_by":"a"}`)
	f.Add(index(&qdrant.CreateCollection{}), `{"vectors":{"":{"size":1,"distance":"Dot"}},"quantization_config":{"scalar":{"type":"int8"}},"optimizers_config":{"max_optimization_threads":"auto"},"metadata":{"a":1}}`)
	f.Add(index(&qdrant.CreateCollection{}), `{"vectors":{"":0}}`)
	f.Add(index(&qdrant.UpdateCollection{}), `{"vectors":{"":{"quantization_config":"Disabled"}}}`)
	f.Add(index(&qdrant.CreateFieldIndexCollection{}), `{"field_name":"a","field_schema":{"type":"text","stopwords":"english","stemmer":{"type":"none"}}}`)
	f.Add(index(&qdrant.UpdateBatchPoints{}), `{"operations":[{"upsert":{"points":[]}},{"delete":{"filter":{}}},{"set_payload":{"payload":{},"points":[1]}}]}`)
	f.Add(index(&qdrant.RecommendPoints{}), `{"positive":[1,[1]],"limit":1,"strategy":"best_score"}`)
	f.Add(index(&qdrant.SearchPointGroups{}), `{"vector":{"name":"a","vector":[1]},"limit":1,"group_by":"a","group_size":1}`)
	f.Add(index(&clusterv1.SetMetadataRequest{}), `{"a":1}`)
	c := codec()
	f.Fuzz(func(t *testing.T, which uint8, body string) {
		mt := types[int(which)%len(types)]
		first := mt.New().Interface()
		if c.Decode([]byte(body), first) != nil {
			return
		}
		text := c.Append(nil, first, Options{})
		second := mt.New().Interface()
		if err := c.Decode(text, second); err != nil {
			t.Fatalf("%s: %s does not read again: %v", mt.Descriptor().Name(), text, err)
		}
		if again := c.Append(nil, second, Options{}); string(again) != string(text) {
			t.Fatalf("%s: printed %s, then %s", mt.Descriptor().Name(), text, again)
		}
	})
}
