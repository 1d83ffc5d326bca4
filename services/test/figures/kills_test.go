package main

import (
	"context"
	"errors"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func TestRoleOf(t *testing.T) {
	for _, tc := range []struct {
		leader    bool
		primaries int
		want      role
	}{{true, 0, leads}, {true, 3, leads}, {false, 0, follows}, {false, 3, primary}} {
		if got := roleOf(tc.leader, tc.primaries); got != tc.want {
			t.Errorf("leader %v, %d primaries: %s, want %s", tc.leader, tc.primaries, got, tc.want)
		}
	}
}

func TestSpan(t *testing.T) {
	upTo := func(n int) (all []time.Duration) {
		for i := n; i > 0; i-- {
			all = append(all, time.Duration(i)*10*time.Millisecond)
		}
		return all
	}
	for _, tc := range []struct {
		all  []time.Duration
		want string
	}{
		{nil, "-"},
		{[]time.Duration{0}, "-"},
		{upTo(1), "0.01 s"},
		{upTo(10), "p50 0.05 s, p99 (max) 0.10 s"},
		{upTo(30), "p50 0.15 s, p99 (max) 0.30 s"},
		{upTo(200), "p50 1.00 s, p99 1.98 s, max 2.00 s"},
	} {
		if got := span(tc.all); got != tc.want {
			t.Errorf("%d times: %s, want %s", len(tc.all), got, tc.want)
		}
	}
}

// TestClient: a pause is from one success to the next, or as long as there is none; failures do not end it.
func TestClient(t *testing.T) {
	begin := time.Now()
	gone := status.Error(codes.Unavailable, "gone")
	type event struct {
		after int // seconds from the begin
		err   error
	}
	for name, tc := range map[string]struct {
		events []event
		want   string
	}{
		"nothing":             {nil, "pause 0.00 s, 0 failed of 0"},
		"slow at first":       {[]event{{3, nil}, {4, nil}}, "pause 3.00 s, 0 failed of 2"},
		"slow later":          {[]event{{1, nil}, {6, nil}, {7, nil}}, "pause 5.00 s, 0 failed of 3"},
		"failures between":    {[]event{{1, nil}, {3, gone}, {5, gone}, {6, nil}}, "pause 5.00 s, 2 failed of 4 (Unavailable 2)"},
		"no success any more": {[]event{{1, nil}, {9, gone}}, "pause 8.00 s, 1 failed of 2 (Unavailable 1)"},
		"never a success":     {[]event{{2, context.DeadlineExceeded}, {4, gone}}, "pause 4.00 s, 2 failed of 2 (Unknown 1, Unavailable 1)"},
	} {
		c := &client{last: begin}
		for _, e := range tc.events {
			c.note(begin.Add(time.Duration(e.after)*time.Second), e.err)
		}
		if got := c.seen.String(); got != tc.want {
			t.Errorf("%s: %s, want %s", name, got, tc.want)
		}
	}
}

func TestSum(t *testing.T) {
	one := seen{done: 3, pause: time.Second, fails: map[codes.Code]int{codes.Aborted: 1}}
	two := seen{done: 4, pause: 2 * time.Second, fails: map[codes.Code]int{codes.Aborted: 1, codes.Internal: 1}}
	if got, want := sum(one, two, seen{}).String(), "pause 2.00 s, 3 failed of 10 (Aborted 2, Internal 1)"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if len(one.fails) != 1 || one.done != 3 {
		t.Errorf("the sum has changed what it is of: %v", one)
	}
}

// TestBusy: the first failure ends all clients, and is told.
func TestBusy(t *testing.T) {
	bad := errors.New("bad")
	if _, _, err := busy(t.Context(), 4, time.Hour, func(ctx context.Context, n int) error {
		if n == 2 {
			return bad
		}
		<-ctx.Done()
		return ctx.Err()
	}); !errors.Is(err, bad) {
		t.Error(err)
	}
	took, all, err := busy(t.Context(), 4, time.Millisecond, func(context.Context, int) error { return nil })
	if err != nil || len(took) < 4 || all < time.Millisecond {
		t.Errorf("%d requests in %v, %v", len(took), all, err)
	}
}

func TestLoad(t *testing.T) {
	if w, err := load("../demo/words"); err != nil || len(w.base) != 4000 || len(w.queries) != 50 {
		t.Errorf("%d vectors, %d queries, %v", len(w.base), len(w.queries), err)
	}
	if _, err := load(t.TempDir()); err == nil {
		t.Error("an empty folder has vectors")
	}
}
