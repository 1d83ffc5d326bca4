package config

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// class is what becomes of a key.
type class int

const (
	supported class = iota
	member          // a default of new collections: doc is the member of the body that makes one
	noEffect        // read by Qdrant, not (yet) by us, and harmless to leave out: one warning
	moot            // what it asks for is the case anyway: accepted silently
	refused         // anything but def would be unsafe to leave out: doc says why
)

// kind is the type of a value.
type kind int

const (
	text kind = iota
	number
	flag
	list // of texts; one text is a list of one
	port // number, or null for off
	any_ // whatever the file says, for keys without effect
	bare // a number, a truth value or a text, as YAML has it, from the environment too
)

// key is one row. A path that ends in ".*" stands for everything below.
type key struct {
	path   string
	class  class
	kind   kind
	def    any
	doc    string
	secret bool
}

// keys is the table of every key that is known.
func keys() []key {
	return slices.Concat(ownKeys(), memberKeys(), refusedKeys(), ignoredKeys())
}

func ownKeys() []key {
	sup := func(path string, k kind, def any, doc string) key {
		return key{path: path, class: supported, kind: k, def: def, doc: doc}
	}
	hidden := func(path, doc string) key {
		return key{path: path, class: supported, kind: text, def: "", doc: doc, secret: true}
	}
	return []key{
		sup("log_level", text, "INFO", "trace, debug, info, warn, error or off"),
		sup("logger.format", text, "text", "text or json"),
		sup("storage.storage_path", text, "./storage", "folder of everything that is stored; one process at a time"),
		sup("storage.collection.replication_factor", number, 0, "for collections that do not say; 0: 1"),
		sup("storage.collection.write_consistency_factor", number, 0, "for collections that do not say; 0: 1"),
		sup("storage.collection.shard_number", number, 0, "for collections that do not say; 0: one per peer"),
		sup("storage.collection.shard_number_per_node", number, 0, "factor on the number of peers; 0: 1"),
		sup("storage.max_collections", number, 0, "how many collections there may be; 0: any number"),
		sup("storage.performance.optimizer_cpu_budget", number, 0, "threads that merge segments and build indexes; 0: all processors but one in 32; below 0: all but so many; one at least"),
		sup("storage.performance.optimizer_write_mb_per_sec", number, 100, "MiB/s that merges and builds write to the disk while clients write; 0: any number"),
		sup("storage.performance.scrub_interval_hours", number, 168, "how often each file of a sealed segment is read again and held against its checksum; 0: only at a start"),
		sup("storage.performance.scrub_read_mb_per_sec", number, 20, "MiB/s that are read for it, of all shards together; 0: any number"),
		sup("storage.performance.incoming_shard_transfers_limit", number, 4, "transfers to one peer at a time that recover replicas by themselves; 0: any number"),
		sup("storage.performance.outgoing_shard_transfers_limit", number, 4, "transfers from one peer at a time that recover replicas by themselves; 0: any number"),
		sup("service.host", text, "0.0.0.0", "address to bind REST and gRPC to"),
		sup("service.http_port", number, 6333, "REST; 0 takes any free port"),
		sup("service.grpc_port", port, 6334, "gRPC; null switches it off"),
		sup("service.max_request_size_mb", number, 32, "largest REST body"),
		sup("service.http_keep_alive_timeout_sec", number, 5, "how long an idle HTTP connection stays open"),
		sup("service.enable_cors", flag, true, "let web pages of other origins call"),
		hidden("service.api_key", "key for everything; empty: no key is asked for"),
		hidden("service.alt_api_key", "second such key, to change the first without a pause"),
		hidden("service.read_only_api_key", "key for reads only"),
		sup("cluster.enabled", flag, true, "false answers cluster calls as a standalone node does"),
		sup("cluster.peer_id", number, 0, "fixed id of this peer, below 2^53; 0: drawn at the first start and kept"),
		sup("cluster.uri", text, "", "address under which others reach this process, http://host:6335 (--uri)"),
		sup("cluster.bootstrap", list, []string{}, "addresses of the cluster to join (--bootstrap)"),
		sup("cluster.zone", text, "", "failure domain of this peer; replicas of a shard go to different ones"),
		hidden("cluster.secret", "shared by all processes of the cluster; needed when the internal port is open to others"),
		sup("cluster.insecure_internal", flag, false, "open the internal port to others without a secret (--insecure-internal)"),
		sup("cluster.consensus.bootstrap_timeout_sec", number, 15, "how long a process tries to join before it gives up"),
		sup("cluster.p2p.port", number, DefaultP2PPort, "internal port: peers, members, health probes"),
	}
}

// memberKeys are the defaults of new collections, more than those of ownKeys. The first row
// that fits a key counts.
func memberKeys() []key {
	var out []key
	for _, row := range [][2]string{
		{"storage.on_disk_payload", "on_disk_payload"},
		{"storage.hnsw_index.full_scan_threshold_kb", "hnsw_config.full_scan_threshold"},
		{"storage.hnsw_index.*", "hnsw_config"},
		{"storage.optimizers.max_segment_size_kb", "optimizers_config.max_segment_size"},
		{"storage.optimizers.memmap_threshold_kb", "optimizers_config.memmap_threshold"},
		{"storage.optimizers.indexing_threshold_kb", "optimizers_config.indexing_threshold"},
		{"storage.optimizers.*", "optimizers_config"},
		{"storage.wal.*", "wal_config"},
		{"storage.collection.quantization.*", "quantization_config"},
		{"storage.collection.strict_mode.*", "strict_mode_config"},
	} {
		out = append(out, key{path: row[0], class: member, kind: bare, doc: row[1]})
	}
	return out
}

func refusedKeys() []key {
	ref := func(path string, k kind, def any, why string) key {
		return key{path: path, class: refused, kind: k, def: def, doc: why}
	}
	return []key{
		ref("service.enable_tls", flag, false, "clients would send their keys in the clear"),
		ref("service.verify_https_client_certificate", flag, false, "clients without a certificate would be let in"),
		ref("cluster.p2p.enable_tls", flag, false, "peers would send data in the clear"),
		ref("service.jwt_rbac", flag, false, "tokens with few rights could not be told from others"),
		ref("service.enforce_internal_auth", flag, false, "API keys do not guard the internal port here; set cluster.secret instead"),
		ref("audit.enabled", flag, false, "no audit trail would be written"),
		ref("storage.node_type", text, "Normal", "a listener would take part in searches"),
		ref("storage.recovery_mode", text, "", "collections would be loaded although recovery was asked for"),
	}
}

func ignoredKeys() []key {
	var out []key
	for path := range strings.FieldsSeq(`
		logger.on_disk.*
		storage.snapshots_path storage.snapshots_config.* storage.temp_path storage.payload.*
		storage.optimizers_overwrite.* storage.performance.* storage.hnsw_global_config.* storage.mmap_advice storage.low_memory_mode
		storage.update_queue_size storage.handle_collection_load_errors storage.update_concurrency
		storage.shard_transfer_method storage.quotas.*
		storage.collection.vectors.*
		service.metrics_port service.max_workers service.http_client_request_timeout_sec
		service.http_client_disconnect_timeout_sec service.hide_jwt_dashboard service.static_content_dir
		service.enable_static_content service.slow_query_secs service.hardware_reporting service.metrics_prefix
		service.enable_snapshot_url_recovery
		cluster.grpc_timeout_ms cluster.connection_timeout_ms cluster.p2p.connection_pool_size
		cluster.consensus.* cluster.resharding_enabled
		tls.* debugger.* inference.* gpu.* feature_flags.*
		audit.dir audit.rotation audit.max_log_files audit.trust_forwarded_headers audit.log_api`) {
		out = append(out, key{path: path, class: noEffect, kind: any_})
	}
	// Pando reports to nobody in the first place.
	return append(out, key{path: "telemetry_disabled", class: moot, kind: flag})
}

// lookup finds the row of a path: its own, or that of a tree it belongs to.
func lookup(table []key, path string) (key, bool) {
	for _, k := range table {
		if k.path == path {
			return k, true
		}
		if tree, ok := strings.CutSuffix(k.path, ".*"); ok && (path == tree || strings.HasPrefix(path, tree+".")) {
			return k, true
		}
	}
	return key{}, false
}

// isSection says whether known keys lie below path.
func isSection(table []key, path string) bool {
	return slices.ContainsFunc(table, func(k key) bool { return strings.HasPrefix(k.path, path+".") })
}

func isEmpty(v any) bool {
	m, ok := v.(map[string]any)
	return v == nil || v == "" || ok && len(m) == 0
}

// suggest names the nearest known key when it is near.
func suggest(table []key, path string) string {
	best, at := "", math.MaxInt
	for _, k := range table {
		if d := distance(path, strings.TrimSuffix(k.path, ".*")); d < at {
			best, at = strings.TrimSuffix(k.path, ".*"), d
		}
	}
	if at > 2+len(path)/8 {
		return ""
	}
	return "; did you mean " + best + "?"
}

// distance is the number of single-byte edits between a and b (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// convert brings a value of a file, of the environment (always a string) or of a flag into the form of its kind.
// Null stays nil, except for a port, where it means Off.
func (k kind) convert(v any) (any, error) {
	if v == nil {
		if k == port {
			return Off, nil
		}
		return nil, nil
	}
	switch k {
	case text:
		return toText(v)
	case flag:
		return toFlag(v)
	case number:
		return toNumber(v)
	case port:
		if s, ok := v.(string); ok && (s == "null" || s == "") {
			return Off, nil
		}
		n, err := toNumber(v)
		if err == nil && n == Off {
			return nil, fmt.Errorf("%d is not a port; null switches it off", n)
		}
		return n, err
	case list:
		return toList(v)
	case bare:
		return toBare(v)
	}
	return v, nil
}

// toBare reads what the environment says as a file would be read.
func toBare(v any) (out any, err error) {
	s, ok := v.(string)
	if !ok {
		return v, nil
	}
	if err := yaml.Unmarshal([]byte(s), &out); err != nil || out == nil {
		return nil, fmt.Errorf("must be a number, true, false or a text, not %q", s)
	}
	return out, nil
}

func toText(v any) (any, error) {
	switch v := v.(type) {
	case string:
		return v, nil
	case bool, int, int64, uint64, float64:
		return fmt.Sprint(v), nil // a key such as 12345 is written without quotes
	}
	return nil, fmt.Errorf("must be a text, not %T", v)
}

func toFlag(v any) (any, error) {
	switch v := v.(type) {
	case bool:
		return v, nil
	case string:
		switch strings.ToLower(v) {
		case "true", "1", "yes", "on":
			return true, nil
		case "false", "0", "no", "off", "":
			return false, nil
		}
	}
	return nil, fmt.Errorf("must be true or false, not %v", v)
}

func toNumber(v any) (any, error) {
	switch v := v.(type) {
	case int:
		return v, nil
	case int64:
		return int(v), nil
	case uint64:
		if v <= math.MaxInt {
			return int(v), nil
		}
	case float64:
		if v == math.Trunc(v) && math.Abs(v) < 1<<53 {
			return int(v), nil
		}
	case string:
		if n, err := strconv.Atoi(strings.TrimSpace(v)); err == nil {
			return n, nil
		}
	}
	return nil, fmt.Errorf("must be a whole number, not %v", v)
}

func toList(v any) (any, error) {
	switch v := v.(type) {
	case []string:
		return v, nil
	case []any:
		out := []string{}
		for _, e := range v {
			s, ok := e.(string)
			if !ok {
				return nil, fmt.Errorf("must be a list of texts, but has %v", e)
			}
			out = append(out, s)
		}
		return out, nil
	case string:
		return splitList(v), nil
	}
	return nil, fmt.Errorf("must be a list of texts, not %T", v)
}

// splitList reads a,b as well as the YAML form [a, b], as the environment has only texts.
func splitList(s string) []string {
	if strings.HasPrefix(strings.TrimSpace(s), "[") {
		var l []string
		if yaml.Unmarshal([]byte(s), &l) == nil {
			return l
		}
	}
	out := []string{}
	for e := range strings.SplitSeq(s, ",") {
		if e = strings.TrimSpace(e); e != "" {
			out = append(out, e)
		}
	}
	return out
}
