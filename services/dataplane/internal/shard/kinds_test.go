package shard

import (
	"errors"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"github.com/pandodb/pando/services/dataplane/internal/filter"
	"github.com/pandodb/pando/services/dataplane/internal/index/indextest"
	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/query"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/vfs"
	"github.com/pandodb/pando/services/internal/vfs/memfs"
)

// kinds are options with a vector of each kind and datatype.
func kinds(fsys vfs.FS) Options {
	o := options(fsys)
	o.Schema = query.Schema{Vectors: []query.VectorSchema{
		{Name: "angles", Size: 300, Distance: query.Cosine, Datatype: query.Uint8},
		{Name: "bytes", Size: 3, Distance: query.Euclid, Datatype: query.Uint8},
		{Name: "few", Size: 24, Distance: query.Cosine, Datatype: query.Turbo4},
		{Name: "halves", Size: 3, Distance: query.Cosine, Datatype: query.Float16},
		{Name: "multi", Size: 2, Distance: query.Dot, Kind: query.Multi},
		{Name: "sparse", Distance: query.Dot, Kind: query.Sparse},
	}}
	return o
}

// randomKinds upserts points that have some of the vectors.
func randomKinds(t testing.TB, s *Shard, l *ledger, rng *rand.Rand) {
	t.Helper()
	floats := func(n int) (out []float32) {
		for range n {
			out = append(out, float32(rng.IntN(8)))
		}
		return out
	}
	bytes := func(n int) (out []float32) { // of inner products that float32 rounds
		for range n {
			out = append(out, float32(200+rng.IntN(56)))
		}
		return out
	}
	w := &Write{Kind: op.Upsert}
	for range 1 + rng.IntN(5) {
		var vs []op.Vector
		if rng.IntN(3) > 0 {
			vs = append(vs, op.Vector{Name: "angles", Data: bytes(300)}, op.Vector{Name: "bytes", Data: floats(3)}, op.Vector{Name: "few", Data: floats(24)}, op.Vector{Name: "halves", Data: floats(3)})
		}
		if rng.IntN(3) > 0 {
			n := 1 + rng.IntN(3)
			vs = append(vs, op.Vector{Name: "multi", Data: floats(2 * n), Count: n})
		}
		if rng.IntN(3) > 0 {
			v := op.Vector{Name: "sparse", Indices: []uint32{}, Data: []float32{}}
			for i := range uint32(6) {
				if rng.IntN(2) == 0 {
					v.Indices, v.Data = append(v.Indices, i*i), append(v.Data, float32(rng.IntN(9)-4))
				}
			}
			vs = append(vs, v)
		}
		w.Points = append(w.Points, op.Point{ID: num(uint64(rng.IntN(60))), Vectors: vs, Payload: fields("k", rng.IntN(5))})
	}
	ops, err := s.Resolve(ctx, w)
	ok(t, err)
	for _, o := range ops {
		l.add(o)
	}
	l.catchUp(t, s)
}

// everything asks a shard all that it can be asked about these vectors.
func everything(t testing.TB, s *Shard) (out []any) {
	t.Helper()
	for _, f := range []*filter.Filter{nil, {Must: []filter.Condition{filter.Match{Key: "k", Value: filter.Scalar{Kind: filter.IntScalar, Int: 1}}}}} {
		for _, q := range []query.Nearest{
			{Using: "bytes", Vector: []float32{1, 2, 3}}, {Using: "angles", Vector: slices.Repeat([]float32{250.5, 3, 19}, 100)}, {Using: "halves", Vector: []float32{1, 0, 2}}, {Using: "few", Vector: slices.Repeat([]float32{1, 5, 0}, 8)},
			{Using: "multi", Vector: []float32{1, 0, 0, 1}, Count: 2}, {Using: "sparse", Vector: []float32{1, -2, 0.5}, Indices: []uint32{0, 4, 25}},
		} {
			q.Filter, q.Limit, q.Want = f, 10, query.Want{Vectors: true, Payload: query.PayloadWant{All: true}}
			qs := []query.Nearest{q}
			for _, r := range indextest.Rankings(t, examplesOf(q)) {
				ranked := q
				ranked.Rank = r.Rank
				qs = append(qs, ranked)
			}
			got, err := s.Nearest(ctx, qs)
			ok(t, err)
			for _, hits := range got {
				out = append(out, hits)
			}
		}
		n, each, err := s.Frequencies(ctx, query.Frequencies{Using: "sparse", Indices: []uint32{0, 1, 4, 99}, Corpus: &filter.Filter{Must: []filter.Condition{filter.HasVector{Name: "sparse"}}}})
		ok(t, err)
		out = append(out, n, each)
	}
	return out
}

// examplesOf makes examples like the vector of a query.
func examplesOf(q query.Nearest) func() op.Vector {
	rng := rand.New(rand.NewPCG(7, uint64(len(q.Vector))))
	return func() op.Vector {
		v := op.Vector{Data: slices.Clone(q.Vector), Indices: q.Indices, Count: q.Count}
		for i := range v.Data {
			v.Data[i] *= float32(rng.IntN(4))
		}
		return v
	}
}

// TestKinds: vectors of all kinds give the same answers from a tail, from what waits to
// become a segment, from segments, after merges and restarts, and in a copy.
func TestKinds(t *testing.T) {
	for seed := range uint64(8) {
		rng := rand.New(rand.NewPCG(seed, 5))
		disk := memfs.New()
		s, err := Open(kinds(disk))
		ok(t, err)
		l := newLedger()
		for range 3 {
			for range 12 {
				randomKinds(t, s, l, rng)
				if rng.IntN(4) == 0 {
					l.add(op.Op{Kind: op.Delete, IDs: []topology.PointID{num(uint64(rng.IntN(60)))}})
				}
			}
			l.catchUp(t, s)
			want := everything(t, s)
			same := func(when string) {
				t.Helper()
				if got := everything(t, s); !reflect.DeepEqual(got, want) {
					t.Fatalf("seed %d, %s:\n%v\nwant\n%v", seed, when, got, want)
				}
			}
			l.add(op.Op{Kind: op.Seal})
			l.catchUp(t, s)
			same("sealed")
			ok(t, s.Settle(ctx))
			same("in segments")
			l.add(l.merge(rng))
			l.catchUp(t, s)
			ok(t, s.Settle(ctx))
			same("merged")
			_, err := s.Checkpoint()
			ok(t, errors.Join(err, s.Close()))
			s, err = Open(kinds(disk))
			ok(t, err)
			same("opened again")
			head, body := export(t, s)
			other := memfs.New()
			ok(t, take(kinds(other), head, body, 3000))
			c, err := Open(kinds(other))
			ok(t, err)
			if got := everything(t, c); !reflect.DeepEqual(got, want) {
				t.Fatalf("seed %d: a copy answers otherwise", seed)
			}
			ok(t, c.Close())
		}
		ok(t, s.Close())
	}
}

// TestCodes: each kind of codes is made when the settings ask for it and goes when they
// do not; scores stay exact, and what is found is near what the vectors find.
func TestCodes(t *testing.T) {
	for name, datatype := range map[string]query.Datatype{"float32": query.Float32, "float16": query.Float16, "uint8": query.Uint8, "turbo4": query.Turbo4} {
		t.Run(name, func(t *testing.T) { codesOf(t, datatype) })
	}
}

func codesOf(t *testing.T, datatype query.Datatype) {
	all := []query.Quantization{{}, {Kind: query.ScalarQuantization}, {Kind: query.BinaryQuantization, Query: query.Scalar8Bits, Encoding: query.TwoBits},
		{Kind: query.ProductQuantization, Compression: 4}, {Kind: query.TurboQuantization, Encoding: query.TwoBits}, {Kind: query.TurboQuantization, Encoding: query.FourBits}}
	disk := memfs.New()
	o := withGraphs(disk)
	o.Schema.Vectors[0].Datatype = datatype
	o.Settings = func(b []byte) (s query.Settings, err error) {
		s.Optimizers = query.Optimizers{IndexingThresholdKB: 16}
		s.Vectors = []query.VectorSettings{{HNSW: query.HNSW{M: 8, EfConstruct: 64}}}
		if len(b) > 1 {
			s.Vectors[0].Quantization = all[b[1]]
		}
		return s, err
	}
	s := open(t, o)
	rng := rand.New(rand.NewPCG(3, 4))
	l := newLedger()
	vector := func() []float32 {
		v := unit(rng)
		if datatype == query.Uint8 {
			for i, x := range v {
				v[i] = max(0, x) * 255
			}
		}
		return v
	}
	w := &Write{Kind: op.Upsert}
	for i := range 2000 {
		w.Points = append(w.Points, op.Point{ID: num(uint64(i)), Vectors: []op.Vector{{Data: vector()}}})
	}
	ops, err := s.Resolve(ctx, w)
	ok(t, err)
	for _, o := range ops {
		l.add(o)
	}
	l.add(op.Op{Kind: op.Seal})
	for step, kind := range []int{0, 1, 2, 3, 4, 5, 0} {
		l.add(op.Op{Kind: op.Config, Revision: uint64(step + 1), Settings: []byte{0, byte(kind)}})
		l.catchUp(t, s)
		ok(t, s.Settle(ctx))
		_, err := s.Checkpoint()
		ok(t, err)
		codes := 0
		for _, name := range segmentFiles(t, disk) {
			codes += count(filepath.Ext(name) == ".codes")
		}
		if want := count(kind > 0); codes != want {
			t.Errorf("%d: %d files of codes, want %d", kind, codes, want)
		}
		found := 0
		for range 50 {
			v := vector()
			exact, scores := ask(t, s, v, true)
			got, err := s.Nearest(ctx, []query.Nearest{{Vector: v, Limit: 10, Params: query.Params{Oversampling: 4}}})
			ok(t, err)
			for _, h := range got[0] {
				if i := slices.Index(exact, h.ID); i >= 0 {
					found++
					if h.Score != scores[i] {
						t.Fatalf("score %v, exactly %v", h.Score, scores[i])
					}
				}
			}
		}
		if found < 450 {
			t.Errorf("%d: found %d of 500", kind, found)
		}
	}
}

// TestFullScan: a threshold above the default lets segments be compared row by row.
func TestFullScan(t *testing.T) {
	o := withGraphs(memfs.New())
	o.Settings = func(b []byte) (s query.Settings, err error) {
		s.Optimizers = query.Optimizers{IndexingThresholdKB: 16}
		s.Vectors = []query.VectorSettings{{HNSW: query.HNSW{M: 2, EfConstruct: 4}}}
		if len(b) > 1 {
			s.Vectors[0].HNSW.FullScanThreshold = 1 << 20
		}
		return s, err
	}
	s := open(t, o)
	rng := rand.New(rand.NewPCG(5, 6))
	l := newLedger()
	clouds(l, rng, 0, 3000)
	l.add(op.Op{Kind: op.Seal})
	missed := func() (n int) {
		l.catchUp(t, s)
		ok(t, s.Settle(ctx))
		for range 50 {
			v := unit(rng)
			exact, _ := ask(t, s, v, true)
			near, _ := ask(t, s, v, false)
			n += count(!slices.Equal(near, exact))
		}
		return n
	}
	if n := missed(); n == 0 {
		t.Error("a poor graph misses nothing: it was not asked")
	}
	l.add(op.Op{Kind: op.Config, Revision: 1, Settings: []byte{0, 1}})
	if n := missed(); n > 0 {
		t.Errorf("%d of 50 searches missed something", n)
	}
}
