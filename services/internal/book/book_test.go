package book

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func drawBook(t *rapid.T, label string) Book {
	return New(rapid.MapOf(
		rapid.SampledFrom([]string{"a", "b", "c"}),
		rapid.Custom(func(t *rapid.T) Address {
			return Address{
				Addr:       rapid.SampledFrom([]string{"h:1", "h:2", "h:3"}).Draw(t, "addr"),
				Member:     rapid.Bool().Draw(t, "member"),
				Removed:    rapid.Bool().Draw(t, "removed"),
				Generation: rapid.Uint64Range(1, 4).Draw(t, "generation"),
			}
		}),
	).Draw(t, label))
}

// TestMergeLaws: rumours may arrive in any order and any number of times.
func TestMergeLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := drawBook(t, "a"), drawBook(t, "b"), drawBook(t, "c")
		before := a.Entries()
		merge := func(x, y Book) Book { m, _ := x.Merge(y); return m }
		equal := func(law string, x, y Book) {
			if d := cmp.Diff(x.Entries(), y.Entries()); d != "" && len(x.Entries())+len(y.Entries()) > 0 {
				t.Fatalf("%s:\n%s", law, d)
			}
			if x.Digest() != y.Digest() {
				t.Fatalf("%s: equal books, unlike digests", law)
			}
		}
		equal("commutative", merge(a, b), merge(b, a))
		equal("associative", merge(merge(a, b), c), merge(a, merge(b, c)))
		equal("idempotent", merge(merge(a, b), b), merge(a, b))
		if d := cmp.Diff(before, a.Entries()); d != "" {
			t.Fatalf("merge changed its receiver:\n%s", d)
		}
		merged, changed := a.Merge(b)
		if (len(changed) == 0) != (merged.Digest() == a.Digest()) {
			t.Fatalf("changed %v, digest %x before and %x after", changed, a.Digest(), merged.Digest())
		}
		for name := range merged.Entries() {
			mine, _ := a.Lookup(name)
			now, _ := merged.Lookup(name)
			listed := false
			for _, n := range changed {
				listed = listed || n == name
			}
			if listed != (mine != now) {
				t.Fatalf("%s: was %v, is %v, listed as changed: %v", name, mine, now, listed)
			}
			if now.Generation < mine.Generation {
				t.Fatalf("%s went back from %v to %v", name, mine, now)
			}
		}
	})
}

func TestAnnounce(t *testing.T) {
	b := Book{}.Announce("a", Address{Addr: "h:1"}, 100)
	for _, tc := range []struct {
		addr string
		now  uint64
		want uint64
	}{
		{"h:1", 200, 100}, // the same address is no news
		{"h:2", 200, 200},
		{"h:3", 50, 101}, // the clock went back
	} {
		if got, _ := b.Announce("a", Address{Addr: tc.addr, Generation: 7}, tc.now).Lookup("a"); got.Generation != tc.want || got.Addr != tc.addr {
			t.Errorf("announce %s at %d: got %v, want generation %d", tc.addr, tc.now, got, tc.want)
		}
	}
}

func TestRemove(t *testing.T) {
	b := Book{}.Announce("a", Address{Addr: "h:1", Peer: 7, Member: true}, 100).Announce("b", Address{Addr: "h:2"}, 100)
	gone := b.Remove("a").Remove("unknown").Remove("a")
	if got, _ := gone.Lookup("a"); got != (Address{Generation: 101, Peer: 7, Removed: true}) {
		t.Errorf("removed: %+v", got)
	}
	if got := gone.Processes(); len(got) != 1 || got[0] != "b" {
		t.Errorf("left: %v", got)
	}
	back := b.Announce("a", Address{Addr: "h:3"}, 500)
	if merged, changed := back.Merge(gone); len(changed) != 0 || merged.Digest() != back.Digest() {
		t.Errorf("a process that has come back was taken out by older news: %v", changed)
	}
	again := gone.Announce("a", Address{Addr: "h:1", Peer: 7}, 50)
	if got, _ := again.Lookup("a"); got.Generation != 102 || got.Removed {
		t.Errorf("announced after its removal: %+v", got)
	}
}
