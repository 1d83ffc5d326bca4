// Package job is what is to become one sealed part: of which rows of which others it is
// made, and in what order.
package job

import (
	"iter"
	"slices"

	"github.com/RoaringBitmap/roaring/v2"
	"github.com/pandodb/pando/services/dataplane/internal/point"
	"github.com/pandodb/pando/services/dataplane/internal/query"
	"github.com/pandodb/pando/services/dataplane/internal/segment"
	"github.com/pandodb/pando/services/dataplane/internal/shard/manifest"
	"github.com/pandodb/pando/services/dataplane/internal/shard/optimize"
	"github.com/pandodb/pando/services/dataplane/internal/shard/sealed"
	"github.com/pandodb/pando/services/dataplane/internal/shard/store"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/vfs"
)

// Job makes a segment out of the rows of sources that were alive at its entry.
type Job struct {
	Number  topology.Seq
	Earlier []topology.Seq // stages before the last (segment.Stages)
	Sources []Input
	// Schema is that of its entry, as far as a restart remembers it, so that replicas
	// make equal files; Trim: vectors that are not in it are left out.
	Schema []query.VectorSchema
	Trim   bool
}

// Input is a source of a Job without the rows that were dead.
type Input struct {
	*sealed.Part
	Gone  *roaring.Bitmap // dead at the entry
	Stage int             // of its rows in the part that is made; or manifest.Keep
}

// Of takes the rows of p that are alive now.
func Of(p *sealed.Part) Input {
	in := Input{Part: p, Gone: roaring.New()}
	p.Dead.Each(func(row uint32, _ uint64) { in.Gone.Add(row) })
	return in
}

// Merge is the job that makes one part of several, as they are or as they were going to
// be made: its stages must not depend on which of them this replica has made.
func Merge(seq topology.Seq, parts []*Job) *Job {
	m := &Job{Number: seq}
	all := 0
	var weights []optimize.Source
	for _, p := range parts {
		w := optimize.Source{Stages: len(p.Earlier) + 1}
		for i := range p.Sources {
			in := &p.Sources[i]
			w.Rows += in.Living()
			w.Died = w.Died || in.Dead.Len() > int(in.Gone.GetCardinality())
			all += in.Alive()
		}
		weights = append(weights, w)
	}
	base := optimize.Base(weights, all)
	if base >= 0 {
		m.Earlier = append(slices.Clone(parts[base].Earlier), parts[base].Number)
	}
	for i, p := range parts {
		for _, src := range p.Sources {
			in := Of(src.Part)
			if in.Stage = len(m.Earlier); i == base {
				in.Stage = src.Stage
			}
			m.Sources = append(m.Sources, in)
		}
	}
	return m
}

// Mourn lets the rows be dead in made that died after the job's entry.
func (j *Job) Mourn(made *sealed.Part) {
	for _, in := range j.Sources {
		in.Dead.Each(func(row uint32, at uint64) {
			if in.Gone.Contains(row) {
				return
			}
			if r, ok := made.Find(in.ID(row)); ok {
				made.Dead.Kill(r, at)
			}
		})
	}
}

// Source is the input as the manifest has it.
func (in *Input) Source() manifest.Source {
	s := manifest.Source{Origin: in.Origin(), Stage: in.Stage}
	if s.Segment != nil {
		s.Rows = in.Gone
		return s
	}
	in.Gone.Iterate(func(row uint32) bool {
		s.IDs = append(s.IDs, in.ID(row))
		return true
	})
	return s
}

// Living counts the rows of an input.
func (in *Input) Living() int {
	return in.Alive() + in.Dead.Len() - int(in.Gone.GetCardinality())
}

// stageOf is the stage of a row in the part that is made.
func (in *Input) stageOf(row uint32) uint8 {
	if in.Stage != manifest.Keep {
		return uint8(in.Stage)
	}
	stages := in.Stages()
	return stages.At(row)
}

// dies tells whether an id of the input was dead at the job's entry.
func (in *Input) dies(id topology.PointID) bool {
	row, ok := in.Find(id)
	return ok && in.Gone.Contains(row)
}

// Points are those that were alive at the entry, by id; those of generations are in st.
func (j *Job) Points(st *store.Store) iter.Seq2[segment.Row, error] {
	return func(yield func(segment.Row, error) bool) {
		var heads []*head
		defer func() {
			for _, h := range heads {
				h.stop()
			}
		}()
		for i := range j.Sources {
			h := &head{}
			h.next, h.stop = iter.Pull2(j.Sources[i].points(st))
			if h.step() {
				heads = append(heads, h)
			} else {
				h.stop()
			}
		}
		for len(heads) > 0 {
			least := 0
			for i, h := range heads[1:] {
				if heads[least].err == nil && (h.err != nil || h.p.ID.Compare(heads[least].p.ID) < 0) {
					least = i + 1
				}
			}
			h := heads[least]
			if !yield(h.p, h.err) || h.err != nil {
				return
			}
			if !h.step() {
				h.stop()
				heads = slices.Delete(heads, least, least+1)
			}
		}
	}
}

// head is the next point of a source.
type head struct {
	p    segment.Row
	err  error
	next func() (segment.Row, error, bool)
	stop func()
}

func (h *head) step() (ok bool) {
	h.p, h.err, ok = h.next()
	return ok
}

// points are those of an input, by id.
func (in *Input) points(st *store.Store) iter.Seq2[segment.Row, error] {
	return func(yield func(segment.Row, error) bool) {
		var p point.Point
		out := segment.Row{Point: &p}
		gen, waits := in.Generation()
		if !waits {
			for row := range uint32(in.Rows()) {
				if in.Gone.Contains(row) {
					continue
				}
				var err error
				if fault := vfs.Guard(func() { // whoever pulls is another goroutine
					err, out.Stage = in.Stored(row, &p), in.stageOf(row)
				}); fault != nil {
					err = fault
				}
				if !yield(out, err) || err != nil {
					return
				}
			}
			return
		}
		out.Stage = uint8(in.Stage)
		err := st.Scan(store.Generation(nil, gen), store.Generation(nil, gen+1), func(key, v []byte) error {
			id, err := topology.DecodePointID(key[store.TailHead:])
			if err != nil || in.dies(id) {
				return err
			}
			if p, err = point.Decode(id, v); err != nil {
				return store.Damaged(err)
			}
			if !yield(out, nil) {
				return store.ErrEnough
			}
			return nil
		})
		if err != nil {
			yield(out, err)
		}
	}
}
