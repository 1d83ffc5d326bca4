package pando.conformance;

import static io.qdrant.client.PointIdFactory.id;
import static io.qdrant.client.ValueFactory.list;
import static io.qdrant.client.ValueFactory.nullValue;
import static io.qdrant.client.ValueFactory.value;
import static io.qdrant.client.VectorsFactory.vectors;

import io.qdrant.client.grpc.Collections.Distance;
import io.qdrant.client.grpc.Common.PointId;
import io.qdrant.client.grpc.JsonWithInt.Value;
import io.qdrant.client.grpc.Points.PointStruct;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.UUID;
import java.util.function.BiPredicate;
import java.util.stream.IntStream;

/** What a collection must hold, computed here: the second opinion of every check. */
final class Truth {
  static final int DIM = 300;
  static final int COUNT = 600;
  static final int SHARDS = 6;
  static final PointId ABSENT = id(1_000_000_000);

  /** Numbers first, then UUIDs: the order of a scroll. */
  static final Comparator<PointId> ORDER = Comparator.comparing(PointId::getUuid).thenComparingLong(PointId::getNum);

  record Hit(PointId id, double score) {}

  final Distance distance;
  final Map<PointId, float[]> vectors = new TreeMap<>(ORDER);
  final Map<PointId, Map<String, Value>> payloads = new TreeMap<>(ORDER);

  Truth(Distance distance) {
    this.distance = distance;
  }

  /** A collection as it is after {@link Writes#upsert}. */
  static Truth filled() {
    Truth truth = new Truth(Distance.Cosine);
    for (int i = 0; i < COUNT; i++) {
      truth.put(name(i), vector(i, DIM), payload(i));
    }
    return truth;
  }

  /** Numbers of a small congruential generator, equal in every language of this folder. */
  static float[] vector(int i, int dim) {
    float[] out = new float[dim];
    int state = (i * 7919 + 17) % 233_280;
    for (int k = 0; k < dim; k++) {
      state = (int) ((state * 9301L + 49_297) % 233_280);
      out[k] = (float) (state / 116_640.0 - 1);
    }
    return out;
  }

  /** The id of the point with number i: every tenth has a UUID. */
  static PointId name(int i) {
    return i % 10 == 9 ? id(UUID.fromString("00000000-0000-5eed-0000-%012x".formatted(i))) : id(i);
  }

  static List<PointId> names(int from, int to) {
    return IntStream.range(from, to).mapToObj(Truth::name).toList();
  }

  /** An object of keys and values in turn. */
  static Map<String, Value> object(Object... pairs) {
    Map<String, Value> out = new LinkedHashMap<>();
    for (int i = 0; i < pairs.length; i += 2) {
      out.put((String) pairs[i], json(pairs[i + 1]));
    }
    return out;
  }

  static Map<String, Value> with(Map<String, Value> payload, Map<String, Value> changes) {
    Map<String, Value> out = new LinkedHashMap<>(payload);
    out.putAll(changes);
    return out;
  }

  static Map<String, Value> without(Map<String, Value> payload, String key) {
    Map<String, Value> out = new LinkedHashMap<>(payload);
    out.remove(key);
    return out;
  }

  @SuppressWarnings("unchecked")
  private static Value json(Object x) {
    if (x == null) {
      return nullValue();
    } else if (x instanceof Boolean b) {
      return value(b);
    } else if (x instanceof Number n) {
      return x instanceof Double ? value(n.doubleValue()) : value(n.longValue());
    } else if (x instanceof String s) {
      return value(s);
    } else if (x instanceof List<?> l) {
      return list(l.stream().map(Truth::json).toList());
    }
    return value((Map<String, Value>) x);
  }

  /** What the point with number i carries. */
  static Map<String, Value> payload(int i) {
    Map<String, Value> p = object(
        "n", i,
        "color", List.of("red", "green", "blue").get(i % 3),
        "price", i / 4.0,
        "tags", List.of("t" + i % 5, "s" + i % 7),
        "flag", i % 2 == 0,
        "nested", object("deep", i % 11, "list", List.of(object("a", i % 3, "b", i % 2), object("a", i % 4, "b", 7))));
    return i % 4 == 0 ? p : with(p, object("maybe", Arrays.asList(null, null, List.of(), "x").get(i % 4)));
  }

  void put(PointId id, float[] vector, Map<String, Value> payload) {
    vectors.put(id, vector);
    payloads.put(id, payload);
  }

  void drop(List<PointId> ids) {
    vectors.keySet().removeAll(ids);
    payloads.keySet().removeAll(ids);
  }

  void change(PointId id, Map<String, Value> changes) {
    payloads.put(id, with(payloads.get(id), changes));
  }

  List<PointId> ids() {
    return List.copyOf(vectors.keySet());
  }

  List<PointId> ids(BiPredicate<PointId, Map<String, Value>> keep) {
    return vectors.keySet().stream().filter(id -> keep.test(id, payloads.get(id))).toList();
  }

  /** The point as it is sent. */
  PointStruct point(PointId id) {
    return PointStruct.newBuilder().setId(id).setVectors(vectors(vectors.get(id))).putAllPayload(payloads.get(id)).build();
  }

  List<Hit> nearest(float[] query) {
    return nearest(query, (id, payload) -> true);
  }

  /** Ranks all that keep lets through, best first. */
  List<Hit> nearest(float[] query, BiPredicate<PointId, Map<String, Value>> keep) {
    List<Hit> hits = new ArrayList<>(ids(keep).stream().map(id -> new Hit(id, score(query, vectors.get(id)))).toList());
    Comparator<Hit> small = Comparator.comparingDouble(Hit::score);
    hits.sort(distance == Distance.Cosine || distance == Distance.Dot ? small.reversed() : small);
    return hits;
  }

  private double score(float[] a, float[] b) {
    double dot = 0, aa = 0, bb = 0, squares = 0, sum = 0;
    for (int i = 0; i < a.length; i++) {
      double x = a[i], y = b[i];
      dot += x * y;
      aa += x * x;
      bb += y * y;
      squares += (x - y) * (x - y);
      sum += Math.abs(x - y);
    }
    return switch (distance) {
      case Cosine -> dot / Math.sqrt(aa * bb);
      case Dot -> dot;
      case Euclid -> Math.sqrt(squares);
      default -> sum;
    };
  }

  /** The vector as the collection gives it back. */
  float[] stored(PointId id) {
    float[] v = vectors.get(id).clone();
    if (distance == Distance.Cosine) {
      double squares = 0;
      for (float x : v) {
        squares += (double) x * x;
      }
      for (int i = 0; i < v.length; i++) {
        v[i] = (float) (v[i] / Math.sqrt(squares));
      }
    }
    return v;
  }

  /** Equal within the precision of a float32. */
  static boolean near(double a, double b) {
    return Math.abs(a - b) <= 2e-5 * Math.max(1, Math.abs(b));
  }

  static boolean near(List<Float> a, float[] b) {
    return a.size() == b.length && IntStream.range(0, b.length).allMatch(i -> near(a.get(i), b[i]));
  }
}
