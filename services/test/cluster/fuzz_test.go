package cluster

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pandodb/pando/services/controlplane"
	"github.com/pandodb/pando/services/internal/filled"
	"github.com/pandodb/pando/services/internal/vfs/memfs"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// The harnesses below send bad requests to a whole peer. Whatever comes, it
// answers, never with a failure of its own, and a write that it refuses has
// changed nothing. `make fuzz` runs the last of them, or another by name.

// FuzzRESTBodies sends any bytes to any route.
func FuzzRESTBodies(f *testing.F) {
	b := newBattered(f)
	for i, r := range b.requests {
		f.Add(uint(i), []byte(r.body))
	}
	f.Fuzz(func(t *testing.T, n uint, body []byte) {
		r := b.requests[n%uint(len(b.requests))]
		b.rest(t, request{r.verb, r.path, string(body)})
	})
}

// FuzzRESTPaths sends any path and query with real bodies.
func FuzzRESTPaths(f *testing.F) {
	b := newBattered(f)
	for i, r := range b.requests {
		f.Add(uint(i), r.path)
		f.Add(uint(i), r.path+"&timeout=1&ordering=weak&consistency=2&consistency=all")
	}
	f.Fuzz(func(t *testing.T, n uint, path string) {
		r := b.requests[n%uint(len(b.requests))]
		if u, err := url.ParseRequestURI(path); err != nil || !strings.HasPrefix(path, "/") || u.Host != "" || strings.ContainsAny(path, " \t\r\n\x00") {
			return // no HTTP client sends that
		}
		b.rest(t, request{r.verb, path, r.body})
	})
}

// FuzzGRPCBytes sends messages that are any bytes to any method.
func FuzzGRPCBytes(f *testing.F) {
	b := newBattered(f)
	for i, m := range b.methods {
		for seed := range 3 {
			text, err := proto.Marshal(b.message(m, uint64(seed)))
			if err != nil {
				f.Fatal(err)
			}
			f.Add(uint(i), text)
		}
	}
	f.Fuzz(func(t *testing.T, n uint, text []byte) {
		m := b.methods[n%uint(len(b.methods))]
		in := newMessage(m.Input())
		if proto.Unmarshal(text, in) == nil {
			b.grpc(t, m, in)
		}
	})
}

// TestBattered sends the same by a seed, without the engine that looks for new
// ways through the code: many times as many, and real requests in which some
// values are others. PANDO_FUZZ_FOR is how long (a duration), PANDO_FUZZ_SEED
// which; without them it is short.
func TestBattered(t *testing.T) {
	b := newBattered(t)
	seed, err := strconv.ParseUint(cmp.Or(os.Getenv("PANDO_FUZZ_SEED"), "1"), 10, 64)
	must(t, err)
	long, err := time.ParseDuration(cmp.Or(os.Getenv("PANDO_FUZZ_FOR"), "2s"))
	must(t, err)
	for end := time.Now().Add(long); time.Now().Before(end); b.sent++ {
		r := rand.New(rand.NewPCG(seed, b.sent))
		if q, ok := b.random(r); ok {
			b.rest(t, q)
			continue
		}
		m := b.methods[r.IntN(len(b.methods))]
		in := b.message(m, r.Uint64())
		if text, err := proto.Marshal(in); err == nil && r.IntN(4) == 0 {
			proto.Reset(in)
			if proto.Unmarshal(scratched(r, text), in) != nil {
				continue
			}
		}
		b.grpc(t, m, in)
	}
	t.Logf("seed %d: %d requests, %d of them accepted, %d changed something", seed, b.sent, b.accepted, b.changed)
}

// random is a request of REST; false: it is the turn of gRPC.
func (b *battered) random(r *rand.Rand) (request, bool) {
	q := b.requests[r.IntN(len(b.requests))]
	switch r.IntN(9) {
	case 0:
		q.body = string(scratched(r, []byte(q.body)))
	case 1:
		q.path = "/" + strings.TrimLeft(string(scratched(r, []byte(q.path))), "/")
	case 2, 3, 4:
		q.body = distort(r, q.body)
	case 5: // as it is, so that there is something to spoil
	default:
		return q, false
	}
	return q, true
}

// scratched is text with some bytes changed, left out, repeated or added.
func scratched(r *rand.Rand, text []byte) []byte {
	const signs = `"{}[],:0-9eE.\%/?&`
	out := slices.Clone(text)
	for range 1 + r.IntN(4) {
		if len(out) == 0 {
			out = []byte{'{'}
		}
		from := r.IntN(len(out))
		to := from + r.IntN(min(9, len(out)-from)+1)
		switch r.IntN(4) {
		case 0:
			out[from] ^= 1 << r.IntN(8)
		case 1:
			out = slices.Delete(out, from, to)
		case 2:
			out = slices.Insert(out, from, slices.Clone(out[from:to])...)
		default:
			out = slices.Insert(out, from, signs[r.IntN(len(signs))])
		}
	}
	return out
}

// request is one of REST.
type request struct{ verb, path, body string }

// battered is a peer with a collection that requests are about.
type battered struct {
	h        *house
	requests []request
	methods  []protoreflect.MethodDescriptor
	state    string // of the collection, as of the last look
	writes   int    // done since it was made

	sent, accepted, changed uint64
}

func newBattered(f testing.TB) *battered {
	f.Helper()
	b := &battered{h: enter(f, memfs.New(), controlplane.NewMemory(), nil), requests: requests(f), methods: methods(f)}
	f.Cleanup(b.h.crash)
	b.renew(f)
	return b
}

// renew makes the collection anew, with points, a field index and nothing beside it.
func (b *battered) renew(t testing.TB) {
	t.Helper()
	ok := func(verb, path, body string) string {
		code, answer := b.send(request{verb, path, body})
		if code != http.StatusOK {
			t.Fatalf("%s %s: %d %s", verb, path, code, answer)
		}
		return answer
	}
	var there struct {
		Result struct{ Collections []struct{ Name string } }
	}
	if err := json.Unmarshal([]byte(ok("GET", "/collections", "")), &there); err != nil {
		t.Fatal(err)
	}
	for _, c := range there.Result.Collections {
		ok("DELETE", "/collections/"+url.PathEscape(c.Name), "")
	}
	ok("PUT", "/collections/c", `{"vectors":{"size":2,"distance":"Dot"},"sparse_vectors":{"s":{}},"shard_number":1}`)
	ok("PUT", "/collections/c/index?wait=true", `{"field_name":"n","field_schema":"integer"}`)
	ok("PUT", "/collections/c/points?wait=true", `{"points":[{"id":1,"vector":[1,2],"payload":{"n":1,"city":"Berlin","l":[{"x":1},{"x":2}]}},
		{"id":2,"vector":{"":[3,4],"s":{"indices":[1,7],"values":[0.5,2]}},"payload":{"n":[2,3],"city":"London"}},{"id":"550e8400-e29b-41d4-a716-446655440000","vector":[5,6]}]}`)
	b.writes = 0
	b.state = b.look(t)
}

// look is what is stored, and what the collection is made with.
func (b *battered) look(t testing.TB) string {
	var out strings.Builder
	for _, r := range []request{
		{"GET", "/collections", ""}, {"GET", "/aliases", ""}, {"GET", "/collections/c", ""},
		{"POST", "/collections/c/points/scroll", `{"limit":1000,"with_payload":true,"with_vector":true}`},
	} {
		code, answer := b.send(r)
		if code >= http.StatusInternalServerError {
			t.Fatalf("%s %s: %d %s", r.verb, r.path, code, answer)
		}
		out.WriteString(unsteady.ReplaceAllString(answer, "") + "\n")
	}
	return out.String()
}

// unsteady is what changes by itself.
var unsteady = regexp.MustCompile(`"(time|status|optimizer_status|points_count|indexed_vectors_count|segments_count|update_queue|points)":("[a-z]*"|[0-9.e-]+|\{"length":\d+\}),?`)

// tooFew is the one failure that a request can ask for: reads from more replicas than there are.
const tooFew = "the read consistency asks for"

// within bounds a request: one that takes longer hangs.
const within = 20 * time.Second

func (b *battered) send(r request) (int, string) {
	ctx, cancel := context.WithTimeout(b.h.ctx, within)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, r.verb, "http://peer"+r.path, strings.NewReader(r.body))
	if err != nil {
		return 0, err.Error()
	}
	w := httptest.NewRecorder()
	b.h.data.Handler().ServeHTTP(w, req)
	return w.Code, w.Body.String()
}

// rest sends a request and judges the answer.
func (b *battered) rest(t *testing.T, r request) {
	code, answer := b.send(r)
	if code == 0 {
		return // no request at all
	}
	what := fmt.Sprintf("%s %s %.3000q: %d %.1000s", r.verb, r.path, r.body, code, answer)
	failed := code >= http.StatusInternalServerError && code != http.StatusNotImplemented || code == http.StatusRequestTimeout
	failed = failed && !strings.Contains(answer, tooFew)
	// The steps of a batch are done one after the other, up to the one that is refused.
	b.judge(t, what, failed, code < http.StatusBadRequest, strings.Contains(r.path, "/points/batch") && !strings.Contains(answer, "Format error"))
}

// grpc calls a method and judges the answer.
func (b *battered) grpc(t *testing.T, m protoreflect.MethodDescriptor, in proto.Message) {
	method := fmt.Sprintf("/%s/%s", m.Parent().FullName(), m.Name())
	ctx, cancel := context.WithTimeout(b.h.ctx, within)
	defer cancel()
	err := b.h.data.Local().Invoke(ctx, method, in, newMessage(m.Output()))
	failed := slices.Contains([]codes.Code{codes.Internal, codes.Unknown, codes.DataLoss, codes.Unavailable, codes.DeadlineExceeded}, status.Code(err))
	failed = failed && !strings.Contains(status.Convert(err).Message(), tooFew)
	b.judge(t, fmt.Sprintf("%s {%.3000s}: %v", method, in, err), failed, err == nil, m.Name() == "UpdateBatch")
}

// judge compares what is stored with what was before.
func (b *battered) judge(t *testing.T, what string, failed, accepted, inSteps bool) {
	if failed {
		t.Fatalf("request %d failed: %s", b.sent, what)
	}
	if accepted {
		b.accepted++
		// It may not have said `wait`: what is done after it is done later.
		b.send(request{"POST", "/collections/c/points/delete?wait=true", `{"points":[18446744073709551614]}`})
	}
	now := b.look(t)
	if !accepted && !inSteps && now != b.state {
		t.Fatalf("request %d was refused, and done all the same: %s\nbefore %s\nafter  %s", b.sent, what, b.state, now)
	}
	if now == b.state {
		return
	}
	b.state = now
	b.changed++
	if b.writes++; b.writes > 20 || !strings.Contains(now, `"collections":[{"name":"c"}]`) {
		b.renew(t)
	}
}

// requests are those of the golden files of package rest, about our collection.
func requests(f testing.TB) (out []request) {
	f.Helper()
	files, err := filepath.Glob("../../dataplane/internal/rest/testdata/*")
	if err != nil || len(files) == 0 {
		f.Fatal("no golden requests", err)
	}
	collection := regexp.MustCompile(`^/collections/[a-zäöüß%A-Z0-9 ]+`)
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		for _, block := range strings.Split(string(text), "\n\n") {
			lines := strings.Split(block, "\n")
			if len(lines) < 3 || lines[0] != "call" {
				continue
			}
			verb, path, _ := strings.Cut(lines[1], " ")
			body := lines[2]
			if !strings.HasPrefix(body, "{") {
				body = ""
			}
			if strings.HasPrefix(path, "/cluster/peer") {
				continue // it takes the peer out
			}
			path = collection.ReplaceAllString(path, "/collections/c")
			if verb != "GET" && strings.Contains(path, "/c/") && !strings.Contains(path, "wait=") {
				path, _, _ = strings.Cut(path, "?")
				path += "?wait=true"
			}
			out = append(out, request{verb, path, body})
		}
	}
	points := "/collections/c/points"
	out = append(out,
		request{"PUT", points + "?wait=true", `{"points":[{"id":1,"vector":[1,2],"payload":{"n":4}},{"id":7,"vector":{"s":{"indices":[3],"values":[1]}}}]}`},
		request{"PUT", points + "?wait=true", `{"batch":{"ids":[1,2],"vectors":{"":[[1,2],[3,4]]},"payloads":[{"n":1},null]}}`},
		request{"PUT", points + "/vectors?wait=true", `{"points":[{"id":1,"vector":{"":[9,9],"s":{"indices":[1],"values":[1]}}},{"id":2,"vector":[1,1]}]}`},
		request{"POST", points + "/vectors/delete?wait=true", `{"points":[1,2],"vector":["s"]}`},
		request{"POST", points + "/payload?wait=true", `{"payload":{"n":5,"o":{"x":[1,{"y":2}]}},"points":[1,2],"key":"l[0]"}`},
		request{"PUT", points + "/payload?wait=true", `{"payload":{"n":5},"filter":{"must":[{"key":"n","range":{"gte":1}}]}}`},
		request{"POST", points + "/payload/delete?wait=true", `{"keys":["l[].x","n"],"points":[1]}`},
		request{"POST", points + "/payload/clear?wait=true", `{"filter":{"must":[{"nested":{"key":"l","filter":{"must":[{"key":"x","match":{"any":[1]}}]}}}]}}`},
		request{"POST", points + "/delete?wait=true", `{"filter":{"must_not":[{"has_id":[1,2]}]}}`},
		request{"POST", points + "/batch?wait=true", `{"operations":[{"upsert":{"points":[{"id":8,"vector":[1,2]}]}},{"set_payload":{"payload":{"a":1},"points":[8]}},{"delete":{"points":[8]}}]}`},
		request{"POST", points + "/scroll", `{"filter":{"should":[{"key":"n","values_count":{"gt":0}},{"is_empty":{"key":"l"}}]},"limit":2,"order_by":{"key":"n","direction":"desc","start_from":3}}`},
		request{"POST", points + "/query", `{"query":[1,2],"filter":{"must":[{"key":"city","match":{"text":"Ber"}}]},"limit":3,"params":{"exact":true},"with_payload":["city"],"score_threshold":0.5}`},
		request{"POST", points + "/query", `{"query":{"indices":[1,7],"values":[1,2]},"using":"s","limit":3}`},
		request{"POST", points + "/query/batch", `{"searches":[{"query":1,"limit":2},{"query":[1,2],"offset":1}]}`},
		request{"POST", points + "/count", `{"filter":{"min_should":{"conditions":[{"key":"n","range":{"lt":9}},{"has_vector":"s"}],"min_count":1}}}`},
		request{"POST", "/collections/c/facet", `{"key":"n","exact":true,"limit":5}`},
		request{"PUT", "/collections/c/index?wait=true", `{"field_name":"city","field_schema":{"type":"text","tokenizer":"word","min_token_len":2,"stopwords":{"languages":["english"],"custom":["a"]}}}`},
		request{"PUT", "/collections/d", `{"vectors":{"a":{"size":3,"distance":"Cosine","hnsw_config":{"m":8},"quantization_config":{"scalar":{"type":"int8","quantile":0.9}}}},"shard_number":2}`},
		request{"PATCH", "/collections/c", `{"optimizers_config":{"indexing_threshold":100},"hnsw_config":{"ef_construct":50},"vectors":{"":{"on_disk":true}}}`},
		request{"POST", "/collections/aliases", `{"actions":[{"create_alias":{"collection_name":"c","alias_name":"e"}},{"delete_alias":{"alias_name":"e"}}]}`},
	)
	return out
}

// methods are all but those that take the peer out of its cluster.
func methods(f testing.TB) (out []protoreflect.MethodDescriptor) {
	f.Helper()
	for _, pkg := range []protoreflect.FullName{"qdrant", "pando.cluster.v1"} {
		protoregistry.GlobalFiles.RangeFilesByPackage(pkg, func(fd protoreflect.FileDescriptor) bool {
			for i := range fd.Services().Len() {
				list := fd.Services().Get(i).Methods()
				for j := range list.Len() {
					if m := list.Get(j); !m.IsStreamingServer() && m.Name() != "RemovePeer" && m.Name() != "RecoverPeer" && m.Name() != "ForceReplica" {
						out = append(out, m)
					}
				}
			}
			return true
		})
	}
	slices.SortFunc(out, func(a, b protoreflect.MethodDescriptor) int {
		return strings.Compare(string(a.FullName()), string(b.FullName()))
	})
	return out
}

func newMessage(d protoreflect.MessageDescriptor) proto.Message {
	mt, err := protoregistry.GlobalTypes.FindMessageByName(d.FullName())
	if err != nil {
		panic(err) // it is linked in
	}
	return mt.New().Interface()
}

// message is a request with everything set at random, most of them about our collection.
func (b *battered) message(m protoreflect.MethodDescriptor, seed uint64) proto.Message {
	r := rand.New(rand.NewPCG(seed, 2))
	in := newMessage(m.Input())
	filled.Fill(r, in.ProtoReflect())
	scatter(r, in.ProtoReflect(), 0)
	if fd := m.Input().Fields().ByName("collection_name"); fd != nil && r.IntN(8) > 0 {
		in.ProtoReflect().Set(fd, protoreflect.ValueOfString("c"))
	}
	if fd := m.Input().Fields().ByName("wait"); fd != nil {
		in.ProtoReflect().Set(fd, protoreflect.ValueOfBool(true))
	}
	return in
}

// scatter unsets some fields, and makes some values extreme or ordinary ones.
func scatter(r *rand.Rand, m protoreflect.Message, depth int) {
	for fd, v := range m.Range {
		switch {
		case r.IntN(6) == 0:
			m.Clear(fd)
		case fd.IsMap():
		case fd.IsList() && fd.Message() != nil:
			for i := range v.List().Len() {
				scatter(r, v.List().Get(i).Message(), depth+1)
			}
		case fd.IsList():
		case fd.Message() != nil:
			scatter(r, v.Message(), depth+1)
		case r.IntN(2) == 0:
			m.Set(fd, ordinary(r, fd))
		}
	}
}

func ordinary(r *rand.Rand, fd protoreflect.FieldDescriptor) protoreflect.Value {
	n := []int64{0, 1, 2, 3, 7, 1 << 31, -1, -1 << 63}[r.IntN(8)]
	switch fd.Kind() {
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(n&1 == 0)
	case protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(protoreflect.EnumNumber(n & 15))
	case protoreflect.Uint32Kind:
		return protoreflect.ValueOfUint32(uint32(n))
	case protoreflect.Uint64Kind:
		return protoreflect.ValueOfUint64(uint64(n))
	case protoreflect.Int32Kind:
		return protoreflect.ValueOfInt32(int32(n))
	case protoreflect.Int64Kind:
		return protoreflect.ValueOfInt64(n)
	case protoreflect.FloatKind:
		return protoreflect.ValueOfFloat32(float32(n) / float32(r.IntN(2)))
	case protoreflect.DoubleKind:
		return protoreflect.ValueOfFloat64(float64(n) / float64(r.IntN(2)))
	case protoreflect.StringKind:
		return protoreflect.ValueOfString([]string{"", "n", "s", "c", "l[].x", "city", "a..b", strings.Repeat("x", 300)}[r.IntN(8)])
	}
	return fd.Default()
}

// distort replaces, removes or repeats one to three values of a JSON text.
func distort(r *rand.Rand, text string) string {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber() // large ones as they are
	var v any
	if d.Decode(&v) != nil {
		return text
	}
	for range 1 + r.IntN(3) {
		v = distorted(r, v)
	}
	out, err := json.Marshal(v)
	if err != nil {
		return text
	}
	return string(out)
}

func distorted(r *rand.Rand, v any) any {
	if r.IntN(4) == 0 {
		return odd(r)
	}
	switch v := v.(type) {
	case map[string]any:
		if len(v) == 0 {
			return odd(r)
		}
		keys := slices.Sorted(maps.Keys(v))
		k := keys[r.IntN(len(keys))]
		switch r.IntN(8) {
		case 0:
			delete(v, k)
		case 1:
			v[keys[r.IntN(len(keys))]] = v[k]
		case 2:
			v[[]string{"", "filter", "points", "x", k + "s"}[r.IntN(5)]] = odd(r)
		default:
			v[k] = distorted(r, v[k])
		}
		return v
	case []any:
		if len(v) == 0 {
			return []any{odd(r)}
		}
		i := r.IntN(len(v))
		switch r.IntN(8) {
		case 0:
			return slices.Delete(v, i, i+1)
		case 1:
			return append(v, v[i])
		default:
			v[i] = distorted(r, v[i])
		}
		return v
	}
	return odd(r)
}

// odd is a value that does not fit, or just about does.
func odd(r *rand.Rand) any {
	deep := any(1)
	for range 1 + r.IntN(40) {
		deep = []any{deep}
	}
	values := []any{nil, true, false, -1, 0, 1, 2, 3, 1.5, json.Number("1e308"), json.Number("18446744073709551615"), json.Number("4294967296"), json.Number("-9223372036854775808"),
		"", "c", "n", "s", "l[].x", "a..b", "550e8400-e29b-41d4-a716-446655440000", strings.Repeat("x", 1+r.IntN(5000)), []any{}, map[string]any{}, []any{[]any{}}, []any{1, 2},
		map[string]any{"indices": []any{1, 1}, "values": []any{1}}, map[string]any{"must": []any{map[string]any{}}}, "2024-01-01", deep}
	return values[r.IntN(len(values))]
}
