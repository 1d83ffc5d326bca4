package shard

import (
	"errors"
	"fmt"
	"slices"

	"github.com/pandodb/pando/services/dataplane/internal/index/mask"
	fieldindex "github.com/pandodb/pando/services/dataplane/internal/index/payload"
	"github.com/pandodb/pando/services/dataplane/internal/query"
	"github.com/pandodb/pando/services/dataplane/internal/segment"
	"github.com/pandodb/pando/services/dataplane/internal/shard/part"
	"github.com/pandodb/pando/services/dataplane/internal/shard/vector"
)

// vectors are the schema's, sorted by name.
func (s *Shard) vectors() []query.VectorSchema {
	vs := slices.Clone(s.opts.Schema.Vectors)
	slices.SortFunc(vs, vector.ByName)
	return vs
}

// place says where a file of a segment is read from.
func place(settings query.Settings, k segment.Kind, name string) segment.Placement {
	disk, ram := false, false
	for _, v := range settings.Vectors {
		if v.Name == name {
			disk = k == segment.KindGraph && v.HNSW.OnDisk || k != segment.KindGraph && v.OnDisk
			ram = k == segment.KindCodes && v.Quantization.AlwaysRAM
		}
	}
	switch k {
	case segment.KindVectors, segment.KindGraph, segment.KindCodes, segment.KindPostings, segment.KindMulti:
		if disk && !ram {
			return segment.Cold
		}
		return segment.Pinned
	case segment.KindPayload, segment.KindRecords:
		if settings.PayloadOnDisk {
			return segment.Cold
		}
	}
	return segment.Cached
}

// open opens a segment as a sealed part. The caller has hold of it.
func (s *Shard) open(o origin, settings query.Settings) (*sealed, error) {
	spec := segment.Spec{Part: o.segment.Part, Vectors: s.vectors()}
	seg, err := segment.Open(s.opts.FS, s.segments(), spec, *o.segment, func(k segment.Kind, name string) segment.Placement {
		return place(settings, k, name)
	})
	if err != nil {
		return nil, segmentError(err)
	}
	p := &sealed{seg: seg, files: []*file{{Closer: seg}}}
	for _, a := range o.artefacts {
		var opened attached
		if opened, err = s.attach(a, settings); err != nil {
			break
		}
		p.artefacts = append(p.artefacts, opened)
	}
	p.hold()
	if err == nil {
		err = s.assemble(p, o, spec.Vectors, settings)
	}
	if err != nil {
		return nil, errors.Join(err, p.release())
	}
	return p, nil
}

// assemble puts together what reads see of p.
func (s *Shard) assemble(p *sealed, o origin, vs []query.VectorSchema, settings query.Settings) error {
	dead, fields := mask.New(p.seg.Rows()), make([]part.Field, len(vs))
	for i, v := range vs {
		files := map[segment.Kind][]byte{}
		for _, a := range p.artefacts {
			if a.Name == v.Name && a.Kind != segment.KindFields {
				files[a.Kind] = a.bytes
			}
		}
		x, err := vector.Open(v, p.seg, dead, files)
		if err != nil {
			return fmt.Errorf("%w: %s: part %d: %w", ErrCorrupt, s.opts.Dir, o.number, err)
		}
		fields[i] = part.Field{VectorSchema: v, Vectors: x}
	}
	p.Part = part.NewSealed(o.number, p.seg, dead, fields, &fieldindex.Set{})
	set, err := p.indexed(settings.Fields)
	if err != nil {
		return fmt.Errorf("%w: %s: part %d: %w", ErrCorrupt, s.opts.Dir, o.number, err)
	}
	p.Part = p.With(nil, set)
	return nil
}

// attach opens an artefact.
func (s *Shard) attach(a artefact, settings query.Settings) (attached, error) {
	f, err := segment.OpenArtefact(s.opts.FS, s.segments(), a.File, place(settings, a.Kind, a.Name))
	if err != nil {
		return attached{}, segmentError(err)
	}
	return attached{artefact: a, file: &file{Closer: f}, bytes: f.Bytes()}, nil
}

// adorned is p with an artefact more, in the place of the one that it may have had.
// What the caller had hold of p by holds the result instead; p stays as it is.
func (p *sealed) adorned(a attached, settings query.Settings) (*sealed, error) {
	next := *p
	if a.Kind == segment.KindFields {
		next.artefacts = append(slices.Clip(p.artefacts), a)
		set, err := next.indexed(settings.Fields)
		if err != nil {
			return nil, err
		}
		next.Part = p.With(nil, set)
	} else {
		i := slices.IndexFunc(p.Fields(), func(f part.Field) bool { return f.Name == a.Name })
		x, err := p.Fields()[i].Vectors.(*vector.Sealed).With(a.Kind, a.bytes)
		if err != nil {
			return nil, err
		}
		fields := slices.Clone(p.Fields())
		fields[i].Vectors = x
		next.Part = p.With(fields, nil)
		next.artefacts = slices.DeleteFunc(slices.Clone(p.artefacts), func(b attached) bool { return b.Kind == a.Kind && b.Name == a.Name })
		next.artefacts = append(next.artefacts, a)
	}
	next.hold()
	return &next, p.release()
}

// without is p without an artefact. Nobody has hold of it yet.
func (p *sealed) without(a *attached, settings query.Settings) (*sealed, error) {
	next := *p
	next.artefacts = slices.DeleteFunc(slices.Clone(p.artefacts), func(b attached) bool { return b.file == a.file })
	if a.Kind == segment.KindFields {
		set, err := next.indexed(settings.Fields)
		next.Part = p.With(nil, set)
		return &next, err
	}
	fields := slices.Clone(p.Fields())
	for i, f := range fields {
		if f.Name != a.Name {
			continue
		}
		x, err := f.Vectors.(*vector.Sealed).With(a.Kind, nil)
		if err != nil {
			return nil, err
		}
		fields[i].Vectors = x
	}
	next.Part = p.With(fields, nil)
	return &next, nil
}

// nameOf says what an index on a payload field is made from.
func nameOf(f query.FieldIndex) string { return fmt.Sprintf("%+v", f.Index()) }

// indexed are the indexes on payload fields that specs ask for: out of artefacts, or
// made in memory where there is none.
func (p *sealed) indexed(specs []query.FieldIndex) (*fieldindex.Set, error) {
	files := make([][]byte, len(specs))
	var missing []query.FieldIndex
	var at []int
	for i, spec := range specs {
		if a := p.artefact(segment.KindFields, spec.Key, nameOf(spec)); a != nil {
			files[i] = a.bytes
		} else {
			missing, at = append(missing, spec), append(at, i)
		}
	}
	made, err := p.index(missing)
	if err != nil {
		return nil, err
	}
	for j, b := range made {
		files[at[j]] = b
	}
	set, err := fieldindex.Open(files...)
	if errors.Is(err, fieldindex.ErrStale) { // this build reads words otherwise than the one that made the file
		if files, err = p.index(specs); err == nil {
			set, err = fieldindex.Open(files...)
		}
	}
	return set, err
}

// index makes indexes over all rows.
func (p *sealed) index(specs []query.FieldIndex) ([][]byte, error) {
	if len(specs) == 0 {
		return nil, nil
	}
	b, err := fieldindex.NewBuilder(specs)
	if err != nil {
		return nil, err
	}
	for row := range uint32(p.seg.Rows()) {
		b.Add(row, p.seg.Payload(row))
	}
	return b.Files(uint32(p.seg.Rows())), nil
}

// artefact finds one; nil: p does not have it.
func (p *sealed) artefact(k segment.Kind, name, of string) *attached {
	i := slices.IndexFunc(p.artefacts, func(a attached) bool { return a.Kind == k && a.Name == name && a.of == of })
	if i < 0 {
		return nil
	}
	return &p.artefacts[i]
}
