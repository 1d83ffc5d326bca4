package model

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// number reads a setting of the long form.
func number(t *testing.T, name string, otherwise uint64) uint64 {
	t.Helper()
	s := os.Getenv(name)
	if s == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(s, 10, 63)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// TestModel runs seeds with all rules on and prints what they did:
//
//	PANDO_MODEL_RUNS=100000 PANDO_MODEL_STEPS=1200 PANDO_MODEL_SEED=1 go test -v -timeout 0 -run TestModel ./test/model
//
// PANDO_MODEL_OFF switches rules off, by name, separated by commas;
// PANDO_MODEL_TRACE=1 prints every event.
func TestModel(t *testing.T) {
	first, runs := number(t, "PANDO_MODEL_SEED", 1), number(t, "PANDO_MODEL_RUNS", 1500)
	o := options{steps: int(number(t, "PANDO_MODEL_STEPS", 1200)), mix: mix(number(t, "PANDO_MODEL_MIX", 0)), countStuck: os.Getenv("PANDO_MODEL_COUNT_STUCK") != ""}
	for _, name := range strings.FieldsFunc(os.Getenv("PANDO_MODEL_OFF"), func(r rune) bool { return r == ',' }) {
		o.off[ruleNamed(t, name)] = true
	}
	if os.Getenv("PANDO_MODEL_TRACE") != "" {
		o.trace = os.Stdout
	}
	most := number(t, "PANDO_MODEL_STOP", 5)
	var sum figures
	var steps, violations, done uint64
	start := time.Now()
	for o.seed = first; o.seed < first+runs && violations < most; o.seed++ {
		res := run(o)
		done++
		steps += uint64(res.steps)
		sum.add(res.count)
		if res.found != nil {
			violations++
			t.Errorf("seed %d, step %d: %s", o.seed, res.steps, res.found)
		}
	}
	t.Logf("seeds %d to %d: %d steps, %d violations, %.0f s: %s", first, first+done-1, steps, violations, time.Since(start).Seconds(), &sum)
}

func ruleNamed(t *testing.T, name string) rule {
	t.Helper()
	for i, info := range ruleTable() {
		if info.name == name && name != "" {
			return rule(i)
		}
	}
	t.Fatalf("no rule %q", name)
	return noRule
}

// TestRules: without a rule, the checker reports something. Slow ones start at a
// stored seed; PANDO_MODEL_SEARCH=60 searches all of them from seed 1, for so many
// million steps at most.
func TestRules(t *testing.T) {
	search := number(t, "PANDO_MODEL_SEARCH", 0) * 1_000_000
	for i, info := range ruleTable() {
		if rule(i) == noRule {
			continue
		}
		t.Run(info.name, func(t *testing.T) {
			o := options{seed: max(info.from, 1), steps: 1200, mix: info.mix}
			o.off[i], o.off[info.with] = true, info.with != noRule || i == int(noRule)
			most := uint64(400_000)
			if info.missed != "" {
				most = 100_000
			}
			if search > 0 {
				o.seed, o.mix, most = 1, 0, search
			}
			var steps uint64
			for ; steps < most; o.seed++ {
				res := run(o)
				steps += uint64(res.steps)
				switch v := res.found; {
				case v == nil:
				case !slices.Contains(strings.Fields(info.seen), v.rule):
					t.Fatalf("seed %d: %s, not %s", o.seed, v, info.seen)
				default:
					t.Logf("seed %d, step %d: %s", o.seed, steps, v)
					return
				}
			}
			if info.missed == "" {
				t.Errorf("nothing seen in %d steps", steps)
			}
			t.Logf("not seen in %d steps: %s", steps, info.missed)
		})
	}
}

// TestReplay: a seed is the same run, byte for byte.
func TestReplay(t *testing.T) {
	trace := func(seed uint64) []byte {
		var b bytes.Buffer
		res := run(options{seed: seed, steps: 600, trace: &b})
		fmt.Fprintf(&b, "%+v", res)
		return b.Bytes()
	}
	sums := map[[sha256.Size]byte]bool{}
	for seed := range uint64(20) {
		a, b := trace(seed), trace(seed)
		if !bytes.Equal(a, b) {
			t.Fatalf("seed %d differs from itself", seed)
		}
		sums[sha256.Sum256(a)] = true
	}
	if len(sums) != 20 {
		t.Fatalf("20 seeds gave %d runs", len(sums))
	}
}
