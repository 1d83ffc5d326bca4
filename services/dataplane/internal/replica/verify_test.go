package replica

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/pandodb/pando/services/internal/topology"
)

// All Active replicas tell of one place that is newer than the question, be they equal or
// not; a follower that vanishes is left out once it is not Active.
func TestVerify(t *testing.T) {
	withTrio(t, []topology.ReplicaState{topology.Active, topology.Active, topology.Active}, func(t *testing.T, x *trio) {
		ctx := context.Background()
		if err := x.put(ctx, 1, 1, WaitApplied); err != nil {
			t.Fatal(err)
		}
		last := x.hosts[1].r.Status().Last.Seq
		v, err := x.hosts[1].r.Verify(ctx)
		if err != nil || v.Seq <= last || len(v.Reports) != 3 || v.Reports[1].Digest != v.Reports[2].Digest || v.Reports[1].Digest != v.Reports[3].Digest {
			t.Errorf("equal ones: %+v, %v", v, err)
		}
		for p, r := range v.Reports {
			if r.Applied < v.Seq {
				t.Errorf("peer %d had applied %d of %d", p, r.Applied, v.Seq)
			}
		}
		if _, err := x.hosts[2].r.Verify(ctx); !errors.Is(err, ErrNotPrimary) {
			t.Errorf("a follower: %v", err)
		}
		x.hosts[3].eng.set(func(e *fakeEngine) { e.mu.ids[topology.NumberID(200)] = true })
		v, err = x.hosts[1].r.Verify(ctx)
		if err != nil || len(v.Reports) != 3 || v.Reports[1].Digest != v.Reports[2].Digest || v.Reports[1].Digest == v.Reports[3].Digest {
			t.Errorf("one differs: %+v, %v", v, err)
		}
		x.cutOff(2, true)
		begun := time.Now()
		v, err = x.hosts[1].r.Verify(ctx)
		if _, told := v.Reports[2]; err != nil || told || time.Since(begun) > 5*time.Second {
			t.Errorf("one vanished: %+v, %v after %v", v, err, time.Since(begun))
		}
	})
}

// Where a follower is Active on record and does not tell, the caller's time ends it.
func TestVerifyEndsInTime(t *testing.T) {
	withTrio(t, []topology.ReplicaState{topology.Active, topology.Active, topology.Active}, func(t *testing.T, x *trio) {
		ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
		defer cancel()
		x.cutOff(2, true)
		if _, err := x.hosts[1].r.Verify(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		if err := x.put(context.Background(), 1, 1, WaitApplied); err != nil { // its answer comes late, to nobody
			t.Error(err)
		}
	})
}
