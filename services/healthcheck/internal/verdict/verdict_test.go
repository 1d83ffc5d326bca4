package verdict

import (
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

const tick = 250 * time.Millisecond

// run feeds a script: '+' a success, '-' a failure, '.' a missed interval.
func run(r Rules, s Subject, at *time.Duration, script string) (Subject, string) {
	var out strings.Builder
	for _, c := range script {
		*at += r.Interval
		if c == '.' {
			out.WriteByte('.')
			continue
		}
		s = Step(r, s, Observation{At: *at, OK: c == '+', Why: "timeout"})
		out.WriteByte(s.State.String()[0])
	}
	return s, out.String()
}

func TestScripts(t *testing.T) {
	for _, c := range []struct{ name, script, want string }{
		{"one lost probe is only a suspicion", "++-++", "AASSA"},
		{"dead after 1.5 s without a success", "+------+", "ASSSSSDD"},
		{"a success in between starts the count anew", "+----+----++", "ASSSSSSSSSSA"},
		{"two successes bring it back", "+------++", "ASSSSSDDA"},
		{"the second return within a minute needs four", "+------++------++++", "ASSSSSDDASSSSSDDDDA"},
		{"never seen alive", "------- ", "SSSSSSDD"},
		{"a paused observer does not judge", "+......-----", "A......SSSSS"},
	} {
		at := time.Duration(0)
		if _, got := run(DefaultRules(), Subject{}, &at, strings.TrimSpace(strings.ReplaceAll(c.script, " ", "-"))); got != c.want {
			t.Errorf("%s: %s gives %s, want %s", c.name, c.script, got, c.want)
		}
	}
}

// TestDampingEnds: a subject that came and went needs no more successes than others once it has been calm for FlapWindow, whether it
// was Alive meanwhile or Dead.
func TestDampingEnds(t *testing.T) {
	r := DefaultRules()
	for _, calm := range []struct {
		name string
		ok   bool
	}{{"alive", true}, {"dead", false}} {
		at := time.Duration(0)
		s, _ := run(r, Subject{}, &at, "+")
		back := func() int { // successes that it takes
			for n := 1; ; n++ {
				if s, _ = run(r, s, &at, "+"); s.State == Alive {
					return n
				}
			}
		}
		var took []int
		for range 7 {
			s, _ = run(r, s, &at, "------")
			took = append(took, back())
		}
		if want := []int{2, 4, 8, 16, 32, 64, 64}; !slices.Equal(took, want) {
			t.Errorf("took %v successes, want %v", took, want)
		}
		for end := at + r.FlapWindow; at < end; at += r.Interval {
			s = Step(r, s, Observation{At: at, OK: calm.ok})
		}
		s, _ = run(r, s, &at, "------")
		if n := back(); n != r.Recover {
			t.Errorf("calm and %s for a minute: takes %d successes", calm.name, n)
		}
	}
}

func TestDeadNeedsTimeNotCounts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := DefaultRules()
		var s Subject
		at, lastOK := time.Duration(0), time.Duration(-1)
		for range rapid.IntRange(1, 200).Draw(t, "n") {
			at += time.Duration(rapid.IntRange(1, 600).Draw(t, "gap")) * time.Millisecond
			ok := rapid.Float64().Draw(t, "p") < 0.3
			if ok || lastOK < 0 {
				lastOK = at
			}
			was := s.State
			s = Step(r, s, Observation{At: at, OK: ok, Why: "x"})
			if s.State == Dead && was != Dead && at-lastOK < r.DeadAfter {
				t.Fatalf("dead %v after the last success", at-lastOK)
			}
			if !ok && s.State == Alive {
				t.Fatal("alive on a failed probe")
			}
			if !ok && at-lastOK >= r.DeadAfter && s.State != Dead {
				t.Fatalf("still %v, %v after the last success", s.State, at-lastOK)
			}
		}
	})
}

func TestRulesValidate(t *testing.T) {
	if err := DefaultRules().Validate(); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Rules){
		"interval":   func(r *Rules) { r.Interval = 0 },
		"dead after": func(r *Rules) { r.DeadAfter = 2 * tick },
		"recover":    func(r *Rules) { r.Recover = 0 },
		"pause":      func(r *Rules) { r.Pause = tick },
	} {
		r := DefaultRules()
		change(&r)
		if err := r.Validate(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: error %v does not name it", name, err)
		}
	}
}
