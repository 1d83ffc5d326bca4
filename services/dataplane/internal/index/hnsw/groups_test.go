package hnsw

import (
	"bytes"
	"errors"
	"testing"

	"github.com/pandodb/pando/services/dataplane/internal/index"
	"github.com/pandodb/pando/services/dataplane/internal/index/indextest"
	"github.com/pandodb/pando/services/dataplane/internal/query"
)

// TestGroups: through the filter of a group, wherever the query is, a walk over
// extra links finds the nearest of the group, with other links and without, listed
// and asked for.
func TestGroups(t *testing.T) {
	const rows, labels = 9000, 9
	v := random(8, rows, 12, 30, 0, query.Euclid)
	groups := make([][]uint32, labels)
	label := func(r uint32) int { return int(r*2654435761>>16) % labels }
	for r := range uint32(rows) {
		groups[label(r)] = append(groups[label(r)], r)
	}
	for _, m := range []int{0, 8} {
		p, o := Params{M: m, EfConstruct: 40, PayloadM: 8}, BuildOptions{Threads: 2, Seed: 1, Groups: groups}
		x := build(t, v, p, o)
		o.Threads = 1
		one := build(t, v, p, o)
		raw := one.g.Append(nil)
		if !bytes.Equal(raw, x.g.Append(nil)) {
			t.Error("another number of threads builds another graph")
		}
		again, err := Decode(raw)
		if err != nil || !bytes.Equal(again.Append(nil), raw) {
			t.Fatalf("decoded and encoded, the bytes differ: %v", err)
		}
		found, walked := 0.0, 0
		for i := range uint32(100) {
			l := int(i) % labels
			q := Query{Query: index.Query{Vector: v.numbers(i * 31), K: 10}, ScanBelow: 1}
			switch i % 3 {
			case 0:
				q.Rows = groups[l]
			case 1:
				q.Bits = bitsOf(rows, func(r uint32) bool { return label(r) == l })
			default:
				q.Accept = func(r uint32) bool { return label(r) == l }
				q.Estimate = len(groups[l])
			}
			s := x.searchers.Get().(*searcher)
			if s.begin(x, &q); s.plan().way == filtered {
				walked++
			}
			s.release()
			hits, err := x.Search(t.Context(), &q, nil)
			if err != nil || len(hits) != 10 {
				t.Fatalf("%d hits, %v", len(hits), err)
			}
			found += indextest.Recall(query.Euclid, hits, exact(t, x, q)) / 100
		}
		if t.Logf("m %d: recall %.3f, %d of 100 by walks", m, found, walked); found < 0.95 || walked < 95 {
			t.Errorf("m %d: recall %.3f, %d of 100 by walks", m, found, walked)
		}
	}
}

// TestLinkedGroups: groups that are scanned, or that other walks find their way in,
// cost nothing.
func TestLinkedGroups(t *testing.T) {
	b := &builder{v: &space{rows: 1_000_000}, g: &Graph{params: Params{M: 16, EfConstruct: 100, PayloadM: 16}, layers: make([]layer, 1)}}
	for rows, want := range map[int]bool{0: false, 2400: false, 2401: true, 200_000: true, 200_001: false} {
		if b.linked(rows, 20) != want {
			t.Errorf("%d rows: linked is not %v", rows, want)
		}
	}
	if b.g.layers = nil; !b.linked(1_000_000, 1) {
		t.Error("there are no other links, and the group gets none")
	}
	if _, err := Build(t.Context(), random(1, 10, 3, 1, 0, query.Dot), Params{M: 4, EfConstruct: 4, PayloadM: 1}, BuildOptions{}); !errors.Is(err, ErrParams) {
		t.Errorf("payload_m 1: %v", err)
	}
}
