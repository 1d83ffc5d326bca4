// Package cluster is what Qdrant offers over REST alone, as the services of
// package pando.cluster.v1: the cluster as this peer sees it, and single points
// by their path. What it does not have yet is NOT_BUILT (package expose).
package cluster

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	clusterv1 "github.com/pandodb/pando/gen/go/pando/cluster/v1"
	placementv1 "github.com/pandodb/pando/gen/go/pando/placement/v1"
	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/dataplane/internal/api/validate"
	"github.com/pandodb/pando/services/dataplane/internal/api/view"
	"github.com/pandodb/pando/services/dataplane/internal/conflicts"
	"github.com/pandodb/pando/services/internal/fault"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/wire"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// statusTimeout bounds the question to the control plane, so that the view of
// the cluster is there also while nobody answers.
const statusTimeout = 2 * time.Second

// removeTimeout is how long taking a peer out may take when the request does not
// say; grace lets the control plane's own word on a timeout arrive.
const (
	removeTimeout = 10 * time.Second
	grace         = 2 * time.Second
)

// Catalog tells who leads, and takes peers out.
type Catalog interface {
	RemovePeer(context.Context, *placementv1.RemovePeerRequest, ...grpc.CallOption) (*placementv1.RemovePeerResponse, error)
	Status(context.Context, *placementv1.StatusRequest, ...grpc.CallOption) (*placementv1.StatusResponse, error)
}

// Getter reads points as qdrant.Points does.
type Getter interface {
	Get(context.Context, *qdrant.GetPoints) (*qdrant.GetResponse, error)
}

// Collections tells where the shards of a collection are, compares their replicas, and
// changes where they are.
type Collections interface {
	Cluster(ctx context.Context, name string) (*clusterv1.CollectionClusterResponse, error)
	Force(ctx context.Context, r *clusterv1.ForceReplicaRequest) error
	Verify(ctx context.Context, r *clusterv1.VerifyReplicasRequest) (*clusterv1.Verification, error)
}

// Unreachable is why a peer cannot be connected to.
type Unreachable struct {
	Count uint64 // attempts in a row
	Err   error
	At    time.Time // of the last one
}

// Detached is a shard of which the replica here is detached, or still holds operations
// that it took while it was.
type Detached struct {
	Shard       topology.Shard
	Since       time.Time // when the control plane was heard last
	Provisional int       // operations
}

// Deps are the seams of a Service; all must be set but Unreachable.
type Deps struct {
	View    *view.Cluster
	Catalog Catalog
	Points  Getter
	Shards  Collections
	// AwaitRevision waits until the map has reached a revision.
	AwaitRevision func(ctx context.Context, revision uint64) error
	// Refetch gets the whole map anew.
	Refetch func(ctx context.Context) error
	// Detached lists the shards of this peer that are, Conflicts what became of what they
	// took; may be nil.
	Detached    func() []Detached
	Conflicts   func() []conflicts.Conflict
	Unreachable func() map[topology.PeerID]Unreachable
	Self        topology.PeerID
	// ClusterEnabled is false where cluster operations answer NOT_CLUSTERED.
	ClusterEnabled bool
}

// Service implements clusterv1.ClusterServer.
type Service struct {
	clusterv1.UnimplementedClusterServer
	d Deps
}

// New makes the service.
func New(d Deps) *Service { return &Service{d: d} }

// GetPoint reads one point with payload and vectors. COLLECTION_NOT_FOUND,
// POINT_NOT_FOUND, MALFORMED, VALIDATION, SHARD_UNAVAILABLE, TIMEOUT.
func (s *Service) GetPoint(ctx context.Context, r *clusterv1.GetPointRequest) (*clusterv1.GetPointResponse, error) {
	id, err := parseID(r.GetId())
	if err != nil {
		return nil, err
	}
	all := &qdrant.WithVectorsSelector{SelectorOptions: &qdrant.WithVectorsSelector_Enable{Enable: true}}
	resp, err := s.d.Points.Get(ctx, &qdrant.GetPoints{
		CollectionName: r.GetCollectionName(), Ids: []*qdrant.PointId{wire.ProtoID(id)},
		WithPayload: &qdrant.WithPayloadSelector{SelectorOptions: &qdrant.WithPayloadSelector_Enable{Enable: true}}, WithVectors: all,
		ReadConsistency: r.GetReadConsistency(), ShardKeySelector: r.GetShardKeySelector(), Timeout: r.Timeout,
	})
	if err != nil {
		return nil, err
	}
	if len(resp.GetResult()) == 0 {
		return nil, fault.New(fault.PointNotFound, "Not found: Point with id %s does not exists!", id)
	}
	return &clusterv1.GetPointResponse{Result: resp.GetResult()[0]}, nil
}

// CollectionCluster tells where the shards of a collection are.
// COLLECTION_NOT_FOUND, VALIDATION.
func (s *Service) CollectionCluster(ctx context.Context, r *clusterv1.CollectionClusterRequest) (*clusterv1.CollectionClusterResponse, error) {
	return s.d.Shards.Cluster(ctx, r.GetCollectionName())
}

// parseID reads an id as it stands in a path: digits are a number.
func parseID(s string) (topology.PointID, error) {
	if n, err := strconv.ParseUint(s, 10, 64); err == nil && s[0] != '+' {
		return topology.NumberID(n), nil
	}
	id, err := wire.UUID(s)
	if err != nil {
		return id, fault.Wrap(fault.Malformed, err, "Can not recognize %.64q as point id: it must be an unsigned integer or a UUID", s)
	}
	return id, nil
}

// ClusterStatus is the cluster as this peer knows it. It does not fail: while
// the control plane does not answer, the leader is unset and the reason given.
func (s *Service) ClusterStatus(ctx context.Context, _ *clusterv1.ClusterStatusRequest) (*clusterv1.ClusterStatusResponse, error) {
	if !s.d.ClusterEnabled {
		return &clusterv1.ClusterStatusResponse{Result: &clusterv1.ClusterStatus{Status: clusterv1.ClusterStatus_MODE_DISABLED}}, nil
	}
	m := s.d.View.Map()
	out := &clusterv1.ClusterStatus{
		Status: clusterv1.ClusterStatus_MODE_ENABLED, PeerId: uint64(s.d.Self), Peers: map[uint64]*clusterv1.PeerInfo{},
		RaftInfo: &clusterv1.RaftInfo{Commit: m.Revision()},
	}
	for _, p := range m.Peers() {
		out.Peers[uint64(p.ID)] = &clusterv1.PeerInfo{Uri: strings.TrimRight(p.URI, "/") + "/"}
	}
	out.InactiveReplicas = inactive(m)
	s.detached(out, m)
	s.failures(out)
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	st, err := s.d.Catalog.Status(ctx, &placementv1.StatusRequest{})
	if err != nil {
		out.ConsensusThreadStatus = &clusterv1.ConsensusThreadStatus{
			ConsensusThreadStatus: clusterv1.ConsensusThreadStatus_STATE_STOPPED_WITH_ERR, Err: new(fault.From(err).Msg)}
		return &clusterv1.ClusterStatusResponse{Result: out}, nil
	}
	out.ConsensusThreadStatus = &clusterv1.ConsensusThreadStatus{
		ConsensusThreadStatus: clusterv1.ConsensusThreadStatus_STATE_WORKING, LastUpdate: timestamppb.Now()}
	s.raft(out.RaftInfo, st)
	members(out, st)
	return &clusterv1.ClusterStatusResponse{Result: out}, nil
}

// inactive lists the replicas of the cluster that are not Active, with why, since
// when, and what is next.
func inactive(m *topology.Map) []*clusterv1.InactiveReplica {
	var out []*clusterv1.InactiveReplica
	for _, c := range m.Collections() {
		for _, p := range c.Shards {
			for _, r := range p.Replicas {
				if r.State == topology.Active {
					continue
				}
				out = append(out, &clusterv1.InactiveReplica{
					CollectionName: c.Name, ShardId: uint64(p.Shard.ID), PeerId: uint64(r.Peer), State: qdrant.ReplicaState(r.State),
					Reason: r.Reason, Since: timestamppb.New(time.UnixMilli(r.SinceMs)), Next: view.Next(m, p, r, time.Now()),
				})
			}
		}
	}
	return out
}

// detached lists the shards here that go on by themselves.
func (s *Service) detached(out *clusterv1.ClusterStatus, m *topology.Map) {
	if s.d.Detached == nil {
		return
	}
	for _, d := range s.d.Detached() {
		if c, ok := m.Collection(d.Shard.Collection); ok {
			out.DetachedShards = append(out.DetachedShards, &clusterv1.DetachedShard{CollectionName: c.Name, ShardId: uint64(d.Shard.ID),
				Since: timestamppb.New(d.Since), ProvisionalOperations: uint64(d.Provisional)})
		}
	}
}

// ListConflicts tells which operations that were acknowledged while a replica was cut
// off have lost to later ones (P8, D2a), as replicas of this peer have seen it. It does not fail.
func (s *Service) ListConflicts(context.Context, *clusterv1.ListConflictsRequest) (*clusterv1.ListConflictsResponse, error) {
	out := &clusterv1.ListConflictsResponse{}
	if s.d.Conflicts == nil {
		return out, nil
	}
	m := s.d.View.Map()
	for _, c := range s.d.Conflicts() {
		one := &clusterv1.Conflict{ShardId: c.Shard, Operation: c.Operation, Point: c.Point, Effect: string(c.Effect),
			Stamp: timestamppb.New(time.UnixMilli(int64(c.Stamp)))}
		if col, ok := m.Collection(topology.CollectionID(c.Collection)); ok {
			one.CollectionName = col.Name
		}
		if c.Winner != 0 {
			one.Winner = timestamppb.New(time.UnixMilli(int64(c.Winner)))
		}
		out.Result = append(out.Result, one)
	}
	return out, nil
}

// failures lists the peers that could not be reached, by their URIs.
func (s *Service) failures(out *clusterv1.ClusterStatus) {
	if s.d.Unreachable == nil {
		return
	}
	out.MessageSendFailures = map[string]*clusterv1.MessageSendFailure{}
	for id, f := range s.d.Unreachable() {
		if p, known := out.GetPeers()[uint64(id)]; known {
			out.MessageSendFailures[p.GetUri()] = &clusterv1.MessageSendFailure{
				Count: f.Count, LatestError: f.Err.Error(), LatestErrorTimestamp: timestamppb.New(f.At)}
		}
	}
}

// members tells who votes in the control plane.
func members(out *clusterv1.ClusterStatus, st *placementv1.StatusResponse) {
	out.EvenVoters = st.GetEven()
	for _, m := range st.GetMembers() {
		out.ControlMembers = append(out.ControlMembers, &clusterv1.ControlMember{PeerId: m.GetPeerId(), Voter: !m.GetLearner(),
			Leader: st.GetLeader() != 0 && m.GetPeerId() == st.GetLeader(), Reachable: m.GetReachable()})
	}
	slices.SortFunc(out.ControlMembers, func(a, b *clusterv1.ControlMember) int { return cmp.Compare(a.GetPeerId(), b.GetPeerId()) })
}

func (s *Service) raft(info *clusterv1.RaftInfo, st *placementv1.StatusResponse) {
	info.Term = st.GetTerm()
	if st.GetRevision() > info.GetCommit() {
		info.PendingOperations = st.GetRevision() - info.GetCommit()
	}
	role := clusterv1.RaftInfo_ROLE_FOLLOWER
	if st.GetLeader() != 0 {
		info.Leader = new(st.GetLeader())
		if st.GetLeader() == uint64(s.d.Self) {
			role = clusterv1.RaftInfo_ROLE_LEADER
		}
	}
	info.Role = &role
	for _, m := range st.GetMembers() {
		if m.GetPeerId() == uint64(s.d.Self) {
			info.IsVoter = !m.GetLearner()
		}
	}
}

// RemovePeer takes a peer out of the cluster. One that holds replicas is refused
// without force; with it, they go too, last copies included. A peer that is not
// known is no error. NOT_CLUSTERED, VALIDATION, INVALID_ARGUMENT, NO_LEADER, TIMEOUT.
func (s *Service) RemovePeer(ctx context.Context, r *clusterv1.RemovePeerRequest) (*clusterv1.RemovePeerResponse, error) {
	if !s.d.ClusterEnabled {
		return nil, fault.Standalone(clusterv1.Cluster_RemovePeer_FullMethodName[1:])
	}
	var c validate.Check
	if c.Timeout(r.Timeout); c.Err() != nil {
		return nil, c.Err()
	}
	timeout := removeTimeout
	if r.Timeout != nil {
		timeout = time.Duration(min(r.GetTimeout(), 1<<31)) * time.Second
	}
	ctx, cancel := context.WithTimeout(ctx, timeout+grace)
	defer cancel()
	resp, err := s.d.Catalog.RemovePeer(ctx, &placementv1.RemovePeerRequest{PeerId: r.GetPeerId(), Force: r.GetForce()})
	if err != nil {
		return nil, err
	}
	if r.GetPeerId() != uint64(s.d.Self) { // this peer is told nothing any more once it is out
		_ = s.d.AwaitRevision(ctx, resp.GetRevision()) // it has happened: a timeout of the waiting is no error
	}
	return &clusterv1.RemovePeerResponse{Result: true}, nil
}

// ForceReplica has a shard go on with a replica that is not Active, where no Active
// one can come (F1): what was acknowledged meanwhile may be gone. NOT_CLUSTERED,
// COLLECTION_NOT_FOUND, VALIDATION, INVALID_ARGUMENT, SHARD_UNAVAILABLE, NO_LEADER, TIMEOUT.
func (s *Service) ForceReplica(ctx context.Context, r *clusterv1.ForceReplicaRequest) (*clusterv1.ForceReplicaResponse, error) {
	begin := time.Now()
	if err := s.d.Shards.Force(ctx, r); err != nil {
		return nil, err
	}
	return &clusterv1.ForceReplicaResponse{Result: true, Time: time.Since(begin).Seconds()}, nil
}

// VerifyReplicas compares all replicas of a collection as they are now; each that was
// not compared is named with the reason. COLLECTION_NOT_FOUND, VALIDATION.
func (s *Service) VerifyReplicas(ctx context.Context, r *clusterv1.VerifyReplicasRequest) (*clusterv1.VerifyReplicasResponse, error) {
	begin := time.Now()
	v, err := s.d.Shards.Verify(ctx, r)
	if err != nil {
		return nil, err
	}
	return &clusterv1.VerifyReplicasResponse{Result: v, Time: time.Since(begin).Seconds()}, nil
}

// recoverTimeout is how long the cluster's state may take to come.
const recoverTimeout = 10 * time.Second

// RecoverPeer fetches the cluster's state anew, and returns when it is there.
// NOT_CLUSTERED, NO_LEADER.
func (s *Service) RecoverPeer(ctx context.Context, _ *clusterv1.RecoverPeerRequest) (*clusterv1.RecoverPeerResponse, error) {
	if !s.d.ClusterEnabled {
		return nil, fault.Standalone(clusterv1.Cluster_RecoverPeer_FullMethodName[1:])
	}
	ctx, cancel := context.WithTimeout(ctx, recoverTimeout)
	defer cancel()
	if err := s.d.Refetch(ctx); err != nil {
		return nil, err
	}
	return &clusterv1.RecoverPeerResponse{Result: true}, nil
}

// ClusterTelemetry gathers the state of all peers. NOT_CLUSTERED, NOT_BUILT.
func (s *Service) ClusterTelemetry(ctx context.Context, r *clusterv1.ClusterTelemetryRequest) (*clusterv1.ClusterTelemetryResponse, error) {
	if !s.d.ClusterEnabled {
		return nil, fault.Standalone(clusterv1.Cluster_ClusterTelemetry_FullMethodName[1:])
	}
	return s.UnimplementedClusterServer.ClusterTelemetry(ctx, r)
}

// Reshard does one step of a resharding. NOT_CLUSTERED, NOT_BUILT.
func (s *Service) Reshard(ctx context.Context, r *clusterv1.ReshardRequest) (*clusterv1.ReshardResponse, error) {
	if !s.d.ClusterEnabled {
		return nil, fault.Standalone(clusterv1.Cluster_Reshard_FullMethodName[1:])
	}
	return s.UnimplementedClusterServer.Reshard(ctx, r)
}
