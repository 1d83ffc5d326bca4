package rest

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
)

// TestNewCollection: what an operator sets for new collections is read as the call that
// makes one is, and refused as that refuses it.
func TestNewCollection(t *testing.T) {
	c, err := NewCollection(map[string]any{"on_disk_payload": false, "hnsw_config": map[string]any{"m": 32},
		"optimizers_config":   map[string]any{"max_optimization_threads": "auto", "deleted_threshold": 0.3},
		"quantization_config": map[string]any{"scalar": map[string]any{"type": "int8"}},
		"strict_mode_config":  map[string]any{"enabled": true, "max_query_limit": 50}})
	if err != nil || c.OnDiskPayload == nil || *c.OnDiskPayload || c.GetHnswConfig().GetM() != 32 || c.GetOptimizersConfig().GetDeletedThreshold() != 0.3 ||
		c.GetQuantizationConfig().GetScalar() == nil || !c.GetStrictModeConfig().GetEnabled() || c.GetStrictModeConfig().GetMaxQueryLimit() != 50 || c.GetCollectionName() != "" {
		t.Errorf("%s %v", protojson.Format(c), err)
	}
	for name, bad := range map[string]map[string]any{
		"there is no hnsw_config.mm":          {"hnsw_config": map[string]any{"mm": 1}},
		"there is no strict_mode_config.x":    {"strict_mode_config": map[string]any{"enabled": true, "x": map[string]any{"y": 1}}},
		"hnsw_config":                         {"hnsw_config": map[string]any{"m": "many"}},
		"hnsw_config.m":                       {"hnsw_config": map[string]any{"m": 1}},
		"strict_mode_config.max_query_limit":  {"strict_mode_config": map[string]any{"max_query_limit": 0}},
		"optimizers_config.deleted_threshold": {"optimizers_config": map[string]any{"deleted_threshold": 2}},
	} {
		if _, err := NewCollection(bad); err == nil || !strings.Contains(err.Error(), "defaults of new collections: ") || !strings.Contains(err.Error(), name) {
			t.Errorf("%v: %v", bad, err)
		}
	}
	if c, err := NewCollection(nil); err != nil || c == nil {
		t.Error(c, err)
	}
}
