package store

import (
	"encoding/hex"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/point"
	"github.com/pandodb/pando/services/internal/topology"
)

// TestMetaGolden pins the bytes that docs/format/shard.md draws.
func TestMetaGolden(t *testing.T) {
	m := Meta{Position: Position{Term: topology.Term{Epoch: 1, Run: 2}, Seq: 3, HLC: 4, Floor: 5, Mark: point.Mark{Seq: 9, Digest: point.Digest{A: 10, B: 11}}},
		Digest: point.Digest{A: 6, B: 7}, Revision: 8, Settings: []byte("s")}
	words := func(n int) (out string) {
		for i := range n {
			out += fmt.Sprintf("%02x00000000000000", i+1)
		}
		return out
	}
	b := m.AppendBinary(nil)
	if got, want := hex.EncodeToString(b), "03"+words(11)+"0173"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	first, err := hex.DecodeString("01" + words(8) + "0173")
	if err != nil {
		t.Fatal(err)
	}
	old, form, err := decodeMeta(first)
	if err != nil || form != 1 {
		t.Errorf("version 1 is read as %d, %v", form, err)
	}
	if m.Mark = (point.Mark{}); !reflect.DeepEqual(old, m) {
		t.Errorf("version 1 reads as %+v", old)
	}
	if got := hex.EncodeToString(AgeKey(nil, 0x0102, op.ID{Index: 3, Part: 4})); got != "04"+"0000000000000102"+strings.Repeat("00", 16)+"0000000300000004" {
		t.Errorf("age key %s", got)
	}
	for _, c := range []struct {
		b    []byte
		want error
	}{{b, nil}, {nil, ErrCorrupt}, {b[:20], ErrCorrupt}, {append([]byte{4}, b[1:]...), ErrVersion}, {append([]byte{0}, b[1:]...), ErrVersion}} {
		if _, _, err := decodeMeta(c.b); !errors.Is(err, c.want) {
			t.Errorf("% x: %v", c.b, err)
		}
	}
}

func FuzzDecodeMeta(f *testing.F) {
	f.Add((&Meta{Revision: 1, Settings: []byte("x")}).AppendBinary(nil))
	f.Add(append([]byte{1}, make([]byte, 8*8+1)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, _, err := decodeMeta(b)
		if err != nil {
			return
		}
		if again := m.AppendBinary(nil); b[0] == formVersion && string(again) != string(b) {
			t.Fatalf("% x is written back as % x", b, again)
		} else if same, _, err := decodeMeta(again); err != nil || !reflect.DeepEqual(same, m) {
			t.Fatalf("%+v is read back as %+v, %v", m, same, err)
		}
	})
}
