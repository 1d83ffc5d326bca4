// Filters, and what each of them lets through.
import type { Schemas } from "@qdrant/js-client-rest";
import { ABSENT, type Keep, name } from "./truth.js";

export type Filter = Schemas["Filter"];
type Condition = Schemas["FieldCondition"];

export const match = (key: string, value: string | number | boolean): Condition => ({ key, match: { value } });
export const range = (key: string, range: Schemas["Range"]): Condition => ({ key, range });

const red = match("color", "red");
export const flag = match("flag", true);
const low = range("n", { lt: 100 });
const some = [3, 4, name(9), name(19), ABSENT];
const deep34: Filter = { should: [match("nested.deep", 3), match("nested.deep", 4)] };
const is34: Keep = (p) => p.nested.deep === 3 || p.nested.deep === 4;

export const FILTERS: [string, Filter, Keep][] = [
  ["match keyword", { must: [red] }, (p) => p.color === "red"],
  ["one condition alone", { must: red }, (p) => p.color === "red"],
  ["match integer", { must: [match("n", 42)] }, (p) => p.n === 42],
  ["match bool", { must: [flag] }, (p) => p.flag],
  ["match in a list", { must: [match("tags", "s3")] }, (p) => p.tags.includes("s3")],
  ["match any", { must: [{ key: "color", match: { any: ["red", "blue"] } }] }, (p) => p.color !== "green"],
  ["match any integer", { must: [{ key: "n", match: { any: [1, 2, 99] } }] }, (p) => [1, 2, 99].includes(p.n)],
  ["match except", { must: [{ key: "color", match: { except: ["red"] } }] }, (p) => p.color !== "red"],
  ["match a value of another kind", { must: [match("n", "42")] }, () => false],
  ["range lt", { must: [low] }, (p) => p.n < 100],
  ["range gte lte", { must: [range("price", { gte: 10.25, lte: 20.5 })] }, (p) => p.price >= 10.25 && p.price <= 20.5],
  ["range gt lt", { must: [range("price", { gt: 10.25, lt: 20.5 })] }, (p) => p.price > 10.25 && p.price < 20.5],
  ["range of a text", { must: [range("color", { gt: 0 })] }, () => false],
  ["has_id", { must: [{ has_id: some }] }, (_, id) => some.includes(id)],
  ["must_not has_id", { must_not: [{ has_id: some }] }, (_, id) => !some.includes(id)],
  ["is_empty", { must: [{ is_empty: { key: "maybe" } }] }, (p) => p.maybe !== "x"],
  ["is_null", { must: [{ is_null: { key: "maybe" } }] }, (p) => p.maybe === null],
  ["not is_empty", { must_not: [{ is_empty: { key: "maybe" } }] }, (p) => p.maybe === "x"],
  ["must and must", { must: [red, flag, low] }, (p) => p.color === "red" && p.flag && p.n < 100],
  ["should", { should: [red, flag] }, (p) => p.color === "red" || p.flag],
  ["must_not", { must_not: [red, flag] }, (p) => p.color !== "red" && !p.flag],
  [
    "must, should and must_not",
    { must: [low], should: [red, flag], must_not: [range("n", { gte: 50 })] },
    (p) => p.n < 50 && (p.color === "red" || p.flag),
  ],
  [
    "min_should",
    { min_should: { conditions: [red, flag, low], min_count: 2 } },
    (p) => Number(p.color === "red") + Number(p.flag) + Number(p.n < 100) >= 2,
  ],
  ["nested key", { must: [match("nested.deep", 5)] }, (p) => p.nested.deep === 5],
  ["key into a list", { must: [match("nested.list[].a", 2)] }, (p) => p.nested.list.some((e) => e.a === 2)],
  ["filter in a filter", { must: [deep34, flag] }, (p, id) => is34(p, id) && p.flag],
  ["filter in a filter in a filter", { must_not: [{ must: [{ must_not: [deep34] }, flag] }] }, (p, id) => is34(p, id) || !p.flag],
  [
    "nested objects",
    { must: [{ nested: { key: "nested.list", filter: { must: [match("a", 2), match("b", 7)] } } }] },
    (p) => p.nested.list.some((e) => e.a === 2 && e.b === 7),
  ],
  ["unknown key", { must: [match("no.such.key", 1)] }, () => false],
  ["empty filter", {}, () => true],
];
