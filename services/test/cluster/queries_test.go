package cluster

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"reflect"
	"slices"
	"testing"
)

// asker makes random queries of all kinds over the points of TestQueriesOverShards.
type asker struct{ *rand.Rand }

type object = map[string]any

func (a asker) of(some ...any) any { return some[a.IntN(len(some))] }

func (a asker) numbers(n int) []any {
	out := make([]any, n)
	for i := range out {
		out[i] = float64(a.IntN(21)-10) / 8
	}
	return out
}

// names are the vectors; of m, s and w there are no distances to be small.
func names() []any { return []any{"a", "e", "m", "s", "w"} }

func (a asker) vector(name string) any {
	switch name {
	case "m":
		return []any{a.numbers(2), a.numbers(2)}[:1+a.IntN(2)]
	case "s", "w":
		indices := a.Perm(9)[:1+a.IntN(4)]
		slices.Sort(indices)
		return object{"indices": indices, "values": a.numbers(len(indices))}
	}
	return a.numbers(4)
}

// input is a vector or the id of a point, all of which have all vectors.
func (a asker) input(name string) any {
	if a.IntN(2) == 0 {
		return a.IntN(90)
	}
	return a.vector(name)
}

func (a asker) inputs(name string, n int) []any {
	out := []any{}
	for range n {
		out = append(out, a.input(name))
	}
	return out
}

func (a asker) filter() any {
	return a.of(nil, nil, object{"must": object{"key": "n", "range": object{"gte": a.IntN(6)}}}, object{"should": []any{object{"key": "g", "match": object{"value": "x"}}, object{"key": "n", "range": object{"lt": 9}}}},
		object{"must_not": object{"has_id": []any{a.IntN(90), a.IntN(90)}}})
}

func (a asker) byVectors(name string) object {
	switch a.IntN(8) {
	case 0:
		return object{"nearest": a.input(name), "mmr": object{"diversity": a.Float32(), "candidates_limit": 5 + a.IntN(30)}}
	case 1, 2:
		return object{"recommend": object{"positive": a.inputs(name, 1+a.IntN(2)), "negative": a.inputs(name, a.IntN(2)), "strategy": "average_vector"}}
	case 3:
		pairs := []any{object{"positive": a.input(name), "negative": a.input(name)}, object{"positive": a.input(name), "negative": a.input(name)}}
		return a.of(object{"recommend": object{"positive": a.inputs(name, a.IntN(2)), "negative": a.inputs(name, 1), "strategy": a.of("best_score", "sum_scores")}},
			object{"discover": object{"target": a.input(name), "context": pairs}}, object{"context": pairs},
			object{"relevance_feedback": object{"target": a.input(name), "feedback": []any{object{"example": a.input(name), "score": 0.5}, object{"example": a.input(name), "score": -1}},
				"strategy": object{"naive": object{"a": 1, "b": 0.5, "c": 0.25}}}}).(object)
	}
	return object{"nearest": a.input(name)}
}

func (a asker) expression(depth int) any {
	if depth == 0 {
		return a.of("$score", "$score[1]", "n", 0.5, -2, object{"key": "g", "match": object{"value": "x"}}, object{"has_vector": "m"},
			object{"geo_distance": object{"origin": object{"lon": 1, "lat": 2}, "to": "at"}}, object{"datetime_key": "when"})
	}
	x, y := a.expression(depth-1), a.expression(depth-1)
	return a.of(object{"sum": []any{x, y}}, object{"mult": []any{x, y}}, object{"max": []any{x, y}}, object{"neg": x}, object{"abs": x},
		object{"div": object{"left": x, "right": y, "by_zero_default": 1}}, object{"exp_decay": object{"x": x, "target": y, "scale": 1e6}}, object{"gauss_decay": object{"x": x, "scale": 1e9}})
}

// node is a tree of that depth.
func (a asker) node(depth int) object {
	name := a.of(names()...).(string)
	n := object{"limit": 1 + a.IntN(25)}
	if f := a.filter(); f != nil {
		n["filter"] = f
	}
	kind := a.IntN(10)
	if depth > 0 {
		sources := []any{}
		for range 1 + a.IntN(3) {
			sources = append(sources, a.node(a.IntN(depth)))
		}
		n["prefetch"] = sources
		switch {
		case kind < 2:
			n["query"] = object{"fusion": "rrf"}
		case kind < 4:
			n["query"] = object{"fusion": "dbsf"}
		case kind < 5:
			weights := []any{}
			for range sources {
				weights = append(weights, 0.5+a.Float32())
			}
			n["query"] = object{"rrf": object{"k": 1 + a.IntN(60), "weights": weights}}
		case kind < 7:
			n["query"] = object{"formula": a.expression(2), "defaults": object{"n": 1, "$score[1]": 0.25}}
		}
	}
	switch {
	case n["query"] != nil:
	case kind == 8:
		n["query"] = object{"order_by": a.of("n", object{"key": "n", "direction": "desc"})}
	case kind == 9 && depth == 0:
	default:
		n["query"], n["using"], n["params"] = a.byVectors(name), name, object{"exact": true}
		if t := a.IntN(12); t < 2 && name != "e" {
			n["score_threshold"] = float64(t) / 4
		}
	}
	return n
}

// plain is an answer without what differs from collection to collection.
func plain(v any) any {
	switch v := v.(type) {
	case object:
		delete(v, "version")
		for _, in := range v {
			plain(in)
		}
	case []any:
		for _, in := range v {
			plain(in)
		}
	}
	return v
}

// TestQueriesOverShards: what is answered does not depend on how points are spread: over
// 1, 2 or 6 shards on 1, 2 or 3 peers, whichever is asked. Most scores here are equal to
// others, which is where it would show.
func TestQueriesOverShards(t *testing.T) {
	live(t, 3, func(t *testing.T, _ *street, hs []*house) {
		a := asker{rand.New(rand.NewPCG(6, 1))}
		points := []any{}
		for id := range 90 {
			vectors := object{}
			for _, name := range names() {
				vectors[name.(string)] = a.vector(name.(string))
			}
			points = append(points, object{"id": id, "vector": vectors, "payload": object{"n": a.IntN(12), "g": a.of("x", "y", 7, []any{"z", "x"}, true), "k": id,
				"at": object{"lon": a.IntN(90), "lat": a.IntN(80)}, "when": fmt.Sprintf("2024-01-%02d", 1+a.IntN(28))}})
		}
		text := func(v any) string {
			b, err := json.Marshal(v)
			must(t, err)
			return string(b)
		}
		collections := map[string]int{"one": 1, "two": 2, "six": 6}
		for name, shards := range collections {
			hs[0].ok("PUT", "/collections/"+name, text(object{"shard_number": shards, "vectors": object{"a": object{"size": 4, "distance": "Cosine"}, "e": object{"size": 4, "distance": "Euclid"},
				"m": object{"size": 2, "distance": "Dot", "multivector_config": object{"comparator": "max_sim"}}}, "sparse_vectors": object{"s": object{}, "w": object{"modifier": "idf"}}}))
			hs[1].ok("PUT", "/collections/"+name+"/points?wait=true", text(object{"points": points}))
			hs[1].ok("PUT", "/collections/"+name+"/index?wait=true", `{"field_name":"n","field_schema":"integer"}`)
		}
		answered := 0
		for i := range 250 {
			path, q := "query", a.node(i%4)
			switch a.IntN(4) {
			case 0:
				q["offset"] = a.IntN(5)
			case 1:
				path, q["group_by"], q["group_size"] = "query/groups", a.of("g", "n"), 1+a.IntN(4)
			}
			q["with_payload"] = a.of(true, false, []any{"k"})
			body := text(q)
			code, out := hs[0].call("POST", "/collections/one/points/"+path, body)
			want := plain(out["result"])
			if code == http.StatusOK && len(text(want)) > 40 {
				answered++
			}
			for name := range collections {
				again, out := hs[a.IntN(3)].call("POST", "/collections/"+name+"/points/"+path, body)
				if got := plain(out["result"]); again != code || !reflect.DeepEqual(got, want) {
					t.Fatalf("query %d on %s: %d %s %v\n%s\none shard: %d\n%s", i, name, again, errorText(out), text(got), body, code, text(want))
				}
			}
		}
		if answered < 125 {
			t.Errorf("only %d of 250 queries found anything", answered)
		}
	})
}
