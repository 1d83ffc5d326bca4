package main

import (
	"context"
	"fmt"
	"net/http"

	"google.golang.org/grpc"

	"github.com/pandodb/pando/gen/go/qdrant"
)

// read is a request. What it finds of points that it names is compared with the history.
type read struct {
	kind readKind
	ids  []int // a group
}

type readKind uint8

const (
	get    readKind = iota // the ids
	scroll                 // the group, by filter
	search                 // the nearest to something
	count                  // all
	readKinds
)

var readNames = [...]string{"get", "scroll", "search", "count"}

func (k readKind) String() string { return readNames[k] }

// limitOf a scroll: more than a group has.
const limitOf = 2 * groupSize

// stateOf reads a point as it comes back.
func stateOf(p *qdrant.RetrievedPoint) state {
	s := state{there: true, base: int(p.GetPayload()["base"].GetIntegerValue()), note: int(p.GetPayload()["note"].GetIntegerValue())}
	if v := p.GetVectors().GetVector().GetDense().GetData(); len(v) == dim {
		s.vector = int(v[0])
	}
	return s
}

func everything() (*qdrant.WithPayloadSelector, *qdrant.WithVectorsSelector) {
	return &qdrant.WithPayloadSelector{SelectorOptions: &qdrant.WithPayloadSelector_Enable{Enable: true}},
		&qdrant.WithVectorsSelector{SelectorOptions: &qdrant.WithVectorsSelector_Enable{Enable: true}}
}

// overGRPC reads by the generated client; found is nil where no points were asked for.
func (r read) overGRPC(ctx context.Context, conn *grpc.ClientConn, collection string) (found map[int]state, err error) {
	c, limit := qdrant.NewPointsClient(conn), uint64(readSeconds)
	payload, vectors := everything()
	var list []*qdrant.RetrievedPoint
	switch r.kind {
	case get:
		req := &qdrant.GetPoints{CollectionName: collection, WithPayload: payload, WithVectors: vectors, Timeout: &limit}
		for _, id := range r.ids {
			req.Ids = append(req.Ids, pid(id))
		}
		resp, err := c.Get(ctx, req)
		if err != nil {
			return nil, err
		}
		list = resp.GetResult()
	case scroll:
		most := uint32(limitOf)
		resp, err := c.Scroll(ctx, &qdrant.ScrollPoints{CollectionName: collection, Filter: ofGroup(groupOf(r.ids[0])), Limit: &most,
			WithPayload: payload, WithVectors: vectors, Timeout: &limit})
		if err != nil {
			return nil, err
		}
		list = resp.GetResult()
	case search:
		most := uint64(5)
		_, err := c.Query(ctx, &qdrant.QueryPoints{CollectionName: collection, Limit: &most, Timeout: &limit,
			Query: &qdrant.Query{Variant: &qdrant.Query_Nearest{Nearest: &qdrant.VectorInput{Variant: &qdrant.VectorInput_Dense{Dense: &qdrant.DenseVector{Data: vectorOf(1)}}}}}})
		return nil, err
	default:
		exact := true
		_, err := c.Count(ctx, &qdrant.CountPoints{CollectionName: collection, Exact: &exact, Timeout: &limit})
		return nil, err
	}
	found = map[int]state{}
	for _, p := range list {
		found[int(p.GetId().GetNum())] = stateOf(p)
	}
	return found, nil
}

// row is a point as JSON has it.
type row struct {
	ID      int
	Vector  []float32
	Payload struct{ Base, Note int }
}

// overREST reads by JSON.
func (r read) overREST(ctx context.Context, at, collection string) (found map[int]state, err error) {
	body := map[string]any{"with_payload": true, "with_vector": true}
	path, group := "", map[string]any{"must": []any{map[string]any{"key": "group", "match": map[string]any{"value": groupOf(r.ids[0])}}}}
	var list []row
	var out any = &struct{ Result any }{}
	switch r.kind {
	case get:
		body["ids"], out = r.ids, &struct{ Result *[]row }{&list}
	case scroll:
		path, body["filter"], body["limit"] = "/scroll", group, limitOf
		out = &struct{ Result struct{ Points *[]row } }{struct{ Points *[]row }{&list}}
	case search:
		path, body = "/query", map[string]any{"query": vectorOf(1), "limit": 5}
	default:
		path, body = "/count", map[string]any{"exact": true}
	}
	_, err = call(ctx, http.MethodPost, fmt.Sprintf("http://%s/collections/%s/points%s?timeout=%d", at, collection, path, readSeconds), http.Header{}, body, out)
	if err != nil || r.kind > scroll {
		return nil, err
	}
	found = map[int]state{}
	for _, p := range list {
		s := state{there: true, base: p.Payload.Base, note: p.Payload.Note}
		if len(p.Vector) == dim {
			s.vector = int(p.Vector[0])
		}
		found[p.ID] = s
	}
	return found, nil
}
