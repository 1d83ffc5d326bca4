package segment

import (
	"bytes"
	"slices"
	"testing"

	"github.com/pandodb/pando/services/dataplane/internal/point"
	"github.com/pandodb/pando/services/dataplane/internal/query"
	"github.com/pandodb/pando/services/internal/vfs"
	"pgregory.net/rapid"
)

// TestTrim: vectors that the schema lacks are left out; digest and version stay those of
// the points as they came, also when the segment is written anew or from more than one
// schema in turn.
func TestTrim(t *testing.T) {
	spec := schema()
	spec.Trim = true
	less := Spec{Part: 7, Vectors: slices.Clone(spec.Vectors[1:3]), Trim: true}
	rapid.Check(t, func(rt *rapid.T) {
		ps := genPoints(rt)
		disk := folder(t)
		whole, err := write(disk, schema(), ps)
		ok(t, err)
		step, err := write(disk, spec, ps)
		ok(t, err)
		atOnce, err := write(disk, less, ps)
		ok(t, err)
		read := open(t, disk, spec, step)
		var kept []point.Point
		for row := range uint32(read.Rows()) {
			var p point.Point
			ok(t, read.Point(row, &p))
			kept = append(kept, p)
		}
		after, err := write(disk, less, kept)
		ok(t, err)
		ok(t, read.Close())
		if step.Digest != whole.Digest || after.Digest != whole.Digest || !slices.Equal(fileNames(after), fileNames(atOnce)) {
			rt.Fatalf("digests %v, %v, %v; files %v and %v", whole.Digest, step.Digest, after.Digest, fileNames(after), fileNames(atOnce))
		}
		s := open(t, disk, less, after)
		for row, was := range ps {
			var p point.Point
			ok(t, s.Point(uint32(row), &p))
			want := was
			want.Vectors = slices.DeleteFunc(slices.Clone(was.Vectors), func(v point.Vector) bool {
				return !slices.ContainsFunc(less.Vectors, func(k query.VectorSchema) bool { return k.Name == v.Name })
			})
			form := was.AppendBinary(nil)
			one, _ := point.DigestOf(was.ID, form, nil)
			got, _ := p.Digest(p.AppendBinary(nil), nil)
			if !bytes.Equal(p.AppendBinary(nil), want.AppendBinary(nil)) || got != one || p.Version() != was.Version() || s.Version(uint32(row)) != was.Version() {
				rt.Fatalf("row %d: %+v, want %+v", row, p, want)
			}
			if (p.Written == nil) != (len(want.Vectors) == len(was.Vectors)) {
				rt.Fatalf("row %d: written as %v", row, p.Written)
			}
		}
		ok(t, s.Close())
	})
}

func open(t testing.TB, disk vfs.FS, spec Spec, d Description) *Segment {
	t.Helper()
	s, err := Open(disk, dir, spec, d, nil)
	ok(t, err)
	return s
}
