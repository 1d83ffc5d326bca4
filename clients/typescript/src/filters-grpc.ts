// Filters, and what each of them lets through.
import { ABSENT, type Keep, name } from "./truth.js";
import { type Filter, group, hasId, integer, isEmpty, isNull, keyword, match, nested, range } from "./wire.js";

const red = keyword("color", "red");
export const flag = match("flag", { case: "boolean", value: true });
const low = range("n", { lt: 100 });
const some = [3, 4, name(9), name(19), ABSENT];
const deep34 = group({ should: [integer("nested.deep", 3), integer("nested.deep", 4)] });
const is34: Keep = (p) => p.nested.deep === 3 || p.nested.deep === 4;

export const FILTERS: [string, Filter, Keep][] = [
  ["match keyword", { must: [red] }, (p) => p.color === "red"],
  ["match integer", { must: [integer("n", 42)] }, (p) => p.n === 42],
  ["match bool", { must: [flag] }, (p) => p.flag],
  ["match in a list", { must: [keyword("tags", "s3")] }, (p) => p.tags.includes("s3")],
  ["match any", { must: [match("color", { case: "keywords", value: { strings: ["red", "blue"] } })] }, (p) => p.color !== "green"],
  ["match any integer", { must: [match("n", { case: "integers", value: { integers: [1n, 2n, 99n] } })] }, (p) => [1, 2, 99].includes(p.n)],
  ["match except", { must: [match("color", { case: "exceptKeywords", value: { strings: ["red"] } })] }, (p) => p.color !== "red"],
  ["match a value of another kind", { must: [keyword("n", "42")] }, () => false],
  ["range lt", { must: [low] }, (p) => p.n < 100],
  ["range gte lte", { must: [range("price", { gte: 10.25, lte: 20.5 })] }, (p) => p.price >= 10.25 && p.price <= 20.5],
  ["range gt lt", { must: [range("price", { gt: 10.25, lt: 20.5 })] }, (p) => p.price > 10.25 && p.price < 20.5],
  ["range of a text", { must: [range("color", { gt: 0 })] }, () => false],
  ["has_id", { must: [hasId(some)] }, (_, id) => some.includes(id)],
  ["must_not has_id", { mustNot: [hasId(some)] }, (_, id) => !some.includes(id)],
  ["is_empty", { must: [isEmpty("maybe")] }, (p) => p.maybe !== "x"],
  ["is_null", { must: [isNull("maybe")] }, (p) => p.maybe === null],
  ["not is_empty", { mustNot: [isEmpty("maybe")] }, (p) => p.maybe === "x"],
  ["must and must", { must: [red, flag, low] }, (p) => p.color === "red" && p.flag && p.n < 100],
  ["should", { should: [red, flag] }, (p) => p.color === "red" || p.flag],
  ["must_not", { mustNot: [red, flag] }, (p) => p.color !== "red" && !p.flag],
  [
    "must, should and must_not",
    { must: [low], should: [red, flag], mustNot: [range("n", { gte: 50 })] },
    (p) => p.n < 50 && (p.color === "red" || p.flag),
  ],
  [
    "min_should",
    { minShould: { conditions: [red, flag, low], minCount: 2n } },
    (p) => Number(p.color === "red") + Number(p.flag) + Number(p.n < 100) >= 2,
  ],
  ["nested key", { must: [integer("nested.deep", 5)] }, (p) => p.nested.deep === 5],
  ["key into a list", { must: [integer("nested.list[].a", 2)] }, (p) => p.nested.list.some((e) => e.a === 2)],
  ["filter in a filter", { must: [deep34, flag] }, (p, id) => is34(p, id) && p.flag],
  [
    "filter in a filter in a filter",
    { mustNot: [group({ must: [group({ mustNot: [deep34] }), flag] })] },
    (p, id) => is34(p, id) || !p.flag,
  ],
  [
    "nested objects",
    { must: [nested("nested.list", { must: [integer("a", 2), integer("b", 7)] })] },
    (p) => p.nested.list.some((e) => e.a === 2 && e.b === 7),
  ],
  ["unknown key", { must: [integer("no.such.key", 1)] }, () => false],
  ["empty filter", {}, () => true],
];
