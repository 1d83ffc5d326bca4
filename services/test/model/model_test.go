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

// TestModel runs seeds with all rules on and prints what they did. The long form:
//
//	PANDO_MODEL_SEEDS=1000000 PANDO_MODEL_STEPS=1200 PANDO_MODEL_SEED=1 go test -v -timeout 0 -run TestModel ./test/model
//
// PANDO_MODEL_OFF switches rules off, by name, separated by commas;
// PANDO_MODEL_COUNT_STUCK=1 counts what C2a guards instead of failing;
// PANDO_MODEL_TRACE=1 prints every event.
func TestModel(t *testing.T) {
	const most = 5 // violations
	first, seeds := number(t, "PANDO_MODEL_SEED", 1), number(t, "PANDO_MODEL_SEEDS", 15_000)
	o := options{steps: int(number(t, "PANDO_MODEL_STEPS", 1200)), countStuck: os.Getenv("PANDO_MODEL_COUNT_STUCK") != ""}
	for _, name := range strings.FieldsFunc(os.Getenv("PANDO_MODEL_OFF"), func(r rune) bool { return r == ',' }) {
		o.off[ruleNamed(t, name)] = true
	}
	if os.Getenv("PANDO_MODEL_TRACE") != "" {
		o.trace = os.Stdout
	}
	var sum figures
	var steps, violations int
	start := time.Now()
	for o.seed = first; o.seed < first+seeds && violations < most; o.seed++ {
		res := run(o)
		steps += res.steps
		sum.add(res.count)
		if res.found != nil {
			violations++
			t.Errorf("seed %d, step %d: %s", o.seed, res.steps, res.found)
		}
	}
	t.Logf("seeds %d to %d: %d steps, %d violations, %.0f s: %s", first, o.seed-1, steps, violations, time.Since(start).Seconds(), &sum)
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

// TestRules: without a rule, the checker reports something, in a search or in a
// scenario. Slow searches start at a stored seed; PANDO_MODEL_SEARCH=60 searches for
// every rule from seed 1, for so many million steps at most.
func TestRules(t *testing.T) {
	million := number(t, "PANDO_MODEL_SEARCH", 0)
	for i, info := range ruleTable() {
		if rule(i) == noRule {
			continue
		}
		t.Run(info.name, func(t *testing.T) {
			var o options
			o.off[i], o.off[info.with] = true, true
			o.off[noRule] = false
			if info.scenario != nil && million == 0 {
				scenario(t, o, info)
				return
			}
			first, most := max(info.from, 1), uint64(400_000)
			if million > 0 {
				first, most = 1, million*1_000_000
			}
			o.steps = 1200
			search(t, o, info, first, most)
		})
	}
}

func scenario(t *testing.T, o options, info ruleInfo) {
	if v := played(options{}, info.scenario); v != nil {
		t.Errorf("with all rules on: %s", v)
	}
	if v := played(o, info.scenario); v == nil || !info.sees(v) {
		t.Errorf("got %v, not %s", v, info.seen)
	}
}

func search(t *testing.T, o options, info ruleInfo, first, most uint64) {
	var steps uint64
	for o.seed = first; steps < most; o.seed++ {
		res := run(o)
		steps += uint64(res.steps)
		if v := res.found; v != nil {
			if !info.sees(v) {
				t.Fatalf("seed %d: got %s, not %q", o.seed, v, info.seen)
			}
			t.Logf("seed %d, step %d: %s", o.seed, steps, v)
			return
		}
	}
	if info.missed == "" && info.scenario == nil {
		t.Errorf("nothing seen in %d steps", steps)
	}
	t.Logf("not seen in %d steps %s", steps, info.missed)
}

// sees: the violation is one that the rule guards against.
func (i *ruleInfo) sees(v *violation) bool { return slices.Contains(strings.Fields(i.seen), v.rule) }

// TestChecker: two that acknowledge in one epoch are noticed. No single rule leads
// there: whoever is required has promised the epoch to one primary (W6, C5).
func TestChecker(t *testing.T) {
	v := played(options{}, func(w *world) {
		w.found(2)
		w.write(0)
		w.level(0, 1)
		w.acknowledge(w.replicas[1], 1)
	})
	if want := "I5: replicas 0 and 1 acknowledge in epoch 2"; v == nil || v.String() != want {
		t.Errorf("got %v, not %s", v, want)
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
