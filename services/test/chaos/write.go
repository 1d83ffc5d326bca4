package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/internal/fault"
)

// Points of a collection: their ids are 0 … points-1, and every run of groupSize is a group that a filter finds. Then
// come some that are large and written only to fill disks.
const (
	points     = 480
	groupSize  = 4
	heavy      = 64
	heavyBytes = 1 << 20
	dim        = 4
)

// How long a write and a read may take at the server; the client waits a little longer for its word.
const (
	writeSeconds = 8
	readSeconds  = 4
)

func groupOf(id int) int { return id / groupSize }

func membersOf(group int) []int {
	ids := make([]int, groupSize)
	for i := range ids {
		ids[i] = group*groupSize + i
	}
	return ids
}

// write is a request.
type write struct {
	n          int
	kind       kind
	ids        []int
	byFilter   bool // ids are a group, and the request names the group
	insertOnly bool // only where no point is
	large      bool // with a payload of heavyBytes
	wait       bool
	opID       string // a UUID; "" = none
}

// errNotSent: nobody was there to be asked.
var errNotSent = errors.New("not sent")

func pid(id int) *qdrant.PointId {
	return &qdrant.PointId{PointIdOptions: &qdrant.PointId_Num{Num: uint64(id)}}
}

func whole(n int) *qdrant.Value {
	return &qdrant.Value{Kind: &qdrant.Value_IntegerValue{IntegerValue: int64(n)}}
}

// vectorOf shows the number of the write that set it.
func vectorOf(n int) []float32 { return []float32{float32(n), 1, 0, 0} }

func dense(n int) *qdrant.Vectors {
	return &qdrant.Vectors{VectorsOptions: &qdrant.Vectors_Vector{Vector: &qdrant.Vector{Vector: &qdrant.Vector_Dense{Dense: &qdrant.DenseVector{Data: vectorOf(n)}}}}}
}

func ofGroup(group int) *qdrant.Filter {
	return &qdrant.Filter{Must: []*qdrant.Condition{{ConditionOneOf: &qdrant.Condition_Field{Field: &qdrant.FieldCondition{
		Key: "group", Match: &qdrant.Match{MatchValue: &qdrant.Match_Integer{Integer: int64(group)}}}}}}}
}

func (w write) selector() *qdrant.PointsSelector {
	if w.byFilter {
		return &qdrant.PointsSelector{PointsSelectorOneOf: &qdrant.PointsSelector_Filter{Filter: ofGroup(groupOf(w.ids[0]))}}
	}
	list := &qdrant.PointsIdsList{}
	for _, id := range w.ids {
		list.Ids = append(list.Ids, pid(id))
	}
	return &qdrant.PointsSelector{PointsSelectorOneOf: &qdrant.PointsSelector_Points{Points: list}}
}

// overGRPC sends a write by the generated client.
func (w write) overGRPC(ctx context.Context, conn *grpc.ClientConn, collection string) (outcome, error) {
	if w.opID != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "pando-op-id", w.opID)
	}
	c, limit := qdrant.NewPointsClient(conn), uint64(writeSeconds)
	var r *qdrant.PointsOperationResponse
	var err error
	switch w.kind {
	case upsert:
		req := &qdrant.UpsertPoints{CollectionName: collection, Wait: &w.wait, Timeout: &limit}
		if w.insertOnly {
			req.UpdateMode = qdrant.UpdateMode_InsertOnly.Enum()
		}
		for _, id := range w.ids {
			payload := map[string]*qdrant.Value{"base": whole(w.n), "group": whole(groupOf(id))}
			if w.large {
				payload["blob"] = &qdrant.Value{Kind: &qdrant.Value_StringValue{StringValue: strings.Repeat("x", heavyBytes)}}
			}
			req.Points = append(req.Points, &qdrant.PointStruct{Id: pid(id), Vectors: dense(w.n), Payload: payload})
		}
		r, err = c.Upsert(ctx, req)
	case remove:
		r, err = c.Delete(ctx, &qdrant.DeletePoints{CollectionName: collection, Wait: &w.wait, Timeout: &limit, Points: w.selector()})
	case setNote:
		r, err = c.SetPayload(ctx, &qdrant.SetPayloadPoints{CollectionName: collection, Wait: &w.wait, Timeout: &limit, PointsSelector: w.selector(),
			Payload: map[string]*qdrant.Value{"note": whole(w.n)}})
	case eraseNote:
		r, err = c.DeletePayload(ctx, &qdrant.DeletePayloadPoints{CollectionName: collection, Wait: &w.wait, Timeout: &limit, PointsSelector: w.selector(),
			Keys: []string{"note"}})
	default:
		req := &qdrant.UpdatePointVectors{CollectionName: collection, Wait: &w.wait, Timeout: &limit}
		for _, id := range w.ids {
			req.Points = append(req.Points, &qdrant.PointVectors{Id: pid(id), Vectors: dense(w.n)})
		}
		r, err = c.UpdateVectors(ctx, req)
	}
	if err != nil {
		return judge(err), err
	}
	return acknowledged(r.GetResult().GetStatus() == qdrant.UpdateStatus_Completed), nil
}

// judge tells what an error says of a write: a reason, but for one, says that nothing has happened.
func judge(err error) outcome {
	switch fault.ReasonOf(err) {
	case fault.Unspecified, fault.WriteOutcomeUnknown:
		return unknown
	}
	return refused
}

func acknowledged(shown bool) outcome {
	if shown {
		return applied
	}
	return committed
}

// overREST sends a write as JSON; none that is large.
func (w write) overREST(ctx context.Context, at, collection string) (outcome, error) {
	body := map[string]any{}
	if w.byFilter {
		body["filter"] = map[string]any{"must": []any{map[string]any{"key": "group", "match": map[string]any{"value": groupOf(w.ids[0])}}}}
	} else {
		body["points"] = w.ids
	}
	method, path := http.MethodPost, ""
	switch w.kind {
	case upsert, setVector:
		method, path = http.MethodPut, "/vectors"
		list := make([]any, len(w.ids))
		for i, id := range w.ids {
			one := map[string]any{"id": id, "vector": vectorOf(w.n)}
			if w.kind == upsert {
				path, one["payload"] = "", map[string]any{"base": w.n, "group": groupOf(id)}
			}
			list[i] = one
		}
		body["points"] = list
		if w.insertOnly {
			body["update_mode"] = "insert_only"
		}
	case remove:
		path = "/delete"
	case setNote:
		path, body["payload"] = "/payload", map[string]any{"note": w.n}
	default:
		path, body["keys"] = "/payload/delete", []string{"note"}
	}
	header := http.Header{}
	if w.opID != "" {
		header.Set("pando-op-id", w.opID)
	}
	var out struct{ Result struct{ Status string } }
	code, err := call(ctx, method, fmt.Sprintf("http://%s/collections/%s/points%s?wait=%v&timeout=%d", at, collection, path, w.wait, writeSeconds), header, body, &out)
	switch {
	case err == nil:
		return acknowledged(out.Result.Status == "completed"), nil
	case code == http.StatusServiceUnavailable, code == http.StatusInsufficientStorage, code >= 400 && code < 500 && code != http.StatusRequestTimeout:
		return refused, err
	}
	return unknown, err
}

// call sends JSON and reads the answer into out. The status is 0 if there was none.
func call(ctx context.Context, method, url string, header http.Header, body, out any) (int, error) {
	data, err := json.Marshal(body)
	if err != nil {
		return 0, err
	}
	r, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(string(data)))
	if err != nil {
		return 0, err
	}
	r.Header = header
	r.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
			err = fmt.Errorf("%w: %w", errNotSent, err)
		}
		return 0, err
	}
	text, err := io.ReadAll(resp.Body)
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return 0, err
	}
	if resp.StatusCode != http.StatusOK {
		var e struct{ Status struct{ Error string } }
		if err := json.Unmarshal(text, &e); err != nil {
			return 0, fmt.Errorf("%d %s", resp.StatusCode, text)
		}
		return resp.StatusCode, fmt.Errorf("%d %s", resp.StatusCode, e.Status.Error)
	}
	return resp.StatusCode, json.Unmarshal(text, out)
}
