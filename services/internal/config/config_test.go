package config

import (
	"bytes"
	"log/slog"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

// TestEveryKey holds the table against the keys that Qdrant 1.19 reads, each with a value that differs from its
// default, and against our own. The outcome of each is written down here once more.
func TestEveryKey(t *testing.T) {
	const ok, warn, silent, no = "supported", "warning", "silent", "refused"
	tests := []struct{ key, value, want string }{
		{"log_level", "DEBUG", ok},
		{"logger.format", "json", ok},
		{"logger.on_disk.enabled", "true", warn},
		{"logger.on_disk.log_file", "x", warn},
		{"logger.on_disk.log_level", "x", warn},
		{"logger.on_disk.format", "x", warn},
		{"logger.on_disk.buffer_size_bytes", "1", warn},
		{"telemetry_disabled", "true", silent},
		{"storage.storage_path", "/data", ok},
		{"storage.snapshots_path", "/s", warn},
		{"storage.snapshots_config.snapshots_storage", "s3", warn},
		{"storage.snapshots_config.s3_config.bucket", "b", warn},
		{"storage.snapshots_config.s3_config.secret_key", "b", warn},
		{"storage.temp_path", "/t", warn},
		{"storage.on_disk_payload", "false", ok},
		{"storage.payload.memory", "x", warn},
		{"storage.optimizers.deleted_threshold", "0.3", ok},
		{"storage.optimizers.max_segment_size_kb", "1000", ok},
		{"storage.optimizers.memmap_threshold_kb", "1000", ok},
		{"storage.optimizers.indexing_threshold_kb", "1000", ok},
		{"storage.optimizers_overwrite.indexing_threshold", "1", warn},
		{"storage.wal.wal_capacity_mb", "64", ok},
		{"storage.performance.max_search_threads", "4", warn},
		{"storage.performance.update_rate_limit", "4", warn},
		{"storage.performance.async_scorer", "true", warn},
		{"storage.performance.optimizer_cpu_budget", "-1", ok},
		{"storage.performance.optimizer_write_mb_per_sec", "0", ok},
		{"storage.performance.optimizer_io_budget", "1", warn},
		{"storage.performance.scrub_interval_hours", "0", ok},
		{"storage.performance.scrub_read_mb_per_sec", "5", ok},
		{"storage.performance.incoming_shard_transfers_limit", "2", ok},
		{"storage.performance.outgoing_shard_transfers_limit", "0", ok},
		{"storage.hnsw_index.m", "16", ok},
		{"storage.hnsw_index.full_scan_threshold_kb", "1000", ok},
		{"storage.hnsw_global_config.x", "16", warn},
		{"storage.mmap_advice", "random", warn},
		{"storage.low_memory_mode", "x", warn},
		{"storage.node_type", "Listener", no},
		{"storage.node_type", "Normal", silent},
		{"storage.update_queue_size", "1", warn},
		{"storage.handle_collection_load_errors", "true", warn},
		{"storage.recovery_mode", "out of memory", no},
		{"storage.recovery_mode", "", silent},
		{"storage.update_concurrency", "1", warn},
		{"storage.shard_transfer_method", "snapshot", warn},
		{"storage.collection.replication_factor", "2", ok},
		{"storage.collection.write_consistency_factor", "2", ok},
		{"storage.collection.shard_number", "3", ok},
		{"storage.collection.shard_number_per_node", "2", ok},
		{"storage.collection.vectors.on_disk", "true", warn},
		{"storage.collection.quantization.scalar.type", "int8", ok},
		{"storage.collection.strict_mode.enabled", "true", ok},
		{"storage.max_collections", "3", ok},
		{"storage.quotas.x", "3", warn},
		{"service.host", "127.0.0.1", ok},
		{"service.http_port", "7333", ok},
		{"service.grpc_port", "7334", ok},
		{"service.metrics_port", "9090", warn},
		{"service.max_request_size_mb", "64", ok},
		{"service.max_workers", "2", warn},
		{"service.http_keep_alive_timeout_sec", "9", ok},
		{"service.http_client_request_timeout_sec", "9", warn},
		{"service.http_client_disconnect_timeout_sec", "9", warn},
		{"service.enable_cors", "false", ok},
		{"service.enable_tls", "true", no},
		{"service.enable_tls", "false", silent},
		{"service.verify_https_client_certificate", "true", no},
		{"service.api_key", "k", ok},
		{"service.alt_api_key", "k2", ok},
		{"service.read_only_api_key", "k3", ok},
		{"service.jwt_rbac", "true", no},
		{"service.enforce_internal_auth", "true", no},
		{"service.hide_jwt_dashboard", "true", warn},
		{"service.static_content_dir", "x", warn},
		{"service.enable_static_content", "false", warn},
		{"service.slow_query_secs", "1", warn},
		{"service.hardware_reporting", "true", warn},
		{"service.metrics_prefix", "q_", warn},
		{"service.enable_snapshot_url_recovery", "true", warn},
		{"cluster.enabled", "false", ok},
		{"cluster.peer_id", "42", ok},
		{"cluster.grpc_timeout_ms", "1", warn},
		{"cluster.connection_timeout_ms", "1", warn},
		{"cluster.p2p.port", "7335", ok},
		{"cluster.p2p.connection_pool_size", "1", warn},
		{"cluster.p2p.enable_tls", "true", no},
		{"cluster.consensus.tick_period_ms", "50", warn},
		{"cluster.consensus.compact_wal_entries", "50", warn},
		{"cluster.consensus.bootstrap_timeout_sec", "3", ok},
		{"cluster.resharding_enabled", "true", warn},
		{"cluster.uri", "http://me:6335", ok},
		{"cluster.zone", "a", ok},
		{"cluster.secret", "s", ok},
		{"cluster.insecure_internal", "true", ok},
		{"tls.cert", "x", warn},
		{"tls.cert_ttl", "1", warn},
		{"debugger.pyroscope.url", "x", warn},
		{"inference.address", "x", warn},
		{"inference.token", "x", warn},
		{"gpu.indexing", "true", warn},
		{"feature_flags.all", "true", warn},
		{"audit.enabled", "true", no},
		{"audit.dir", "x", warn},
		{"audit.rotation", "daily", warn},
		{"audit.max_log_files", "1", warn},
		{"audit.trust_forwarded_headers", "true", warn},
		{"audit.log_api", "true", warn},
	}
	seen := map[string]bool{"cluster.bootstrap": true} // needs a second key; TestBootstrap has it
	for _, tc := range tests {
		name := "QDRANT__" + strings.ToUpper(strings.ReplaceAll(tc.key, ".", "__"))
		l, err := Load(Sources{Env: []string{name + "=" + tc.value}})
		if k, found := lookup(keys(), tc.key); found {
			seen[k.path] = true
		}
		switch {
		case (err != nil) != (tc.want == no):
			t.Errorf("%s=%s: error %v, want %s", tc.key, tc.value, err, tc.want)
		case err != nil:
			if !strings.Contains(err.Error(), tc.key) || !strings.Contains(err.Error(), "refusing to start") || !strings.Contains(err.Error(), name) {
				t.Errorf("%s: the refusal does not say enough: %v", tc.key, err)
			}
		case (len(l.Warnings) == 1) != (tc.want == warn) || len(l.Warnings) > 1:
			t.Errorf("%s: warnings %q, want %s", tc.key, l.Warnings, tc.want)
		case tc.want == ok && reflect.DeepEqual(l.Config, defaults(t)):
			t.Errorf("%s=%s changes nothing", tc.key, tc.value)
		}
	}
	for _, k := range keys() {
		if !seen[k.path] {
			t.Errorf("%s is in the table, but not in this test", k.path)
		}
	}
}

func defaults(t *testing.T) Config {
	t.Helper()
	l, err := Load(Sources{})
	if err != nil {
		t.Fatal(err)
	}
	return l.Config
}

func TestDefaults(t *testing.T) {
	want := Config{
		LogLevel: "INFO", Logger: Logger{Format: "text"}, Storage: Storage{Path: "./storage", Performance: Performance{OptimizerWrites: 100, ScrubHours: 168, ScrubReads: 20, IncomingTransfers: 4, OutgoingTransfers: 4}},
		Service: Service{Host: "0.0.0.0", HTTPPort: 6333, GRPCPort: 6334, MaxRequestSizeMB: 32, KeepAliveSec: 5, EnableCORS: true},
		Cluster: Cluster{Enabled: true, Bootstrap: []string{}, P2P: P2P{Port: 6335}, Consensus: Consensus{BootstrapTimeoutSec: 15}},
	}
	if d := cmp.Diff(want, defaults(t)); d != "" {
		t.Error(d)
	}
}

// TestTableAndStruct: every supported key fills exactly one field, and every field has a key.
func TestTableAndStruct(t *testing.T) {
	var fields []string
	var walk func(prefix string, typ reflect.Type)
	walk = func(prefix string, typ reflect.Type) {
		for i := range typ.NumField() {
			f := typ.Field(i)
			path := prefix + f.Tag.Get("koanf")
			if path == prefix+"-" { // of keys that are members
				continue
			}
			if f.Type.Kind() == reflect.Struct {
				walk(path+".", f.Type)
				continue
			}
			fields = append(fields, path)
		}
	}
	walk("", reflect.TypeFor[Config]())
	var rows []string
	for _, k := range keys() {
		if k.class == supported {
			rows = append(rows, k.path)
			if k.doc == "" {
				t.Errorf("%s has no description", k.path)
			}
		}
	}
	slices.Sort(fields)
	slices.Sort(rows)
	if d := cmp.Diff(rows, fields); d != "" {
		t.Errorf("table and struct differ:\n%s", d)
	}
}

// TestShippedFile: config/config.yaml says what is the case without it.
func TestShippedFile(t *testing.T) {
	l, err := Load(Sources{FS: os.DirFS("../../..")})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(defaults(t), l.Config); d != "" || len(l.Warnings) > 0 {
		t.Errorf("%s %q", d, l.Warnings)
	}
	if s := l.values["service.http_port"].source; s != "config/config.yaml" {
		t.Errorf("the port comes from %q", s)
	}
}

// TestMembers: defaults of new collections come under the names that the call has which
// makes one, with numbers from the environment too.
func TestMembers(t *testing.T) {
	l, err := Load(Sources{FS: fstest.MapFS{"config/config.yaml": {Data: []byte(`storage:
  on_disk_payload: false
  hnsw_index: {m: 24, full_scan_threshold_kb: 5000, on_disk: null}
  optimizers: {indexing_threshold_kb: 7, default_segment_number: 2}
  wal: {wal_capacity_mb: 1}
  collection:
    quantization: {scalar: {type: int8}}
    strict_mode: {enabled: true, sparse_config: {words: {max_length: 9}}}
`)}}, Env: []string{"QDRANT__STORAGE__HNSW_INDEX__M=32", "PANDO__STORAGE__COLLECTION__STRICT_MODE__MAX_QUERY_LIMIT=50", "QDRANT__STORAGE__OPTIMIZERS__MAX_OPTIMIZATION_THREADS=auto"}})
	if err != nil || len(l.Warnings) > 0 {
		t.Fatal(err, l.Warnings)
	}
	want := map[string]any{
		"on_disk_payload":     false,
		"hnsw_config":         map[string]any{"m": 32, "full_scan_threshold": 5000},
		"optimizers_config":   map[string]any{"indexing_threshold": 7, "default_segment_number": 2, "max_optimization_threads": "auto"},
		"wal_config":          map[string]any{"wal_capacity_mb": 1},
		"quantization_config": map[string]any{"scalar": map[string]any{"type": "int8"}},
		"strict_mode_config":  map[string]any{"enabled": true, "max_query_limit": 50, "sparse_config": map[string]any{"words": map[string]any{"max_length": 9}}},
	}
	if d := cmp.Diff(want, l.Storage.Collection.Members); d != "" {
		t.Error(d)
	}
}

// TestOrder adds one layer after the other; each must win over all before it.
func TestOrder(t *testing.T) {
	files := fstest.MapFS{}
	src := Sources{FS: files}
	step := func(want int, source string) {
		t.Helper()
		l, err := Load(src)
		if err != nil {
			t.Fatal(err)
		}
		if got := l.values["service.http_port"]; l.Service.HTTPPort != want || got.source != source {
			t.Errorf("port %d from %s, want %d from %s", l.Service.HTTPPort, got.source, want, source)
		}
	}
	file := func(name, content string) { files[name] = &fstest.MapFile{Data: []byte(content)} }
	step(6333, "default")
	file("config/config.yaml", "service: {http_port: 1}")
	step(1, "config/config.yaml")
	file("config/development.json", `{"service": {"http_port": 2}}`)
	step(2, "config/development.json")
	file("config/production.yml", "service: {http_port: 3}")
	src.Env = []string{"RUN_MODE=production"}
	step(3, "config/production.yml")
	file("config/local.toml", "[service]\nhttp_port = 4")
	step(4, "config/local.toml")
	file("my.yaml", "service: {http_port: 5}")
	src.ConfigPath = "my.yaml"
	step(5, "my.yaml")
	src.Env = append(src.Env, "QDRANT__SERVICE__HTTP_PORT=6")
	step(6, "QDRANT__SERVICE__HTTP_PORT")
	src.Env = append(src.Env, "PANDO__SERVICE__HTTP_PORT=7")
	step(7, "PANDO__SERVICE__HTTP_PORT")
	src.Flags, src.FlagNames = map[string]any{"service.http_port": 8}, map[string]string{"service.http_port": "--http-port"}
	step(8, "--http-port")
}

func TestErrors(t *testing.T) {
	file := func(content string) Sources {
		return Sources{FS: fstest.MapFS{"config/config.yaml": {Data: []byte(content)}}}
	}
	env := func(e ...string) Sources { return Sources{Env: e} }
	tests := map[string]struct {
		src  Sources
		want []string // all of them stand in the error
	}{
		"unknown in a file":    {file("service: {htp_port: 1}"), []string{"service.htp_port", "config/config.yaml", "did you mean service.http_port?"}},
		"unknown in PANDO":     {env("PANDO__NOBODY__KNOWS=1"), []string{"nobody.knows", "PANDO__NOBODY__KNOWS"}},
		"not a number":         {env("QDRANT__SERVICE__HTTP_PORT=abc"), []string{"service.http_port", "QDRANT__SERVICE__HTTP_PORT", "whole number", "abc"}},
		"a fraction":           {file("service: {http_port: 1.5}"), []string{"service.http_port", "1.5"}},
		"not a flag":           {file("service: {enable_cors: maybe}"), []string{"service.enable_cors", "true or false"}},
		"not a text":           {file("service: {host: [a]}"), []string{"service.host", "text"}},
		"not a list":           {file("cluster: {bootstrap: {a: b}}"), []string{"cluster.bootstrap"}},
		"port too high":        {env("QDRANT__SERVICE__HTTP_PORT=65536"), []string{"service.http_port", "65536", "65535"}},
		"negative port":        {env("QDRANT__SERVICE__GRPC_PORT=-1"), []string{"service.grpc_port", "null"}},
		"same port":            {env("QDRANT__SERVICE__HTTP_PORT=6334"), []string{"service.http_port", "service.grpc_port", "6334"}},
		"level":                {env("QDRANT__LOG_LEVEL=loud"), []string{"log_level", "loud"}},
		"format":               {env("QDRANT__LOGGER__FORMAT=xml"), []string{"logger.format", "xml"}},
		"size":                 {env("QDRANT__SERVICE__MAX_REQUEST_SIZE_MB=0"), []string{"service.max_request_size_mb"}},
		"empty path":           {env("QDRANT__STORAGE__STORAGE_PATH="), []string{"storage.storage_path"}},
		"peer id":              {env("PANDO__CLUSTER__PEER_ID=9007199254740992"), []string{"cluster.peer_id", "2^53"}},
		"negative peer id":     {env("PANDO__CLUSTER__PEER_ID=-1"), []string{"cluster.peer_id"}},
		"uri":                  {env("QDRANT_URI=me:6335"), []string{"cluster.uri", "http://host:6335"}},
		"bootstrap alone":      {env("QDRANT_BOOTSTRAP=http://first:6335"), []string{"cluster.bootstrap", "cluster.uri"}},
		"bootstrap standalone": {env("QDRANT_BOOTSTRAP=http://a:1", "QDRANT_URI=http://b:1", "QDRANT__CLUSTER__ENABLED=false"), []string{"cluster.bootstrap", "cluster.enabled"}},
		"broken yaml":          {file("service: {"), []string{"config/config.yaml"}},
		"missing file":         {Sources{FS: fstest.MapFS{}, ConfigPath: "x.yaml"}, []string{"--config-path", "x.yaml"}},
		"two files":            {Sources{FS: fstest.MapFS{"config/config.yaml": {}, "config/config.json": {}}}, []string{"config/config.yaml", "config/config.json"}},
		"several at once":      {env("PANDO__A=1", "QDRANT__SERVICE__HTTP_PORT=x", "QDRANT__SERVICE__ENABLE_TLS=1"), []string{"unknown key a", "service.http_port", "service.enable_tls"}},
	}
	for name, tc := range tests {
		_, err := Load(tc.src)
		if err == nil {
			t.Errorf("%s: no error", name)
			continue
		}
		for _, w := range tc.want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %q is not in %q", name, w, err)
			}
		}
	}
}

func TestUnknownInQdrantEnvironmentWarns(t *testing.T) {
	l, err := Load(Sources{Env: []string{"QDRANT__SERVICE__HTP_PORT=1", "OTHER__X=1", "QDRANTX=2"}})
	if err != nil {
		t.Fatal(err)
	}
	if len(l.Warnings) != 1 || !strings.Contains(l.Warnings[0], "did you mean service.http_port?") {
		t.Errorf("%q", l.Warnings)
	}
}

func TestNullAndEmptySections(t *testing.T) {
	l, err := Load(Sources{FS: fstest.MapFS{"config/config.yaml": {Data: []byte(
		"service: {grpc_port: null, http_port: null, api_key: 12345}\nstorage:\nlogger: {}\ntls:\n")}}})
	if err != nil {
		t.Fatal(err)
	}
	if l.Service.GRPCPort != Off || l.Service.HTTPPort != 6333 || l.Service.APIKey != "12345" {
		t.Errorf("%+v", l.Service)
	}
	if len(l.Warnings) != 0 {
		t.Errorf("an empty section sets nothing: %q", l.Warnings)
	}
}

func TestBootstrap(t *testing.T) {
	for name, value := range map[string]string{"one": "http://a:1", "comma": "http://a:1, http://b:2", "yaml": "[http://a:1, http://b:2]"} {
		l, err := Load(Sources{Env: []string{"QDRANT_URI=http://me:6335", "PANDO__CLUSTER__BOOTSTRAP=" + value}})
		if err != nil {
			t.Fatal(err)
		}
		want := []string{"http://a:1"}
		if name != "one" {
			want = append(want, "http://b:2")
		}
		if !slices.Equal(l.Cluster.Bootstrap, want) || l.Cluster.URIHost() != "me" {
			t.Errorf("%s: %+v", name, l.Cluster)
		}
	}
}

// TestPrint: what is printed hides secrets, names sources, and loads to the same configuration.
func TestPrint(t *testing.T) {
	src := Sources{Env: []string{"QDRANT__SERVICE__API_KEY=top-secret", "QDRANT__SERVICE__GRPC_PORT=null", "QDRANT_URI=http://me:6335",
		"QDRANT_BOOTSTRAP=http://a:1,http://b:2", "QDRANT__STORAGE__PERFORMANCE__MAX_SEARCH_THREADS=4"}}
	l, err := Load(src)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := l.Print(&b); err != nil {
		t.Fatal(err)
	}
	out := b.String()
	for _, want := range []string{"http_port: 6333 # default", "grpc_port: null # QDRANT__SERVICE__GRPC_PORT", "api_key: (hidden) # QDRANT__SERVICE__API_KEY",
		"uri: http://me:6335 # QDRANT_URI", "max_search_threads: \"4\" # QDRANT__STORAGE__PERFORMANCE__MAX_SEARCH_THREADS, no effect"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in:\n%s", want, out)
		}
	}
	if strings.Contains(out, "top-secret") {
		t.Error("a secret is printed")
	}
	again, err := Load(Sources{FS: fstest.MapFS{"config/config.yaml": {Data: b.Bytes()}}})
	if err != nil {
		t.Fatalf("%v in:\n%s", err, out)
	}
	again.Service.APIKey = l.Service.APIKey
	if d := cmp.Diff(l.Config, again.Config); d != "" {
		t.Error(d)
	}
}

func TestLevel(t *testing.T) {
	for in, want := range map[string]slog.Level{"TRACE": slog.LevelDebug, "debug": slog.LevelDebug, "INFO": slog.LevelInfo, "warning": slog.LevelWarn,
		"error": slog.LevelError, "off": LevelOff, "raft=debug,warn": slog.LevelWarn, "raft=debug": slog.LevelInfo} {
		c := defaults(t)
		c.LogLevel = in
		if err := c.Validate(); err != nil || c.Level() != want {
			t.Errorf("%s: %v %v", in, c.Level(), err)
		}
	}
}

func FuzzLoadFile(f *testing.F) {
	f.Add([]byte("service: {http_port: 1}"))
	f.Add([]byte("cluster: {bootstrap: [a, 1]}\nlogger: [1]"))
	f.Add([]byte("a: &a [*a]"))
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := Load(Sources{FS: fstest.MapFS{"config/config.yaml": {Data: b}}})
		if err != nil {
			return
		}
		if err := l.Print(new(bytes.Buffer)); err != nil {
			t.Errorf("loaded, but cannot be printed: %v", err)
		}
	})
}

func TestHints(t *testing.T) {
	for _, tc := range []struct {
		uri  string
		in   []string
		want []string
	}{
		{"http://me:6335", nil, nil},
		{"http://me:6335", []string{"http://ME:6335/", "http://me"}, nil},
		{"http://me", []string{"http://a:7335/", "http://me:6335", "http://b", "http://a:7335"}, []string{"a:7335", "b:6335"}},
		{"http://[::1]:6335", []string{"http://[::1]:6335", "http://[::2]"}, []string{"[::2]:6335"}},
		{"", []string{"http://a:6335"}, []string{"a:6335"}},
	} {
		if got := (Cluster{URI: tc.uri, Bootstrap: tc.in}).Hints(); !slices.Equal(got, tc.want) {
			t.Errorf("%s joins %v: %v, want %v", tc.uri, tc.in, got, tc.want)
		}
	}
}
