package api

import (
	"net/http"
	"testing"
	"testing/synctest"

	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/dataplane/internal/coordinator"
	"github.com/pandodb/pando/services/internal/fault"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
)

// limited makes a collection with strict mode.
func limited(t *testing.T, s *qdrant.StrictModeConfig) *client {
	t.Helper()
	c := start(t, true)
	if _, err := c.Create(t.Context(), &qdrant.CreateCollection{CollectionName: "c", VectorsConfig: four(), StrictModeConfig: s}); err != nil {
		t.Fatal(err)
	}
	return c
}

// Limits hold before anything is read or written, over gRPC and REST in the same words.
func TestStrictMode(t *testing.T) {
	c := limited(t, &qdrant.StrictModeConfig{Enabled: new(true), MaxQueryLimit: new(uint32(20)), UpsertMaxBatchsize: new(uint64(1)), UnindexedFilteringUpdate: new(false)})
	rest := over(t, c)
	for _, b := range []struct {
		call               func() error
		method, path, body string
		text               string
	}{
		{func() error {
			_, err := c.Query(t.Context(), &qdrant.QueryPoints{CollectionName: "c", Limit: new(uint64(21))})
			return err
		}, http.MethodPost, "/collections/c/points/query", `{"limit":21}`,
			`Limit exceeded 21 > 20 for "limit". Help: Reduce "limit" to or below 20, which the collection's max_query_limit allows.`},
		{func() error {
			_, err := c.Upsert(t.Context(), &qdrant.UpsertPoints{CollectionName: "c", Points: []*qdrant.PointStruct{point(1, 1, 2, 3, 4), point(2, 1, 2, 3, 4)}})
			return err
		}, http.MethodPut, "/collections/c/points", `{"points":[{"id":1,"vector":[1,2,3,4]},{"id":2,"vector":[1,2,3,4]}]}`,
			`Limit exceeded 2 > 1 for "points". Help: Reduce "points" to or below 1, which the collection's upsert_max_batchsize allows.`},
		{func() error {
			_, err := c.PointsClient.Delete(t.Context(), &qdrant.DeletePoints{CollectionName: "c", Points: matching(colour("red"))})
			return err
		}, http.MethodPost, "/collections/c/points/delete", `{"filter":{"must":[{"key":"colour","match":{"value":"red"}}]}}`,
			`Index required but not found for "colour" of one of the following types: [keyword, uuid]. Help: Create an index for this key or use a different filter.`},
	} {
		wants(t, b.call(), fault.InvalidArgument, b.text)
		if status, body := rest(b.method, b.path, b.body); status != 400 || reason(t, body) != b.text {
			t.Errorf("%s %s: %d %s", b.method, b.path, status, body)
		}
	}
	if len(c.shards.writes)+len(c.shards.reads) != 0 {
		t.Errorf("%d writes and %d reads were sent", len(c.shards.writes), len(c.shards.reads))
	}
	// The reading limit is not the writing one; an index lifts it; other collections and off have none.
	if _, err := c.Scroll(t.Context(), &qdrant.ScrollPoints{CollectionName: "c", Filter: colour("red")}); err != nil {
		t.Error(err)
	}
	if _, err := c.CreateFieldIndex(t.Context(), &qdrant.CreateFieldIndexCollection{CollectionName: "c", FieldName: "colour", FieldType: qdrant.FieldType_FieldTypeKeyword.Enum()}); err != nil {
		t.Error(err)
	}
	if _, err := c.PointsClient.Delete(t.Context(), &qdrant.DeletePoints{CollectionName: "c", Points: matching(colour("red"))}); err != nil {
		t.Error(err)
	}
	off := limited(t, &qdrant.StrictModeConfig{Enabled: new(false), MaxQueryLimit: new(uint32(1))})
	if _, err := off.Query(t.Context(), &qdrant.QueryPoints{CollectionName: "c"}); err != nil {
		t.Error(err)
	}
}

func TestRates(t *testing.T) {
	synctest.Test(t, rates) // so that no time passes
}

func rates(t *testing.T) {
	c := limited(t, &qdrant.StrictModeConfig{Enabled: new(true), ReadRateLimit: new(uint32(2)), WriteRateLimit: new(uint32(3))})
	count := func() error {
		_, err := c.Count(t.Context(), &qdrant.CountPoints{CollectionName: "c"})
		return err
	}
	for range 2 {
		if err := count(); err != nil {
			t.Error(err)
		}
	}
	const text = "Rate limiting exceeded: read_rate_limit of 2 per minute is used up. Help: Retry after 30 s, or raise read_rate_limit of the collection."
	wants(t, count(), fault.RateLimited, text)
	var trailer metadata.MD
	_, err := c.Count(t.Context(), &qdrant.CountPoints{CollectionName: "c"}, grpc.Trailer(&trailer))
	if wants(t, err, fault.RateLimited, text); len(trailer.Get("retry-after")) != 1 || trailer.Get("retry-after")[0] != "30" {
		t.Errorf("trailer %v", trailer)
	}
	if status, body := over(t, c)(http.MethodGet, "/collections/c/points/1", ""); status != http.StatusTooManyRequests || reason(t, body) != text {
		t.Errorf("%d %s", status, body)
	}
	// Writes are counted apart, those of a batch each; a collection's info is no read.
	batch := &qdrant.UpdateBatchPoints{CollectionName: "c", Operations: []*qdrant.PointsUpdateOperation{op(ids(1)), op(ids(1))}}
	if _, err := c.UpdateBatch(t.Context(), batch); err != nil {
		t.Error(err)
	}
	_, err = c.UpdateBatch(t.Context(), batch)
	wants(t, err, fault.RateLimited, "Rate limiting exceeded: write_rate_limit of 3 per minute is used up. Help: Retry after 20 s, or raise write_rate_limit of the collection.")
	batch.Operations = append(batch.GetOperations(), batch.GetOperations()...)
	_, err = c.UpdateBatch(t.Context(), batch)
	wants(t, err, fault.InvalidArgument, `Limit exceeded 4 > 3 for "write_rate_limit". Help: Send fewer operations in one request, or raise write_rate_limit of the collection.`)
	if len(c.shards.writes) != 2 {
		t.Errorf("%d writes were sent", len(c.shards.writes))
	}
	if _, err := c.CollectionsClient.Get(t.Context(), &qdrant.GetCollectionInfoRequest{CollectionName: "c"}); err != nil {
		t.Error(err)
	}
}

// What a collection holds is asked for at most once a second, and before anything is
// refused; what takes no room always passes.
func TestRoomOfACollection(t *testing.T) {
	c := limited(t, &qdrant.StrictModeConfig{Enabled: new(true), MaxPointsCount: new(uint64(3))})
	put := func(n uint64) error {
		_, err := c.Upsert(t.Context(), &qdrant.UpsertPoints{CollectionName: "c", Points: []*qdrant.PointStruct{point(n, 1, 2, 3, 4)}})
		return err
	}
	c.shards.info = coordinator.Info{Points: 2}
	if err := put(1); err != nil {
		t.Error(err)
	}
	c.shards.info.Points = 2 // it was there already: by what was counted here the limit is reached
	if err := put(1); err != nil {
		t.Error(err)
	}
	c.shards.info.Points = 3
	wants(t, put(2), fault.InvalidArgument, "Max points count limit of 3 reached. Help: Delete points, or raise max_points_count of the collection.")
	if _, err := c.PointsClient.Delete(t.Context(), &qdrant.DeletePoints{CollectionName: "c", Points: ids(1)}); err != nil {
		t.Error(err)
	}
	if len(c.shards.writes) != 3 {
		t.Errorf("%d writes were sent", len(c.shards.writes))
	}
	c.shards.info.Points = 2
	if err := put(2); err != nil {
		t.Error(err)
	}
}
