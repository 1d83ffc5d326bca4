package main

import (
	"bytes"
	"encoding/json"
	"testing"
)

// The made vectors are always the same, or figures could not be compared.
func TestMadeVectors(t *testing.T) {
	a, b := long(), long()
	if a.dim() != 1536 || len(a.base) != 10_000 || len(a.queries) != 200 {
		t.Fatalf("%d vectors of %d, %d queries", len(a.base), a.dim(), len(a.queries))
	}
	for i := range a.queries {
		for j, x := range a.queries[i] {
			if x != b.queries[i][j] {
				t.Fatalf("query %d differs at %d", i, j)
			}
		}
	}
}

func TestBody(t *testing.T) {
	var got struct {
		Query []float32
		Limit int
	}
	if err := json.NewDecoder(bytes.NewReader(body([]float32{1, -2.5}))).Decode(&got); err != nil || got.Limit != top || len(got.Query) != 2 || got.Query[1] != -2.5 {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestWhatAProfileSays(t *testing.T) {
	for line, unit := range map[string]string{"Showing nodes accounting for 1.26s, 43.2% of 2.9s total": "s", "Showing nodes accounting for 530ms, 18% of 2.9s total": "ms"} {
		if m := shown.FindStringSubmatch(line); m == nil || m[2] != unit {
			t.Errorf("%q: %q", line, m)
		}
	}
}
