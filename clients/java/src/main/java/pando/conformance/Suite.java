package pando.conformance;

import static io.qdrant.client.VectorOutputHelper.getDenseVector;
import static pando.conformance.Truth.near;

import com.google.common.util.concurrent.ListenableFuture;
import io.grpc.Status;
import io.qdrant.client.QdrantClient;
import io.qdrant.client.QdrantGrpcClient;
import io.qdrant.client.grpc.Collections.Distance;
import io.qdrant.client.grpc.Common.Filter;
import io.qdrant.client.grpc.Common.PointId;
import io.qdrant.client.grpc.JsonWithInt.Value;
import io.qdrant.client.grpc.Points.QueryPoints;
import io.qdrant.client.grpc.Points.RetrievedPoint;
import io.qdrant.client.grpc.Points.ScoredPoint;
import io.qdrant.client.grpc.Points.VectorsOutput;
import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.ExecutionException;
import java.util.stream.IntStream;

/** Bookkeeping of the checks. Each part talks to the next peer; one that breaks off is one failed check. */
final class Suite implements AutoCloseable {
  interface Part {
    void run() throws Exception;
  }

  final List<QdrantClient> clients;
  /** Replicas of a shard; 0 leaves it to the server. */
  final int factor;
  QdrantClient client;
  String collection = "conformance_java";
  Truth truth = new Truth(Distance.Cosine);
  int passed;
  int failed;
  private int turn;
  private final boolean verbose;

  Suite(String mode, boolean verbose) {
    this.verbose = verbose;
    factor = mode.isEmpty() ? 0 : Integer.parseInt(env("PANDO_FACTOR", "2"));
    clients = addresses(mode).stream().map(Suite::connect).toList();
    client = clients.get(0);
  }

  private static String env(String key, String otherwise) {
    return System.getenv().getOrDefault(key, otherwise);
  }

  /** The gRPC addresses to talk to: the one of PANDO_HOST, or those of PANDO_PEERS="rest/grpc,…" but the PANDO_DOWN-th. */
  private static List<String> addresses(String mode) {
    if (mode.isEmpty()) {
      return List.of(env("PANDO_HOST", "127.0.0.1") + ":" + env("PANDO_GRPC_PORT", "6334"));
    }
    String peers = Objects.requireNonNull(System.getenv("PANDO_PEERS"), mode + " needs PANDO_PEERS=\"rest/grpc,…\", each host:port");
    List<String> all = List.of(peers.split(","));
    int down = mode.equals("cluster-down") ? Integer.parseInt(env("PANDO_DOWN", "0")) : 0;
    return IntStream.range(0, all.size()).filter(i -> i + 1 != down).mapToObj(i -> all.get(i).substring(all.get(i).indexOf('/') + 1)).toList();
  }

  private static QdrantClient connect(String address) {
    int colon = address.lastIndexOf(':');
    int port = Integer.parseInt(address.substring(colon + 1));
    var builder = QdrantGrpcClient.newBuilder(address.substring(0, colon), port, false, false).withTimeout(Duration.ofSeconds(60));
    String key = env("PANDO_API_KEY", "");
    return new QdrantClient((key.isEmpty() ? builder : builder.withApiKey(key)).build());
  }

  @Override
  public void close() {
    clients.forEach(QdrantClient::close);
  }

  void part(String what, Part part) {
    client = clients.get(turn++ % clients.size());
    try {
      part.run();
    } catch (Exception e) {
      ok(what + " breaks off", false, e);
    }
  }

  void ok(String what, boolean good, Object detail) {
    if (good) {
      passed++;
      if (verbose) {
        System.out.println("ok   java: " + what);
      }
    } else {
      failed++;
      String text = String.valueOf(detail);
      System.out.println("FAIL java: " + what + ": " + (text.length() > 600 ? text.substring(0, 600) + "…" : text));
    }
  }

  void check(String what, Object got, Object want) {
    ok(what, Objects.equals(got, want), "got " + got + ", want " + want);
  }

  /** The call must fail with this code. */
  void refused(String what, Status.Code code, ListenableFuture<?> call) throws InterruptedException {
    refused(what, code, "", call);
  }

  void refused(String what, Status.Code code, String said, ListenableFuture<?> call) throws InterruptedException {
    try {
      ok(what, false, "accepted: " + call.get());
    } catch (ExecutionException e) {
      Status status = Status.fromThrowable(e);
      ok(what, status.getCode() == code && String.valueOf(status.getDescription()).contains(said), "want " + code + ", got " + status);
    }
  }

  /** Ranked answers: each score as computed, and in order; ties may come in any order. */
  void hits(String what, List<ScoredPoint> got, List<Truth.Hit> want) {
    Map<PointId, Double> scores = new HashMap<>();
    want.forEach(h -> scores.put(h.id(), h.score()));
    for (int i = 0; i < got.size(); i++) {
      ScoredPoint h = got.get(i);
      Double computed = scores.remove(h.getId()); // a second time is one too many
      if (computed == null || !near(h.getScore(), computed) || i >= want.size() || !near(h.getScore(), want.get(i).score())) {
        ok(what, false, "place " + i + ": " + h.getId() + " with score " + h.getScore() + "; computed " + computed);
        return;
      }
    }
    ok(what, true, "");
  }

  static List<PointId> ids(List<RetrievedPoint> points) {
    return points.stream().map(RetrievedPoint::getId).toList();
  }

  static List<PointId> idsOfHits(List<ScoredPoint> points) {
    return points.stream().map(ScoredPoint::getId).toList();
  }

  static List<PointId> inOrder(List<PointId> ids) {
    return ids.stream().sorted(Truth.ORDER).toList();
  }

  static List<Float> dense(VectorsOutput vectors) {
    return getDenseVector(vectors.getVector()).getDataList();
  }

  List<RetrievedPoint> retrieve(List<PointId> ids) throws Exception {
    return client.retrieveAsync(collection, ids, true, true, null).get();
  }

  /** Reads the points back and compares everything about them. */
  void holds(String what, List<PointId> ids) throws Exception {
    List<RetrievedPoint> got = retrieve(ids);
    check(what + ": ids", inOrder(ids(got)), inOrder(ids));
    for (RetrievedPoint p : got) {
      Map<String, Value> payload = truth.payloads.get(p.getId());
      if (!p.getPayloadMap().equals(payload)) {
        check(what + ": payload of " + p.getId(), p.getPayloadMap(), payload);
        return;
      }
      if (!near(dense(p.getVectors()), truth.stored(p.getId()))) {
        ok(what + ": vector", false, p.getId());
        return;
      }
    }
    ok(what + ": payloads and vectors", true, "");
  }

  QueryPoints.Builder query() {
    return QueryPoints.newBuilder().setCollectionName(collection);
  }

  List<ScoredPoint> ask(QueryPoints.Builder query) throws Exception {
    return client.queryAsync(query.build()).get();
  }

  long count() throws Exception {
    return count(Filter.getDefaultInstance());
  }

  long count(Filter filter) throws Exception {
    return client.countAsync(collection, filter, true).get();
  }
}
