package openapi

import (
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// fixed is a schema that needs no other.
func fixed(s object) special { return func(*builder, object) object { return s } }

// forms are several messages of package qdrant side by side, after what is given.
func forms(given []any, names ...protoreflect.Name) special {
	return func(b *builder, _ object) object {
		out := given
		for _, n := range names {
			out = append(out[:len(out):len(out)], b.named(n))
		}
		return anyOf(out...)
	}
}

func closed(required string, members object) object {
	out := object{"type": "object", "properties": members, "additionalProperties": false}
	if names := strings.Fields(required); len(names) > 0 {
		list := make([]any, len(names))
		for i, n := range names {
			list[i] = n
		}
		out["required"] = list
	}
	return out
}

func text() object    { return object{"type": "string"} }
func integer() object { return object{"type": "integer"} }
func boolean() object { return object{"type": "boolean"} }
func floats() object  { return list(object{"type": "number", "format": "float"}) }
func natural() object { return object{"type": "integer", "format": "uint64", "minimum": 0} }

// specialMessages are the schemas of the messages that the dialect has functions for.
func specialMessages() map[protoreflect.FullName]special {
	dense, multi := floats(), list(floats())
	return map[protoreflect.FullName]special{
		"qdrant.PointId": fixed(anyOf(natural(), object{"type": "string", "format": "uuid"})),
		"qdrant.Value":   fixed(object{"description": "any JSON value"}),
		"qdrant.ShardKeySelector": func(b *builder, _ object) object {
			key := b.named("ShardKey")
			return anyOf(key, list(key), closed("target fallback", object{"target": key, "fallback": key}))
		},
		"qdrant.StartFrom":           fixed(anyOf(object{"type": "number"}, object{"type": "string", "format": "date-time"})),
		"qdrant.WithPayloadSelector": fixed(anyOf(boolean(), list(text()), closed("include", object{"include": list(text())}), closed("exclude", object{"exclude": list(text())}))),
		"qdrant.WithVectorsSelector": fixed(anyOf(boolean(), list(text()))),

		"qdrant.UpsertPoints":                          rowsOrColumns,
		"qdrant.PointsUpdateOperation.PointStructList": rowsOrColumns,

		// Vectors.
		"qdrant.DenseVector":  fixed(dense),
		"qdrant.SparseVector": fixed(object{"type": "object", "required": []any{"indices", "values"}, "properties": object{"indices": list(object{"type": "integer", "format": "uint32", "minimum": 0}), "values": floats()}}),
		"qdrant.Vector":       forms([]any{dense, multi}, "SparseVector", "Document", "Image", "InferenceObject"),
		"qdrant.VectorOutput": forms([]any{dense, multi}, "SparseVector"),
		"qdrant.Vectors": func(b *builder, _ object) object {
			return anyOf(dense, multi, b.named("Document"), b.named("Image"), b.named("InferenceObject"), object{"type": "object", "additionalProperties": b.named("Vector")})
		},
		"qdrant.VectorsOutput": func(b *builder, _ object) object {
			return anyOf(dense, multi, object{"type": "object", "additionalProperties": b.named("VectorOutput")})
		},
		"qdrant.VectorInput":   forms([]any{dense, multi}, "PointId", "SparseVector", "Document", "Image", "InferenceObject"),
		"qdrant.VectorExample": forms(nil, "PointId", "Vector"),

		// Filters and queries.
		"qdrant.Condition": condition,
		"qdrant.Match":     fixed(match()),
		"qdrant.Query":     query,
		"qdrant.IdfParams": func(b *builder, _ object) object {
			return anyOf(object{"const": "global"}, closed("corpus", object{"corpus": b.named("Filter")}))
		},
		"qdrant.Expression": expression,

		// Collections.
		"qdrant.VectorsConfig": func(b *builder, _ object) object {
			return anyOf(b.named("VectorParams"), object{"type": "object", "additionalProperties": b.named("VectorParams")})
		},
		"qdrant.VectorsConfigDiff": func(b *builder, _ object) object {
			return object{"type": "object", "additionalProperties": b.named("VectorParamsDiff")}
		},
		"qdrant.QuantizationConfigDiff": func(_ *builder, generic object) object { return anyOf(object{"const": "Disabled"}, generic) },
		"qdrant.OptimizerStatus":        fixed(anyOf(object{"const": "ok"}, closed("error", object{"error": text()}))),
		"qdrant.PayloadIndexParams":     indexParams,
		"qdrant.StopwordsSet":           func(_ *builder, generic object) object { return anyOf(text(), generic) },
		"qdrant.StemmingAlgorithm": fixed(anyOf(closed("type", object{"type": object{"const": "none"}}),
			closed("type language", object{"type": object{"const": "snowball"}, "language": text()}))),

		// The cluster.
		"pando.cluster.v1.ClusterStatus": func(_ *builder, generic object) object {
			return anyOf(closed("status", object{"status": object{"const": "disabled"}}), generic)
		},
		"pando.cluster.v1.ReshardRequest": func(b *builder, _ object) object {
			steps := object{"start_resharding": b.ref(reshard().Fields().ByName("start").Message())}
			for _, s := range []string{"abort_resharding", "finish_migrating_points", "commit_read_hash_ring", "commit_write_hash_ring", "finish_resharding"} {
				steps[s] = object{"type": "object"}
			}
			out := closed("", steps)
			out["minProperties"], out["maxProperties"] = 1, 1
			return out
		},
	}
}

// specialMembers are those of members, by their keys.
func specialMembers() map[protoreflect.FullName]special {
	payload := fixed(object{"type": "object"})
	examples := func(b *builder, _ object) object { return list(b.named("VectorExample")) }
	ranges := forms(nil, "Range", "DatetimeRange")
	searched := func(b *builder, _ object) object {
		v := anyOf(floats(), b.named("SparseVector"))
		return anyOf(floats(), object{"type": "object", "required": []any{"name", "vector"}, "properties": object{"name": text(), "vector": v}})
	}
	columns := func(b *builder, _ object) object {
		one := list(b.named("Vectors"))
		return object{"type": "object", "required": []any{"ids", "vectors"}, "properties": object{"ids": list(b.named("PointId")),
			"vectors":  anyOf(one, object{"type": "object", "additionalProperties": list(b.named("Vector"))}),
			"payloads": nullable(list(nullable(object{"type": "object"})))}}
	}
	return map[protoreflect.FullName]special{
		"qdrant.RetrievedPoint.payload":                        payload,
		"qdrant.ScoredPoint.payload":                           payload,
		"qdrant.PointStruct.payload":                           payload,
		"qdrant.UpsertPoints.batch":                            columns,
		"qdrant.PointsUpdateOperation.PointStructList.batch":   columns,
		"qdrant.FieldCondition.range":                          ranges,
		"qdrant.FieldCondition.datetime_range":                 ranges,
		"qdrant.SearchPoints.vector":                           searched,
		"qdrant.SearchPointGroups.vector":                      searched,
		"qdrant.RecommendPoints.positive":                      examples,
		"qdrant.RecommendPoints.negative":                      examples,
		"qdrant.RecommendPointGroups.positive":                 examples,
		"qdrant.RecommendPointGroups.negative":                 examples,
		"qdrant.TextQuery.bm25":                                func(_ *builder, generic object) object { return closed("bm25", object{"bm25": generic}) },
		"qdrant.OptimizersConfigDiff.max_optimization_threads": func(_ *builder, generic object) object { return generic },
		"qdrant.CreateFieldIndexCollection.field_index_params": fieldSchema,
		"qdrant.KeywordIndexParams.prefix":                     fixed(boolean()),
		"qdrant.TextIndexParams.scoring":                       func(_ *builder, generic object) object { return anyOf(boolean(), generic) },
		"qdrant.SnapshotDescription.creation_time":             fixed(object{"type": "string", "description": "UTC, without a zone"}),
	}
}

// rowsOrColumns is an upsert by points, or by lists of ids, vectors and payloads.
func rowsOrColumns(_ *builder, generic object) object {
	generic["anyOf"] = []any{object{"required": []any{"points"}}, object{"required": []any{"batch"}}}
	return generic
}

func condition(b *builder, _ object) object {
	kinds := []any{b.named("FieldCondition")}
	fields := mustFind("qdrant.Condition").Fields()
	for i := range fields.Len() {
		if fd := fields.Get(i); fd.Name() != "field" && fd.Name() != "filter" {
			kinds = append(kinds, closed(string(fd.Name()), object{string(fd.Name()): b.ref(fd.Message())}))
		}
	}
	return anyOf(append(kinds, b.named("Filter"))...)
}

func match() object {
	lists := anyOf(list(text()), list(integer()))
	kinds := []any{closed("value", object{"value": anyOf(text(), integer(), boolean())}), closed("any", object{"any": lists}), closed("except", object{"except": lists})}
	for _, name := range []string{"text", "text_any", "phrase", "prefix", "substring"} {
		kinds = append(kinds, closed(name, object{name: text()}))
	}
	return anyOf(kinds...)
}

func query(b *builder, _ object) object {
	kinds := []any{
		b.named("VectorInput"),
		closed("nearest", object{"nearest": b.named("VectorInput"), "mmr": nullable(b.named("Mmr"))}),
		closed("formula", object{"formula": b.named("Expression"), "defaults": nullable(object{"type": "object"})}),
	}
	fields := mustFind("qdrant.Query").Fields()
	for i := range fields.Len() {
		switch fd := fields.Get(i); fd.Name() {
		case "nearest", "nearest_with_mmr", "formula":
		default:
			kinds = append(kinds, closed(string(fd.Name()), object{string(fd.Name()): b.scalarOrRef(fd)}))
		}
	}
	return anyOf(kinds...)
}

func expression(b *builder, _ object) object {
	kinds := []any{object{"type": "number"}, object{"type": "string", "description": "$score, $score[1], or a path in the payload"}, b.named("Condition")}
	fields := mustFind("qdrant.Expression").Fields()
	for i := range fields.Len() {
		switch fd := fields.Get(i); fd.Name() {
		case "constant", "variable", "condition":
		default:
			kinds = append(kinds, closed(string(fd.Name()), object{string(fd.Name()): b.scalarOrRef(fd)}))
		}
	}
	return anyOf(kinds...)
}

// indexParams are the parameters of an index, with its type among them.
func indexParams(b *builder, _ object) object {
	const suffix = "_index_params"
	var kinds []any
	fields := mustFind("qdrant.PayloadIndexParams").Fields()
	for i := range fields.Len() {
		fd := fields.Get(i)
		kinds = append(kinds, object{"allOf": []any{b.ref(fd.Message())}, "type": "object", "required": []any{"type"},
			"properties": object{"type": object{"const": strings.TrimSuffix(string(fd.Name()), suffix)}}})
	}
	return anyOf(kinds...)
}

func fieldSchema(b *builder, _ object) object {
	fd := mustFind("qdrant.CreateFieldIndexCollection").Fields().ByName("field_type")
	return anyOf(b.scalar(fd), b.named("PayloadIndexParams"))
}
