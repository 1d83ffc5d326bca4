package peer

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	shardv1 "github.com/pandodb/pando/gen/go/pando/shard/v1"
	"github.com/pandodb/pando/services/dataplane/internal/point"
	"github.com/pandodb/pando/services/dataplane/internal/replica"
	"github.com/pandodb/pando/services/dataplane/internal/replica/core"
	"github.com/pandodb/pando/services/dataplane/internal/shard"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/vfs/faultfs"
	"github.com/pandodb/pando/services/internal/vfs/memfs"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
)

// status is a replica of which only its status matters.
type status struct {
	*fake
	s replica.Status
}

func (s status) Status() replica.Status { return s.s }

// TestHealth: what is Active must be readable and writable; what is not serves nothing by right.
func TestHealth(t *testing.T) {
	for _, c := range []struct {
		name  string
		state topology.ReplicaState
		phase replica.Phase
		read  error
		bad   bool
	}{
		{"Active", topology.Active, replica.Serving, nil, false},
		{"Active and not told everything yet", topology.Active, replica.Serving, replica.ErrNotReady, false},
		{"Active and broken", topology.Active, replica.Serving, shard.ErrFailed, true},
		{"Active on a full disk", topology.Active, replica.Full, nil, false},
		{"Active on a failed disk, which can still be read", topology.Active, replica.Failed, nil, true},
		{"Partial", topology.Partial, replica.Serving, replica.ErrNotReady, false},
		{"Dead", topology.Dead, replica.Serving, replica.ErrNotReady, false},
		{"Dead on a failed disk", topology.Dead, replica.Failed, replica.ErrNotReady, true},
	} {
		f := &fake{readErr: c.read}
		s := serverOf(map[topology.ShardID]*fake{0: f})
		st := status{fake: f}
		st.s.Phase = c.phase
		st.s.Placement.Replicas = []topology.Replica{{Peer: 9}, {Peer: 10, State: c.state}}
		s.Replica = func(topology.Shard) (Replica, error) { return st, nil }
		h := s.Health(t.Context(), topology.Shard{Collection: 1}, 10)
		if (h.GetFailure() != nil) != c.bad {
			t.Errorf("%s: %v", c.name, h.GetFailure())
		}
		if serves := c.state == topology.Active && c.read == nil && !c.bad; serves != (h.GetDigestSeq() == 7) || serves != bytes.Equal(h.GetDigest(), protoDigest(point.Digest{A: 1, B: 2})) {
			t.Errorf("%s: digest %x at %d", c.name, h.GetDigest(), h.GetDigestSeq())
		}
	}
}

// TestCatchup: a replica that is filled says how far it has come.
func TestCatchup(t *testing.T) {
	for _, c := range []struct {
		name string
		of   replica.Status
		want *shardv1.Catchup
	}{
		{"not Partial", replica.Status{}, nil},
		{"nothing heard yet", replica.Status{Status: core.Status{Role: core.Receiver}}, nil},
		{"from the log", replica.Status{Status: core.Status{Role: core.Receiver, Told: 9, Behind: 5}}, &shardv1.Catchup{Behind: 5}},
		{"a copy that begins", replica.Status{Status: core.Status{Role: core.Receiver, Fetching: true}}, &shardv1.Catchup{Copy: &shardv1.CopyProgress{}}},
		{"a copy", replica.Status{Status: core.Status{Role: core.Receiver, Fetching: true}, Copy: &replica.CopyProgress{Points: 3, TotalPoints: 7, Bytes: 30, TotalBytes: 70, Elapsed: time.Second}},
			&shardv1.Catchup{Copy: &shardv1.CopyProgress{Points: 3, TotalPoints: 7, Bytes: 30, TotalBytes: 70, Elapsed: durationpb.New(time.Second)}}},
	} {
		f := &fake{readErr: replica.ErrNotReady}
		s := serverOf(map[topology.ShardID]*fake{0: f})
		st := status{fake: f, s: c.of}
		st.s.Placement.Replicas = []topology.Replica{{Peer: 10, State: topology.Partial}}
		s.Replica = func(topology.Shard) (Replica, error) { return st, nil }
		if h := s.Health(t.Context(), topology.Shard{}, 10); !proto.Equal(h.GetCatchup(), c.want) {
			t.Errorf("%s: %v", c.name, h.GetCatchup())
		}
	}
}

// TestDiskProbe: it is tried once a second however many ask; a failure shows at once, a full disk is none, and a disk that hangs
// holds up the one who tries it, fails for the others after a while, and recovers.
func TestDiskProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var fail error
		writes, hang := 0, make(chan struct{})
		close(hang)
		fsys := faultfs.New(memfs.New(), func(op faultfs.Op) error {
			if op.Kind == faultfs.KindSync {
				writes++
				<-hang
				return fail
			}
			return nil
		})
		if err := fsys.MkdirAll("/d", 0o750); err != nil {
			t.Fatal(err)
		}
		p := &Prober{FS: fsys, Dir: "/d"}
		for range 20 {
			if d := p.tryDisk(); d.GetFailure() != nil {
				t.Fatalf("%v", d)
			}
			<-time.After(100 * time.Millisecond)
		}
		if writes != 2 {
			t.Errorf("%d writes in 2 s", writes)
		}
		fail = errors.New("input/output error")
		<-time.After(time.Second)
		if d := p.tryDisk(); !strings.Contains(d.GetFailure().GetMessage(), "input/output error") {
			t.Errorf("%v", d)
		}
		fail = nil
		<-time.After(time.Second)
		hang = make(chan struct{})
		first := make(chan *shardv1.DiskHealth)
		go func() { first <- p.tryDisk() }()
		<-time.After(diskHangs - time.Millisecond)
		if d := p.tryDisk(); !strings.Contains(d.GetFailure().GetMessage(), "input/output error") { // the last that is known
			t.Errorf("%v", d)
		}
		<-time.After(2 * time.Millisecond)
		if d := p.tryDisk(); !strings.Contains(d.GetFailure().GetMessage(), "has not finished") {
			t.Errorf("%v", d)
		}
		close(hang)
		if d := <-first; d.GetFailure() != nil {
			t.Errorf("%v", d)
		}
		if d := p.tryDisk(); d.GetFailure() != nil {
			t.Errorf("%v", d)
		}
	})
}
