// Package grouping gathers the best points of each group out of rankings. It is pure.
//
// A ranking of all points would say everything, but it may be long. Instead rankings
// are asked for that are cut: first of all points, then of those in groups that are
// not known yet, then of those in groups that are known but not full. Each ranking
// has all points of the groups that it is about down to where it was cut, so what
// stands in it of such a group are the group's best.
package grouping

import (
	"maps"

	"github.com/pandodb/pando/services/dataplane/internal/payload"
)

// Key is the value that the points of a group have in common: a text, or an integer.
type Key struct {
	Text  string
	Int   int64
	IsInt bool
}

// Keys are the groups that a point with this payload belongs to, each once: by its
// values at the path, a list standing for its elements. Where one of them is neither
// a text nor an integer it belongs to none, as in Qdrant.
func Keys(by payload.Path, d payload.Doc) (out []Key) {
	good := by.Walk(d, func(v payload.Value) bool {
		if v.Kind() != payload.List {
			return add(&out, v)
		}
		for e := range v.Elements() {
			if !add(&out, e) {
				return false
			}
		}
		return true
	})
	if !good {
		return nil
	}
	return out
}

func add(to *[]Key, v payload.Value) bool {
	var k Key
	switch v.Kind() {
	case payload.String:
		k.Text = v.Str()
	case payload.Integer:
		k.Int, k.IsInt = v.Int(), true
	default:
		return false
	}
	for _, has := range *to {
		if has == k {
			return true
		}
	}
	*to = append(*to, k)
	return true
}

// Member is a place of a ranking.
type Member[T any] struct {
	Point T
	Keys  []Key
}

// Groups are up to most groups of up to size points each.
type Groups[T any] struct {
	most, size int
	keys       []Key
	points     map[Key][]T
}

// New begins to gather. most and size are at least 1.
func New[T any](most, size int) *Groups[T] {
	return &Groups[T]{most: most, size: size, points: map[Key][]T{}}
}

// Discover takes a ranking of all points that are in groups which are not known. It
// must be called until there are enough groups or no more.
func (g *Groups[T]) Discover(ranking []Member[T]) {
	fresh := map[Key][]T{}
	for _, m := range ranking {
		for _, k := range m.Keys {
			if _, known := g.points[k]; known {
				continue
			}
			at, there := fresh[k]
			if !there && len(g.keys) < g.most {
				g.keys = append(g.keys, k)
				there = true
			}
			if there && len(at) < g.size {
				fresh[k] = append(at, m.Point)
			}
		}
	}
	maps.Copy(g.points, fresh)
}

// Fill takes a ranking of all points that are in groups which are not full.
func (g *Groups[T]) Fill(ranking []Member[T]) {
	fresh := map[Key][]T{}
	for _, k := range g.Open() {
		fresh[k] = nil
	}
	for _, m := range ranking {
		for _, k := range m.Keys {
			if at, open := fresh[k]; open && len(at) < g.size {
				fresh[k] = append(at, m.Point)
			}
		}
	}
	for k, points := range fresh {
		if len(points) > len(g.points[k]) {
			g.points[k] = points
		}
	}
}

// Full tells whether there are as many groups as are wanted.
func (g *Groups[T]) Full() bool { return len(g.keys) == g.most }

// Known are the groups, in the order of their best points.
func (g *Groups[T]) Known() []Key { return g.keys }

// Open are the groups that are not full.
func (g *Groups[T]) Open() (out []Key) {
	for _, k := range g.keys {
		if len(g.points[k]) < g.size {
			out = append(out, k)
		}
	}
	return out
}

// Of are the points of a group, the best first.
func (g *Groups[T]) Of(k Key) []T { return g.points[k] }
