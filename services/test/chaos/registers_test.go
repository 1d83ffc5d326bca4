package main

import (
	"math"
	"testing"

	"github.com/anishathalye/porcupine"
)

func wrote(number int, from, to int64) porcupine.Operation {
	return porcupine.Operation{Input: act{register: 3, number: number}, Output: 0, Call: from, Return: to}
}

func found(number int, from, to int64) porcupine.Operation {
	return porcupine.Operation{Input: act{register: 3, read: true}, Output: number, Call: from, Return: to}
}

// Histories that are not those of a register are told from those that are.
func TestRegisters(t *testing.T) {
	const open = math.MaxInt64
	for _, c := range []struct {
		name string
		ops  []porcupine.Operation
		bad  int
	}{
		{"nothing was written", []porcupine.Operation{found(0, 1, 2)}, 0},
		{"what was written is read", []porcupine.Operation{wrote(1, 1, 2), found(1, 3, 4)}, 0},
		{"a read beside a write finds either", []porcupine.Operation{wrote(1, 1, 9), found(0, 2, 3), found(1, 4, 5)}, 0},
		{"a stale read", []porcupine.Operation{wrote(1, 1, 2), wrote(2, 3, 4), found(1, 5, 6)}, 1},
		{"a lost write", []porcupine.Operation{wrote(1, 1, 2), found(0, 3, 4)}, 1},
		{"time goes back between reads", []porcupine.Operation{wrote(1, 1, 9), found(1, 2, 3), found(0, 4, 5)}, 1},
		{"an unknown write took effect", []porcupine.Operation{wrote(1, 1, open), found(0, 2, 3), found(1, 8, 9)}, 0},
		{"an unknown write did not", []porcupine.Operation{wrote(1, 1, open), found(0, 8, 9)}, 0},
		{"an unknown write took effect and was undone", []porcupine.Operation{wrote(1, 1, open), found(1, 2, 3), found(0, 8, 9)}, 1},
		{"a number that nobody wrote", []porcupine.Operation{wrote(1, 1, 2), found(7, 3, 4)}, 1},
	} {
		if l := decide(c.ops); l.violations != c.bad || l.undecided != 0 {
			t.Errorf("%s: %+v", c.name, l)
		}
	}
}
