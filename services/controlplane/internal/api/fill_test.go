package api

import (
	"context"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	placementv1 "github.com/pandodb/pando/gen/go/pando/placement/v1"
	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/internal/fault"
)

// TestFill: a key that is Partial gets points of another one, and is Active when the last
// who took the copy over says that it is done.
func TestFill(t *testing.T) {
	run(t, nil, func(ctx context.Context, p *plane) {
		q := p.join(ctx, 1, false)
		req := createRequest("c", 1, 1)
		req.Config.Params.ShardingMethod = qdrant.ShardingMethod_Custom.Enum()
		_, err := p.catalog.CreateCollection(ctx, req)
		p.ok("create", err)
		key := func(s string) *qdrant.ShardKey { return &qdrant.ShardKey{Key: &qdrant.ShardKey_Keyword{Keyword: s}} }
		var last uint64
		change := func(k string, r *placementv1.ChangeShardKeyRequest) error {
			r.CollectionName, r.ShardKey = "c", key(k)
			resp, err := p.catalog.ChangeShardKey(ctx, r)
			last = max(last, resp.GetRevision())
			return err
		}
		create := func(state *qdrant.ReplicaState) *placementv1.ChangeShardKeyRequest {
			return &placementv1.ChangeShardKeyRequest{Change: &placementv1.ChangeShardKeyRequest_Create_{Create: &placementv1.ChangeShardKeyRequest_Create{InitialState: state}}}
		}
		only := &qdrant.Filter{Must: []*qdrant.Condition{{ConditionOneOf: &qdrant.Condition_IsNull{IsNull: &qdrant.IsNullCondition{Key: "k"}}}}}
		begin := func(from string) *placementv1.ChangeShardKeyRequest {
			return &placementv1.ChangeShardKeyRequest{Change: &placementv1.ChangeShardKeyRequest_Replicate_{Replicate: &placementv1.ChangeShardKeyRequest_Replicate{From: key(from), Filter: only}}}
		}
		claim := func(n uint64) *placementv1.ChangeShardKeyRequest {
			return &placementv1.ChangeShardKeyRequest{Change: &placementv1.ChangeShardKeyRequest_Claim_{Claim: &placementv1.ChangeShardKeyRequest_Claim{Claim: n}}}
		}
		finish := func(n uint64) *placementv1.ChangeShardKeyRequest {
			return &placementv1.ChangeShardKeyRequest{Change: &placementv1.ChangeShardKeyRequest_Finish_{Finish: &placementv1.ChangeShardKeyRequest_Finish{Claim: n}}}
		}
		abort := func() *placementv1.ChangeShardKeyRequest {
			return &placementv1.ChangeShardKeyRequest{Change: &placementv1.ChangeShardKeyRequest_Abort_{Abort: &placementv1.ChangeShardKeyRequest_Abort{}}}
		}
		drop := func() *placementv1.ChangeShardKeyRequest {
			return &placementv1.ChangeShardKeyRequest{Change: &placementv1.ChangeShardKeyRequest_Delete_{Delete: &placementv1.ChangeShardKeyRequest_Delete{}}}
		}
		p.ok("shared", change("all", create(nil)))
		p.ok("partial", change("x", create(qdrant.ReplicaState_Partial.Enum())))
		for _, step := range []struct {
			what   string
			key    string
			change *placementv1.ChangeShardKeyRequest
			reason fault.Reason // Unspecified: it is done
		}{
			{"nothing", "x", &placementv1.ChangeShardKeyRequest{}, fault.InvalidArgument},
			{"from none", "x", begin("none"), fault.InvalidArgument},
			{"from a partial one", "x", begin("x"), fault.InvalidArgument},
			{"to an active one", "all", begin("all"), fault.InvalidArgument},
			{"to none", "none", begin("all"), fault.InvalidArgument},
			{"claim of nothing", "x", claim(5), fault.InvalidArgument},
			{"end of nothing", "x", abort(), fault.NotFound},
			{"begin", "x", begin("all"), fault.Unspecified},
			{"begin again", "x", begin("all"), fault.InvalidArgument},
			{"drop of the source", "all", drop(), fault.InvalidArgument},
			{"claim", "x", claim(5), fault.Unspecified},
			{"claim by another", "x", claim(6), fault.Unspecified},
			{"finish by the first", "x", finish(5), fault.InvalidArgument},
			{"give up", "x", abort(), fault.Unspecified},
			{"finish after that", "x", finish(6), fault.InvalidArgument},
			{"begin anew", "x", begin("all"), fault.Unspecified},
			{"finish without a claim", "x", finish(6), fault.InvalidArgument},
			{"finish by nobody", "x", finish(0), fault.InvalidArgument},
			{"claim no number", "x", claim(0), fault.InvalidArgument},
			{"claim", "x", claim(7), fault.Unspecified},
		} {
			if err := change(step.key, step.change); fault.ReasonOf(err) != step.reason {
				t.Errorf("%s: %v", step.what, err)
			}
		}
		c, _ := q.reach(t, last).Resolve("c")
		raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(only)
		p.ok("filter", err)
		if g := c.Groups[1]; !g.Partial || g.Fill == nil || g.Fill.From != "sall" || g.Fill.Claim != 7 || string(g.Fill.Filter) != string(raw) || c.Groups[0].Partial {
			t.Errorf("peers see %+v, %+v", g, g.Fill)
		}
		p.ok("finish", change("x", finish(7)))
		c, _ = q.reach(t, last).Resolve("c")
		if g := c.Groups[1]; g.Partial || g.Fill != nil {
			t.Errorf("when it is done peers see %+v", g)
		}
		p.want("finish again", change("x", finish(7)), codes.InvalidArgument, fault.InvalidArgument)
		p.ok("drop of the source then", change("all", drop()))
	})
}
