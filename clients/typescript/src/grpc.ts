// Pando over gRPC with @qdrant/js-client-grpc, every answer compared with one computed here.
//
//     node dist/grpc.js [-v] [cluster | cluster-down | cluster-back]
//
// The peer is named by PANDO_HOST, PANDO_GRPC_PORT and PANDO_API_KEY, a cluster by PANDO_PEERS. The last line is
// `N passed, M failed`.
import type { MessageInitShape } from "@bufbuild/protobuf";
import {
  CollectionStatus,
  ConnectErrorCode as Code,
  Distance as WireDistance,
  QdrantClient,
  type QueryPointsSchema,
  ReadConsistencyType,
  ReplicaState,
  type ScoredPoint,
  UpdateMode,
  UpdateStatus,
  type UpsertPointsSchema,
  type WithPayloadSelectorSchema,
  WriteOrderingType,
} from "@qdrant/js-client-grpc";
import { FILTERS, flag } from "./filters-grpc.js";
import { API_KEY, FACTOR, peers, type Replica, Suite } from "./suite.js";
import {
  ABSENT,
  COUNT,
  DIM,
  type Distance,
  type Id,
  inOrder,
  type Keep,
  type Json,
  name,
  names,
  nearAll,
  payload,
  type Payload,
  SHARDS,
  Truth,
  vector,
} from "./truth.js";
import * as wire from "./wire.js";

type Upsert = MessageInitShape<typeof UpsertPointsSchema>;
type Ask = Omit<MessageInitShape<typeof QueryPointsSchema>, "collectionName" | "$typeName">;

class Grpc extends Suite<QdrantClient> {
  private readonly q = vector(10_001);

  constructor(addresses: string[]) {
    super(
      "grpc",
      addresses.map((a) => new QdrantClient({ url: `http://${a}`, apiKey: API_KEY, timeout: 60_000, checkCompatibility: false })),
    );
  }

  private get points() {
    return this.client.api("points");
  }

  private get collections() {
    return this.client.api("collections");
  }

  protected async service() {
    const { version, commit } = await this.client.api("service").healthCheck({});
    this.ok("the version of the API", version.startsWith("1.19."), version);
    this.check("a commit of 40 characters", commit?.length, 40);
  }

  protected async exists(client: QdrantClient, collectionName = this.collection) {
    return (await client.api("collections").collectionExists({ collectionName })).result?.exists ?? false;
  }

  protected async make() {
    for (const collectionName of [this.collection, `${this.collection}_named`]) {
      if (await this.exists(this.client, collectionName)) await this.collections.delete({ collectionName });
    }
    this.check("exists before it is created", await this.exists(this.client), false);
    const made = await this.collections.create({
      collectionName: this.collection,
      vectorsConfig: { config: { case: "params", value: { size: BigInt(DIM), distance: WireDistance.Cosine } } },
      shardNumber: SHARDS,
      replicationFactor: FACTOR,
    });
    this.check("create", made.result, true);
  }

  protected async create() {
    await this.make();
    await this.seenByAll();
    const { collections } = await this.collections.list({});
    this.ok(
      "list",
      collections.some((c) => c.name === this.collection),
      collections,
    );
  }

  /** A point as the truth has it. */
  private point = (id: Id) => ({
    id: wire.toId(id),
    vectors: wire.toVectors(this.truth.vectors.get(id)!),
    payload: wire.toPayload(this.truth.payloads.get(id)!),
  });

  private async store(points: Upsert["points"], more: Omit<Upsert, "$typeName"> = {}) {
    const done = await this.points.upsert({ collectionName: this.collection, wait: true, points, ...more });
    return done.result?.status;
  }

  protected async upsert(ids: Id[]) {
    this.check("upsert", await this.store(ids.map(this.point)), UpdateStatus.Completed);
  }

  protected async count(filter?: wire.Filter, collectionName = this.collection) {
    return Number((await this.points.count({ collectionName, filter, exact: true })).result?.count);
  }

  protected async load() {
    this.truth = Truth.filled();
    for (let from = 0; from < COUNT; from += 100) await this.upsert(names(from, from + 100));
    this.check("count", await this.count(), COUNT);
    await this.upsert([1, 2]);
    this.check("count after upserting again", await this.count(), COUNT);
    await this.store([{ id: wire.toId(7), vectors: wire.toVectors(vector(1)) }, this.point(7)]);
    await this.holds("of equal ids in one request the last counts", [7]);
    const late = await this.store([this.point(5)], { wait: false });
    this.ok("upsert without waiting", late === UpdateStatus.Acknowledged || late === UpdateStatus.Completed, late);
    // The form of clients from before 1.16.
    await this.store([{ ...this.point(8), vectors: { vectorsOptions: { case: "vector", value: { data: vector(8) } } } }]);
    await this.holds("a vector in the older form", [8]);
  }

  private async retrieve(ids: Id[], more: object = {}) {
    return (await this.points.get({ collectionName: this.collection, ids: ids.map(wire.toId), ...more })).result;
  }

  private idsOf(points: { id?: Parameters<typeof wire.fromId>[0] }[]): Id[] {
    return points.map((p) => wire.fromId(p.id));
  }

  /** Reads the points back and compares everything about them. */
  protected async holds(what: string, ids: Id[]) {
    const got = await this.retrieve(ids, { withPayload: wire.allPayload, withVectors: wire.allVectors });
    this.check(`${what}: ids`, inOrder(this.idsOf(got)), inOrder(ids));
    for (const p of got) {
      const good = nearAll(wire.fromVectors(p.vectors), this.truth.stored(wire.fromId(p.id)));
      if (!good) return this.ok(`${what}: vector`, false, wire.fromId(p.id));
    }
    this.check(
      `${what}: payloads`,
      new Map(got.map((p) => [wire.fromId(p.id), wire.fromPayload(p.payload)])),
      new Map(ids.map((id) => [id, this.truth.payloads.get(id)])),
    );
  }

  protected async get() {
    for (let from = 0; from < COUNT; from += 200) await this.holds("get", names(from, from + 200));
    this.check("get of an absent id", await this.retrieve([ABSENT]), []);
    const some = await this.retrieve([3, ABSENT, name(9)]);
    this.check("get leaves absent ids out", inOrder(this.idsOf(some)), [3, name(9)]);
    this.ok(
      "vectors are not sent unasked",
      some.every((p) => p.vectors === undefined),
      this.idsOf(some),
    );
    const three = async (selectorOptions: MessageInitShape<typeof WithPayloadSelectorSchema>["selectorOptions"]) =>
      wire.fromPayload((await this.retrieve([3], { withPayload: { selectorOptions } }))[0].payload);
    this.check("get without payload", await three({ case: "enable", value: false }), {});
    this.check("get with some keys", await three({ case: "include", value: { fields: ["color", "nested.deep"] } }), {
      color: "red",
      nested: { deep: 3 },
    });
    this.check("get without some keys", await three({ case: "exclude", value: { fields: ["nested", "tags", "maybe"] } }), {
      n: 3,
      color: "red",
      price: 0.75,
      flag: false,
    });
  }

  private async ask(request: Ask, collectionName = this.collection) {
    return (await this.points.query({ collectionName, ...request })).result;
  }

  private ranked(points: ScoredPoint[]) {
    return points.map((h) => ({ id: wire.fromId(h.id), score: h.score }));
  }

  protected async nearest(q: number[], limit: number) {
    return this.ranked(await this.ask({ query: wire.nearestTo(q), limit: BigInt(limit) }));
  }

  protected async query() {
    const { truth } = this;
    const [query, want] = [wire.nearestTo(this.q), truth.nearest(this.q)];
    const top = await this.ask({ query, withPayload: wire.allPayload, withVectors: wire.allVectors });
    this.hits("query by vector", this.ranked(top), want);
    this.check("query: ten by default", top.length, 10);
    this.check(
      "query: payloads",
      top.map((h) => wire.fromPayload(h.payload)),
      top.map((h) => truth.payloads.get(wire.fromId(h.id))),
    );
    this.ok(
      "query: vectors",
      top.every((h) => nearAll(wire.fromVectors(h.vectors), truth.stored(wire.fromId(h.id)))),
    );
    const [bare] = await this.ask({ query, limit: 1n });
    this.check("query: nothing unasked", [bare.payload, bare.vectors], [{}, undefined]);
    const every = await this.nearest(this.q, 2 * COUNT);
    this.hits("query for all", every, want);
    this.check("query for all: all of them", every.length, COUNT);
    for (const id of [name(5), name(19)]) {
      const near = this.ranked(await this.ask({ query: wire.nearestToPoint(id), limit: 8n }));
      this.hits(
        "query by id",
        near,
        truth.nearest(truth.vectors.get(id)!, (_, other) => other !== id),
      );
      this.check("query by id: count", near.length, 8);
    }
    this.hits("query with offset", this.ranked(await this.ask({ query, limit: 7n, offset: 13n })), want.slice(13));
    this.check("query with offset past the end", await this.ask({ query, offset: BigInt(COUNT) }), []);
    const above = await this.ask({ query, limit: 100n, scoreThreshold: (want[24].score + want[25].score) / 2 });
    this.hits("query with threshold", this.ranked(above), want);
    this.check("query with threshold: count", above.length, 25);
    this.check("query for nothing: by id", this.idsOf(await this.ask({ limit: 6n })), truth.ids().slice(0, 6));
    const queryPoints = [0, 1, 2, 3, 4].map((k) => ({
      collectionName: this.collection,
      query: wire.nearestTo(vector(20_000 + k)),
      limit: BigInt(3 + k),
    }));
    const { result } = await this.points.queryBatch({ collectionName: this.collection, queryPoints });
    this.check(
      "batch: an answer each",
      result.map((a) => a.result.length),
      [3, 4, 5, 6, 7],
    );
    result.forEach((a, k) => this.hits("batch: rank", this.ranked(a.result), truth.nearest(vector(20_000 + k))));
  }

  /** Puts every filter to query, count and scroll. */
  protected async filters() {
    const q = vector(10_002);
    for (const [what, filter, keep] of FILTERS) {
      await this.part(`filter ${what}`, async () => {
        const want = this.truth.nearest(q, keep);
        const got = await this.ask({ query: wire.nearestTo(q), filter, limit: BigInt(COUNT) });
        this.hits(`filter ${what}: rank`, this.ranked(got), want);
        this.check(`filter ${what}: which`, inOrder(this.idsOf(got)), this.truth.ids(keep));
        this.check(`filter ${what}: count`, await this.count(filter), want.length);
        const page = await this.points.scroll({ collectionName: this.collection, filter, limit: COUNT });
        this.check(`filter ${what}: scroll`, this.idsOf(page.result), this.truth.ids(keep));
      });
    }
  }

  /** The older form of query. */
  protected async search() {
    const { collection: collectionName, truth } = this;
    const q = vector(10_003);
    const want = truth.nearest(q, (p) => p.n >= 300).slice(2);
    const ask = (limit: bigint) => ({
      collectionName,
      vector: q,
      filter: { must: [wire.range("n", { gte: 300 })] },
      limit,
      offset: 2n,
      withPayload: wire.allPayload,
    });
    const { result } = await this.points.search(ask(9n));
    this.hits("search", this.ranked(result), want);
    this.check("search: count", result.length, 9);
    this.check(
      "search: payload",
      result.map((h) => wire.fromPayload(h.payload)),
      result.map((h) => truth.payloads.get(wire.fromId(h.id))),
    );
    const many = await this.points.searchBatch({ collectionName, searchPoints: [ask(9n), ask(2n)] });
    this.check(
      "search in a batch",
      many.result.map((r) => r.result.length),
      [9, 2],
    );
    many.result.forEach((r) => this.hits("search in a batch: rank", this.ranked(r.result), want));
  }

  protected async scroll() {
    const { collection: collectionName, truth } = this;
    for (const [what, filter, keep] of [
      ["all", {}, () => true],
      ["filtered", { mustNot: [flag] }, (p) => !p.flag],
    ] as [string, wire.Filter, Keep][]) {
      const [seen, payloads, want]: [Id[], Payload[], Id[]] = [[], [], truth.ids(keep)];
      let [offset, pages]: [ScoredPoint["id"], number] = [undefined, 0];
      do {
        const page = await this.points.scroll({ collectionName, filter, limit: 37, offset, withPayload: wire.allPayload });
        seen.push(...this.idsOf(page.result));
        payloads.push(...page.result.map((p) => wire.fromPayload(p.payload)));
        offset = page.nextPageOffset;
        pages++;
      } while (offset && pages <= COUNT);
      this.check(`scroll ${what}: every id once, in order`, seen, want);
      this.check(
        `scroll ${what}: payloads`,
        payloads,
        want.map((id) => truth.payloads.get(id)),
      );
      this.check(`scroll ${what}: pages`, pages, Math.ceil(want.length / 37));
    }
    const page = await this.points.scroll({ collectionName });
    this.check("scroll: ten by default", this.idsOf(page.result), truth.ids().slice(0, 10));
    this.check("scroll: where to go on", wire.fromId(page.nextPageOffset), truth.ids()[10]);
  }

  protected async setPayload(id: Id, payload: Payload) {
    await this.points.setPayload({
      collectionName: this.collection,
      wait: true,
      payload: wire.toPayload(payload),
      pointsSelector: wire.these(id),
    });
  }

  protected async overwritePayload(id: Id, payload: Payload) {
    await this.points.overwritePayload({
      collectionName: this.collection,
      wait: true,
      payload: wire.toPayload(payload),
      pointsSelector: wire.these(id),
    });
  }

  protected async payloads() {
    const { collection: collectionName, truth } = this;
    const extra = { extra: [1, 2.5, null], n: 1000 };
    await this.setPayload(20, extra);
    truth.change(20, extra);
    await this.holds("set payload", [20]);
    await this.points.setPayload({
      collectionName,
      wait: true,
      payload: wire.toPayload({ extra: "z" }),
      pointsSelector: wire.matching({ must: [wire.range("n", { gte: 21, lt: 24 })] }),
    });
    for (const id of [21, 22, 23]) truth.change(id, { extra: "z" });
    await this.holds("set payload by filter", [21, 22, 23, 24]);
    await this.points.setPayload({
      collectionName,
      wait: true,
      payload: wire.toPayload({ new: { x: 1 } }),
      key: "nested",
      pointsSelector: wire.these(24),
    });
    truth.change(24, { nested: { ...(payload(24).nested as Payload), new: { x: 1 } } });
    await this.holds("set payload under a key", [24]);
    await this.overwritePayload(25, { only: { this: true } });
    truth.payloads.set(25, { only: { this: true } });
    await this.holds("overwrite payload", [25]);
    await this.points.deletePayload({
      collectionName,
      wait: true,
      keys: ["color", "nested.deep", "no_such"],
      pointsSelector: wire.these(26, 27),
    });
    for (const i of [26, 27]) {
      const { color: _, ...rest } = payload(i);
      const { deep: __, ...nested } = rest.nested as Payload;
      truth.payloads.set(i, { ...rest, nested });
    }
    await this.holds("delete keys", [26, 27, 28]);
    await this.points.clearPayload({ collectionName, wait: true, points: wire.these(28, name(29)) });
    for (const id of [28, name(29)]) truth.payloads.set(id, {});
    await this.holds("clear payload", [28, name(29), 30]);
    const odd: Json = {
      text: 'Grüße, 日本語 🙂 " \\ \n',
      big: 2n ** 62n,
      small: -(2n ** 62n),
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
    await this.points.delete({ collectionName: this.collection, wait: true, points: wire.these(...ids) });
  }

  protected async delete() {
    const gone = [31, name(39), ...names(40, 50)];
    await this.remove([31, name(39)]);
    await this.remove([ABSENT]);
    await this.points.delete({
      collectionName: this.collection,
      wait: true,
      points: wire.matching({ must: [wire.range("n", { gte: 40, lt: 50 })] }),
    });
    this.truth.drop(...gone);
    this.check("deleted ones are absent", await this.retrieve(gone), []);
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
    const row = (id: number, payload: Payload) => ({
      id: wire.toId(id),
      vectors: wire.toVectors(vector(id)),
      payload: wire.toPayload(payload),
    });
    const { result } = await this.points.updateBatch({
      collectionName: this.collection,
      wait: true,
      operations: [
        { operation: { case: "upsert", value: { points: [row(5000, { a: 1 }), row(5001, {})] } } },
        { operation: { case: "setPayload", value: { payload: wire.toPayload({ b: 2 }), pointsSelector: wire.these(5000) } } },
        { operation: { case: "deletePayload", value: { keys: ["a"], pointsSelector: wire.these(5000) } } },
        { operation: { case: "updateVectors", value: { points: [{ id: wire.toId(5000), vectors: wire.toVectors(vector(5002)) }] } } },
        { operation: { case: "deletePoints", value: { points: wire.these(5001) } } },
      ],
    });
    this.check(
      "batch of writes: an answer each",
      result.map((r) => r.status),
      Array(5).fill(UpdateStatus.Completed),
    );
    this.truth.put(5000, vector(5002), { b: 2 });
    await this.holds("batch of writes, in order", [5000]);
    this.check("batch of writes: the deleted one", await this.retrieve([5001]), []);
  }

  /** What may be asked for on top: ordering, consistency, and writes that only touch what is (not) there. */
  protected async knobs() {
    const { truth } = this;
    for (const type of [WriteOrderingType.Weak, WriteOrderingType.Medium, WriteOrderingType.Strong]) {
      this.check(
        `upsert with ${WriteOrderingType[type]} ordering`,
        await this.store([this.point(60)], { ordering: { type } }),
        UpdateStatus.Completed,
      );
    }
    const types = [ReadConsistencyType.All, ReadConsistencyType.Majority, ReadConsistencyType.Quorum].map((value) => ({
      case: "type" as const,
      value,
    }));
    for (const value of [{ case: "factor" as const, value: 1n }, ...types]) {
      const got = await this.ask({ query: wire.nearestTo(this.q), limit: 3n, readConsistency: { value } });
      this.hits(`query with consistency ${value.case} ${value.value}`, this.ranked(got), truth.nearest(this.q));
      this.check(`query with consistency ${value.case} ${value.value}: count`, got.length, 3);
    }
    const rows = (x: number, ...ids: number[]) =>
      ids.map((id) => ({ id: wire.toId(id), vectors: wire.toVectors(vector(id)), payload: wire.toPayload({ x }) }));
    await this.store(rows(1, 61, 7000), { updateMode: UpdateMode.InsertOnly });
    truth.put(7000, vector(7000), { x: 1 });
    await this.holds("insert only", [61, 7000]);
    await this.store(rows(2, 62, 7001), { updateMode: UpdateMode.UpdateOnly });
    truth.payloads.set(62, { x: 2 });
    await this.holds("update only", [62]);
    this.check("update only: nothing new", await this.retrieve([7001]), []);
  }

  /** A second collection, whose points have up to three vectors. */
  protected async named() {
    const collectionName = `${this.collection}_named`;
    const spaces: { using: string; size: number; distance: Distance }[] = [
      { using: "dot", size: 8, distance: "Dot" },
      { using: "euclid", size: 4, distance: "Euclid" },
      { using: "manhattan", size: 5, distance: "Manhattan" },
    ];
    const map = Object.fromEntries(spaces.map((s) => [s.using, { size: BigInt(s.size), distance: WireDistance[s.distance] }]));
    await this.collections.create({
      collectionName,
      vectorsConfig: { config: { case: "paramsMap", value: { map } } },
      shardNumber: 2,
      replicationFactor: FACTOR,
    });
    const truths = Object.fromEntries(spaces.map((s) => [s.using, new Truth(s.distance)]));
    const points = [];
    for (let id = 0; id < 60; id++) {
      const given = spaces
        .map((s, k) => [s.using, vector(id + 100 * k, s.size)] as const)
        .filter(([using]) => using !== "euclid" || id % 6 !== 5);
      for (const [using, v] of given) truths[using].put(id, v, { n: id });
      points.push({ id: wire.toId(id), vectors: wire.toNamedVectors(Object.fromEntries(given)), payload: wire.toPayload({ n: id }) });
    }
    await this.points.upsert({ collectionName, wait: true, points });

    const ranks = async (what: string) => {
      for (const { using, size } of spaces) {
        const [q, truth] = [vector(777, size), truths[using]];
        const got = await this.ask(
          {
            query: wire.nearestTo(q),
            using,
            limit: 100n,
            withVectors: { selectorOptions: { case: "include", value: { names: [using] } } },
          },
          collectionName,
        );
        this.hits(`${what}, ${using}: rank`, this.ranked(got), truth.nearest(q));
        this.check(`${what}, ${using}: which`, inOrder(this.idsOf(got)), truth.ids());
        this.ok(
          `${what}, ${using}: vectors`,
          got.every((h) => nearAll(wire.fromVectors(h.vectors, using), truth.vectors.get(wire.fromId(h.id))!)),
        );
      }
    };
    await ranks("named");
    const q = vector(777, 4);
    const near = truths.euclid.nearest(q);
    const within = await this.ask(
      { query: wire.nearestTo(q), using: "euclid", limit: 100n, scoreThreshold: (near[9].score + near[10].score) / 2 },
      collectionName,
    );
    this.check("threshold of a distance", within.length, 10);
    await this.points.updateVectors({
      collectionName,
      wait: true,
      points: [{ id: wire.toId(3), vectors: wire.toNamedVectors({ dot: vector(9, 8) }) }],
    });
    truths.dot.put(3, vector(9, 8), {});
    await ranks("after update of a vector");
    await this.points.deleteVectors({ collectionName, wait: true, vectors: { names: ["euclid"] }, pointsSelector: wire.these(4, 6) });
    truths.euclid.drop(4, 6);
    await ranks("after delete of a vector");
    const { result } = await this.points.get({ collectionName, ids: [wire.toId(4)], withPayload: wire.allPayload });
    this.check("payload after both", wire.fromPayload(result[0].payload), { n: 4 });
  }

  protected async aliases() {
    const { collection: collectionName, collections } = this;
    const [a, b] = [`${collectionName}_alias`, `${collectionName}_alias2`];
    const ofCollection = async () => (await collections.listCollectionAliases({ collectionName })).aliases.map((x) => x.aliasName);
    await collections.updateAliases({ actions: [{ action: { case: "createAlias", value: { collectionName, aliasName: a } } }] });
    this.check("aliases of the collection", await ofCollection(), [a]);
    this.ok(
      "all aliases",
      (await collections.listAliases({})).aliases.some((x) => x.aliasName === a && x.collectionName === collectionName),
    );
    this.check("count through the alias", await this.count(undefined, a), this.truth.vectors.size);
    await collections.updateAliases({ actions: [{ action: { case: "renameAlias", value: { oldAliasName: a, newAliasName: b } } }] });
    this.check("rename", await ofCollection(), [b]);
    await this.refused("the old name is gone", Code.NotFound, this.count(undefined, a));
    await collections.updateAliases({ actions: [{ action: { case: "deleteAlias", value: { aliasName: b } } }] });
    this.check("delete the alias", await ofCollection(), []);
  }

  protected async placed() {
    const info = await this.collections.collectionClusterInfo({ collectionName: this.collection });
    const local = info.localShards.map((s): Replica => ({ shard: s.shardId, peer: String(info.peerId), state: ReplicaState[s.state] }));
    const remote = info.remoteShards.map((s): Replica => ({ shard: s.shardId, peer: String(s.peerId), state: ReplicaState[s.state] }));
    return { shards: Number(info.shardCount), replicas: [...local, ...remote] };
  }

  protected async info() {
    const { result } = await this.collections.get({ collectionName: this.collection });
    const params = result?.config?.params;
    const config = params?.vectorsConfig?.config;
    this.check("status", result?.status, CollectionStatus.Green);
    this.check("points", result?.pointsCount, BigInt(this.truth.vectors.size));
    this.check("size and distance", config?.case === "params" && [config.value.size, config.value.distance], [
      BigInt(DIM),
      WireDistance.Cosine,
    ]);
    this.check("shards", params?.shardNumber, SHARDS);
    const { replicas } = await this.placed();
    this.check("shards that are placed", new Set(replicas.map((r) => r.shard)).size, SHARDS);
    this.ok(
      "state of the shards",
      replicas.every((r) => r.state === "Active"),
      replicas,
    );
  }

  protected async errors() {
    const { collection: collectionName, collections, points } = this;
    const create = (collectionName: string, more: object = {}, size = 4n) =>
      collections.create({
        collectionName,
        vectorsConfig: { config: { case: "params", value: { size, distance: WireDistance.Dot } } },
        ...more,
      });
    const query = wire.nearestTo(this.q);
    const wrong = { id: wire.toId(6000), vectors: wire.toVectors(vector(1, 7)) };
    await this.refused("wrong dimension, upsert", Code.InvalidArgument, this.store([this.point(1), wrong]));
    await this.refused("wrong dimension, query", Code.InvalidArgument, this.ask({ query: wire.nearestTo(vector(1, 7)) }));
    await this.refused("unknown vector name", Code.InvalidArgument, this.ask({ query, using: "nope" }));
    await this.refused("unknown collection, query", Code.NotFound, this.ask({ query }, "no_such"));
    await this.refused("unknown collection, get", Code.NotFound, points.get({ collectionName: "no_such", ids: [wire.toId(1)] }));
    await this.refused("unknown collection, info", Code.NotFound, collections.get({ collectionName: "no_such" }), "no_such");
    await this.refused("a point that is absent", Code.NotFound, this.ask({ query: wire.nearestToPoint(ABSENT) }));
    await this.refused("limit 0", Code.InvalidArgument, this.ask({ query, limit: 0n }));
    await this.refused("bad key in a filter", Code.InvalidArgument, this.count({ must: [wire.integer("a[", 1)] }));
    await this.refused("text that is no UUID as id", Code.InvalidArgument, points.get({ collectionName, ids: [wire.toId("abc")] }));
    await this.refused("create twice", Code.AlreadyExists, create(collectionName));
    await this.refused("name with a slash", Code.InvalidArgument, create("a/b"));
    await this.refused("name of 256 bytes", Code.InvalidArgument, create("x".repeat(256)));
    await this.refused("size 0", Code.InvalidArgument, create("never", {}, 0n));
    await this.refused("replication_factor 0", Code.InvalidArgument, create("never", { replicationFactor: 0 }));
    this.check("nothing came of it", await this.exists(this.client, "never"), false);
    this.check("nothing was half applied", await this.count(), this.truth.vectors.size);
  }

  protected async drop() {
    for (const collectionName of [this.collection, `${this.collection}_named`]) {
      this.check("drop", (await this.collections.delete({ collectionName })).result, true);
      this.check("dropped", await this.exists(this.client, collectionName), false);
    }
    this.check("drop what is gone", (await this.collections.delete({ collectionName: this.collection })).result, false);
  }
}

await new Grpc(peers().map((p) => p.grpc)).run();
