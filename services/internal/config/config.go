// Package config reads the settings of a process: one struct, one loader, one table of keys (keys.go).
//
// Key and environment names are those of Qdrant, so that an existing deployment carries over; a few are Pando's own.
// Later layers win:
//
//	defaults < config/config < config/$RUN_MODE < config/local < --config-path < QDRANT__… < PANDO__… < flags
//
// Every key is either supported, accepted without effect (one warning each), or refused where ignoring it would be
// unsafe. A key that is none of these is an error in a file or in PANDO__…, and a warning in QDRANT__….
package config

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/v2"
)

// Config is the result. It is plain data; the zero value is not valid, Load fills all of it.
type Config struct {
	LogLevel string  `koanf:"log_level"`
	Logger   Logger  `koanf:"logger"`
	Storage  Storage `koanf:"storage"`
	Service  Service `koanf:"service"`
	Cluster  Cluster `koanf:"cluster"`
}

// Logger says how records look.
type Logger struct {
	Format string `koanf:"format"` // "text" or "json"
}

// Storage is where and how data lies.
type Storage struct {
	Path        string      `koanf:"storage_path"`
	Collection  Collection  `koanf:"collection"`
	Performance Performance `koanf:"performance"`
	// MaxCollections is how many there may be; 0: any number.
	MaxCollections int `koanf:"max_collections"`
}

// Performance bounds work in the background.
type Performance struct {
	OptimizerCPUs     int `koanf:"optimizer_cpu_budget"`           // 0: by the number of processors; below 0: all but so many
	OptimizerWrites   int `koanf:"optimizer_write_mb_per_sec"`     // while clients write; 0: no bound
	ScrubHours        int `koanf:"scrub_interval_hours"`           // 0: never
	ScrubReads        int `koanf:"scrub_read_mb_per_sec"`          // 0: no bound
	IncomingTransfers int `koanf:"incoming_shard_transfers_limit"` // to one peer, begun by the cluster itself; 0: no bound
	OutgoingTransfers int `koanf:"outgoing_shard_transfers_limit"` // from one peer; 0: no bound
}

// Collection holds the defaults for new collections. 0 means: not set, the built-in rule applies.
type Collection struct {
	ReplicationFactor      int `koanf:"replication_factor"`
	WriteConsistencyFactor int `koanf:"write_consistency_factor"`
	ShardNumber            int `koanf:"shard_number"`
	ShardNumberPerNode     int `koanf:"shard_number_per_node"`
	// Members are what else new collections have that do not say: members of the body of
	// PUT /collections/{name}.
	Members map[string]any `koanf:"-"`
}

// Service is the public side.
type Service struct {
	Host             string `koanf:"host"`
	HTTPPort         int    `koanf:"http_port"`
	GRPCPort         int    `koanf:"grpc_port"` // Off when null
	MaxRequestSizeMB int    `koanf:"max_request_size_mb"`
	KeepAliveSec     int    `koanf:"http_keep_alive_timeout_sec"`
	EnableCORS       bool   `koanf:"enable_cors"`
	APIKey           string `koanf:"api_key"`
	AltAPIKey        string `koanf:"alt_api_key"`
	ReadOnlyAPIKey   string `koanf:"read_only_api_key"`
}

// Off is the value of a port that is switched off (null in a file).
const Off = -1

// KeepAlive is how long an idle HTTP connection stays open.
func (s Service) KeepAlive() time.Duration { return time.Duration(s.KeepAliveSec) * time.Second }

// Cluster is the internal side.
type Cluster struct {
	Enabled          bool     `koanf:"enabled"`
	PeerID           uint64   `koanf:"peer_id"` // 0: the peer draws one and keeps it
	URI              string   `koanf:"uri"`
	Bootstrap        []string `koanf:"bootstrap"`
	Zone             string   `koanf:"zone"`
	Secret           string   `koanf:"secret"`
	InsecureInternal bool     `koanf:"insecure_internal"`
	P2P              P2P      `koanf:"p2p"`

	Consensus Consensus `koanf:"consensus"`
}

// Consensus is how this process comes into the control plane.
type Consensus struct {
	BootstrapTimeoutSec int `koanf:"bootstrap_timeout_sec"`
}

// BootstrapTimeout is how long a process tries to join.
func (c Cluster) BootstrapTimeout() time.Duration {
	return time.Duration(c.Consensus.BootstrapTimeoutSec) * time.Second
}

// P2P is the internal port.
type P2P struct {
	Port int `koanf:"port"`
}

// URIHost and URIPort are the host name and the port in cluster.uri, empty when there is none.
func (c Cluster) URIHost() string { return parsed(c.URI).Hostname() }

// URIPort: see URIHost.
func (c Cluster) URIPort() string { return parsed(c.URI).Port() }

func parsed(uri string) *url.URL {
	u, err := url.Parse(uri)
	if err != nil {
		return &url.URL{}
	}
	return u
}

// Hints are the addresses, as host:port, of cluster.bootstrap without cluster.uri itself: a process that is told to join
// itself is the first one.
func (c Cluster) Hints() []string {
	var out []string
	for _, b := range c.Bootstrap {
		if at := hostPort(b); at != hostPort(c.URI) && !slices.Contains(out, at) {
			out = append(out, at)
		}
	}
	return out
}

func hostPort(uri string) string {
	u := parsed(uri)
	host, port := strings.ToLower(u.Hostname()), cmp.Or(u.Port(), strconv.Itoa(DefaultP2PPort))
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return host + ":" + port
}

// DefaultP2PPort is the internal port unless cluster.p2p.port says otherwise.
const DefaultP2PPort = 6335

// Sources are the places that Load reads. All of it is passed in, so that a test needs neither folder nor environment.
type Sources struct {
	FS         fs.FS             // the working directory; nil: none of its files
	Env        []string          // like os.Environ()
	ConfigPath string            // --config-path, opened by ReadFile
	ReadFile   ReadFile          // nil: ConfigPath is looked up in FS
	Flags      map[string]any    // key -> value, for flags that were given
	FlagNames  map[string]string // key -> --name, for messages
}

// ReadFile is os.ReadFile.
type ReadFile func(string) ([]byte, error)

// Loaded is a Config and how it came about.
type Loaded struct {
	Config
	// Warnings are one sentence each, in the order of the keys.
	Warnings []string
	// Reinit is the flag --reinit. It is no key: a setting would leave the cluster anew at each start.
	Reinit bool
	values map[string]setting // every key that has a value, defaults included
}

type setting struct {
	value  any
	source string
}

// Load reads all layers. Its error lists everything that is wrong, not only the first thing.
func Load(src Sources) (*Loaded, error) {
	l := &Loaded{values: map[string]setting{}}
	table := keys()
	for _, k := range table {
		if k.class == supported {
			l.values[k.path] = setting{k.def, "default"}
		}
	}
	layers, err := readLayers(src)
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, layer := range layers {
		errs = append(errs, l.apply(table, layer)...)
	}
	l.warnWithoutEffect(table)
	errs = append(errs, l.refusals(table)...)
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	if err := l.decode(table); err != nil {
		return nil, err
	}
	if err := l.Validate(); err != nil {
		return nil, err
	}
	return l, nil
}

// apply puts one layer over what is there.
func (l *Loaded) apply(table []key, layer layer) []error {
	var errs []error
	for _, path := range sortedKeys(layer.values) {
		raw := layer.values[path]
		source := layer.source(path)
		k, known := lookup(table, path)
		if !known {
			if isSection(table, path) && isEmpty(raw) {
				continue
			}
			msg := fmt.Sprintf("unknown key %s (%s)%s", path, source, suggest(table, path))
			if layer.lenient {
				l.Warnings = append(l.Warnings, msg)
				continue
			}
			errs = append(errs, errors.New(msg))
			continue
		}
		v, err := k.kind.convert(raw)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s (%s): %w", path, source, err))
			continue
		}
		if v == nil { // null: as if it were not there
			continue
		}
		l.values[path] = setting{v, source}
	}
	return errs
}

func (l *Loaded) warnWithoutEffect(table []key) {
	for _, path := range sortedKeys(l.values) {
		if k, _ := lookup(table, path); k.class == noEffect {
			l.Warnings = append(l.Warnings, fmt.Sprintf("%s (%s) is accepted, but has no effect in this version", path, l.values[path].source))
		}
	}
}

func (l *Loaded) refusals(table []key) []error {
	var errs []error
	for _, path := range sortedKeys(l.values) {
		k, _ := lookup(table, path)
		if s := l.values[path]; k.class == refused && s.value != k.def {
			errs = append(errs, fmt.Errorf("%s = %v (%s) is not built yet; refusing to start, because %s", path, s.value, s.source, k.doc))
		}
	}
	return errs
}

// decode fills the struct from the supported keys.
func (l *Loaded) decode(table []key) error {
	flat := map[string]any{}
	for _, k := range table {
		if k.class == supported {
			flat[k.path] = l.values[k.path].value
		}
	}
	k := koanf.New(".")
	if err := k.Load(confmap.Provider(flat, "."), nil); err != nil {
		return err
	}
	if err := k.Unmarshal("", &l.Config); err != nil {
		return err
	}
	members := koanf.New(".")
	for _, path := range sortedKeys(l.values) {
		if k, _ := lookup(table, path); k.class == member {
			below := strings.TrimPrefix(path, strings.TrimSuffix(k.path, ".*"))
			if err := members.Set(k.doc+below, l.values[path].value); err != nil {
				return fmt.Errorf("%s (%s): %w", path, l.values[path].source, err)
			}
		}
	}
	if all := members.Raw(); len(all) > 0 {
		l.Config.Storage.Collection.Members = all
	}
	return nil
}

// Validate checks limits and what keys say together. Load has called it; whoever changes a Config calls it again.
func (c *Config) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	inRange := func(key string, v, lo, hi int) {
		if v < lo || v > hi {
			bad("%s = %d: must be from %d to %d", key, v, lo, hi)
		}
	}
	if _, err := parseLevel(c.LogLevel); err != nil {
		bad("log_level = %q: must be trace, debug, info, warn, error or off", c.LogLevel)
	}
	if !slices.Contains([]string{"text", "json"}, c.Logger.Format) {
		bad("logger.format = %q: must be text or json", c.Logger.Format)
	}
	if c.Storage.Path == "" {
		bad("storage.storage_path must not be empty")
	}
	inRange("service.http_port", c.Service.HTTPPort, 0, 65535)
	inRange("service.grpc_port", c.Service.GRPCPort, Off, 65535)
	inRange("cluster.p2p.port", c.Cluster.P2P.Port, 0, 65535)
	inRange("cluster.consensus.bootstrap_timeout_sec", c.Cluster.Consensus.BootstrapTimeoutSec, 1, 3600)
	inRange("service.max_request_size_mb", c.Service.MaxRequestSizeMB, 1, 4096)
	inRange("service.http_keep_alive_timeout_sec", c.Service.KeepAliveSec, 0, 3600)
	inRange("storage.collection.replication_factor", c.Storage.Collection.ReplicationFactor, 0, 255)
	inRange("storage.collection.write_consistency_factor", c.Storage.Collection.WriteConsistencyFactor, 0, 255)
	inRange("storage.collection.shard_number", c.Storage.Collection.ShardNumber, 0, 10_000)
	inRange("storage.collection.shard_number_per_node", c.Storage.Collection.ShardNumberPerNode, 0, 10_000)
	inRange("storage.max_collections", c.Storage.MaxCollections, 0, math.MaxInt)
	inRange("storage.performance.optimizer_cpu_budget", c.Storage.Performance.OptimizerCPUs, -1024, 1024)
	inRange("storage.performance.optimizer_write_mb_per_sec", c.Storage.Performance.OptimizerWrites, 0, 100_000)
	inRange("storage.performance.scrub_interval_hours", c.Storage.Performance.ScrubHours, 0, 24*365)
	inRange("storage.performance.scrub_read_mb_per_sec", c.Storage.Performance.ScrubReads, 0, 100_000)
	inRange("storage.performance.incoming_shard_transfers_limit", c.Storage.Performance.IncomingTransfers, 0, 1000)
	inRange("storage.performance.outgoing_shard_transfers_limit", c.Storage.Performance.OutgoingTransfers, 0, 1000)
	if c.Cluster.PeerID >= 1<<53 {
		bad("cluster.peer_id = %d: must be below 2^53 (clients read it as a JSON number)", c.Cluster.PeerID)
	}
	c.checkPorts(bad)
	c.checkAddresses(bad)
	return errors.Join(errs...)
}

func (c *Config) checkPorts(bad func(string, ...any)) {
	ports := []struct {
		key  string
		port int
	}{{"service.http_port", c.Service.HTTPPort}, {"service.grpc_port", c.Service.GRPCPort}, {"cluster.p2p.port", c.Cluster.P2P.Port}}
	for i, a := range ports {
		for _, b := range ports[i+1:] {
			if a.port == b.port && a.port > 0 {
				bad("%s and %s are both %d: each needs its own port", a.key, b.key, a.port)
			}
		}
	}
}

func (c *Config) checkAddresses(bad func(string, ...any)) {
	check := func(key, s string) {
		u, err := url.Parse(s)
		if err != nil || u.Scheme != "http" || u.Hostname() == "" || (u.Path != "" && u.Path != "/") {
			bad("%s = %q: must look like http://host:6335", key, s)
		}
	}
	if c.Cluster.URI != "" {
		check("cluster.uri", c.Cluster.URI)
	}
	for _, b := range c.Cluster.Bootstrap {
		check("cluster.bootstrap", b)
	}
	if !c.Cluster.Enabled && len(c.Cluster.Bootstrap) > 0 {
		bad("cluster.bootstrap is set, but cluster.enabled is false")
	}
	if len(c.Cluster.Bootstrap) > 0 && c.Cluster.URI == "" {
		bad("cluster.bootstrap needs cluster.uri as well: the address under which the others reach this process (--uri http://host:6335)")
	}
}
