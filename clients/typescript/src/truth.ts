// What a collection must hold, computed here: the second opinion of every check.

export const DIM = 300;
export const COUNT = 600;
export const SHARDS = 6;
export const ABSENT = 1_000_000_000;

export type Id = number | string;
export type Json = null | boolean | number | bigint | string | Json[] | { [key: string]: Json };
export type Payload = { [key: string]: Json };
export type Distance = "Cosine" | "Dot" | "Euclid" | "Manhattan";
export type Hit = { id: Id; score: number };

/** Numbers of a small congruential generator, equal in every language of this folder. */
export function vector(i: number, dim = DIM): number[] {
  let state = (i * 7919 + 17) % 233280;
  return Array.from({ length: dim }, () => {
    state = (state * 9301 + 49297) % 233280;
    return state / 116640 - 1;
  });
}

/** The id of the point with number i: every tenth has a UUID. */
export function name(i: number): Id {
  return i % 10 === 9 ? `00000000-0000-5eed-0000-${i.toString(16).padStart(12, "0")}` : i;
}

export function names(from: number, to: number): Id[] {
  return Array.from({ length: to - from }, (_, k) => name(from + k));
}

/** Numbers first, then UUIDs: the order of a scroll. */
export function inOrder(ids: Iterable<Id>): Id[] {
  const before = (a: Id, b: Id) => a < b;
  return [...ids].sort((a, b) => (typeof a === typeof b ? (before(a, b) ? -1 : 1) : typeof a === "number" ? -1 : 1));
}

export interface Card {
  n: number;
  color: string;
  price: number;
  tags: string[];
  flag: boolean;
  nested: { deep: number; list: { a: number; b: number }[] };
  maybe?: null | [] | "x";
}

/** Whether a filter lets the point through. */
export type Keep = (p: Card, id: Id) => boolean;

/** What the point with number i carries. */
export function payload(i: number): Payload {
  const card: Card = {
    n: i,
    color: ["red", "green", "blue"][i % 3],
    price: i / 4,
    tags: [`t${i % 5}`, `s${i % 7}`],
    flag: i % 2 === 0,
    nested: {
      deep: i % 11,
      list: [
        { a: i % 3, b: i % 2 },
        { a: i % 4, b: 7 },
      ],
    },
  };
  if (i % 4 > 0) card.maybe = ([null, null, [], "x"] as const)[i % 4] as Card["maybe"];
  return card as unknown as Payload;
}

export function score(distance: Distance, a: number[], b: number[]): number {
  const sum = (f: (x: number, y: number) => number) => a.reduce((s, x, i) => s + f(x, b[i]), 0);
  switch (distance) {
    case "Cosine":
      return sum((x, y) => x * y) / Math.sqrt(sum((x) => x * x) * sum((_, y) => y * y));
    case "Dot":
      return sum((x, y) => x * y);
    case "Euclid":
      return Math.sqrt(sum((x, y) => (x - y) ** 2));
    case "Manhattan":
      return sum((x, y) => Math.abs(x - y));
  }
}

/** Equal within the precision of a float32. */
export function near(a: number, b: number): boolean {
  return Math.abs(a - b) <= 2e-5 * Math.max(1, Math.abs(b));
}

export function nearAll(a: ArrayLike<number> | undefined, b: number[]): boolean {
  return a !== undefined && a.length === b.length && b.every((x, i) => near(a[i], x));
}

export class Truth {
  readonly vectors = new Map<Id, number[]>();
  readonly payloads = new Map<Id, Payload>();

  constructor(readonly distance: Distance) {}

  /** A collection as it is after `upsert`. */
  static filled(): Truth {
    const truth = new Truth("Cosine");
    for (let i = 0; i < COUNT; i++) truth.put(name(i), vector(i), payload(i));
    return truth;
  }

  put(id: Id, v: number[], p: Payload) {
    this.vectors.set(id, v);
    this.payloads.set(id, p);
  }

  drop(...ids: Id[]) {
    for (const id of ids) {
      this.vectors.delete(id);
      this.payloads.delete(id);
    }
  }

  /** Changes fields of a payload. */
  change(id: Id, p: Payload) {
    this.payloads.set(id, { ...this.payloads.get(id), ...p });
  }

  ids(keep: Keep = () => true): Id[] {
    return inOrder([...this.payloads].filter(([id, p]) => keep(p as unknown as Card, id)).map(([id]) => id));
  }

  /** Ranks all that keep lets through, best first. */
  nearest(q: number[], keep?: Keep): Hit[] {
    const sign = this.distance === "Cosine" || this.distance === "Dot" ? -1 : 1;
    const hits = this.ids(keep).map((id) => ({ id, score: score(this.distance, q, this.vectors.get(id)!) }));
    return hits.sort((a, b) => sign * (a.score - b.score));
  }

  /** The vector as the collection gives it back. */
  stored(id: Id): number[] {
    const v = this.vectors.get(id)!;
    if (this.distance !== "Cosine") return v;
    const norm = Math.sqrt(v.reduce((s, x) => s + x * x, 0));
    return v.map((x) => x / norm);
  }
}
