package pando.conformance;

import static io.qdrant.client.ConditionFactory.filter;
import static io.qdrant.client.ConditionFactory.hasId;
import static io.qdrant.client.ConditionFactory.isEmpty;
import static io.qdrant.client.ConditionFactory.isNull;
import static io.qdrant.client.ConditionFactory.match;
import static io.qdrant.client.ConditionFactory.matchExceptKeywords;
import static io.qdrant.client.ConditionFactory.matchKeyword;
import static io.qdrant.client.ConditionFactory.matchKeywords;
import static io.qdrant.client.ConditionFactory.matchValues;
import static io.qdrant.client.ConditionFactory.nested;
import static io.qdrant.client.ConditionFactory.range;
import static io.qdrant.client.QueryFactory.nearest;
import static pando.conformance.Truth.name;

import io.qdrant.client.grpc.Common.Condition;
import io.qdrant.client.grpc.Common.Filter;
import io.qdrant.client.grpc.Common.MinShould;
import io.qdrant.client.grpc.Common.PointId;
import io.qdrant.client.grpc.Common.Range;
import io.qdrant.client.grpc.JsonWithInt.Value;
import io.qdrant.client.grpc.Points.ScoredPoint;
import io.qdrant.client.grpc.Points.ScrollPoints;
import java.util.List;
import java.util.Map;
import java.util.function.BiPredicate;
import java.util.function.Predicate;

/** Filters, and what each of them lets through. */
final class Filters {
  /** A point as the filters of these checks see it. */
  record Card(PointId id, Map<String, Value> payload) {
    Value at(String key) {
      return payload.getOrDefault(key, Value.getDefaultInstance());
    }

    long n() {
      return payload.containsKey("n") ? at("n").getIntegerValue() : Long.MIN_VALUE;
    }

    double price() {
      return at("price").getDoubleValue();
    }

    String color() {
      return at("color").getStringValue();
    }

    boolean red() {
      return color().equals("red");
    }

    boolean flag() {
      return at("flag").getBoolValue();
    }

    long deep() {
      return at("nested").getStructValue().getFieldsOrDefault("deep", Value.getDefaultInstance()).getIntegerValue();
    }

    boolean inList(Predicate<Map<String, Value>> good) {
      Value list = at("nested").getStructValue().getFieldsOrDefault("list", Value.getDefaultInstance());
      return list.getListValue().getValuesList().stream().anyMatch(e -> good.test(e.getStructValue().getFieldsMap()));
    }
  }

  private record Case(String what, Filter filter, Predicate<Card> keep) {}

  static Filter must(Condition... conditions) {
    return Filter.newBuilder().addAllMust(List.of(conditions)).build();
  }

  static Filter should(Condition... conditions) {
    return Filter.newBuilder().addAllShould(List.of(conditions)).build();
  }

  static Filter mustNot(Condition... conditions) {
    return Filter.newBuilder().addAllMustNot(List.of(conditions)).build();
  }

  static Condition between(String key, double from, double to) {
    return range(key, Range.newBuilder().setGte(from).setLt(to).build());
  }

  static BiPredicate<PointId, Map<String, Value>> keep(Predicate<Card> keep) {
    return (id, payload) -> keep.test(new Card(id, payload));
  }

  private static List<Case> cases() {
    Condition red = matchKeyword("color", "red");
    Condition flag = match("flag", true);
    Condition low = range("n", Range.newBuilder().setLt(100).build());
    Condition high = range("n", Range.newBuilder().setGte(50).build());
    List<PointId> some = List.of(name(3), name(4), name(9), name(19), Truth.ABSENT);
    Condition deep34 = filter(should(match("nested.deep", 3), match("nested.deep", 4)));
    Predicate<Card> is34 = p -> p.deep() == 3 || p.deep() == 4;
    Filter mixed = Filter.newBuilder().addMust(low).addShould(red).addShould(flag).addMustNot(high).build();
    MinShould two = MinShould.newBuilder().addConditions(red).addConditions(flag).addConditions(low).setMinCount(2).build();
    Filter a2b7 = must(match("a", 2), match("b", 7));
    return List.of(
        new Case("match keyword", must(red), Card::red),
        new Case("match integer", must(match("n", 42)), p -> p.n() == 42),
        new Case("match bool", must(flag), Card::flag),
        new Case("match in a list", must(matchKeyword("tags", "s3")), p -> p.n() % 7 == 3),
        new Case("match any", must(matchKeywords("color", List.of("red", "blue"))), p -> !p.color().equals("green")),
        new Case("match any integer", must(matchValues("n", List.of(1L, 2L, 99L))), p -> List.of(1L, 2L, 99L).contains(p.n())),
        new Case("match except", must(matchExceptKeywords("color", List.of("red"))), p -> !p.red()),
        new Case("match a value of another kind", must(matchKeyword("n", "42")), p -> false),
        new Case("range lt", must(low), p -> p.n() < 100),
        new Case("range gte lte", must(range("price", Range.newBuilder().setGte(10.25).setLte(20.5).build())),
            p -> p.price() >= 10.25 && p.price() <= 20.5),
        new Case("range gt lt", must(range("price", Range.newBuilder().setGt(10.25).setLt(20.5).build())),
            p -> p.price() > 10.25 && p.price() < 20.5),
        new Case("range of a text", must(range("color", Range.newBuilder().setGt(0).build())), p -> false),
        new Case("has_id", must(hasId(some)), p -> some.contains(p.id())),
        new Case("must_not has_id", mustNot(hasId(some)), p -> !some.contains(p.id())),
        new Case("is_empty", must(isEmpty("maybe")), p -> !p.at("maybe").hasStringValue()),
        new Case("is_null", must(isNull("maybe")), p -> p.at("maybe").hasNullValue()),
        new Case("not is_empty", mustNot(isEmpty("maybe")), p -> p.at("maybe").hasStringValue()),
        new Case("must and must", must(red, flag, low), p -> p.red() && p.flag() && p.n() < 100),
        new Case("should", should(red, flag), p -> p.red() || p.flag()),
        new Case("must_not", mustNot(red, flag), p -> !p.red() && !p.flag()),
        new Case("must, should and must_not", mixed, p -> p.n() < 50 && (p.red() || p.flag())),
        new Case("min_should", Filter.newBuilder().setMinShould(two).build(),
            p -> (p.red() ? 1 : 0) + (p.flag() ? 1 : 0) + (p.n() < 100 ? 1 : 0) >= 2),
        new Case("nested key", must(match("nested.deep", 5)), p -> p.deep() == 5),
        new Case("key into a list", must(match("nested.list[].a", 2)), p -> p.inList(e -> e.get("a").getIntegerValue() == 2)),
        new Case("filter in a filter", must(deep34, flag), p -> is34.test(p) && p.flag()),
        new Case("filter in a filter in a filter", mustNot(filter(must(filter(mustNot(deep34)), flag))), p -> is34.test(p) || !p.flag()),
        new Case("nested objects", must(nested("nested.list", a2b7)), p -> p.inList(Truth.object("a", 2, "b", 7)::equals)),
        new Case("unknown key", must(match("no.such.key", 1)), p -> false),
        new Case("empty filter", must(), p -> true));
  }

  /** Puts every case to query, count and scroll. */
  static void run(Suite s) {
    float[] q = Truth.vector(10_002, Truth.DIM);
    for (Case c : cases()) {
      String what = "filter " + c.what;
      s.part(what, () -> {
        List<Truth.Hit> want = s.truth.nearest(q, keep(c.keep));
        List<PointId> which = s.truth.ids(keep(c.keep));
        List<ScoredPoint> got = s.ask(s.query().setQuery(nearest(q)).setFilter(c.filter).setLimit(Truth.COUNT));
        s.hits(what + ": rank", got, want);
        s.check(what + ": which", Suite.inOrder(Suite.idsOfHits(got)), which);
        s.check(what + ": count", s.count(c.filter), (long) want.size());
        var page = s.client.scrollAsync(
            ScrollPoints.newBuilder().setCollectionName(s.collection).setFilter(c.filter).setLimit(Truth.COUNT).build()).get();
        s.check(what + ": scroll", Suite.ids(page.getResultList()), which);
      });
    }
  }
}
