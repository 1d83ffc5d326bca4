package main

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/qdrant/go-client/qdrant"
)

const (
	dim    = 300
	count  = 600
	shards = 6
)

// vector gives numbers of a small congruential generator, equal in every language of this folder.
func vector(i, size int) []float32 {
	out := make([]float32, size)
	state := (i*7919 + 17) % 233280
	for j := range out {
		state = (state*9301 + 49297) % 233280
		out[j] = float32(float64(state)/116640 - 1)
	}
	return out
}

// key is a point id that can be compared: numbers in front of UUIDs, both in their order.
type key struct {
	uuid string
	num  uint64
}

func (k key) compare(o key) int {
	return cmp.Or(cmp.Compare(k.uuid, o.uuid), cmp.Compare(k.num, o.num))
}

func (k key) id() *qdrant.PointId {
	if k.uuid != "" {
		return qdrant.NewIDUUID(k.uuid)
	}
	return qdrant.NewIDNum(k.num)
}

func keyOf(id *qdrant.PointId) key { return key{id.GetUuid(), id.GetNum()} }

// name is the id of the point with number i: every tenth has a UUID.
func name(i int) key {
	if i%10 == 9 {
		return key{uuid: fmt.Sprintf("00000000-0000-5eed-0000-%012x", i)}
	}
	return key{num: uint64(i)}
}

func ids(keys ...key) []*qdrant.PointId {
	out := make([]*qdrant.PointId, len(keys))
	for i, k := range keys {
		out[i] = k.id()
	}
	return out
}

// payload is what the point with number i carries.
func payload(i int) map[string]any {
	p := map[string]any{
		"n": int64(i), "color": []string{"red", "green", "blue"}[i%3], "price": float64(i) / 4, "flag": i%2 == 0,
		"tags": []any{fmt.Sprintf("t%d", i%5), fmt.Sprintf("s%d", i%7)},
		"nested": map[string]any{"deep": int64(i % 11), "list": []any{
			map[string]any{"a": int64(i % 3), "b": int64(i % 2)}, map[string]any{"a": int64(i % 4), "b": int64(7)}}},
	}
	if i%4 != 0 {
		p["maybe"] = []any{nil, nil, []any{}, "x"}[i%4]
	}
	return p
}

// plain turns a payload on the wire into Go values.
func plain(m map[string]*qdrant.Value) map[string]any {
	out := make(map[string]any, len(m))
	for k, v := range m {
		out[k] = plainValue(v)
	}
	return out
}

func plainValue(v *qdrant.Value) any {
	switch k := v.GetKind().(type) {
	case *qdrant.Value_BoolValue:
		return k.BoolValue
	case *qdrant.Value_IntegerValue:
		return k.IntegerValue
	case *qdrant.Value_DoubleValue:
		return k.DoubleValue
	case *qdrant.Value_StringValue:
		return k.StringValue
	case *qdrant.Value_ListValue:
		out := make([]any, 0, len(k.ListValue.GetValues()))
		for _, e := range k.ListValue.GetValues() {
			out = append(out, plainValue(e))
		}
		return out
	case *qdrant.Value_StructValue:
		return plain(k.StructValue.GetFields())
	}
	return nil
}

// truth is what the collection must hold: the second opinion of every check.
type truth struct {
	distance qdrant.Distance
	vectors  map[key][]float32
	payloads map[key]map[string]any
}

func newTruth(d qdrant.Distance) *truth {
	return &truth{d, map[key][]float32{}, map[key]map[string]any{}}
}

// filled is a collection as it is after upsert.
func filled() *truth {
	t := newTruth(qdrant.Distance_Cosine)
	for i := range count {
		t.put(name(i), vector(i, dim), payload(i))
	}
	return t
}

func (t *truth) put(k key, v []float32, p map[string]any) { t.vectors[k], t.payloads[k] = v, p }

func (t *truth) drop(keys ...key) {
	for _, k := range keys {
		delete(t.vectors, k)
		delete(t.payloads, k)
	}
}

func (t *truth) keys() []key { return slices.SortedFunc(maps.Keys(t.payloads), key.compare) }

type hit struct {
	score float64
	key   key
}

// nearest ranks all that keep lets through; nil keeps all.
func (t *truth) nearest(q []float32, keep func(key, map[string]any) bool) []hit {
	var out []hit
	for k, v := range t.vectors {
		if keep == nil || keep(k, t.payloads[k]) {
			out = append(out, hit{score(t.distance, q, v), k})
		}
	}
	sign := 1.0
	if t.distance == qdrant.Distance_Cosine || t.distance == qdrant.Distance_Dot {
		sign = -1
	}
	slices.SortFunc(out, func(a, b hit) int { return cmp.Compare(sign*a.score, sign*b.score) })
	return out
}

func score(d qdrant.Distance, a, b []float32) float64 {
	var dot, aa, bb, squares, sum float64
	for i := range a {
		x, y := float64(a[i]), float64(b[i])
		dot, aa, bb = dot+x*y, aa+x*x, bb+y*y
		squares += (x - y) * (x - y)
		sum += math.Abs(x - y)
	}
	switch d {
	case qdrant.Distance_Cosine:
		return dot / math.Sqrt(aa*bb)
	case qdrant.Distance_Dot:
		return dot
	case qdrant.Distance_Euclid:
		return math.Sqrt(squares)
	}
	return sum
}

// stored is the vector as a collection with this distance gives it back.
func (t *truth) stored(k key) []float32 {
	v := t.vectors[k]
	if t.distance != qdrant.Distance_Cosine {
		return v
	}
	var squares float64
	for _, x := range v {
		squares += float64(x) * float64(x)
	}
	out := make([]float32, len(v))
	for i, x := range v {
		out[i] = float32(float64(x) / math.Sqrt(squares))
	}
	return out
}

// near compares numbers within the precision of a float32.
func near(a, b float64) bool { return math.Abs(a-b) <= 2e-5*max(1, math.Abs(b)) }

func nearVector(a, b []float32) bool {
	return slices.EqualFunc(a, b, func(x, y float32) bool { return near(float64(x), float64(y)) })
}
