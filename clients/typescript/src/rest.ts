// Pando over REST with @qdrant/js-client-rest, every answer compared with one computed here.
//
//     node dist/rest.js [-v] [cluster | cluster-down | cluster-back]
//
// The peer is named by PANDO_HOST, PANDO_REST_PORT and PANDO_API_KEY, a cluster by PANDO_PEERS. The last line is
// `N passed, M failed`.
import { QdrantClient, type Schemas } from "@qdrant/js-client-rest";
import { counted, covered, keys, questions, unbuilt } from "./calls-rest.js";
import { type Filter, FILTERS, flag, match, range } from "./filters-rest.js";
import { API_KEY, FACTOR, peers, type Replica, Suite } from "./suite.js";
import {
  ABSENT,
  COUNT,
  DIM,
  type Distance,
  type Hit,
  type Id,
  inOrder,
  type Keep,
  name,
  names,
  nearAll,
  payload,
  type Payload,
  SHARDS,
  Truth,
  vector,
} from "./truth.js";

class Rest extends Suite<QdrantClient> {
  private readonly q = vector(10_001);

  constructor(private readonly addresses: string[]) {
    const called = new Set<string>();
    const connect = (a: string) => new QdrantClient({ url: `http://${a}`, apiKey: API_KEY, timeout: 60_000, checkCompatibility: false });
    super(
      "rest",
      addresses.map((a) => counted(connect(a), called)),
    );
    this.more = {
      questions: () => questions(this, this.client, `${this.collection}_calls`),
      keys: () => keys(this, this.client, `${this.collection}_keys`),
      unbuilt: () => unbuilt(this, this.client, this.collection),
      covered: async () => covered(this, called),
    };
  }

  protected async service() {
    const { version, commit } = await this.client.versionInfo();
    this.ok("the version of the API", version.startsWith("1.19."), version);
    this.check("a commit of 40 characters", commit?.length, 40);
  }

  protected exists = async (client: QdrantClient) => (await client.collectionExists(this.collection)).exists;

  protected async make() {
    for (const c of [this.collection, `${this.collection}_named`]) {
      if ((await this.client.collectionExists(c)).exists) await this.client.deleteCollection(c);
    }
    this.check("exists before it is created", await this.exists(this.client), false);
    const made = await this.client.createCollection(this.collection, {
      vectors: { size: DIM, distance: "Cosine" },
      shard_number: SHARDS,
      replication_factor: FACTOR,
    });
    this.check("create", made, true);
  }

  protected async create() {
    await this.make();
    await this.seenByAll();
    const { collections } = await this.client.getCollections();
    this.ok(
      "list",
      collections.some((c) => c.name === this.collection),
      collections,
    );
  }

  /** A point as the truth has it. */
  private point = (id: Id) => ({ id, vector: this.truth.vectors.get(id)!, payload: this.truth.payloads.get(id) });

  protected async upsert(ids: Id[]) {
    const done = await this.client.upsert(this.collection, { wait: true, points: ids.map(this.point) });
    this.check("upsert", done.status, "completed");
  }

  protected async count(filter?: Filter) {
    return (await this.client.count(this.collection, { filter, exact: true })).count;
  }

  protected async load() {
    this.truth = Truth.filled();
    for (let from = 0; from < COUNT / 2; from += 100) await this.upsert(names(from, from + 100));
    const rest = names(COUNT / 2, COUNT).map(this.point);
    const columns = { ids: rest.map((p) => p.id), vectors: rest.map((p) => p.vector), payloads: rest.map((p) => p.payload!) };
    this.check("upsert in columns", (await this.client.upsert(this.collection, { wait: true, batch: columns })).status, "completed");
    this.check("count", await this.count(), COUNT);
    await this.upsert([1, 2]);
    this.check("count after upserting again", await this.count(), COUNT);
    await this.client.upsert(this.collection, { wait: true, points: [{ id: 7, vector: vector(1) }, this.point(7)] });
    await this.holds("of equal ids in one request the last counts", [7]);
    const late = await this.client.upsert(this.collection, { wait: false, points: [this.point(5)] });
    this.ok("upsert without waiting", late.status === "acknowledged" || late.status === "completed", late);
  }

  /** Reads the points back and compares everything about them. */
  protected async holds(what: string, ids: Id[]) {
    const got = await this.client.retrieve(this.collection, { ids, with_payload: true, with_vector: true });
    this.check(`${what}: ids`, inOrder(got.map((p) => p.id)), inOrder(ids));
    for (const p of got) {
      const good = nearAll(p.vector as number[], this.truth.stored(p.id));
      if (!good) return this.ok(`${what}: vector`, false, p.id);
    }
    this.check(
      `${what}: payloads`,
      new Map(got.map((p) => [p.id, p.payload])),
      new Map(ids.map((id) => [id, this.truth.payloads.get(id)])),
    );
  }

  protected async get() {
    for (let from = 0; from < COUNT; from += 200) await this.holds("get", names(from, from + 200));
    const get = (ids: Id[], with_payload: Schemas["WithPayloadInterface"] = true) =>
      this.client.retrieve(this.collection, { ids, with_payload });
    this.check("get of an absent id", await get([ABSENT]), []);
    const some = await get([3, ABSENT, name(9)]);
    this.check("get leaves absent ids out", inOrder(some.map((p) => p.id)), [3, name(9)]);
    this.ok(
      "vectors are not sent unasked",
      some.every((p) => p.vector == null),
      some,
    );
    this.ok("get without payload", (await get([3], false))[0].payload == null);
    this.check("get with some keys", (await get([3], ["color", "nested.deep"]))[0].payload, { color: "red", nested: { deep: 3 } });
    const rest = (await get([3], { exclude: ["nested", "tags", "maybe"] }))[0].payload;
    this.check("get without some keys", rest, { n: 3, color: "red", price: 0.75, flag: false });
  }

  private async ask(request: Schemas["QueryRequest"]) {
    return (await this.client.query(this.collection, request)).points;
  }

  protected async nearest(q: number[], limit: number): Promise<Hit[]> {
    return this.ask({ query: q, limit });
  }

  protected async query() {
    const { q, truth } = this;
    const want = truth.nearest(q);
    const top = await this.ask({ query: q, with_payload: true, with_vector: true });
    this.hits("query by vector", top, want);
    this.check("query: ten by default", top.length, 10);
    this.check(
      "query: payloads",
      top.map((h) => h.payload),
      top.map((h) => truth.payloads.get(h.id)),
    );
    this.ok(
      "query: vectors",
      top.every((h) => nearAll(h.vector as number[], truth.stored(h.id))),
    );
    const [bare] = await this.ask({ query: q, limit: 1 });
    this.ok("query: nothing unasked", bare.payload == null && bare.vector == null, bare);
    const every = await this.nearest(q, 2 * COUNT);
    this.hits("query for all", every, want);
    this.check("query for all: all of them", every.length, COUNT);
    for (const id of [name(5), name(19)]) {
      const near = await this.ask({ query: id, limit: 8 });
      this.hits(
        "query by id",
        near,
        truth.nearest(truth.vectors.get(id)!, (_, other) => other !== id),
      );
      this.check("query by id: count", near.length, 8);
    }
    this.hits("query with offset", await this.ask({ query: q, limit: 7, offset: 13 }), want.slice(13));
    this.check("query with offset past the end", await this.ask({ query: q, offset: COUNT }), []);
    const cut = (want[24].score + want[25].score) / 2;
    const above = await this.ask({ query: q, limit: 100, score_threshold: cut });
    this.hits("query with threshold", above, want);
    this.check("query with threshold: count", above.length, 25);
    this.check(
      "query for nothing: by id",
      (await this.ask({ limit: 6 })).map((h) => h.id),
      truth.ids().slice(0, 6),
    );
    const searches = [0, 1, 2, 3, 4].map((k) => ({ query: vector(20_000 + k), limit: 3 + k }));
    const answers = await this.client.queryBatch(this.collection, { searches });
    this.check(
      "batch: an answer each",
      answers.map((a) => a.points.length),
      [3, 4, 5, 6, 7],
    );
    answers.forEach((a, k) => this.hits("batch: rank", a.points, truth.nearest(searches[k].query)));
  }

  /** Puts every filter to query, count and scroll. */
  protected async filters() {
    const q = vector(10_002);
    for (const [what, filter, keep] of FILTERS) {
      await this.part(`filter ${what}`, async () => {
        const want = this.truth.nearest(q, keep);
        const got = await this.ask({ query: q, filter, limit: COUNT });
        this.hits(`filter ${what}: rank`, got, want);
        this.check(`filter ${what}: which`, inOrder(got.map((h) => h.id)), this.truth.ids(keep));
        this.check(`filter ${what}: count`, await this.count(filter), want.length);
        const page = await this.client.scroll(this.collection, { filter, limit: COUNT });
        this.check(
          `filter ${what}: scroll`,
          page.points.map((p) => p.id),
          this.truth.ids(keep),
        );
      });
    }
  }

  /** The older form of query, which the client no longer has. */
  protected async search() {
    const [q, filter] = [vector(10_003), { must: range("n", { gte: 300 }) }];
    const answer = await fetch(`http://${this.addresses[this.clients.indexOf(this.client)]}/collections/${this.collection}/points/search`, {
      method: "POST",
      headers: { "content-type": "application/json", ...(API_KEY && { "api-key": API_KEY }) },
      body: JSON.stringify({ vector: q, limit: 9, offset: 2, with_payload: true, filter }),
    });
    const { result } = (await answer.json()) as { result: Schemas["ScoredPoint"][] };
    this.hits("search", result, this.truth.nearest(q, (p) => p.n >= 300).slice(2));
    this.check("search: count", result.length, 9);
    this.check(
      "search: payload",
      result.map((h) => h.payload),
      result.map((h) => this.truth.payloads.get(h.id)),
    );
  }

  protected async scroll() {
    for (const [what, filter, keep] of [
      ["all", {}, () => true],
      ["filtered", { must_not: [flag] }, (p) => !p.flag],
    ] as [string, Filter, Keep][]) {
      const [seen, want]: [Schemas["Record"][], Id[]] = [[], this.truth.ids(keep)];
      let [offset, pages]: [Id | undefined, number] = [undefined, 0];
      do {
        const page = await this.client.scroll(this.collection, { filter, limit: 37, offset, with_payload: true });
        seen.push(...page.points);
        offset = page.next_page_offset as Id | undefined;
        pages++;
      } while (offset != null && pages <= COUNT);
      this.check(
        `scroll ${what}: every id once, in order`,
        seen.map((p) => p.id),
        want,
      );
      this.check(
        `scroll ${what}: payloads`,
        seen.map((p) => p.payload),
        want.map((id) => this.truth.payloads.get(id)),
      );
      this.check(`scroll ${what}: pages`, pages, Math.ceil(want.length / 37));
    }
    const page = await this.client.scroll(this.collection);
    this.check(
      "scroll: ten by default",
      page.points.map((p) => p.id),
      this.truth.ids().slice(0, 10),
    );
    this.check("scroll: where to go on", page.next_page_offset, this.truth.ids()[10]);
  }

  protected async setPayload(id: Id, payload: Payload) {
    await this.client.setPayload(this.collection, { wait: true, payload, points: [id] });
  }

  protected async overwritePayload(id: Id, payload: Payload) {
    await this.client.overwritePayload(this.collection, { wait: true, payload, points: [id] });
  }

  protected async payloads() {
    const { client, collection, truth } = this;
    const extra = { extra: [1, 2.5, null], n: 1000 };
    await this.setPayload(20, extra);
    truth.change(20, extra);
    await this.holds("set payload", [20]);
    await client.setPayload(collection, { wait: true, payload: { extra: "z" }, filter: { must: range("n", { gte: 21, lt: 24 }) } });
    for (const id of [21, 22, 23]) truth.change(id, { extra: "z" });
    await this.holds("set payload by filter", [21, 22, 23, 24]);
    await client.setPayload(collection, { wait: true, payload: { new: { x: 1 } }, key: "nested", points: [24] });
    truth.change(24, { nested: { ...(payload(24).nested as Payload), new: { x: 1 } } });
    await this.holds("set payload under a key", [24]);
    await this.overwritePayload(25, { only: { this: true } });
    truth.payloads.set(25, { only: { this: true } });
    await this.holds("overwrite payload", [25]);
    await client.deletePayload(collection, { wait: true, keys: ["color", "nested.deep", "no_such"], points: [26, 27] });
    for (const i of [26, 27]) {
      const { color: _, ...rest } = payload(i);
      const { deep: __, ...nested } = rest.nested as Payload;
      truth.payloads.set(i, { ...rest, nested });
    }
    await this.holds("delete keys", [26, 27, 28]);
    await client.clearPayload(collection, { wait: true, points: [28, name(29)] });
    for (const id of [28, name(29)]) truth.payloads.set(id, {});
    await this.holds("clear payload", [28, name(29), 30]);
    const odd = {
      text: 'Grüße, 日本語 🙂 " \\ \n',
      big: Number.MAX_SAFE_INTEGER,
      small: -Number.MAX_SAFE_INTEGER,
      float: 1.5,
      none: null,
      empty: {},
      list: [[], [1, "a", null]],
    };
    truth.payloads.set(30, odd);
    await this.upsert([30]);
    await this.holds("payload of every kind", [30]);
  }

  protected async remove(ids: Id[]) {
    await this.client.delete(this.collection, { wait: true, points: ids });
  }

  protected async delete() {
    const gone = [31, name(39), ...names(40, 50)];
    await this.remove([31, name(39)]);
    await this.remove([ABSENT]);
    await this.client.delete(this.collection, { wait: true, filter: { must: range("n", { gte: 40, lt: 50 }) } });
    this.truth.drop(...gone);
    this.check("deleted ones are absent", await this.client.retrieve(this.collection, { ids: gone }), []);
    this.check("count after delete", await this.count(), COUNT - 12);
    const q = vector(10_004);
    const got = await this.nearest(q, COUNT);
    this.hits("query after delete", got, this.truth.nearest(q));
    this.check("query after delete: count", got.length, COUNT - 12);
    this.truth.put(31, vector(31), { back: true });
    await this.upsert([31]);
    await this.holds("a deleted id stored again", [31]);
  }

  protected async batch() {
    const done = await this.client.batchUpdate(this.collection, {
      wait: true,
      operations: [
        {
          upsert: {
            points: [
              { id: 5000, vector: vector(5000), payload: { a: 1 } },
              { id: 5001, vector: vector(5001) },
            ],
          },
        },
        { set_payload: { payload: { b: 2 }, points: [5000] } },
        { delete_payload: { keys: ["a"], points: [5000] } },
        { update_vectors: { points: [{ id: 5000, vector: vector(5002) }] } },
        { delete: { points: [5001] } },
      ],
    });
    this.check(
      "batch of writes: an answer each",
      done.map((d) => d.status),
      Array(5).fill("completed"),
    );
    this.truth.put(5000, vector(5002), { b: 2 });
    await this.holds("batch of writes, in order", [5000]);
    this.check("batch of writes: the deleted one", await this.client.retrieve(this.collection, { ids: [5001] }), []);
  }

  /** What may be asked for on top: ordering, consistency, and writes that only touch what is (not) there. */
  protected async knobs() {
    const { client, collection, truth } = this;
    for (const ordering of ["weak", "medium", "strong"] as const) {
      const done = await client.upsert(collection, { wait: true, ordering, points: [this.point(60)] });
      this.check(`upsert with ${ordering} ordering`, done.status, "completed");
    }
    for (const consistency of [1, "majority", "quorum", "all"] as const) {
      const { points } = await client.query(collection, { query: this.q, limit: 3, consistency });
      this.hits(`query with consistency ${consistency}`, points, truth.nearest(this.q));
      this.check(`query with consistency ${consistency}: count`, points.length, 3);
    }
    const rows = (x: number, ...ids: number[]) => ids.map((id) => ({ id, vector: vector(id), payload: { x } }));
    await client.upsert(collection, { wait: true, points: rows(1, 61, 7000), update_mode: "insert_only" });
    truth.put(7000, vector(7000), { x: 1 });
    await this.holds("insert only", [61, 7000]);
    await client.upsert(collection, { wait: true, points: rows(2, 62, 7001), update_mode: "update_only" });
    truth.payloads.set(62, { x: 2 });
    await this.holds("update only", [62]);
    this.check("update only: nothing new", await client.retrieve(collection, { ids: [7001] }), []);
  }

  /** A second collection, whose points have up to three vectors. */
  protected async named() {
    const { client } = this;
    const collection = `${this.collection}_named`;
    const spaces: { using: string; size: number; distance: Distance }[] = [
      { using: "dot", size: 8, distance: "Dot" },
      { using: "euclid", size: 4, distance: "Euclid" },
      { using: "manhattan", size: 5, distance: "Manhattan" },
    ];
    const vectors = Object.fromEntries(spaces.map(({ using, size, distance }) => [using, { size, distance }]));
    await client.createCollection(collection, { vectors, shard_number: 2, replication_factor: FACTOR });
    const truths = Object.fromEntries(spaces.map((s) => [s.using, new Truth(s.distance)]));
    const points = [];
    for (let id = 0; id < 60; id++) {
      const given = spaces
        .map((s, k) => [s.using, vector(id + 100 * k, s.size)] as const)
        .filter(([using]) => using !== "euclid" || id % 6 !== 5);
      for (const [using, v] of given) truths[using].put(id, v, { n: id });
      points.push({ id, vector: Object.fromEntries(given), payload: { n: id } });
    }
    await client.upsert(collection, { wait: true, points });

    const ranks = async (what: string) => {
      for (const { using, size } of spaces) {
        const [q, truth] = [vector(777, size), truths[using]];
        const { points } = await client.query(collection, { query: q, using, limit: 100, with_vector: [using] });
        this.hits(`${what}, ${using}: rank`, points, truth.nearest(q));
        this.check(`${what}, ${using}: which`, inOrder(points.map((h) => h.id)), truth.ids());
        this.ok(
          `${what}, ${using}: vectors`,
          points.every((h) => nearAll((h.vector as Record<string, number[]>)[using], truth.vectors.get(h.id)!)),
        );
      }
    };
    await ranks("named");
    const q = vector(777, 4);
    const near = truths.euclid.nearest(q);
    const within = await client.query(collection, {
      query: q,
      using: "euclid",
      limit: 100,
      score_threshold: (near[9].score + near[10].score) / 2,
    });
    this.check("threshold of a distance", within.points.length, 10);
    await client.updateVectors(collection, { wait: true, points: [{ id: 3, vector: { dot: vector(9, 8) } }] });
    truths.dot.put(3, vector(9, 8), {});
    await ranks("after update of a vector");
    await client.deleteVectors(collection, { wait: true, vector: ["euclid"], points: [4, 6] });
    truths.euclid.drop(4, 6);
    await ranks("after delete of a vector");
    const [left] = await client.retrieve(collection, { ids: [4] });
    this.check("payload after both", left.payload, { n: 4 });
  }

  protected async aliases() {
    const { client, collection } = this;
    const [a, b] = [`${collection}_alias`, `${collection}_alias2`];
    await client.updateCollectionAliases({ actions: [{ create_alias: { collection_name: collection, alias_name: a } }] });
    this.check("aliases of the collection", (await client.getCollectionAliases(collection)).aliases, [
      { alias_name: a, collection_name: collection },
    ]);
    this.ok(
      "all aliases",
      (await client.getAliases()).aliases.some((x) => x.alias_name === a && x.collection_name === collection),
    );
    this.check("count through the alias", (await client.count(a)).count, this.truth.vectors.size);
    await client.updateCollectionAliases({ actions: [{ rename_alias: { old_alias_name: a, new_alias_name: b } }] });
    this.check(
      "rename",
      (await client.getCollectionAliases(collection)).aliases.map((x) => x.alias_name),
      [b],
    );
    await this.refused("the old name is gone", 404, client.count(a));
    await client.updateCollectionAliases({ actions: [{ delete_alias: { alias_name: b } }] });
    this.check("delete the alias", (await client.getCollectionAliases(collection)).aliases, []);
  }

  protected async placed() {
    const info = await this.client.collectionClusterInfo(this.collection);
    const local = info.local_shards.map((s): Replica => ({ shard: s.shard_id, peer: String(info.peer_id), state: s.state }));
    const remote = info.remote_shards.map((s): Replica => ({ shard: s.shard_id, peer: String(s.peer_id), state: s.state }));
    return { shards: info.shard_count, replicas: [...local, ...remote] };
  }

  protected async info() {
    const info = await this.client.getCollection(this.collection);
    this.check("status", info.status, "green");
    this.check("points", info.points_count, this.truth.vectors.size);
    this.check("size and distance", info.config.params.vectors, { size: DIM, distance: "Cosine" });
    this.check("shards", info.config.params.shard_number, SHARDS);
    const { replicas } = await this.placed();
    this.check("shards that are placed", new Set(replicas.map((r) => r.shard)).size, SHARDS);
    this.ok(
      "state of the shards",
      replicas.every((r) => r.state === "Active"),
      replicas,
    );
    const cluster = (await this.client.api().clusterStatus({})).data.result;
    this.check("cluster", cluster?.status, "enabled");
  }

  protected async errors() {
    const { client, collection } = this;
    const small = { size: 4, distance: "Dot" as const };
    const never = (args: object) => client.createCollection("never", { vectors: small, ...args });
    await this.refused(
      "wrong dimension, upsert",
      400,
      client.upsert(collection, { wait: true, points: [this.point(1), { id: 6000, vector: vector(1, 7) }] }),
    );
    await this.refused("wrong dimension, query", 400, this.ask({ query: vector(1, 7) }));
    await this.refused("unknown vector name", 400, this.ask({ query: this.q, using: "nope" }));
    await this.refused("unknown collection, query", 404, client.query("no_such", { query: this.q }));
    await this.refused("unknown collection, get", 404, client.retrieve("no_such", { ids: [1] }));
    await this.refused("unknown collection, info", 404, client.getCollection("no_such"), "no_such");
    await this.refused("a point that is absent", 404, this.ask({ query: ABSENT }));
    await this.refused("limit 0", 422, this.ask({ query: this.q, limit: 0 }));
    await this.refused("bad key in a filter", 400, this.count({ must: match("a[", 1) }));
    await this.refused("text that is no UUID as id", 400, client.retrieve(collection, { ids: ["abc"] }));
    await this.refused("create twice", 409, client.createCollection(collection, { vectors: small }));
    await this.refused("name with a slash", 422, client.createCollection("a/b", { vectors: small }));
    await this.refused("name of 256 bytes", 422, client.createCollection("x".repeat(256), { vectors: small }));
    await this.refused("size 0", 422, never({ vectors: { ...small, size: 0 } }));
    await this.refused("replication_factor 0", 422, never({ replication_factor: 0 }));
    this.check("nothing came of it", (await client.collectionExists("never")).exists, false);
    this.check("nothing was half applied", await this.count(), this.truth.vectors.size);
  }

  protected async drop() {
    for (const c of [this.collection, `${this.collection}_named`]) {
      this.check("drop", await this.client.deleteCollection(c), true);
      this.check("dropped", (await this.client.collectionExists(c)).exists, false);
    }
    this.check("drop what is gone", await this.client.deleteCollection(this.collection), false);
  }
}

await new Rest(peers().map((p) => p.rest)).run();
