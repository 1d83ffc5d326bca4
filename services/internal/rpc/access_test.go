package rpc

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/reflect/protoreflect"

	clusterv1 "github.com/pandodb/pando/gen/go/pando/cluster/v1"
	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/internal/fault"
)

func TestKeys(t *testing.T) {
	keys := NewKeys("full", "other", "ro")
	const query, upsert = "/qdrant.Points/Query", "/qdrant.Points/Upsert"
	tests := []struct {
		method, header, value string
		want                  fault.Reason // Unspecified: let through
	}{
		{upsert, "api-key", "full", fault.Unspecified},
		{upsert, "api-key", "other", fault.Unspecified},
		{upsert, "authorization", "Bearer full", fault.Unspecified},
		{upsert, "authorization", "bearer  full", fault.Unspecified},
		{upsert, "authorization", "Basic full", fault.Unauthenticated},
		{upsert, "api-key", "ro", fault.Forbidden},
		{upsert, "api-key", "ful", fault.Unauthenticated},
		{upsert, "api-key", "", fault.Unauthenticated},
		{upsert, "x", "full", fault.Unauthenticated},
		{query, "api-key", "ro", fault.Unspecified},
		{query, "authorization", "Bearer ro", fault.Unspecified},
		{query, "api-key", "wrong", fault.Unauthenticated},
		{"/qdrant.Collections/Delete", "api-key", "ro", fault.Forbidden},
		{"/qdrant.Collections/List", "api-key", "ro", fault.Unspecified},
		{"/qdrant.Snapshots/Create", "api-key", "ro", fault.Forbidden},
		{"/some.New/Method", "api-key", "ro", fault.Forbidden},
		{"/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", "api-key", "ro", fault.Unspecified},
		{"/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", "x", "", fault.Unauthenticated},
		{"/qdrant.Qdrant/HealthCheck", "x", "", fault.Unspecified},
		{"/grpc.health.v1.Health/Check", "x", "", fault.Unspecified},
	}
	for _, tc := range tests {
		ctx := metadata.NewIncomingContext(t.Context(), metadata.Pairs(tc.header, tc.value))
		ran := false
		err := keys.layer(ctx, call{method: tc.method}, func(context.Context) error { ran = true; return nil })
		if fault.ReasonOf(err) != tc.want || ran != (tc.want == fault.Unspecified) {
			t.Errorf("%s %s=%q: %v, handler ran: %v", tc.method, tc.header, tc.value, err, ran)
		}
	}
	if NewKeys("", "", "") != nil {
		t.Error("no key set must mean no keys")
	}
	if err := (*Keys)(nil).Admit("", RightWrite); err != nil {
		t.Error(err)
	}
	if err := NewKeys("", "", "ro").Admit("", RightRead); fault.ReasonOf(err) != fault.Unauthenticated {
		t.Errorf("an empty key must never match an unset one: %v", err)
	}
}

// TestEveryPublicMethodIsAReadOrAWrite fails when a method is added to a public service and nobody has said which it is.
func TestEveryPublicMethodIsAReadOrAWrite(t *testing.T) {
	writes := map[string]string{
		"qdrant.Collections": "Create Update Delete UpdateAliases UpdateCollectionClusterSetup CreateShardKey DeleteShardKey",
		"qdrant.Points": `Upsert Delete UpdateVectors DeleteVectors SetPayload OverwritePayload DeletePayload ClearPayload CreateFieldIndex
			DeleteFieldIndex CreateVectorName DeleteVectorName UpdateBatch`,
		"qdrant.Snapshots":             "Create Delete CreateFull DeleteFull",
		"pando.cluster.v1.Cluster":     "RemovePeer RecoverPeer ForceReplica VerifyReplicas SetMetadata DeleteMetadata Reshard ClearIssues SetQuotas",
		"pando.cluster.v1.LocalShards": "CleanupShard",
		"pando.cluster.v1.Archives":    "RecoverCollection CreateShardSnapshot DeleteShardSnapshot RecoverShard",
	}
	expected := readMethods()
	for service, names := range writes {
		for n := range strings.FieldsSeq(names) {
			m := "/" + service + "/" + n
			if expected[m] {
				t.Errorf("%s is in both lists", m)
			}
			expected[m] = true
		}
	}
	for _, f := range []protoreflect.FileDescriptor{qdrant.File_qdrant_collections_service_proto, qdrant.File_qdrant_points_service_proto,
		qdrant.File_qdrant_snapshots_proto, qdrant.File_qdrant_service_proto, clusterv1.File_pando_cluster_v1_cluster_proto, clusterv1.File_pando_cluster_v1_shards_proto} {
		for i := range f.Services().Len() {
			ms := f.Services().Get(i).Methods()
			for j := range ms.Len() {
				m := fmt.Sprintf("/%s/%s", ms.Get(j).Parent().FullName(), ms.Get(j).Name())
				if !expected[m] {
					t.Errorf("%s is neither a read nor a write", m)
				}
				delete(expected, m)
			}
		}
	}
	for m := range expected {
		t.Errorf("%s does not exist", m)
	}
}

func TestKeysOverBoth(t *testing.T) {
	each(t, func(t *testing.T, kind string) {
		c := connect(t, kind, &server{}, Options{Keys: NewKeys("k", "", "")}, DialOptions{})
		if _, err := c.UnaryCall(t.Context(), ask("x")); status.Code(err) != codes.Unauthenticated {
			t.Errorf("without a key: %v", err)
		}
		ctx := metadata.AppendToOutgoingContext(t.Context(), "api-key", "k")
		if _, err := c.UnaryCall(ctx, ask("x")); err != nil {
			t.Error(err)
		}
	})
}

func TestCluster(t *testing.T) {
	const open, other = "/pando.placement.v1.Members/Join", "/pando.shard.v1.Shard/Write"
	tests := map[string]struct {
		ours, theirs, secret, method string
		want                         fault.Reason
	}{
		"same":                     {"c1", "c1", "s", other, fault.Unspecified},
		"other cluster":            {"c1", "c2", "s", other, fault.WrongCluster},
		"other cluster, open":      {"c1", "c2", "s", open, fault.WrongCluster},
		"caller knows none":        {"c1", "", "s", other, fault.WrongCluster},
		"caller knows none, open":  {"c1", "", "s", open, fault.Unspecified},
		"we know none":             {"", "c1", "s", other, fault.NoLeader},
		"we know none, open":       {"", "c1", "s", open, fault.Unspecified},
		"nobody knows":             {"", "", "s", other, fault.NoLeader},
		"nobody knows, open":       {"", "", "s", open, fault.Unspecified},
		"wrong secret":             {"c1", "c1", "x", other, fault.Unauthenticated},
		"wrong secret, open":       {"c1", "", "x", open, fault.Unauthenticated},
		"no secret":                {"c1", "c1", "", other, fault.Unauthenticated},
		"health needs nothing":     {"c1", "", "", "/grpc.health.v1.Health/Check", fault.Unspecified},
		"health is a whole prefix": {"c1", "", "", "/grpc.health.v1.Healthy/Check", fault.Unauthenticated},
	}
	for name, tc := range tests {
		server, client := NewCluster("s", CallRules{Joining: []string{open}}), NewCluster(tc.secret, CallRules{})
		if tc.ours != "" {
			server.SetID(tc.ours)
		}
		if tc.theirs != "" {
			client.SetID(tc.theirs)
		}
		md := metadata.MD{}
		client.attach(md, "")
		err := server.layer(metadata.NewIncomingContext(t.Context(), md), call{method: tc.method}, func(context.Context) error { return nil })
		if fault.ReasonOf(err) != tc.want {
			t.Errorf("%s: %v", name, err)
		}
	}
	each(t, func(t *testing.T, kind string) {
		if kind == "local" {
			return // identity is between processes
		}
		mine := NewCluster("s", CallRules{})
		mine.SetID("c1")
		c := connect(t, kind, &server{}, Options{Cluster: mine}, DialOptions{Cluster: mine})
		if _, err := c.UnaryCall(t.Context(), ask("x")); err != nil {
			t.Error(err)
		}
		stranger := NewCluster("guess", CallRules{})
		c = connect(t, kind, &server{}, Options{Cluster: mine}, DialOptions{Cluster: stranger})
		if _, err := c.UnaryCall(t.Context(), ask("x")); fault.ReasonOf(err) != fault.Unauthenticated {
			t.Error(err)
		}
		st, err := c.FullDuplexCall(t.Context())
		if err == nil {
			_, err = st.Recv()
		}
		if fault.ReasonOf(err) != fault.Unauthenticated {
			t.Error(err)
		}
	})
}

// TestCallsForAnotherProcess: an address may have a new tenant of the same cluster.
func TestCallsForAnotherProcess(t *testing.T) {
	const anybody, other = "/pando.placement.v1.Book/Exchange", "/pando.shard.v1.Shard/Write"
	server := NewCluster("", CallRules{Anybody: []string{anybody}})
	server.SetID("c1")
	for _, tc := range []struct {
		self, to, method string
		want             fault.Reason
	}{
		{"1", "1", other, fault.Unspecified},
		{"1", "", other, fault.Unspecified},
		{"1", "2", other, fault.WrongProcess},
		{"1", "2", anybody, fault.Unspecified},
		{"", "2", other, fault.Unspecified}, // it does not know yet
	} {
		server.SetSelf(tc.self)
		md := metadata.MD{}
		server.attach(md, tc.to)
		err := server.layer(metadata.NewIncomingContext(t.Context(), md), call{method: tc.method}, func(context.Context) error { return nil })
		if fault.ReasonOf(err) != tc.want {
			t.Errorf("%+v: %v", tc, err)
		}
	}
}

func TestHealth(t *testing.T) {
	h := NewHealth(slog.New(slog.DiscardHandler))
	internal, err := NewLocal(Options{Health: h})
	if err != nil {
		t.Fatal(err)
	}
	public, err := NewLocal(Options{Keys: NewKeys("k", "", "")})
	if err != nil {
		t.Fatal(err)
	}
	h.RegisterInternal(internal)
	h.RegisterPublic(public)
	check := func(l *Local, name string, want healthpb.HealthCheckResponse_ServingStatus) {
		t.Helper()
		r, err := healthpb.NewHealthClient(l).Check(t.Context(), &healthpb.HealthCheckRequest{Service: name})
		if err != nil || r.GetStatus() != want {
			t.Errorf("%q: %v %v, want %v", name, r.GetStatus(), err, want)
		}
	}
	const serving, not = healthpb.HealthCheckResponse_SERVING, healthpb.HealthCheckResponse_NOT_SERVING
	check(internal, "", not)
	check(public, "", serving)
	check(public, "any name", serving)
	h.Ready()
	h.Set("shard/1", false)
	check(internal, "", serving)
	check(internal, "shard/1", not)
	if _, err := healthpb.NewHealthClient(internal).Check(t.Context(), &healthpb.HealthCheckRequest{Service: "nobody"}); status.Code(err) != codes.NotFound {
		t.Errorf("unknown name: %v", err)
	}

	watch, err := healthpb.NewHealthClient(internal).Watch(t.Context(), &healthpb.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if m, err := watch.Recv(); err != nil || m.GetStatus() != serving {
		t.Errorf("%v %v", m, err)
	}
	h.NotReady("shutting down")
	if m, err := watch.Recv(); err != nil || m.GetStatus() != not {
		t.Errorf("%v %v", m, err)
	}
	if ok, why := h.State(); ok || why != "shutting down" {
		t.Errorf("State: %v %q", ok, why)
	}
	h.EndStreams()
	h.EndStreams()
	if _, err := watch.Recv(); fault.ReasonOf(err) != fault.ShuttingDown {
		t.Errorf("EndStreams must end the watch, and say why: %v", err)
	}
	late, err := healthpb.NewHealthClient(internal).Watch(t.Context(), &healthpb.HealthCheckRequest{})
	for err == nil {
		_, err = late.Recv()
	}
	if fault.ReasonOf(err) != fault.ShuttingDown {
		t.Errorf("a stream that begins too late: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	internal.Close(ctx)
	public.Close(ctx)
	if ctx.Err() != nil {
		t.Error("Close had to wait for its limit")
	}
}
