package shard

import (
	"github.com/pandodb/pando/services/dataplane/internal/query"
	"github.com/pandodb/pando/services/dataplane/internal/shard/optimize"
	"github.com/pandodb/pando/services/dataplane/internal/shard/vector"
)

// Info tells how the parts are at the moment. What the primary is going to decide upon
// counts as pending.
func (s *Shard) Info() query.Info {
	a := &s.apply
	a.Lock()
	jobs, settings := len(a.jobs), a.settings
	list := s.state.Sealed.Hold()
	parts, tail, all := s.weights(), s.state.Tail.Bytes(), settings.Optimizers
	vectors, payloads := s.state.Tail.Sizes()
	points := s.state.Shown()
	a.Unlock()
	defer func() {
		if err := list.Release(); err != nil {
			_ = s.store.Fail(err)
		}
	}()
	_, atWork := optimize.Next(all, tail, parts, wanted(), true)
	atWork = atWork || jobs > 0 || all.Threads >= 0
	all.Threads = 0
	_, due := optimize.Next(all, tail, parts, wanted(), true)
	i := query.Info{Segments: uint64(1 + len(list.List)), Indexed: map[string]uint64{}, Pending: uint64(jobs + count(due)), Paused: !atWork}
	i.Points, i.VectorBytes, i.PayloadBytes = uint64(points), uint64(vectors), uint64(payloads)
	for _, p := range list.List {
		v, d := p.Sizes(settings)
		i.VectorBytes, i.PayloadBytes = i.VectorBytes+uint64(v), i.PayloadBytes+uint64(d)
		i.Pending += uint64(len(p.Lacks(settings, nil)) + len(p.Lost(settings)))
		for _, f := range p.Fields() {
			if x, ok := f.Vectors.(*vector.Sealed); ok {
				i.Indexed[f.Name] += uint64(x.Indexed())
			}
		}
	}
	if err := s.store.Err(); err != nil {
		i.Failure = err.Error()
	}
	return i
}

// Disk is how many bytes the folder has.
func (s *Shard) Disk() uint64 {
	n := s.store.Metrics().DiskSpaceUsage()
	s.apply.Lock()
	m := s.apply.manifest
	s.apply.Unlock()
	for _, f := range m.Files() {
		n += uint64(f.Size)
	}
	return n
}
