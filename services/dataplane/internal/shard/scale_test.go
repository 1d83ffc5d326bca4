//go:build !race

package shard

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"runtime/metrics"
	"strconv"
	"testing"
	"time"

	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/query"
	"github.com/pandodb/pando/services/internal/vfs"
)

// scannable is how many bytes the garbage collector has to look at.
func scannable() uint64 {
	runtime.GC()
	s := []metrics.Sample{{Name: "/gc/scan/total:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}

// TestScale loads points of 128 dimensions on the disk as a primary would, until
// nothing is left to make, and opens them again: within 3 s a million, with little for
// the garbage collector to look at. PANDO_SCALE says how many; 20,000.
func TestScale(t *testing.T) {
	n := 20_000
	if s := os.Getenv("PANDO_SCALE"); s != "" {
		var err error
		n, err = strconv.Atoi(s)
		ok(t, err)
	}
	const dim, batch = 128, 1000
	o := Options{FS: vfs.OS(), Dir: filepath.Join(t.TempDir(), "shard"),
		Schema: query.Schema{Vectors: []query.VectorSchema{{Size: dim, Distance: query.Cosine}}},
		Settings: func([]byte) (query.Settings, error) {
			return query.Settings{Optimizers: query.Optimizers{IndexingThresholdKB: 1000, DeletedThreshold: 0.2, VacuumMinVectors: 1000, SegmentNumber: 2},
				Vectors: []query.VectorSettings{{HNSW: query.HNSW{M: 16, EfConstruct: 100}}}}, nil
		}}
	s, err := Open(o)
	ok(t, err)
	rng, l := rand.New(rand.NewPCG(1, 1)), newLedger()
	apply := func(o op.Op) {
		l.entries = l.entries[:0]
		e := op.Entry{Seq: s.Applied().Seq + 1, HLC: l.clock.Next(1), Origin: 1, ID: op.ID{Request: [16]byte{1}, Index: uint32(s.Applied().Seq), Part: op.LastPart}, Body: o.Append(nil)}
		ok(t, s.Apply([]op.Entry{e}))
	}
	begin := time.Now()
	for from := 0; from < n; from += batch {
		var ps []op.Point
		for i := from; i < min(n, from+batch); i++ {
			v := make([]float32, dim)
			for d := range v {
				v[d] = float32(rng.NormFloat64()) + float32(i%97)/10
			}
			normalize(v)
			ps = append(ps, op.Point{ID: num(uint64(i)), Vectors: []op.Vector{{Data: v}}, Payload: fields("k", i%10)})
		}
		apply(op.Op{Kind: op.Upsert, Points: ps})
		if o, due := s.Due(); due {
			apply(o)
		}
	}
	loaded := time.Since(begin)
	for idle := 0; idle <= quietCalls; idle++ {
		ok(t, s.Settle(ctx))
		if o, due := s.Due(); due {
			apply(o)
			idle = 0
		}
	}
	green := time.Since(begin)
	_, err = s.Checkpoint()
	ok(t, errors.Join(err, s.Close()))
	s = nil
	before := scannable()
	begin = time.Now()
	s, err = Open(o)
	ok(t, err)
	ready := time.Since(begin)
	scan := int64(scannable()) - int64(before)
	if points(t, s) != n {
		t.Errorf("%d points", points(t, s))
	}
	t.Logf("%d points: stored after %v, green after %v; opened in %v, %d parts, %d KB for the garbage collector to scan, %d MB on the disk", n,
		loaded, green, ready, s.Info().Segments, scan>>10, s.Disk()>>20)
	if ready > 3*time.Second || scan > 64<<20 {
		t.Errorf("opened in %v, %d bytes to scan", ready, scan)
	}
	ok(t, s.Close())
}
