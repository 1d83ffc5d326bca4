package mask

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"
)

// TestModel: at every position exactly the rows are dead that were killed first at
// it or before.
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rows := rapid.SampledFrom([]int{1, 63, 64, 65, 513, 2000}).Draw(t, "rows")
		m, model := New(rows), map[uint32]uint64{}
		for range rapid.IntRange(0, 300).Draw(t, "kills") {
			row, at := uint32(rapid.IntRange(0, rows-1).Draw(t, "row")), rapid.Uint64Range(0, 9).Draw(t, "at")
			_, dead := model[row]
			if m.Kill(row, at) == dead {
				t.Fatalf("row %d: killed twice, or not at all", row)
			}
			if !dead {
				model[row] = at
			}
		}
		same(t, m, model, rows)
		c := m.Clone()
		for row := range uint32(rows) {
			m.Kill(row, 3)
		}
		same(t, c, model, rows)
	})
}

func same(t *rapid.T, m *Mask, model map[uint32]uint64, rows int) {
	if m.Len() != len(model) {
		t.Fatalf("%d dead, not %d", m.Len(), len(model))
	}
	for _, at := range []uint64{0, 1, 5, 9, Now} {
		live, n := make([]uint64, (rows+63)/64), 0
		for i := range live {
			live[i] = ^uint64(0)
		}
		m.Keep(live[len(live)/2:], uint32(len(live)/2)*64, at)
		m.Keep(live[:len(live)/2], 0, at)
		for row := range uint32(rows) + 70 {
			died, dead := model[row]
			if want := dead && died <= at; m.Dead(row, at) != want || int(row) < rows && live[row/64]>>(row%64)&1 == 0 != want {
				t.Fatalf("row %d at %d: dead is not %v", row, at, want)
			} else if want {
				n++
			}
		}
		if got, known := m.LenAt(at); known && got != n {
			t.Fatalf("%d dead at %d, not %d", got, at, n)
		} else if at == Now && !known {
			t.Fatal("how many are dead now is not known")
		}
	}
	last := -1
	m.Each(func(row uint32, at uint64) {
		if died, dead := model[row]; !dead || died != at || int(row) <= last {
			t.Fatalf("row %d died at %d", row, at)
		}
		last = int(row)
	})
}

func TestNil(t *testing.T) {
	var m *Mask
	live := []uint64{5}
	m.Keep(live, 0, Now)
	m.Each(func(uint32, uint64) { t.Error("a row") })
	if m.Dead(0, Now) || m.Len() != 0 || m.Clone() != nil || live[0] != 5 {
		t.Error("a nil mask is not empty")
	}
}

// TestBeside: what a reader at a position has seen to be alive or dead stays so.
func TestBeside(t *testing.T) {
	const rows = 3000
	m := New(rows)
	var applied atomic.Uint64
	var group sync.WaitGroup
	for r := range 2 {
		group.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(r), 1))
			for applied.Load() < rows {
				at := applied.Load()
				row := uint32(rng.IntN(rows))
				if want := uint64(row) < at; m.Dead(row, at) != want { // row i dies at i+1
					t.Errorf("row %d at %d: dead is not %v", row, at, want)
					return
				}
				if n, known := m.LenAt(at); known && n > int(at) {
					t.Errorf("%d dead at %d", n, at)
				}
			}
		})
	}
	for row := range uint32(rows) {
		m.Kill(row, uint64(row)+1)
		applied.Store(uint64(row) + 1)
	}
	group.Wait()
}

func TestOutside(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a row outside was killed")
		}
	}()
	New(65).Kill(65, 1)
}
