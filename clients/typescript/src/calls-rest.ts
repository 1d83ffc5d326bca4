// The calls of the REST client that no other part makes, each answer compared with what has to be there, and a count of
// those that were made.
import { QdrantClient } from "@qdrant/js-client-rest";
import { FACTOR, type Suite } from "./suite.js";
import { near, score, vector } from "./truth.js";

/** These ask no server. */
const LOCAL = ["constructor", "api"];

/** The client, noting which of its methods this program calls; what the client calls itself does not count. */
export function counted(client: QdrantClient, called: Set<string>): QdrantClient {
  return new Proxy(client, {
    get(target, name) {
      const f: unknown = Reflect.get(target, name);
      if (typeof f !== "function") return f;
      return (...args: unknown[]) => {
        called.add(String(name));
        return f.apply(target, args);
      };
    },
  });
}

export function covered(suite: Suite<QdrantClient>, called: Set<string>) {
  const every = Object.getOwnPropertyNames(QdrantClient.prototype).filter((m) => !LOCAL.includes(m));
  const missing = every.filter((m) => !called.has(m));
  const what = `calls covered: ${every.length - missing.length} of ${every.length}`;
  suite.ok(what, missing.length === 0, `not made: ${missing.join(", ")}`);
  if (missing.length === 0) console.log(what);
}

const COLORS = ["red", "green", "blue"];
const ROWS = Array.from({ length: 60 }, (_, i) => i);
/** Numbers of points, nearest to q by inner product first. */
const nearest = (q: number[], rows = ROWS) =>
  rows.map((id) => ({ id, score: score("Dot", q, vector(id, 8)) })).sort((a, b) => b.score - a.score);

/** Asks a collection of sixty points for groups, counts of values and matrices; indexes and settings come and go. */
export async function questions(suite: Suite<QdrantClient>, c: QdrantClient, name: string) {
  suite.check("recreate", await c.recreateCollection(name, { vectors: { size: 8, distance: "Dot" }, replication_factor: FACTOR }), true);
  await c.upsert(name, { wait: true, points: ROWS.map((id) => ({ id, vector: vector(id, 8), payload: { color: COLORS[id % 3], n: id } })) });
  const schema = async () => Object.keys((await c.getCollection(name)).payload_schema);
  suite.check("index", (await c.createPayloadIndex(name, { field_name: "color", field_schema: "keyword", wait: true })).status, "completed");
  suite.check("the index is shown", await schema(), ["color"]);
  const { hits } = await c.facet(name, { key: "color", exact: true, filter: { must: [{ key: "n", range: { gte: 20 } }] } });
  const counts = COLORS.map((value, k) => ({ value, count: ROWS.filter((i) => i >= 20 && i % 3 === k).length }));
  suite.check("facet", hits, counts.sort((a, b) => b.count - a.count || (a.value < b.value ? -1 : 1)));
  suite.check("drop the index", (await c.deletePayloadIndex(name, "color", { wait: true })).status, "completed");
  suite.check("the index is gone", await schema(), []);

  const q = vector(1234, 8);
  const { groups } = await c.queryGroups(name, { query: q, group_by: "color", limit: 2, group_size: 4 });
  const best = [...new Set(nearest(q).map((h) => COLORS[h.id % 3]))].slice(0, 2);
  suite.check("groups: which", groups.map((g) => g.id), best);
  for (const g of groups) {
    suite.check(`group ${g.id}: size`, g.hits.length, 4);
    suite.hits(`group ${g.id}`, g.hits as { id: number; score: number }[], nearest(q, ROWS.filter((i) => COLORS[i % 3] === g.id)));
  }
  const some = [3, 4, 5, 6, 7];
  const ask = { filter: { must: [{ has_id: some }] }, sample: 50, limit: 2 };
  const near2 = (a: number) => nearest(vector(a, 8), some.filter((b) => b !== a)).slice(0, 2);
  const want = some.flatMap((a) => near2(a).map((h) => ({ cell: `${a} ${h.id}`, score: h.score })));
  const matrix = (what: string, got: typeof want) => {
    const scores = new Map(got.map((g) => [g.cell, g.score]));
    suite.check(`${what}: which`, [...scores.keys()].sort(), want.map((w) => w.cell).sort());
    suite.ok(`${what}: scores`, want.every((w) => near(scores.get(w.cell) ?? NaN, w.score)), got);
  };
  const { pairs } = await c.searchMatrixPairs(name, ask);
  matrix("matrix of pairs", pairs.map((p) => ({ cell: `${p.a} ${p.b}`, score: p.score })));
  const m = await c.searchMatrixOffsets(name, ask);
  matrix("matrix by offsets", m.scores.map((score, i) => ({ cell: `${m.ids[m.offsets_row[i]]} ${m.ids[m.offsets_col[i]]}`, score })));

  suite.check("update", await c.updateCollection(name, { metadata: { owner: "ts" } }), true);
  suite.check("the update is shown", (await c.getCollection(name)).config.metadata, { owner: "ts" });
  await c.createVectorName(name, "late", { dense: { size: 3, distance: "Dot" } }, { wait: true });
  await c.updateVectors(name, { wait: true, points: [{ id: 12, vector: { late: vector(12, 3) } }] });
  const find = () => c.query(name, { query: vector(1, 3), using: "late" });
  const found = (await find()).points.map(({ id, score }) => ({ id: id as number, score }));
  suite.check("the added vector is found", found.map((h) => h.id), [12]);
  suite.hits("the added vector", found, [{ id: 12, score: score("Dot", vector(1, 3), vector(12, 3)) }]);
  await c.deleteVectorName(name, "late", { wait: true });
  await suite.refused("query for a dropped vector", 400, find());
  await c.deleteCollection(name);
}

/** A collection whose points are placed by shard keys. */
export async function keys(suite: Suite<QdrantClient>, c: QdrantClient, name: string) {
  if ((await c.collectionExists(name)).exists) await c.deleteCollection(name);
  await c.createCollection(name, { vectors: { size: 4, distance: "Dot" }, sharding_method: "custom", replication_factor: FACTOR });
  suite.check("create a shard key", await c.createShardKey(name, { shard_key: "a" }), true);
  suite.check("create one in the cluster's setup", await c.updateCollectionCluster(name, { create_sharding_key: { shard_key: 7 } }), true);
  const listed = async () => ((await c.listShardKeys(name)).shard_keys ?? []).map((k) => String(k.key)).sort();
  suite.check("shard keys", await listed(), ["7", "a"]);
  const count = async (shard_key: string | number) => (await c.count(name, { shard_key, exact: true })).count;
  for (const [shard_key, ids] of [["a", [1, 2, 3]], [7, [4, 5]]] as [string | number, number[]][])
    await c.upsert(name, { wait: true, shard_key, points: ids.map((id) => ({ id, vector: vector(id, 4) })) });
  suite.check("points of each key", [await count("a"), await count(7)], [3, 2]);
  suite.check("delete a shard key", await c.deleteShardKey(name, { shard_key: "a" }), true);
  suite.check("shard keys after that", await listed(), ["7"]);
  await suite.refused("an unknown shard key", 400, count("a"));
  suite.check("the other keeps its points", await count(7), 2);
  await c.deleteCollection(name);
}

/** What is not built has to say so. */
export async function unbuilt(suite: Suite<QdrantClient>, c: QdrantClient, name: string) {
  const from = { location: "http://127.0.0.1:1/s" };
  const calls: Record<string, () => Promise<unknown>> = {
    listSnapshots: () => c.listSnapshots(name),
    createSnapshot: () => c.createSnapshot(name),
    deleteSnapshot: () => c.deleteSnapshot(name, "s"),
    recoverSnapshot: () => c.recoverSnapshot(name, from),
    listFullSnapshots: () => c.listFullSnapshots(),
    createFullSnapshot: () => c.createFullSnapshot(),
    deleteFullSnapshot: () => c.deleteFullSnapshot("s"),
    listShardSnapshots: () => c.listShardSnapshots(name, 0),
    createShardSnapshot: () => c.createShardSnapshot(name, 0, {}),
    deleteShardSnapshot: () => c.deleteShardSnapshot(name, 0, "s", {}),
    recoverShardFromSnapshot: () => c.recoverShardFromSnapshot(name, 0, from),
    clusterTelemetry: () => c.clusterTelemetry(),
    getOptimizations: () => c.getOptimizations(name),
    getQuotas: () => c.getQuotas(),
    updateQuotas: () => c.updateQuotas({}),
  };
  for (const [what, call] of Object.entries(calls)) await suite.refused(`${what} says that it is not built`, 501, call());
}
