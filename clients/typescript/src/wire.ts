// Points, payloads, vectors and filters as gRPC messages. Messages are plain objects: a `oneof` is {case, value}, a 64-bit
// integer a bigint.
import type { MessageInitShape } from "@bufbuild/protobuf";
import {
  type ConditionSchema,
  type FilterSchema,
  type MatchSchema,
  type PointId,
  type PointIdSchema,
  type PointsSelectorSchema,
  type QuerySchema,
  type RangeSchema,
  toDenseVector,
  type Value,
  type ValueSchema,
  type VectorSchema,
  type VectorsOutput,
  type VectorsSchema,
} from "@qdrant/js-client-grpc";
import type { Id, Json, Payload } from "./truth.js";

export type Filter = MessageInitShape<typeof FilterSchema>;
export type Condition = MessageInitShape<typeof ConditionSchema>;
export type Selector = MessageInitShape<typeof PointsSelectorSchema>;
type Query = MessageInitShape<typeof QuerySchema>;

// -- ids and payloads

export function toId(id: Id): MessageInitShape<typeof PointIdSchema> {
  return { pointIdOptions: typeof id === "number" ? { case: "num", value: BigInt(id) } : { case: "uuid", value: id } };
}

export function fromId(id?: PointId): Id {
  return id?.pointIdOptions.case === "uuid" ? id.pointIdOptions.value : Number(id?.pointIdOptions.value);
}

export function toValue(x: Json): MessageInitShape<typeof ValueSchema> {
  if (x === null) return { kind: { case: "nullValue", value: 0 } };
  if (typeof x === "boolean") return { kind: { case: "boolValue", value: x } };
  if (typeof x === "string") return { kind: { case: "stringValue", value: x } };
  if (typeof x === "bigint") return { kind: { case: "integerValue", value: x } };
  if (typeof x === "number") return Number.isInteger(x) ? toValue(BigInt(x)) : { kind: { case: "doubleValue", value: x } };
  if (Array.isArray(x)) return { kind: { case: "listValue", value: { values: x.map(toValue) } } };
  return { kind: { case: "structValue", value: { fields: toPayload(x) } } };
}

export function fromValue({ kind }: Value): Json {
  switch (kind.case) {
    case "listValue":
      return kind.value.values.map(fromValue);
    case "structValue":
      return fromPayload(kind.value.fields);
    case "integerValue":
      return Number.isSafeInteger(Number(kind.value)) ? Number(kind.value) : kind.value;
    case "nullValue":
    case undefined:
      return null;
    default:
      return kind.value;
  }
}

export function toPayload(p: Payload) {
  return Object.fromEntries(Object.entries(p).map(([k, v]) => [k, toValue(v)]));
}

export function fromPayload(p: Record<string, Value>): Payload {
  return Object.fromEntries(Object.entries(p).map(([k, v]) => [k, fromValue(v)]));
}

export const allPayload = { selectorOptions: { case: "enable", value: true } } as const;

// -- vectors

function toVector(data: number[]): MessageInitShape<typeof VectorSchema> {
  return { vector: { case: "dense", value: { data } } };
}

export function toVectors(data: number[]): MessageInitShape<typeof VectorsSchema> {
  return { vectorsOptions: { case: "vector", value: toVector(data) } };
}

export function toNamedVectors(given: Record<string, number[]>): MessageInitShape<typeof VectorsSchema> {
  const vectors = Object.fromEntries(Object.entries(given).map(([using, v]) => [using, toVector(v)]));
  return { vectorsOptions: { case: "vectors", value: { vectors } } };
}

/** The dense vector of an answer, by its name where it has one. */
export function fromVectors(v: VectorsOutput | undefined, using = ""): number[] | undefined {
  const some = v?.vectorsOptions;
  const output = some?.case === "vectors" ? some.value.vectors[using] : some?.case === "vector" ? some.value : undefined;
  return output && toDenseVector(output)?.data;
}

export const allVectors = { selectorOptions: { case: "enable", value: true } } as const;

// -- queries and selections

export function nearestTo(data: number[]): Query {
  return { variant: { case: "nearest", value: { variant: { case: "dense", value: { data } } } } };
}

export function nearestToPoint(id: Id): Query {
  return { variant: { case: "nearest", value: { variant: { case: "id", value: toId(id) } } } };
}

export function these(...ids: Id[]): Selector {
  return { pointsSelectorOneOf: { case: "points", value: { ids: ids.map(toId) } } };
}

export function matching(filter: Filter): Selector {
  return { pointsSelectorOneOf: { case: "filter", value: filter } };
}

// -- conditions of a filter

export function match(key: string, matchValue: MessageInitShape<typeof MatchSchema>["matchValue"]): Condition {
  return { conditionOneOf: { case: "field", value: { key, match: { matchValue } } } };
}

export function keyword(key: string, value: string): Condition {
  return match(key, { case: "keyword", value });
}

export function integer(key: string, value: number): Condition {
  return match(key, { case: "integer", value: BigInt(value) });
}

export function range(key: string, range: MessageInitShape<typeof RangeSchema>): Condition {
  return { conditionOneOf: { case: "field", value: { key, range } } };
}

export function hasId(ids: Id[]): Condition {
  return { conditionOneOf: { case: "hasId", value: { hasId: ids.map(toId) } } };
}

export function isEmpty(key: string): Condition {
  return { conditionOneOf: { case: "isEmpty", value: { key } } };
}

export function isNull(key: string): Condition {
  return { conditionOneOf: { case: "isNull", value: { key } } };
}

export function nested(key: string, filter: Filter): Condition {
  return { conditionOneOf: { case: "nested", value: { key, filter } } };
}

export function group(filter: Filter): Condition {
  return { conditionOneOf: { case: "filter", value: filter } };
}
