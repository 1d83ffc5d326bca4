// The published TypeScript client's idea of the API against ours: gen/descriptors.binpb must say the same of every message,
// field, oneof, enum, value and method of package qdrant that the client has. Exits 1 if not.
//
// Nothing is left out of the comparison. StorageRead and the services between Qdrant's own nodes, which we do not offer, are
// in no published client.
import { createFileRegistry, fromBinary } from "@bufbuild/protobuf";
import { FieldDescriptorProto_Label as Label, FieldDescriptorProto_Type as Type, FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { readFileSync, readdirSync } from "node:fs";

const PACKAGE = "qdrant";
const protoDir = new URL("./node_modules/@qdrant/js-client-grpc/dist/esm/proto/", import.meta.url);

async function theirFiles() {
  const files = new Map();
  for (const name of readdirSync(protoDir).filter((n) => n.endsWith("_pb.js"))) {
    for (const exported of Object.values(await import(new URL(name, protoDir)))) {
      if (exported?.kind === "file") files.set(exported.name, exported.proto);
    }
  }
  return [...files.values()];
}

function ourFiles() {
  const set = fromBinary(FileDescriptorSetSchema, readFileSync(new URL("../../gen/descriptors.binpb", import.meta.url)));
  createFileRegistry(set); // throws if the set does not link
  return set.file;
}

// Maps an element such as "field qdrant.Filter.must" to all of its facts.
function collect(files) {
  const facts = new Map();
  const enumeration = (scope, e) => {
    facts.set(`enum ${scope}.${e.name}`, "");
    for (const v of e.value) facts.set(`value ${scope}.${e.name}.${v.name}`, `number=${v.number}`);
  };
  const message = (scope, m) => {
    const name = `${scope}.${m.name}`;
    facts.set(`${m.options?.mapEntry ? "map" : "message"} ${name}`, "");
    for (const f of m.field) {
      // Without a oneof the index still reads 0: presence tells.
      const oneof = Object.hasOwn(f, "oneofIndex") ? m.oneofDecl[f.oneofIndex].name : "";
      const packed = f.options && Object.hasOwn(f.options, "packed") ? f.options.packed : "default";
      facts.set(
        `field ${name}.${f.name}`,
        `number=${f.number} type=${Type[f.type]} ${f.typeName} label=${Label[f.label]} oneof=${oneof} optional=${f.proto3Optional} packed=${packed}`,
      );
    }
    m.nestedType.forEach((n) => message(name, n));
    m.enumType.forEach((e) => enumeration(name, e));
  };
  for (const file of files.filter((f) => f.package === PACKAGE)) {
    file.messageType.forEach((m) => message(PACKAGE, m));
    file.enumType.forEach((e) => enumeration(PACKAGE, e));
    for (const s of file.service) {
      facts.set(`service ${PACKAGE}.${s.name}`, "");
      for (const r of s.method) {
        facts.set(
          `method ${PACKAGE}.${s.name}.${r.name}`,
          `${r.inputType} -> ${r.outputType} client-stream=${r.clientStreaming} server-stream=${r.serverStreaming}`,
        );
      }
    }
  }
  return facts;
}

function differences(theirs, ours) {
  return [...theirs].filter(([k, v]) => ours.get(k) !== v).map(([k, v]) => `${k}: ours [${ours.get(k) ?? "missing"}], theirs [${v}]`);
}

const theirs = collect(await theirFiles());
const found = differences(theirs, collect(ourFiles()));
found.forEach((line) => console.error(line));
const count = (kind) => [...theirs.keys()].filter((k) => k.startsWith(`${kind} `)).length;
console.log(
  `compared ${count("message")} messages, ${count("field")} fields, ${count("enum")} enums, ${count("value")} values, ${count("method")} methods; differences: ${found.length}`,
);

// The comparison itself: one changed field number must be noticed. And a client that could not be read would agree with everything.
const spoiled = ourFiles();
spoiled.flatMap((f) => f.messageType).find((m) => m.name === "GeoPoint").field[0].number = 7;
const noticed = differences(theirs, collect(spoiled)).length > found.length;
if (!noticed) console.error("a changed field number went unnoticed");
if (found.length > 0 || !noticed || count("method") < 51) process.exitCode = 1;
