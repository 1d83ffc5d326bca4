// Package view is what the public API knows of collections at one moment: the
// cluster map with the configuration of its collections decoded. It decodes
// each revision of a collection once and decides nothing.
package view

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/dataplane/internal/api/validate"
	"github.com/pandodb/pando/services/dataplane/internal/coordinator"
	"github.com/pandodb/pando/services/internal/fault"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/wire"
)

// Collection is a collection with its settings decoded. It is shared by all
// requests: nobody changes it, and answers carry copies of its messages.
type Collection struct {
	*topology.Collection
	Config  *qdrant.CollectionConfig
	Indexes map[string]*qdrant.PayloadIndexParams
	Schema  validate.Schema
	from    *topology.Map
}

// Sources are where a Cluster has its knowledge from. All must be set.
type Sources struct {
	// Map gives the newest cluster map.
	Map func() *topology.Map
	// Find asks the control plane for a collection that the map does not have, and
	// tells the revision from which on a map has it. COLLECTION_NOT_FOUND.
	Find func(ctx context.Context, name string) (revision uint64, err error)
	// AwaitRevision waits until the map has reached a revision.
	AwaitRevision func(ctx context.Context, revision uint64) error
}

// Cluster finds collections by name. It is safe for concurrent use.
type Cluster struct {
	from Sources

	mu      sync.Mutex
	decoded map[topology.CollectionID]decoded // of the newest revision seen
}

// decoded are the parts of a Collection that depend on its revision alone.
type decoded struct {
	revision uint64
	config   *qdrant.CollectionConfig
	indexes  map[string]*qdrant.PayloadIndexParams
	schema   validate.Schema
}

// New makes a Cluster over a map that others keep new.
func New(from Sources) *Cluster {
	return &Cluster{from: from, decoded: map[topology.CollectionID]decoded{}}
}

// Map is the newest map.
func (c *Cluster) Map() *topology.Map { return c.from.Map() }

// Placed is the newest map for those who would conclude from what is not in it:
// SHARD_UNAVAILABLE while this peer has heard of no placement at all.
func (c *Cluster) Placed() (*topology.Map, error) {
	m := c.from.Map()
	if m.Revision() == 0 {
		return nil, fault.New(fault.ShardUnavailable, "this peer has no placement yet: the control plane has not answered it")
	}
	return m, nil
}

// Resolve finds a collection by name or alias, also one that was made through
// another peer a moment ago. COLLECTION_NOT_FOUND where there is none;
// SHARD_UNAVAILABLE if the map has none and the control plane cannot be asked.
func (c *Cluster) Resolve(ctx context.Context, name string) (*Collection, error) {
	m, err := c.Placed()
	if err != nil {
		return nil, err
	}
	tc, ok := m.Resolve(name)
	if !ok {
		if m, err = c.catchUp(ctx, name); err != nil {
			return nil, err
		}
		if tc, ok = m.Resolve(name); !ok { // it was dropped meanwhile
			return nil, fault.NoCollection(name)
		}
	}
	d, err := c.decode(m, tc)
	if err != nil {
		return nil, err
	}
	return &Collection{Collection: tc, Config: d.config, Indexes: d.indexes, Schema: d.schema, from: m}, nil
}

// Newest is Resolve by a map that has what was changed through other peers and answered
// there, for those who would refuse a request by what is not in the present one.
func (c *Cluster) Newest(ctx context.Context, name string) (*Collection, error) {
	if _, err := c.catchUp(ctx, name); err != nil {
		return nil, err
	}
	return c.Resolve(ctx, name)
}

// catchUpWithin bounds how long a request waits for a collection that the map does
// not have: several times what a new leader of the control plane takes.
const catchUpWithin = 5 * time.Second

// catchUp gives a map that has the collection, if there is one.
func (c *Cluster) catchUp(ctx context.Context, name string) (*topology.Map, error) {
	ctx, cancel := context.WithTimeout(ctx, catchUpWithin)
	defer cancel()
	revision, err := c.from.Find(ctx, name)
	switch e := fault.From(err); {
	case err == nil:
	case e.Reason == fault.CollectionNotFound:
		return nil, fault.NoCollection(name)
	default:
		return nil, fault.Wrap(fault.ShardUnavailable, err, "this peer has heard of no collection `%s`, and cannot ask the control plane for it: %s", name, e.Msg)
	}
	if err := c.from.AwaitRevision(ctx, revision); err != nil {
		return nil, fault.Wrap(fault.ShardUnavailable, err, "this peer has not heard yet of collection `%s`, which is there", name)
	}
	return c.from.Map(), nil
}

func (c *Cluster) decode(m *topology.Map, tc *topology.Collection) (decoded, error) {
	c.mu.Lock()
	d, ok := c.decoded[tc.ID]
	c.mu.Unlock()
	if ok && d.revision == tc.Revision {
		return d, nil
	}
	s, err := wire.Settings(tc)
	if err != nil {
		return d, fault.Wrap(fault.Unspecified, err, "Service internal error: the settings of collection `%s` cannot be read", tc.Name)
	}
	d = decoded{revision: tc.Revision, config: s.GetConfig(), indexes: s.GetPayloadIndexes(), schema: validate.SchemaOf(s.GetConfig().GetParams())}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.decoded[tc.ID].revision < d.revision {
		c.decoded[tc.ID] = d
		for id := range c.decoded { // forget dropped ones while something changes anyway
			if _, there := m.Collection(id); !there && id != tc.ID {
				delete(c.decoded, id)
			}
		}
	}
	return d, nil
}

// Custom tells custom sharding from automatic.
func (c *Collection) Custom() bool {
	return c.Config.GetParams().GetShardingMethod() == qdrant.ShardingMethod_Custom
}

// Serves tells whether each shard of a group has an Active replica, and the group takes
// requests.
func (c *Collection) Serves(g topology.ShardGroup) bool {
	if g.Partial {
		return false
	}
	for _, id := range g.IDs {
		p, _ := c.from.Placement(topology.Shard{Collection: c.ID, ID: id})
		if !slices.ContainsFunc(p.Replicas, func(r topology.Replica) bool { return r.State == topology.Active }) {
			return false
		}
	}
	return true
}

// All is the target of everything in the collection.
func (c *Collection) All() coordinator.Target {
	return coordinator.Target{Collection: c.Collection, Groups: c.Groups}
}

// Reads is the target of reads of everything: what is Partial has only copies.
func (c *Collection) Reads() coordinator.Target {
	t := c.All()
	if slices.ContainsFunc(t.Groups, func(g topology.ShardGroup) bool { return g.Partial }) {
		t.Groups = slices.DeleteFunc(slices.Clone(t.Groups), func(g topology.ShardGroup) bool { return g.Partial })
	}
	return t
}

// Known is the revision of the map that the collection was found in.
func (c *Collection) Known() uint64 { return c.from.Revision() }

// One is the target of one shard alone.
func (c *Collection) One(s topology.ShardID) coordinator.Target {
	return coordinator.Target{Collection: c.Collection, Groups: []topology.ShardGroup{{IDs: []topology.ShardID{s}}}}
}
