package swap

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/pandodb/pando/services/controlplane/internal/store"
	"github.com/pandodb/pando/services/internal/topology"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var at = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// record is "1*=Active 2=Dead": the star marks the primary.
func record(words string) store.Versioned[store.Shard] {
	rec := store.Shard{Collection: 7, Shard: 3, Epoch: 5}
	for w := range strings.FieldsSeq(words) {
		name, state, _ := strings.Cut(w, "=")
		var p topology.PeerID
		if _, err := fmt.Sscan(strings.TrimSuffix(name, "*"), &p); err != nil {
			panic(err)
		}
		if strings.HasSuffix(name, "*") {
			rec.Primary = p
		}
		rec.Replicas = append(rec.Replicas, store.Replica{Peer: p, State: store.State(state), Incarnation: store.Incarnation{byte(p)}, Since: at.Add(-time.Minute)})
	}
	return store.Versioned[store.Shard]{Record: rec, Created: 10, Modified: 20}
}

// words is the inverse, with the transfers that are written or deleted.
func words(t *testing.T, txn store.Txn) string {
	t.Helper()
	var out []string
	for _, op := range txn.Then {
		switch {
		case op.Value == nil:
			out = append(out, "end "+string(op.Key[len(op.Key)-1:]))
		case op.Key.Under(store.Shards):
			rec, err := store.Decode[store.Shard](store.KV{Key: op.Key, Value: op.Value})
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range rec.Record.Replicas {
				star := ""
				if r.Peer == rec.Record.Primary {
					star = "*"
				}
				out = append(out, fmt.Sprintf("%d%s=%s", r.Peer, star, r.State))
			}
			if rec.Record.Lost {
				out = append(out, "lost")
			}
		default:
			tr, err := store.Decode[store.Transfer](store.KV{Key: op.Key, Value: op.Value})
			if err != nil {
				t.Fatal(err)
			}
			word := fmt.Sprintf("%d>%d", tr.Record.From, tr.Record.To)
			if tr.Record.Move {
				word += "!"
			}
			out = append(out, word)
		}
	}
	return strings.Join(out, " ")
}

func copies(list ...store.Transfer) Copies {
	out := Copies{}
	for _, t := range list {
		t.Collection, t.Shard = 7, 3
		out[t.To] = store.Versioned[store.Transfer]{Record: t}
	}
	return out
}

func TestDrafts(t *testing.T) {
	auto, asked := store.Transfer{From: 1, To: 3}, store.Transfer{From: 1, To: 3, Asked: true}
	move := store.Transfer{From: 1, To: 3, Asked: true, Move: true}
	for _, c := range []struct {
		name, was string
		copies    Copies
		change    func(*Draft)
		want      string
	}{
		{"a follower dies", "1*=Active 2=Active", nil, func(d *Draft) { d.Set(2, store.Dead, "x") }, "1*=Active 2=Dead"},
		{"the primary dies and nobody is named", "1*=Active 2=Active", nil, func(d *Draft) { d.Set(1, store.Dead, "x") }, "1=Dead 2=Active"},
		{"the primary dies and another is named", "1*=Active 2=Active", nil, func(d *Draft) { d.Set(1, store.Dead, "x"); d.Lead(2) }, "1=Dead 2*=Active"},
		{"a Dead replica cannot lead", "1*=Active 2=Dead", nil, func(d *Draft) { d.Lead(2) }, "1=Active 2=Dead"},
		{"a stranger cannot lead", "1*=Active", nil, func(d *Draft) { d.Lead(9) }, "1=Active"},
		{"in between", "1*=Active 5=Active", nil, func(d *Draft) { d.Add(3, "x") }, "1*=Active 3=Dead 5=Active"},
		{"an automatic transfer begins", "1*=Active 3=Dead", nil, func(d *Draft) { d.Set(3, store.Partial, "x"); d.Copy(auto) }, "1*=Active 3=Partial 1>3"},
		{"and ends with its copy Active", "1*=Active 3=Partial", copies(auto), func(d *Draft) { d.Set(3, store.Active, "") }, "1*=Active 3=Active end 3"},
		{"and ends with its copy Dead", "1*=Active 3=Partial", copies(auto), func(d *Draft) { d.Set(3, store.Dead, "x") }, "1*=Active 3=Dead end 3"},
		{"one that was asked for stays with a Dead copy", "1*=Active 3=Partial", copies(asked), func(d *Draft) { d.Set(3, store.Dead, "x") }, "1*=Active 3=Dead 1>3"},
		{"and ends when it is done", "1*=Active 3=Partial", copies(asked), func(d *Draft) { d.Set(3, store.Active, "") }, "1*=Active 3=Active end 3"},
		{"every transfer ends with its receiver", "1*=Active 3=Partial", copies(asked), func(d *Draft) { d.Out(3) }, "1*=Active end 3"},
		{"a move stays until its source is out", "1*=Active 3=Partial", copies(move), func(d *Draft) { d.Set(3, store.Active, "") }, "1*=Active 3=Active 1>3!"},
		{"and ends with it", "1=Active 3*=Active", copies(move), func(d *Draft) { d.Out(1) }, "3*=Active end 3"},
		{"a move whose source is lost is a copy from the primary", "1=Dead 2*=Active 3=Partial", copies(move), func(d *Draft) { d.Out(1) }, "2*=Active 3=Partial 2>3"},
		{"a move keeps a source that is Dead", "1*=Active 2=Active 3=Partial", copies(move), func(d *Draft) { d.Set(1, store.Dead, "x"); d.Lead(2) }, "1=Dead 2*=Active 3=Partial 1>3!"},
		{"a copy goes on from the new primary", "1*=Active 2=Active 3=Partial", copies(auto), func(d *Draft) { d.Set(1, store.Dead, "x"); d.Lead(2) }, "1=Dead 2*=Active 3=Partial 2>3"},
		{"ended by hand", "1*=Active 3=Dead", copies(asked), func(d *Draft) { d.End(3) }, "1*=Active 3=Dead end 3"},
		{"the last one, by force", "1*=Active 2=Dead", nil, func(d *Draft) { d.Out(1); d.Lose() }, "2=Dead lost"},
		{"the very last one, by force", "1*=Active", nil, func(d *Draft) { d.Out(1); d.Lose() }, "lost"},
	} {
		d := New(record(c.was), c.copies, at)
		c.change(d)
		txn, err := d.Txn(store.Alive("/x", 4))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if got := words(t, txn); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
		if !slices.Equal(txn.If, []store.Cond{store.Unchanged(store.ShardKey(7, 3), 20), store.Alive("/x", 4)}) || d.Now.Epoch != 6 {
			t.Errorf("%s: compares %v, epoch %d", c.name, txn.If, d.Now.Epoch)
		}
	}
	for name, change := range map[string]func(*Draft){
		"marked Dead": func(d *Draft) { d.Set(1, store.Dead, "x") }, "taken out": func(d *Draft) { d.Out(1) },
	} {
		d := New(record("1*=Active 2=Dead 3=Partial"), nil, at)
		change(d)
		if _, err := d.Txn(); !errors.Is(err, ErrLast) {
			t.Errorf("the last Active one was %s: %v", name, err)
		}
	}
}

// TestNobodyEndsUpWithoutAnActiveReplica: whatever is changed in a row, C2 and the rules of a record hold at every step.
func TestNobodyEndsUpWithoutAnActiveReplica(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rec := record("1*=Active 2=Active 3=Active")
		held := Copies{}
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			d := New(rec, held, at)
			p := topology.PeerID(rapid.IntRange(1, 5).Draw(t, "peer"))
			r := d.Now.Replica(p)
			switch what := rapid.IntRange(0, 6).Draw(t, "what"); {
			case r == nil && what < 3:
				d.Add(p, "x")
				d.Copy(store.Transfer{From: d.Now.Primary, To: p, Asked: true, Move: what == 0})
			case r == nil:
			case what == 0:
				d.Out(p)
			case what == 1:
				d.Lead(p)
			case what < 4:
				d.Set(p, store.Dead, "x")
			case what == 4 && r.State == store.Dead:
				d.Set(p, store.Partial, "x")
				d.Copy(store.Transfer{From: d.Now.Primary, To: p})
			case r.State == store.Partial:
				d.Set(p, store.Active, "")
			}
			txn, err := d.Txn()
			if err != nil {
				continue
			}
			for _, op := range txn.Then[1:] {
				if op.Value == nil {
					for to, c := range held {
						if c.Record.Key() == op.Key {
							delete(held, to)
						}
					}
					continue
				}
				tr, err := store.Decode[store.Transfer](store.KV{Key: op.Key, Value: op.Value})
				if err != nil {
					t.Fatal(err)
				}
				held[tr.Record.To] = tr
			}
			if d.Now.Epoch != rec.Record.Epoch+1 || len(d.Now.Actives()) == 0 {
				t.Fatalf("%+v became %+v", rec.Record, d.Now)
			}
			rec = store.Versioned[store.Shard]{Record: d.Now, Modified: rec.Modified + 1}
			for to, c := range held {
				if d.Now.Replica(to) == nil || (d.Now.Replica(to).State == store.Active && !c.Record.Move) {
					t.Fatalf("transfer %+v under %+v", c.Record, d.Now)
				}
			}
			if q := d.Now.Replica(d.Now.Primary); d.Now.Primary != 0 && (q == nil || q.State != store.Active) {
				t.Fatalf("primary of %+v", d.Now)
			}
		}
	})
}

// TestReturns: what does not last is put off, ever longer; what lasts is forgiven.
func TestReturns(t *testing.T) {
	rec, now := record("1*=Active 2=Active"), at
	step := func(s store.State, after time.Duration) store.Replica {
		now = now.Add(after)
		d := New(rec, nil, now)
		d.Set(2, s, "x")
		if _, err := d.Txn(); err != nil {
			t.Fatal(err)
		}
		rec.Record = d.Now
		return *d.Now.Replica(2)
	}
	if r := step(store.Dead, 0); !r.Retry.IsZero() {
		t.Errorf("the first return waits until %v", r.Retry)
	}
	for _, want := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60, 60} {
		step(store.Partial, time.Second)
		if r := step(store.Dead, time.Second); r.Retry.Sub(now) != want*time.Second {
			t.Errorf("after %d tries it waits for %v, want %v s", r.Tries, r.Retry.Sub(now), int(want))
		}
	}
	step(store.Partial, time.Minute)
	step(store.Active, time.Second)
	if r := step(store.Dead, steady-1); r.Retry.IsZero() {
		t.Error("a short time as Active is enough")
	}
	step(store.Partial, time.Minute)
	if r := step(store.Active, time.Second); !r.Retry.IsZero() {
		t.Errorf("an Active replica waits until %v", r.Retry)
	}
	if r := step(store.Dead, steady); !r.Retry.IsZero() || r.Tries != 0 {
		t.Errorf("after a steady time it waits until %v, %d tries", r.Retry, r.Tries)
	}
	if pause(1<<31) != maxPause {
		t.Errorf("pause %v", pause(1<<31))
	}
}

func TestHeirs(t *testing.T) {
	dead := func(ps ...topology.PeerID) map[topology.PeerID]string {
		out := map[topology.PeerID]string{}
		for _, p := range ps {
			out[p] = "x"
		}
		return out
	}
	for _, c := range []struct {
		was  string
		plan Plan
		want string
	}{
		{"1*=Active 2=Active 3=Active", Plan{Dead: dead(2)}, "[1]"},
		{"1*=Active 2=Active 3=Active", Plan{Dead: dead(1)}, "[2 3]"},
		{"1*=Active 2=Active 3=Active", Plan{Dead: dead(1, 2)}, "[3]"},
		{"1*=Active 2=Active 3=Active", Plan{Dead: dead(2), Out: []topology.PeerID{1}}, "[3]"},
		{"1*=Active 2=Active 3=Active", Plan{To: 3}, "[3]"},
		{"1*=Active 2=Dead 3=Partial", Plan{Dead: dead(1)}, "[]"},
		{"1=Active 2=Active 3=Partial", Plan{}, "[1 2]"},
		{"1*=Dead 2=Active", Plan{}, "[2]"},
	} {
		c.plan.Was = record(c.was)
		if got := fmt.Sprint(c.plan.Heirs()); got != c.want {
			t.Errorf("%s, %+v: %s, want %s", c.was, c.plan, got, c.want)
		}
	}
}

// asker answers by script.
type asker map[topology.PeerID]func(ctx context.Context, a *Answer) error

func (s asker) Confirm(ctx context.Context, p topology.PeerID, rec store.Shard) (Answer, error) {
	a := Answer{Incarnation: store.Incarnation{byte(p)}, Epoch: rec.Epoch, Session: store.LeaseID(p) * 100}
	return a, s[p](ctx, &a)
}

func well(context.Context, *Answer) error { return nil }

func hangs(ctx context.Context, _ *Answer) error { <-ctx.Done(); return ctx.Err() }

func ahead(_ context.Context, a *Answer) error { a.LastSeq = 99; return nil }

func after(d time.Duration) func(context.Context, *Answer) error {
	return func(context.Context, *Answer) error { <-time.After(d); return nil }
}

func TestPerform(t *testing.T) {
	for name, c := range map[string]struct {
		ask   asker
		want  string // of the record; "" = nothing is written
		heir  topology.PeerID
		is    error
		text  string
		took  time.Duration // at most
		force bool
	}{
		"the longest log wins":          {ask: asker{2: well, 3: ahead}, want: "1=Dead 2=Active 3*=Active", heir: 3},
		"one that hangs delays little":  {ask: asker{2: hangs, 3: well}, want: "1=Dead 2=Active 3*=Active", heir: 3, took: 60 * time.Millisecond},
		"one that fails delays nothing": {ask: asker{2: func(context.Context, *Answer) error { return errors.New("no") }, 3: well}, want: "1=Dead 2=Active 3*=Active", heir: 3, took: 1},
		"nobody answers":                {ask: asker{2: hangs, 3: hangs}, text: "peer 2: context deadline exceeded; peer 3: context deadline exceeded", took: 301 * time.Millisecond},
		"answers that do not count": {ask: asker{
			2: func(_ context.Context, a *Answer) error { a.Incarnation[0]++; return nil },
			3: func(_ context.Context, a *Answer) error { a.Session = 0; return nil },
		}, text: "peer 2: it has another incarnation than the recorded one; peer 3: it has no session"},
		"an older placement":      {ask: asker{2: func(_ context.Context, a *Answer) error { a.Epoch = 4; return nil }, 3: hangs}, text: "it is at epoch 4, the record at 5"},
		"too late to act on":      {ask: asker{2: after(310 * time.Millisecond), 3: after(400 * time.Millisecond)}, is: store.ErrConflict},
		"an operator's word":      {ask: asker{2: hangs, 3: hangs}, want: "1=Dead 2=Active 3=Active", force: true},
		"an operator's word, too": {ask: asker{2: hangs, 3: well}, want: "1=Dead 2=Active 3*=Active", heir: 3, force: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				counted, failed := "", 0
				p := &Performer{Ask: c.ask, Now: time.Now, Swapped: func(k Kind) { counted += string(k) }, Unconfirmed: func() { failed++ }}
				plan := Plan{Kind: Failover, Was: record("1*=Active 2=Active 3=Active"), Dead: map[topology.PeerID]string{1: "x"}, Anyway: c.force,
					If: []store.Cond{store.Alive("/x", 4)}}
				var txn store.Txn
				start := time.Now()
				done, err := p.Do(t.Context(), plan, plan.Heirs(), func(_ context.Context, x store.Txn) (int64, error) { txn = x; return 21, nil })
				if took := time.Since(start); c.took > 0 && took > c.took {
					t.Errorf("took %v", took)
				}
				if c.want == "" {
					refused, ok := errors.AsType[*Refusal](err)
					if txn.Then != nil || (c.is == nil && (!ok || !strings.Contains(refused.Error(), c.text) || failed != 1)) || (c.is != nil && !errors.Is(err, c.is)) {
						t.Errorf("%v, wrote %v, counted %d", err, txn.Then, failed)
					}
					return
				}
				if err != nil || words(t, txn) != c.want || done.Revision != 21 || counted != "failover" {
					t.Fatalf("%v, wrote %q, done %+v, counted %q", err, words(t, txn), done, counted)
				}
				wantIf := []store.Cond{plan.Was.Unchanged(), store.Alive("/x", 4)}
				if c.heir != 0 {
					wantIf = append(wantIf, store.Leased(store.SessionKey(c.heir), store.LeaseID(c.heir)*100))
				}
				if !slices.Equal(txn.If, wantIf) {
					t.Errorf("compares %v, want %v", txn.If, wantIf)
				}
			})
		})
	}
	p := &Performer{Ask: asker{}, Now: time.Now}
	last := Plan{Was: record("1*=Active 2=Dead"), Dead: map[topology.PeerID]string{1: "x"}}
	if _, err := p.Do(t.Context(), last, last.Heirs(), nil); !errors.Is(err, ErrLast) {
		t.Errorf("the last one: %v", err)
	}
}
