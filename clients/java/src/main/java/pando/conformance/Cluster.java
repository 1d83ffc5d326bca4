package pando.conformance;

import static io.qdrant.client.QueryFactory.nearest;
import static pando.conformance.Truth.COUNT;
import static pando.conformance.Truth.DIM;
import static pando.conformance.Truth.SHARDS;
import static pando.conformance.Truth.name;
import static pando.conformance.Truth.object;
import static pando.conformance.Truth.payload;
import static pando.conformance.Truth.vector;

import io.qdrant.client.grpc.Collections.Distance;
import io.qdrant.client.grpc.Collections.ReplicaState;
import io.qdrant.client.grpc.Common.PointId;
import io.qdrant.client.grpc.Points.ScoredPoint;
import java.time.Duration;
import java.time.Instant;
import java.util.Comparator;
import java.util.List;
import java.util.stream.Stream;

/** What a cluster is asked: where the replicas are, and the same points through every peer. */
final class Cluster {
  record Replica(int shard, long peer, ReplicaState state) {}

  record Placement(long shards, List<Replica> replicas) {
    boolean active() {
      return replicas.stream().allMatch(r -> r.state == ReplicaState.Active);
    }
  }

  private final Suite s;
  private final Writes writes;
  private Placement first;

  Cluster(Suite s, Writes writes) {
    this.s = s;
    this.writes = writes;
  }

  /** The sample of Qdrant's documentation: six shards, each on two peers, are twelve replicas. */
  void sample() {
    String own = s.collection;
    s.collection += "_sample";
    s.part("sample", writes::make);
    placement(Duration.ofSeconds(15));
    s.truth = Truth.filled();
    for (int from = 0; from < COUNT; from += 100) {
      List<PointId> ids = s.truth.ids().subList(from, from + 100);
      s.part("load", () -> writes.store(ids));
    }
    work();
    s.collection = own;
    s.truth = new Truth(Distance.Cosine);
  }

  /** The same collection in a later run, with a peer down or back. */
  void sampleAgain(boolean back) {
    s.collection += "_sample";
    s.truth = Truth.filled();
    if (back) {
      placement(Duration.ofSeconds(120));
    }
    work();
  }

  static Placement placed(Suite s) throws Exception {
    var info = s.client.getCollectionClusterInfoAsync(s.collection).get();
    var local = info.getLocalShardsList().stream().map(r -> new Replica(r.getShardId(), info.getPeerId(), r.getState()));
    var remote = info.getRemoteShardsList().stream().map(r -> new Replica(r.getShardId(), r.getPeerId(), r.getState()));
    var order = Comparator.comparingInt(Replica::shard).thenComparingLong(Replica::peer);
    return new Placement(info.getShardCount(), Stream.concat(local, remote).sorted(order).toList());
  }

  /** Every peer tells of the same replicas, all active after some time. */
  private void placement(Duration atMost) {
    int want = SHARDS * s.factor;
    eachPeer("placement", k -> {
      Instant until = Instant.now().plus(atMost);
      Placement placed = placed(s);
      while ((placed.replicas.size() != want || !placed.active()) && Instant.now().isBefore(until)) {
        Thread.sleep(50);
        placed = placed(s);
      }
      s.check("number of shards", placed.shards, (long) SHARDS);
      s.check("logical shards", placed.replicas.stream().map(Replica::shard).distinct().count(), (long) SHARDS);
      s.check("physical shards", placed.replicas.size(), want);
      long places = placed.replicas.stream().map(r -> List.of(r.shard, r.peer)).distinct().count();
      s.check("no two replicas of a shard on one peer", places, (long) placed.replicas.size());
      s.ok("all replicas are active", placed.active(), placed);
      first = k == 0 ? placed : first;
      s.check("every peer says the same", placed, first);
    });
  }

  private interface Numbered {
    void run(int k) throws Exception;
  }

  /** Runs it once through each peer. */
  private void eachPeer(String what, Numbered part) {
    for (int k = 0; k < s.clients.size(); k++) {
      int number = k;
      s.part(what, () -> part.run(number));
    }
  }

  /** Reads, writes and searches through each peer; leaves the collection as it was. */
  private void work() {
    eachPeer("survey", k -> survey());
    eachPeer("write", k -> {
      PointId old = name(k);
      PointId fresh = name(1000 + k);
      s.truth.put(fresh, vector(k, DIM), payload(k));
      writes.store(List.of(fresh));
      s.truth.change(old, object("through", k));
      s.client.setPayloadAsync(s.collection, object("through", k), old, true, null, null).get();
      s.holds("sample: written", List.of(old, fresh));
    });
    eachPeer("survey after writes", k -> survey());
    eachPeer("undo", k -> {
      int last = s.clients.size() - 1 - k; // through another peer than wrote it
      s.truth.drop(List.of(name(1000 + last)));
      s.client.deleteAsync(s.collection, List.of(name(1000 + last))).get();
      s.truth.payloads.put(name(last), payload(last));
      s.client.overwritePayloadAsync(s.collection, payload(last), name(last), true, null, null).get();
      s.holds("sample: undone", List.of(name(last)));
    });
    s.part("survey after all", this::survey);
  }

  private void survey() throws Exception {
    float[] q = vector(10_001, DIM);
    List<Truth.Hit> want = s.truth.nearest(q);
    s.check("sample: count", s.count(), (long) want.size());
    s.holds("sample", s.truth.ids());
    List<ScoredPoint> got = s.ask(s.query().setQuery(nearest(q)).setLimit(2 * COUNT));
    s.hits("sample: query", got, want);
    s.check("sample: query for all", got.size(), want.size());
  }
}
