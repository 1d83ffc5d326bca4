package dataplane

import (
	"testing"

	shardv1 "github.com/pandodb/pando/gen/go/pando/shard/v1"
)

func TestProgressText(t *testing.T) {
	for want, of := range map[string]*shardv1.Catchup{
		"":                                 nil,
		"transferring records":             {Copy: &shardv1.CopyProgress{}, Behind: 9},
		"transferring records (1234/5678)": {Copy: &shardv1.CopyProgress{Points: 1234, TotalPoints: 5678}},
		"catching up from the log (9 entries behind)": {Behind: 9},
		"comparing its digest with the primary's":     {},
	} {
		if got := progressText(of); got != want {
			t.Errorf("%v: %q, want %q", of, got, want)
		}
	}
}
