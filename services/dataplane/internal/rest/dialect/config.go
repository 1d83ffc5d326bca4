package dialect

import (
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	clusterv1 "github.com/pandodb/pando/gen/go/pando/cluster/v1"
	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/dataplane/internal/rest/scan"
)

// decodeVectorsConfig reads the parameters of one vector or a map of them; a
// scalar size or distance tells the former.
func decodeVectorsConfig(d *decoder, v scan.Value, c *qdrant.VectorsConfig) error {
	for _, name := range []string{"size", "distance"} {
		if p, ok := v.Get(name); ok && p.Kind() != scan.Object {
			return d.member(v, c, "params")
		}
	}
	return d.member(v, c, "params_map")
}

func encodeVectorsConfig(e *encoder, c *qdrant.VectorsConfig) {
	if c.GetParams() == nil && c.GetParamsMap() == nil {
		e.b = append(e.b, "{}"...)
		return
	}
	e.chosen(c)
}

// decodeVectorsDiff reads a map always; the unnamed vector has the empty name.
func decodeVectorsDiff(d *decoder, v scan.Value, c *qdrant.VectorsConfigDiff) error {
	return d.member(v, c, "params_map")
}

func encodeVectorsDiff(e *encoder, c *qdrant.VectorsConfigDiff) {
	if p := c.GetParams(); p != nil {
		e.b = append(e.b, `{"":`...)
		e.message(p.ProtoReflect())
		e.b = append(e.b, '}')
		return
	}
	e.message(c.GetParamsMap().ProtoReflect())
}

// quantizationDiffRule adds the bare string "Disabled" to the kinds of quantization.
func quantizationDiffRule() messageRule {
	r := custom(decodeQuantizationDiff, encodeQuantizationDiff)
	r.one, r.strict = true, true
	return r
}

func decodeQuantizationDiff(d *decoder, v scan.Value, q *qdrant.QuantizationConfigDiff) error {
	if v.Is("Disabled") {
		q.Quantization = &qdrant.QuantizationConfigDiff_Disabled{Disabled: new(qdrant.Disabled)}
		return nil
	}
	return d.object(v, q.ProtoReflect())
}

func encodeQuantizationDiff(e *encoder, q *qdrant.QuantizationConfigDiff) {
	if q.GetDisabled() != nil {
		e.string("Disabled")
		return
	}
	e.object(q.ProtoReflect())
}

// encodeThreads prints "auto" in requests; responses know a number or null.
func encodeThreads(e *encoder, m protoreflect.Message) {
	c, _ := m.Interface().(*qdrant.OptimizersConfigDiff)
	t := c.GetMaxOptimizationThreads()
	_, number := t.GetVariant().(*qdrant.MaxOptimizationThreads_Value)
	switch {
	case t != nil && (number || !e.Response):
		e.key("max_optimization_threads")
		e.scalars(t.ProtoReflect())
	case e.Response:
		e.key("max_optimization_threads")
		e.null()
	}
}

func decodeOptimizerStatus(d *decoder, v scan.Value, s *qdrant.OptimizerStatus) error {
	if v.Is("ok") {
		s.Ok = true
		return nil
	}
	return d.object(v, s.ProtoReflect())
}

func encodeOptimizerStatus(e *encoder, s *qdrant.OptimizerStatus) {
	if s.GetOk() {
		e.string("ok")
		return
	}
	e.b = append(e.b, '{')
	e.key("error")
	e.string(s.GetError())
	e.b = append(e.b, '}')
}

const indexParamsSuffix = "_index_params"

// decodeIndexParams reads {"type": "keyword", …}: the type picks the oneof.
func decodeIndexParams(d *decoder, v scan.Value, p *qdrant.PayloadIndexParams) error {
	t, ok := v.Get("type")
	if !ok || t.Kind() != scan.String {
		return fail(v, "missing field `type`")
	}
	fd := p.ProtoReflect().Descriptor().Fields().ByName(protoreflect.Name(t.Text() + indexParamsSuffix))
	if fd == nil {
		return in(fail(t, "unknown variant `%s`", t.Text()), "type")
	}
	return d.message(v, p.ProtoReflect().Mutable(fd).Message())
}

func encodeIndexParams(e *encoder, p *qdrant.PayloadIndexParams) {
	for fd, v := range p.ProtoReflect().Range {
		e.b = append(e.b, '{')
		e.key("type")
		e.string(strings.TrimSuffix(string(fd.Name()), indexParamsSuffix))
		e.members(v.Message())
		e.b = append(e.b, '}')
		return
	}
	e.null()
}

// decodeFieldSchema reads the name of a type, or its parameters.
func decodeFieldSchema(d *decoder, v scan.Value, c *qdrant.CreateFieldIndexCollection) error {
	c.FieldType, c.FieldIndexParams = nil, nil
	fd := c.ProtoReflect().Descriptor().Fields().ByName("field_type")
	if v.Kind() == scan.Object {
		c.FieldIndexParams = new(qdrant.PayloadIndexParams)
		if err := decodeIndexParams(d, v, c.FieldIndexParams); err != nil {
			return err
		}
		v, _ = v.Get("type")
	}
	return d.field(v, c.ProtoReflect(), &field{fd: fd})
}

func encodeFieldSchema(e *encoder, c *qdrant.CreateFieldIndexCollection) {
	switch {
	case c.FieldIndexParams != nil:
		e.key("field_schema")
		encodeIndexParams(e, c.FieldIndexParams)
	case c.FieldType != nil:
		e.key("field_schema")
		e.string(e.c.enums["qdrant.FieldType"].token(c.FieldType.Number()))
	}
}

// decodePrefix reads a boolean where proto has the presence of a message.
func decodePrefix(_ *decoder, v scan.Value, p *qdrant.KeywordIndexParams) error {
	if v.Kind() != scan.Bool {
		return expected(v, "a boolean")
	}
	p.Prefix = nil
	if v.Bool() {
		p.Prefix = new(qdrant.KeywordPrefixParams)
	}
	return nil
}

func encodePrefix(e *encoder, p *qdrant.KeywordIndexParams) {
	if p.Prefix != nil {
		e.key("prefix")
		e.b = append(e.b, "true"...)
	}
}

// decodeScoring reads a boolean, true meaning the defaults, or an object.
func decodeScoring(d *decoder, v scan.Value, p *qdrant.TextIndexParams) error {
	p.Scoring = nil
	if v.Kind() == scan.Bool && !v.Bool() {
		return nil
	}
	p.Scoring = new(qdrant.TextScoringParams)
	if v.Kind() == scan.Bool {
		return nil
	}
	return d.message(v, p.Scoring.ProtoReflect())
}

// decodeStopwords reads the name of a language, or {"languages", "custom"}.
func decodeStopwords(d *decoder, v scan.Value, s *qdrant.StopwordsSet) error {
	if v.Kind() == scan.String {
		s.Languages = []string{v.Text()}
		return nil
	}
	return d.object(v, s.ProtoReflect())
}

func encodeStopwords(e *encoder, s *qdrant.StopwordsSet) { e.object(s.ProtoReflect()) }

// decodeStemmer reads {"type": "snowball", "language": …} or {"type": "none"}.
func decodeStemmer(d *decoder, v scan.Value, s *qdrant.StemmingAlgorithm) error {
	t, ok := v.Get("type")
	switch {
	case !ok:
		return fail(v, "missing field `type`")
	case t.Is("none"):
		s.StemmingParams = &qdrant.StemmingAlgorithm_Disabled{Disabled: new(qdrant.DisabledStemmer)}
		return nil
	case t.Is("snowball"):
		return d.member(v, s, "snowball")
	}
	return in(fail(t, "unknown variant, expected `snowball` or `none`"), "type")
}

func encodeStemmer(e *encoder, s *qdrant.StemmingAlgorithm) {
	e.b = append(e.b, '{')
	e.key("type")
	if p := s.GetSnowball(); p != nil {
		e.string("snowball")
		e.members(p.ProtoReflect())
	} else {
		e.string("none")
	}
	e.b = append(e.b, '}')
}

// encodeClusterStatus prints the state alone where there is no cluster.
func encodeClusterStatus(e *encoder, m protoreflect.Message) {
	if fd := m.Descriptor().Fields().ByName("raft_info"); !m.Has(fd) {
		e.b = append(e.b, `{"status":"disabled"}`...)
		return
	}
	e.object(m)
}

// stepName is how REST calls a step of a resharding that has no parameters.
func stepName(s clusterv1.ReshardRequest_Step) string {
	switch s {
	case clusterv1.ReshardRequest_STEP_ABORT:
		return "abort_resharding"
	case clusterv1.ReshardRequest_STEP_FINISH_MIGRATING_POINTS:
		return "finish_migrating_points"
	case clusterv1.ReshardRequest_STEP_COMMIT_READ_HASH_RING:
		return "commit_read_hash_ring"
	case clusterv1.ReshardRequest_STEP_COMMIT_WRITE_HASH_RING:
		return "commit_write_hash_ring"
	case clusterv1.ReshardRequest_STEP_FINISH:
		return "finish_resharding"
	}
	return ""
}

// decodeReshard reads {"start_resharding": {…}} or {"finish_resharding": {}} and its like.
func decodeReshard(d *decoder, v scan.Value, r *clusterv1.ReshardRequest) error {
	if v.Kind() != scan.Object || v.Len() != 1 {
		return fail(v, "expected exactly one operation")
	}
	if start, ok := v.Get("start_resharding"); ok {
		return in(d.member(start, r, "start"), "start_resharding")
	}
	for n := range clusterv1.ReshardRequest_Step_name {
		step := clusterv1.ReshardRequest_Step(n)
		if _, ok := v.Get(stepName(step)); ok && stepName(step) != "" {
			r.Operation = &clusterv1.ReshardRequest_Step_{Step: step}
			return nil
		}
	}
	return fail(v, "no such step of a resharding")
}

func encodeReshard(e *encoder, r *clusterv1.ReshardRequest) {
	e.b = append(e.b, '{')
	if s := r.GetStart(); s != nil {
		e.key("start_resharding")
		e.message(s.ProtoReflect())
	} else if name := stepName(r.GetStep()); name != "" {
		e.key(name)
		e.b = append(e.b, "{}"...)
	}
	e.b = append(e.b, '}')
}
