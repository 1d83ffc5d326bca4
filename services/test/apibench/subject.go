package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/internal/rpc"
	"github.com/pandodb/pando/services/test/child"
	"github.com/pandodb/pando/services/test/settle"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

// subject is the peer that is measured, over either API.
type subject struct {
	options
	peer      *child.Process
	self, dir string
	conns     []*grpc.ClientConn
	web       *http.Client
	profiles  int
}

func newSubject(o options, p *child.Process, self, dir string) (*subject, error) {
	s := &subject{options: o, peer: p, self: self, dir: dir, web: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: many}}}
	for range many {
		cc, err := rpc.Dial(p.GRPC, rpc.DialOptions{})
		if err != nil {
			s.close()
			return nil, err
		}
		s.conns = append(s.conns, cc)
	}
	return s, nil
}

func (s *subject) close() {
	for _, cc := range s.conns {
		_ = cc.Close() // nothing is under way
	}
	s.web.CloseIdleConnections()
}

// post sends a body that is made already and reads the answer whole.
func (s *subject) post(ctx context.Context, method, path string, body []byte) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, method, "http://"+s.peer.REST+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/json")
	resp, err := s.web.Do(r)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(resp.Body)
	if err = errors.Join(err, resp.Body.Close()); err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %s: %s: %.200s", method, path, resp.Status, b)
	}
	return b, err
}

func num(id uint64) *qdrant.PointId {
	return &qdrant.PointId{PointIdOptions: &qdrant.PointId_Num{Num: id}}
}

// point has a keyword to group by and a number for formulas.
func point(id uint64, v []float32) *qdrant.PointStruct {
	return &qdrant.PointStruct{Id: num(id), Payload: map[string]*qdrant.Value{
		"group": {Kind: &qdrant.Value_StringValue{StringValue: fmt.Sprint("g", id%100)}}, "n": {Kind: &qdrant.Value_IntegerValue{IntegerValue: int64(id)}}},
		Vectors: &qdrant.Vectors{VectorsOptions: &qdrant.Vectors_Vector{Vector: &qdrant.Vector{Vector: &qdrant.Vector_Dense{Dense: &qdrant.DenseVector{Data: v}}}}}}
}

func nearest(v []float32) *qdrant.Query {
	return &qdrant.Query{Variant: &qdrant.Query_Nearest{Nearest: &qdrant.VectorInput{Variant: &qdrant.VectorInput_Dense{Dense: &qdrant.DenseVector{Data: v}}}}}
}

// fill stores a set in a collection of one shard and waits until it is green.
func (s *subject) fill(ctx context.Context, d set) error {
	collections, points := qdrant.NewCollectionsClient(s.conns[0]), qdrant.NewPointsClient(s.conns[0])
	if _, err := collections.Create(ctx, &qdrant.CreateCollection{CollectionName: d.name, ShardNumber: proto.Uint32(1),
		OptimizersConfig: &qdrant.OptimizersConfigDiff{IndexingThreshold: proto.Uint64(1000), DefaultSegmentNumber: proto.Uint64(1)},
		VectorsConfig:    &qdrant.VectorsConfig{Config: &qdrant.VectorsConfig_Params{Params: &qdrant.VectorParams{Size: uint64(d.dim()), Distance: qdrant.Distance_Cosine}}}}); err != nil {
		return err
	}
	const portion = 500
	for from := 0; from < len(d.base); from += portion {
		r := &qdrant.UpsertPoints{CollectionName: d.name, Wait: proto.Bool(true)}
		for i := from; i < min(from+portion, len(d.base)); i++ {
			r.Points = append(r.Points, point(uint64(i), d.base[i]))
		}
		if _, err := points.Upsert(ctx, r); err != nil {
			return err
		}
	}
	if _, err := points.CreateFieldIndex(ctx, &qdrant.CreateFieldIndexCollection{CollectionName: d.name, FieldName: "group", FieldType: qdrant.FieldType_FieldTypeKeyword.Enum(),
		Wait: proto.Bool(true)}); err != nil {
		return err
	}
	return settle.Green(ctx, collections, d.name)
}

// body is the search for v as JSON.
func body(v []float32) []byte {
	b, err := json.Marshal(map[string]any{"query": v, "limit": top})
	if err != nil {
		panic(err) // numbers of a data set are finite
	}
	return b
}
