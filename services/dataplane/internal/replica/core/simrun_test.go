package core

import (
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestSim runs PANDO_SIM_SEEDS seeds of PANDO_SIM_STEPS steps from PANDO_SIM_SEED
// on. PANDO_SIM_TRACE=1 prints what one seed does.
func TestSim(t *testing.T) {
	seed, seeds, steps := setting(t, "PANDO_SIM_SEED", 1), setting(t, "PANDO_SIM_SEEDS", 400), setting(t, "PANDO_SIM_STEPS", 2000)
	if os.Getenv("PANDO_SIM_SEED") != "" && os.Getenv("PANDO_SIM_SEEDS") == "" {
		seeds = 1
	}
	total := map[string]int{}
	for s := seed; s < seed+seeds; s++ {
		var trace *strings.Builder
		if os.Getenv("PANDO_SIM_TRACE") != "" {
			trace = &strings.Builder{}
		}
		w := newWorld(s, mutations{}, trace)
		v := w.run(int(steps))
		if trace != nil {
			t.Log(trace)
		}
		if v != "" {
			t.Fatalf("seed %d, step %d: %s\nreplay: PANDO_SIM_SEED=%d PANDO_SIM_STEPS=%d PANDO_SIM_TRACE=1", s, w.step, v, s, steps)
		}
		for k, n := range w.counts {
			total[k] += n
		}
	}
	for _, k := range slices.Sorted(maps.Keys(total)) {
		t.Logf("%-24s %d", k, total[k])
	}
	for _, k := range strings.Split("crashes,power losses,failed fsyncs,disks lost,refused,truncations,cuts,copies installed,copies dropped,rotten,wiped,"+
		"lost messages,repeated messages,repetitions,floors,committed,applied,unknown,no space,too few active replicas,not primary,primary is moving,sent by older settings,readable,spoilt,found,"+
		"swap: dead,swap: partial,swap: asked Active,swap: asked Dead,swap: handover,swap: grow,swap: shrink,swap: force,set aside,provisional,detached,re-proposed,not kept,steps detached", ",") {
		if total[k] == 0 && seeds >= 400 {
			t.Errorf("the runs never saw: %s", k)
		}
	}
}

func setting(t *testing.T, name string, def uint64) uint64 {
	v := os.Getenv(name)
	if v == "" {
		return def
	}
	n, err := strconv.ParseUint(v, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

func TestSimReplays(t *testing.T) {
	for s := uint64(1); s <= 5; s++ {
		var got [2]string
		for i := range got {
			var b strings.Builder
			if v := newWorld(s, mutations{}, &b).run(800); v != "" {
				t.Fatal(v)
			}
			got[i] = b.String()
		}
		if got[0] != got[1] || got[0] == "" {
			t.Fatalf("seed %d gives two different runs", s)
		}
	}
}

// TestMutations switches single rules off: the simulator must notice each.
func TestMutations(t *testing.T) {
	for _, c := range []struct {
		name string
		mut  mutations
		want []string // one of these must be in the report
	}{
		{"W7 apply before commit", mutations{applyUncommitted: true}, []string{"broken", "I3"}},
		{"W6 own fsync not awaited", mutations{answerUnsynced: true}, []string{"W6"}},
		{"W6 others not awaited", mutations{ignoreFollowers: true}, []string{"I1"}},
		{"ack before the follower's fsync", mutations{ackUnsynced: true}, []string{"I1"}},
		{"C1 not required from the request on", mutations{dropOnAsk: true}, []string{"I1"}},
		{"acknowledgements of other terms count", mutations{anyTerm: true}, []string{"I1", "I2", "I8", "broken"}},
		{"C8 not required first", mutations{skipPending: true}, []string{"I1"}},
		{"C8 digests not compared", mutations{ignoreDigest: true}, []string{"C8"}},
		{"R2a served at once", mutations{serveAtOnce: true}, []string{"I8"}},
		{"R3 read without proof", mutations{readUnproven: true}, []string{"I10"}},
		{"R3 proof from before the request", mutations{readByOldRound: true}, []string{"I10"}},
		{"copies not compared", mutations{neverCompare: true}, []string{"stuck", "C8"}},
		{"the primary's copy always right", mutations{primaryIsRight: true}, []string{"a good copy"}},
		{"F1 what was overruled is not set aside", mutations{ignoreClash: true}, []string{"F1", "stuck"}},
		{"S2 run not incremented", mutations{keepRun: true}, []string{"I4"}},
		{"W2 no dedup", mutations{noDedup: true}, []string{"I6"}},
		{"W2 unapplied log not asked", mutations{forgetUnapplied: true}, []string{"I6"}},
		{"S1 loaded counts as durable", mutations{trustLoaded: true}, []string{"W6", "I1"}},
		{"W4 wall clock only", mutations{wallClockOnly: true}, []string{"W4", "I7"}},
		{"D2 floor by the wall clock", mutations{floorByWall: true}, []string{"D2", "I6"}},
		{"W8 wait=true at commit", mutations{waitAtCommit: true}, []string{"I8"}},
		{"W9 factor ignored", mutations{ignoreFactor: true}, []string{"W9"}},
		{"W12 route ignored", mutations{ignoreRoute: true}, []string{"W12"}},
		{"P3 answered before it is durable", mutations{keepUnsynced: true}, []string{"P3", "acknowledged"}},
		{"P4 end of the log not copied", mutations{forgetSuffix: true}, []string{"X2"}},
		{"P6 new stamps", mutations{freshStamps: true}, []string{"P6"}},
		{"P6 dropped when committed", mutations{dropUnapplied: true}, []string{"P6"}},
		{"P7 not waited for", mutations{forgetOwed: true}, []string{"D2"}},
		{"state: term not durable before its first entry", mutations{lateHard: true}, []string{"I4", "I1", "I2", "broken", "stuck"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for s := uint64(1); s <= setting(t, "PANDO_SIM_SEEDS", 2000); s++ {
				w := newWorld(s, c.mut, nil)
				v := w.run(2000)
				if v == "" {
					continue
				}
				if !slices.ContainsFunc(c.want, func(x string) bool { return strings.HasPrefix(v, x) }) {
					t.Fatalf("seed %d reported as %q", s, v)
				}
				t.Logf("seed %d, step %d: %s", s, w.step, v)
				return
			}
			t.Fatal("not noticed")
		})
	}
}
