package reconcile

import (
	"encoding/binary"
	"hash/fnv"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/pandodb/pando/services/controlplane/internal/evidence"
	"github.com/pandodb/pando/services/controlplane/internal/view"
	"github.com/pandodb/pando/services/internal/topology"
)

// observersPerPeer is k of the k observers that each peer has, its own process aside.
const observersPerPeer = 3

// desk is what a term of office knows by hearsay: the observers' words. It ends with the term.
type desk struct {
	office int64 // revision at which office was taken: other than the raft term, it is another one each time
	since  time.Time
	news   chan struct{} // cap 1: somebody holds something otherwise than before

	mu struct {
		sync.Mutex
		ledger evidence.Ledger
		duties evidence.Duties
		census int64 // of the duties
		known  bool
		dead   map[topology.PeerID]bool // as concluded last
	}
}

func newDesk(office int64, now time.Time) *desk {
	return &desk{office: office, since: now, news: make(chan struct{}, 1)}
}

// Report takes an observer's words in and answers its assignment. ok is false while this process is not in office.
func (l *Loop) Report(r evidence.Report) (a evidence.Assignment, ok bool) {
	d := l.desk.Load()
	if d == nil {
		return a, false
	}
	l.cfg.View.Read(func(s *view.State) { a = d.take(l.cfg.Now(), r, s) })
	return a, true
}

func (d *desk) take(now time.Time, r evidence.Report, s *view.State) evidence.Assignment {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.mu.ledger.Take(now, r) {
		select {
		case d.news <- struct{}{}:
		default:
		}
	}
	a := evidence.Assignment{Subjects: d.assigned(s).Subjects(r.Observer, r.Own)}
	digest := fnv.New64a()
	_ = binary.Write(digest, binary.BigEndian, d.office) // a hash takes everything
	for _, id := range a.Subjects {
		_ = binary.Write(digest, binary.BigEndian, uint64(id))
	}
	a.Revision = digest.Sum64() | 1
	return a
}

// assigned remembers who watches whom for as long as no peer and no session comes or goes. Lock held.
func (d *desk) assigned(s *view.State) evidence.Duties {
	if !d.mu.known || d.mu.census != s.Census {
		d.mu.known, d.mu.census = true, s.Census
		d.mu.duties = evidence.Assign(slices.Collect(maps.Keys(s.Peers)), slices.Collect(maps.Keys(s.Sessions)), observersPerPeer)
	}
	return d.mu.duties
}

// hearsay is what follows from the observers' words now.
type hearsay struct {
	peers    map[topology.PeerID]evidence.Conclusion // of all registered peers
	replicas map[evidence.Replica]evidence.Conclusion
	watched  func(topology.PeerID) bool
}

// conclude judges all registered peers. Observers that are themselves held Dead are not believed: one that is cut off says so of
// everybody, and may be the only one left who says anything. They are heard again only about those who are Dead already.
func (d *desk) conclude(now time.Time, s *view.State) hearsay {
	d.mu.Lock()
	defer d.mu.Unlock()
	duties := d.assigned(s)
	believed := func(p topology.PeerID) []topology.PeerID {
		return slices.DeleteFunc(slices.Clone(duties.By[p]), func(o topology.PeerID) bool { return d.mu.dead[o] })
	}
	h := hearsay{peers: make(map[topology.PeerID]evidence.Conclusion, len(s.Peers))}
	for range 4 { // one more verdict may take more words away; it settles at once nearly always, and with the next look if not
		dead := map[topology.PeerID]bool{}
		for p := range s.Peers {
			observers := believed(p)
			if len(observers) == 0 && d.mu.dead[p] {
				observers = duties.By[p]
			}
			if h.peers[p] = d.mu.ledger.Peer(now, p, observers); h.peers[p].State == evidence.Dead {
				dead[p] = true
			}
		}
		settled := maps.Equal(dead, d.mu.dead)
		if d.mu.dead = dead; settled {
			break
		}
	}
	h.replicas = d.mu.ledger.DeadReplicas(now, believed)
	unwatched := map[topology.PeerID]bool{}
	for p := range s.Peers {
		unwatched[p] = len(believed(p)) == 0
	}
	h.watched = func(p topology.PeerID) bool { return !unwatched[p] }
	return h
}
