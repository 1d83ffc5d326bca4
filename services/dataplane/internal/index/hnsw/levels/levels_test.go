package levels

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func upTo(from, to int) (rows []uint32) {
	for r := from; r < to; r++ {
		rows = append(rows, uint32(r))
	}
	return rows
}

// TestDraw: each row is there once, and about one in m of a layer reaches the next.
func TestDraw(t *testing.T) {
	o := Draw(upTo(0, 160_000), 16, 3)
	if !slices.Equal(slices.Sorted(slices.Values(o.Rows)), upTo(0, 160_000)) {
		t.Fatal("not the rows that were given")
	}
	if o.Above(0) != 160_000 || o.Above(1) < 9_500 || o.Above(1) > 10_500 || o.Above(2) < 530 || o.Above(2) > 720 || o.Above(9) != 0 {
		t.Errorf("heights %v", o.Heights)
	}
	for l := range o.Heights {
		if n := o.Above(l); o.Of(n-1) < l || n < 160_000 && o.Of(n) >= l {
			t.Errorf("layer %d: rows %d and %d of the order are of levels %d and %d", l, n-1, n, o.Of(n-1), o.Of(n))
		}
	}
	if again := Draw(upTo(0, 160_000), 16, 3); !slices.Equal(again.Rows, o.Rows) {
		t.Error("drawn again, the order differs")
	}
}

// TestPlan: the steps take each row up once, those of a stage together and upon all
// before, and the layers stay those of the first.
func TestPlan(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := rapid.SampledFrom([]int{2, 16}).Draw(t, "m")
		var stages [][]uint32
		var seeds []uint64
		total := 0
		for range rapid.IntRange(1, 6).Draw(t, "stages") {
			n := rapid.SampledFrom([]int{0, 1, 5, 300, 3000}).Draw(t, "rows")
			stages, seeds = append(stages, upTo(total, total+n)), append(seeds, uint64(total))
			total += n
		}
		steps := Plan(stages, m, seeds)
		if total == 0 {
			if len(steps) != 0 {
				t.Fatalf("%d steps for no rows", len(steps))
			}
			return
		}
		var taken []uint32
		top := 0
		for i, s := range steps {
			if !slices.Equal(slices.Sorted(slices.Values(s.Before)), slices.Sorted(slices.Values(taken))) {
				t.Fatalf("step %d stands on %d rows, %d were taken up", i, len(s.Before), len(taken))
			}
			if i > 0 && (len(s.Heights) != len(steps[0].Heights) || len(s.Heights) < 2 || s.Above(0) != len(stages[s.Stage]) || s.Stage <= steps[i-1].Stage) {
				t.Fatalf("step %d of stage %d: heights %v after %v", i, s.Stage, s.Heights, steps[0].Heights)
			}
			if top += s.Above(len(s.Heights) - 1); i > 0 && top > crowd {
				t.Fatalf("%d nodes in the highest layer", top)
			}
			taken = append(taken, s.Rows...)
		}
		if !slices.Equal(slices.Sorted(slices.Values(taken)), upTo(0, total)) {
			t.Fatalf("%d of %d rows are taken up", len(taken), total)
		}
		// What stands before the first step does not matter.
		first := steps[0]
		if whole := Draw(slices.Concat(stages[:first.Stage+1]...), m, seeds[first.Stage]); !slices.Equal(whole.Rows, first.Rows) || !slices.Equal(whole.Heights, first.Heights) {
			t.Fatal("the first step is not that of its rows")
		}
	})
}

// TestPlanRenews: a highest layer that would grow beyond reason is drawn anew.
func TestPlanRenews(t *testing.T) {
	stages, seeds := [][]uint32{upTo(0, 30)}, []uint64{1}
	for i := uint64(2); len(Draw(stages[0], 16, seeds[0]).Heights) != 2; i++ {
		seeds[0] = i
	}
	grown := append(stages, upTo(30, 5000))
	if steps := Plan(grown, 16, append(seeds, 1)); len(steps) != 2 {
		t.Errorf("%d steps for 5000 rows", len(steps))
	}
	grown = append(stages, upTo(30, 50_000))
	if steps := Plan(grown, 16, append(seeds, 1)); len(steps) != 1 || len(steps[0].Heights) < 3 {
		t.Errorf("%d steps for 50000 rows", len(steps))
	}
}
