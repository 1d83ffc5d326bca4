package store_test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pandodb/pando/services/controlplane/internal/store"
	"github.com/pandodb/pando/services/internal/topology"
)

var rewrite = flag.Bool("rewrite", false, "write the golden file anew")

// sample encodes one record and checks that it reads back as itself.
func sample[T store.Record](t *testing.T, rec T) string {
	t.Helper()
	data, err := store.Encode(rec)
	if err != nil {
		t.Fatal(err)
	}
	got, err := store.Decode[T](store.KV{Key: rec.Key(), Value: data, Created: 3, Modified: 5, Lease: 7})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(store.Versioned[T]{Record: rec, Created: 3, Modified: 5, Lease: 7}, got); d != "" {
		t.Fatalf("%s does not read back: (-want +got)\n%s", rec.Key(), d)
	}
	return fmt.Sprintf("%s\n    %s\n", rec.Key(), data)
}

func disk(n byte) store.Incarnation { return store.Incarnation{0: 0xab, 15: n} }

// TestGolden holds the stored form of every kind: a change here is a change of the format.
func TestGolden(t *testing.T) {
	at := time.Date(2026, 11, 22, 10, 30, 0, 0, time.UTC)
	var b strings.Builder
	b.WriteString(sample(t, store.Leader{Term: 3, Member: 0xfedcba9876543210}))
	b.WriteString(sample(t, store.Peer{
		ID: 1<<53 - 1, URI: "http://peer:6335", Version: "0.1.0", Zone: "a",
		WireMin: 1, WireMax: 1, Folder: "f0", Registered: at,
	}))
	b.WriteString(sample(t, store.Session{
		Peer: 1<<53 - 1, Process: "9f", Lease: 7587, Leaving: true,
		Replicas: []store.Report{
			{Collection: 17, Shard: 0, Incarnation: disk(23), Epoch: 1, Loaded: true, Bytes: 4096},
			{Collection: 17, Shard: 1, Incarnation: disk(24), Epoch: 2, LastEpoch: 2, LastRun: 1, LastSeq: 99, Reason: 24, Detail: "checksum"},
		},
	}))
	b.WriteString(sample(t, store.Collection{
		ID: 17, Name: "words", Config: []byte("config"), Indexes: map[string][]byte{"color": {8, 0}}, Created: at, NextShard: 2,
		Wish:   store.Wish{ShardNumber: 2, ReplicationFactor: 3, WriteConsistencyFactor: 1},
		Hash:   store.Hash{Algorithm: 1, N: 2},
		Groups: []store.Group{{Shards: []topology.ShardID{0, 1}}},
	}))
	b.WriteString(sample(t, store.Collection{
		ID: 18, Name: "tenants", Config: []byte("config"), Created: at, NextShard: 2, Wish: store.Wish{Custom: true}, Hash: store.Hash{Algorithm: 1},
		Groups: []store.Group{{Key: "sall", Shards: []topology.ShardID{0}},
			{Key: "n7", Shards: []topology.ShardID{1}, Partial: true, Fill: &store.Fill{From: "sall", Filter: []byte{10, 0}, Claim: 1<<64 - 1}}},
	}))
	b.WriteString(sample(t, store.Alias{Name: "w", Collection: "words", CollectionID: 17}))
	b.WriteString(sample(t, store.Tombstone{Name: "words", ID: 16}))
	b.WriteString(sample(t, store.Shard{
		Collection: 17, Shard: 1, Epoch: 2, Primary: 1<<53 - 1,
		Replicas: []store.Replica{
			{
				Peer: 5, State: store.Dead, Incarnation: disk(22), Since: at, Why: "did not report in time",
				Tries: 3, Retry: at.Add(4 * time.Second),
			},
			{Peer: 1<<53 - 1, State: store.Active, Incarnation: disk(24), Since: at},
		},
		Reasons: []string{"peer 7: same zone"},
	}))
	b.WriteString(sample(t, store.Transfer{Collection: 17, Shard: 1, From: 5, To: 7, Method: "StreamRecords", Move: true, Asked: true, Created: true, Started: at}))

	b.WriteString(sample(t, store.Metadata{Name: "k", Value: `{"a":1}`}))

	const file = "testdata/records.golden"
	if *rewrite {
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), b.String()); d != "" {
		t.Fatalf("the stored form changed (-golden +got):\n%s", d)
	}
}

func TestDecodeRefuses(t *testing.T) {
	key := store.AliasKey("w")
	for name, tc := range map[string]struct {
		value string
		is    error
		text  string
	}{
		"newer version":  {`{"v":2,"record":{"name":"w"}}`, store.ErrVersion, "version 2"},
		"newer, unlike":  {`{"v":2,"record":[]}`, store.ErrVersion, "version 2"},
		"no version":     {`{"record":{"name":"w"}}`, nil, "no version"},
		"not json":       {`{"v":1,`, nil, "decode"},
		"another's key":  {`{"v":1,"record":{"name":"x"}}`, nil, "belongs under"},
		"number as text": {`{"v":1,"record":{"name":"w","collection_id":"1"}}`, nil, "decode"},
	} {
		_, err := store.Decode[store.Alias](store.KV{Key: key, Value: []byte(tc.value)})
		if err == nil || !strings.Contains(err.Error(), tc.text) || (tc.is != nil && !errors.Is(err, tc.is)) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// FuzzDecode: whatever is stored, decoding ends, and what decodes encodes to something that decodes alike.
func FuzzDecode(f *testing.F) {
	golden, err := os.ReadFile("testdata/records.golden")
	if err != nil {
		f.Fatal(err)
	}
	lines := strings.Split(string(golden), "\n")
	for i := 0; i+1 < len(lines); i += 2 {
		f.Add(lines[i], strings.TrimSpace(lines[i+1]))
	}
	f.Add(string(store.ShardKey(17, 1)), `{"v":1,"record":{"collection":17,"shard":1,"replicas":[{}]}}`)
	f.Fuzz(func(t *testing.T, key, value string) {
		kv := store.KV{Key: store.Key(key), Value: []byte(value)}
		again(t, kv, store.Decode[store.Shard])
		again(t, kv, store.Decode[store.Session])
		again(t, kv, store.Decode[store.Collection])
	})
}

func again[T store.Record](t *testing.T, kv store.KV, decode func(store.KV) (store.Versioned[T], error)) {
	t.Helper()
	first, err := decode(kv)
	if err != nil {
		return
	}
	kv.Value, err = store.Encode(first.Record)
	if err != nil {
		t.Fatalf("what was decoded does not encode: %v", err)
	}
	second, err := decode(kv)
	if err != nil {
		t.Fatalf("what was encoded does not decode: %v", err)
	}
	third, err := store.Encode(second.Record)
	if err != nil || string(third) != string(kv.Value) {
		t.Fatalf("the form is not stable: %s, then %s (%v)", kv.Value, third, err)
	}
}

func TestKeys(t *testing.T) {
	for key, want := range map[store.Key]string{
		store.PeerKey(10):          "/pando/v1/peers/000000000000000a",
		store.SessionKey(10):       "/pando/v1/sessions/000000000000000a",
		store.CollectionKey("c"):   "/pando/v1/collections/c",
		store.ShardKey(255, 16):    "/pando/v1/shards/00000000000000ff/0000000000000010",
		store.TransferKey(1, 2, 3): "/pando/v1/transfers/0000000000000001/0000000000000002/0000000000000003",
	} {
		if string(key) != want {
			t.Errorf("got %s, want %s", key, want)
		}
	}
	if n, err := store.ShardKey(255, 16).Number(); n != 16 || err != nil {
		t.Errorf("got %d, %v", n, err)
	}
	if _, err := store.CollectionKey("c").Number(); err == nil {
		t.Error("a name passed as a number")
	}
}
