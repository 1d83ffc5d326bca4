package reconcile

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/pandodb/pando/services/controlplane/internal/evidence"
	"github.com/pandodb/pando/services/controlplane/internal/placement"
	"github.com/pandodb/pando/services/controlplane/internal/store"
	"github.com/pandodb/pando/services/controlplane/internal/view"
	"github.com/pandodb/pando/services/internal/topology"
)

// sketch is a state in words, one fact a line:
//
//	peers 1 2 3                 registered, with a session that reports a disk for every shard, and held Alive
//	silent 2 / stranger 2       without a session / not registered
//	leaving 2 / dead 2 / suspect 2 / unwatched 2
//	unmade 0/2                  the session of peer 2 does not report shard 0
//	broken 0/2                  the replica of shard 0 on peer 2 is concluded Dead
//	shard 0 1 1=Active 2=Dead+5 shard 0 with primary 1; Dead+5 may not be copied for another 5 s
//	copy 0 1 3 move asked created
//	busy 0 / failed 0 / rests 0 of shard 0
//	limits 1 1
type sketch struct{ care }

func newSketch() *sketch {
	return &sketch{care{
		state: view.Empty(), now: time.Unix(1000, 0).UTC(), limits: Limits{4, 4}, past: newPast(),
		heard: hearsay{
			peers: map[topology.PeerID]evidence.Conclusion{}, replicas: map[evidence.Replica]evidence.Conclusion{},
			watched: func(topology.PeerID) bool { return true },
		},
	}}
}

const theCollection = 7

func number(t *testing.T, s string) uint64 {
	t.Helper()
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func shardID(t *testing.T, s string) topology.Shard {
	return topology.Shard{Collection: theCollection, ID: topology.ShardID(number(t, s))}
}

func (k *sketch) fact(t *testing.T, line string) {
	t.Helper()
	words := strings.Fields(line)
	for _, w := range words[1:] {
		var p topology.PeerID
		if id, err := strconv.ParseUint(w, 10, 64); err == nil {
			p = topology.PeerID(id)
		}
		switch words[0] {
		case "peers":
			k.put(t, store.Peer{ID: p})
			k.put(t, store.Session{Peer: p, Lease: store.LeaseID(p)})
			k.heard.peers[p] = evidence.Conclusion{State: evidence.Alive}
		case "silent":
			delete(k.state.Sessions, p)
		case "stranger":
			delete(k.state.Sessions, p)
			delete(k.state.Peers, p)
		case "leaving":
			k.session(p, func(s *store.Session) { s.Leaving = true })
		case "dead":
			k.heard.peers[p] = evidence.Conclusion{State: evidence.Dead, Why: "2 of 2 observers"}
		case "suspect":
			k.heard.peers[p] = evidence.Conclusion{State: evidence.Suspect}
		case "unwatched":
			k.heard.peers[p] = evidence.Conclusion{}
			k.heard.watched = func(topology.PeerID) bool { return false }
		case "unmade", "broken":
			shard, peer, _ := strings.Cut(w, "/")
			r := evidence.Replica{Shard: shardID(t, shard), Peer: topology.PeerID(number(t, peer))}
			if words[0] == "broken" {
				k.heard.replicas[r] = evidence.Conclusion{State: evidence.Dead, Why: "disk"}
				continue
			}
			k.session(r.Peer, func(s *store.Session) {
				s.Replicas = slices.DeleteFunc(slices.Clone(s.Replicas), func(r store.Report) bool { return r.Shard == topology.ShardID(number(t, shard)) })
			})
		case "busy":
			k.past.busy[shardID(t, w)] = &act{}
		case "failed", "rests":
			s, _ := k.state.Shard(shardID(t, w))
			if words[0] == "failed" {
				k.past.failed[shardID(t, w)] = s.Record.Epoch
			} else {
				k.past.rested[shardID(t, w)] = rest{epoch: s.Record.Epoch, until: k.now.Add(time.Second)}
			}
		}
	}
	switch words[0] {
	case "shard":
		k.shard(t, words[1:])
	case "copy":
		tr := store.Transfer{Collection: theCollection, Shard: shardID(t, words[1]).ID, From: topology.PeerID(number(t, words[2])), To: topology.PeerID(number(t, words[3]))}
		tr.Move, tr.Asked, tr.Created = slices.Contains(words, "move"), slices.Contains(words, "asked"), slices.Contains(words, "created")
		k.put(t, tr)
	case "limits":
		k.limits = Limits{int(number(t, words[1])), int(number(t, words[2]))}
	}
}

func (k *sketch) shard(t *testing.T, words []string) {
	id := shardID(t, words[0])
	rec := store.Shard{Collection: id.Collection, Shard: id.ID, Epoch: 5, Primary: topology.PeerID(number(t, words[1]))}
	for _, w := range words[2:] {
		peer, state, _ := strings.Cut(w, "=")
		state, replaced := strings.CutSuffix(state, "*")
		r := store.Replica{Peer: topology.PeerID(number(t, peer)), Incarnation: store.Incarnation{1}, Since: k.now.Add(-time.Minute)}
		if name, wait, puts := strings.Cut(state, "+"); puts {
			state = name
			r.Retry = k.now.Add(time.Duration(number(t, wait)) * time.Second)
		}
		r.State = store.State(state)
		rec.Replicas = append(rec.Replicas, r)
		disk := store.Incarnation{1}
		if replaced || r.State == store.Dead { // a Dead one may come back with either
			disk = store.Incarnation{2}
		}
		k.session(r.Peer, func(s *store.Session) {
			s.Replicas = append(slices.Clone(s.Replicas), store.Report{Collection: id.Collection, Shard: id.ID, Loaded: true, Incarnation: disk})
			slices.SortFunc(s.Replicas, store.Report.Compare)
		})
	}
	k.put(t, rec)
}

func (k *sketch) session(p topology.PeerID, change func(*store.Session)) {
	s, ok := k.state.Sessions[p]
	if !ok {
		return
	}
	change(&s.Record)
	k.state.Sessions[p] = s
}

// put brings a record into the state as the watch would.
func (k *sketch) put(t *testing.T, rec store.Record) {
	t.Helper()
	var value []byte
	var err error
	switch rec := rec.(type) {
	case store.Peer:
		value, err = store.Encode(rec)
	case store.Session:
		value, err = store.Encode(rec)
	case store.Shard:
		value, err = store.Encode(rec)
	case store.Transfer:
		value, err = store.Encode(rec)
	case store.Collection:
		value, err = store.Encode(rec)
	}
	if err == nil {
		err = k.state.Take(store.Change{KV: store.KV{Key: rec.Key(), Value: value, Created: 3, Modified: 3}})
	}
	if err != nil {
		t.Fatal(err)
	}
}

// words are what an act would do.
func (a *act) words(t *testing.T) string {
	out := fmt.Sprintf("shard %d %s:", a.shard.ID, a.kind)
	switch {
	case a.to != 0:
		return out + fmt.Sprintf(" peer %d is asked to hand over to %d", a.was.Record.Primary, a.to)
	case a.plan != nil:
		for _, p := range slices.Sorted(maps.Keys(a.plan.Dead)) {
			out += fmt.Sprintf(" %d Dead (%s);", p, a.plan.Dead[p])
		}
		if len(a.plan.Out) > 0 {
			out += fmt.Sprintf(" %v out;", a.plan.Out)
		}
		if a.plan.Anyway {
			out += " anyway;"
		}
		return out + fmt.Sprintf(" if one of %v confirms, of %v", a.heirs, a.plan.Heirs())
	}
	txn, err := a.draft.Txn(a.conds...)
	if err != nil {
		return out + " refused: " + err.Error()
	}
	for _, r := range a.draft.Now.Replicas {
		if r.State != store.Active {
			out += fmt.Sprintf(" %d=%s (%s)", r.Peer, r.State, r.Why)
		} else {
			out += fmt.Sprintf(" %d=%s", r.Peer, r.State)
		}
	}
	for _, op := range txn.Then[1:] {
		if op.Value == nil {
			out += fmt.Sprintf(", transfer %s ends", op.Key[len(store.Transfers)+17:])
			continue
		}
		tr, err := store.Decode[store.Transfer](store.KV{Key: op.Key, Value: op.Value})
		if err != nil {
			t.Fatal(err)
		}
		out += fmt.Sprintf(", transfer %d to %d", tr.Record.From, tr.Record.To)
	}
	for _, c := range a.conds {
		out += fmt.Sprintf(", if session %d is alive", c.Lease)
	}
	return out
}

// TestCare: what is to be done about a state, and in which order.
func TestCare(t *testing.T) {
	datadriven.RunTest(t, "testdata/care", func(t *testing.T, d *datadriven.TestData) string {
		k := newSketch()
		k.put(t, store.Collection{ID: theCollection, Name: "c"})
		for line := range strings.Lines(d.Input) {
			k.fact(t, strings.TrimSpace(line))
		}
		var out strings.Builder
		for _, a := range k.all() {
			fmt.Fprintln(&out, a.words(t))
		}
		if out.Len() == 0 {
			out.WriteString("nothing\n")
		}
		if !k.wake.IsZero() {
			fmt.Fprintf(&out, "again in %v\n", k.wake.Sub(k.now))
		}
		return out.String()
	})
}

// TestCandidates: what placement is told of the peers.
func TestCandidates(t *testing.T) {
	k := newSketch()
	for _, line := range []string{"peers 1 2 3", "leaving 2", "silent 3", "shard 0 1 1=Active 2=Active", "shard 1 1 1=Active"} {
		k.fact(t, line)
	}
	k.session(1, func(s *store.Session) {
		for i := range s.Replicas {
			s.Replicas[i].Bytes = uint64(100 << i)
		}
	})
	p := &pass{state: k.state, replicas: map[topology.PeerID]int{1: 5}}
	got := p.candidates(store.Group{})
	slices.SortFunc(got, func(a, b placement.Peer) int { return int(a.ID) - int(b.ID) })
	want := []placement.Peer{
		{ID: 1, Replicas: 7, Bytes: 300}, {ID: 2, Replicas: 1, Unfit: placement.Leaving}, {ID: 3, Unfit: placement.NoSession},
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got := p.candidates(store.Group{Peers: []topology.PeerID{2}}); len(got) != 1 || got[0].ID != 2 {
		t.Errorf("of a key that names its peers: %+v", got)
	}
}
