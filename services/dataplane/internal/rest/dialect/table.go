package dialect

import (
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/pandodb/pando/services/dataplane/internal/rest/scan"
)

type (
	decodeFunc = func(*decoder, scan.Value, protoreflect.Message) error
	encodeFunc = func(*encoder, protoreflect.Message)
)

// messageRule says how a message differs from an object of its fields.
type messageRule struct {
	// sole: the message shows as the value of this field alone.
	sole protoreflect.Name
	// short: a bare string stands for an object with this field alone.
	short protoreflect.Name
	// scalars: a oneof of scalars that shows as the bare scalar, told apart by JSON type.
	scalars bool
	// strict: unknown members are refused instead of ignored.
	strict bool
	// one: exactly one member must be there.
	one bool
	// decode and encode replace everything else.
	decode decodeFunc
	encode encodeFunc
	// virtual members have no field of their own.
	virtual []fieldRule
}

// fieldRule says how a field differs from a member of its own name.
type fieldRule struct {
	name, aliases string
	// hidden: the field has no place in JSON.
	hidden bool
	// inline: the members of the message stand in its parent.
	inline bool
	// many: a single value stands for a list of one.
	many bool
	// bare: the messages of the list show as their first field.
	bare bool
	// null: printed as null in responses when unset.
	null bool
	// weak: another member of the oneof wins, in whatever order they come.
	weak bool
	// sparse: not printed when empty.
	sparse bool
	// fill is printed when the field is unset.
	fill string
	// decode and encode replace the generic form. encode prints the name too.
	decode decodeFunc
	encode encodeFunc
}

type table struct {
	messages map[protoreflect.FullName]messageRule
	// fields goes by full name; byName holds for all messages of package qdrant that fields does not name.
	fields   map[protoreflect.FullName]fieldRule
	byName   map[protoreflect.Name]fieldRule
	required map[protoreflect.FullName]string
}

func (t table) ruleOf(fd protoreflect.FieldDescriptor) fieldRule {
	if r, ok := t.fields[fd.FullName()]; ok {
		return r
	}
	if fd.ParentFile().Package() == "qdrant" {
		return t.byName[fd.Name()]
	}
	return fieldRule{}
}

func rules() table {
	return table{messages: messageRules(), fields: fieldRules(), byName: namedRules(), required: requiredFields()}
}

// typed lets a function take the generated type.
func typed[M proto.Message](f func(*decoder, scan.Value, M) error) decodeFunc {
	return func(d *decoder, v scan.Value, m protoreflect.Message) error {
		return f(d, v, m.Interface().(M))
	}
}

func typedOut[M proto.Message](f func(*encoder, M)) encodeFunc {
	return func(e *encoder, m protoreflect.Message) {
		f(e, m.Interface().(M))
	}
}

func custom[M proto.Message](in func(*decoder, scan.Value, M) error, out func(*encoder, M)) messageRule {
	return messageRule{decode: typed(in), encode: typedOut(out)}
}

func member[M proto.Message](name string, in func(*decoder, scan.Value, M) error, out func(*encoder, M)) fieldRule {
	return fieldRule{name: name, decode: typed(in), encode: typedOut(out)}
}

func messageRules() map[protoreflect.FullName]messageRule {
	strict := messageRule{strict: true}
	scalars := messageRule{scalars: true}
	sole := func(name protoreflect.Name) messageRule { return messageRule{sole: name} }
	short := func(name protoreflect.Name) messageRule { return messageRule{short: name} }
	return map[protoreflect.FullName]messageRule{
		// Values and ids.
		"qdrant.PointId":                               custom(decodePointID, encodePointID),
		"qdrant.Value":                                 custom(decodeValue, encodeValue),
		"qdrant.ShardKey":                              scalars,
		"qdrant.ShardKeySelector":                      custom(decodeShardKeys, encodeShardKeys),
		"qdrant.OrderValue":                            scalars,
		"qdrant.GroupId":                               scalars,
		"qdrant.FacetValue":                            scalars,
		"qdrant.ReadConsistency":                       scalars,
		"qdrant.WriteOrdering":                         sole("type"),
		"qdrant.StartFrom":                             custom(decodeStartFrom, encodeStartFrom),
		"qdrant.OrderBy":                               short("key"),
		"qdrant.WithLookup":                            short("collection"),
		"qdrant.WithPayloadSelector":                   custom(decodeWithPayload, encodeWithPayload),
		"qdrant.WithVectorsSelector":                   custom(decodeWithVectors, encodeWithVectors),
		"qdrant.PointsIdsList":                         sole("ids"),
		"qdrant.VectorsSelector":                       sole("names"),
		"qdrant.PayloadIncludeSelector":                sole("fields"),
		"qdrant.PayloadExcludeSelector":                sole("fields"),
		"qdrant.PointsUpdateOperation":                 {one: true, strict: true},
		"qdrant.UpdateCollectionClusterSetupRequest":   {one: true, strict: true},
		"qdrant.AliasOperations":                       {one: true, strict: true},
		"qdrant.UpsertPoints":                          upsertRule(),
		"qdrant.PointsUpdateOperation.PointStructList": upsertRule(),

		"qdrant.Struct":    sole("fields"),
		"qdrant.ListValue": sole("values"),

		// Vectors.
		"qdrant.Vector":           custom(decodeVector, encodeVector),
		"qdrant.VectorOutput":     custom(decodeVectorOutput, encodeVectorOutput),
		"qdrant.Vectors":          custom(decodeVectors, encodeVectors),
		"qdrant.VectorsOutput":    custom(decodeVectorsOutput, encodeVectorsOutput),
		"qdrant.DenseVector":      custom(decodeDense, encodeDense),
		"qdrant.SparseVector":     custom(decodeSparse, encodeSparse),
		"qdrant.MultiDenseVector": sole("vectors"),
		"qdrant.VectorInput":      custom(decodeVectorInput, encodeVectorInput),
		"qdrant.VectorExample":    custom(decodeExample, encodeExample),
		"qdrant.TargetVector":     sole("single"),

		// Filters.
		"qdrant.Filter":             strict,
		"qdrant.MinShould":          strict,
		"qdrant.Condition":          custom(decodeCondition, encodeCondition),
		"qdrant.FieldCondition":     strict,
		"qdrant.Match":              custom(decodeMatch, encodeMatch),
		"qdrant.Range":              strict,
		"qdrant.DatetimeRange":      strict,
		"qdrant.ValuesCount":        strict,
		"qdrant.GeoBoundingBox":     strict,
		"qdrant.GeoRadius":          strict,
		"qdrant.GeoPolygon":         strict,
		"qdrant.GeoLineString":      strict,
		"qdrant.IsEmptyCondition":   strict,
		"qdrant.IsNullCondition":    strict,
		"qdrant.NestedCondition":    strict,
		"qdrant.SliceCondition":     strict,
		"qdrant.HasIdCondition":     sole("has_id"),
		"qdrant.HasVectorCondition": sole("has_vector"),
		"qdrant.RepeatedStrings":    sole("strings"),
		"qdrant.RepeatedIntegers":   sole("integers"),

		// Queries.
		"qdrant.Query":             custom(decodeQuery, encodeQuery),
		"qdrant.ContextInput":      sole("pairs"),
		"qdrant.FeedbackStrategy":  {one: true, strict: true},
		"qdrant.TextQuery":         short("query"),
		"qdrant.IdfParams":         custom(decodeIdf, encodeIdf),
		"qdrant.Expression":        custom(decodeExpression, encodeExpression),
		"qdrant.MultExpression":    sole("mult"),
		"qdrant.SumExpression":     sole("sum"),
		"qdrant.MaxExpression":     sole("max"),
		"qdrant.MinExpression":     sole("min"),
		"qdrant.SearchPoints":      {virtual: []fieldRule{member("vector", decodeSearchVector, encodeSearchVector)}},
		"qdrant.SearchPointGroups": {virtual: []fieldRule{member("vector", decodeSearchVector, encodeSearchVector)}},

		// The cluster.
		"pando.cluster.v1.SetMetadataRequest": sole("value"),
		"pando.cluster.v1.SetQuotasRequest":   sole("config"),
		"pando.cluster.v1.ClusterStatus":      {encode: encodeClusterStatus},
		"pando.cluster.v1.ReshardRequest":     custom(decodeReshard, encodeReshard),

		// Collections.
		"qdrant.VectorsConfig":                   custom(decodeVectorsConfig, encodeVectorsConfig),
		"qdrant.VectorsConfigDiff":               custom(decodeVectorsDiff, encodeVectorsDiff),
		"qdrant.VectorParamsMap":                 sole("map"),
		"qdrant.VectorParamsDiffMap":             sole("map"),
		"qdrant.SparseVectorConfig":              sole("map"),
		"qdrant.StrictModeSparseConfig":          sole("sparse_config"),
		"qdrant.StrictModeMultivectorConfig":     sole("multivector_config"),
		"qdrant.QuantizationConfig":              {one: true, strict: true},
		"qdrant.QuantizationConfigDiff":          quantizationDiffRule(),
		"qdrant.BinaryQuantizationQueryEncoding": sole("setting"),
		"qdrant.MaxOptimizationThreads":          scalars,
		"qdrant.OptimizerStatus":                 custom(decodeOptimizerStatus, encodeOptimizerStatus),
		"qdrant.PayloadIndexParams":              custom(decodeIndexParams, encodeIndexParams),
		"qdrant.StopwordsSet":                    custom(decodeStopwords, encodeStopwords),
		"qdrant.StemmingAlgorithm":               custom(decodeStemmer, encodeStemmer),
	}
}

// namedRules hold for every message of package qdrant.
func namedRules() map[protoreflect.Name]fieldRule {
	return map[protoreflect.Name]fieldRule{
		"shard_key_selector":    {name: "shard_key"},
		"with_vectors":          {name: "with_vector", aliases: "with_vectors"},
		"vectors_config":        {name: "vectors"},
		"sparse_vectors_config": {name: "sparse_vectors"},
		"points_selector":       {inline: true},
		"prefetch":              {many: true, sparse: true},
		"metadata":              {sparse: true},
		"options":               {sparse: true},
		"time":                  {hidden: true},
		"usage":                 {hidden: true},
	}
}

func fieldRules() map[protoreflect.FullName]fieldRule {
	payload := fieldRule{decode: decodePayload, encode: encodePayload}
	inline, hidden, many, sparse := fieldRule{inline: true}, fieldRule{hidden: true}, fieldRule{many: true, sparse: true}, fieldRule{sparse: true}
	searches, limit := fieldRule{name: "searches"}, fieldRule{aliases: "top"}
	bare := fieldRule{bare: true}
	return map[protoreflect.FullName]fieldRule{
		// Points.
		"qdrant.RetrievedPoint.payload":                         payload,
		"qdrant.ScoredPoint.payload":                            payload,
		"qdrant.PointStruct.vectors":                            {name: "vector"},
		"qdrant.PointVectors.vectors":                           {name: "vector"},
		"qdrant.RetrievedPoint.vectors":                         {name: "vector"},
		"qdrant.ScoredPoint.vectors":                            {name: "vector"},
		"qdrant.PointStruct.payload":                            payload,
		"qdrant.DeletePoints.points":                            inline,
		"qdrant.ClearPayloadPoints.points":                      inline,
		"qdrant.DeletePointVectors.vectors":                     {name: "vector", aliases: "vectors"},
		"qdrant.PointsSelector.filter":                          {weak: true},
		"qdrant.PointsUpdateOperation.DeletePoints.points":      inline,
		"qdrant.PointsUpdateOperation.ClearPayload.points":      inline,
		"qdrant.PointsUpdateOperation.DeleteVectors.vectors":    {name: "vector", aliases: "vectors"},
		"qdrant.PointsUpdateOperation.delete_deprecated":        hidden,
		"qdrant.PointsUpdateOperation.clear_payload_deprecated": hidden,
		"qdrant.PointsUpdateOperation.delete_points":            {name: "delete"},

		// Filters. A range is one of two messages in proto.
		"qdrant.Filter.must":                   many,
		"qdrant.Filter.must_not":               many,
		"qdrant.Filter.should":                 many,
		"qdrant.FieldCondition.range":          {decode: typed(decodeRange)},
		"qdrant.FieldCondition.datetime_range": {name: "range", decode: typed(decodeRange)},
		"qdrant.GeoPolygon.interiors":          sparse,

		// Queries.
		"qdrant.QueryBatchPoints.query_points":                 searches,
		"qdrant.SearchBatchPoints.search_points":               searches,
		"qdrant.RecommendBatchPoints.recommend_points":         searches,
		"qdrant.DiscoverBatchPoints.discover_points":           searches,
		"qdrant.SearchPoints.limit":                            limit,
		"qdrant.SearchPointGroups.limit":                       limit,
		"qdrant.RecommendPoints.limit":                         limit,
		"qdrant.RecommendPointGroups.limit":                    limit,
		"qdrant.DiscoverPoints.limit":                          limit,
		"pando.cluster.v1.CreateShardSnapshotRequest.shard_id": hidden, // of the path
		"qdrant.SearchPoints.vector":                           hidden,
		"qdrant.SearchPoints.sparse_indices":                   hidden,
		"qdrant.SearchPointGroups.vector":                      hidden,
		"qdrant.SearchPointGroups.sparse_indices":              hidden,
		"qdrant.RecommendPoints.positive":                      examples("positive"),
		"qdrant.RecommendPoints.negative":                      examples("negative"),
		"qdrant.RecommendPointGroups.positive":                 examples("positive"),
		"qdrant.RecommendPointGroups.negative":                 examples("negative"),
		"qdrant.RecommendPoints.positive_vectors":              hidden,
		"qdrant.RecommendPoints.negative_vectors":              hidden,
		"qdrant.RecommendPointGroups.positive_vectors":         hidden,
		"qdrant.RecommendPointGroups.negative_vectors":         hidden,
		"qdrant.DiscoverPoints.context":                        many,
		"qdrant.ContextInput.pairs":                            many,
		"qdrant.LookupLocation.collection_name":                {name: "collection"},
		"qdrant.LookupLocation.vector_name":                    {name: "vector"},

		"qdrant.Rrf.weights":    sparse,
		"qdrant.TextQuery.bm25": {name: "scoring", decode: typed(decodeTextScoring), encode: typedOut(encodeTextScoring)},

		// Collections.
		"qdrant.CreateCollection.optimizers_config":                       {aliases: "optimizer_config"},
		"qdrant.UpdateCollection.optimizers_config":                       {aliases: "optimizer_config"},
		"qdrant.CreateCollection.quantization_config":                     {aliases: "quantization"},
		"qdrant.CollectionParams.vectors_config":                          {name: "vectors", fill: "{}"},
		"qdrant.CollectionConfig.quantization_config":                     {null: true},
		"qdrant.CollectionInfo.warnings":                                  sparse,
		"qdrant.PayloadSchemaInfo.points":                                 {fill: "0"},
		"qdrant.OptimizersConfigDiff.max_segment_size":                    {null: true, aliases: "max_segment_size_kb"},
		"qdrant.OptimizersConfigDiff.memmap_threshold":                    {null: true, aliases: "memmap_threshold_kb"},
		"qdrant.OptimizersConfigDiff.indexing_threshold":                  {aliases: "indexing_threshold_kb"},
		"qdrant.OptimizersConfigDiff.deprecated_max_optimization_threads": hidden,
		"qdrant.OptimizersConfigDiff.max_optimization_threads":            {null: true, encode: encodeThreads},
		"qdrant.HnswConfigDiff.full_scan_threshold":                       {aliases: "full_scan_threshold_kb"},
		"qdrant.QuantizationConfig.turboquant":                            {name: "turbo"},
		"qdrant.QuantizationConfigDiff.disabled":                          hidden,
		"qdrant.QuantizationConfigDiff.turboquant":                        {name: "turbo"},
		"qdrant.CreateFieldIndexCollection.field_type":                    hidden,
		"qdrant.CreateFieldIndexCollection.field_index_params": {name: "field_schema", aliases: "field_type",
			decode: typed(decodeFieldSchema), encode: typedOut(encodeFieldSchema)},
		"qdrant.KeywordIndexParams.prefix":             {decode: typed(decodePrefix), encode: typedOut(encodePrefix)},
		"qdrant.TextIndexParams.scoring":               {decode: typed(decodeScoring)},
		"qdrant.CreateVectorNameRequest.dense_config":  {name: "dense"},
		"qdrant.CreateVectorNameRequest.sparse_config": {name: "sparse"},

		// Clusters.
		"qdrant.CreateShardKeyRequest.request":                        inline,
		"qdrant.DeleteShardKeyRequest.request":                        inline,
		"qdrant.CreateShardKey.shards_number":                         {aliases: "shard_number"},
		"qdrant.CreateShardKey.placement":                             sparse,
		"qdrant.UpdateCollectionClusterSetupRequest.create_shard_key": {name: "create_sharding_key"},
		"qdrant.UpdateCollectionClusterSetupRequest.delete_shard_key": {name: "drop_sharding_key"},
		"qdrant.ListShardKeysResponse.shard_keys":                     sparse,

		"pando.cluster.v1.CollectionClusterResponse.resharding_operations": sparse,
		"pando.cluster.v1.RaftInfo.leader":                                 {null: true},
		"pando.cluster.v1.RaftInfo.role":                                   {null: true},
		"pando.cluster.v1.ClusterStatus.detached_shards":                   sparse,
		"pando.cluster.v1.ClusterStatus.inactive_replicas":                 sparse,
		"pando.cluster.v1.ClusterStatus.control_members":                   sparse,
		"pando.cluster.v1.ClusterStatus.even_voters":                       sparse,
		"pando.cluster.v1.Quotas.peers":                                    sparse,
		"pando.cluster.v1.GetShardPointsRequest.get":                       inline,
		"pando.cluster.v1.ScrollShardPointsRequest.scroll":                 inline,
		"pando.cluster.v1.CountShardPointsRequest.count":                   inline,

		// Responses whose result is not shaped like the message.
		"qdrant.QueryResponse.result":              {name: "points"},
		"qdrant.ScrollResponse.result":             {name: "points"},
		"qdrant.ScrollResponse.next_page_offset":   {null: true},
		"qdrant.BatchResult.result":                {name: "points"},
		"qdrant.SearchBatchResponse.result":        bare,
		"qdrant.RecommendBatchResponse.result":     bare,
		"qdrant.DiscoverBatchResponse.result":      bare,
		"qdrant.Usage.inference":                   {null: true},
		"qdrant.SnapshotDescription.creation_time": {encode: typedOut(encodeCreation)},
	}
}

// requiredFields names the members without which an object is refused.
func requiredFields() map[protoreflect.FullName]string {
	return map[protoreflect.FullName]string{
		"qdrant.PointStruct":                            "id vector",
		"qdrant.PointVectors":                           "id vector",
		"qdrant.GetPoints":                              "ids",
		"qdrant.UpdatePointVectors":                     "points",
		"qdrant.PointsUpdateOperation.UpdateVectors":    "points",
		"qdrant.SetPayloadPoints":                       "payload",
		"qdrant.PointsUpdateOperation.SetPayload":       "payload",
		"qdrant.PointsUpdateOperation.OverwritePayload": "payload",
		"qdrant.DeletePayloadPoints":                    "keys",
		"qdrant.PointsUpdateOperation.DeletePayload":    "keys",
		"qdrant.DeletePointVectors":                     "vector",
		"qdrant.PointsUpdateOperation.DeleteVectors":    "vector",
		"qdrant.UpdateBatchPoints":                      "operations",
		"qdrant.CreateFieldIndexCollection":             "field_name",
		"qdrant.SearchPoints":                           "vector limit",
		"qdrant.SearchPointGroups":                      "vector limit group_by group_size",
		"qdrant.RecommendPoints":                        "limit",
		"qdrant.RecommendPointGroups":                   "limit group_by group_size",
		"qdrant.DiscoverPoints":                         "limit",
		"qdrant.ContextExamplePair":                     "positive negative",
		"qdrant.SearchBatchPoints":                      "searches",
		"qdrant.RecommendBatchPoints":                   "searches",
		"qdrant.DiscoverBatchPoints":                    "searches",
		"qdrant.QueryBatchPoints":                       "searches",
		"qdrant.QueryPointGroups":                       "group_by",
		"qdrant.FacetCounts":                            "key",
		"qdrant.LookupLocation":                         "collection",
		"qdrant.WithLookup":                             "collection",
		"qdrant.OrderBy":                                "key",
		"qdrant.Document":                               "text model",
		"qdrant.Image":                                  "image model",
		"qdrant.InferenceObject":                        "object model",
		"qdrant.MinShould":                              "conditions min_count",
		"qdrant.FieldCondition":                         "key",
		"qdrant.IsEmptyCondition":                       "key",
		"qdrant.IsNullCondition":                        "key",
		"qdrant.NestedCondition":                        "key filter",
		"qdrant.SliceCondition":                         "total index",
		"qdrant.GeoPoint":                               "lon lat",
		"qdrant.GeoBoundingBox":                         "top_left bottom_right",
		"qdrant.GeoRadius":                              "center radius",
		"qdrant.GeoPolygon":                             "exterior",
		"qdrant.GeoLineString":                          "points",
		"qdrant.DiscoverInput":                          "target context",
		"qdrant.ContextInputPair":                       "positive negative",
		"qdrant.RelevanceFeedbackInput":                 "target feedback strategy",
		"qdrant.FeedbackItem":                           "example score",
		"qdrant.NaiveFeedbackStrategy":                  "a b c",
		"qdrant.TextQuery":                              "query",
		"qdrant.DivExpression":                          "left right",
		"qdrant.PowExpression":                          "base exponent",
		"qdrant.DecayParamsExpression":                  "x",
		"qdrant.GeoDistance":                            "origin to",
		"qdrant.VectorParams":                           "size distance",
		"qdrant.DenseVectorCreationConfig":              "size distance",
		"qdrant.MultiVectorConfig":                      "comparator",
		"qdrant.ScalarQuantization":                     "type",
		"qdrant.ProductQuantization":                    "compression",
		"qdrant.ChangeAliases":                          "actions",
		"qdrant.CreateAlias":                            "collection_name alias_name",
		"qdrant.RenameAlias":                            "old_alias_name new_alias_name",
		"qdrant.DeleteAlias":                            "alias_name",
		"qdrant.MoveShard":                              "shard_id from_peer_id to_peer_id",
		"qdrant.ReplicateShard":                         "shard_id from_peer_id to_peer_id",
		"qdrant.AbortShardTransfer":                     "shard_id from_peer_id to_peer_id",
		"qdrant.RestartTransfer":                        "shard_id from_peer_id to_peer_id method",
		"qdrant.Replica":                                "shard_id peer_id",
		"qdrant.ReplicatePoints":                        "from_shard_key to_shard_key",
		"qdrant.CreateShardKeyRequest":                  "shard_key",
		"qdrant.CreateShardKey":                         "shard_key",
		"qdrant.DeleteShardKeyRequest":                  "shard_key",
		"qdrant.DeleteShardKey":                         "shard_key",
		"qdrant.SnowballParams":                         "language",
	}
}
