package cli

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	clusterv1 "github.com/pandodb/pando/gen/go/pando/cluster/v1"
	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/internal/boot"
	"github.com/pandodb/pando/services/internal/config"
	"github.com/pandodb/pando/services/internal/rpc"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func command(t *testing.T, r Runners, env []string, args ...string) (code int, out, errs string) {
	t.Helper()
	var o, e bytes.Buffer
	code = Main(t.Context(), r, IO{Args: args, Env: env, Out: &o, Err: &e})
	return code, o.String(), e.String()
}

func TestServePassesSettingsOn(t *testing.T) {
	t.Chdir(t.TempDir())
	var got *config.Loaded
	r := Runners{Serve: func(_ context.Context, p *boot.Process, c *config.Loaded) error {
		got = c
		p.Log.Info("running")
		return nil
	}}
	code, _, errs := command(t, r, []string{"QDRANT__SERVICE__HTTP_PORT=7333", "QDRANT__SERVICE__MAX_WORKERS=3"},
		"serve", "--uri", "http://me:6335", "--bootstrap", "http://a:6335", "--bootstrap", "http://b:6335", "--insecure-internal", "--disable-telemetry")
	if code != 0 || got == nil {
		t.Fatalf("exit code %d: %s", code, errs)
	}
	if got.Service.HTTPPort != 7333 || got.Cluster.URI != "http://me:6335" || !got.Cluster.InsecureInternal || !slices.Equal(got.Cluster.Bootstrap, []string{"http://a:6335", "http://b:6335"}) {
		t.Errorf("%+v", got.Config)
	}
	if !strings.Contains(errs, "running") || !strings.Contains(errs, "service.max_workers") {
		t.Errorf("the log lacks the work's record or the warning: %s", errs)
	}
}

func TestExitCodes(t *testing.T) {
	t.Chdir(t.TempDir())
	fails := func(err error) Runners {
		return Runners{Serve: func(context.Context, *boot.Process, *config.Loaded) error { return err }}
	}
	tests := map[string]struct {
		r    Runners
		env  []string
		args []string
		code int
		says string
	}{
		"fine":            {fails(nil), nil, []string{"serve"}, 0, ""},
		"failed":          {fails(errors.New("broken disk")), nil, []string{"serve"}, 1, "broken disk"},
		"port":            {fails(boot.Exit(boot.ExitPort, errors.New("taken"))), nil, []string{"serve"}, 3, "taken"},
		"wrong setting":   {fails(nil), []string{"PANDO__SERVICE__HTTP_PORT=x"}, []string{"serve"}, 2, "service.http_port"},
		"refused setting": {fails(nil), []string{"QDRANT__SERVICE__ENABLE_TLS=true"}, []string{"serve"}, 2, "refusing to start"},
		"refused flag":    {fails(nil), nil, []string{"serve", "--snapshot", "a:b"}, 2, "--snapshot is not built yet"},
		"unknown flag":    {fails(nil), nil, []string{"serve", "--port", "1"}, 2, "--port"},
		"argument":        {fails(nil), nil, []string{"serve", "now"}, 2, "pando serve --help"},
		"unknown command": {fails(nil), nil, []string{"sreve"}, 2, "did you mean serve?"},
		"not there":       {Runners{}, nil, []string{"dataplane"}, 1, "pando dataplane is not built yet: pando serve"},
		"no file":         {fails(nil), nil, []string{"serve", "--config-path", "nowhere.yaml"}, 2, "nowhere.yaml"},
	}
	for name, tc := range tests {
		code, _, errs := command(t, tc.r, tc.env, tc.args...)
		if code != tc.code || !strings.Contains(errs, tc.says) {
			t.Errorf("%s: exit code %d, want %d; says %q, want %q", name, code, tc.code, errs, tc.says)
		}
	}
}

// TestHelp: every command explains itself, with an example where it does something.
func TestHelp(t *testing.T) {
	for _, c := range allCommands(newRoot(Runners{}, IO{})) {
		if c.Short == "" {
			t.Errorf("%s has no summary", c.CommandPath())
		}
		if !c.HasSubCommands() && (!strings.Contains(c.Example, "pando ") || !strings.HasPrefix(c.Example, "  ")) {
			t.Errorf("%s has no example", c.CommandPath())
		}
		for l := range strings.Lines(c.Long + "\n" + c.Example) {
			if len(l) > 125 {
				t.Errorf("%s: a line of %d bytes is too wide for a terminal", c.CommandPath(), len(l))
			}
		}
	}
	code, out, _ := command(t, Runners{}, nil, "--help")
	for _, want := range []string{"serve", "controlplane", "dataplane", "healthcheck", "version", "config", "cluster", "import"} {
		if !strings.Contains(out, "\n  "+want) || code != 0 {
			t.Errorf("--help lacks %s", want)
		}
	}
}

func TestVersion(t *testing.T) {
	_, out, _ := command(t, Runners{}, nil, "version")
	if !strings.HasPrefix(out, "pando 0.") || !strings.Contains(out, "API 1.19.") {
		t.Error(out)
	}
	_, out, _ = command(t, Runners{}, nil, "version", "--json")
	var v map[string]string
	if err := json.Unmarshal([]byte(out), &v); err != nil || len(v["commit"]) != 40 {
		t.Errorf("%s %v", out, err)
	}
}

func TestConfigPrint(t *testing.T) {
	t.Chdir(t.TempDir())
	code, out, errs := command(t, Runners{}, []string{"QDRANT__SERVICE__API_KEY=secret", "QDRANT__NO__SUCH=1"}, "config", "print", "--uri", "http://me:6335")
	if code != 0 || !strings.Contains(out, "uri: http://me:6335 # --uri") || strings.Contains(out, "secret\n") || !strings.Contains(errs, "warning: unknown key no.such") {
		t.Errorf("exit code %d\n%s\n%s", code, out, errs)
	}
}

// peer is a stand-in for a running Pando.
type peer struct {
	clusterv1.UnimplementedClusterServer
	mu      sync.Mutex
	points  map[uint64]*qdrant.PointStruct
	created *qdrant.CreateCollection
	uuids   int
	refuse  int    // so many upserts fail first
	broken  uint64 // a point with this id is refused for good; 0: none
	uuid    string // the one that is there
	away    int    // so many reads fail first
	infos   map[string]*clusterv1.CollectionClusterResponse
	status  *clusterv1.ClusterStatus
}

func (p *peer) ClusterStatus(context.Context, *clusterv1.ClusterStatusRequest) (*clusterv1.ClusterStatusResponse, error) {
	return &clusterv1.ClusterStatusResponse{Result: p.status}, nil
}

type collections struct {
	qdrant.UnimplementedCollectionsServer
	*peer
}

func (c collections) CollectionExists(context.Context, *qdrant.CollectionExistsRequest) (*qdrant.CollectionExistsResponse, error) {
	return &qdrant.CollectionExistsResponse{Result: &qdrant.CollectionExists{Exists: c.created != nil}}, nil
}

func (c collections) Create(_ context.Context, r *qdrant.CreateCollection) (*qdrant.CollectionOperationResponse, error) {
	c.created = r
	return &qdrant.CollectionOperationResponse{Result: true}, nil
}

func (c collections) List(context.Context, *qdrant.ListCollectionsRequest) (*qdrant.ListCollectionsResponse, error) {
	r := &qdrant.ListCollectionsResponse{Collections: []*qdrant.CollectionDescription{{Name: "gone"}}}
	for name := range c.infos {
		r.Collections = append(r.Collections, &qdrant.CollectionDescription{Name: name})
	}
	return r, nil
}

func (p *peer) CollectionCluster(_ context.Context, r *clusterv1.CollectionClusterRequest) (*clusterv1.CollectionClusterResponse, error) {
	info, ok := p.infos[r.GetCollectionName()]
	switch {
	case !ok:
		return nil, status.Errorf(codes.NotFound, "no collection %s", r.GetCollectionName())
	case info == nil:
		return nil, status.Error(codes.Internal, "cannot tell")
	}
	return info, nil
}

func (c collections) Get(_ context.Context, r *qdrant.GetCollectionInfoRequest) (*qdrant.GetCollectionInfoResponse, error) {
	if r.GetCollectionName() == "damaged" {
		return nil, status.Error(codes.DataLoss, "shard 3: stored data is damaged\nat length")
	}
	return &qdrant.GetCollectionInfoResponse{}, nil
}

type points struct {
	qdrant.UnimplementedPointsServer
	*peer
}

func (p points) Upsert(_ context.Context, r *qdrant.UpsertPoints) (*qdrant.PointsOperationResponse, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.refuse > 0 {
		p.refuse--
		return nil, status.Error(codes.Unavailable, "moving")
	}
	if !r.GetWait() {
		return nil, status.Error(codes.InvalidArgument, "a load must wait for its acknowledgement")
	}
	for _, pt := range r.GetPoints() {
		if p.broken > 0 && pt.GetId().GetNum() == p.broken {
			return nil, status.Error(codes.InvalidArgument, "no such point")
		}
		if pt.GetId().GetUuid() != "" {
			p.uuids++
			continue
		}
		p.points[pt.GetId().GetNum()] = pt
	}
	return &qdrant.PointsOperationResponse{}, nil
}

func (p points) Get(_ context.Context, r *qdrant.GetPoints) (*qdrant.GetResponse, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.away > 0 {
		p.away--
		return nil, status.Error(codes.Unavailable, "moving")
	}
	if r.GetWithPayload().GetEnable() || r.GetWithVectors().GetEnable() {
		return nil, status.Error(codes.InvalidArgument, "ids are enough")
	}
	out := &qdrant.GetResponse{}
	for _, id := range r.GetIds() {
		if p.uuid != "" && strings.EqualFold(strings.ReplaceAll(id.GetUuid(), "-", ""), strings.ReplaceAll(p.uuid, "-", "")) {
			id = &qdrant.PointId{PointIdOptions: &qdrant.PointId_Uuid{Uuid: p.uuid}}
		} else if p.points[id.GetNum()] == nil || id.GetUuid() != "" {
			continue
		}
		out.Result = append(out.Result, &qdrant.RetrievedPoint{Id: id})
	}
	return out, nil
}

// start runs the stand-in and gives its address.
func start(t *testing.T, p *peer) string {
	t.Helper()
	s, err := rpc.NewServer(rpc.Options{Keys: rpc.NewKeys("k", "", "")})
	if err != nil {
		t.Fatal(err)
	}
	clusterv1.RegisterClusterServer(s, p)
	qdrant.RegisterCollectionsServer(s, collections{peer: p})
	qdrant.RegisterPointsServer(s, points{peer: p})
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(lis) }()
	t.Cleanup(func() {
		s.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return lis.Addr().String()
}

func TestClusterStatus(t *testing.T) {
	leader := uint64(7)
	role := clusterv1.RaftInfo_ROLE_LEADER
	p := &peer{status: &clusterv1.ClusterStatus{
		Status: clusterv1.ClusterStatus_MODE_ENABLED, PeerId: 9,
		Peers:                 map[uint64]*clusterv1.PeerInfo{9: {Uri: "http://b:6335/"}, 7: {Uri: "http://a:6335/"}, 8: {Uri: "http://c:6335/"}},
		RaftInfo:              &clusterv1.RaftInfo{Term: 3, Commit: 40, Leader: &leader, Role: &role, IsVoter: true},
		ConsensusThreadStatus: &clusterv1.ConsensusThreadStatus{ConsensusThreadStatus: clusterv1.ConsensusThreadStatus_STATE_WORKING},
		MessageSendFailures:   map[string]*clusterv1.MessageSendFailure{"http://c:6335/": {Count: 2, LatestError: "refused"}},
		ControlMembers:        []*clusterv1.ControlMember{{PeerId: 7, Voter: true, Leader: true, Reachable: true}, {PeerId: 9, Voter: true}},
		EvenVoters:            "2 voters: wait",
		DetachedShards:        []*clusterv1.DetachedShard{{CollectionName: "c", ShardId: 1, ProvisionalOperations: 5}},
		InactiveReplicas: []*clusterv1.InactiveReplica{{CollectionName: "c", ShardId: 2, PeerId: 7, State: qdrant.ReplicaState_Dead,
			Reason: "its peer was stopped", Since: timestamppb.New(time.Unix(1700000000, 0)), Next: "it is copied from peer 9"}},
	}}
	addr := start(t, p)
	code, out, errs := command(t, Runners{}, []string{"PANDO_API_KEY=k"}, "cluster", "status", "--addr", "http://"+addr)
	if code != 0 {
		t.Fatal(errs)
	}
	for _, want := range []string{"7     http://a:6335/  leader  \n", "9     http://b:6335/  voter   does not answer, answers this", "8     http://c:6335/  none",
		"term 3, revision 40, 0 pending, leader, working, 2 voters, 0 learners", "even number    2 voters: wait", "2 times: refused", "c/1", "5 provisional",
		"NOT ACTIVE\nc, shard 2 on peer 7: Dead since 2023-11-14T22:13:20Z (", "h", "s): its peer was stopped; it is copied from peer 9\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
	code, out, errs = command(t, Runners{}, nil, "cluster", "status", "--addr", addr, "--api-key", "k", "--json")
	var v statusView
	if err := json.Unmarshal([]byte(out), &v); err != nil || code != 0 || len(v.Peers) != 3 || !v.Peers[0].Leader || !v.Peers[2].Self || v.Control.Commit != 40 ||
		len(v.Inactive) != 1 || v.Inactive[0].Why != "its peer was stopped" {
		t.Errorf("%v %s %s", err, out, errs)
	}
	_, out, _ = command(t, Runners{}, nil, "cluster", "status", "--addr", addr, "--api-key", "k", "--collection", "d")
	if strings.Contains(out, "NOT ACTIVE") {
		t.Errorf("a replica of another collection:\n%s", out)
	}
	if code, _, errs = command(t, Runners{}, nil, "cluster", "status", "--addr", addr); code != boot.ExitUsage || !strings.Contains(errs, "--api-key") {
		t.Errorf("without a key: %d %s", code, errs)
	}
	if code, _, errs = command(t, Runners{}, nil, "cluster", "status", "--addr", "127.0.0.1:1"); code != 1 || !strings.Contains(errs, "is it running") {
		t.Errorf("nobody there: %d %s", code, errs)
	}
	p.status = &clusterv1.ClusterStatus{Status: clusterv1.ClusterStatus_MODE_DISABLED}
	if _, out, _ = command(t, Runners{}, nil, "cluster", "status", "--addr", addr, "--api-key", "k"); !strings.Contains(out, "standalone") {
		t.Error(out)
	}
}

func TestClusterStatusShards(t *testing.T) {
	key := func(n uint64) *qdrant.ShardKey { return &qdrant.ShardKey{Key: &qdrant.ShardKey_Number{Number: n}} }
	p := &peer{
		status: &clusterv1.ClusterStatus{Status: clusterv1.ClusterStatus_MODE_ENABLED, PeerId: 9, Peers: map[uint64]*clusterv1.PeerInfo{9: {Uri: "http://b:6335/"}}},
		infos: map[string]*clusterv1.CollectionClusterResponse{
			"words": {PeerId: 9, ShardCount: 2,
				LocalShards: []*qdrant.LocalShardInfo{{ShardId: 1, PointsCount: 42, State: qdrant.ReplicaState_Active, ShardKey: key(5)}},
				RemoteShards: []*qdrant.RemoteShardInfo{{ShardId: 0, PeerId: 7, State: qdrant.ReplicaState_Dead, ShardKey: key(5)},
					{ShardId: 1, PeerId: 7, State: qdrant.ReplicaState_Partial, ShardKey: key(5)}},
				ShardTransfers: []*clusterv1.ShardTransfer{{ShardId: 1, From: 9, To: 7, Comment: new("waiting for peer 7")}}},
			"broken":  nil,
			"empty":   {PeerId: 9, ShardCount: 1, LocalShards: []*qdrant.LocalShardInfo{{ShardId: 0}}},
			"damaged": {PeerId: 9, ShardCount: 1, LocalShards: []*qdrant.LocalShardInfo{{ShardId: 3}}},
		},
	}
	addr := start(t, p)
	ask := func(args ...string) (int, string, string) {
		return command(t, Runners{}, []string{"PANDO_API_KEY=k"}, append([]string{"cluster", "status", "--addr", addr}, args...)...)
	}
	code, out, errs := ask()
	for _, want := range []string{"COLLECTION  SHARD", "words       0 (5)  -       DEAD on 7\n", "words       1 (5)  42      PARTIAL on 7, Active on 9\n", "transfer from 9 to 7: waiting for peer 7\n", "broken      -      -       not known: cannot tell",
		"empty       0      0       Active on 9", "damaged     -      -       FAILS: shard 3: stored data is damaged\n", "damaged     3      0       Active on 9"} {
		if !strings.Contains(out, want) || code != 0 {
			t.Errorf("exit code %d %s: %q is not in\n%s", code, errs, want, out)
		}
	}
	if strings.Contains(out, "gone") {
		t.Errorf("a collection that was dropped meanwhile is shown:\n%s", out)
	}
	_, out, _ = ask("--collection", "words", "--json")
	var v statusView
	if err := json.Unmarshal([]byte(out), &v); err != nil || len(v.Collections) != 1 || len(v.Collections[0].Shards) != 2 || *v.Collections[0].Shards[1].Points != 42 ||
		v.Collections[0].Shards[1].Replicas[0] != (replicaView{7, "Partial"}) || v.Collections[0].Transfers[0] != (transferView{1, 9, 7, "waiting for peer 7"}) {
		t.Errorf("%v\n%s", err, out)
	}
	if code, _, errs = ask("--collection", "nope"); code != 1 || !strings.Contains(errs, "no collection nope") {
		t.Errorf("exit code %d: %s", code, errs)
	}
	p.status = &clusterv1.ClusterStatus{Status: clusterv1.ClusterStatus_MODE_DISABLED}
	if _, out, _ = ask(); !strings.Contains(out, "standalone") || !strings.Contains(out, "Active on 9") {
		t.Error(out)
	}
}

// matrix writes n rows of two float32: i and -i.
func matrix(t *testing.T, name string, n int) string {
	t.Helper()
	values := make([]float32, 0, 2*n)
	for i := range n {
		values = append(values, float32(i), -float32(i))
	}
	return matrixOf(t, name, values)
}

// matrixOf writes rows of two.
func matrixOf(t *testing.T, name string, values []float32) string {
	t.Helper()
	var b bytes.Buffer
	h := fmt.Sprintf("{'descr': '<f4', 'fortran_order': False, 'shape': (%d, 2), }\n", len(values)/2)
	b.WriteString("\x93NUMPY\x01\x00")
	b.Write(binary.LittleEndian.AppendUint16(nil, uint16(len(h))))
	b.WriteString(h)
	if err := binary.Write(&b, binary.LittleEndian, values); err != nil {
		t.Fatal(err)
	}
	return write(t, name, b.Bytes())
}

func write(t *testing.T, name string, b []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if strings.HasSuffix(name, ".gz") {
		var z bytes.Buffer
		w := gzip.NewWriter(&z)
		if _, err := w.Write(b); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		b = z.Bytes()
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestImportMatrixAndLines(t *testing.T) {
	const n = 1234
	var lines strings.Builder
	for i := range n {
		fmt.Fprintf(&lines, `{"id":%d,"word":"w%d","rank":%d,"share":0.5,"tags":["a",null,{"k":true}]}`+"\n", 10_000+i, i, i)
	}
	p := &peer{points: map[uint64]*qdrant.PointStruct{}, refuse: 2}
	addr := start(t, p)
	code, _, errs := command(t, Runners{}, nil, "import", "--addr", addr, "--api-key", "k", "--collection", "words", "--batch", "100", "--shard-number", "6",
		"--vectors", matrix(t, "v.npy.gz", n), "--jsonl", write(t, "p.jsonl.gz", []byte(lines.String())))
	if code != 0 || !strings.Contains(errs, "1234 points acknowledged in words") {
		t.Fatalf("exit code %d: %s", code, errs)
	}
	if len(p.points) != n || p.created.GetVectorsConfig().GetParams().GetSize() != 2 || p.created.GetShardNumber() != 6 {
		t.Fatalf("%d points, made %v", len(p.points), p.created)
	}
	got := p.points[10_007]
	if v := got.GetVectors().GetVector().GetDense().GetData(); !slices.Equal(v, []float32{7, -7}) {
		t.Errorf("vector %v", v)
	}
	pl := got.GetPayload()
	if len(pl) != 4 || pl["word"].GetStringValue() != "w7" || pl["rank"].GetIntegerValue() != 7 || pl["share"].GetDoubleValue() != 0.5 ||
		!pl["tags"].GetListValue().GetValues()[2].GetStructValue().GetFields()["k"].GetBoolValue() {
		t.Errorf("payload %v", pl)
	}
}

func TestImportLinesAlone(t *testing.T) {
	p := &peer{points: map[uint64]*qdrant.PointStruct{}}
	addr := start(t, p)
	in := write(t, "p.jsonl", []byte(`{"vector":[1,2.5,-3e2],"payload":{"a":1}}`+"\n"+`{"id":"0b7a4d6e-7e2a-4b1e-9d9c-0d4a4c9f1d10","vector":[1,2,3],"b":2}`+"\n"+`{"vector":[0,0,0]}`+"\n"))
	code, _, errs := command(t, Runners{}, nil, "import", "--addr", addr, "--api-key", "k", "--collection", "c", "--jsonl", in, "--distance", "Dot", "--limit", "2")
	if code != 0 || !strings.Contains(errs, "2 points") {
		t.Fatalf("exit code %d: %s", code, errs)
	}
	if v := p.points[0].GetVectors().GetVector().GetDense().GetData(); !slices.Equal(v, []float32{1, 2.5, -300}) || p.points[0].GetPayload()["a"].GetIntegerValue() != 1 {
		t.Errorf("%v", p.points[0])
	}
	if p.uuids != 1 || p.created.GetVectorsConfig().GetParams().GetDistance() != qdrant.Distance_Dot {
		t.Errorf("made %v", p.created)
	}
}

// TestImportResumes: after a load broke off, the same command with --resume stores what is missing and nothing else.
func TestImportResumes(t *testing.T) {
	const n = 1000
	p := &peer{points: map[uint64]*qdrant.PointStruct{}, broken: 555}
	addr, file := start(t, p), matrix(t, "v.npy", n)
	args := []string{"import", "--addr", addr, "--api-key", "k", "--collection", "c", "--batch", "10", "--vectors", file}
	code, _, errs := command(t, Runners{}, nil, args...)
	if code != 1 || !strings.Contains(errs, "no such point") || !strings.Contains(errs, "--resume") {
		t.Fatalf("exit code %d: %s", code, errs)
	}
	// A request that was given up may still be at work: another peer goes on with what is there now.
	p.mu.Lock()
	next := &peer{points: maps.Clone(p.points), created: p.created, away: 2}
	p.mu.Unlock()
	p = next
	delete(p.points, 3)
	there := len(p.points)
	for id, pt := range p.points {
		pt = proto.CloneOf(pt)
		pt.Payload = map[string]*qdrant.Value{"kept": {}}
		p.points[id] = pt
	}
	args[2] = start(t, p)
	if there < 500 || there >= n-10 {
		t.Fatalf("%d points after a failure at 555", there)
	}
	code, _, errs = command(t, Runners{}, nil, append(args, "--resume")...)
	if want := fmt.Sprintf("; %d were there", there); code != 0 || len(p.points) != n || !strings.Contains(errs, fmt.Sprintf("%d points acknowledged", n-there)) || !strings.Contains(errs, want) {
		t.Fatalf("exit code %d, %d points, want %q: %s", code, len(p.points), want, errs)
	}
	kept := 0
	for id, pt := range p.points {
		if v := pt.GetVectors().GetVector().GetDense().GetData(); !slices.Equal(v, []float32{float32(id), -float32(id)}) {
			t.Errorf("point %d is %v", id, v)
		}
		kept += len(pt.GetPayload())
	}
	if kept != there {
		t.Errorf("%d of %d points were left as they were", kept, there)
	}
	code, _, errs = command(t, Runners{}, nil, args...)
	if code != 0 || len(p.points) != n || !strings.Contains(errs, "1000 points acknowledged") || len(p.points[7].GetPayload()) != 0 {
		t.Errorf("exit code %d, %d points: %s", code, len(p.points), errs)
	}
}

// TestImportResumesUUIDs: a UUID is the same one in each of its forms.
func TestImportResumesUUIDs(t *testing.T) {
	p := &peer{points: map[uint64]*qdrant.PointStruct{}, uuid: "0b7a4d6e-7e2a-4b1e-9d9c-0d4a4c9f1d10"}
	in := write(t, "p.jsonl", []byte(`{"id":"0B7A4D6E7E2A4B1E9D9C0D4A4C9F1D10","vector":[1]}`+"\n"+`{"id":"1b7a4d6e-7e2a-4b1e-9d9c-0d4a4c9f1d10","vector":[1]}`))
	code, _, errs := command(t, Runners{}, nil, "import", "--addr", start(t, p), "--api-key", "k", "--collection", "c", "--jsonl", in, "--resume")
	if code != 0 || p.uuids != 1 || !strings.Contains(errs, "; 1 were there") {
		t.Errorf("exit code %d, %d stored: %s", code, p.uuids, errs)
	}
}

func TestImportFvecs(t *testing.T) {
	for _, name := range []string{"v.fvecs", "v.fvecs.gz"} {
		p := &peer{points: map[uint64]*qdrant.PointStruct{}}
		file := write(t, name, fvecsOf([]float32{1, 2, 3}, []float32{4, 5, 6}, []float32{7, 8, 9}))
		code, _, errs := command(t, Runners{}, nil, "import", "--addr", start(t, p), "--api-key", "k", "--collection", "c", "--vectors", file)
		if code != 0 || len(p.points) != 3 || p.created.GetVectorsConfig().GetParams().GetSize() != 3 {
			t.Fatalf("%s: exit code %d, %d points: %s", name, code, len(p.points), errs)
		}
		if v := p.points[2].GetVectors().GetVector().GetDense().GetData(); !slices.Equal(v, []float32{7, 8, 9}) {
			t.Errorf("%s: vector %v", name, v)
		}
	}
}

func fvecsOf(rows ...[]float32) (b []byte) {
	for _, r := range rows {
		b = binary.LittleEndian.AppendUint32(b, uint32(len(r)))
		for _, x := range r {
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
		}
	}
	return b
}

// damaged spoils the checksum at the end of a .gz.
func damaged(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)-6]++
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestImportErrors(t *testing.T) {
	p := &peer{points: map[uint64]*qdrant.PointStruct{}}
	addr := start(t, p)
	lines := func(s string) string { return write(t, "p.jsonl", []byte(s)) }
	tests := map[string]struct {
		args []string
		code int
		says string
	}{
		"no collection": {[]string{"--jsonl", "x"}, 2, "--collection"},
		"no files":      {[]string{"--collection", "c"}, 2, "--vectors or --jsonl"},
		"distance":      {[]string{"--collection", "c", "--jsonl", "x", "--distance", "Far"}, 2, "Manhattan"},
		"no such file":  {[]string{"--collection", "c", "--jsonl", "nowhere.jsonl"}, 1, "nowhere.jsonl"},
		"not npy":       {[]string{"--collection", "c", "--vectors", lines("hello")}, 1, "not a readable .npy"},
		"not fvecs":     {[]string{"--collection", "c", "--vectors", write(t, "v.fvecs", []byte("hello"))}, 1, "v.fvecs: not a readable .fvecs file: row 0 at byte 0"},
		"cut fvecs":     {[]string{"--collection", "c", "--vectors", write(t, "v.fvecs", fvecsOf([]float32{1, 2}, []float32{3, 4})[:20])}, 1, "byte 12 begins a row that is cut off"},
		"cut gzip":      {[]string{"--collection", "c", "--vectors", write(t, "v.fvecs.gz", fvecsOf([]float32{1, 2}, []float32{3, 4})[:20])}, 1, "row 1: not a readable .fvecs file: it ends at byte 20"},
		"bad gzip":      {[]string{"--collection", "c", "--vectors", damaged(t, matrix(t, "v.npy.gz", 5000))}, 1, "v.npy.gz, row 5000: not a readable .npy file: behind the last of 5000 rows: gzip: invalid checksum"},
		"bad fvecs.gz":  {[]string{"--collection", "c", "--vectors", damaged(t, write(t, "v.fvecs.gz", fvecsOf([]float32{1, 2}, []float32{3, 4})))}, 1, "row 2, byte 24: gzip: invalid checksum"},
		"other row":     {[]string{"--collection", "c", "--vectors", write(t, "v.fvecs", fvecsOf([]float32{1, 2}, []float32{3}, []float32{4, 5, 6}))}, 1, "row 1 at byte 12 has a length of 1"},
		"bad json":      {[]string{"--collection", "c", "--jsonl", lines(`{"vector":[1]}` + "\n" + `{"vector":[1],}`)}, 1, "p.jsonl, line 2: byte 15: invalid"},
		"not gzip":      {[]string{"--collection", "c", "--vectors", write(t, "x.npy", nil) + ".gz"}, 1, "no such file"},
		"not json":      {[]string{"--collection", "c", "--jsonl", lines("{")}, 1, "p.jsonl, line 1"},
		"not an object": {[]string{"--collection", "c", "--jsonl", lines("null")}, 1, "must be a JSON object"},
		"blank line":    {[]string{"--collection", "c", "--jsonl", lines("\n{}")}, 1, "p.jsonl, line 1: a line must be a JSON object"},
		"two in a line": {[]string{"--collection", "c", "--jsonl", lines(`{"vector":[1]} {"vector":[1]}`)}, 1, "more than one JSON value"},
		"word as id":    {[]string{"--collection", "c", "--jsonl", lines(`{"id":"seven","vector":[1]}`)}, 1, `p.jsonl, line 1: id "seven"`},
		"empty vector":  {[]string{"--collection", "c", "--jsonl", lines(`{"vector":[]}`)}, 1, `"vector" must be a list of numbers`},
		"other size":    {[]string{"--collection", "c", "--jsonl", lines(`{"vector":[1]}` + "\n" + `{"vector":[1,2]}`)}, 1, `p.jsonl, line 2: "vector" has 2 numbers, those before have 1`},
		"no vector":     {[]string{"--collection", "c", "--jsonl", lines(`{"a":1}`)}, 1, `"vector"`},
		"bad id":        {[]string{"--collection", "c", "--jsonl", lines(`{"id":-1,"vector":[1]}`)}, 1, "id -1"},
		"more lines":    {[]string{"--collection", "c", "--vectors", matrix(t, "v.npy", 1), "--jsonl", lines("{}\n{}\n")}, 1, "p.jsonl, line 2: there are more lines than vectors"},
		"second line":   {[]string{"--collection", "c", "--jsonl", lines(`{"vector":[1]}` + "\n" + `{"vector":[1,"x"]}`)}, 1, "p.jsonl, line 2: \"vector\""},
		"not a number":  {[]string{"--collection", "c", "--vectors", matrixOf(t, "v.npy", []float32{1, 2, 3, float32(math.NaN())})}, 1, "v.npy, row 1: column 1 is NaN"},
		"infinite":      {[]string{"--collection", "c", "--vectors", matrixOf(t, "v.npy", []float32{float32(math.Inf(-1)), 2})}, 1, "v.npy, row 0: column 0 is -Inf"},
		"skip too far":  {[]string{"--collection", "c", "--vectors", matrix(t, "v.npy", 3), "--skip", "4"}, 1, "there are only 3 points"},
		"skip back":     {[]string{"--collection", "c", "--vectors", "x", "--skip", "-1"}, 2, "--skip"},
		"fewer lines":   {[]string{"--collection", "c", "--vectors", matrix(t, "v.npy", 2), "--jsonl", lines("{}\n")}, 1, "v.npy, row 1: there are more vectors than lines"},
	}
	for name, tc := range tests {
		code, _, errs := command(t, Runners{}, nil, append([]string{"import", "--addr", addr, "--api-key", "k"}, tc.args...)...)
		if code != tc.code || !strings.Contains(errs, tc.says) {
			t.Errorf("%s: exit code %d, want %d; %q does not say %q", name, code, tc.code, errs, tc.says)
		}
	}
}

func FuzzLine(f *testing.F) {
	f.Add([]byte(`{"id":1,"vector":[1,2],"a":{"b":[null,1e3,-5]}}`))
	f.Add([]byte(`{"vector":[1e400]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		p := &qdrant.PointStruct{}
		if err := (&pointSource{idField: "id"}).fill(p, b); err == nil && p.GetVectors() == nil {
			t.Error("a point without a vector")
		}
	})
}
