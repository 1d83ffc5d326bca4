package api

import (
	"slices"
	"strings"
	"testing"

	clusterv1 "github.com/pandodb/pando/gen/go/pando/cluster/v1"
	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/internal/fault"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// recorder notes what is registered.
type recorder struct{ services []string }

func (r *recorder) RegisterService(d *grpc.ServiceDesc, _ any) {
	r.services = append(r.services, d.ServiceName)
}

// built lists the methods that do what they say. All others must say NOT_BUILT.
func built() []string {
	var out []string
	for service, methods := range map[string]string{
		"qdrant.Qdrant":            "HealthCheck",
		"pando.cluster.v1.Cluster": "GetPoint ClusterStatus ListConflicts RemovePeer RecoverPeer CollectionCluster ForceReplica VerifyReplicas",
		"qdrant.Collections": "Get List Create Update Delete UpdateAliases ListCollectionAliases ListAliases CollectionClusterInfo " +
			"CollectionExists ListShardKeys CreateShardKey DeleteShardKey UpdateCollectionClusterSetup",
		"qdrant.Points": "Upsert Delete Get UpdateVectors DeleteVectors SetPayload OverwritePayload DeletePayload ClearPayload " +
			"Search SearchBatch Scroll Count UpdateBatch Query QueryBatch CreateFieldIndex DeleteFieldIndex Facet " +
			"SearchGroups Recommend RecommendBatch RecommendGroups Discover DiscoverBatch QueryGroups SearchMatrixPairs SearchMatrixOffsets CreateVectorName DeleteVectorName",
	} {
		for m := range strings.FieldsSeq(methods) {
			out = append(out, service+"/"+m)
		}
	}
	return out
}

func fresh(t *testing.T, d protoreflect.MessageDescriptor) proto.Message {
	t.Helper()
	mt, err := protoregistry.GlobalTypes.FindMessageByName(d.FullName())
	if err != nil {
		t.Fatal(err)
	}
	return mt.New().Interface()
}

func TestEveryMethodWorksOrSaysThatItIsNotBuilt(t *testing.T) {
	var rec recorder
	New(Deps{}).Register(&rec)
	seen, want := 0, built()
	for _, service := range rec.services {
		d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(service))
		if err != nil {
			t.Fatal(err)
		}
		methods := d.(protoreflect.ServiceDescriptor).Methods()
		for i := range methods.Len() {
			m := methods.Get(i)
			name := service + "/" + string(m.Name())
			for _, collection := range []string{"", "absent", "c"} {
				c := start(t, true).with(t, "c", four())
				in, out := fresh(t, m.Input()), fresh(t, m.Output())
				if f := m.Input().Fields().ByName("collection_name"); f != nil {
					in.ProtoReflect().Set(f, protoreflect.ValueOfString(collection))
				}
				err := c.conn.Invoke(t.Context(), "/"+name, in, out)
				f := fault.From(err)
				switch {
				case err == nil:
				case f.Code == codes.Unknown || f.Code == codes.Internal:
					t.Errorf("%s (%q): %v", name, collection, err)
				case slices.Contains(want, name) && f.Reason == fault.Unspecified:
					t.Errorf("%s (%q) fails without a reason: %v", name, collection, err)
				}
				saysSo := err != nil && f.Reason == fault.NotBuilt && f.Msg == name+" is not built yet" && f.Meta[fault.MetaMethod] == name
				if saysSo == slices.Contains(want, name) {
					t.Errorf("%s (%q): not built is %v, got %v", name, collection, saysSo, err)
				}
			}
			seen++
		}
	}
	// 1 Qdrant, 14 Collections, 30 Points, 6 Snapshots, 20 Cluster, 4 LocalShards, 5 Archives
	if seen != 81 || len(want) != 1+8+14+30 {
		t.Errorf("%d methods, %d of them built", seen, len(want))
	}
}

func TestStandaloneRefusesClusterOperations(t *testing.T) {
	c := start(t, false)
	cl := clusterv1.NewClusterClient(c.conn)
	for name, call := range map[string]func() error{
		"qdrant.Collections/UpdateCollectionClusterSetup": func() error {
			_, err := c.UpdateCollectionClusterSetup(t.Context(), &qdrant.UpdateCollectionClusterSetupRequest{})
			return err
		},
		"qdrant.Collections/CreateShardKey": func() error {
			_, err := c.CreateShardKey(t.Context(), &qdrant.CreateShardKeyRequest{})
			return err
		},
		"qdrant.Collections/DeleteShardKey": func() error {
			_, err := c.DeleteShardKey(t.Context(), &qdrant.DeleteShardKeyRequest{})
			return err
		},
		"pando.cluster.v1.Cluster/RemovePeer": func() error { _, err := cl.RemovePeer(t.Context(), &clusterv1.RemovePeerRequest{}); return err },
		"pando.cluster.v1.Cluster/ForceReplica": func() error {
			_, err := cl.ForceReplica(t.Context(), &clusterv1.ForceReplicaRequest{})
			return err
		},
		"pando.cluster.v1.Cluster/RecoverPeer": func() error {
			_, err := cl.RecoverPeer(t.Context(), &clusterv1.RecoverPeerRequest{})
			return err
		},
		"pando.cluster.v1.Cluster/ClusterTelemetry": func() error {
			_, err := cl.ClusterTelemetry(t.Context(), &clusterv1.ClusterTelemetryRequest{})
			return err
		},
		"pando.cluster.v1.Cluster/Reshard": func() error { _, err := cl.Reshard(t.Context(), &clusterv1.ReshardRequest{}); return err },
	} {
		err := call()
		wants(t, err, fault.NotClustered, name+" needs a cluster, and this node runs standalone (cluster.enabled: false)")
		if fault.HTTPStatus(err) != 405 {
			t.Errorf("%s: HTTP %d", name, fault.HTTPStatus(err))
		}
	}
	st, err := cl.ClusterStatus(t.Context(), &clusterv1.ClusterStatusRequest{})
	if err != nil || st.GetResult().GetStatus() != clusterv1.ClusterStatus_MODE_DISABLED || st.GetResult().GetRaftInfo() != nil {
		t.Errorf("%v, %v", st, err)
	}
}

func TestHealthCheck(t *testing.T) {
	c := start(t, true)
	r, err := qdrant.NewQdrantClient(c.conn).HealthCheck(t.Context(), &qdrant.HealthCheckRequest{})
	if err != nil || r.GetTitle() != "qdrant - vector search engine" || r.GetVersion() != "1.19.0" || len(r.GetCommit()) != 40 {
		t.Errorf("%v, %v", r, err)
	}
}
