// Command conformance checks a running peer with the published Go client and compares every answer with one computed
// here. Its last line is "N passed, M failed"; it exits with 1 when something failed. With the argument cluster,
// cluster-down or cluster-back it checks the cluster that PANDO_PEERS names.
package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strconv"
	"time"

	"github.com/qdrant/go-client/qdrant"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// limit bounds the whole run.
const limit = 3 * time.Minute

func main() {
	port, err := strconv.Atoi(cmp.Or(os.Getenv("PANDO_GRPC_PORT"), "6334"))
	if err != nil {
		fmt.Fprintln(os.Stderr, "PANDO_GRPC_PORT:", err)
		os.Exit(2)
	}
	s := &suite{coll: "conformance_go", truth: newTruth(qdrant.Distance_Cosine), calls: calls{made: map[string]bool{}}}
	cfg := &qdrant.Config{SkipCompatibilityCheck: true, GrpcOptions: []grpc.DialOption{grpc.WithChainUnaryInterceptor(s.calls.watch)}}
	flag.StringVar(&cfg.Host, "host", cmp.Or(os.Getenv("PANDO_HOST"), "127.0.0.1"), "host of the peer (PANDO_HOST)")
	flag.IntVar(&cfg.Port, "grpc-port", port, "gRPC port of the peer (PANDO_GRPC_PORT)")
	flag.StringVar(&cfg.APIKey, "api-key", os.Getenv("PANDO_API_KEY"), "API key (PANDO_API_KEY)")
	flag.BoolVar(&s.verbose, "v", false, "print every check")
	flag.Parse()
	if err := s.connect(cfg, flag.Arg(0)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	defer s.close()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	switch mode := flag.Arg(0); mode {
	case "":
		s.checks(ctx)
	case "cluster":
		s.sample(ctx)
		s.checks(ctx)
	default:
		s.sampleAgain(ctx, mode)
	}
	fmt.Printf("%d passed, %d failed\n", s.passed, s.failed)
	if s.failed > 0 || s.passed == 0 {
		os.Exit(1)
	}
}

// suite counts checks. Each part talks to the next peer; one that cannot go on panics with broken, which is one failed check.
type suite struct {
	*qdrant.Client
	peers          []*qdrant.Client
	coll           string
	factor         *uint32 // replicas of a shard; nil leaves it to the server
	truth          *truth
	calls          calls
	verbose        bool
	turn           int
	passed, failed int
}

type broken struct{ err error }

func (s *suite) checks(ctx context.Context) {
	for _, p := range []struct {
		name string
		do   func(context.Context)
	}{
		{"service", s.service}, {"create", s.create}, {"upsert", s.upsert}, {"get", s.get}, {"query", s.query}, {"filters", s.filters}, {"indexes", s.indexes},
		{"search", s.search}, {"older", s.older}, {"scroll", s.scroll}, {"pages", s.pages}, {"payloads", s.payloads}, {"delete", s.remove}, {"batch", s.batch}, {"knobs", s.knobs}, {"named", s.named},
		{"aliases", s.aliases}, {"info", s.info}, {"errors", s.errors}, {"keys", s.keys}, {"unbuilt", s.unbuilt}, {"drop", s.drop}, {"covered", s.covered},
	} {
		s.part(p.name, func() { p.do(ctx) })
		if s.passed == 0 {
			break // nobody answers
		}
	}
}

func (s *suite) part(name string, do func()) {
	s.Client = s.peers[s.turn%len(s.peers)]
	s.turn++
	defer func() {
		switch r := recover().(type) {
		case nil:
		case broken:
			s.ok(name+" breaks off", false, "%v", r.err)
		default:
			panic(r)
		}
	}()
	do()
}

func (s *suite) ok(what string, good bool, format string, args ...any) {
	if good {
		s.passed++
		if s.verbose {
			fmt.Println("ok   go:", what)
		}
		return
	}
	s.failed++
	text := fmt.Sprintf(format, args...)
	if len(text) > 600 {
		text = text[:600] + "…"
	}
	fmt.Printf("FAIL go: %s: %s\n", what, text)
}

func (s *suite) same(what string, got, want any) {
	s.ok(what, reflect.DeepEqual(got, want), "got %v, want %v", got, want)
}

// refused: the call must fail with this code.
func (s *suite) refused(what string, want codes.Code, err error) {
	s.ok(what, err != nil && codeOf(err) == want, "got %v, want %v", err, want)
}

// codeOf looks through the wrapping of the client.
func codeOf(err error) codes.Code {
	for e := err; e != nil; {
		if st, ok := status.FromError(e); ok {
			return st.Code()
		}
		u, ok := e.(interface{ Unwrap() error })
		if !ok {
			break
		}
		e = u.Unwrap()
	}
	return codes.Unknown
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(broken{err})
	}
	return v
}

func need(err error) {
	if err != nil {
		panic(broken{err})
	}
}

// hits compares ranked answers: each score as computed, and in order; ties may come in any order.
func (s *suite) hits(what string, got []*qdrant.ScoredPoint, want []hit) {
	scores := map[key]float64{}
	for _, h := range want {
		scores[h.key] = h.score
	}
	for i, h := range got {
		k := keyOf(h.GetId())
		computed, ok := scores[k]
		if !ok || !near(float64(h.GetScore()), computed) || i >= len(want) || !near(float64(h.GetScore()), want[i].score) {
			s.ok(what, false, "place %d: %v with score %v; computed %v", i, k, h.GetScore(), computed)
			return
		}
		delete(scores, k) // a second time is one too many
	}
	s.ok(what, true, "")
}

func keysOf[P interface{ GetId() *qdrant.PointId }](points []P) []key {
	out := []key{}
	for _, p := range points {
		out = append(out, keyOf(p.GetId()))
	}
	return out
}

func sorted(keys []key) []key {
	slices.SortFunc(keys, key.compare)
	return keys
}

func keysOfHits(hits []hit) []key {
	out := []key{}
	for _, h := range hits {
		out = append(out, h.key)
	}
	return out
}

// holds reads the points back and compares everything about them.
func (s *suite) holds(ctx context.Context, what string, want ...key) {
	got := must(s.Get(ctx, &qdrant.GetPoints{CollectionName: s.coll, Ids: ids(want...), WithPayload: qdrant.NewWithPayload(true), WithVectors: qdrant.NewWithVectors(true)}))
	s.same(what+": ids", sorted(keysOf(got)), sorted(slices.Clone(want)))
	for _, p := range got {
		k := keyOf(p.GetId())
		if !reflect.DeepEqual(plain(p.GetPayload()), s.truth.payloads[k]) {
			s.ok(what+": payload", false, "%v: got %v, want %v", k, plain(p.GetPayload()), s.truth.payloads[k])
			return
		}
		if !nearVector(dense(p.GetVectors()), s.truth.stored(k)) {
			s.ok(what+": vector", false, "%v: differs", k)
			return
		}
	}
	s.ok(what+": payloads and vectors", true, "")
}

func dense(v *qdrant.VectorsOutput) []float32 { return v.GetVector().GetDense().GetData() }
