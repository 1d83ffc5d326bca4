package optimize

import (
	"fmt"
	"slices"
	"testing"

	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/query"
	"github.com/pandodb/pando/services/internal/topology"
)

// sized are living parts with numbers from 1 on.
func sized(bytes ...int64) (out []Part) {
	for i, n := range bytes {
		out = append(out, Part{Number: topology.Seq(i + 1), Rows: 100, Alive: 100, Bytes: n})
	}
	return out
}

func TestNext(t *testing.T) {
	seal := op.Op{Kind: op.Seal}
	merge := func(parts ...topology.Seq) op.Op { return op.Op{Kind: op.Merge, Parts: parts} }
	pending := append(sized(1, 1, 1, 1), Part{Number: 9, Pending: true})
	dying := sized(1, 1)
	dying[1].Alive = 50
	dropped := sized(100, 1)
	dropped[0].Dropped = 50
	many := sized(make([]int64, 15)...)
	for i := range many {
		many[i].Bytes = 1 << i // none is as small as those before together
	}
	for _, c := range []struct {
		name  string
		o     query.Optimizers
		tail  int
		parts []Part
		quiet bool
		want  op.Op
	}{
		{name: "nothing there", quiet: true},
		{name: "tail below the limit", tail: sealBytes - 1},
		{name: "tail at the limit", tail: sealBytes, want: seal},
		{name: "tail at the settings' threshold", o: query.Optimizers{IndexingThresholdKB: 2}, tail: 2 << 10, want: seal},
		{name: "tail before a merge", tail: sealBytes, parts: sized(1, 1, 1, 1), want: seal},
		{name: "few of a size", parts: sized(1, 1, 1)},
		{name: "enough of a size", parts: sized(7, 9, 8, 7), want: merge(1, 2, 3, 4)},
		{name: "a large one stays out", parts: sized(500, 1, 1, 1, 1), want: merge(2, 3, 4, 5)},
		{name: "one merge at a time", parts: pending, quiet: true},
		{name: "no threads for a merge", o: query.Optimizers{Threads: -1}, parts: sized(1, 1, 1, 1), quiet: true},
		{name: "a seal needs none", o: query.Optimizers{Threads: -1}, tail: sealBytes, want: seal},
		{name: "too many when nobody writes", parts: sized(1, 10, 100), quiet: true, want: merge(1, 2)},
		{name: "too many while somebody writes", parts: sized(1, 10, 100)},
		{name: "far too many while somebody writes", parts: many, want: merge(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14)},
		{name: "the settings' number", o: query.Optimizers{SegmentNumber: 3}, parts: sized(1, 10, 100), quiet: true},
		{name: "half of it dead", o: query.Optimizers{DeletedThreshold: 0.4, VacuumMinVectors: 100}, parts: dying, want: merge(2)},
		{name: "half of it dropped", o: query.Optimizers{DeletedThreshold: 0.4, VacuumMinVectors: 100}, parts: dropped, want: merge(1)},
		{name: "half of it dropped, but small", o: query.Optimizers{DeletedThreshold: 0.4, VacuumMinVectors: 101}, parts: dropped},
		{name: "half of it dead, but small", o: query.Optimizers{DeletedThreshold: 0.4, VacuumMinVectors: 101}, parts: dying},
		{name: "no more than a segment may have", o: query.Optimizers{MaxSegmentKB: 1}, parts: sized(400, 400, 400, 400), want: merge(1, 2)},
		{name: "large ones are left alone", o: query.Optimizers{MaxSegmentKB: 1}, parts: sized(600, 600, 600, 600), quiet: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, ok := Next(c.o, c.tail, c.parts, 2, c.quiet)
			if ok != (c.want.Kind != 0) || got.Kind != c.want.Kind || !slices.Equal(got.Parts, c.want.Parts) {
				t.Errorf("got %s, %v; want %s", text(got), ok, text(c.want))
			}
		})
	}
}

func TestBase(t *testing.T) {
	for _, c := range []struct {
		name    string
		sources []Source
		want    int
	}{
		{"nothing", nil, -1},
		{"the largest", []Source{{300, false, 1}, {400, false, 1}, {300, false, 1}}, 1},
		{"the first of the largest", []Source{{300, false, 1}, {350, false, 1}, {350, false, 1}}, 1},
		{"not one with dead rows", []Source{{300, false, 1}, {500, true, 1}, {250, false, 1}}, 0},
		{"all have dead rows", []Source{{500, true, 1}, {510, true, 1}}, -1},
		{"a quarter", []Source{{250, false, 1}, {760, true, 1}}, 0},
		{"less than a quarter", []Source{{249, false, 1}, {760, true, 1}}, -1},
		{"grown often enough", []Source{{600, false, 8}, {400, false, 7}}, 1},
		{"without rows", []Source{{0, false, 1}}, -1},
	} {
		if got := Base(c.sources, 1000); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
	if got := Base([]Source{{0, false, 1}}, 0); got != -1 {
		t.Errorf("of nothing: %d", got)
	}
}

func text(o op.Op) string { return fmt.Sprintf("kind %d of %v", o.Kind, o.Parts) }
