package arena

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/pandodb/pando/services/dataplane/internal/payload"
)

func object(t *testing.T, r int, s string, i int) payload.Doc {
	t.Helper()
	var b payload.Builder
	b.BeginObject()
	b.Key("r")
	b.Int(int64(r))
	b.Key("s")
	b.Str(s)
	b.Key("i")
	b.Int(int64(i))
	b.End()
	d, err := b.Doc()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestArena: payload memory is given back, and what was read stays readable.
func TestArena(t *testing.T) {
	a := New()
	rng := rand.New(rand.NewPCG(3, 3))
	want := map[uint32]payload.Doc{}
	held := map[string]payload.Doc{}
	for i := range 20_000 {
		row := uint32(rng.IntN(200))
		d := object(t, int(row), strings.Repeat("x", rng.IntN(3000)), i)
		if rng.IntN(10) == 0 {
			d = nil
		}
		a.Put(row, d)
		want[row] = d
		if i%1000 == 0 {
			held[string(a.Get(row))] = a.Get(row)
		}
	}
	bytes := 0
	for row, d := range want {
		if bytes += len(d); string(a.Get(row)) != string(d) {
			t.Fatalf("row %d", row)
		}
	}
	for was, is := range held {
		if was != string(is) {
			t.Fatal("bytes changed under a reader")
		}
	}
	taken := 0
	for _, c := range a.chunks {
		taken += cap(c.mem)
	}
	if a.bytes != bytes || taken > 3*bytes+2*chunkSize {
		t.Errorf("%d bytes in use (%d counted), %d taken", bytes, a.bytes, taken)
	}
	a.Put(7, object(t, 0, strings.Repeat("y", 2*chunkSize), 0))
	if len(a.Get(7)) < 2*chunkSize {
		t.Error("payload larger than a chunk")
	}
}

func TestBits(t *testing.T) {
	var b Bits
	for _, row := range []uint32{0, 63, 64, 1000} {
		if b.Has(row) {
			t.Errorf("%d is in an empty set", row)
		}
		b.Set(row)
		b.Clear(row + 1)
		b.Clear(1 << 20)
		if !b.Has(row) || b.Has(row+1) {
			t.Errorf("%d is not in", row)
		}
	}
	b.Clear(64)
	if b.Has(64) || !b.Has(63) {
		t.Error("64 is not out, or 63 is")
	}
}
