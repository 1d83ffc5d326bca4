package storetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pandodb/pando/services/controlplane/internal/store"
)

func (s *suite) listPages() {
	var want []string
	for i := range 25 {
		want = append(want, fmt.Sprintf("%02d", i))
		s.write(put(s.key(want[i]), want[i]))
	}
	s.write(put(s.root[:len(s.root)-1]+"0", "a neighbour that is not below the prefix"))
	var got []string
	r := store.Range{Prefix: s.root, Limit: 10}
	for {
		page, err := s.Store.List(s.ctx(), r)
		if err != nil {
			s.Fatal(err)
		}
		for _, kv := range page.KVs {
			got = append(got, string(kv.Value))
		}
		if !page.More {
			break
		}
		r.After, r.Revision = page.KVs[len(page.KVs)-1].Key, page.Revision
	}
	if d := cmp.Diff(want, got); d != "" {
		s.Fatalf("(-want +got)\n%s", d)
	}
}

func (s *suite) listAsOf() {
	r1 := s.write(put(s.key("a"), "1"), put(s.key("b"), "1"))
	s.write(put(s.key("a"), "2"))
	s.write(store.Delete(s.key("b")))
	s.write(put(s.key("c"), "2"))
	for _, tc := range []struct {
		revision int64
		want     string
	}{{r1, "a=1 b=1 "}, {r1 + 1, "a=2 b=1 "}, {0, "a=2 c=2 "}} {
		page, err := s.Store.List(s.ctx(), store.Range{Prefix: s.root, Revision: tc.revision})
		if err != nil {
			s.Fatal(err)
		}
		got := ""
		for _, kv := range page.KVs {
			got += strings.TrimPrefix(string(kv.Key), string(s.root)) + "=" + string(kv.Value) + " "
		}
		if got != tc.want {
			s.Errorf("at revision %d: got %q, want %q", tc.revision, got, tc.want)
		}
		if tc.revision != 0 && page.Revision != tc.revision {
			s.Errorf("page says revision %d, want %d", page.Revision, tc.revision)
		}
	}
}

func (s *suite) listCompacted() {
	r1 := s.write(put(s.key("a"), "1"))
	r2 := s.write(put(s.key("a"), "2"))
	if err := s.Compact(s.ctx(), r2); err != nil {
		s.Fatal(err)
	}
	_, err := s.Store.List(s.ctx(), store.Range{Prefix: s.root, Revision: r1})
	s.wantErr("list at a compacted revision", err, store.ErrCompacted)
	page, err := s.Store.List(s.ctx(), store.Range{Prefix: s.root, Revision: r2})
	if err != nil || len(page.KVs) != 1 || string(page.KVs[0].Value) != "2" {
		s.Fatalf("list at the compaction revision: %v, %v", page, err)
	}
	s.want(s.key("a"), "2", r1, r2)
}

func (s *suite) scanOneRevision() {
	for i := range 12 {
		ops := make([]store.Op, 0, store.MaxOps)
		for j := range store.MaxOps {
			ops = append(ops, put(s.key(fmt.Sprintf("%02d/%03d", i, j)), "x"))
		}
		s.write(ops...)
	}
	seen, pages := 0, 0
	revision, err := store.Scan(s.ctx(), s.Store, s.root, func(kvs []store.KV) error {
		if pages++; pages == 1 {
			s.write(put(s.key("99/late"), "x"), store.Delete(s.key("11/000")))
		}
		seen += len(kvs)
		return nil
	})
	if err != nil {
		s.Fatal(err)
	}
	if seen != 1200 || pages < 2 {
		s.Fatalf("scan saw %d records on %d pages, want 1200 on several", seen, pages)
	}
	changes, err := s.collect(revision+1, 2)
	if err != nil || len(changes) != 2 {
		s.Fatalf("after the scan: %v, %v", changes, err)
	}
}

// collect watches the case's prefix until n changes were seen. It lists them as "key=value@revision" or "-key@revision".
func (s *suite) collect(from int64, n int) ([]string, error) {
	var got []string
	done := errors.New("enough")
	err := s.Store.Watch(s.ctx(), s.root, from, func(b store.Batch) error {
		for _, c := range b.Changes {
			name := strings.TrimPrefix(string(c.Key), string(s.root))
			if c.Deleted {
				got = append(got, fmt.Sprintf("-%s@%d", name, c.Modified))
			} else {
				got = append(got, fmt.Sprintf("%s=%s@%d", name, c.Value, c.Modified))
			}
		}
		if len(got) >= n {
			return done
		}
		return nil
	})
	if errors.Is(err, done) {
		err = nil
	}
	return got, err
}

func (s *suite) watchPast() {
	r1 := s.write(put(s.key("a"), "1"))
	r2 := s.write(put(s.key("b"), "1"), put(s.key("c"), "1"))
	r3 := s.write(store.Delete(s.key("a")))
	s.write(put(s.root[:len(s.root)-1]+"0", "not below the prefix"))
	r4 := s.write(put(s.key("a"), "2"))
	got, err := s.collect(r1, 5)
	if err != nil {
		s.Fatal(err)
	}
	want := []string{
		fmt.Sprintf("a=1@%d", r1), fmt.Sprintf("b=1@%d", r2), fmt.Sprintf("c=1@%d", r2),
		fmt.Sprintf("-a@%d", r3), fmt.Sprintf("a=2@%d", r4),
	}
	if d := cmp.Diff(want, got); d != "" {
		s.Fatalf("(-want +got)\n%s", d)
	}
	if got, err = s.collect(r3, 2); err != nil || len(got) != 2 || got[0] != want[3] {
		s.Fatalf("watch from revision %d: %v, %v", r3, got, err)
	}
}

func (s *suite) watchLive() {
	const n = 50
	start := s.write(put(s.key("start"), "x"))
	type result struct {
		got []string
		err error
	}
	done := make(chan result, 1)
	go func() {
		got, err := s.collect(start+1, n)
		done <- result{got, err}
	}()
	var want []string
	for i := range n {
		r := s.write(put(s.key("k"), fmt.Sprint(i)))
		want = append(want, fmt.Sprintf("k=%d@%d", i, r))
	}
	res := <-done
	if res.err != nil {
		s.Fatal(res.err)
	}
	if d := cmp.Diff(want, res.got); d != "" {
		s.Fatalf("(-want +got)\n%s", d)
	}
}

func (s *suite) watchWhole() {
	var ops []store.Op
	for i := range store.MaxOps {
		ops = append(ops, put(s.key(fmt.Sprintf("%03d", i)), strings.Repeat("x", 1000)))
	}
	rev := s.write(ops...)
	last := s.write(put(s.key("last"), "x"))
	seen, done := 0, errors.New("done")
	err := s.Store.Watch(s.ctx(), s.root, rev, func(b store.Batch) error {
		seen += len(b.Changes)
		if seen%store.MaxOps != 0 && b.Revision < last {
			s.Errorf("a batch ends inside a revision, after %d changes", seen)
		}
		if b.Revision >= last {
			return done
		}
		return nil
	})
	s.wantErr("watch", err, done)
	if seen != store.MaxOps+1 {
		s.Fatalf("saw %d changes, want %d", seen, store.MaxOps+1)
	}
}

func (s *suite) watchCompacted() {
	r1 := s.write(put(s.key("a"), "1"))
	s.write(put(s.key("a"), "2"))
	r3 := s.write(put(s.key("a"), "3"))
	if err := s.Compact(s.ctx(), r3); err != nil {
		s.Fatal(err)
	}
	_, err := s.collect(r1, 1)
	s.wantErr("watch from a compacted revision", err, store.ErrCompacted)
	r4 := s.write(put(s.key("a"), "4"))
	got, err := s.collect(r3+1, 1)
	if err != nil || len(got) != 1 || got[0] != fmt.Sprintf("a=4@%d", r4) {
		s.Fatalf("watch after the compaction: %v, %v", got, err)
	}
}

func (s *suite) watchFnError() {
	r1 := s.write(put(s.key("a"), "1"))
	s.write(put(s.key("a"), "2"))
	mine, calls := errors.New("mine"), 0
	err := s.Store.Watch(s.ctx(), s.root, r1, func(store.Batch) error { calls++; return mine })
	s.wantErr("watch", err, mine)
	if calls != 1 {
		s.Fatalf("fn was called %d times", calls)
	}
}

func (s *suite) watchContext() {
	r1 := s.write(put(s.key("a"), "1"))
	ctx, cancel := context.WithCancel(s.ctx())
	if err := s.Store.Watch(ctx, s.root, r1, func(store.Batch) error { cancel(); return nil }); err != nil {
		s.Fatalf("the end of the context is no error: %v", err)
	}
}

func (s *suite) grant(ttl time.Duration) store.LeaseID {
	s.Helper()
	id, err := s.Store.Grant(s.ctx(), ttl)
	if err != nil {
		s.Fatal(err)
	}
	return id
}

func (s *suite) leaseEnds() {
	id := s.grant(time.Second)
	a, b := s.key("a"), s.key("b")
	rev := s.write(store.Op{Key: a, Value: []byte("1"), Lease: id}, store.Op{Key: b, Value: []byte("1"), Lease: id}, put(s.key("c"), "1"))
	kv, err := s.Store.Get(s.ctx(), a)
	if err != nil || kv.Lease != id {
		s.Fatalf("get: lease %d, %v; want lease %d", kv.Lease, err, id)
	}
	got, err := s.collect(rev+1, 2)
	if err != nil || len(got) != 2 {
		s.Fatalf("watch: %v, %v; want two deletions", got, err)
	}
	for i, name := range []string{"-a@", "-b@"} {
		if !strings.HasPrefix(got[i], name) {
			s.Errorf("change %d is %s, want %s", i, got[i], name)
		}
	}
	s.absent(a)
	s.want(s.key("c"), "1", rev, rev)
}

func (s *suite) leaseRenewed() {
	id := s.grant(time.Second)
	a := s.key("a")
	rev := s.write(store.Op{Key: a, Value: []byte("1"), Lease: id})
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for range 15 {
		<-tick.C
		if err := s.Store.Renew(s.ctx(), id); err != nil {
			s.Fatal(err)
		}
	}
	s.want(a, "1", rev, rev)
}

// leaseCompared: the condition follows the lease through rewritings, and no other lease, none, or an ended one fulfils it.
func (s *suite) leaseCompared() {
	mine, other := s.grant(time.Minute), s.grant(time.Minute)
	a, b := s.key("a"), s.key("b")
	under := func(id store.LeaseID) store.Op { return store.Op{Key: a, Value: []byte("1"), Lease: id} }
	try := func(what string, want error) {
		s.Helper()
		_, err := s.Store.Commit(s.ctx(), store.Txn{If: []store.Cond{store.Leased(a, mine)}, Then: []store.Op{put(b, what)}})
		if want == nil && err != nil {
			s.Fatalf("%s: %v", what, err)
		}
		if want != nil {
			s.wantErr(what, err, want)
		}
	}
	try("no such key", store.ErrConflict)
	s.write(under(mine))
	try("bound", nil)
	s.write(under(mine))
	try("written again", nil)
	s.write(under(other))
	try("bound to another lease", store.ErrConflict)
	s.write(put(a, "1"))
	try("bound to none", store.ErrConflict)
	_, err := s.Store.Commit(s.ctx(), store.Txn{If: []store.Cond{store.Leased(a, 0)}, Then: []store.Op{put(b, "none asked for")}})
	s.wantErr("none asked for", err, store.ErrConflict)
	s.write(under(mine))
	s.write(store.Delete(a))
	try("deleted", store.ErrConflict)
	if kv, err := s.Store.Get(s.ctx(), b); err != nil || string(kv.Value) != "written again" {
		s.Fatalf("%q was written under a lease that did not hold (%v)", kv.Value, err)
	}
}

func (s *suite) leaseGone() {
	s.wantErr("renew", s.Store.Renew(s.ctx(), 4711), store.ErrLeaseGone)
	_, err := s.Store.Commit(s.ctx(), store.Txn{Then: []store.Op{{Key: s.key("a"), Value: []byte("1"), Lease: 4711}}})
	s.wantErr("commit", err, store.ErrLeaseGone)
	s.absent(s.key("a"))
}

func (s *suite) leaseDropped() {
	id := s.grant(time.Second)
	a, b := s.key("a"), s.key("b")
	rev := s.write(store.Op{Key: a, Value: []byte("1"), Lease: id}, store.Op{Key: b, Value: []byte("1"), Lease: id})
	rev2 := s.write(put(a, "2"))
	if got, err := s.collect(rev2+1, 1); err != nil || len(got) != 1 || !strings.HasPrefix(got[0], "-b@") {
		s.Fatalf("watch: %v, %v; want the deletion of b alone", got, err)
	}
	s.want(a, "2", rev, rev2)
}
