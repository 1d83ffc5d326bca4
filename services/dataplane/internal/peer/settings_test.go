package peer

import (
	"bytes"
	"slices"
	"testing"

	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/dataplane/internal/filter/analysis"
	"github.com/pandodb/pando/services/dataplane/internal/query"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/wire"
	"google.golang.org/protobuf/proto"
)

func encoded(t testing.TB, m proto.Message) []byte {
	t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func collection(t testing.TB) *topology.Collection {
	return &topology.Collection{Name: "c", Settings: encoded(t, &qdrant.CollectionConfig{Params: &qdrant.CollectionParams{ShardNumber: 3}}), Indexes: map[string][]byte{
		"k": encoded(t, &qdrant.PayloadIndexParams{IndexParams: &qdrant.PayloadIndexParams_KeywordIndexParams{KeywordIndexParams: &qdrant.KeywordIndexParams{IsTenant: new(true)}}}),
		"i": encoded(t, &qdrant.PayloadIndexParams{IndexParams: &qdrant.PayloadIndexParams_IntegerIndexParams{IntegerIndexParams: &qdrant.IntegerIndexParams{}}}),
		"r": encoded(t, &qdrant.PayloadIndexParams{IndexParams: &qdrant.PayloadIndexParams_IntegerIndexParams{IntegerIndexParams: &qdrant.IntegerIndexParams{Lookup: new(false)}}}),
		"f": encoded(t, &qdrant.PayloadIndexParams{IndexParams: &qdrant.PayloadIndexParams_FloatIndexParams{FloatIndexParams: &qdrant.FloatIndexParams{}}}),
		"b": encoded(t, &qdrant.PayloadIndexParams{IndexParams: &qdrant.PayloadIndexParams_BoolIndexParams{BoolIndexParams: &qdrant.BoolIndexParams{}}}),
		"d": encoded(t, &qdrant.PayloadIndexParams{IndexParams: &qdrant.PayloadIndexParams_DatetimeIndexParams{DatetimeIndexParams: &qdrant.DatetimeIndexParams{}}}),
		"u": encoded(t, &qdrant.PayloadIndexParams{IndexParams: &qdrant.PayloadIndexParams_UuidIndexParams{UuidIndexParams: &qdrant.UuidIndexParams{}}}),
		"t": encoded(t, &qdrant.PayloadIndexParams{IndexParams: &qdrant.PayloadIndexParams_TextIndexParams{TextIndexParams: &qdrant.TextIndexParams{}}}),
	}}
}

// logged is what a config entry carries of a collection.
func logged(c *topology.Collection) ([]byte, error) {
	s, err := wire.Settings(c)
	if err != nil {
		return nil, err
	}
	return Settings(s)
}

// fields are those that the engine indexes by such settings.
func fields(settings []byte) ([]query.FieldIndex, error) {
	s, err := EngineSettings(settings)
	return s.Fields, err
}

func TestSettings(t *testing.T) {
	c := collection(t)
	b, err := logged(c)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := logged(c); err != nil || !bytes.Equal(again, b) {
		t.Errorf("settings are not the same twice: %v", err)
	}
	got, err := fields(b)
	want := []query.FieldIndex{{Key: "b", Type: query.BoolField}, {Key: "d", Type: query.DatetimeField}, {Key: "f", Type: query.FloatField},
		{Key: "i", Type: query.IntegerField, Lookup: true, Range: true}, {Key: "k", Type: query.KeywordField, Tenant: true}, {Key: "r", Type: query.IntegerField, Range: true},
		{Key: "t", Type: query.TextField, Text: analysis.Params{Tokenizer: analysis.Word, Lowercase: true}}, {Key: "u", Type: query.UUIDField}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v", got, err)
	}
	// What was logged before there were indexes.
	for _, old := range [][]byte{nil, c.Settings} {
		if got, err := fields(old); err != nil || len(got) != 0 {
			t.Errorf("%x: %v, %v", old, got, err)
		}
	}
	for _, bad := range []*topology.Collection{{Settings: []byte{0xFF}}, {Indexes: map[string][]byte{"k": {0xFF}}}} {
		if _, err := logged(bad); err == nil {
			t.Errorf("%v was taken", bad)
		}
	}
}

// FuzzFields: whatever is in a log, it is read or refused, in one order.
func FuzzFields(f *testing.F) {
	b, err := logged(collection(f))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte{0xB2, 0x06, 0x00})
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := fields(b)
		if err != nil {
			return
		}
		for i := range got {
			if got[i].Type == 0 || i > 0 && got[i-1].Key >= got[i].Key {
				t.Errorf("%x: %v", b, got)
			}
		}
	})
}
