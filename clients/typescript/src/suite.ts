// Bookkeeping of the checks, and what a cluster is asked, over whichever client.
import { isDeepStrictEqual } from "node:util";
import { setTimeout as sleep } from "node:timers/promises";
import { COUNT, type Hit, type Id, name, near, payload, type Payload, SHARDS, Truth, vector } from "./truth.js";

export type Peer = { rest: string; grpc: string };
export type Replica = { shard: number; peer: string; state: string };

const env = process.env;
const MODE = process.argv.slice(2).find((a) => !a.startsWith("-")) ?? "";
export const API_KEY = env.PANDO_API_KEY || undefined;
/** Replicas of a shard; undefined leaves it to the server. */
export const FACTOR = MODE ? Number(env.PANDO_FACTOR ?? 2) : undefined;

/** The peers to talk to: the one of PANDO_HOST, or those of PANDO_PEERS="rest/grpc,…" but the PANDO_DOWN-th. */
export function peers(): Peer[] {
  const host = env.PANDO_HOST ?? "127.0.0.1";
  if (!MODE) return [{ rest: `${host}:${env.PANDO_REST_PORT ?? 6333}`, grpc: `${host}:${env.PANDO_GRPC_PORT ?? 6334}` }];
  if (!env.PANDO_PEERS) throw new Error(`${MODE} needs PANDO_PEERS="rest/grpc,…", each host:port`);
  if (!["cluster", "cluster-down", "cluster-back"].includes(MODE)) throw new Error(`there is no mode ${MODE}`);
  const all = env.PANDO_PEERS.split(",").map((p) => ({ rest: p.split("/")[0], grpc: p.split("/")[1] }));
  return MODE === "cluster-down" ? all.filter((_, i) => i + 1 !== Number(env.PANDO_DOWN)) : all;
}

/** What is checked, in this order, over either client. */
const PARTS = [
  "service",
  "create",
  "load",
  "get",
  "query",
  "filters",
  "search",
  "scroll",
  "payloads",
  "delete",
  "batch",
  "knobs",
  "named",
  "aliases",
  "info",
  "errors",
  "drop",
] as const;

/** Each part talks to the next peer. A part that breaks off is one failed check; the next ones still run. */
export abstract class Suite<Client> {
  protected collection: string;
  protected truth = new Truth("Cosine");
  protected client: Client;
  private turn = 0;
  private passed = 0;
  private failed = 0;
  private readonly verbose = process.argv.includes("-v");

  constructor(
    private readonly over: string,
    protected readonly clients: Client[],
  ) {
    this.collection = `conformance_ts_${over}`;
    this.client = clients[0];
  }

  protected abstract service(): Promise<void>;
  protected abstract create(): Promise<void>;
  protected abstract load(): Promise<void>;
  protected abstract get(): Promise<void>;
  protected abstract query(): Promise<void>;
  protected abstract filters(): Promise<void>;
  protected abstract search(): Promise<void>;
  protected abstract scroll(): Promise<void>;
  protected abstract payloads(): Promise<void>;
  protected abstract delete(): Promise<void>;
  protected abstract batch(): Promise<void>;
  protected abstract knobs(): Promise<void>;
  protected abstract named(): Promise<void>;
  protected abstract aliases(): Promise<void>;
  protected abstract info(): Promise<void>;
  protected abstract errors(): Promise<void>;
  protected abstract drop(): Promise<void>;
  /** Parts that only one of the clients has. */
  protected more: Record<string, () => Promise<void>> = {};
  protected abstract make(): Promise<void>; // the collection, anew
  protected abstract exists(client: Client): Promise<boolean>;
  protected abstract placed(): Promise<{ shards: number; replicas: Replica[] }>;
  protected abstract upsert(ids: Id[]): Promise<void>; // what the truth says of them
  protected abstract remove(ids: Id[]): Promise<void>;
  protected abstract setPayload(id: Id, payload: Payload): Promise<void>;
  protected abstract overwritePayload(id: Id, payload: Payload): Promise<void>;
  protected abstract count(): Promise<number>;
  protected abstract nearest(q: number[], limit: number): Promise<Hit[]>;
  protected abstract holds(what: string, ids: Id[]): Promise<void>;

  async run(): Promise<void> {
    if (MODE === "cluster") await this.sample();
    else if (MODE) await this.sampleAgain();
    if (!MODE || MODE === "cluster") {
      for (const name of PARTS) {
        await this.part(name, () => this[name]());
        if (this.passed === 0) break; // nobody answers
      }
      if (this.passed > 0) for (const [name, f] of Object.entries(this.more)) await this.part(name, f);
    }
    console.log(`${this.passed} passed, ${this.failed} failed`);
    process.exit(this.failed > 0 || this.passed === 0 ? 1 : 0);
  }

  async part(what: string, f: () => Promise<void>): Promise<void> {
    this.client = this.clients[this.turn++ % this.clients.length];
    try {
      await f();
    } catch (e) {
      this.ok(`${what} breaks off`, false, e);
    }
  }

  ok(what: string, good: boolean, detail?: unknown): void {
    if (good) this.passed++;
    else this.failed++;
    if (!good) console.log(`FAIL ${this.over}: ${what}: ${show(detail)}`);
    else if (this.verbose) console.log(`ok   ${this.over}: ${what}`);
  }

  check(what: string, got: unknown, want: unknown): void {
    this.ok(what, isDeepStrictEqual(got, want), `got ${show(got)}, want ${show(want)}`);
  }

  /** The call must fail with this status (REST) or code (gRPC). */
  async refused(what: string, want: number, call: Promise<unknown>, text = ""): Promise<void> {
    const [code, message] = await call.then(
      () => [undefined, "accepted"],
      (e) => [e.status ?? e.code, `${e.message} ${JSON.stringify(e.data ?? "")}`],
    );
    this.ok(what, code === want && message.includes(text), `${code}, want ${want}: ${message}`);
  }

  /** Ranked answers: each score as computed, and in order; ties may come in any order. */
  hits(what: string, got: Hit[], want: Hit[]): void {
    const scores = new Map(want.map((h) => [h.id, h.score]));
    const wrong = got.find((h, i) => {
      const computed = scores.get(h.id);
      scores.delete(h.id); // a second time is one too many
      return computed === undefined || !near(h.score, computed) || !near(h.score, want[i]?.score ?? NaN);
    });
    this.ok(what, wrong === undefined, wrong);
  }

  /** Waits until every peer knows the collection that one of them made. */
  async seenByAll(): Promise<void> {
    for (const client of this.clients) {
      this.ok("the collection is seen by every peer", await within(10, () => this.exists(client)));
    }
  }

  // -- a cluster

  /** Runs f once through each peer. */
  private async eachPeer(what: string, f: () => Promise<void>): Promise<void> {
    for (const _ of this.clients) await this.part(what, f);
  }

  /** The sample of Qdrant's documentation: six shards, each on two peers, are twelve replicas. */
  private async sample(): Promise<void> {
    const own = this.collection;
    this.collection += "_sample";
    await this.part("sample", async () => {
      await this.make();
      await this.seenByAll();
    });
    await this.placement(15);
    this.truth = Truth.filled();
    for (let from = 0; from < COUNT; from += 100) {
      await this.part("load", () => this.upsert(this.truth.ids().slice(from, from + 100)));
    }
    await this.work();
    this.collection = own;
    this.truth = new Truth("Cosine");
  }

  /** The same collection in a later run, with a peer down or back. */
  private async sampleAgain(): Promise<void> {
    this.collection += "_sample";
    this.truth = Truth.filled();
    if (MODE === "cluster-back") await this.placement(120);
    await this.work();
  }

  /** Every peer tells of the same replicas, all active after some seconds. */
  private async placement(seconds: number): Promise<void> {
    const want = SHARDS * FACTOR!;
    let first: string[] | undefined;
    await this.eachPeer("placement", async () => {
      let { shards, replicas } = await this.placed();
      const whole = () => replicas.length === want && replicas.every((r) => r.state === "Active");
      await within(seconds, async () => {
        ({ shards, replicas } = await this.placed());
        return whole();
      });
      this.check("logical shards", [shards, new Set(replicas.map((r) => r.shard)).size], [SHARDS, SHARDS]);
      this.check("physical shards", replicas.length, want);
      const places = replicas.map((r) => `${r.shard} on ${r.peer}`).sort();
      this.check("no two replicas of a shard on one peer", new Set(places).size, replicas.length);
      this.ok(
        "all replicas are active",
        replicas.every((r) => r.state === "Active"),
        replicas,
      );
      this.check("every peer says the same", places, (first ??= places));
    });
  }

  /** Reads, writes and searches through each peer; leaves the collection as it was. */
  private async work(): Promise<void> {
    const survey = async () => {
      const q = vector(10_001);
      const want = this.truth.nearest(q);
      this.check("sample: count", await this.count(), want.length);
      await this.holds("sample", this.truth.ids());
      const got = await this.nearest(q, 2 * COUNT);
      this.hits("sample: query", got, want);
      this.check("sample: query for all", got.length, want.length);
    };
    await this.eachPeer("survey", survey);
    let k = 0;
    await this.eachPeer("write", async () => {
      const [old, fresh] = [name(k), name(1000 + k)];
      k++;
      this.truth.put(fresh, vector(k), payload(k));
      await this.upsert([fresh]);
      this.truth.change(old, { through: k });
      await this.setPayload(old, { through: k });
      await this.holds("sample: written", [old, fresh]);
    });
    await this.eachPeer("survey after writes", survey);
    await this.eachPeer("undo", async () => {
      k--;
      const [old, fresh] = [name(k), name(1000 + k)];
      this.truth.drop(fresh);
      await this.remove([fresh]);
      this.truth.payloads.set(old, payload(k));
      await this.overwritePayload(old, payload(k));
      await this.holds("sample: undone", [old]);
    });
    await this.part("survey after all", survey);
  }
}

/** Asks again until it is true or the seconds are over. */
async function within(seconds: number, f: () => Promise<boolean>): Promise<boolean> {
  const end = Date.now() + 1000 * seconds;
  for (;;) {
    if (await f()) return true;
    if (Date.now() > end) return false;
    await sleep(50);
  }
}

function show(x: unknown): string {
  const plain = (_: string, v: unknown) => (typeof v === "bigint" ? String(v) : v instanceof Map ? [...v] : v);
  const text = typeof x === "string" ? x : x instanceof Error ? (x.stack ?? x.message) : (JSON.stringify(x, plain) ?? "undefined");
  return text.length > 600 ? `${text.slice(0, 600)}…` : text;
}
