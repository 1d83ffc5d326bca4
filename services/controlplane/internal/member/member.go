// Package member embeds one etcd member behind the process's internal port.
//
// Members know each other by stable names, unix://<id>.pando.internal:6335, that are stored in etcd's membership and never
// change. The address book says where a name listens now. Nothing of etcd listens on a socket of its own:
//
//	incoming  internal port ─► Handler() ─► etcd's peer handler
//	outgoing  etcd ─► file <name> in the working directory ─► agent ─► Dial(book[name]) ─► internal port of the other
//
// Therefore one process holds one running member: Run changes the working directory, New adds to NO_PROXY. It decides
// nothing about placement and stores nothing but etcd's data, the member's identity and the book.
package member

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/etcdhttp"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
	"go.etcd.io/etcd/server/v3/storage/wal"
	"golang.org/x/sync/errgroup"

	"github.com/pandodb/pando/services/controlplane/internal/book"
	"github.com/pandodb/pando/services/internal/topology"
)

// Config of a member. The zero value of every field but Dir is usable.
type Config struct {
	Dir string // member folder; made absolute by New
	ID  string // stable id; "" = the folder's own, or a random one in a new folder
	// Addr is announced in the book as this process's address, with Peer; "" announces nothing.
	Addr string
	Peer topology.PeerID // data-plane peer in this process; 0 = none
	// Voters are the ids of all members of a new cluster, this one included; empty = this one alone.
	// Only a folder without data looks at it.
	Voters []string
	// Token tells apart clusters that were formed from the same names; it enters the cluster id. Only for a new cluster.
	Token string

	Tick     time.Duration // raft heartbeat; 0 = 50 ms
	Election time.Duration // 0 = 500 ms
	Quota    int64         // bytes of etcd's database; 0 = 1 GiB
	// UnsafeNoFsync gives up durability; tests only.
	UnsafeNoFsync bool

	Dial   Dialer       // nil = TCP
	Logger *slog.Logger // nil = discard
}

// Dialer reaches the internal port of another process, ready for etcd's HTTP.
type Dialer = func(ctx context.Context, addr string) (net.Conn, error)

// ErrFolderInUse reports that another process works in the member folder.
var ErrFolderInUse = errors.New("member: the folder is in use by another process")

// ErrStopped reports that etcd ended by itself, for example because this member was removed.
var ErrStopped = errors.New("member: etcd has stopped")

// Member is one embedded etcd member. Make it with New; it works while Run runs.
type Member struct {
	cfg      Config
	id       string
	name     string
	handler  atomic.Pointer[http.Handler]
	server   atomic.Pointer[embed.Etcd]
	client   atomic.Pointer[clientv3.Client]
	ready    chan struct{}
	cell     *cell
	agents   *agents
	bookFile string

	mu struct {
		sync.Mutex
		book book.Book
	}
}

// New reads or makes the member's identity and book. It starts nothing. It adds the member names to NO_PROXY, which
// must happen before the first use of a proxy setting in the process.
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
	m := &Member{cfg: cfg, id: id.ID, name: book.NameOf(id.ID), ready: make(chan struct{}), cell: newCell()}
	m.bookFile = filepath.Join(cfg.Dir, "book.json")
	if m.mu.book, err = loadBook(m.bookFile); err != nil {
		return nil, err
	}
	if cfg.Addr != "" {
		announced := m.mu.book.Announce(m.name, m.self(), uint64(time.Now().UnixMicro()))
		if err := m.persist(announced); err != nil {
			return nil, err
		}
		m.mu.book = announced
	}
	m.agents = &agents{dir: filepath.Join(cfg.Dir, "run"), dial: m.dialName, log: cfg.Logger}
	if err := exemptFromProxy(); err != nil {
		return nil, err
	}
	return m, nil
}

// exemptFromProxy keeps etcd from asking a proxy for the member names, which only we can resolve.
func exemptFromProxy() error {
	for _, key := range []string{"NO_PROXY", "no_proxy"} {
		old := os.Getenv(key)
		if strings.Contains(old, book.Domain) || (key == "no_proxy" && old == "") {
			continue
		}
		if err := os.Setenv(key, strings.TrimPrefix(old+","+book.Domain, ",")); err != nil {
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
		d := net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 2 * time.Second, Count: 3}}
		c.Dial = func(ctx context.Context, addr string) (net.Conn, error) { return d.DialContext(ctx, "tcp", addr) }
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

// Raft tells the indexes of committed and of applied entries; 0, 0 before Ready.
func (m *Member) Raft() (committed, applied uint64) {
	if e := m.server.Load(); e != nil {
		return e.Server.CommittedIndex(), e.Server.AppliedIndex()
	}
	return 0, 0
}

// Info is one member of the cluster as this one knows it.
type Info struct {
	ID      uint64
	Name    string // stable id of its process
	Learner bool
}

// Members lists the members by id; none before Ready.
func (m *Member) Members() []Info {
	e := m.server.Load()
	if e == nil {
		return nil
	}
	var out []Info
	for _, other := range e.Server.Cluster().Members() { // sorted by id
		out = append(out, Info{ID: uint64(other.ID), Name: nameFrom(other.PeerURLs, other.Name), Learner: other.IsLearner})
	}
	return out
}

// nameFrom reads the stable id out of a member's URL, which is known before the member has published its name.
func nameFrom(urls []string, name string) string {
	if len(urls) == 0 {
		return name
	}
	id, found := strings.CutSuffix(strings.TrimPrefix(urls[0], "unix://"), book.NameOf(""))
	if !found {
		return name
	}
	return id
}

// MemberID is etcd's id of this member, a hash of its stable name; 0 before Ready.
func (m *Member) MemberID() uint64 {
	if e := m.server.Load(); e != nil {
		return uint64(e.Server.MemberID())
	}
	return 0
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

// Book answers the present address book.
func (m *Member) Book() book.Book {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.mu.book
}

// Learn merges a rumour into the book, persists what changed and names it. If somebody holds a newer entry of
// this very process (an earlier life under another address), it is outbid.
func (m *Member) Learn(other book.Book) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	merged, changed := m.mu.book.Merge(other)
	if m.cfg.Addr != "" {
		merged = merged.Announce(m.name, m.self(), uint64(time.Now().UnixMicro()))
	}
	if len(changed) == 0 {
		return nil, nil
	}
	if err := m.persist(merged); err != nil {
		return nil, err
	}
	m.mu.book = merged
	for _, name := range changed {
		if name != m.name {
			if err := m.agents.add(name); err != nil {
				return nil, fmt.Errorf("member: agent of %s: %w", name, err)
			}
		}
	}
	return changed, nil
}

// persist writes the book if it differs from the one that was read or written last. On a full disk the rumours must do until
// there is room again.
func (m *Member) persist(b book.Book) error {
	if maps.Equal(b.Entries(), m.mu.book.Entries()) {
		return nil
	}
	err := saveBook(m.bookFile, b)
	if errors.Is(err, syscall.ENOSPC) {
		m.cfg.Logger.Warn("the address book is not saved: the disk is full", "file", m.bookFile)
		return nil
	}
	if err != nil {
		return fmt.Errorf("member: persist the address book: %w", err)
	}
	return nil
}

func (m *Member) self() book.Address {
	return book.Address{Addr: m.cfg.Addr, Peer: m.cfg.Peer, Member: m.id}
}

func (m *Member) dialName(ctx context.Context, name string) (net.Conn, error) {
	a, ok := m.Book().Lookup(name)
	if !ok {
		return nil, fmt.Errorf("member: no address of %s", name)
	}
	return m.cfg.Dial(ctx, a.Addr)
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
	for _, name := range m.remotes() {
		if err := m.agents.add(name); err != nil {
			return fmt.Errorf("member: agent of %s: %w", name, err)
		}
	}
	e, err := m.startEtcd()
	if err != nil {
		return fmt.Errorf("member: start etcd in %s: %w", m.cfg.Dir, err)
	}
	defer e.Close()
	if err := m.allocateAhead(); err != nil {
		m.cfg.Logger.Warn("no room is set aside for the records: a full disk may end the process", "error", err)
	}
	handler := etcdhttp.NewPeerHandler(e.GetLogger(), e.Server)
	m.handler.Store(&handler)
	defer m.handler.Store(nil)
	client := v3client.New(e.Server)
	defer client.Close()
	defer m.cell.set(Office{})

	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return m.watchOffice(ctx, e, client) })
	group.Go(func() error {
		select {
		case <-ctx.Done():
			return nil
		case <-e.Server.ReadyNotify():
		}
		m.server.Store(e)
		m.client.Store(client)
		close(m.ready)
		select {
		case <-e.Server.StopNotify():
			return ErrStopped
		case <-ctx.Done():
			return nil
		}
	})
	return group.Wait()
}

// remotes are the names of all known members but this one.
func (m *Member) remotes() []string {
	var out []string
	seen := map[string]bool{m.name: true}
	names := m.Book().Names()
	for _, id := range m.cfg.Voters {
		names = append(names, book.NameOf(id))
	}
	for _, name := range names {
		if !seen[name] {
			seen[name] = true
			out = append(out, name)
		}
	}
	return out
}

func (m *Member) startEtcd() (*embed.Etcd, error) {
	wal.SegmentSizeBytes = 16 << 20 // two segments are preallocated
	cfg := embed.NewConfig()
	self := url.URL{Scheme: "unix", Host: m.name}
	cfg.Name, cfg.Dir = m.id, filepath.Join(m.cfg.Dir, "etcd")
	cfg.ListenPeerUrls, cfg.ListenClientUrls, cfg.AdvertiseClientUrls = nil, nil, nil
	cfg.AdvertisePeerUrls = []url.URL{self}
	voters := m.cfg.Voters
	if len(voters) == 0 {
		voters = []string{m.id}
	}
	initial := make([]string, 0, len(voters))
	for _, id := range voters {
		initial = append(initial, id+"=unix://"+book.NameOf(id))
	}
	cfg.InitialCluster, cfg.InitialClusterToken = strings.Join(initial, ","), m.cfg.Token
	cfg.TickMs, cfg.ElectionMs = uint(m.cfg.Tick.Milliseconds()), uint(m.cfg.Election.Milliseconds())
	cfg.SnapshotCount, cfg.SnapshotCatchUpEntries = 5000, 2000
	cfg.AutoCompactionMode, cfg.AutoCompactionRetention = "revision", "10000"
	cfg.QuotaBackendBytes, cfg.MaxRequestBytes = m.cfg.Quota, 4<<20
	cfg.MaxLearners = 2
	cfg.BootstrapDefragThresholdMegabytes = 64 // free pages that make a start defragment
	cfg.UnsafeNoFsync = m.cfg.UnsafeNoFsync
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(newZap(m.cfg.Logger, m.cfg.Dir, os.Exit))
	return embed.StartEtcd(cfg)
}

// officePoll bounds how late the loss of a leader is seen when no new one is elected, which etcd does not announce.
const officePoll = 100 * time.Millisecond

// watchOffice publishes who leads. etcd's Leader is ahead of its Term, which moves when the first entry of the term is applied; so
// this member takes office only after a linearizable read, which waits for that entry.
func (m *Member) watchOffice(ctx context.Context, e *embed.Etcd, client *clientv3.Client) error {
	tick := time.NewTicker(officePoll)
	defer tick.Stop()
	self, proven := uint64(e.Server.MemberID()), false
	for {
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
	const probe = "probe"
	_, err := client.Txn(ctx).If(clientv3.Compare(clientv3.CreateRevision(probe), "=", -1)).Then(clientv3.OpPut(probe, "")).Commit()
	return err == nil
}
