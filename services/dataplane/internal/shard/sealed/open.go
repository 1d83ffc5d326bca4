package sealed

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"path/filepath"
	"slices"

	"github.com/pandodb/pando/services/dataplane/internal/filter/analysis"
	"github.com/pandodb/pando/services/dataplane/internal/index/mask"
	fieldindex "github.com/pandodb/pando/services/dataplane/internal/index/payload"
	"github.com/pandodb/pando/services/dataplane/internal/query"
	"github.com/pandodb/pando/services/dataplane/internal/segment"
	"github.com/pandodb/pando/services/dataplane/internal/shard/manifest"
	"github.com/pandodb/pando/services/dataplane/internal/shard/part"
	"github.com/pandodb/pando/services/dataplane/internal/shard/store"
	"github.com/pandodb/pando/services/dataplane/internal/shard/vector"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/vfs"
)

// Folder is where the segments of a shard are.
type Folder struct {
	Dir string
	// Lost hears of an artefact whose file is damaged, missing or cannot be read, and
	// why; it is made again. Mended hears that it was. Both may be nil.
	Lost   func(file string, reason error)
	Mended func(file string)

	fs vfs.FS
}

// NewFolder is the folder of segments in that of a shard. It need not be there yet.
func NewFolder(fs vfs.FS, shard string) Folder {
	return Folder{Dir: filepath.Join(shard, "segments"), fs: fs}
}

// columns are the vectors of the settings under their keys.
func columns(settings query.Settings) []query.VectorSchema {
	out := slices.Clone(settings.Schema)
	for i, v := range out {
		out[i].Name, out[i].Generation = v.Key(), 0
	}
	return out
}

// Path is where a file of a segment is.
func (f Folder) Path(x segment.File) string { return filepath.Join(f.Dir, x.FileName()) }

// Clean removes the files that m does not name. Nothing may be writing any.
func (f Folder) Clean(m *manifest.Manifest) error {
	keep := map[string]bool{}
	for _, x := range m.Files() {
		keep[x.FileName()] = true
	}
	err := segment.Clean(f.fs, f.Dir, func(x segment.File) bool { return keep[x.FileName()] })
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Write makes a segment of n points, by id, with what it cannot be searched without,
// and opens it. The settings' vectors come into spec. The caller has hold of it. Errors:
// store.ErrCorrupt, store.ErrVersion, the disk's, ctx's, those of points.
func (f Folder) Write(ctx context.Context, spec segment.Spec, n int, points iter.Seq2[segment.Row, error], settings query.Settings) (*Part, error) {
	spec.Vectors = columns(settings)
	d, err := segment.Write(ctx, f.fs, f.Dir, spec, n, points)
	if err != nil {
		return nil, classify(err)
	}
	p, err := f.Open(manifest.Origin{Number: spec.Part, Segment: &d}, settings)
	if err != nil {
		return nil, err
	}
	if p, err = f.complete(ctx, p, p.basics(), settings); err != nil {
		return nil, errors.Join(err, p.Release())
	}
	return p, nil
}

// place says where a file of a segment is read from.
func place(settings query.Settings, k segment.Kind, name string) segment.Placement {
	name, named := settings.Named(name)
	disk, ram := !named, false // one that was dropped waits there for a merge
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
	case segment.KindStages:
		return segment.Cold
	case segment.KindPayload, segment.KindRecords:
		if settings.PayloadOnDisk {
			return segment.Cold
		}
	}
	return segment.Cached
}

// Open opens a segment as a sealed part. The caller has hold of it. What is lost of its
// artefacts is made again, at once if it cannot be searched without. Errors:
// store.ErrCorrupt, store.ErrVersion, segment.ErrUnreadable, the disk's.
func (f Folder) Open(o manifest.Origin, settings query.Settings) (*Part, error) {
	p := &Part{}
	err := f.openSegment(p, *o.Segment, settings)
	for i := 0; err == nil && i < len(o.Artefacts); i++ {
		var a Artefact
		if a, err = f.find(o.Artefacts[i], settings); err == nil {
			p.artefacts = append(p.artefacts, a)
		}
	}
	p.Hold()
	if err == nil {
		err = f.assemble(p, o.Number, mask.New(p.seg.Rows()), settings)
	}
	if err == nil {
		p, err = f.complete(context.Background(), p, p.lostBasics(), settings)
	}
	if err != nil {
		return nil, errors.Join(err, p.Release())
	}
	return p, nil
}

// openSegment gives p the files of a segment.
func (f Folder) openSegment(p *Part, d segment.Description, settings query.Settings) error {
	seg, err := segment.Open(f.fs, f.Dir, segment.Spec{Part: d.Part, Vectors: columns(settings)}, d, func(k segment.Kind, name string) segment.Placement {
		return place(settings, k, name)
	})
	if err != nil {
		return classify(err)
	}
	p.seg, p.files, p.places = seg, []*file{{Closer: seg}}, places(d, settings)
	return nil
}

// places of a segment's files.
func places(d segment.Description, settings query.Settings) (out []segment.Placement) {
	for _, x := range d.Files {
		out = append(out, place(settings, x.Kind, x.Name))
	}
	return out
}

// Misplaced tells whether settings want a file of p elsewhere than it is, and it is not
// lost.
func (p *Part) Misplaced(settings query.Settings) bool {
	return p.seg != nil && (!slices.Equal(p.places, places(p.seg.Description(), settings)) ||
		slices.ContainsFunc(p.artefacts, func(a Artefact) bool { return a.misplaced(settings) }))
}

func (a *Artefact) misplaced(settings query.Settings) bool {
	return !a.lost && a.place != place(settings, a.Kind, a.Name)
}

// Moved is p, which is misplaced, with its files where settings want them; they are
// opened anew and not written. The caller has hold of it as well as of p. Errors are
// those of Open.
func (f Folder) Moved(p *Part, settings query.Settings) (*Part, error) {
	next := &Part{seg: p.seg, places: p.places, files: p.files}
	var err error
	if d := p.seg.Description(); !slices.Equal(p.places, places(d, settings)) {
		err = f.openSegment(next, d, settings)
	}
	for i := 0; err == nil && i < len(p.artefacts); i++ {
		a := p.artefacts[i]
		if a.misplaced(settings) {
			a, err = f.find(a.Artefact, settings)
		}
		if err == nil {
			next.artefacts = append(next.artefacts, a)
		}
	}
	next.Hold()
	if err == nil {
		err = f.assemble(next, p.Number, p.Dead, settings)
	}
	if err == nil {
		next, err = f.complete(context.Background(), next, next.lostBasics(), settings)
	}
	if err != nil {
		return nil, errors.Join(err, next.Release())
	}
	return next, nil
}

// assemble puts together what reads see of p.
func (f Folder) assemble(p *Part, number topology.Seq, dead *mask.Mask, settings query.Settings) error {
	fields, err := part.Fit(nil, settings.Schema, func(v query.VectorSchema) (part.Vectors, error) { return p.open(v, dead) })
	if err != nil {
		return fmt.Errorf("%w: %s: part %d: %w", store.ErrCorrupt, filepath.Dir(f.Dir), number, err)
	}
	p.Part = part.NewSealed(number, p.seg, dead, fields, &fieldindex.Set{})
	set, err := p.Indexed(settings.Fields)
	if err != nil {
		return fmt.Errorf("%w: %s: part %d: %w", store.ErrCorrupt, filepath.Dir(f.Dir), number, err)
	}
	p.Part = p.With(nil, set)
	return nil
}

// open puts a named vector together.
func (p *Part) open(v query.VectorSchema, dead *mask.Mask) (part.Vectors, error) {
	files := map[segment.Kind][]byte{}
	for _, a := range p.artefacts {
		if a.Name == v.Key() && a.Kind != segment.KindFields && a.file != nil {
			files[a.Kind] = a.bytes
		}
	}
	return vector.Open(v, p.seg, dead, files)
}

// Fitted is p with the named vectors of a schema. Who has hold of p does not thereby
// have hold of it.
func (p *Part) Fitted(schema []query.VectorSchema) (*Part, error) {
	if p.Fits(schema) {
		return p, nil
	}
	fresh := vector.NewStore
	if p.seg != nil {
		fresh = func(v query.VectorSchema) (part.Vectors, error) { return p.open(v, p.Dead) }
	}
	fields, err := part.Fit(p.Fields(), schema, fresh)
	if err != nil {
		return nil, err
	}
	next := *p
	next.Part = p.With(fields, nil)
	return &next, nil
}

// attach opens an artefact.
func (f Folder) attach(a manifest.Artefact, settings query.Settings) (Artefact, error) {
	at := place(settings, a.Kind, a.Name)
	open, err := segment.OpenArtefact(f.fs, f.Dir, a.File, at)
	if err != nil {
		return Artefact{}, classify(err)
	}
	return Artefact{Artefact: a, place: at, file: &file{Closer: open}, bytes: open.Bytes()}, nil
}

// find opens an artefact that a manifest names; one that is lost is not open.
func (f Folder) find(a manifest.Artefact, settings query.Settings) (Artefact, error) {
	out, err := f.attach(a, settings)
	if !errors.Is(err, segment.ErrCorrupt) && !errors.Is(err, segment.ErrUnreadable) {
		return out, err
	}
	if f.Lost != nil {
		f.Lost(f.Path(a.File), err)
	}
	return Artefact{Artefact: a, place: place(settings, a.Kind, a.Name), lost: true}, nil
}

// Sizes are about what the vectors that the settings have and payloads take; a part
// that waits for its segment does not say.
func (p *Part) Sizes(settings query.Settings) (vectors, payloads int64) {
	if p.seg == nil {
		return 0, 0
	}
	files := p.seg.Description().Files
	for _, a := range p.artefacts {
		files = append(slices.Clip(files), a.File)
	}
	for _, x := range files {
		switch _, named := settings.Named(x.Name); x.Kind {
		case segment.KindVectors, segment.KindPostings, segment.KindMulti:
			if named {
				vectors += x.Size
			}
		case segment.KindPayload:
			payloads += x.Size
		}
	}
	return vectors, payloads
}

// Takes tells whether p can be given an artefact: its vector may be dropped meanwhile.
func (p *Part) Takes(a *Artefact) bool {
	return a.Kind == segment.KindFields || p.Keyed(a.Name) != nil
}

// Adorned is p with an artefact more that it takes, in the place of the one that it may have had.
// What the caller had hold of p by holds the result instead; p stays as it is.
func (p *Part) Adorned(a Artefact, settings query.Settings) (*Part, error) {
	next := *p
	next.artefacts = slices.DeleteFunc(slices.Clone(p.artefacts), func(b Artefact) bool {
		return b.Kind == a.Kind && b.Name == a.Name && (b.Of == a.Of || a.Kind != segment.KindFields)
	})
	next.artefacts = append(next.artefacts, a)
	if a.Kind == segment.KindFields {
		set, err := next.Indexed(settings.Fields)
		if err != nil {
			return nil, err
		}
		next.Part = p.With(nil, set)
	} else {
		x, err := p.Keyed(a.Name).Vectors.(*vector.Sealed).With(a.Kind, a.bytes)
		if err != nil {
			return nil, err
		}
		fields := slices.Clone(p.Fields())
		for i := range fields {
			if fields[i].Key() == a.Name {
				fields[i].Vectors = x
			}
		}
		next.Part = p.With(fields, nil)
	}
	next.Hold()
	return &next, p.Release()
}

// Losing is p with the artefact of a file lost, which was found while p is open; nil: p
// has none such. Nobody has hold of it yet. What memory has of the file was checked and
// serves on until it is made again; so does what searches would be wrong or long at a
// loss without. Other contents are not looked at any more.
func (p *Part) Losing(x segment.File, settings query.Settings) (*Part, error) {
	i := slices.IndexFunc(p.artefacts, func(a Artefact) bool { return a.File == x && !a.lost })
	if i < 0 {
		return nil, nil
	}
	next := *p
	next.artefacts = slices.Clone(p.artefacts)
	a := &next.artefacts[i]
	a.lost = true
	if a.place == segment.Pinned || a.basic() || a.Kind == segment.KindFields {
		return &next, nil
	}
	a.file, a.bytes = nil, nil
	return &next, next.bare(a, settings)
}

// without is p without artefact i. Nobody has hold of it yet.
func (p *Part) without(i int, settings query.Settings) (*Part, error) {
	next := *p
	next.artefacts = slices.Delete(slices.Clone(p.artefacts), i, i+1)
	return &next, next.bare(&p.artefacts[i], settings)
}

// bare takes the contents of an artefact, which is not among those of p that are open
// any more, out of what reads see.
func (p *Part) bare(a *Artefact, settings query.Settings) error {
	if a.Kind == segment.KindFields {
		set, err := p.Indexed(settings.Fields)
		p.Part = p.With(nil, set)
		return err
	}
	fields := slices.Clone(p.Fields())
	for i, f := range fields {
		if f.Key() != a.Name {
			continue
		}
		x, err := f.Vectors.(*vector.Sealed).With(a.Kind, nil)
		if err != nil {
			return err
		}
		fields[i].Vectors = x
	}
	p.Part = p.With(fields, nil)
	return nil
}

// nameOf says what an index on a payload field is made from.
func nameOf(f query.FieldIndex) string {
	if f.Type == query.TextField {
		return fmt.Sprintf("%+v words %d", f.Index(), analysis.Version)
	}
	return fmt.Sprintf("%+v", f.Index())
}

// WithIndexes is p with other indexes on payload fields, of the same files. Who has
// hold of p does not thereby have hold of it.
func (p *Part) WithIndexes(set *fieldindex.Set) *Part {
	next := *p
	next.Part = p.With(nil, set)
	return &next
}

// Indexed are the indexes on payload fields that specs ask for: out of artefacts, or
// made in memory where there is none.
func (p *Part) Indexed(specs []query.FieldIndex) (*fieldindex.Set, error) {
	if p.seg == nil {
		return p.Part.Indexed(specs)
	}
	files := make([][]byte, len(specs))
	var missing []query.FieldIndex
	var at []int
	for i, spec := range specs {
		if a := p.artefact(segment.KindFields, spec.Key, nameOf(spec)); a != nil && a.file != nil {
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
func (p *Part) index(specs []query.FieldIndex) ([][]byte, error) {
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
func (p *Part) artefact(k segment.Kind, name, of string) *Artefact {
	i := slices.IndexFunc(p.artefacts, func(a Artefact) bool { return a.Kind == k && a.Name == name && a.Of == of })
	if i < 0 {
		return nil
	}
	return &p.artefacts[i]
}
