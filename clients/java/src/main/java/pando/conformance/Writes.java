package pando.conformance;

import static io.qdrant.client.ConditionFactory.match;
import static io.qdrant.client.PointIdFactory.id;
import static io.qdrant.client.QueryFactory.nearest;
import static io.qdrant.client.VectorFactory.vector;
import static io.qdrant.client.VectorOutputHelper.getDenseVector;
import static io.qdrant.client.VectorsFactory.namedVectors;
import static io.qdrant.client.VectorsFactory.vectors;
import static pando.conformance.Filters.between;
import static pando.conformance.Filters.must;
import static pando.conformance.Truth.ABSENT;
import static pando.conformance.Truth.COUNT;
import static pando.conformance.Truth.DIM;
import static pando.conformance.Truth.SHARDS;
import static pando.conformance.Truth.name;
import static pando.conformance.Truth.names;
import static pando.conformance.Truth.near;
import static pando.conformance.Truth.object;
import static pando.conformance.Truth.payload;
import static pando.conformance.Truth.with;
import static pando.conformance.Truth.without;

import com.google.common.util.concurrent.ListenableFuture;
import io.grpc.Status.Code;
import io.qdrant.client.QdrantClient;
import io.qdrant.client.WithVectorsSelectorFactory;
import io.qdrant.client.grpc.Collections.CollectionOperationResponse;
import io.qdrant.client.grpc.Collections.CreateCollection;
import io.qdrant.client.grpc.Collections.Distance;
import io.qdrant.client.grpc.Collections.VectorParams;
import io.qdrant.client.grpc.Collections.VectorParamsMap;
import io.qdrant.client.grpc.Collections.VectorsConfig;
import io.qdrant.client.grpc.Common.PointId;
import io.qdrant.client.grpc.JsonWithInt.Value;
import io.qdrant.client.grpc.Points.PointStruct;
import io.qdrant.client.grpc.Points.PointVectors;
import io.qdrant.client.grpc.Points.PointsIdsList;
import io.qdrant.client.grpc.Points.PointsSelector;
import io.qdrant.client.grpc.Points.PointsUpdateOperation;
import io.qdrant.client.grpc.Points.PointsUpdateOperation.DeletePayload;
import io.qdrant.client.grpc.Points.PointsUpdateOperation.DeletePoints;
import io.qdrant.client.grpc.Points.PointsUpdateOperation.PointStructList;
import io.qdrant.client.grpc.Points.PointsUpdateOperation.SetPayload;
import io.qdrant.client.grpc.Points.PointsUpdateOperation.UpdateVectors;
import io.qdrant.client.grpc.Points.ReadConsistency;
import io.qdrant.client.grpc.Points.ReadConsistencyType;
import io.qdrant.client.grpc.Points.ScoredPoint;
import io.qdrant.client.grpc.Points.UpdateMode;
import io.qdrant.client.grpc.Points.UpdateResult;
import io.qdrant.client.grpc.Points.UpdateStatus;
import io.qdrant.client.grpc.Points.UpsertPoints;
import io.qdrant.client.grpc.Points.Vector;
import io.qdrant.client.grpc.Points.WriteOrdering;
import io.qdrant.client.grpc.Points.WriteOrderingType;
import java.time.Instant;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Predicate;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/** Writes: collections, points, payloads, vectors, aliases, and what must be refused. */
final class Writes {
  private record Space(String using, int size, Distance distance) {}

  private static final List<Space> SPACES =
      List.of(new Space("dot", 8, Distance.Dot), new Space("euclid", 4, Distance.Euclid), new Space("manhattan", 5, Distance.Manhattan));

  private final Suite s;

  Writes(Suite s) {
    this.s = s;
  }

  private CreateCollection.Builder collection(String name, VectorsConfig vectors) {
    CreateCollection.Builder c = CreateCollection.newBuilder().setCollectionName(name).setVectorsConfig(vectors).setShardNumber(SHARDS);
    return s.factor == 0 ? c : c.setReplicationFactor(s.factor);
  }

  private static VectorsConfig one(long size, Distance distance) {
    return VectorsConfig.newBuilder().setParams(VectorParams.newBuilder().setSize(size).setDistance(distance)).build();
  }

  /** The collection, anew. */
  void make() throws Exception {
    for (String c : List.of(s.collection, s.collection + "_named")) {
      if (s.client.collectionExistsAsync(c).get()) {
        s.client.deleteCollectionAsync(c).get();
      }
    }
    s.check("exists before it is created", s.client.collectionExistsAsync(s.collection).get(), false);
    s.check("create", s.client.createCollectionAsync(collection(s.collection, one(DIM, Distance.Cosine)).build()).get().getResult(), true);
    for (QdrantClient client : s.clients) { // the others hear of it a little later
      Instant until = Instant.now().plusSeconds(10);
      while (!client.collectionExistsAsync(s.collection).get() && Instant.now().isBefore(until)) {
        Thread.sleep(50);
      }
      s.ok("the collection is seen by every peer", client.collectionExistsAsync(s.collection).get(), "not after 10 s");
    }
  }

  void create() throws Exception {
    make();
    List<String> all = s.client.listCollectionsAsync().get();
    s.ok("list", all.contains(s.collection), all);
  }

  private UpsertPoints.Builder points(PointStruct... points) {
    return UpsertPoints.newBuilder().setCollectionName(s.collection).setWait(true).addAllPoints(List.of(points));
  }

  /** Sends points as the truth has them. */
  void store(List<PointId> ids) throws Exception {
    PointStruct[] points = ids.stream().map(s.truth::point).toArray(PointStruct[]::new);
    s.check("upsert", s.client.upsertAsync(points(points).build()).get().getStatus(), UpdateStatus.Completed);
  }

  private static PointStruct row(long id, int vectorOf, Map<String, Value> payload) {
    return PointStruct.newBuilder().setId(id(id)).setVectors(vectors(Truth.vector(vectorOf, DIM))).putAllPayload(payload).build();
  }

  void upsert() throws Exception {
    s.truth = Truth.filled();
    for (int from = 0; from < COUNT; from += 100) {
      store(names(from, from + 100));
    }
    s.check("count", s.count(), (long) COUNT);
    store(names(1, 3));
    s.check("count after upserting again", s.count(), (long) COUNT);
    s.client.upsertAsync(points(row(7, 1, object("n", -1)), s.truth.point(name(7))).build()).get();
    s.holds("of equal ids in one request the last counts", names(7, 8));
    UpdateStatus late = s.client.upsertAsync(points(s.truth.point(name(5))).setWait(false).build()).get().getStatus();
    s.ok("upsert without waiting", late == UpdateStatus.Acknowledged || late == UpdateStatus.Completed, late);
  }

  void payloads() throws Exception {
    Map<String, Value> extra = object("extra", Arrays.asList(1, 2.5, null), "n", 1000);
    s.client.setPayloadAsync(s.collection, extra, name(20), true, null, null).get();
    s.truth.change(name(20), extra);
    s.holds("set payload", names(20, 21));
    s.client.setPayloadAsync(s.collection, object("extra", "z"), must(between("n", 21, 24)), true, null, null).get();
    names(21, 24).forEach(id -> s.truth.change(id, object("extra", "z")));
    s.holds("set payload by filter", names(21, 25));
    s.client.setPayloadAsync(s.collection, object("new", object("x", 1)), only(24), true, "nested", null, null).get();
    s.truth.change(name(24), object("nested", with(nested(24), object("new", object("x", 1)))));
    s.holds("set payload under a key", names(24, 25));
    s.client.overwritePayloadAsync(s.collection, object("only", object("this", true)), name(25), true, null, null).get();
    s.truth.payloads.put(name(25), object("only", object("this", true)));
    s.holds("overwrite payload", names(25, 26));
    s.client.deletePayloadAsync(s.collection, List.of("color", "nested.deep", "no_such"), names(26, 28), true, null, null).get();
    for (int i = 26; i < 28; i++) {
      Map<String, Value> left = without(payload(i), "color");
      s.truth.payloads.put(name(i), with(left, object("nested", without(nested(i), "deep"))));
    }
    s.holds("delete keys", names(26, 29));
    s.client.clearPayloadAsync(s.collection, names(28, 30), true, null, null).get();
    names(28, 30).forEach(id -> s.truth.payloads.put(id, Map.of()));
    s.holds("clear payload", names(28, 31));
    s.truth.payloads.put(name(30), object("text", "Grüße, 日本語 🙂 \" \\ \n", "big", 1L << 62, "small", -(1L << 62), "float", 1.5,
        "whole", 2.0, "none", null, "empty", object(), "list", List.of(List.of(), Arrays.asList(1, "a", null))));
    store(names(30, 31));
    s.holds("payload of every kind", names(30, 31));
  }

  private static Map<String, Value> nested(int i) {
    return payload(i).get("nested").getStructValue().getFieldsMap();
  }

  private static PointsSelector only(long id) {
    return PointsSelector.newBuilder().setPoints(PointsIdsList.newBuilder().addIds(id(id))).build();
  }

  void delete() throws Exception {
    List<PointId> gone = Stream.concat(Stream.of(name(31), name(39)), names(40, 50).stream()).toList();
    s.client.deleteAsync(s.collection, gone.subList(0, 2)).get();
    s.client.deleteAsync(s.collection, List.of(ABSENT)).get();
    s.client.deleteAsync(s.collection, must(between("n", 40, 50))).get();
    s.truth.drop(gone);
    s.check("deleted ones are absent", s.retrieve(gone), List.of());
    s.check("count after delete", s.count(), COUNT - 12L);
    float[] q = Truth.vector(10_004, DIM);
    List<ScoredPoint> got = s.ask(s.query().setQuery(nearest(q)).setLimit(COUNT));
    s.hits("query after delete", got, s.truth.nearest(q));
    s.check("query after delete: count", got.size(), COUNT - 12);
    s.truth.put(name(31), Truth.vector(31, DIM), object("back", true));
    store(names(31, 32));
    s.holds("a deleted id stored again", names(31, 32));
  }

  void batch() throws Exception {
    PointVectors moved = PointVectors.newBuilder().setId(id(5000)).setVectors(vectors(Truth.vector(5002, DIM))).build();
    List<PointsUpdateOperation.Builder> operations = List.of(
        PointsUpdateOperation.newBuilder().setUpsert(
            PointStructList.newBuilder().addPoints(row(5000, 5000, object("a", 1))).addPoints(row(5001, 5000, object()))),
        PointsUpdateOperation.newBuilder().setSetPayload(SetPayload.newBuilder().putAllPayload(object("b", 2)).setPointsSelector(only(5000))),
        PointsUpdateOperation.newBuilder().setDeletePayload(DeletePayload.newBuilder().addKeys("a").setPointsSelector(only(5000))),
        PointsUpdateOperation.newBuilder().setUpdateVectors(UpdateVectors.newBuilder().addPoints(moved)),
        PointsUpdateOperation.newBuilder().setDeletePoints(DeletePoints.newBuilder().setPoints(only(5001))));
    List<PointsUpdateOperation> built = operations.stream().map(PointsUpdateOperation.Builder::build).toList();
    List<UpdateResult> done = s.client.batchUpdateAsync(s.collection, built, true, null, null).get();
    s.check("batch of writes: an answer each", done.stream().map(UpdateResult::getStatus).toList(),
        Collections.nCopies(5, UpdateStatus.Completed));
    s.truth.put(id(5000), Truth.vector(5002, DIM), object("b", 2));
    s.holds("batch of writes, in order", List.of(id(5000)));
    s.check("batch of writes: the deleted one", s.retrieve(List.of(id(5001))), List.of());
  }

  /** What may be asked for on top: ordering, consistency, and writes that only touch what is (not) there. */
  void knobs() throws Exception {
    for (WriteOrderingType type : List.of(WriteOrderingType.Weak, WriteOrderingType.Medium, WriteOrderingType.Strong)) {
      UpsertPoints request = points(s.truth.point(name(60))).setOrdering(WriteOrdering.newBuilder().setType(type)).build();
      s.check("upsert with " + type + " ordering", s.client.upsertAsync(request).get().getStatus(), UpdateStatus.Completed);
    }
    float[] q = Truth.vector(10_005, DIM);
    Stream<ReadConsistency> types = Stream.of(ReadConsistencyType.All, ReadConsistencyType.Majority, ReadConsistencyType.Quorum)
        .map(type -> ReadConsistency.newBuilder().setType(type).build());
    for (ReadConsistency how : Stream.concat(Stream.of(ReadConsistency.newBuilder().setFactor(1).build()), types).toList()) {
      var query = s.query().setQuery(nearest(q)).setLimit(3).setReadConsistency(how);
      List<ScoredPoint> got = s.ask(query);
      s.hits("query with consistency " + how, got, s.truth.nearest(q));
      s.check("query with consistency " + how + ": count", got.size(), 3);
    }
    s.client.upsertAsync(points(row(61, 61, object("x", 1)), row(7000, 7000, object("x", 1))).setUpdateMode(UpdateMode.InsertOnly).build()).get();
    s.client.upsertAsync(points(row(62, 62, object("x", 2)), row(7001, 7001, object("x", 2))).setUpdateMode(UpdateMode.UpdateOnly).build()).get();
    s.truth.put(id(7000), Truth.vector(7000, DIM), object("x", 1));
    s.truth.payloads.put(name(62), object("x", 2));
    s.holds("insert only", List.of(name(61), id(7000)));
    s.holds("update only", names(62, 63));
    s.check("update only: nothing new", s.retrieve(List.of(id(7001))), List.of());
  }

  /** A second collection, whose points have up to three vectors. */
  void named() throws Exception {
    String collection = s.collection + "_named";
    VectorParamsMap.Builder params = VectorParamsMap.newBuilder();
    SPACES.forEach(x -> params.putMap(x.using, VectorParams.newBuilder().setSize(x.size).setDistance(x.distance).build()));
    s.client.createCollectionAsync(collection(collection, VectorsConfig.newBuilder().setParamsMap(params).build()).setShardNumber(2).build()).get();
    Map<String, Truth> truths = SPACES.stream().collect(Collectors.toMap(Space::using, x -> new Truth(x.distance)));
    UpsertPoints.Builder request = UpsertPoints.newBuilder().setCollectionName(collection).setWait(true);
    for (int i = 0; i < 60; i++) {
      Map<String, Vector> given = new HashMap<>();
      for (int k = 0; k < SPACES.size(); k++) {
        Space x = SPACES.get(k);
        if (x.using.equals("euclid") && i % 6 == 5) {
          continue; // a vector may be missing
        }
        float[] v = Truth.vector(i + 100 * k, x.size);
        given.put(x.using, vector(v));
        truths.get(x.using).put(id(i), v, object());
      }
      request.addPoints(PointStruct.newBuilder().setId(id(i)).setVectors(namedVectors(given)).putAllPayload(object("n", i)));
    }
    s.client.upsertAsync(request.build()).get();
    ranks("named", collection, truths);

    float[] q = Truth.vector(777, 4);
    List<Truth.Hit> euclid = truths.get("euclid").nearest(q);
    float cut = (float) ((euclid.get(9).score() + euclid.get(10).score()) / 2);
    s.check("threshold of a distance",
        s.ask(s.query().setCollectionName(collection).setQuery(nearest(q)).setUsing("euclid").setLimit(100).setScoreThreshold(cut)).size(), 10);

    float[] fresh = Truth.vector(9, 8);
    s.client.updateVectorsAsync(collection,
        List.of(PointVectors.newBuilder().setId(id(3)).setVectors(namedVectors(Map.of("dot", vector(fresh)))).build())).get();
    truths.get("dot").put(id(3), fresh, object());
    ranks("after update of a vector", collection, truths);
    s.client.deleteVectorsAsync(collection, List.of("euclid"), List.of(id(4), id(6))).get();
    truths.get("euclid").drop(List.of(id(4), id(6)));
    ranks("after delete of a vector", collection, truths);
    s.check("payload after both", s.client.retrieveAsync(collection, id(4), true, false, null).get().get(0).getPayloadMap(), object("n", 4));
  }

  /** Asks each space for all its points, with their vectors. */
  private void ranks(String what, String collection, Map<String, Truth> truths) throws Exception {
    for (Space x : SPACES) {
      Truth truth = truths.get(x.using);
      float[] q = Truth.vector(777, x.size);
      List<ScoredPoint> got = s.ask(s.query().setCollectionName(collection).setQuery(nearest(q)).setUsing(x.using).setLimit(100)
          .setWithVectors(WithVectorsSelectorFactory.include(List.of(x.using))));
      s.hits(what + ", " + x.using + ": rank", got, truth.nearest(q));
      s.check(what + ", " + x.using + ": which", Suite.inOrder(Suite.idsOfHits(got)), truth.ids());
      Predicate<ScoredPoint> good = h -> near(
          getDenseVector(h.getVectors().getVectors().getVectorsOrThrow(x.using)).getDataList(), truth.vectors.get(h.getId()));
      s.ok(what + ", " + x.using + ": vectors", got.stream().allMatch(good), "one differs");
    }
  }

  void aliases() throws Exception {
    String a = s.collection + "_alias";
    String b = s.collection + "_alias2";
    s.client.createAliasAsync(a, s.collection).get();
    s.check("aliases of the collection", s.client.listCollectionAliasesAsync(s.collection).get(), List.of(a));
    var all = s.client.listAliasesAsync().get();
    s.ok("all aliases", all.stream().anyMatch(x -> x.getAliasName().equals(a) && x.getCollectionName().equals(s.collection)), all);
    s.check("count through the alias", s.client.countAsync(a).get(), (long) s.truth.vectors.size());
    s.client.renameAliasAsync(a, b).get();
    s.check("rename", s.client.listCollectionAliasesAsync(s.collection).get(), List.of(b));
    s.refused("the old name is gone", Code.NOT_FOUND, s.client.countAsync(a));
    s.client.deleteAliasAsync(b).get();
    s.check("delete the alias", s.client.listCollectionAliasesAsync(s.collection).get(), List.of());
  }

  void errors() throws Exception {
    float[] q = Truth.vector(1, DIM);
    PointStruct wrong = PointStruct.newBuilder().setId(id(6000)).setVectors(vectors(Truth.vector(1, 7))).build();
    s.refused("wrong dimension, upsert", Code.INVALID_ARGUMENT, s.client.upsertAsync(points(s.truth.point(name(1)), wrong).build()));
    s.refused("wrong dimension, query", Code.INVALID_ARGUMENT, s.client.queryAsync(s.query().setQuery(nearest(Truth.vector(1, 7))).build()));
    s.refused("unknown vector name", Code.INVALID_ARGUMENT, s.client.queryAsync(s.query().setQuery(nearest(q)).setUsing("nope").build()));
    s.refused("unknown collection, query", Code.NOT_FOUND, s.client.queryAsync(s.query().setCollectionName("no_such").setQuery(nearest(q)).build()));
    s.refused("a point that is absent", Code.NOT_FOUND, s.client.queryAsync(s.query().setQuery(nearest(ABSENT)).build()));
    s.refused("limit 0", Code.INVALID_ARGUMENT, s.client.queryAsync(s.query().setQuery(nearest(q)).setLimit(0).build()));
    s.refused("unknown collection, get", Code.NOT_FOUND, s.client.retrieveAsync("no_such", id(1), null));
    s.refused("unknown collection, info", Code.NOT_FOUND, "no_such", s.client.getCollectionInfoAsync("no_such"));
    s.refused("bad key in a filter", Code.INVALID_ARGUMENT, s.client.countAsync(s.collection, must(match("a[", 1)), true));
    s.refused("text that is no UUID as id", Code.INVALID_ARGUMENT,
        s.client.retrieveAsync(s.collection, PointId.newBuilder().setUuid("abc").build(), null));
    s.refused("create twice", Code.ALREADY_EXISTS, create(s.collection, 4, 1));
    s.refused("name with a slash", Code.INVALID_ARGUMENT, create("a/b", 4, 1));
    s.refused("name of 256 bytes", Code.INVALID_ARGUMENT, create("x".repeat(256), 4, 1));
    s.refused("size 0", Code.INVALID_ARGUMENT, create("never", 0, 1));
    s.refused("replication_factor 0", Code.INVALID_ARGUMENT, create("never", 4, 0));
    s.check("nothing came of it", s.client.collectionExistsAsync("never").get(), false);
    s.check("nothing was half applied", s.count(), (long) s.truth.vectors.size());
  }

  private ListenableFuture<CollectionOperationResponse> create(String name, long size, int factor) {
    return s.client.createCollectionAsync(collection(name, one(size, Distance.Dot)).setReplicationFactor(factor).build());
  }

  void drop() throws Exception {
    for (String c : List.of(s.collection, s.collection + "_named")) {
      s.check("drop", s.client.deleteCollectionAsync(c).get().getResult(), true);
      s.check("dropped", s.client.collectionExistsAsync(c).get(), false);
    }
  }
}
