// Package member embeds one etcd member behind the process's internal port.
//
// Members know each other by stable names, unix://<process>.pando.internal:6335, that are stored in etcd's membership and
// never change. Where a process listens now is known to whoever dials it. Nothing of etcd listens on a socket of its own:
//
//	incoming  internal port ─► Handler() ─► etcd's peer handler
//	outgoing  etcd ─► file <name> in the working directory ─► agent ─► Dial(process) ─► internal port of the other
//
// Therefore one process holds one running member: Run changes the working directory, New adds to NO_PROXY. A Member is one
// life: a process whose member was removed and added again makes another one. It decides nothing about placement or about
// who is a member, and stores nothing but etcd's data and the member's identity.
package member

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/etcdhttp"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
	"go.etcd.io/etcd/server/v3/storage/wal"
	"golang.org/x/sync/errgroup"
)

// Config of a member. The zero value of every field but Dir and Dial is usable.
type Config struct {
	Dir string // member folder; made absolute by New
	// ID is the stable id of the process; "" = the folder's own, or a random one in a new folder.
	ID string
	// Members are the processes of all members, this one included, of the cluster that a folder without data starts in;
	// empty = this one alone.
	Members []string
	// Join says that this cluster exists already, and that this member was added to it; otherwise Members found it.
	Join bool
	// Token tells apart clusters that were founded from the same names. Only for a new cluster.
	Token string

	Tick     time.Duration // raft heartbeat; 0 = 50 ms
	Election time.Duration // 0 = 500 ms
	Quota    int64         // bytes of etcd's database; 0 = 1 GiB
	// UnsafeNoFsync gives up durability; tests only.
	UnsafeNoFsync bool

	Dial   Dialer
	Logger *slog.Logger // nil = discard
}

// Dialer reaches the internal port of another process, ready for etcd's HTTP.
type Dialer = func(ctx context.Context, process string) (net.Conn, error)

// ErrFolderInUse reports that another process works in the member folder.
var ErrFolderInUse = errors.New("member: the folder is in use by another process")

// ErrStopped reports that etcd ended by itself, for example because this member was removed.
var ErrStopped = errors.New("member: etcd has stopped")

// Member is one embedded etcd member. Make it with New; it works while Run runs, once.
type Member struct {
	cfg     Config
	id      string
	name    string
	handler atomic.Pointer[http.Handler]
	server  atomic.Pointer[embed.Etcd]
	etcdID  atomic.Uint64
	client  atomic.Pointer[clientv3.Client]
	ready   chan struct{}
	cell    *cell
	agents  *agents
}

// domain is the suffix of every stable name. Names are never resolved by DNS.
const domain = ".pando.internal"

// nameOf gives the stable name of a process: what etcd stores in its membership.
func nameOf(process string) string { return process + domain + ":6335" }

// New reads or makes the member's identity. It starts nothing. It adds the member names to NO_PROXY, which must happen
// before the first use of a proxy setting in the process.
func New(cfg Config) (*Member, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Join(cfg.Dir, "run"), 0o700); err != nil {
		return nil, fmt.Errorf("member: folder %s: %w", cfg.Dir, err)
	}
	id, err := loadIdentity(cfg.Dir, cfg.ID)
	if err != nil {
		return nil, err
	}
	m := &Member{cfg: cfg, id: id.ID, name: nameOf(id.ID), ready: make(chan struct{}), cell: newCell()}
	m.agents = &agents{dir: filepath.Join(cfg.Dir, "run"), dial: cfg.Dial, log: cfg.Logger}
	if err := exemptFromProxy(); err != nil {
		return nil, err
	}
	return m, nil
}

// exemptFromProxy keeps etcd from asking a proxy for the member names, which only we can resolve.
func exemptFromProxy() error {
	for _, key := range []string{"NO_PROXY", "no_proxy"} {
		old := os.Getenv(key)
		if strings.Contains(old, domain) || (key == "no_proxy" && old == "") {
			continue
		}
		if err := os.Setenv(key, strings.TrimPrefix(old+","+domain, ",")); err != nil {
			return err
		}
	}
	return nil
}

func (c Config) withDefaults() (Config, error) {
	if c.Dir == "" {
		return c, errors.New("member: no folder given")
	}
	var err error
	if c.Dir, err = filepath.Abs(c.Dir); err != nil {
		return c, err
	}
	if c.Tick == 0 {
		c.Tick = 50 * time.Millisecond
	}
	if c.Election == 0 {
		c.Election = 10 * c.Tick
	}
	if c.Quota == 0 {
		c.Quota = 1 << 30
	}
	if c.Token == "" {
		c.Token = "pando"
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Dial == nil {
		c.Dial = func(_ context.Context, process string) (net.Conn, error) {
			return nil, fmt.Errorf("member: no way to process %s", process)
		}
	}
	return c, nil
}

// ID is the stable id that the folder holds.
func (m *Member) ID() string { return m.id }

// Handler serves the raft and lease traffic of the other members. Until etcd runs it answers 503.
func (m *Member) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := m.handler.Load()
		if h == nil {
			http.Error(w, "the control plane member is not running", http.StatusServiceUnavailable)
			return
		}
		(*h).ServeHTTP(w, r)
	})
}

// Ready is closed when the member has joined and caught up. Client and ClusterID are valid from then on.
func (m *Member) Ready() <-chan struct{} { return m.ready }

// Client talks to the embedded server without a socket. nil before Ready. It ends with Run.
func (m *Member) Client() *clientv3.Client { return m.client.Load() }

// ClusterID was fixed when the cluster was formed; 0 before Ready.
func (m *Member) ClusterID() uint64 {
	if e := m.server.Load(); e != nil {
		return uint64(e.Server.Cluster().ID())
	}
	return 0
}

// Members lists the members by id; none before Ready.
func (m *Member) Members() []Info {
	e := m.server.Load()
	if e == nil {
		return nil
	}
	var out []Info
	for _, other := range e.Server.Cluster().Members() { // sorted by id
		out = append(out, Info{ID: uint64(other.ID), Process: processFrom(other.PeerURLs, other.Name), Learner: other.IsLearner, Started: other.Name != ""})
	}
	return out
}

// Position is etcd's id of this member, 0 before it has been read from the folder or found in the cluster, and the raft index
// that it has applied, 0 before Ready. The id stays known after the end.
func (m *Member) Position() (id, applied uint64) {
	if e := m.server.Load(); e != nil {
		applied = e.Server.AppliedIndex()
	}
	return m.etcdID.Load(), applied
}

// Leader answers who leads now, and a channel that is closed when that changes.
func (m *Member) Leader() (Office, <-chan struct{}) { return m.cell.get() }

// Defragment gives free pages of etcd's database back to the file system. It blocks reads and writes meanwhile.
func (m *Member) Defragment() error {
	e := m.server.Load()
	if e == nil {
		return ErrStopped
	}
	return e.Server.Backend().Defrag()
}

// Run starts etcd and blocks until ctx ends (nil) or etcd does (ErrStopped). It changes the working directory of the
// process to the member's run folder: all other paths of the process must be absolute by then.
func (m *Member) Run(ctx context.Context) error {
	unlock, err := lockFolder(m.cfg.Dir)
	if err != nil {
		return err
	}
	defer unlock()
	if err := os.Chdir(m.agents.dir); err != nil {
		return fmt.Errorf("member: %w", err)
	}
	// The agents outlive etcd, which hands its leadership over while it closes.
	remote, hangUp := context.WithCancel(context.WithoutCancel(ctx))
	var links errgroup.Group
	defer func() { hangUp(); _ = links.Wait() }() // what an agent reports after hangUp is its own end
	m.agents.start(remote, &links)
	if err := m.meet(m.cfg.Members); err != nil {
		return err
	}
	e, err := m.startEtcd()
	if err != nil {
		return fmt.Errorf("member: start etcd in %s: %w", m.cfg.Dir, err)
	}
	defer shut(e)
	m.etcdID.Store(uint64(e.Server.MemberID()))
	if err := m.allocateAhead(); err != nil {
		m.cfg.Logger.Warn("no room is set aside for the records: a full disk may end the process", "error", err)
	}
	handler := etcdhttp.NewPeerHandler(e.GetLogger(), e.Server)
	m.handler.Store(&handler)
	defer m.handler.Store(nil)
	client := v3client.New(e.Server)
	defer client.Close()
	defer m.end()

	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return m.watchOffice(ctx, e, client) })
	group.Go(func() error {
		select {
		case <-e.Server.StopNotify():
			return ErrStopped
		case <-ctx.Done():
			return nil
		}
	})
	group.Go(func() error {
		if m.catchUp(ctx, client) {
			m.server.Store(e)
			m.client.Store(client)
			close(m.ready)
		}
		return nil
	})
	return group.Wait()
}

// catchUp waits for a read that sees all that was written before. etcd's own word for it, ReadyNotify, comes after it has
// told the others this member's name, for which it takes another 6 s where a leader was lost meanwhile.
func (m *Member) catchUp(ctx context.Context, client *clientv3.Client) bool {
	for ctx.Err() == nil {
		try, cancel := context.WithTimeout(ctx, m.cfg.Election)
		_, err := client.Get(try, probe)
		cancel()
		if err == nil {
			return true
		}
		select {
		case <-ctx.Done():
		case <-time.After(m.cfg.Tick):
		}
	}
	return false
}

// handOver is how long a leader that ends waits for another member to take over; an election takes as long.
const handOver = time.Second

// shut ends etcd. Left alone it would wait 6 s for a successor where all others have just ended, too.
func shut(e *embed.Etcd) {
	enough := time.AfterFunc(handOver, e.Server.HardStop)
	defer enough.Stop()
	e.Close()
}

// end takes back what others see of a running member.
func (m *Member) end() {
	m.client.Store(nil)
	m.server.Store(nil)
	m.cell.set(Office{})
}

// meet opens the agents of other processes. A process that etcd hears of before its agent is open is dialled again soon.
func (m *Member) meet(processes []string) error {
	for _, p := range processes {
		if p == m.id {
			continue
		}
		if err := m.agents.add(p); err != nil {
			return fmt.Errorf("member: agent of %s: %w", p, err)
		}
	}
	return nil
}

func (m *Member) startEtcd() (*embed.Etcd, error) {
	wal.SegmentSizeBytes = 16 << 20 // two segments are preallocated
	cfg := embed.NewConfig()
	self := url.URL{Scheme: "unix", Host: m.name}
	cfg.Name, cfg.Dir = m.id, filepath.Join(m.cfg.Dir, "etcd")
	cfg.ListenPeerUrls, cfg.ListenClientUrls, cfg.AdvertiseClientUrls = nil, nil, nil
	cfg.AdvertisePeerUrls = []url.URL{self}
	members := m.cfg.Members
	if len(members) == 0 {
		members = []string{m.id}
	}
	initial := make([]string, 0, len(members))
	for _, id := range members {
		initial = append(initial, id+"="+urlOf(id))
	}
	cfg.InitialCluster, cfg.InitialClusterToken = strings.Join(initial, ","), m.cfg.Token
	if m.cfg.Join {
		cfg.ClusterState = embed.ClusterStateFlagExisting
	}
	// Who may become a member, and when, is decided by package seats, which knows more than etcd's own check: that one refuses
	// for 5 s after each start.
	cfg.StrictReconfigCheck = false
	cfg.TickMs, cfg.ElectionMs = uint(m.cfg.Tick.Milliseconds()), uint(m.cfg.Election.Milliseconds())
	cfg.SnapshotCount, cfg.SnapshotCatchUpEntries = 5000, 2000
	cfg.AutoCompactionMode, cfg.AutoCompactionRetention = "revision", "10000"
	cfg.QuotaBackendBytes, cfg.MaxRequestBytes = m.cfg.Quota, 4<<20
	cfg.MaxLearners = MaxLearners
	cfg.BootstrapDefragThresholdMegabytes = 64 // free pages that make a start defragment
	cfg.UnsafeNoFsync = m.cfg.UnsafeNoFsync
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(newZap(m.cfg.Logger, m.cfg.Dir, os.Exit))
	return embed.StartEtcd(cfg)
}

// probe is a key that is never written.
const probe = "probe"

// officePoll bounds how late the loss of a leader is seen when no new one is elected, which etcd does not announce.
const officePoll = 100 * time.Millisecond

// watchOffice publishes who leads. etcd's Leader is ahead of its Term, which moves when the first entry of the term is applied; so
// this member takes office only after a linearizable read, which waits for that entry.
func (m *Member) watchOffice(ctx context.Context, e *embed.Etcd, client *clientv3.Client) error {
	tick := time.NewTicker(officePoll)
	defer tick.Stop()
	self, proven := uint64(e.Server.MemberID()), false
	for {
		if err := m.meet(processesOf(e)); err != nil {
			return err
		}
		changed := e.Server.LeaderChangedNotify()
		leader := uint64(e.Server.Leader())
		if leader != self {
			proven = false
		} else if !proven {
			proven = m.prove(ctx, client)
			leader = uint64(e.Server.Leader())
		}
		m.cell.set(Office{Leader: leader, Term: e.Server.Term(), Mine: proven && leader == self})
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
			proven = false
		case <-tick.C:
		}
	}
}

// prove sends a transaction through the log that cannot hold, so it leaves nothing behind and makes no revision.
func (m *Member) prove(ctx context.Context, client *clientv3.Client) bool {
	ctx, cancel := context.WithTimeout(ctx, m.cfg.Election)
	defer cancel()
	_, err := client.Txn(ctx).If(clientv3.Compare(clientv3.CreateRevision(probe), "=", -1)).Then(clientv3.OpPut(probe, "")).Commit()
	return err == nil
}
