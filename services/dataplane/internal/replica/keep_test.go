package replica

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/shard"
	"github.com/pandodb/pando/services/internal/topology"
)

// fakeKept keeps provisional operations in memory.
type fakeKept struct {
	sync.Mutex
	es    []op.Entry
	end   topology.Seq
	shown map[op.ID]bool
	full  bool
}

func (k *fakeKept) Load() ([]op.Entry, topology.Seq, error) {
	k.Lock()
	defer k.Unlock()
	return slices.Clone(k.es), k.end, nil
}

func (k *fakeKept) Keep(es []op.Entry) error {
	k.Lock()
	defer k.Unlock()
	if k.full {
		return ErrNoSpace
	}
	if k.shown == nil {
		k.shown = map[op.ID]bool{}
	}
	for _, e := range es {
		k.es, k.end, k.shown[e.ID] = append(k.es, e), e.Seq, true
	}
	return nil
}

func (k *fakeKept) Lift(ids []op.ID, upto topology.Seq) error {
	k.Lock()
	defer k.Unlock()
	for _, id := range ids {
		delete(k.shown, id)
	}
	k.es = slices.DeleteFunc(k.es, func(e op.Entry) bool { return e.Seq <= upto })
	return nil
}

func (k *fakeKept) left() int {
	k.Lock()
	defer k.Unlock()
	return len(k.es) + len(k.shown)
}

// weak writes a point as most clients do.
func (x *trio) weak(at topology.PeerID, n byte) (Result, error) {
	w := shard.Write{Kind: op.Upsert, Points: []op.Point{{ID: topology.NumberID(uint64(n))}}, Weak: true}
	return x.hosts[at].r.Propose(context.Background(), op.ID{Request: [16]byte{n}}, w, WaitApplied, 1)
}

// TestDetached: the control plane is down and the primary dies. Weak writes and reads go
// on, with a copy at whoever answers; when all is back everybody has them, and once.
func TestDetached(t *testing.T) {
	three := []topology.ReplicaState{topology.Active, topology.Active, topology.Active}
	withTrio(t, three, func(t *testing.T, x *trio) {
		if _, err := x.weak(1, 1); err != nil {
			t.Fatal(err)
		}
		x.control(false)
		x.cutOff(1, true)
		if _, err := x.weak(2, 2); !errors.Is(err, ErrNotPrimary) {
			t.Fatalf("a moment later: %v", err)
		}
		<-time.After(6 * time.Second)
		if res, err := x.weak(2, 3); err != nil || res.Disks != 2 || res.Seq != 0 {
			t.Fatalf("a weak write: %+v, %v", res, err)
		}
		if err := x.put(context.Background(), 2, 4, WaitApplied); !errors.Is(err, ErrDetached) {
			t.Errorf("a write that is not weak: %v", err)
		}
		if err := x.hosts[2].r.Linearize(context.Background()); !errors.Is(err, ErrDetached) {
			t.Errorf("a linearizable read: %v", err)
		}
		<-time.After(20 * time.Second)
		for _, p := range []topology.PeerID{2, 3} {
			if err := x.hosts[p].r.Readable(); err != nil || !x.hosts[p].r.Status().Detached {
				t.Errorf("peer %d: %v, %+v", p, err, x.hosts[p].r.Status())
			}
		}
		x.hosts[3].kept.full = true
		if res, err := x.weak(2, 5); err != nil || res.Disks != 1 {
			t.Errorf("with a full disk beside: %+v, %v", res, err)
		}
		if _, err := x.weak(3, 6); !errors.Is(err, ErrNoSpace) {
			t.Errorf("on a full disk: %v", err)
		}
		x.hosts[3].kept.full = false
		if err := x.hosts[2].end(); err != nil { // what it took is there after a restart
			t.Fatal(err)
		}
		x.hosts[2].start()
		x.control(true)
		x.swap(x.epoch(), func(p *topology.Placement) { p.Primary, p.Replicas[0].State = 3, topology.Dead })
		x.cutOff(1, false)
		<-time.After(5 * time.Second)
		synctest.Wait()
		for _, p := range []topology.PeerID{2, 3} {
			if !x.has(p, 1) || !x.has(p, 3) || !x.has(p, 5) || x.hosts[p].kept.left() != 0 {
				t.Errorf("peer %d lacks a write, or keeps one: %+v", p, x.hosts[p].r.Status())
			}
		}
		if res, err := x.weak(3, 3); err != nil || res.Disks != 0 {
			t.Errorf("the client repeats itself: %+v, %v", res, err)
		}
	})
}
