package coordinator

import (
	"math"
	"slices"
	"testing"

	shardv1 "github.com/pandodb/pando/gen/go/pando/shard/v1"
	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/dataplane/internal/coordinator/plan"
	"github.com/pandodb/pando/services/internal/fault"
	"github.com/pandodb/pando/services/internal/topology"
	"google.golang.org/protobuf/proto"
)

func sparseQuery(indices []uint32, values ...float32) *qdrant.Query {
	return &qdrant.Query{Variant: &qdrant.Query_Nearest{Nearest: &qdrant.VectorInput{Variant: &qdrant.VectorInput_Sparse{
		Sparse: &qdrant.SparseVector{Indices: indices, Values: values}}}}}
}

// TestFrequenciesAreOfAllShards: one round counts, the next ranks with weights
// that are the same for every shard; what was asked is not changed.
func TestFrequenciesAreOfAllShards(t *testing.T) {
	w := newWorld(2, func(s topology.ShardID) topology.Placement {
		return onPeers(1, topology.PeerID(1+s), topology.PeerID(1+s))
	}, 1, 2)
	corpus := &qdrant.Filter{Must: []*qdrant.Condition{{ConditionOneOf: &qdrant.Condition_IsNull{IsNull: &qdrant.IsNullCondition{Key: "k"}}}}}
	for id, p := range w.peers {
		p.read = func(_ int, r *shardv1.ShardRead) (*shardv1.ShardReadResult, error) {
			if q := r.GetQuery(); q != nil {
				return &shardv1.ShardReadResult{Result: &shardv1.ShardReadResult_Rankings{Rankings: &shardv1.Rankings{Rankings: make([]*shardv1.Ranking, len(q.GetQueries()))}}}, nil
			}
			qs := r.GetFrequencies().GetQueries()
			if len(qs) != 2 || !slices.Equal(qs[0].GetIndices(), []uint32{2, 9}) || qs[0].GetUsing() != "s" || !proto.Equal(qs[1].GetCorpus(), corpus) {
				t.Errorf("counted %v", r)
			}
			return &shardv1.ShardReadResult{Result: &shardv1.ShardReadResult_Frequencies{Frequencies: &shardv1.Frequencies{Frequencies: []*shardv1.Frequency{
				{Points: 50, WithIndex: []uint64{uint64(id), 20}}, {Points: 0, WithIndex: []uint64{0}}}}}}, nil
		}
	}
	plain := sparseQuery([]uint32{2}, 7)
	asked := sparseQuery([]uint32{9, 2}, 1, -2)
	qs := []*plan.Ranking{{Query: &shardv1.ShardQuery{Query: proto.CloneOf(asked), Using: "s"}, IDF: &plan.IDF{}}, {Query: &shardv1.ShardQuery{Query: plain}},
		{Query: &shardv1.ShardQuery{Query: sparseQuery([]uint32{5}, 3), Using: "t"}, IDF: &plan.IDF{Corpus: corpus}}}
	before := qs[0].Query.GetQuery()
	if _, err := rank(t.Context(), w.coordinator(1), Read{Target: w.target()}, qs...); err != nil {
		t.Fatal(err)
	}
	formula := func(n, df float64) float64 { return math.Log(1 + (n-df+0.5)/(df+0.5)) }
	want := [][]float64{{formula(100, 40), -2 * formula(100, 3)}, {7}, {3 * formula(0, 0)}}
	for id, p := range w.peers {
		got := p.reads[1].GetQuery().GetQueries()
		for i, q := range got {
			for j, x := range q.GetQuery().GetNearest().GetSparse().GetValues() {
				if math.Abs(float64(x)-want[i][j]) > 1e-5 {
					t.Errorf("peer %d: query %d has %v, want %v", id, i, q, want[i])
				}
			}
		}
		if len(p.reads) != 2 || len(got) != 3 || !slices.Equal(got[0].GetQuery().GetNearest().GetSparse().GetIndices(), []uint32{9, 2}) {
			t.Errorf("peer %d was asked %v", id, p.reads)
		}
	}
	if !proto.Equal(before, asked) {
		t.Errorf("the question became %v", before)
	}

	w.peers[2].read = func(int, *shardv1.ShardRead) (*shardv1.ShardReadResult, error) {
		return &shardv1.ShardReadResult{Result: &shardv1.ShardReadResult_Failure{Failure: &shardv1.Failure{Reason: fault.NotBuilt}}}, nil
	}
	if _, err := rank(t.Context(), w.coordinator(1), Read{Target: w.target()}, qs...); fault.ReasonOf(err) != fault.NotBuilt {
		t.Errorf("a shard that cannot count: %v", err)
	}
}

func TestInfo(t *testing.T) {
	w := newWorld(3, func(s topology.ShardID) topology.Placement {
		if s == 2 { // is being born
			return topology.Placement{Epoch: 1, Primary: 1, Replicas: []topology.Replica{{Peer: 1, State: topology.Initializing}}}
		}
		return onPeers(1, topology.PeerID(1+s), topology.PeerID(1+s))
	}, 1, 2)
	say := func(p topology.PeerID, i *shardv1.Info) {
		w.peers[p].read = func(int, *shardv1.ShardRead) (*shardv1.ShardReadResult, error) {
			return &shardv1.ShardReadResult{Result: &shardv1.ShardReadResult_Info{Info: i}}, nil
		}
	}
	say(1, &shardv1.Info{Segments: 4, Indexed: map[string]uint64{"a": 1, "b": 2}, Pending: 3, Paused: true, Points: 7, VectorBytes: 1, PayloadBytes: 2})
	say(2, &shardv1.Info{Segments: 2, Indexed: map[string]uint64{"a": 10}, Pending: 5, Failure: "no room", Points: 1, VectorBytes: 10, PayloadBytes: 20, Unapplied: 4})
	got, err := w.coordinator(1).Info(t.Context(), Read{Target: w.target()})
	if want := (Info{Segments: 7, Indexed: 13, Working: 5, Waiting: 3, Failure: "shard 1: no room", Points: 8, VectorBytes: 11, PayloadBytes: 22,
		Unapplied: 4}); err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
}
