package main

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/pandodb/pando/services/test/percentile"
)

// report is what came of a run.
type report struct {
	tally
	sum    audit
	linear linear
	faults map[string]*effects
}

// effects of all faults of a kind.
type effects struct {
	times       int // it has begun
	dead, whole []time.Duration
}

func newReport() report { return report{tally: newTally(), faults: map[string]*effects{}} }

func (r *report) of(fault string) *effects {
	if r.faults[fault] == nil {
		r.faults[fault] = &effects{}
	}
	return r.faults[fault]
}

// befell counts a fault that begins.
func (r *report) befell(fault string) occurrence {
	e := r.of(fault)
	e.times++
	return occurrence{fault, e.times}
}

func (r *report) dead(fault string, took time.Duration) {
	r.of(fault).dead = append(r.of(fault).dead, took)
}

func (r *report) whole(fault string, took time.Duration) {
	r.of(fault).whole = append(r.of(fault).whole, took)
}

// add takes what the clients of a round saw.
func (r *report) add(l *load) {
	r.acknowledged += l.acknowledged
	r.unknown += l.unknown
	r.notThere += l.notThere
	r.refused += l.refused
	r.reads += l.reads
	r.failedReads += l.failedReads
	r.failedWrites += l.failedWrites
	r.failedHurt += l.failedHurt
	for asked, by := range l.pause {
		for at, took := range by {
			r.pause.note(asked, at, took)
		}
	}
	for text, n := range l.failures {
		r.failures[text] += n
	}
}

// audit takes what the audit of a round found.
func (r *report) audit(a audit) {
	r.sum.replicas += a.replicas
	r.sum.points += a.points
	r.sum.acknowledged += a.acknowledged
	r.sum.lost += a.lost
	r.sum.divergent += a.divergent
	r.sum.stale += a.stale
	r.sum.staleExcused += a.staleExcused
	r.sum.wrong = append(r.sum.wrong, a.wrong...)
}

// At most so many lines are printed of what went wrong, and of what failed.
const (
	mostWrong  = 8
	mostFailed = 12
)

// print writes all figures, bad ones in words too.
func (r *report) print() {
	say := func(what, format string, args ...any) { fmt.Printf("%-14s %s\n", what, fmt.Sprintf(format, args...)) }
	for _, name := range slices.Sorted(maps.Keys(r.faults)) {
		f := r.faults[name]
		say("fault", "%-24s %2d times, to Dead %s, to whole %s, longest pause of reads %s, of writes %s", name, f.times, span(f.dead), span(f.whole),
			seconds(r.pause.longest(ofReads, name)), seconds(r.pause.longest(ofWrites, name)))
	}
	var dead, whole []time.Duration
	for _, f := range r.faults {
		dead, whole = append(dead, f.dead...), append(whole, f.whole...)
	}
	say("writes", "%d acknowledged, %d unknown, %d of points that are not there, %d refused", r.acknowledged, r.unknown, r.notThere, r.refused)
	say("reads", "%d answered", r.reads)
	say("failed", "%d reads and %d writes at peers that were well, %d at the one that was hurt", r.failedReads, r.failedWrites, r.failedHurt)
	say("longest pause", "reads %s, writes %s, through peers that were well", seconds(r.pause.longest(ofReads, "")), seconds(r.pause.longest(ofWrites, "")))
	for _, asked := range slices.SortedFunc(maps.Keys(r.pause), func(a, b request) int {
		return cmp.Or(cmp.Compare(a.side, b.side), cmp.Compare(a.kind, b.kind))
	}) {
		if all := r.pause.perFault(asked); len(all) > 0 {
			say("unavailable", "%-14s longest pause in each of %d faults: %s", asked.kind, len(all), span(all))
		}
	}
	say("time to Dead", "%s", span(dead))
	say("time to whole", "%s", span(whole))
	say("audit", "%d acknowledged writes on %d replicas, %d points", r.sum.acknowledged, r.sum.replicas, r.sum.points)
	say("audit", "lost %d, divergent replicas %d, stale reads %d (and %d at replicas that could not know better)", r.sum.lost, r.sum.divergent, r.sum.stale, r.sum.staleExcused)
	say("registers", "%d linearizable reads, %d writes and %d of unknown outcome: linearizability violations %d, not decided in time %d",
		r.linear.reads, r.linear.writes, r.linear.unknown, r.linear.violations, r.linear.undecided)
	for i, text := range slices.SortedFunc(maps.Keys(r.failures), func(a, b string) int { return cmp.Compare(r.failures[b], r.failures[a]) }) {
		if i == mostFailed {
			break
		}
		say("failed", "%d × %s", r.failures[text], text)
	}
}

// verdict is an error if anything is not as it has to be.
func (r *report) verdict() error {
	var err error
	if r.sum.lost > 0 || r.sum.divergent > 0 || r.sum.stale > 0 {
		err = fmt.Errorf("%d lost, %d divergent replicas, %d stale reads:\n  %s", r.sum.lost, r.sum.divergent, r.sum.stale,
			strings.Join(r.sum.wrong[:min(mostWrong, len(r.sum.wrong))], "\n  "))
	}
	if r.linear.violations > 0 {
		err = errors.Join(err, fmt.Errorf("%d registers have histories that no register can have", r.linear.violations))
	}
	if r.linear.undecided > 0 {
		err = errors.Join(err, fmt.Errorf("of %d registers it was not found out whether their histories are right", r.linear.undecided))
	}
	for k, what := range []string{ofReads: "reads", ofWrites: "writes"} {
		if d := r.pause.longest(side(k), ""); d > pauseLimit {
			err = errors.Join(err, fmt.Errorf("%s paused for %v", what, d.Round(time.Millisecond)))
		}
	}
	if r.acknowledged == 0 || r.reads == 0 || r.linear.reads == 0 || r.linear.writes == 0 || r.sum.acknowledged == 0 {
		err = errors.Join(err, errors.New("nothing was acknowledged, read or audited: the run shows nothing"))
	}
	return err
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.2f s", d.Seconds()) }

// span is the middle, the 99th percentile and the greatest of some times.
func span(all []time.Duration) string {
	if len(all) == 0 {
		return "-"
	}
	slices.Sort(all)
	return fmt.Sprintf("p50 %s, p99 %s, max %s", seconds(percentile.Of(all, 50)), seconds(percentile.Of(all, 99)), seconds(all[len(all)-1]))
}
