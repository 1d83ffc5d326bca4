package shard

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/pandodb/pando/services/dataplane/internal/index/hnsw/codec"
	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/segment"
	"github.com/pandodb/pando/services/dataplane/internal/shard/manifest"
	"github.com/pandodb/pando/services/dataplane/internal/shard/sealed"
	"github.com/pandodb/pando/services/dataplane/internal/shard/vector"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/vfs/memfs"
)

// TestStagesAreOfTheSegment: which rows a graph took up when cannot be found out again, so
// the loss of that file condemns the replica as that of any other file of a segment.
func TestStagesAreOfTheSegment(t *testing.T) {
	s := open(t, withGraphs(memfs.New()))
	rng, l := rand.New(rand.NewPCG(5, 2)), newLedger()
	var parts []topology.Seq
	for from := range 2 {
		clouds(l, rng, 400*from, 400)
		parts = append(parts, l.add(op.Op{Kind: op.Seal}).Seq)
	}
	l.add(op.Op{Kind: op.Merge, Parts: parts})
	l.catchUp(t, s)
	ok(t, s.Settle(ctx))
	i := slices.IndexFunc(s.files(), func(f segment.File) bool { return f.Kind == segment.KindStages })
	if i < 0 {
		t.Fatal("no stages")
	}
	if err := s.lose(s.files()[i], errors.New("rot")); !errors.Is(err, ErrCorrupt) {
		t.Errorf("lost stages: %v", err)
	}
}

// TestMergeTakesGraphOver: the graph of a merged part is grown from that of its largest
// source, of which it has every link, and is the one that is built from nothing.
func TestMergeTakesGraphOver(t *testing.T) {
	s := open(t, withGraphs(memfs.New()))
	rng, l := rand.New(rand.NewPCG(5, 2)), newLedger()
	seal := func(from, n int) topology.Seq {
		clouds(l, rng, from, n)
		return l.add(op.Op{Kind: op.Seal}).Seq
	}
	settle := func() {
		l.catchUp(t, s)
		ok(t, s.Settle(ctx))
	}
	first, second := seal(0, 400), seal(400, 300)
	settle()
	base := l.add(op.Op{Kind: op.Merge, Parts: []topology.Seq{first, second}}).Seq
	third := seal(700, 300)
	settle()

	settings := s.apply.settings
	s.apply.Lock()
	ok(t, s.stageMerge(third+1, []topology.Seq{base, third}))
	j := s.apply.change.jobs[0]
	s.apply.change = nil
	s.apply.Unlock()
	if !slices.Equal(j.Earlier, []topology.Seq{first, base}) || j.Sources[0].Stage != manifest.Keep || j.Sources[1].Stage != 2 {
		t.Fatalf("stages %v, %d and %d", j.Earlier, j.Sources[0].Stage, j.Sources[1].Stage)
	}
	made, err := s.write(ctx, j, 1000, settings)
	ok(t, err)
	defer func() { ok(t, made.Release()) }()
	for row := range uint32(1000) {
		stages, want := made.Stages(), uint8(2)
		if id := made.ID(row).Number(); id < 400 {
			want = 0
		} else if id < 700 {
			want = 1
		}
		if got := stages.At(row); got != want {
			t.Fatalf("row %d is of stage %d, not %d", row, got, want)
		}
	}
	graph := func(base *sealed.Part) []byte {
		t.Helper()
		lacks := made.Lacks(settings, base)
		i := slices.IndexFunc(lacks, func(w vector.Want) bool { return w.Kind == segment.KindGraph })
		write, err := lacks[i].Make(ctx, 1)
		ok(t, err)
		var b bytes.Buffer
		ok(t, write(&b))
		return b.Bytes()
	}
	source := s.base(j)
	if source == nil || source.Number != base {
		t.Fatal("the base is not found")
	}
	plain := graph(nil)
	if !bytes.Equal(graph(source), plain) {
		t.Error("grown from the base the graph differs")
	}
	// It shows that the base was used if one that lacks a link makes a difference.
	at := slices.IndexFunc(source.Origin().Artefacts, func(a manifest.Artefact) bool { return a.Kind == segment.KindGraph })
	file, err := segment.OpenArtefact(s.opts.FS, s.segments.Dir, source.Origin().Artefacts[at].File, segment.Pinned)
	ok(t, err)
	g, err := codec.Decode(file.Bytes())
	ok(t, err)
	ok(t, file.Close())
	w := g.Width(0)
	last := slices.Index(append(g.Layers[0][:w:w], codec.None), codec.None) - 1
	g.Layers[0][last] = codec.None
	a, err := s.segments.Derive(source, vector.Want{Kind: segment.KindGraph}, func(w io.Writer) error {
		_, err := w.Write(g.Append(nil))
		return err
	}, settings)
	ok(t, err)
	other, err := source.Adorned(a, settings)
	ok(t, err)
	if bytes.Equal(graph(other), plain) {
		t.Error("the base is not used")
	}
	ok(t, other.Release())
}
