package peer

import (
	"context"
	"encoding/binary"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	shardv1 "github.com/pandodb/pando/gen/go/pando/shard/v1"
	"github.com/pandodb/pando/services/dataplane/internal/replica"
	"github.com/pandodb/pando/services/dataplane/internal/replica/core"
	"github.com/pandodb/pando/services/internal/fault"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/vfs"
	"github.com/pandodb/pando/services/internal/wire"
	"google.golang.org/protobuf/types/known/durationpb"
)

// probeFile is rewritten with fsync to see that the disk does real work.
const probeFile = "probe"

// Prober answers the health plane and the control plane's Confirm.
type Prober struct {
	shardv1.UnimplementedProbeServer
	shardv1.UnimplementedConfirmServer
	Server *Server
	Self   topology.PeerID
	// FS and Dir: the data folder.
	FS  vfs.FS
	Dir string
	// Shards lists the replicas on this peer.
	Shards func() []topology.Shard
	// Revision of the placement that this peer has seen.
	Revision func() uint64
	// Session names this peer's session with the control plane.
	Session func() uint64
	// Incarnation of a replica's disk.
	Incarnation func(topology.Shard) (topology.Incarnation, bool)

	mu struct {
		sync.Mutex
		count  uint64
		disk   *shardv1.DiskHealth // the last result; nil = none yet
		at     time.Time           // of the result
		trying time.Time           // since when the disk is being tried; zero = it is not
	}
}

// Probe reads through the loop of each shard asked for, and tries the disk.
func (p *Prober) Probe(ctx context.Context, r *shardv1.ProbeRequest) (*shardv1.ProbeResponse, error) {
	out := &shardv1.ProbeResponse{PeerId: uint64(p.Self), PlacementRevision: p.Revision()}
	shards := p.Shards()
	if len(r.GetShards()) > 0 {
		shards = shards[:0:0]
		for _, s := range r.GetShards() {
			shards = append(shards, topology.Shard{Collection: topology.CollectionID(s.GetCollectionId()), ID: topology.ShardID(s.GetShardId())})
		}
	}
	out.Replicas = make([]*shardv1.ReplicaHealth, len(shards))
	parallel(len(shards), func(i int) { out.Replicas[i] = p.Server.Health(ctx, shards[i], p.Self) })
	if r.GetDisk() {
		out.Disk = p.tryDisk()
	}
	return out, nil
}

const (
	// diskEvery keeps probes of many observers from wearing the disk: in between
	// they share the last result.
	diskEvery = time.Second
	// diskHangs is when a write that does not end counts as a failure. A slow disk
	// is none: those who wait for it notice sooner.
	diskHangs = 5 * time.Second
)

// tryDisk gives the last result or, when that is old, tries the disk. Only the
// caller whose turn it is waits for that.
func (p *Prober) tryDisk() *shardv1.DiskHealth {
	p.mu.Lock()
	defer p.mu.Unlock()
	if since := time.Since(p.mu.trying); !p.mu.trying.IsZero() || (p.mu.disk != nil && time.Since(p.mu.at) < diskEvery) {
		if !p.mu.trying.IsZero() && since > diskHangs {
			return &shardv1.DiskHealth{Age: durationpb.New(since), Failure: &shardv1.Failure{Reason: fault.ReplicaFailed,
				Message: fmt.Sprintf("the disk has not finished a small write for %v", since.Round(time.Second))}}
		}
		if p.mu.disk == nil {
			return nil
		}
		return &shardv1.DiskHealth{Fsync: p.mu.disk.GetFsync(), FreeBytes: p.mu.disk.GetFreeBytes(), Failure: p.mu.disk.GetFailure(),
			Age: durationpb.New(time.Since(p.mu.at))}
	}
	p.mu.count++
	count := p.mu.count
	p.mu.trying = time.Now()
	p.mu.Unlock()
	d := p.write(count)
	p.mu.Lock()
	p.mu.disk, p.mu.at, p.mu.trying = d, time.Now(), time.Time{}
	return d
}

func (p *Prober) write(count uint64) *shardv1.DiskHealth {
	start := time.Now()
	d := &shardv1.DiskHealth{}
	err := vfs.WriteFileAtomic(p.FS, filepath.Join(p.Dir, probeFile), binary.LittleEndian.AppendUint64(nil, count))
	d.Fsync = durationpb.New(time.Since(start))
	if u, uerr := p.FS.DiskUsage(p.Dir); uerr == nil {
		d.FreeBytes = u.Avail
	} else if err == nil {
		err = uerr
	}
	// A full disk refuses writes and keeps reads: it is no reason to call the
	// peer dead.
	if err != nil && !vfs.IsNoSpace(err) {
		d.Failure = &shardv1.Failure{Reason: fault.ReplicaFailed, Message: err.Error()}
	}
	return d
}

// Confirm hands a replica the control plane's record, proves that it lives now and
// says what it knows (C2a).
func (p *Prober) Confirm(ctx context.Context, r *shardv1.ConfirmRequest) (*shardv1.ConfirmResponse, error) {
	s := topology.Shard{Collection: topology.CollectionID(r.GetCollectionId()), ID: topology.ShardID(r.GetShardId())}
	rep, err := p.Server.Replica(s)
	if err != nil {
		return nil, fault.Wrap(fault.NotFound, err, "shard %d: %v", s.ID, err)
	}
	in, ok := p.Incarnation(s)
	if !ok {
		return nil, fault.New(fault.NotFound, "shard %d: its replica here has not been made yet", s.ID)
	}
	if pl := r.GetPlacement(); pl.GetEpoch() > 0 {
		if _, err := rep.Adopt(ctx, wire.Placement(pl)); err != nil {
			return nil, fault.Wrap(fault.ShardUnavailable, err, "shard %d: %v", s.ID, err)
		}
	}
	st := rep.Status()
	if st.Phase == replica.Failed || st.Phase == replica.Ended {
		return nil, fault.New(fault.ReplicaFailed, "shard %d: %s", s.ID, st.Reason)
	}
	return &shardv1.ConfirmResponse{Nonce: r.GetNonce(), Incarnation: wire.ProtoIncarnation(in), SessionId: p.Session(),
		PlacementEpoch: uint64(st.Placement.Epoch), Promised: protoTerm(st.Promised),
		Last: &shardv1.Position{Term: protoTerm(st.Last.Term), Seq: uint64(st.Last.Seq)}}, nil
}

// Handover has the primary here succeeded by a follower (C3b).
func (p *Prober) Handover(ctx context.Context, r *shardv1.HandoverRequest) (*shardv1.HandoverResponse, error) {
	s := topology.Shard{Collection: topology.CollectionID(r.GetCollectionId()), ID: topology.ShardID(r.GetShardId())}
	rep, err := p.Server.Replica(s)
	if err != nil {
		return nil, fault.Wrap(fault.NotFound, err, "shard %d: %v", s.ID, err)
	}
	st, epoch, to := rep.Status(), topology.Epoch(r.GetEpoch()), topology.PeerID(r.GetTo())
	switch {
	case st.Placement.Epoch != epoch:
		return nil, fault.New(fault.StaleEpoch, "shard %d: the replica here holds epoch %d, not %d", s.ID, st.Placement.Epoch, epoch)
	case st.Role != core.Primary:
		return nil, fault.New(fault.NotPrimary, "shard %d: the replica here is not the primary of epoch %d", s.ID, epoch)
	}
	next, err := rep.HandOver(ctx, epoch, to)
	if err != nil || next.Primary != to {
		return nil, fault.Wrap(fault.ShardUnavailable, err, "shard %d: peer %d did not become its primary in time", s.ID, to)
	}
	return &shardv1.HandoverResponse{Placement: wire.ProtoPlacement(next)}, nil
}

func protoTerm(t topology.Term) *shardv1.Term {
	return &shardv1.Term{Epoch: uint64(t.Epoch), Run: uint64(t.Run)}
}
