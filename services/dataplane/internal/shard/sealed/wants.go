package sealed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/pandodb/pando/services/dataplane/internal/query"
	"github.com/pandodb/pando/services/dataplane/internal/segment"
	"github.com/pandodb/pando/services/dataplane/internal/shard/manifest"
	"github.com/pandodb/pando/services/dataplane/internal/shard/store"
	"github.com/pandodb/pando/services/dataplane/internal/shard/vector"
)

// indexRows is from how many rows on an index on a payload field is kept in a file
// instead of being made at every start.
const indexRows = 1 << 14

// Lacks are the artefacts that p should have and does not. base is the part that has the
// rows of p's first stages, whose graphs need not be built again; nil: there is none.
func (p *Part) Lacks(s query.Settings, base *Part) []vector.Want {
	return slices.DeleteFunc(p.wants(s, base), func(w vector.Want) bool { return p.artefact(w.Kind, w.Name, w.Of) != nil })
}

// Stripped is p without the first artefact that it has and should not; nil: there is
// none. Nobody has hold of it yet.
func (p *Part) Stripped(s query.Settings) (*Part, error) {
	i := p.surplus(s)
	if i < 0 {
		return nil, nil
	}
	return p.without(i, s)
}

// surplus is the place of an artefact that p has and should not; -1: there is none. One
// that another is going to replace serves until then.
func (p *Part) surplus(s query.Settings) int {
	wants := append(p.wants(s, nil), p.basics()...)
	for i, a := range p.artefacts {
		serves := func(w vector.Want) bool {
			return w.Kind == a.Kind && w.Name == a.Name && (w.Of == a.Of || p.artefact(w.Kind, w.Name, w.Of) == nil)
		}
		if !slices.ContainsFunc(wants, serves) {
			return i
		}
	}
	return -1
}

// basics are what p cannot be searched without.
func (p *Part) basics() (out []vector.Want) {
	for _, f := range p.Fields() {
		if x, ok := f.Vectors.(*vector.Sealed); ok {
			if w, ok := x.Basic(); ok {
				out = append(out, w)
			}
		}
	}
	return out
}

// lostBasics are those of basics whose files are lost.
func (p *Part) lostBasics() []vector.Want { return p.lost(p.basics()) }

// lost are those of wants whose files are lost.
func (p *Part) lost(wants []vector.Want) []vector.Want {
	return slices.DeleteFunc(wants, func(w vector.Want) bool {
		a := p.artefact(w.Kind, w.Name, w.Of)
		return a == nil || !a.lost
	})
}

// Lost are the artefacts that p should have, and had until their files were lost.
func (p *Part) Lost(s query.Settings) []vector.Want {
	if !slices.ContainsFunc(p.artefacts, func(a Artefact) bool { return a.lost }) {
		return nil
	}
	return append(p.lostBasics(), p.lost(p.wants(s, nil))...)
}

// wants are the artefacts that p should have besides those that it cannot be searched
// without.
func (p *Part) wants(s query.Settings, base *Part) (out []vector.Want) {
	if p.seg == nil {
		return nil
	}
	groups := p.groups(s.Fields)
	for _, f := range p.Fields() {
		x := f.Vectors.(*vector.Sealed)
		if at := slices.IndexFunc(s.Vectors, func(v query.VectorSettings) bool { return v.Name == f.Name }); at >= 0 {
			out = append(out, x.Wants(s.Vectors[at], s.Optimizers.IndexingThresholdKB<<10, groups, base.vector(f.Name))...)
		}
	}
	for _, spec := range s.Fields {
		if p.Rows() >= indexRows {
			out = append(out, vector.Want{Kind: segment.KindFields, Name: spec.Key, Of: nameOf(spec), Threads: 1, Make: func(context.Context, int) (func(io.Writer) error, error) {
				made, err := p.index([]query.FieldIndex{spec})
				return func(w io.Writer) error {
					_, err := w.Write(made[0])
					return err
				}, err
			}})
		}
	}
	return out
}

// vector finds a vector of a part in a segment; nil: there is none.
func (p *Part) vector(name string) *vector.Sealed {
	if p == nil {
		return nil
	}
	for _, f := range p.Fields() {
		if x, ok := f.Vectors.(*vector.Sealed); ok && f.Name == name {
			return x
		}
	}
	return nil
}

// groups are the rows with one value of a field of keywords each.
func (p *Part) groups(specs []query.FieldIndex) vector.Groups {
	var of []string
	for _, spec := range specs {
		if spec.Type == query.KeywordField && !spec.NoGraph {
			of = append(of, spec.Key)
		}
	}
	return vector.Groups{Of: strings.Join(of, " "), Rows: func() (all [][]uint32) {
		for _, key := range of {
			all = append(all, p.Indexes().Groups(key)...)
		}
		return all
	}}
}

// Adorn derives an artefact and gives it to p. What the caller had hold of p by holds
// the result instead, which is p with an error. Errors are those of Derive.
func (f Folder) Adorn(p *Part, w vector.Want, write func(io.Writer) error, settings query.Settings) (*Part, error) {
	a, err := f.Derive(p, w, write, settings)
	if err != nil {
		return p, err
	}
	next, err := p.Adorned(a, settings)
	if err != nil {
		return p, errors.Join(err, a.Close())
	}
	return next, nil
}

// Derive writes an artefact of p with what its Make answered, nil only if p has had it,
// and opens it. One that was lost takes the place of the old file in one step. Errors: store.ErrCorrupt, also
// if it is not what it was before; store.ErrVersion, the disk's.
func (f Folder) Derive(p *Part, w vector.Want, write func(io.Writer) error, settings query.Settings) (Artefact, error) {
	old := p.artefact(w.Kind, w.Name, w.Of)
	if write == nil {
		return Artefact{}, fmt.Errorf("%w: %s: no row of its segment has a vector %q any more", store.ErrCorrupt, f.Path(old.File), w.Name)
	}
	made, err := segment.WriteArtefact(f.fs, f.Dir, w.Kind, w.Name, write)
	if err != nil {
		return Artefact{}, classify(err)
	}
	if old != nil && old.File != made {
		return Artefact{}, fmt.Errorf("%w: %s: made again from its segment it is %s, so the segment is not what it was", store.ErrCorrupt, f.Path(old.File), made.FileName())
	}
	a, err := f.attach(manifest.Artefact{File: made, Of: w.Of}, settings)
	if err == nil && old != nil && f.Mended != nil {
		f.Mended(f.Path(made))
	}
	return a, err
}

// complete gives p artefacts that it lacks. Whoever had hold of p has hold of the
// result, also with an error.
func (f Folder) complete(ctx context.Context, p *Part, lacks []vector.Want, settings query.Settings) (*Part, error) {
	for _, w := range lacks {
		write, err := w.Make(ctx, 1)
		if err == nil && (write != nil || p.artefact(w.Kind, w.Name, w.Of) != nil) {
			p, err = f.Adorn(p, w, write, settings)
		}
		if err != nil {
			return p, err
		}
	}
	return p, nil
}
