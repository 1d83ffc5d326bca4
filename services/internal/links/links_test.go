package links

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"

	placementv1 "github.com/pandodb/pando/gen/go/pando/placement/v1"
	"github.com/pandodb/pando/services/internal/book"
	"github.com/pandodb/pando/services/internal/fault"
	"github.com/pandodb/pando/services/internal/rpc"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/vfs"
	"github.com/pandodb/pando/services/internal/vfs/memfs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// limit bounds what gossip is given.
const limit = 10 * time.Second

// process is one that listens on loopback and gossips; its disk outlives it.
type process struct {
	*Links
	t        *testing.T
	identity *rpc.Cluster
	addr     string
	fs       vfs.FS
	server   *grpc.Server
	end      context.CancelFunc
	done     chan error
}

func open(t *testing.T, id string, peer topology.PeerID, cluster, addr string, fsys vfs.FS, hints ...string) *process {
	t.Helper()
	p := &process{t: t, fs: fsys, done: make(chan error, 2)}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	p.addr = l.Addr().String()
	p.identity = rpc.NewCluster("secret", rpc.CallRules{Anybody: []string{placementv1.Book_Exchange_FullMethodName}})
	p.identity.SetID(cluster)
	p.identity.SetSelf(id)
	p.Links, err = New(Config{Self: id, Peer: peer, Addr: p.addr, FS: fsys, File: "/book.json", Hints: hints, Dial: rpc.DialOptions{Cluster: p.identity},
		Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if p.server, err = rpc.NewServer(rpc.Options{Cluster: p.identity}); err != nil {
		t.Fatal(err)
	}
	p.Register(p.server)
	go func() { p.done <- p.server.Serve(l) }()
	if err := p.Announce(false); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.close)
	return p
}

// gossip runs the process's loops.
func (p *process) gossip(former ...string) *process {
	ctx, end := context.WithCancel(context.Background())
	p.end = end
	go func() { p.done <- p.Run(ctx, former) }()
	return p
}

// close ends the process as kill -9 does.
func (p *process) close() {
	if p.server == nil {
		return
	}
	p.server.Stop()
	if err := <-p.done; err != nil && !errors.Is(err, grpc.ErrServerStopped) { // a short test may end before it serves
		p.t.Error(err)
	}
	if p.end != nil {
		p.end()
		if err := <-p.done; err != nil {
			p.t.Error(err)
		}
	}
	if err := p.Close(); err != nil {
		p.t.Error(err)
	}
	p.server = nil
}

// until waits for the book to be so.
func (p *process) until(what string, is func(book.Book) bool) {
	p.t.Helper()
	over := time.After(limit)
	for {
		b, changed := p.Changed()
		if is(b) {
			return
		}
		select {
		case <-changed:
		case <-over:
			p.t.Fatalf("not in %v: %s; the book of %s has %v", limit, what, p.cfg.Self, b.Entries())
		}
	}
}

func (p *process) knows(others ...*process) {
	p.t.Helper()
	p.until("the addresses of all are known", func(b book.Book) bool {
		return !slices.ContainsFunc(others, func(o *process) bool { a, _ := b.Lookup(o.cfg.Self); return a.Addr != o.addr })
	})
}

func three(t *testing.T) []*process {
	t.Helper()
	first := open(t, "1", 1, "c", "127.0.0.1:0", memfs.New()).gossip()
	all := []*process{first}
	for i := 2; i <= 3; i++ {
		all = append(all, open(t, fmt.Sprint(i), topology.PeerID(i), "c", "127.0.0.1:0", memfs.New(), first.addr).gossip())
	}
	for _, p := range all {
		p.knows(all...)
	}
	return all
}

// TestGossip: whoever knows one of the others soon knows all, and what one says of itself gets to everybody.
func TestGossip(t *testing.T) {
	all := three(t)
	if err := all[2].Announce(true); err != nil {
		t.Fatal(err)
	}
	for _, p := range all {
		p.until("3 has a member", func(b book.Book) bool { a, _ := b.Lookup("3"); return a.Member })
	}
	if got := all[1].ProcessOf(3); got != "3" {
		t.Errorf("peer 3 is hosted by %q", got)
	}
	if got := all[1].ProcessOf(77); got != "77" {
		t.Errorf("an unknown peer is hosted by %q", got)
	}
}

// TestMove: a process that comes back elsewhere with its book finds the others and is found, and a connection to it follows.
func TestMove(t *testing.T) {
	all := three(t)
	link, err := all[0].To("3")
	if err != nil {
		t.Fatal(err)
	}
	disk := all[2].fs
	all[2].close()
	back := open(t, "3", 3, "c", "127.0.0.1:0", disk).gossip()
	for _, p := range all[:2] {
		p.knows(back)
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	for {
		_, err := placementv1.NewBookClient(link).Exchange(ctx, &placementv1.ExchangeRequest{}, grpc.WaitForReady(true))
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			t.Fatal(err)
		}
	}
}

// TestAllMove: all come back elsewhere at once; one hint is enough.
func TestAllMove(t *testing.T) {
	all := three(t)
	for _, p := range all {
		p.close()
	}
	first := open(t, "1", 1, "c", "127.0.0.1:0", all[0].fs).gossip()
	second := open(t, "2", 2, "c", "127.0.0.1:0", all[1].fs).gossip(first.addr) // where it joined, once
	third := open(t, "3", 3, "c", "127.0.0.1:0", all[2].fs, first.addr).gossip()
	for _, p := range []*process{first, second, third} {
		p.knows(first, second, third)
	}
}

// TestExpel: who was taken out hears of it, is forgotten by the others, and says no more.
func TestExpel(t *testing.T) {
	all := three(t)
	if _, err := all[1].To("3"); err != nil {
		t.Fatal(err)
	}
	if err := all[0].Expel("3"); err != nil {
		t.Fatal(err)
	}
	if err := all[0].Expel("1"); err == nil {
		t.Error("a process took itself out")
	}
	select {
	case <-all[2].Expelled():
	case <-time.After(limit):
		t.Fatal("3 has not heard that it was taken out")
	}
	all[1].until("3 is out", func(b book.Book) bool { a, _ := b.Lookup("3"); return a.Removed })
	if _, err := all[1].To("3"); !errors.Is(err, ErrNoAddress) {
		t.Errorf("a connection to it: %v", err)
	}
	if err := all[2].Announce(true); err != nil {
		t.Error(err)
	}
	if a, _ := all[2].Book().Lookup("3"); !a.Removed {
		t.Errorf("3 says of itself %+v", a)
	}
}

// TestComesBack: a process that joins anew outbids what is said of its removal.
func TestComesBack(t *testing.T) {
	p := open(t, "1", 1, "c", "127.0.0.1:0", memfs.New())
	if err := p.Reset(); err != nil {
		t.Fatal(err)
	}
	p.mu.present = false
	if err := p.Learn(book.New(map[string]book.Address{"1": {Generation: 1 << 60, Peer: 1, Removed: true}})); err != nil {
		t.Fatal(err)
	}
	if err := p.Announce(false); err != nil {
		t.Fatal(err)
	}
	if a, _ := p.Book().Lookup("1"); a.Addr != p.addr || a.Generation != 1<<60+1 {
		t.Errorf("it says %+v", a)
	}
	// A rumour of an earlier life elsewhere is outbid as well.
	if err := p.Learn(book.New(map[string]book.Address{"1": {Generation: 1 << 61, Addr: "elsewhere:1"}})); err != nil {
		t.Fatal(err)
	}
	if a, _ := p.Book().Lookup("1"); a.Addr != p.addr || a.Generation != 1<<61+1 {
		t.Errorf("after a rumour: %+v", a)
	}
}

// TestOtherCluster: a hint into another cluster ends a process that is alone in its own, and only such a one; books never mix.
func TestOtherCluster(t *testing.T) {
	stranger := open(t, "9", 9, "other", "127.0.0.1:0", memfs.New()).gossip()
	alone := open(t, "1", 1, "c", "127.0.0.1:0", memfs.New(), stranger.addr)
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	if err := alone.Run(ctx, nil); !errors.Is(err, ErrOtherCluster) || fault.ReasonOf(err) != fault.WrongCluster {
		t.Errorf("alone: %v", err)
	}
	friend := open(t, "2", 2, "c", "127.0.0.1:0", memfs.New()).gossip()
	if err := alone.Learn(friend.Book()); err != nil {
		t.Fatal(err)
	}
	alone.gossip()
	friend.knows(alone)
	former := open(t, "3", 3, "c", "127.0.0.1:0", memfs.New())
	short, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := former.Run(short, []string{stranger.addr}); err != nil {
		t.Errorf("an address of a former life has another tenant: %v", err)
	}
	for _, p := range []*process{alone, friend, former} {
		if _, mixed := p.Book().Lookup("9"); mixed {
			t.Errorf("%s knows a process of another cluster", p.cfg.Self)
		}
	}
}

// TestBookIsKept: over kill -9, and a full disk; a damaged file is named.
func TestBookIsKept(t *testing.T) {
	disk := memfs.New()
	p := open(t, "1", 1, "c", "127.0.0.1:0", disk)
	if err := p.Learn(book.New(map[string]book.Address{"2": {Addr: "h:1", Generation: 7, Peer: 2, Member: true}})); err != nil {
		t.Fatal(err)
	}
	want := p.Book().Digest()
	crashed := disk.CrashClone(rand.New(rand.NewPCG(1, 2)))
	again, err := New(Config{Self: "1", FS: crashed, File: "/book.json", Log: slog.New(slog.DiscardHandler)})
	if err != nil || again.Book().Digest() != want {
		t.Fatalf("after a crash: %v, %v", again, err)
	}
	for _, text := range []string{"{", `{"format":2}`, `[]`} {
		if err := vfs.WriteFileAtomic(crashed, "/book.json", []byte(text)); err != nil {
			t.Fatal(err)
		}
		if _, err := New(Config{Self: "1", FS: crashed, File: "/book.json"}); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "/book.json") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// TestExchangeRefuses: what no process makes is not learned, and so not passed on.
func TestExchangeRefuses(t *testing.T) {
	p := open(t, "1", 1, "c", "127.0.0.1:0", memfs.New())
	server := bookServer{l: p.Links}
	for name, e := range map[string]*placementv1.BookEntry{
		"no id":                {Address: "h:1", Generation: 1},
		"no address":           {Id: "2", Generation: 1},
		"removed with address": {Id: "2", Address: "h:1", Generation: 1, Removed: true},
		"no generation":        {Id: "2", Address: "h:1"},
		"nothing can outbid":   {Id: "2", Address: "h:1", Generation: 1 << 63},
		"peer id":              {Id: "2", Address: "h:1", Generation: 1, PeerId: 1 << 53},
	} {
		if _, err := server.Exchange(t.Context(), &placementv1.ExchangeRequest{Entries: []*placementv1.BookEntry{e}}); fault.ReasonOf(err) != fault.InvalidArgument {
			t.Errorf("%s: %v", name, err)
		}
	}
	if len(p.Book().Entries()) != 1 {
		t.Errorf("learned %v", p.Book().Entries())
	}
}

// TestFailing: who cannot be connected to is named until that works again.
func TestFailing(t *testing.T) {
	all := three(t)
	gone := all[2].addr
	all[2].close()
	over := time.After(limit)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	await := func(what string, is func(Failure, bool) bool) {
		t.Helper()
		for f, failing := all[0].Failing()["3"]; !is(f, failing); f, failing = all[0].Failing()["3"] {
			select {
			case <-tick.C:
			case <-over:
				t.Fatalf("not in %v: %s", limit, what)
			}
		}
	}
	await("3 is failing", func(f Failure, failing bool) bool {
		return failing && f.Addr == gone && f.Count >= 2 && f.Err != nil && !f.At.IsZero()
	})
	open(t, "3", 3, "c", "127.0.0.1:0", all[2].fs).gossip()
	await("3 is fine again", func(_ Failure, failing bool) bool { return !failing })
}

// FuzzParse: whatever the kept book holds, reading ends, and what is read is written alike.
func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"format":1,"processes":{"1":{"addr":"h:1","generation":7,"peer":1,"member":true},"2":{"generation":9,"removed":true}}}`))
	f.Add([]byte(`{"format":1}`))
	f.Add([]byte(`{`))
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := parse(data)
		if err != nil {
			return
		}
		again, err := encode(b)
		if err != nil {
			t.Fatal(err)
		}
		if c, err := parse(again); err != nil || c.Digest() != b.Digest() {
			t.Fatalf("%v: %v became %v", err, b.Entries(), c.Entries())
		}
	})
}

// plane stands in for the services of a control plane.
type plane struct {
	placementv1.UnimplementedSessionServer
	placementv1.UnimplementedCatalogServer
	name string
	mu   sync.Mutex
	fail error
	hang bool // calls wait for their end
	seen chan string
	stop func()
}

func (p *plane) call(ctx context.Context, what string) error {
	p.mu.Lock()
	fail, hang := p.fail, p.hang
	p.mu.Unlock()
	if hang {
		p.seen <- what
		<-ctx.Done()
		return ctx.Err()
	}
	return fail
}

func (p *plane) set(fail error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fail = fail
}

func (p *plane) Register(ctx context.Context, _ *placementv1.RegisterRequest) (*placementv1.RegisterResponse, error) {
	return &placementv1.RegisterResponse{ClusterId: p.name}, p.call(ctx, "register")
}

func (p *plane) DeleteCollection(ctx context.Context, _ *placementv1.DeleteCollectionRequest) (*placementv1.DeleteCollectionResponse, error) {
	return &placementv1.DeleteCollectionResponse{Revision: 1}, p.call(ctx, "delete")
}

func (p *plane) Status(ctx context.Context, _ *placementv1.StatusRequest) (*placementv1.StatusResponse, error) {
	return &placementv1.StatusResponse{ClusterId: p.name}, p.call(ctx, "status")
}

func (p *plane) WatchPlacement(_ *placementv1.WatchPlacementRequest, s grpc.ServerStreamingServer[placementv1.WatchPlacementResponse]) error {
	if err := p.call(s.Context(), "watch"); err != nil {
		return err
	}
	return s.Send(&placementv1.WatchPlacementResponse{})
}

// councils is a process, its own control plane, and those of two others.
func councils(t *testing.T) (c *Control, own *plane, others map[string]*plane) {
	t.Helper()
	others = map[string]*plane{}
	fsys := memfs.New()
	self := open(t, "1", 1, "c", "127.0.0.1:0", fsys)
	for _, id := range []string{"2", "3"} {
		others[id] = &plane{name: id, seen: make(chan string, 10)}
		identity := rpc.NewCluster("secret", rpc.CallRules{})
		identity.SetID("c")
		identity.SetSelf(id)
		server, err := rpc.NewServer(rpc.Options{Cluster: identity})
		if err != nil {
			t.Fatal(err)
		}
		placementv1.RegisterSessionServer(server, others[id])
		placementv1.RegisterCatalogServer(server, others[id])
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- server.Serve(l) }()
		others[id].stop = sync.OnceFunc(func() {
			server.Stop()
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
		t.Cleanup(others[id].stop)
		if err := self.Learn(book.New(map[string]book.Address{id: {Addr: l.Addr().String(), Generation: 1, Member: true}})); err != nil {
			t.Fatal(err)
		}
	}
	own = &plane{name: "1"}
	local, err := rpc.NewLocal(rpc.Options{})
	if err != nil {
		t.Fatal(err)
	}
	placementv1.RegisterSessionServer(local, own)
	placementv1.RegisterCatalogServer(local, own)
	return NewControl(self.Links, local), own, others
}

// TestControl: the own member first, another one while that is not usable or has no leader.
func TestControl(t *testing.T) {
	noLeader := fault.New(fault.NoLeader, "no leader")
	c, own, others := councils(t)
	session, catalog := placementv1.NewSessionClient(c), placementv1.NewCatalogClient(c)
	register := func() (string, error) {
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		defer cancel()
		r, err := session.Register(ctx, &placementv1.RegisterRequest{})
		return r.GetClusterId(), err
	}
	first, err := register()
	if err != nil || first == "1" {
		t.Fatalf("without an own member %q answered, %v", first, err)
	}
	second := map[string]string{"2": "3", "3": "2"}[first]
	others[first].set(noLeader)
	if who, err := register(); err != nil || who != second {
		t.Errorf("with %s leaderless %q answered, %v", first, who, err)
	}
	others[first].set(nil)
	if who, err := register(); err != nil || who != second {
		t.Errorf("just after %s failed, %q answered, %v", first, who, err)
	}
	c.Usable(true)
	if who, err := register(); err != nil || who != "1" {
		t.Errorf("with an own member %q answered, %v", who, err)
	}
	own.set(noLeader)
	if who, err := register(); err != nil || who == "1" {
		t.Errorf("with an own member without a leader %q answered, %v", who, err)
	}
	own.set(fault.New(fault.InvalidArgument, "refused"))
	if _, err := register(); fault.ReasonOf(err) != fault.InvalidArgument {
		t.Errorf("an answer was not taken for one: %v", err)
	}
	// Nobody has a leader: there is patience, and then the reason.
	own.set(noLeader)
	others["2"].set(noLeader)
	others["3"].set(noLeader)
	began := time.Now()
	if _, err := catalog.DeleteCollection(t.Context(), &placementv1.DeleteCollectionRequest{}); fault.ReasonOf(err) != fault.NoLeader {
		t.Errorf("without any leader: %v", err)
	}
	if d := time.Since(began); d < patience || d > 2*patience {
		t.Errorf("it took %v", d)
	}
	// Whoever asks how things are does not wait.
	own.set(nil)
	c.Usable(false)
	began = time.Now()
	if r, err := catalog.Status(t.Context(), &placementv1.StatusRequest{}); err != nil || r.GetClusterId() != "1" || time.Since(began) > time.Second {
		t.Errorf("status: %v, %v after %v", r, err, time.Since(began))
	}
}

// TestControlLosesAMember: a change under way on a connection that breaks is not made again elsewhere, and its outcome is said to
// be unknown; what may be repeated is repeated.
func TestControlLosesAMember(t *testing.T) {
	for _, what := range []string{"delete", "register"} {
		c, _, others := councils(t)
		for _, o := range others {
			o.hang = true
		}
		answer := make(chan error, 1)
		go func() {
			var err error
			if what == "delete" {
				_, err = placementv1.NewCatalogClient(c).DeleteCollection(t.Context(), &placementv1.DeleteCollectionRequest{})
			} else {
				_, err = placementv1.NewSessionClient(c).Register(t.Context(), &placementv1.RegisterRequest{})
			}
			answer <- err
		}()
		lost, left := "2", "3"
		select {
		case <-others["2"].seen:
		case <-others["3"].seen:
			lost, left = "3", "2"
		}
		others[left].mu.Lock()
		others[left].hang = false
		others[left].mu.Unlock()
		others[lost].stop()
		err := <-answer
		if what == "delete" && fault.ReasonOf(err) != fault.WriteOutcomeUnknown || what == "register" && err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestControlHungMember: a member that does not answer is given up in time for a session to go on at another one.
func TestControlHungMember(t *testing.T) {
	c, _, others := councils(t)
	others["2"].hang, others["3"].hang = true, true
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	go func() {
		hung := others["3"]
		select {
		case <-others["2"].seen:
		case <-others["3"].seen:
			hung = others["2"]
		}
		hung.mu.Lock() // the other one answers
		hung.hang = false
		hung.mu.Unlock()
	}()
	began := time.Now()
	if _, err := placementv1.NewSessionClient(c).Register(ctx, &placementv1.RegisterRequest{}); err != nil || time.Since(began) > 2*repeatWithin {
		t.Errorf("%v after %v", err, time.Since(began))
	}
}

// TestControlStream: a stream that ends lets the next one go to another member.
func TestControlStream(t *testing.T) {
	c, _, _ := councils(t)
	asked := func() string {
		session := placementv1.NewSessionClient(c)
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		defer cancel()
		r, err := session.Register(ctx, &placementv1.RegisterRequest{})
		if err != nil {
			t.Fatal(err)
		}
		return r.GetClusterId()
	}
	at := asked()
	stream, err := placementv1.NewSessionClient(c).WatchPlacement(t.Context(), &placementv1.WatchPlacementRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = stream.Recv()
	}
	if next := asked(); next == at {
		t.Errorf("%s is asked again although its stream has ended", at)
	}
}
