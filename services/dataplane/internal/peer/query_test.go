package peer

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	clusterv1 "github.com/pandodb/pando/gen/go/pando/cluster/v1"
	shardv1 "github.com/pandodb/pando/gen/go/pando/shard/v1"
	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/dataplane/internal/filter"
	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/query"
	"github.com/pandodb/pando/services/internal/fault"
	"github.com/pandodb/pando/services/internal/topology"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"
)

func multi(rows ...[]float32) *qdrant.MultiDenseVector {
	m := &qdrant.MultiDenseVector{}
	for _, r := range rows {
		m.Vectors = append(m.Vectors, &qdrant.DenseVector{Data: r})
	}
	return m
}

func asked(v *qdrant.VectorInput, p *qdrant.SearchParams) *shardv1.ShardQuery {
	return &shardv1.ShardQuery{Query: &qdrant.Query{Variant: &qdrant.Query_Nearest{Nearest: v}}, Params: p, Using: "v", Limit: 3}
}

func TestNearest(t *testing.T) {
	sparse := func(indices []uint32, values ...float32) *qdrant.VectorInput {
		return &qdrant.VectorInput{Variant: &qdrant.VectorInput_Sparse{Sparse: &qdrant.SparseVector{Indices: indices, Values: values}}}
	}
	for _, c := range []struct {
		in   *qdrant.VectorInput
		want query.Nearest
	}{
		{&qdrant.VectorInput{Variant: &qdrant.VectorInput_Dense{Dense: &qdrant.DenseVector{Data: []float32{1}}}}, query.Nearest{Vector: []float32{1}}},
		{sparse([]uint32{7, 3}, 1, 2), query.Nearest{Vector: []float32{2, 1}, Indices: []uint32{3, 7}}},
		{sparse(nil), query.Nearest{Vector: []float32{}, Indices: []uint32{}}},
		{&qdrant.VectorInput{Variant: &qdrant.VectorInput_MultiDense{MultiDense: multi([]float32{1, 2}, []float32{3, 4})}}, query.Nearest{Vector: []float32{1, 2, 3, 4}, Count: 2}},
	} {
		c.want.Using, c.want.Limit = "v", 3
		if got, err := nearestOf(asked(c.in, nil)); err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%v: %+v, %v", c.in, got, err)
		}
	}
	if _, err := nearestOf(asked(sparse([]uint32{7, 7}, 1, 2), nil)); err == nil {
		t.Error("an index that comes twice was taken")
	}
	_, err := nearestOf(asked(&qdrant.VectorInput{Variant: &qdrant.VectorInput_MultiDense{MultiDense: multi([]float32{1, 2}, []float32{3})}}, nil))
	if fault.ReasonOf(err) != fault.DimensionMismatch {
		t.Errorf("rows of two lengths: %v", err)
	}
	if _, err := nearestOf(asked(&qdrant.VectorInput{}, nil)); fault.ReasonOf(err) != fault.InvalidArgument {
		t.Errorf("no vector: %v", err)
	}
}

func TestSearchParams(t *testing.T) {
	for _, c := range []struct {
		in   *qdrant.SearchParams
		want query.Params
	}{
		{nil, query.Params{}},
		{&qdrant.SearchParams{}, query.Params{}},
		{&qdrant.SearchParams{HnswEf: new(uint64(1 << 60)), Exact: new(true), IndexedOnly: new(true)}, query.Params{Ef: most, Exact: true, IndexedOnly: true}},
		{&qdrant.SearchParams{Quantization: &qdrant.QuantizationSearchParams{}}, query.Params{}},
		{&qdrant.SearchParams{Quantization: &qdrant.QuantizationSearchParams{Ignore: new(true), Rescore: new(false), Oversampling: new(2.5)}},
			query.Params{IgnoreCodes: true, Rescore: new(false), Oversampling: 2.5}},
		{&qdrant.SearchParams{Acorn: &qdrant.AcornSearchParams{Enable: new(true)}}, query.Params{Acorn: true, AcornSelectivity: 0.4}},
		{&qdrant.SearchParams{Acorn: &qdrant.AcornSearchParams{Enable: new(true), MaxSelectivity: new(0.0)}}, query.Params{Acorn: true}},
		{&qdrant.SearchParams{Acorn: &qdrant.AcornSearchParams{MaxSelectivity: new(0.3)}}, query.Params{}},
	} {
		dense := &qdrant.VectorInput{Variant: &qdrant.VectorInput_Dense{Dense: &qdrant.DenseVector{}}}
		if got, err := nearestOf(asked(dense, c.in)); err != nil || !reflect.DeepEqual(got.Params, c.want) {
			t.Errorf("%v: %+v, %v", c.in, got.Params, err)
		}
	}
}

// TestVectorsComeBackAsTheyWere: every kind of vector, through the engine's form.
func TestVectorsComeBackAsTheyWere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in, want := map[string]*qdrant.Vector{}, map[string]*qdrant.VectorOutput{}
		for _, name := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"", "a", "b", "c"}), 0, 4, rapid.ID[string]).Draw(t, "names") {
			data := rapid.SliceOfN(rapid.Float32Range(-9, 9), 1, 4).Draw(t, "data")
			switch rapid.IntRange(0, 2).Draw(t, "kind") {
			case 0:
				d := &qdrant.DenseVector{Data: data}
				in[name], want[name] = &qdrant.Vector{Vector: &qdrant.Vector_Dense{Dense: d}}, &qdrant.VectorOutput{Vector: &qdrant.VectorOutput_Dense{Dense: d}}
			case 1:
				s := &qdrant.SparseVector{}
				if rapid.Bool().Draw(t, "some") {
					s = &qdrant.SparseVector{Values: data, Indices: rapid.SliceOfNDistinct(rapid.Uint32(), len(data), len(data), rapid.ID[uint32]).Draw(t, "indices")}
				}
				in[name], want[name] = &qdrant.Vector{Vector: &qdrant.Vector_Sparse{Sparse: s}}, &qdrant.VectorOutput{Vector: &qdrant.VectorOutput_Sparse{Sparse: s}}
			case 2:
				m := multi(data, data)
				in[name], want[name] = &qdrant.Vector{Vector: &qdrant.Vector_MultiDense{MultiDense: m}}, &qdrant.VectorOutput{Vector: &qdrant.VectorOutput_MultiDense{MultiDense: m}}
			}
		}
		got, err := vectorsOf(&qdrant.Vectors{VectorsOptions: &qdrant.Vectors_Vectors{Vectors: &qdrant.NamedVectors{Vectors: in}}})
		if err != nil || !slices.IsSortedFunc(got, func(a, b op.Vector) int { return strings.Compare(a.Name, b.Name) }) {
			t.Fatalf("%+v, %v", got, err)
		}
		out := outputOf(got)
		if one := out.GetVector(); one != nil {
			if len(in) != 1 || !proto.Equal(one, want[""]) {
				t.Fatalf("%v came back as %v", in, out)
			}
			return
		}
		if !proto.Equal(out.GetVectors(), &qdrant.NamedVectorsOutput{Vectors: want}) {
			t.Fatalf("%v came back as %v", in, out)
		}
	})
	for name, v := range map[string]*qdrant.Vector{"rows of two lengths": {Vector: &qdrant.Vector_MultiDense{MultiDense: multi([]float32{1}, nil)}},
		"flat sparse": {Indices: &qdrant.SparseIndices{}}, "flat multi": {VectorsCount: new(uint32(2))}, "document": {Vector: &qdrant.Vector_Document{}}} {
		if _, err := vectorsOf(&qdrant.Vectors{VectorsOptions: &qdrant.Vectors_Vector{Vector: v}}); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}

func TestStatistics(t *testing.T) {
	f := &fake{}
	s := serverOf(map[topology.ShardID]*fake{0: f})
	read := func(r *shardv1.ShardRead) *shardv1.ShardReadResult {
		t.Helper()
		r.Route = route(0, 0)
		out, err := s.Read(t.Context(), &shardv1.ReadRequest{Reads: []*shardv1.ShardRead{r}})
		if err != nil {
			t.Fatal(err)
		}
		return out.GetResults()[0]
	}
	got := read(&shardv1.ShardRead{Read: &shardv1.ShardRead_Info{Info: &shardv1.ReadInfo{}}}).GetInfo()
	if want := (&shardv1.Info{Segments: 3, Indexed: map[string]uint64{"v": 4}, Pending: 2, Paused: true, Failure: "no room",
		Points: 5, VectorBytes: 6, PayloadBytes: 7, Unapplied: 2}); !proto.Equal(got, want) {
		t.Errorf("%v", got)
	}
	corpus := &qdrant.Filter{Must: []*qdrant.Condition{{ConditionOneOf: &qdrant.Condition_IsNull{IsNull: &qdrant.IsNullCondition{Key: "k"}}}}}
	ask := &shardv1.ReadFrequencies{Queries: []*shardv1.FrequencyQuery{{Using: "s", Indices: []uint32{1, 2}}, {Using: "t", Corpus: corpus}}}
	freqs := read(&shardv1.ShardRead{Read: &shardv1.ShardRead_Frequencies{Frequencies: ask}}).GetFrequencies().GetFrequencies()
	if len(freqs) != 2 || freqs[0].GetPoints() != 100 || len(freqs[0].GetWithIndex()) != 2 {
		t.Errorf("%v", freqs)
	}
	want := []query.Frequencies{{Using: "s", Indices: []uint32{1, 2}}, {Using: "t", Corpus: &filter.Filter{Must: []filter.Condition{filter.IsNull{Key: "k"}}}}}
	if !reflect.DeepEqual(f.frequencies, want) {
		t.Errorf("the engine was asked %+v", f.frequencies)
	}
	ask.Queries[0].Using = ""
	if got := read(&shardv1.ShardRead{Read: &shardv1.ShardRead_Frequencies{Frequencies: ask}}).GetFailure(); got.GetReason() != clusterv1.Reason_REASON_NOT_BUILT {
		t.Errorf("an engine that cannot: %v", got)
	}
}
