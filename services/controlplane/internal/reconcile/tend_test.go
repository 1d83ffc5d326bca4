package reconcile

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/pandodb/pando/services/controlplane/internal/evidence"
	"github.com/pandodb/pando/services/controlplane/internal/store"
	"github.com/pandodb/pando/services/controlplane/internal/view"
	"github.com/pandodb/pando/services/internal/topology"
)

// house is a cluster with a leader, some peers, and a collection that is whole.
func house(t *testing.T, peers, shards, factor int, fn func(ctx context.Context, c *cluster)) {
	t.Helper()
	run(t, 2, 1, func(ctx context.Context, c *cluster) {
		for id := range topology.PeerID(peers) {
			c.start(ctx, id+1, map[store.Key]store.Incarnation{})
		}
		c.wants(ctx, func(s *view.State) bool { return len(s.Sessions) == peers })
		c.elect(0)
		c.create(ctx, "c", shards, factor)
		c.wantWhole(ctx)
		<-time.After(time.Second) // everybody has been heard of
		fn(ctx, c)
	})
}

// active counts the Active replicas on a peer, and of them those that lead.
func active(s *view.State, p topology.PeerID) (replicas, primaries int) {
	for id := range s.On[p] {
		rec, _ := s.Shard(id)
		if rec.Record.Replica(p).State == store.Active {
			replicas++
		}
		if rec.Record.Primary == p {
			primaries++
		}
	}
	return replicas, primaries
}

func gone(p topology.PeerID) func(*view.State) bool {
	return func(s *view.State) bool { n, _ := active(s, p); return n == 0 }
}

// within wants a condition to hold after no more than d, and after no less than atLeast.
func (c *cluster) within(ctx context.Context, what string, atLeast, d time.Duration, cond func(*view.State) bool) {
	c.Helper()
	start := time.Now()
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	if err := c.view.Until(ctx, cond); err != nil {
		c.view.Read(func(s *view.State) { c.Errorf("%s: not after %v: %v", what, d, s.Shards) })
	}
	if took := time.Since(start); took < atLeast {
		c.Errorf("%s: after %v already", what, took)
	}
}

// never wants a condition not to hold for d.
func (c *cluster) never(ctx context.Context, what string, d time.Duration, cond func(*view.State) bool) {
	c.Helper()
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	if err := c.view.Until(ctx, cond); err == nil {
		c.Errorf("%s", what)
	}
}

// TestDeadInTime: kill -9, and within 3 s no replica of the peer is Active and no shard has it as its primary; when it is back, all is
// whole again by itself.
func TestDeadInTime(t *testing.T) {
	for factor := range 2 {
		t.Run(fmt.Sprintf("factor %d", factor+2), func(t *testing.T) {
			house(t, 3, 60, factor+2, func(ctx context.Context, c *cluster) {
				c.kill(2)
				c.within(ctx, "Dead", 700*time.Millisecond, 3*time.Second, gone(2))
				c.view.Read(func(s *view.State) {
					for _, shard := range s.Shards[1] {
						if r := shard.Record.Replica(2); r != nil && (r.Why == "" || r.Since.IsZero()) {
							t.Errorf("nobody knows why: %+v", r)
						}
					}
				})
				c.start(ctx, 2, map[store.Key]store.Incarnation{})
				c.within(ctx, "whole", 0, 20*time.Second, whole)
			})
		})
	}
}

// TestCutOff: the observers do not reach a peer whose session lives on. Their word is enough, and takes a majority of them.
func TestCutOff(t *testing.T) {
	house(t, 3, 12, 2, func(ctx context.Context, c *cluster) {
		c.fakes.set(2, false)
		c.within(ctx, "Dead", 1400*time.Millisecond, 3*time.Second, gone(2))
		c.never(ctx, "it came back although nobody reaches it", 10*time.Second, func(s *view.State) bool { return len(s.Transfers) > 0 })
		// It holds everybody else Dead, which keeps nobody from returning.
		c.kill(3)
		c.within(ctx, "Dead, but for the last Active ones", 0, 3*time.Second, func(s *view.State) bool {
			for id := range s.On[3] {
				if rec, _ := s.Shard(id); rec.Record.Replica(1) != nil && rec.Record.Replica(3).State == store.Active {
					return false
				}
			}
			return true
		})
		c.start(ctx, 3, map[store.Key]store.Incarnation{})
		c.within(ctx, "back", 0, 10*time.Second, func(s *view.State) bool {
			n, _ := active(s, 3)
			return n == len(s.On[3])
		})
		c.fakes.set(2, true)
		c.within(ctx, "whole", 0, 20*time.Second, whole)
	})
}

// TestDeadInTimeWithoutTheLeader: the process that is killed holds the leader, too. The new one knows nothing at first and hears
// everything from the observers.
func TestDeadInTimeWithoutTheLeader(t *testing.T) {
	house(t, 3, 20, 2, func(ctx context.Context, c *cluster) {
		c.kill(3)
		c.elections[0].set(Office{Term: c.term})
		start := time.Now()
		<-time.After(time.Second) // the election
		c.elect(1)
		c.within(ctx, "Dead", 0, 3*time.Second-time.Since(start), gone(3))
	})
}

// TestRevisionOfTheAssignment differs between terms, which makes observers tell everything.
func TestRevisionOfTheAssignment(t *testing.T) {
	house(t, 3, 1, 2, func(ctx context.Context, c *cluster) {
		ask := func(member int) evidence.Assignment {
			a, ok := c.loops[member].Report(evidence.Report{Observer: 1, Own: 1})
			if !ok {
				t.Errorf("member %d is not in office", member)
			}
			return a
		}
		if _, ok := c.loops[1].Report(evidence.Report{Observer: 1}); ok {
			t.Error("a member that does not lead took a report")
		}
		first := ask(0)
		if again := ask(0); again.Revision != first.Revision || fmt.Sprint(again.Subjects) != "[1 2 3]" {
			t.Errorf("%v, then %v", first, again)
		}
		c.elect(1)
		<-time.After(100 * time.Millisecond)
		if next := ask(1); next.Revision == first.Revision {
			t.Error("the new leader's assignment looks like the old one's")
		}
		c.elect(0)
		<-time.After(100 * time.Millisecond)
		if next := ask(0); next.Revision == first.Revision {
			t.Error("a later term of the same member looks like its first one")
		}
		c.kill(3)
		<-time.After(2 * time.Second)
		if next := ask(0); fmt.Sprint(next.Subjects) != "[1 2 3]" {
			t.Errorf("a peer without a session is watched by nobody: %v", next)
		}
	})
}

// TestConfirm (C2a): without a Confirm that counts nothing is marked Dead, and as soon as one comes it is.
func TestConfirm(t *testing.T) {
	for name, m := range map[string]manner{
		"no answer": silent, "late": late, "refused": refusing, "another disk": otherDisk, "another epoch": otherEpoch, "another session": otherSession,
	} {
		t.Run(name, func(t *testing.T) {
			house(t, 2, 3, 2, func(ctx context.Context, c *cluster) {
				c.fakes.behave(1, m)
				c.kill(2)
				c.never(ctx, "marked Dead without a word of the other", 10*time.Second, func(s *view.State) bool { n, _ := active(s, 2); return n < 3 })
				c.fakes.with(func() {
					if n := c.fakes.asked[1]; n < 5 || n > 200 {
						t.Errorf("asked %d times in 10 s", n)
					}
				})
				c.fakes.behave(1, honest)
				c.within(ctx, "Dead", 0, 2100*time.Millisecond, gone(2))
			})
		})
	}
}

// TestHangingHeir: of two that may become primary one hangs. It delays nothing.
func TestHangingHeir(t *testing.T) {
	house(t, 3, 200, 3, func(ctx context.Context, c *cluster) {
		c.fakes.behave(1, silent)
		c.kill(2)
		// Peer 1 answers its observers, so only Confirms hang. What it leads cannot be confirmed; all that 2 led moves to 3.
		c.within(ctx, "no primary on the dead peer", 0, 3*time.Second, func(s *view.State) bool { _, n := active(s, 2); return n == 0 })
	})
}

// TestLastActive (C2): whatever is concluded, it stays, and serves again when it is back.
func TestLastActive(t *testing.T) {
	house(t, 2, 4, 1, func(ctx context.Context, c *cluster) {
		n, primaries := 0, 0
		c.view.Read(func(s *view.State) { n, primaries = active(s, 2) })
		c.kill(2)
		c.never(ctx, "the last Active one was touched", 30*time.Second, func(s *view.State) bool {
			a, p := active(s, 2)
			return a != n || p != primaries
		})
	})
	house(t, 3, 4, 2, func(ctx context.Context, c *cluster) {
		c.kill(1)
		c.kill(2)
		<-time.After(30 * time.Second)
		c.view.Read(func(s *view.State) {
			for id, shard := range s.Shards[1] {
				if len(shard.Record.Actives()) != 1 && shard.Record.Replica(3) != nil {
					t.Errorf("shard %d has a live replica and %v Active", id, shard.Record.Actives())
				}
				if len(shard.Record.Actives()) != 2 && shard.Record.Replica(3) == nil {
					t.Errorf("shard %d lost both and has %v Active", id, shard.Record.Actives())
				}
			}
		})
		c.start(ctx, 1, map[store.Key]store.Incarnation{})
		c.start(ctx, 2, map[store.Key]store.Incarnation{})
		c.within(ctx, "all have primaries", 0, 20*time.Second, born)
	})
}

// TestExpiredSession: nobody observes. A peer whose session has expired is Dead if the leader's own probe fails, and only then.
func TestExpiredSession(t *testing.T) {
	house(t, 2, 3, 2, func(ctx context.Context, c *cluster) {
		c.fakes.with(func() { c.fakes.mute = true })
		<-time.After(evidence.Fresh + time.Second)
		c.kill(2)
		c.fakes.set(2, true) // its process answers, only its session is gone
		c.never(ctx, "Dead although it answers", 10*time.Second, func(s *view.State) bool { n, _ := active(s, 2); return n < 3 })
		c.fakes.set(2, false)
		c.within(ctx, "Dead", 0, 1500*time.Millisecond, gone(2))
	})
}

// TestBrokenReplica: a replica that fails its deep probes goes, and nothing else of its peer; it returns when it serves again.
func TestBrokenReplica(t *testing.T) {
	house(t, 3, 6, 3, func(ctx context.Context, c *cluster) {
		r := evidence.Replica{Shard: topology.Shard{Collection: 1, ID: 4}, Peer: 2}
		c.fakes.with(func() { c.fakes.broken[r] = true })
		c.within(ctx, "Dead", 0, time.Second, func(s *view.State) bool {
			rec, _ := s.Shard(r.Shard)
			return rec.Record.Replica(2).State == store.Dead
		})
		c.never(ctx, "others went too, or it came back", 10*time.Second, func(s *view.State) bool {
			n, _ := active(s, 2)
			return n != 5 || len(s.Ailing) != 1
		})
		c.fakes.with(func() { delete(c.fakes.broken, r) })
		c.within(ctx, "whole", 0, 5*time.Second, whole)
	})
}

// TestFlapping: a peer that comes and goes is given copies ever more rarely.
func TestFlapping(t *testing.T) {
	house(t, 3, 1, 3, func(ctx context.Context, c *cluster) {
		var who topology.PeerID
		c.view.Read(func(s *view.State) {
			rec, _ := s.Shard(topology.Shard{Collection: 1})
			who = rec.Record.Primary%3 + 1
		})
		returns := func() (n uint32) {
			c.view.Read(func(s *view.State) {
				rec, _ := s.Shard(topology.Shard{Collection: 1})
				n = rec.Record.Replica(who).Tries
			})
			return n
		}
		for range 40 {
			c.kill(who)
			<-time.After(3 * time.Second)
			c.start(ctx, who, map[store.Key]store.Incarnation{})
			<-time.After(2 * time.Second)
		}
		if n := returns(); n < 3 || n > 9 {
			t.Errorf("%d copies were begun in 200 s of coming and going, want a few", n)
		}
		c.within(ctx, "whole once it stays", 0, 65*time.Second, whole)
		<-time.After(15 * time.Minute)
		c.kill(who)
		c.within(ctx, "Dead", 0, 3*time.Second, gone(who))
		c.start(ctx, who, map[store.Key]store.Incarnation{})
		c.within(ctx, "whole at once after a steady time", 0, 2*time.Second, whole)
	})
}

// TestLimits: so many copies at a time and no more, and in the end all.
func TestLimits(t *testing.T) {
	house(t, 2, 30, 2, func(ctx context.Context, c *cluster) {
		c.fakes.with(func() { c.fakes.noCopies = true })
		c.kill(2)
		c.within(ctx, "Dead", 0, 3*time.Second, gone(2))
		c.start(ctx, 2, map[store.Key]store.Incarnation{})
		c.within(ctx, "the limit is used", 0, 3*time.Second, func(s *view.State) bool { return len(s.Transfers) == transfersPerPeer })
		c.never(ctx, "the limit is exceeded", 10*time.Second, func(s *view.State) bool { return len(s.Transfers) > transfersPerPeer })
		c.fakes.with(func() { c.fakes.noCopies = false })
		c.within(ctx, "whole", 0, time.Minute, whole)
	})
}

// leave marks a peer's session as Session.Leave does.
func (c *cluster) leave(ctx context.Context, p topology.PeerID) {
	c.Helper()
	for {
		s, err := store.Load[store.Session](ctx, c.store, store.SessionKey(p))
		if err != nil {
			c.Fatal(err)
		}
		s.Record.Leaving = true
		if _, err := c.store.Commit(ctx, store.Txn{If: []store.Cond{s.Unchanged()}, Then: []store.Op{store.PutLeased(s.Record, s.Lease)}}); err == nil {
			return
		}
	}
}

// TestLeave: a process that is about to stop hands over what it leads and is then Dead everywhere; one that does not hand over loses it
// after a second. Nothing comes back to it before it has started anew.
func TestLeave(t *testing.T) {
	for name, m := range map[string]manner{"hands over": honest, "does not": withoutHandovers} {
		t.Run(name, func(t *testing.T) {
			house(t, 3, 30, 2, func(ctx context.Context, c *cluster) {
				_, primaries := 0, 0
				c.view.Read(func(s *view.State) { _, primaries = active(s, 1) })
				c.fakes.behave(1, m)
				c.leave(ctx, 1)
				c.within(ctx, "nothing is left", 0, 1500*time.Millisecond, gone(1))
				c.fakes.with(func() {
					if want := map[manner]int{honest: primaries}[m]; c.fakes.handed != want {
						t.Errorf("%d of %d primaries were handed over, want %d", c.fakes.handed, primaries, want)
					}
				})
				c.view.Read(func(s *view.State) {
					for id := range s.On[1] {
						if rec, _ := s.Shard(id); rec.Record.Replica(1).Why != stopped {
							t.Errorf("shard %d: %q", id.ID, rec.Record.Replica(1).Why)
						}
					}
				})
				c.never(ctx, "it got something back", 3*time.Second, func(s *view.State) bool { return len(s.Transfers) > 0 })
				c.kill(1)
				<-time.After(2 * time.Second)
				c.fakes.behave(1, honest)
				c.start(ctx, 1, map[store.Key]store.Incarnation{})
				c.within(ctx, "whole", 0, 20*time.Second, whole)
			})
		})
	}
}

// TestRemoved: what a peer held is taken out once its record is gone, the last copies too, which is recorded as lost.
func TestRemoved(t *testing.T) {
	house(t, 3, 12, 2, func(ctx context.Context, c *cluster) {
		c.create(ctx, "single", 6, 1)
		c.wantWhole(ctx)
		c.kill(3)
		if _, err := c.store.Commit(ctx, store.Txn{Then: []store.Op{store.Delete(store.PeerKey(3)), store.Delete(store.SessionKey(3))}}); err != nil {
			t.Fatal(err)
		}
		c.within(ctx, "nothing is left", 0, 2*time.Second, func(s *view.State) bool { return len(s.On[3]) == 0 })
		c.view.Read(func(s *view.State) {
			lost := 0
			for id, shard := range s.Shards[2] {
				rec := shard.Record
				if rec.Lost != (len(rec.Replicas) == 0) || rec.Lost != (rec.Primary == 0) {
					t.Errorf("shard %d: %+v", id, rec)
				}
				if rec.Lost {
					lost++
				}
			}
			if lost != 2 {
				t.Errorf("%d of 6 single copies lost with one of three peers", lost)
			}
			for id, shard := range s.Shards[1] {
				if rec := shard.Record; rec.Lost || rec.Primary == 0 || len(rec.Actives()) == 0 {
					t.Errorf("shard %d: %+v", id, rec)
				}
			}
		})
	})
}

// TestStranded: a shard that was given to a peer which was removed before it had made it is given to another one, under a higher epoch.
func TestStranded(t *testing.T) {
	run(t, 1, 1, func(ctx context.Context, c *cluster) {
		lease, err := c.store.Grant(ctx, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.store.Commit(ctx, store.Txn{Then: []store.Op{
			store.Put(store.Peer{ID: 2}), store.PutLeased(store.Session{Peer: 2, Lease: lease}, lease),
		}}); err != nil {
			t.Fatal(err)
		}
		c.elect(0)
		c.create(ctx, "c", 2, 1)
		c.wants(ctx, func(s *view.State) bool { return len(s.On[2]) == 2 })
		if _, err := c.store.Commit(ctx, store.Txn{Then: []store.Op{store.Delete(store.PeerKey(2)), store.Delete(store.SessionKey(2))}}); err != nil {
			t.Fatal(err)
		}
		c.start(ctx, 1, map[store.Key]store.Incarnation{})
		c.wantWhole(ctx)
	})
}
