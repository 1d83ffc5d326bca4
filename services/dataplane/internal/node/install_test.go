package node

import (
	"bytes"
	"encoding/hex"
	"reflect"
	"testing"

	"github.com/pandodb/pando/services/dataplane/internal/oplog"
	"github.com/pandodb/pando/services/dataplane/internal/point"
	"github.com/pandodb/pando/services/internal/topology"
)

func sampleInstall() *install {
	return &install{at: oplog.Position{Term: topology.Term{Epoch: 3, Run: 2}, Seq: 9}, digest: point.Digest{A: 6, B: 7}, history: []oplog.TermStart{
		{Term: topology.Term{Epoch: 1, Run: 1}, First: 1}, {Term: topology.Term{Epoch: 3, Run: 2}, First: 5}}}
}

// TestInstallGolden pins the bytes that docs/format/copy.md draws.
func TestInstallGolden(t *testing.T) {
	want := ""
	for _, n := range []string{"03", "02", "09", "06", "07", "02", "01", "01", "01", "03", "02", "05"} {
		want += n + "00000000000000"
	}
	b := sampleInstall().encode()
	if got := hex.EncodeToString(b); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	in, err := decodeInstall(b)
	if err != nil || !reflect.DeepEqual(in, sampleInstall()) {
		t.Errorf("%+v, %v", in, err)
	}
	for n := range b {
		if _, err := decodeInstall(b[:n]); err == nil {
			t.Errorf("cut at %d", n)
		}
	}
}

func FuzzDecodeInstall(f *testing.F) {
	f.Add(sampleInstall().encode())
	f.Add((&install{}).encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		if in, err := decodeInstall(b); err == nil && !bytes.Equal(in.encode(), b) {
			t.Fatalf("% x is written back as % x", b, in.encode())
		}
	})
}
