package main

import (
	"strconv"
	"strings"
	"testing"
	"time"
)

// script reads writes to one point: "number kind outcome start end", one a line, times in seconds; "maybe" behind them.
func script(t *testing.T, lines string) *history {
	t.Helper()
	h := newHistory()
	for line := range strings.Lines(lines) {
		w := strings.Fields(line)
		if len(w) == 0 {
			continue
		}
		e := event{n: number(t, w[0]), start: time.Duration(number(t, w[3])) * time.Second, maybe: len(w) > 5}
		for k, name := range []string{"upsert", "delete", "set", "erase", "vector"} {
			if name == w[1] {
				e.kind = kind(k)
			}
		}
		for o, name := range outcomes {
			if name == w[2] {
				e.outcome = outcome(o)
			}
		}
		if w[4] != "?" {
			e.end = time.Duration(number(t, w[4])) * time.Second
		}
		h.note(e, 1)
	}
	return h
}

func number(t *testing.T, s string) int {
	t.Helper()
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func made(base, vector, note int) state {
	return state{there: true, base: base, vector: vector, note: note}
}

func TestSettled(t *testing.T) {
	for _, c := range []struct {
		name, writes string
		found        state
		wrong        string // "": it can be so
	}{
		{"nothing was written", "", state{}, ""},
		{"nobody made it", "", made(1, 1, 0), "cannot have done that"},
		{"as made", "1 upsert applied 1 2", made(1, 1, 0), ""},
		{"lost", "1 upsert applied 1 2", state{}, "write 1 (upsert, acknowledged) is lost"},
		{"a refused one shows", "1 upsert refused 1 2", made(1, 1, 0), "cannot have done that"},
		{"an unknown one may show", "1 upsert unknown 1 ?", made(1, 1, 0), ""},
		{"or not", "1 upsert unknown 1 ?", state{}, ""},
		{"the older of two", "1 upsert committed 1 2\n2 upsert committed 3 4", made(1, 1, 0), "write 2 (upsert, acknowledged) is lost"},
		{"either of two at once", "1 upsert committed 1 4\n2 upsert committed 2 3", made(1, 1, 0), ""},
		{"an unknown one comes late", "1 upsert unknown 1 ?\n2 upsert committed 3 4", made(1, 1, 0), ""},
		{"deleted", "1 upsert applied 1 2\n2 delete applied 3 4", state{}, ""},
		{"a deletion is lost", "1 upsert applied 1 2\n2 delete applied 3 4", made(1, 1, 0), "write 2 (delete, acknowledged) is lost"},
		{"made again after a deletion", "1 upsert applied 1 2\n2 delete applied 3 4\n3 upsert applied 5 6", state{}, "write 3 (upsert, acknowledged) is lost"},
		{"an insertion may do nothing", "1 upsert applied 1 2\n2 upsert applied 3 4 maybe", made(1, 1, 0), ""},
		{"a note", "1 upsert applied 1 2\n2 set applied 3 4", made(1, 1, 2), ""},
		{"a note is lost", "1 upsert applied 1 2\n2 set applied 3 4", made(1, 1, 0), "note: write 2 (set payload, acknowledged) is lost"},
		{"a note is erased", "1 upsert applied 1 2\n2 set applied 3 4\n3 erase applied 5 6", made(1, 1, 0), ""},
		{"an erasure is lost", "1 upsert applied 1 2\n2 set applied 3 4\n3 erase applied 5 6", made(1, 1, 2), "write 3 (delete payload, acknowledged) is lost"},
		{"a note outlives its point", "1 upsert applied 1 2\n2 set applied 3 4\n3 upsert applied 5 6", made(3, 3, 2), "which was over before write 3 made the point anew"},
		{"the older note", "1 upsert applied 1 2\n2 set applied 3 4\n3 set applied 5 6", made(1, 1, 2), "write 3 (set payload, acknowledged) is lost"},
		{"a vector", "1 upsert applied 1 2\n2 vector applied 3 4", made(1, 2, 0), ""},
		{"a vector is lost", "1 upsert applied 1 2\n2 vector committed 3 4", made(1, 1, 0), "vector: write 2 (update vectors, acknowledged) is lost"},
		{"a note where a vector is", "1 upsert applied 1 2\n2 set applied 3 4", made(1, 2, 2), "vector of write 2, which cannot have set it"},
	} {
		err := script(t, c.writes).settled(1, c.found)
		if (err == nil) != (c.wrong == "") || err != nil && !strings.Contains(err.Error(), c.wrong) {
			t.Errorf("%s: %v, want %q", c.name, err, c.wrong)
		}
	}
}

func TestVisible(t *testing.T) {
	const writes = "1 upsert applied 1 2\n2 upsert committed 3 4\n3 upsert applied 7 9"
	for _, c := range []struct {
		name       string
		found      state
		start, end int // seconds
		wrong      string
	}{
		{"not there before it was applied", state{}, 1, 2, ""},
		{"not there after", state{}, 3, 4, "is lost"},
		{"the newest that all have shown", made(1, 1, 0), 5, 6, ""},
		{"one that was only committed", made(2, 2, 0), 5, 6, ""},
		{"one that is under way", made(3, 3, 0), 8, 8, ""},
		{"one from the future", made(3, 3, 0), 5, 6, "cannot have done that"},
		{"an old one after the newest was applied", made(1, 1, 0), 10, 11, "write 3 (upsert, acknowledged) is lost"},
	} {
		err := script(t, writes).visible(1, c.found, time.Duration(c.start)*time.Second, time.Duration(c.end)*time.Second)
		if (err == nil) != (c.wrong == "") || err != nil && !strings.Contains(err.Error(), c.wrong) {
			t.Errorf("%s: %v, want %q", c.name, err, c.wrong)
		}
	}
}

// TestSpan: percentiles are of what was there, by nearest rank; the times end up in order.
func TestSpan(t *testing.T) {
	var all []time.Duration
	for i := range 200 {
		all = append(all, time.Duration(200-i)*10*ms)
	}
	if got := span(all); got != "p50 1.00 s, p99 1.98 s, max 2.00 s" {
		t.Error(got)
	}
	if got := span(all[:1]); got != "p50 0.01 s, p99 0.01 s, max 0.01 s" {
		t.Error(got)
	}
	if got := span(nil); got != "-" {
		t.Error(got)
	}
}

// TestUnavailable: a fault counts from when it begins, and what is told of a kind of request is the longest pause in
// each occurrence, not each answer.
func TestUnavailable(t *testing.T) {
	r := newReport()
	first, second := r.befell("kill -9"), r.befell("kill -9")
	upserts, gets := request{ofWrites, "upsert"}, request{ofReads, "get"}
	for at, took := range map[occurrence]time.Duration{first: 2 * time.Second, second: time.Second, {}: time.Minute} {
		l := newLoad(nil, "c")
		l.pause.note(upserts, at, took)
		l.pause.note(upserts, at, took/2)
		r.add(l)
	}
	r.pause.note(gets, second, 5*time.Second)
	if got := r.of("kill -9").times; got != 2 {
		t.Errorf("%d times", got)
	}
	if got := span(r.pause.perFault(upserts)); got != "p50 1.00 s, p99 2.00 s, max 2.00 s" {
		t.Error(got)
	}
	if w, g, any := r.pause.longest(ofWrites, "kill -9"), r.pause.longest(ofReads, ""), r.pause.longest(ofWrites, ""); w != 2*time.Second || g != 5*time.Second || any != time.Minute {
		t.Error(w, g, any)
	}
}
