package memfs

import (
	"maps"
	"math/rand/v2"
	"slices"
)

// CrashClone returns what the disk could hold after a loss of power now. Of
// what no Sync covered, every sector is chosen on its own among all contents
// that it had since, now and then torn within; every name change is kept or
// lost on its own. Some clones keep all, some nothing, most a part. The same
// source of random numbers gives the same clone. The receiver is not changed
// and its open files go on working on it alone.
func (m *FS) CrashClone(rng *rand.Rand) *FS {
	keep := rng.Float64()
	switch rng.IntN(8) {
	case 0:
		keep = 0
	case 1:
		keep = 1
	}
	return m.clone(&dice{rng: rng, keep: keep})
}

// StrictClone is the crash that loses everything that was not synced.
func (m *FS) StrictClone() *FS { return m.clone(&dice{}) }

// dice decides what survives; without a source nothing does.
type dice struct {
	rng  *rand.Rand
	keep float64
}

func (d *dice) survives() bool { return d.rng != nil && d.rng.Float64() < d.keep }

func (d *dice) oneIn(n int) bool { return d.rng != nil && d.rng.IntN(n) == 0 }

func (m *FS) clone(d *dice) *FS {
	m.mu.RLock()
	defer m.mu.RUnlock()
	c := cloner{dice: d, names: map[*node]map[string]*node{}, done: map[*node]*node{}}
	for _, ch := range m.mu.pending {
		if !d.survives() {
			continue
		}
		for _, e := range ch {
			e.applyTo(c.namesOf(e.dir))
		}
	}
	out := New()
	out.mu.root = c.node(m.mu.root)
	out.mu.total = m.mu.total
	for _, n := range c.done {
		out.mu.used += n.allocated()
	}
	return out
}

// cloner copies the tree; done keeps hard links one file.
type cloner struct {
	*dice
	names map[*node]map[string]*node
	done  map[*node]*node
}

func (c *cloner) namesOf(dir *node) map[string]*node {
	if c.names[dir] == nil {
		c.names[dir] = maps.Clone(dir.durable)
	}
	return c.names[dir]
}

func (c *cloner) node(n *node) *node {
	if made := c.done[n]; made != nil {
		made.links++
		return made
	}
	if !n.isDir() {
		made := c.file(n)
		c.done[n] = made
		return made
	}
	made := newDir()
	made.links = 1
	c.done[n] = made
	names := c.namesOf(n)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		child := c.node(names[name])
		made.names[name], made.durable[name] = child, child
	}
	return made
}

func (c *cloner) file(n *node) *node {
	made := &node{links: 1, size: c.size(n)}
	for i := range (made.size + pageSize - 1) / pageSize {
		var p *page
		if i < int64(len(n.pages)) && n.pages[i] != nil {
			p = new(page)
			*p = *n.pages[i]
		}
		made.pages = append(made.pages, p)
	}
	for _, s := range slices.Sorted(maps.Keys(n.dirty)) {
		c.settle(made, s, n.dirty[s])
	}
	if tail := made.size % pageSize; tail > 0 {
		if p := made.pages[len(made.pages)-1]; p != nil {
			clear(p[tail:])
		}
	}
	return made
}

func (c *cloner) size(n *node) int64 {
	if len(n.sizes) == 0 || c.survives() {
		return n.size
	}
	if c.oneIn(4) {
		return n.sizes[c.rng.IntN(len(n.sizes))]
	}
	return n.sizes[0]
}

// settle decides what sector s of made holds; older lists its contents before
// the present ones.
func (c *cloner) settle(made *node, s int64, older []sector) {
	present := made.sector(s)
	got := older[0]
	switch {
	case c.survives():
		got = present
	case c.oneIn(4):
		got = older[c.rng.IntN(len(older))]
	case c.oneIn(16):
		cut := c.rng.IntN(sectorSize)
		copy(got[:cut], present[:cut])
	}
	i := s / sectorsPerPage
	if got == present || i >= int64(len(made.pages)) {
		return
	}
	if made.pages[i] == nil {
		made.pages[i] = new(page)
	}
	copy(made.pages[i][s%sectorsPerPage*sectorSize:], got[:])
}
