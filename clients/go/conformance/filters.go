package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/qdrant/go-client/qdrant"
)

type fields = map[string]any

type filterCase struct {
	name   string
	filter *qdrant.Filter
	keep   func(key, fields) bool
}

func must1(c ...*qdrant.Condition) *qdrant.Filter   { return &qdrant.Filter{Must: c} }
func should(c ...*qdrant.Condition) *qdrant.Filter  { return &qdrant.Filter{Should: c} }
func mustNot(c ...*qdrant.Condition) *qdrant.Filter { return &qdrant.Filter{MustNot: c} }

func n(p fields) int64       { v, _ := p["n"].(int64); return v }
func price(p fields) float64 { v, _ := p["price"].(float64); return v }
func red(p fields) bool      { return p["color"] == "red" }
func flagged(p fields) bool  { return p["flag"] == true }
func deep(p fields) int64    { v, _ := p["nested"].(fields)["deep"].(int64); return v }

func inList(p fields, ok func(fields) bool) bool {
	list, _ := p["nested"].(fields)["list"].([]any)
	return slices.ContainsFunc(list, func(e any) bool { return ok(e.(fields)) })
}

func empty(p fields) bool {
	v, there := p["maybe"]
	list, isList := v.([]any)
	return !there || v == nil || isList && len(list) == 0
}

func cases() []filterCase {
	isRed, isFlag := qdrant.NewMatch("color", "red"), qdrant.NewMatchBool("flag", true)
	low := qdrant.NewRange("n", &qdrant.Range{Lt: qdrant.PtrOf(100.0)})
	some := []key{name(3), name(4), name(9), name(19), {num: 1e9}}
	three4 := qdrant.NewFilterAsCondition(should(qdrant.NewMatchInt("nested.deep", 3), qdrant.NewMatchInt("nested.deep", 4)))
	is34 := func(p fields) bool { return deep(p) == 3 || deep(p) == 4 }
	return []filterCase{
		{"match keyword", must1(isRed), func(_ key, p fields) bool { return red(p) }},
		{"match integer", must1(qdrant.NewMatchInt("n", 42)), func(_ key, p fields) bool { return n(p) == 42 }},
		{"match bool", must1(isFlag), func(_ key, p fields) bool { return flagged(p) }},
		{"match in a list", must1(qdrant.NewMatch("tags", "s3")), func(_ key, p fields) bool { return slices.Contains(p["tags"].([]any), any("s3")) }},
		{"match any", must1(qdrant.NewMatchKeywords("color", "red", "blue")), func(_ key, p fields) bool { return p["color"] != "green" }},
		{"match any integer", must1(qdrant.NewMatchInts("n", 1, 2, 99)), func(_ key, p fields) bool { return slices.Contains([]int64{1, 2, 99}, n(p)) }},
		{"match except", must1(qdrant.NewMatchExcept("color", "red")), func(_ key, p fields) bool { return !red(p) }},
		{"match a value of another kind", must1(qdrant.NewMatch("n", "42")), func(key, fields) bool { return false }},
		{"range lt", must1(low), func(_ key, p fields) bool { return n(p) < 100 }},
		{"range gte lte", must1(qdrant.NewRange("price", &qdrant.Range{Gte: qdrant.PtrOf(10.25), Lte: qdrant.PtrOf(20.5)})),
			func(_ key, p fields) bool { return price(p) >= 10.25 && price(p) <= 20.5 }},
		{"range gt lt", must1(qdrant.NewRange("price", &qdrant.Range{Gt: qdrant.PtrOf(10.25), Lt: qdrant.PtrOf(20.5)})),
			func(_ key, p fields) bool { return price(p) > 10.25 && price(p) < 20.5 }},
		{"range of a text", must1(qdrant.NewRange("color", &qdrant.Range{Gt: qdrant.PtrOf(0.0)})), func(key, fields) bool { return false }},
		{"has_id", must1(qdrant.NewHasID(ids(some...)...)), func(k key, _ fields) bool { return slices.Contains(some, k) }},
		{"must_not has_id", mustNot(qdrant.NewHasID(ids(some...)...)), func(k key, _ fields) bool { return !slices.Contains(some, k) }},
		{"is_empty", must1(qdrant.NewIsEmpty("maybe")), func(_ key, p fields) bool { return empty(p) }},
		{"is_null", must1(qdrant.NewIsNull("maybe")), func(_ key, p fields) bool { v, there := p["maybe"]; return there && v == nil }},
		{"not is_empty", mustNot(qdrant.NewIsEmpty("maybe")), func(_ key, p fields) bool { return !empty(p) }},
		{"must and must", must1(isRed, isFlag, low), func(_ key, p fields) bool { return red(p) && flagged(p) && n(p) < 100 }},
		{"should", should(isRed, isFlag), func(_ key, p fields) bool { return red(p) || flagged(p) }},
		{"must_not", mustNot(isRed, isFlag), func(_ key, p fields) bool { return !red(p) && !flagged(p) }},
		{"must, should and must_not", &qdrant.Filter{Must: []*qdrant.Condition{low}, Should: []*qdrant.Condition{isRed, isFlag},
			MustNot: []*qdrant.Condition{qdrant.NewRange("n", &qdrant.Range{Gte: qdrant.PtrOf(50.0)})}},
			func(_ key, p fields) bool { return n(p) < 50 && (red(p) || flagged(p)) }},
		{"min_should", &qdrant.Filter{MinShould: &qdrant.MinShould{Conditions: []*qdrant.Condition{isRed, isFlag, low}, MinCount: 2}},
			func(_ key, p fields) bool { return number(red(p))+number(flagged(p))+number(n(p) < 100) >= 2 }},
		{"nested key", must1(qdrant.NewMatchInt("nested.deep", 5)), func(_ key, p fields) bool { return deep(p) == 5 }},
		{"key into a list", must1(qdrant.NewMatchInt("nested.list[].a", 2)),
			func(_ key, p fields) bool { return inList(p, func(e fields) bool { return e["a"] == int64(2) }) }},
		{"filter in a filter", must1(three4, isFlag), func(_ key, p fields) bool { return is34(p) && flagged(p) }},
		{"filter in a filter in a filter", mustNot(qdrant.NewFilterAsCondition(must1(qdrant.NewFilterAsCondition(mustNot(three4)), isFlag))),
			func(_ key, p fields) bool { return is34(p) || !flagged(p) }},
		{"nested objects", must1(qdrant.NewNestedFilter("nested.list", must1(qdrant.NewMatchInt("a", 2), qdrant.NewMatchInt("b", 7)))),
			func(_ key, p fields) bool {
				return inList(p, func(e fields) bool { return e["a"] == int64(2) && e["b"] == int64(7) })
			}},
		{"unknown key", must1(qdrant.NewMatchInt("no.such.key", 1)), func(key, fields) bool { return false }},
		{"empty filter", &qdrant.Filter{}, func(key, fields) bool { return true }},
	}
}

func number(b bool) int {
	if b {
		return 1
	}
	return 0
}

// filters puts every case to query, count and scroll.
func (s *suite) filters(ctx context.Context) { s.filtered(ctx, "") }

// filtered tells the names of its checks apart by after.
func (s *suite) filtered(ctx context.Context, after string) {
	q := vector(10_002, dim)
	for _, c := range cases() {
		s.part("filter "+c.name, func() {
			what := func(part string) string { return fmt.Sprintf("filter %s%s: %s", c.name, after, part) }
			want := s.truth.nearest(q, c.keep)
			which := sorted(keysOfHits(want))
			got := must(s.Query(ctx, &qdrant.QueryPoints{CollectionName: s.coll, Query: qdrant.NewQueryDense(q), Filter: c.filter, Limit: qdrant.PtrOf(uint64(count))}))
			s.hits(what("rank"), got, want)
			s.same(what("which"), sorted(keysOf(got)), which)
			s.same(what("count"), must(s.Count(ctx, &qdrant.CountPoints{CollectionName: s.coll, Filter: c.filter, Exact: qdrant.PtrOf(true)})), uint64(len(want)))
			page := must(s.Scroll(ctx, &qdrant.ScrollPoints{CollectionName: s.coll, Filter: c.filter, Limit: qdrant.PtrOf(uint32(count))}))
			s.same(what("scroll"), keysOf(page), which)
		})
	}
}
