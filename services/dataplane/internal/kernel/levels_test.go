package kernel

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

func levelFamily(l Levels) family[int8, uint8, int64] {
	signed := func(rng *rand.Rand) int8 { return int8(anyByte(rng)) }
	return family[int8, uint8, int64]{
		name: fmt.Sprint("levels", uint8(l)), law: l.law, batch: l.Dot, gather: l.GatherDot, pair: l.Pair,
		codes: levelCodes(l), same: equal, q: signed, row: anyByte, whole: levelBlock, per: 8 / int(l),
	}
}

// TestLevels: a query of one element finds the number that the code of that element
// stands for, and the greatest sums that there are fit.
func TestLevels(t *testing.T) {
	for _, l := range []Levels{Levels2, Levels4} {
		values := l.Values()
		q, row := make([]int8, 2*l.Block()), make([]uint8, 2*levelBlock)
		for element := range q {
			at, bit := l.Place(element)
			for code, value := range values {
				q[element], row[at] = -128, uint8(code)<<bit
				for _, got := range levelFamily(l).pairs(q, row) {
					if got != -128*int64(value) {
						t.Fatalf("%d bits, element %d, code %d: %d", l, element, code, got)
					}
				}
			}
			q[element], row[at] = 0, 0
		}
		for _, x := range []int8{-128, 127} {
			q, row := make([]int8, MaxDim), make([]uint8, MaxDim*int(l)/8)
			for i := range q {
				q[i] = x
			}
			for code, value := range map[uint8]int64{0: -127, 0xff: 127} {
				for i := range row {
					row[i] = code
				}
				for _, got := range levelFamily(l).pairs(q, row) {
					if want := MaxDim * value * int64(x); got != want {
						t.Errorf("%d bits by %d: %d, want %d", l, x, got, want)
					}
				}
			}
		}
	}
}

// TestLevelsRefused: what is not whole blocks, and codes that there are not.
func TestLevelsRefused(t *testing.T) {
	for name, ask := range map[string]func(){
		"half a block": func() { Levels4.Dot(make([]int8, 32), Rows[uint8]{make([]uint8, 16), 16}, make([]int64, 1)) },
		"three bits":   func() { Levels(3).Dot(make([]int8, 85), Rows[uint8]{make([]uint8, 32), 32}, make([]int64, 1)) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: did not panic", name)
				}
			}()
			ask()
		}()
	}
}
