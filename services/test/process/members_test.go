package process

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	placementv1 "github.com/pandodb/pando/gen/go/pando/placement/v1"
	"github.com/pandodb/pando/services/test/child"
)

// limit bounds what a cluster is given to get anywhere; what it takes is logged.
const limit = 20 * time.Second

// cluster is a handful of peers that come and go.
type cluster struct {
	*testing.T
	homes []child.Home
	peers []*child.Process // nil while it does not run
	rises int
}

func newCluster(t *testing.T, size int) *cluster {
	c := &cluster{T: t, homes: make([]child.Home, size), peers: make([]*child.Process, size)}
	for i := range c.homes {
		c.homes[i] = child.Home{Binary: binary, Dir: t.TempDir(), Clustered: true}
	}
	t.Cleanup(func() {
		for i, p := range c.peers {
			if p != nil {
				if err := p.Kill(); err != nil {
					t.Error(err)
				}
			}
			if t.Failed() {
				t.Logf("last words of %d:\n%s", i, c.homes[i].Tail(25))
			}
		}
	})
	return c
}

// start runs a peer; it is told where others are if it is given any.
func (c *cluster) start(i int, others ...int) *child.Process {
	c.Helper()
	h := c.homes[i]
	for _, o := range others {
		h.Bootstrap = append(h.Bootstrap, c.peers[o].Internal)
	}
	p, err := h.Start(c.Context())
	if err != nil {
		c.Fatalf("peer %d: %v", i, err)
	}
	c.peers[i] = p
	c.Logf("peer %d ready after %v", i, p.Ready.Round(time.Millisecond))
	return p
}

// grow starts the first n peers: one that founds, and others that join it all at once.
func (c *cluster) grow(n int) {
	c.Helper()
	c.start(0)
	c.together(1, n, func(i int) { c.start(i, 0) })
	c.voters(n, n-(n+1)%2)
}

func (c *cluster) together(from, to int, do func(i int)) {
	var group sync.WaitGroup
	for i := from; i < to; i++ {
		group.Go(func() { do(i) })
	}
	group.Wait()
	if c.Failed() {
		c.FailNow()
	}
}

func (c *cluster) kill(is ...int) {
	c.Helper()
	for _, i := range is {
		if err := c.peers[i].Kill(); err != nil {
			c.Fatal(err)
		}
		c.peers[i] = nil
	}
}

func (c *cluster) stop(is ...int) {
	c.Helper()
	var group sync.WaitGroup
	for _, i := range is {
		group.Go(func() {
			if err := c.peers[i].Stop(); err != nil {
				c.Errorf("peer %d: %v", i, err)
			}
			c.peers[i] = nil
		})
	}
	group.Wait()
}

// view is GET /cluster.
type view struct {
	PeerID uint64 `json:"peer_id"`
	Peers  map[string]struct {
		URI string `json:"uri"`
	} `json:"peers"`
	Raft struct {
		Term   uint64  `json:"term"`
		Commit uint64  `json:"commit"`
		Leader *uint64 `json:"leader"`
		Voter  bool    `json:"is_voter"`
	} `json:"raft_info"`
	Thread struct {
		Status string `json:"consensus_thread_status"`
	} `json:"consensus_thread_status"`
	Failures map[string]any `json:"message_send_failures"`
	Members  []struct {
		Peer      uint64 `json:"peer_id"`
		Voter     bool   `json:"voter"`
		Leader    bool   `json:"leader"`
		Reachable bool   `json:"reachable"`
	} `json:"control_members"`
	Even string `json:"even_voters"`
}

func (v view) voters() (n int) {
	for _, m := range v.Members {
		if m.Voter {
			n++
		}
	}
	return n
}

// look is what a peer says of the cluster.
func (c *cluster) look(i int) (view, error) {
	var out struct{ Result view }
	ctx, cancel := context.WithTimeout(c.Context(), 5*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+c.peers[i].REST+"/cluster", nil)
	if err != nil {
		return out.Result, err
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return out.Result, err
	}
	defer resp.Body.Close()
	return out.Result, json.NewDecoder(resp.Body).Decode(&out)
}

// until waits until every running peer sees the cluster so, and tells how long that took.
func (c *cluster) until(what string, seen func(i int, v view) bool) time.Duration {
	c.Helper()
	began := time.Now()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for i := 0; i < len(c.peers); {
		if c.peers[i] == nil {
			i++
			continue
		}
		v, err := c.look(i)
		if err == nil && seen(i, v) {
			i++
			continue
		}
		if time.Since(began) > limit {
			c.Fatalf("not in %v: %s; peer %d sees %+v, %v", limit, what, i, v, err)
		}
		<-tick.C
	}
	took := time.Since(began)
	c.Logf("%s: %v", what, took.Round(time.Millisecond))
	return took
}

// voters waits for so many peers, members that vote, and one leader that all agree on and that hears from each member.
func (c *cluster) voters(peers, voters int) time.Duration {
	c.Helper()
	leader := uint64(0)
	return c.until(fmt.Sprintf("%d peers, %d voters", peers, voters), func(_ int, v view) bool {
		ok := len(v.Peers) == peers && v.voters() == voters && v.Raft.Leader != nil && v.Even == "" && v.Thread.Status == "working" &&
			(leader == 0 || leader == *v.Raft.Leader)
		if !ok {
			return false
		}
		leader = *v.Raft.Leader
		for _, m := range v.Members {
			if leader == v.PeerID && !m.Reachable {
				return false
			}
		}
		return true
	})
}

// leader is the peer that leads, as peer i sees it.
func (c *cluster) leader(by int) int {
	c.Helper()
	v, err := c.look(by)
	if err != nil || v.Raft.Leader == nil {
		c.Fatalf("no leader: %+v, %v", v, err)
	}
	for i, p := range c.peers {
		if p == nil {
			continue
		}
		if o, err := c.look(i); err == nil && o.PeerID == *v.Raft.Leader {
			return i
		}
	}
	c.Fatalf("the leader %d is none of us", *v.Raft.Leader)
	return -1
}

// base is the collection that records are about.
const base = "base"

// record changes the control plane's records through a peer, without any shard being touched. It is tried again while there is no
// leader, as a client does.
func (c *cluster) record(i int, name string) {
	c.Helper()
	began := time.Now()
	for {
		code, out, err := c.try(i, name)
		if err == nil && code == http.StatusOK {
			return
		}
		if time.Since(began) > limit || err == nil && code < 500 && code != http.StatusRequestTimeout {
			c.Fatalf("record %s at peer %d: %d %v %v", name, i, code, out, err)
		}
	}
}

func (c *cluster) try(i int, name string) (int, map[string]any, error) {
	ctx, cancel := context.WithTimeout(c.Context(), 5*time.Second)
	defer cancel()
	return peer{c.T, c.peers[i]}.call(ctx, http.MethodPost, "/collections/aliases?timeout=2", "",
		fmt.Sprintf(`{"actions":[{"create_alias":{"collection_name":"%s","alias_name":"%s"}}]}`, base, name))
}

// records waits until every running peer knows them.
func (c *cluster) records(names ...string) {
	c.Helper()
	c.until(fmt.Sprintf("records %v", names), func(i int, _ view) bool {
		_, out, err := peer{c.T, c.peers[i]}.call(c.Context(), http.MethodGet, "/aliases", "", "")
		text := fmt.Sprint(out["result"])
		return err == nil && !slices.ContainsFunc(names, func(n string) bool { return !strings.Contains(text, "alias_name:"+n+" ") })
	})
}

// shard makes a collection of one shard and tells who holds it.
func (c *cluster) shard(name string) int {
	c.Helper()
	peer{c.T, c.peers[0]}.ok(http.MethodPut, "/collections/"+name, `{"vectors":{"size":4,"distance":"Dot"},"shard_number":1}`)
	c.until("the collection is known", func(i int, _ view) bool {
		code, _, err := peer{c.T, c.peers[i]}.call(c.Context(), http.MethodGet, "/collections/"+name, "", "")
		return err == nil && code == http.StatusOK
	})
	for i, p := range c.peers {
		if p == nil {
			continue
		}
		_, out, err := peer{c.T, c.peers[i]}.call(c.Context(), http.MethodGet, "/collections/"+name+"/cluster", "", "")
		if err == nil && strings.Contains(fmt.Sprint(out), "local_shards:[map") {
			return i
		}
	}
	c.Fatal("nobody holds the shard")
	return -1
}

// file reads a small JSON file of a peer.
func (c *cluster) file(i int, name string) map[string]any {
	c.Helper()
	data, err := os.ReadFile(filepath.Join(c.homes[i].Dir, "storage", name))
	if err != nil {
		c.Fatal(err)
	}
	out := map[string]any{}
	if err := json.Unmarshal(data, &out); err != nil {
		c.Fatal(err)
	}
	return out
}

// internal calls the internal port of a peer as another process of its cluster.
func (c *cluster) internal(i int, do func(context.Context, *grpc.ClientConn) error) error {
	conn, err := grpc.NewClient(c.peers[i].Internal, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.Context(), limit)
	defer cancel()
	ctx = metadata.AppendToOutgoingContext(ctx, "pando-cluster-id", fmt.Sprint(c.file(i, "membership.json")["cluster"]))
	return errors.Join(do(ctx, conn), conn.Close())
}

// TestFivePeers: joiners become learners and voters by themselves, an odd number at each rest; the leader is killed and
// comes back elsewhere.
func TestFivePeers(t *testing.T) {
	c := newCluster(t, 6)
	c.start(0)
	c.shard(base)
	c.start(1, 0)
	c.voters(2, 1)
	c.start(2, 1) // asks one that has no vote
	c.voters(3, 3)
	c.record(2, "three")
	c.together(3, 6, func(i int) { c.start(i, i-3) })
	c.voters(6, 5)
	c.record(5, "six")
	c.records("three", "six")

	leader := c.leader(0)
	address := c.peers[leader].Internal
	c.kill(leader)
	began := time.Now()
	by := (leader + 1) % 6
	c.record(by, "after")
	t.Logf("kill -9 of the leader until a record was changed: %v", time.Since(began).Round(time.Millisecond))
	c.until("another leader, and the dead one is said to be", func(i int, v view) bool {
		gone := slices.ContainsFunc(slices.Collect(maps.Keys(v.Failures)), func(uri string) bool { return uri == "http://"+address+"/" })
		return v.Raft.Leader != nil && gone
	})
	p := c.start(leader) // no hint: the others have not moved
	t.Logf("the killed one is back after %v", p.Ready.Round(time.Millisecond))
	c.voters(6, 5)
	c.until("the new address is known", func(_ int, v view) bool {
		return len(v.Failures) == 0 && slices.ContainsFunc(slices.Collect(maps.Values(v.Peers)), func(p struct {
			URI string `json:"uri"`
		}) bool {
			return p.URI == "http://"+c.peers[leader].Internal+"/"
		})
	})
	c.records("three", "six", "after")
	began = time.Now()
	c.stop(0, 1, 2, 3, 4, 5)
	took := time.Since(began)
	t.Logf("SIGTERM of all until the last has ended: %v", took.Round(time.Millisecond))
	if took > 5*time.Second {
		t.Error("the leader waits for a successor among those that have ended")
	}
}

// TestMoves: peers come back under other addresses, one or all of them, also while no quorum is up, after SIGTERM and after
// kill -9.
func TestMoves(t *testing.T) {
	c := newCluster(t, 3)
	c.grow(3)
	c.shard(base)
	c.record(0, "r0")
	all := []int{0, 1, 2}

	for name, end := range map[string]func(...int){"kill -9": c.kill, "SIGTERM": c.stop} {
		end(all...)
		c.rise(name+" of all, all on new ports, one hint", all, func(i int) []string { return []string{c.hint()} })
	}

	end := c.peers[2].Internal
	c.kill(0, 1)
	c.rise("two move at once, the third is up, no hint", []int{0, 1}, nil)
	if c.peers[2].Internal != end {
		t.Fatal("the third one has moved, too")
	}

	first, second := port(t, c.peers[0]), port(t, c.peers[1])
	c.kill(0, 1)
	c.homes[0].Internal, c.homes[1].Internal = second, first
	c.rise("two swap their addresses, no hint", []int{0, 1}, nil)
	c.homes[0].Internal, c.homes[1].Internal = 0, 0

	c.kill(all...)
	c.rise("two of three on new ports, the third stays down, one hint", []int{0, 1}, func(i int) []string { return []string{c.hint()} })
	c.records("r0", "r1", "r2", "r3", "r4", "r5")
}

// TestLostData: a process that has lost the data of its member, or its whole disk, does not come back as the member that it was,
// which would forget what it has voted for; it becomes another one.
func TestLostData(t *testing.T) {
	c := newCluster(t, 3)
	c.homes[2].Env = []string{"PANDO__CLUSTER__PEER_ID=42"}
	c.start(0)
	c.shard(base) // on the first peer: one that is gone with a shard is not replaced
	c.together(1, 3, func(i int) { c.start(i, 0) })
	c.voters(3, 3)
	for n, lost := range []string{"storage/control/etcd", "storage"} {
		c.kill(2)
		if err := os.RemoveAll(filepath.Join(c.homes[2].Dir, lost)); err != nil {
			t.Fatal(err)
		}
		c.record(1, fmt.Sprint("r", n))
		c.start(2, 0)
		await(t, "it has a member again", func() bool {
			_, err := os.Stat(filepath.Join(c.homes[2].Dir, "storage", "control", "etcd", "member", "wal"))
			return err == nil
		})
		c.voters(3, 3)
		c.kill(0, 1)
		c.homes[0].Internal, c.homes[1].Internal = 0, 0
		c.rise("with what the third one remembers, "+lost+" lost before", []int{0, 1}, nil)
		c.records(fmt.Sprint("r", n))
	}
}

// TestURILater: a first peer that advertised nothing is given a URI by a later start, and others can join it then; without
// --bootstrap they still belong after that.
func TestURILater(t *testing.T) {
	c := newCluster(t, 2)
	c.homes[0].Clustered = false
	c.start(0)
	c.stop(0)
	c.homes[0].Clustered = true
	c.start(0)
	c.voters(1, 1)
	c.start(1, 0)
	c.voters(2, 1)
	c.until("both are known by what they advertise now", func(_ int, v view) bool {
		uris := fmt.Sprint(v.Peers)
		return strings.Contains(uris, "http://"+c.peers[0].Internal+"/") && strings.Contains(uris, "http://"+c.peers[1].Internal+"/")
	})
	c.kill(1)
	c.start(1)
	c.voters(2, 1)
}

// hint is an address that the first peer takes at its next start.
func (c *cluster) hint() string {
	return fmt.Sprintf("127.0.0.1:%d", c.homes[0].Internal)
}

// rise starts peers at once, at new ports unless they are given some, and waits for a change of the records.
func (c *cluster) rise(what string, which []int, hints func(i int) []string) {
	c.Helper()
	fixed := c.homes[0].Internal
	if hints != nil {
		free, err := child.FreePorts(1)
		if err != nil {
			c.Fatal(err)
		}
		c.homes[0].Internal = free[0]
	}
	began := time.Now()
	var group sync.WaitGroup
	for _, i := range which {
		h := c.homes[i]
		h.Until = "/livez"
		if hints != nil && i != 0 {
			h.Bootstrap = hints(i)
		}
		group.Go(func() {
			p, err := h.Start(c.Context())
			if err != nil {
				c.Errorf("peer %d: %v", i, err)
				return
			}
			c.peers[i] = p
		})
	}
	group.Wait()
	c.homes[0].Internal = fixed
	if c.Failed() {
		c.FailNow()
	}
	c.rises++
	c.record(which[len(which)-1], fmt.Sprintf("r%d", c.rises))
	c.Logf("%s: a record was changed %v after the start", what, time.Since(began).Round(time.Millisecond))
}

func port(t *testing.T, p *child.Process) int {
	t.Helper()
	_, text, _ := strings.Cut(p.Internal, ":")
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

var chaos = flag.Int("chaos", 8, "kills and starts of TestKillAnywhere")

// TestKillAnywhere: peers are killed at random moments of their joining, their promotion and everybody's growth, all of them
// now and then; some are taken out of the cluster and join anew. In the end the voters are as many as they should be, and what
// was acknowledged is there.
func TestKillAnywhere(t *testing.T) {
	c := newCluster(t, 5)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed) // it does not replay: real processes have times of their own
	rng := rand.New(rand.NewPCG(seed, 0))
	first, err := child.FreePorts(1)
	if err != nil {
		t.Fatal(err)
	}
	c.homes[0].Internal = first[0]
	for i := range c.homes {
		c.homes[i].Until = "/livez"
		if i > 0 {
			c.homes[i].Bootstrap = []string{c.hint()}
		}
	}
	c.start(0)
	await(t, "ready", func() bool { _, err := c.look(0); return err == nil })
	c.voters(1, 1)
	c.shard(base)
	var acknowledged []string
	for n := range *chaos {
		for i := range c.peers {
			if c.peers[i] == nil && (i == 0 || rng.IntN(3) > 0) {
				c.back(i)
			}
		}
		at, out := rng.IntN(5), 1+rng.IntN(4)
		if name := fmt.Sprint("c", n); c.peers[at] != nil {
			if code, _, err := c.try(at, name); err == nil && code == http.StatusOK {
				acknowledged = append(acknowledged, name)
			}
		}
		if c.peers[at] != nil && at != out && rng.IntN(4) == 0 {
			c.remove(at, out)
		}
		<-time.After(time.Duration(rng.IntN(500)) * time.Millisecond)
		for i := range c.peers {
			if c.peers[i] != nil && (rng.IntN(3) == 0 || n%6 == 5) {
				c.kill(i)
			}
		}
	}
	over := time.Now().Add(2 * limit)
	for whole := false; !whole; { // one that was taken out may have to find that out first
		if time.Now().After(over) {
			t.Fatal("not all are back")
		}
		for i := range c.peers {
			if c.peers[i] != nil && c.file(i, "membership.json")["state"] == "removed" {
				c.kill(i)
			}
		}
		c.together(0, 5, func(i int) {
			if c.peers[i] == nil {
				c.back(i)
			}
		})
		<-time.After(time.Second)
		whole = true
		for i := range c.peers {
			whole = whole && c.peers[i] != nil && c.file(i, "membership.json")["state"] == "member"
			if v, err := c.look(0); err != nil || len(v.Peers) < 5 {
				whole = false
			}
		}
	}
	c.voters(5, 5)
	c.records(acknowledged...)
}

// back starts a peer again, as its operator would: one that was taken out joins anew. A joiner gives up while too many are down.
func (c *cluster) back(i int) {
	h := c.homes[i]
	if s, err := os.ReadFile(filepath.Join(h.Dir, "storage", "membership.json")); err == nil && strings.Contains(string(s), `"removed"`) {
		h.Flags = []string{"--reinit"}
	}
	p, err := h.Start(c.Context())
	switch {
	case err == nil:
		c.peers[i] = p
	case i == 0 || !strings.Contains(err.Error(), "took this one into its cluster"):
		c.Errorf("peer %d: %v", i, err)
	}
}

// remove takes a peer out of the cluster by another one, if that goes.
func (c *cluster) remove(by, out int) {
	data, err := os.ReadFile(filepath.Join(c.homes[out].Dir, "storage", "peer.json"))
	var identity struct {
		PeerID uint64 `json:"peer_id"`
	}
	if err != nil || json.Unmarshal(data, &identity) != nil {
		return // it has never run
	}
	if err := c.internal(by, func(ctx context.Context, conn *grpc.ClientConn) error {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		_, err := placementv1.NewCatalogClient(conn).RemovePeer(ctx, &placementv1.RemovePeerRequest{PeerId: identity.PeerID})
		return err
	}); err != nil {
		c.Logf("peer %d may be taken out: %v", out, err)
	} else {
		c.Logf("peer %d is taken out", out)
	}
}

// TestJoinRefused: who is not taken in ends with exit code 101 and the reason, and the cluster stays as it was.
func TestJoinRefused(t *testing.T) {
	const secret = "PANDO__CLUSTER__SECRET="
	c := newCluster(t, 1)
	c.homes[0].Env = []string{secret + "right", "PANDO__CLUSTER__PEER_ID=42"}
	first := c.start(0)
	alone := child.Home{Binary: binary, Dir: t.TempDir(), Clustered: true, Env: []string{secret + "right"}}
	if p, err := alone.Start(t.Context()); err != nil {
		t.Fatal(err)
	} else if err := p.Stop(); err != nil {
		t.Fatal(err)
	}
	ports, err := child.FreePorts(1)
	if err != nil {
		t.Fatal(err)
	}
	standalone := start(t, t.TempDir(), "PANDO__CLUSTER__ENABLED=false")
	for _, tc := range []struct {
		name string
		home child.Home
		at   string
		text []string
	}{
		{"wrong secret", child.Home{Env: []string{secret + "wrong"}}, first.Internal, []string{"cluster.secret"}},
		{"a peer id that is taken", child.Home{Env: []string{secret + "right", "PANDO__CLUSTER__PEER_ID=42"}}, first.Internal,
			[]string{"peer id 42 belongs to another process", "cluster.peer_id"}},
		{"a URI that is taken", child.Home{Env: []string{secret + "right"}, Flags: []string{"--uri", "http://" + first.Internal}},
			strings.Replace(first.Internal, "127.0.0.1", "localhost", 1), // under its own URI it would be the first one itself
			[]string{"is the URI of peer 42", "--uri"}},
		{"a folder of another cluster", alone, first.Internal, []string{"another cluster"}},
		{"a standalone server", child.Home{}, standalone.Internal, []string{"takes nobody in", "cluster.enabled"}},
		{"nobody there", child.Home{Env: []string{secret + "right", "PANDO__CLUSTER__CONSENSUS__BOOTSTRAP_TIMEOUT_SEC=1"}},
			fmt.Sprintf("127.0.0.1:%d", ports[0]), []string{"within 1s", "bootstrap_timeout_sec", "connection refused"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			h := tc.home
			h.Binary, h.Bootstrap, h.Clustered = binary, []string{tc.at}, len(h.Flags) == 0
			if h.Dir == "" {
				h.Dir = t.TempDir()
			}
			// A process that was not refused at once is given the time to be.
			h.Until = "/never"
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			_, err := h.Start(ctx)
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != 101 {
				t.Fatalf("%v, want exit code 101", err)
			}
			for _, text := range tc.text {
				if !strings.Contains(err.Error(), text) {
					t.Errorf("does not say %q: %v", text, err)
				}
			}
		})
	}
	t.Cleanup(func() { // when all have been refused
		if peers := c.file(0, "book.json")["processes"]; len(peers.(map[string]any)) != 1 {
			t.Errorf("the cluster has changed: %v", peers)
		}
	})
}

// TestRemoved: a peer that was taken out notices, serves what it holds, stays out over a restart, and comes back with its id
// by --reinit; alone, it goes on with what it has.
func TestRemoved(t *testing.T) {
	c := newCluster(t, 3)
	c.grow(3)
	holder := c.shard("c")
	out := (holder + 1) % 3 // it has no shard, so it can be taken out without force
	before, err := c.look(out)
	if err != nil {
		t.Fatal(err)
	}
	err = c.internal(holder, func(ctx context.Context, conn *grpc.ClientConn) error {
		_, err := placementv1.NewCatalogClient(conn).RemovePeer(ctx, &placementv1.RemovePeerRequest{PeerId: before.PeerID})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	gone := c.peers[out]
	c.peers[out] = nil
	c.voters(2, 1)
	await(t, "it keeps that it was taken out", func() bool { return c.file(out, "membership.json")["state"] == "removed" })
	peer{t, gone}.ok(http.MethodGet, "/collections/c", "")
	if err := gone.Stop(); err != nil {
		t.Errorf("end of the one that was taken out: %v", err)
	}

	again := c.homes[out]
	again.Until, again.Bootstrap = "/livez", []string{c.peers[holder].Internal}
	p, err := again.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	peer{t, p}.ok(http.MethodGet, "/collections/c", "")
	c.voters(2, 1)
	if err := p.Stop(); err != nil {
		t.Error(err)
	}

	again.Until, again.Flags = "", []string{"--reinit"}
	if c.peers[out], err = again.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if after, err := c.look(out); err != nil || after.PeerID != before.PeerID {
		t.Errorf("peer %d came back as %d, %v", before.PeerID, after.PeerID, err)
	}
	c.voters(3, 3)
}

// TestReinitAlone: the last peer of a cluster goes on alone, with its id, its collections and its shards; a kill on the way is no
// harm.
func TestReinitAlone(t *testing.T) {
	c := newCluster(t, 3)
	c.grow(3)
	last := c.shard("c")
	p := peer{t, c.peers[last]}
	p.ok(http.MethodPut, "/collections/c/points?wait=true", `{"points":[{"id":1,"vector":[1,2,3,4]}]}`)
	p.ok(http.MethodPost, "/collections/aliases", `{"actions":[{"create_alias":{"collection_name":"c","alias_name":"a"}}]}`)
	before, err := c.look(last)
	if err != nil {
		t.Fatal(err)
	}
	former := c.file(last, "membership.json")["cluster"]
	await(t, "the alias is kept", func() bool {
		data, err := os.ReadFile(filepath.Join(c.homes[last].Dir, "storage", "placement"))
		return err == nil && strings.Contains(string(data), "\x01a")
	})
	c.kill(0, 1, 2)
	h := c.homes[last]
	h.Flags, h.Until = []string{"--reinit"}, "/livez"
	killed, err := h.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := killed.Kill(); err != nil {
		t.Fatal(err)
	}
	c.start(last)
	c.voters(1, 1)
	after, err := c.look(last)
	if err != nil || after.PeerID != before.PeerID || c.file(last, "membership.json")["cluster"] == former {
		t.Errorf("peer %d, then %d, %v", before.PeerID, after.PeerID, err)
	}
	p = peer{t, c.peers[last]}
	if got := fmt.Sprint(p.ok(http.MethodPost, "/collections/a/points/count", `{}`)); got != "map[count:1]" {
		t.Errorf("points after going on alone: %s", got)
	}
	p.ok(http.MethodPut, "/collections/a/points?wait=true", `{"points":[{"id":2,"vector":[1,2,3,4]}]}`)
}

func await(t *testing.T, what string, done func() bool) {
	t.Helper()
	over := time.After(limit)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-over:
			t.Fatalf("not in %v: %s", limit, what)
		}
	}
}
