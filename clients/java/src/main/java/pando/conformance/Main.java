package pando.conformance;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Pando with the Java client, every answer compared with one computed here.
 *
 * <p>Main [-v] [cluster | cluster-down | cluster-back]
 *
 * <p>The peer is named by PANDO_HOST, PANDO_GRPC_PORT and PANDO_API_KEY, a cluster by PANDO_PEERS. The last line is {@code N passed, M
 * failed}.
 */
final class Main {
  private Main() {}

  public static void main(String[] args) {
    List<String> given = List.of(args);
    String mode = given.stream().filter(a -> !a.startsWith("-")).findFirst().orElse("");
    try (Suite s = new Suite(mode, given.contains("-v"))) {
      Writes writes = new Writes(s);
      Cluster cluster = new Cluster(s, writes);
      switch (mode) {
        case "cluster" -> cluster.sample();
        case "cluster-down" -> cluster.sampleAgain(false);
        case "cluster-back" -> cluster.sampleAgain(true);
        case "" -> {}
        default -> throw new IllegalArgumentException("there is no mode " + mode + ": cluster, cluster-down or cluster-back");
      }
      if (mode.isEmpty() || mode.equals("cluster")) {
        checks(s, new Reads(s), writes);
      }
      System.out.println(s.passed + " passed, " + s.failed + " failed");
      System.exit(s.failed == 0 && s.passed > 0 ? 0 : 1);
    }
  }

  private static void checks(Suite s, Reads reads, Writes writes) {
    Map<String, Suite.Part> parts = new LinkedHashMap<>();
    parts.put("service", reads::service);
    parts.put("create", writes::create);
    parts.put("upsert", writes::upsert);
    parts.put("get", reads::get);
    parts.put("query", reads::query);
    parts.put("filters", () -> Filters.run(s));
    parts.put("search", reads::search);
    parts.put("scroll", reads::scroll);
    parts.put("payloads", writes::payloads);
    parts.put("delete", writes::delete);
    parts.put("batch", writes::batch);
    parts.put("knobs", writes::knobs);
    parts.put("named", writes::named);
    parts.put("aliases", writes::aliases);
    parts.put("info", reads::info);
    parts.put("errors", writes::errors);
    parts.put("drop", writes::drop);
    for (var part : parts.entrySet()) {
      s.part(part.getKey(), part.getValue());
      if (s.passed == 0) {
        return; // nobody answers
      }
    }
  }
}
