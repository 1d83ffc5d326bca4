package pando.conformance;

import static io.qdrant.client.QueryFactory.nearest;
import static io.qdrant.client.WithPayloadSelectorFactory.enable;
import static io.qdrant.client.WithPayloadSelectorFactory.exclude;
import static io.qdrant.client.WithPayloadSelectorFactory.include;
import static pando.conformance.Filters.keep;
import static pando.conformance.Filters.must;
import static pando.conformance.Filters.mustNot;
import static pando.conformance.Truth.ABSENT;
import static pando.conformance.Truth.COUNT;
import static pando.conformance.Truth.DIM;
import static pando.conformance.Truth.SHARDS;
import static pando.conformance.Truth.name;
import static pando.conformance.Truth.names;
import static pando.conformance.Truth.near;
import static pando.conformance.Truth.object;
import static pando.conformance.Truth.vector;

import io.qdrant.client.ConditionFactory;
import io.qdrant.client.WithVectorsSelectorFactory;
import io.qdrant.client.grpc.Collections.CollectionStatus;
import io.qdrant.client.grpc.Collections.Distance;
import io.qdrant.client.grpc.Common.Filter;
import io.qdrant.client.grpc.Common.PointId;
import io.qdrant.client.grpc.Common.Range;
import io.qdrant.client.grpc.JsonWithInt.Value;
import io.qdrant.client.grpc.Points.BatchResult;
import io.qdrant.client.grpc.Points.QueryPoints;
import io.qdrant.client.grpc.Points.RetrievedPoint;
import io.qdrant.client.grpc.Points.ScoredPoint;
import io.qdrant.client.grpc.Points.ScrollPoints;
import io.qdrant.client.grpc.Points.ScrollResponse;
import io.qdrant.client.grpc.Points.SearchPoints;
import io.qdrant.client.grpc.Points.WithPayloadSelector;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.function.Predicate;
import java.util.stream.IntStream;

/** Reads: by id, by vector, page by page, and what a collection says of itself. */
final class Reads {
  private final Suite s;

  Reads(Suite s) {
    this.s = s;
  }

  void service() throws Exception {
    var health = s.client.healthCheckAsync().get();
    s.ok("the version of the API", health.getVersion().startsWith("1.19."), health.getVersion());
    s.check("a commit of 40 characters", health.getCommit().length(), 40);
  }

  void get() throws Exception {
    for (int from = 0; from < COUNT; from += 200) {
      s.holds("get", names(from, from + 200));
    }
    s.check("get of an absent id", s.retrieve(List.of(ABSENT)), List.of());
    List<RetrievedPoint> some = s.client.retrieveAsync(s.collection, List.of(name(3), ABSENT, name(9)), null).get();
    s.check("get leaves absent ids out", Suite.inOrder(Suite.ids(some)), List.of(name(3), name(9)));
    s.ok("vectors are not sent unasked", some.stream().noneMatch(RetrievedPoint::hasVectors), some);
    s.check("get without payload", payloadOf3(enable(false)), Map.of());
    s.check("get with some keys", payloadOf3(include(List.of("color", "nested.deep"))), object("color", "red", "nested", object("deep", 3)));
    s.check("get without some keys", payloadOf3(exclude(List.of("nested", "tags", "maybe"))),
        object("n", 3, "color", "red", "price", 0.75, "flag", false));
  }

  private Map<String, Value> payloadOf3(WithPayloadSelector keys) throws Exception {
    return s.client.retrieveAsync(s.collection, List.of(name(3)), keys, WithVectorsSelectorFactory.enable(false), null).get()
        .get(0).getPayloadMap();
  }

  void query() throws Exception {
    float[] q = vector(10_001, DIM);
    List<Truth.Hit> want = s.truth.nearest(q);
    QueryPoints query = s.query().setQuery(nearest(q)).build();
    List<ScoredPoint> top = s.ask(query.toBuilder().setWithPayload(enable(true)).setWithVectors(WithVectorsSelectorFactory.enable(true)));
    s.hits("query by vector", top, want);
    s.check("query: ten by default", top.size(), 10);
    for (ScoredPoint h : top) {
      s.check("query: payload", h.getPayloadMap(), s.truth.payloads.get(h.getId()));
      s.ok("query: vector", near(Suite.dense(h.getVectors()), s.truth.stored(h.getId())), h.getId());
    }
    List<ScoredPoint> bare = s.ask(query.toBuilder().setLimit(1));
    s.ok("query: nothing unasked", bare.size() == 1 && bare.get(0).getPayloadCount() == 0 && !bare.get(0).hasVectors(), bare);
    List<ScoredPoint> every = s.ask(query.toBuilder().setLimit(2 * COUNT));
    s.hits("query for all", every, want);
    s.check("query for all: all of them", every.size(), COUNT);
    for (PointId id : List.of(name(5), name(19))) {
      List<ScoredPoint> near = s.ask(s.query().setQuery(nearest(id)).setLimit(8));
      s.hits("query by id", near, s.truth.nearest(s.truth.vectors.get(id), (other, payload) -> !other.equals(id)));
      s.check("query by id: count", near.size(), 8);
    }
    List<ScoredPoint> later = s.ask(query.toBuilder().setLimit(7).setOffset(13));
    s.hits("query with offset", later, want.subList(13, want.size()));
    s.check("query with offset: count", later.size(), 7);
    s.check("query with offset past the end", s.ask(query.toBuilder().setOffset(COUNT)), List.of());
    float cut = (float) ((want.get(24).score() + want.get(25).score()) / 2);
    List<ScoredPoint> above = s.ask(query.toBuilder().setLimit(100).setScoreThreshold(cut));
    s.hits("query with threshold", above, want);
    s.check("query with threshold: count", above.size(), 25);
    s.check("query for nothing: by id", Suite.idsOfHits(s.ask(s.query().setLimit(6))), s.truth.ids().subList(0, 6));
    queryBatch();
  }

  private void queryBatch() throws Exception {
    List<QueryPoints> queries = IntStream.range(0, 5)
        .mapToObj(k -> s.query().setQuery(nearest(vector(20_000 + k, DIM))).setLimit(3 + k).build()).toList();
    List<BatchResult> answers = s.client.queryBatchAsync(s.collection, queries).get();
    s.check("batch: an answer each", answers.stream().map(BatchResult::getResultCount).toList(), List.of(3, 4, 5, 6, 7));
    for (int k = 0; k < answers.size(); k++) {
      s.hits("batch: rank", answers.get(k).getResultList(), s.truth.nearest(vector(20_000 + k, DIM)));
    }
  }

  /** The older form of query. */
  void search() throws Exception {
    float[] q = vector(10_003, DIM);
    List<Truth.Hit> want = s.truth.nearest(q, keep(p -> p.n() >= 300));
    want = want.subList(2, want.size());
    SearchPoints.Builder ask = SearchPoints.newBuilder().setCollectionName(s.collection).setOffset(2).setWithPayload(enable(true))
        .setFilter(must(ConditionFactory.range("n", Range.newBuilder().setGte(300).build())));
    for (float x : q) {
      ask.addVector(x);
    }
    List<ScoredPoint> got = s.client.searchAsync(ask.setLimit(9).build()).get();
    s.hits("search", got, want);
    s.check("search: count", got.size(), 9);
    for (ScoredPoint h : got) {
      s.check("search: payload", h.getPayloadMap(), s.truth.payloads.get(h.getId()));
    }
    List<BatchResult> many = s.client.searchBatchAsync(s.collection, List.of(ask.build(), ask.clone().setLimit(2).build()), null).get();
    s.check("search in a batch", many.stream().map(BatchResult::getResultCount).toList(), List.of(9, 2));
    for (BatchResult r : many) {
      s.hits("search in a batch: rank", r.getResultList(), want);
    }
  }

  void scroll() throws Exception {
    scrollThrough("all", Filter.getDefaultInstance(), p -> true);
    scrollThrough("filtered", mustNot(ConditionFactory.match("flag", true)), p -> !p.flag());
    ScrollResponse page = s.client.scrollAsync(ScrollPoints.newBuilder().setCollectionName(s.collection).build()).get();
    s.check("scroll: ten by default", Suite.ids(page.getResultList()), s.truth.ids().subList(0, 10));
    s.check("scroll: where to go on", page.getNextPageOffset(), s.truth.ids().get(10));
  }

  private void scrollThrough(String what, Filter filter, Predicate<Filters.Card> keep) throws Exception {
    List<PointId> want = s.truth.ids(keep(keep));
    List<RetrievedPoint> seen = new ArrayList<>();
    var request = ScrollPoints.newBuilder().setCollectionName(s.collection).setFilter(filter).setLimit(37).setWithPayload(enable(true));
    int pages = 0;
    ScrollResponse page;
    do {
      page = s.client.scrollAsync(request.build()).get();
      seen.addAll(page.getResultList());
      request.setOffset(page.getNextPageOffset());
      pages++;
    } while (page.hasNextPageOffset() && pages <= COUNT);
    s.check("scroll " + what + ": every id once, in order", Suite.ids(seen), want);
    s.check("scroll " + what + ": payloads", seen.stream().map(RetrievedPoint::getPayloadMap).toList(),
        want.stream().map(s.truth.payloads::get).toList());
    s.check("scroll " + what + ": pages", pages, (want.size() + 36) / 37);
  }

  void info() throws Exception {
    var info = s.client.getCollectionInfoAsync(s.collection).get();
    var params = info.getConfig().getParams();
    s.check("status", info.getStatus(), CollectionStatus.Green);
    s.check("points", info.getPointsCount(), (long) s.truth.vectors.size());
    s.check("size", params.getVectorsConfig().getParams().getSize(), (long) DIM);
    s.check("distance", params.getVectorsConfig().getParams().getDistance(), Distance.Cosine);
    s.check("shards", params.getShardNumber(), SHARDS);
    Cluster.Placement placed = Cluster.placed(s);
    s.check("shards that are placed", placed.replicas().stream().map(Cluster.Replica::shard).distinct().count(), (long) SHARDS);
    s.ok("state of the shards", placed.active(), placed);
  }
}
