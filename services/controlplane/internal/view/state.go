package view

import (
	"fmt"
	"slices"

	"github.com/pandodb/pando/services/controlplane/internal/store"
	"github.com/pandodb/pando/services/internal/topology"
)

// State is everything stored, decoded, as of one revision. Readers must not change it.
type State struct {
	Revision    int64
	Leader      store.Versioned[store.Leader]
	Peers       map[topology.PeerID]store.Versioned[store.Peer]
	Sessions    map[topology.PeerID]store.Versioned[store.Session]
	Collections map[string]store.Versioned[store.Collection]
	Names       map[topology.CollectionID]string
	Aliases     map[string]store.Versioned[store.Alias]
	Tombstones  map[string]store.Versioned[store.Tombstone]
	Shards      map[topology.CollectionID]map[topology.ShardID]store.Versioned[store.Shard]
	Transfers   map[store.Key]store.Versioned[store.Transfer]
	Metadata    map[string]store.Versioned[store.Metadata]
	// Load counts replicas and primaries by peer, On names the shards that have a replica there.
	Load map[topology.PeerID]Load
	On   map[topology.PeerID]map[topology.Shard]bool
	// Ailing are the shards of which not every replica is Active, or that have no primary.
	Ailing map[topology.Shard]bool
	// Replaced are, by peer, the shards of which it reports another incarnation than the record counts on (S3).
	Replaced map[topology.PeerID]map[topology.Shard]bool
	// Copies are the transfers by shard and receiver.
	Copies map[topology.Shard]map[topology.PeerID]store.Versioned[store.Transfer]
	// Census is the revision at which a peer or a session came or went last.
	Census int64
	// Touched is the revision at which a collection, one of its shards or of its aliases changed last.
	Touched map[topology.CollectionID]int64
}

// Load is what a peer carries by the records.
type Load struct{ Replicas, Primaries int }

// Empty is a state in which nothing is stored. Together with Take it makes states for those who decide by one.
func Empty() *State { return newState() }

// Take brings one stored change in.
func (s *State) Take(c store.Change) error {
	_, err := s.apply(c)
	return err
}

func newState() *State {
	return &State{
		Peers:       map[topology.PeerID]store.Versioned[store.Peer]{},
		Sessions:    map[topology.PeerID]store.Versioned[store.Session]{},
		Collections: map[string]store.Versioned[store.Collection]{},
		Names:       map[topology.CollectionID]string{},
		Aliases:     map[string]store.Versioned[store.Alias]{},
		Tombstones:  map[string]store.Versioned[store.Tombstone]{},
		Shards:      map[topology.CollectionID]map[topology.ShardID]store.Versioned[store.Shard]{},
		Transfers:   map[store.Key]store.Versioned[store.Transfer]{},
		Metadata:    map[string]store.Versioned[store.Metadata]{},
		Load:        map[topology.PeerID]Load{},
		On:          map[topology.PeerID]map[topology.Shard]bool{},
		Ailing:      map[topology.Shard]bool{},
		Replaced:    map[topology.PeerID]map[topology.Shard]bool{},
		Copies:      map[topology.Shard]map[topology.PeerID]store.Versioned[store.Transfer]{},
		Touched:     map[topology.CollectionID]int64{},
	}
}

// Change is one record that came, changed or went. Was and Now are store.Versioned values of one record type; a missing
// side is nil. Kinds that no reader of changes needs (leader, sessions, tombstones, book) are
// not listed.
type Change struct {
	Was, Now any
}

// Batch is what one revision changed. Changes may be empty.
type Batch struct {
	Revision int64
	Changes  []Change
}

// Collection finds a live collection by id.
func (s *State) Collection(id topology.CollectionID) (store.Versioned[store.Collection], bool) {
	name, ok := s.Names[id]
	if !ok {
		return store.Versioned[store.Collection]{}, false
	}
	return s.Collections[name], true
}

// Shard finds the record of a shard.
func (s *State) Shard(id topology.Shard) (store.Versioned[store.Shard], bool) {
	rec, ok := s.Shards[id.Collection][id.ID]
	return rec, ok
}

// Holders are the peers with a session that reports a replica of the collection, in order.
func (s *State) Holders(id topology.CollectionID) []topology.PeerID {
	var out []topology.PeerID
	for peer, session := range s.Sessions {
		if session.Record.Holds(id) {
			out = append(out, peer)
		}
	}
	slices.Sort(out)
	return out
}

// Unlisted are the peers with a session that reports a replica of a shard that the collection's groups do not list, in order: one of
// a shard key that was dropped.
func (s *State) Unlisted(id topology.CollectionID) []topology.PeerID {
	c, there := s.Collection(id)
	if !there {
		return nil
	}
	var out []topology.PeerID
	for peer, session := range s.Sessions {
		if slices.ContainsFunc(session.Record.Replicas, func(r store.Report) bool {
			return r.Collection == id && !slices.ContainsFunc(c.Record.Groups, func(g store.Group) bool { return slices.Contains(g.Shards, r.Shard) })
		}) {
			out = append(out, peer)
		}
	}
	slices.Sort(out)
	return out
}

// Live tells whether the alias counts: its collection still exists.
func (s *State) Live(a store.Alias) bool {
	_, ok := s.Names[a.CollectionID]
	return ok
}

// apply takes one stored change in. It answers what readers of changes see of it.
func (s *State) apply(c store.Change) (*Change, error) {
	s.Revision = max(s.Revision, c.Modified)
	switch {
	case c.Key == store.LeaderKey:
		now, err := decode[store.Leader](c)
		if err != nil || now == nil {
			return nil, err
		}
		s.Leader = *now
		return nil, nil
	case c.Key.Under(store.Sessions):
		return s.applySession(c)
	case c.Key.Under(store.Peers):
		id, err := c.Key.Number()
		if err != nil {
			return nil, err
		}
		change, err := replace(s.Peers, topology.PeerID(id), c)
		s.census(change, c.Modified)
		return change, err
	case c.Key.Under(store.Collections):
		return s.applyCollection(c)
	case c.Key.Under(store.Aliases):
		change, err := replace(s.Aliases, string(c.Key[len(store.Aliases):]), c)
		s.touchAlias(change, c.Modified)
		return change, err
	case c.Key.Under(store.Tombstones):
		return nil, s.applyTombstone(c)
	case c.Key.Under(store.Shards):
		return s.applyShard(c)
	case c.Key.Under(store.Transfers):
		return s.applyTransfer(c)
	case c.Key.Under(store.Metadatas):
		return replace(s.Metadata, string(c.Key[len(store.Metadatas):]), c)
	}
	return nil, nil // a kind of a newer release, or the book
}

func (s *State) applySession(c store.Change) (*Change, error) {
	id, err := c.Key.Number()
	if err != nil {
		return nil, err
	}
	peer := topology.PeerID(id)
	change, err := replace(s.Sessions, peer, c)
	s.census(change, c.Modified)
	delete(s.Replaced, peer)
	for _, r := range s.Sessions[peer].Record.Replicas {
		s.compare(topology.Shard{Collection: r.Collection, ID: r.Shard}, peer)
	}
	return nil, err
}

// compare holds what a peer reports of a replica against the record.
func (s *State) compare(id topology.Shard, peer topology.PeerID) {
	rec, session := s.Shards[id.Collection][id.ID].Record, s.Sessions[peer].Record
	r, report := rec.Replica(peer), session.Report(id.Collection, id.ID)
	other := r != nil && report != nil && report.Incarnation != r.Incarnation && report.Incarnation != (store.Incarnation{}) && r.Incarnation != (store.Incarnation{})
	if s.Replaced[peer] == nil {
		if !other {
			return
		}
		s.Replaced[peer] = map[topology.Shard]bool{}
	}
	mark(s.Replaced[peer], id, other)
}

func (s *State) census(change *Change, revision int64) {
	if change != nil && (change.Was == nil || change.Now == nil) {
		s.Census = revision
	}
}

func (s *State) applyCollection(c store.Change) (*Change, error) {
	change, err := replace(s.Collections, string(c.Key[len(store.Collections):]), c)
	if err != nil || change == nil {
		return change, err
	}
	if was, ok := change.Was.(store.Versioned[store.Collection]); ok {
		delete(s.Names, was.Record.ID)
		s.Touched[was.Record.ID] = c.Modified
	}
	if now, ok := change.Now.(store.Versioned[store.Collection]); ok {
		s.Names[now.Record.ID] = now.Record.Name
		s.Touched[now.Record.ID] = c.Modified
	}
	return change, nil
}

func (s *State) applyTombstone(c store.Change) error {
	name := string(c.Key[len(store.Tombstones):])
	if _, err := replace(s.Tombstones, name, c); err != nil {
		return err
	}
	if t, there := s.Tombstones[name]; there {
		s.Touched[t.Record.ID] = c.Modified
	}
	return nil
}

func (s *State) touchAlias(change *Change, revision int64) {
	if change == nil {
		return
	}
	for _, side := range []any{change.Was, change.Now} {
		if a, ok := side.(store.Versioned[store.Alias]); ok {
			s.Touched[a.Record.CollectionID] = revision
		}
	}
}

func (s *State) applyShard(c store.Change) (*Change, error) {
	var collection, shard uint64
	if _, err := fmt.Sscanf(string(c.Key[len(store.Shards):]), "%16x/%16x", &collection, &shard); err != nil {
		return nil, fmt.Errorf("view: shard key %s: %w", c.Key, err)
	}
	id := topology.CollectionID(collection)
	shards := s.Shards[id]
	if shards == nil {
		shards = map[topology.ShardID]store.Versioned[store.Shard]{}
		s.Shards[id] = shards
	}
	change, err := replace(shards, topology.ShardID(shard), c)
	if err != nil || change == nil {
		return change, err
	}
	if was, ok := change.Was.(store.Versioned[store.Shard]); ok {
		s.count(was.Record, -1)
	}
	if now, ok := change.Now.(store.Versioned[store.Shard]); ok {
		s.count(now.Record, 1)
	}
	for _, side := range []any{change.Was, change.Now} {
		if v, ok := side.(store.Versioned[store.Shard]); ok {
			for _, r := range v.Record.Replicas {
				s.compare(v.Record.ID(), r.Peer)
			}
		}
	}
	if len(shards) == 0 {
		delete(s.Shards, id)
	}
	s.Touched[id] = c.Modified
	return change, nil
}

// count enters a record into the indexes (by = 1) or takes it out (by = -1).
func (s *State) count(rec store.Shard, by int) {
	id := rec.ID()
	for _, r := range rec.Replicas {
		l := s.Load[r.Peer]
		l.Replicas += by
		if r.Peer == rec.Primary {
			l.Primaries += by
		}
		s.Load[r.Peer] = l
		if s.On[r.Peer] == nil {
			s.On[r.Peer] = map[topology.Shard]bool{}
		}
		mark(s.On[r.Peer], id, by > 0)
	}
	mark(s.Ailing, id, by > 0 && ailing(rec))
}

func mark(set map[topology.Shard]bool, id topology.Shard, in bool) {
	if in {
		set[id] = true
	} else {
		delete(set, id)
	}
}

func ailing(rec store.Shard) bool {
	return rec.Primary == 0 || slices.ContainsFunc(rec.Replicas, func(r store.Replica) bool { return r.State != store.Active })
}

func (s *State) applyTransfer(c store.Change) (*Change, error) {
	change, err := replace(s.Transfers, c.Key, c)
	if err != nil || change == nil {
		return change, err
	}
	if was, ok := change.Was.(store.Versioned[store.Transfer]); ok {
		id := was.Record.ID()
		if delete(s.Copies[id], was.Record.To); len(s.Copies[id]) == 0 {
			delete(s.Copies, id)
		}
	}
	if now, ok := change.Now.(store.Versioned[store.Transfer]); ok {
		id := now.Record.ID()
		if s.Copies[id] == nil {
			s.Copies[id] = map[topology.PeerID]store.Versioned[store.Transfer]{}
		}
		s.Copies[id][now.Record.To] = now
	}
	return change, nil
}

// forget drops the marks of collections of which nothing is left, so that marks do not pile up.
func (s *State) forget() {
	buried := map[topology.CollectionID]bool{}
	for _, t := range s.Tombstones {
		buried[t.Record.ID] = true
	}
	for id := range s.Touched {
		if _, live := s.Names[id]; !live && !buried[id] && len(s.Shards[id]) == 0 && !s.hasAlias(id) {
			delete(s.Touched, id)
		}
	}
}

func (s *State) hasAlias(id topology.CollectionID) bool {
	for _, a := range s.Aliases {
		if a.Record.CollectionID == id {
			return true
		}
	}
	return false
}

func decode[T store.Record](c store.Change) (*store.Versioned[T], error) {
	if c.Deleted {
		return nil, nil
	}
	v, err := store.Decode[T](c.KV)
	return &v, err
}

// replace sets or removes one record of a map.
func replace[K comparable, T store.Record](m map[K]store.Versioned[T], key K, c store.Change) (*Change, error) {
	now, err := decode[T](c)
	if err != nil {
		return nil, err
	}
	change := &Change{}
	if was, ok := m[key]; ok {
		change.Was = was
	}
	if now != nil {
		change.Now = *now
		m[key] = *now
	} else {
		delete(m, key)
	}
	if change.Was == nil && change.Now == nil {
		return nil, nil
	}
	return change, nil
}
