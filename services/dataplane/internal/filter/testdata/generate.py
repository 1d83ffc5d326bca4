"""Writes oracle.json: what the in-memory mode of the published Python client
answers for seeded random points and filters. Run with qdrant-client 1.20.0:

    python3 generate.py > oracle.json
"""

import json
import random
import uuid

from qdrant_client import QdrantClient, models

rng = random.Random(20240611)
STRINGS = ["red", "green", "blue", "", "ünï", "5", "Red"]
INTS = [0, 1, 5, -3, 9007199254740991, -9007199254740991]
FLOATS = [0.0, 1.0, 5.0, 2.5, -3.25, 1e300]
KEYS = ["s", "n", "f", "t", "o", "l", "q.k", "z"]
PATHS = ["s", "n", "f", "t", "t[]", "t[0]", "t[1]", "t[][]", "o", "o.s", "o.n", "o.t", "o.o.s", "o.t[]", "l",
         "l[]", "l[].s", "l[].n", "l[0].s", "l[].t", "l[].t[]", "l[].l[].n", "l.s", '"q.k"', "q.k", "z", "z.z", "s.s", "n[0]"]
NESTED = ["l", "l[]", "o.l", "l[].l", "t", "o", "z"]


def scalar():
    kind = rng.randrange(10)
    if kind < 4:
        return rng.choice(STRINGS)
    if kind < 7:
        return rng.choice(INTS)
    if kind < 8:
        return rng.choice(FLOATS)
    return rng.choice([True, False, None])


def value(key, depth):
    if key == "o" and depth < 3 and rng.random() < 0.8:
        return obj(depth + 1)
    if key == "l" and rng.random() < 0.85:
        return [obj(depth + 1) if depth < 3 and rng.random() < 0.9 else scalar() for _ in range(rng.randrange(4))]
    if key == "t" and rng.random() < 0.9:
        return [[scalar() for _ in range(rng.randrange(3))] if rng.random() < 0.15 else scalar() for _ in range(rng.randrange(4))]
    return scalar()


def obj(depth):
    return {k: value(k, depth) for k in KEYS if rng.random() < 0.65}


def match():
    kind = rng.randrange(7)
    if kind < 3:
        return {"value": rng.choice(STRINGS + INTS + [True, False])}
    of = rng.sample(STRINGS, rng.randrange(4)) if rng.random() < 0.5 else rng.sample(INTS, rng.randrange(1, 4))
    return {"any" if kind < 5 else "except": of}


def condition(depth, ids):
    kind = rng.randrange(20)
    key = rng.choice(PATHS)
    if kind < 8:
        return {"key": key, "match": match()}
    if kind < 11:
        bounds = rng.sample(["gt", "gte", "lt", "lte"], rng.randrange(1, 3))
        return {"key": key, "range": {b: rng.choice([0, 1, 5, 2.5, -3, -4.5, 1e200]) for b in bounds}}
    if kind < 13:
        return {"is_empty": {"key": key}}
    if kind < 15:
        return {"is_null": {"key": key}}
    if kind < 16:
        return {"has_id": rng.sample(ids, rng.randrange(0, 30))}
    if kind < 17:
        return {"has_vector": rng.choice(["u", "v", "w"])}
    if depth > 2:
        return {"key": key, "match": match()}
    if kind < 19:
        return {"nested": {"key": rng.choice(NESTED), "filter": tree(depth + 1, ids)}}
    return tree(depth + 1, ids)


def tree(depth, ids):
    f = {}
    for clause, share in (("must", 0.5), ("should", 0.3), ("must_not", 0.25)):
        if rng.random() < share:
            f[clause] = [condition(depth, ids) for _ in range(rng.randrange(0, 3))]
    if rng.random() < 0.15:
        cs = [condition(depth, ids) for _ in range(rng.randrange(1, 4))]
        f["min_should"] = {"conditions": cs, "min_count": rng.randrange(1, 3)}
    return f if f else {"must": [condition(depth, ids)]}


def main():
    ids = list(range(50)) + [str(uuid.UUID(int=rng.getrandbits(128), version=4)) for _ in range(14)]
    client = QdrantClient(":memory:")
    vec = models.VectorParams(size=1, distance=models.Distance.DOT)
    client.create_collection("c", vectors_config={"u": vec, "v": vec, "w": vec})
    points = []
    for i in ids:
        names = [n for n in ("u", "v") if rng.random() < 0.5]
        points.append({"id": i, "vectors": names, "payload": obj(0)})
    client.upsert("c", [models.PointStruct(id=p["id"], vector={n: [1.0] for n in p["vectors"]}, payload=p["payload"]) for p in points])
    cases = []
    while len(cases) < 600:
        f = tree(0, ids)
        found, _ = client.scroll("c", scroll_filter=models.Filter.model_validate(f), limit=1000, with_payload=False)
        if 0 < len(found) < len(ids) or len(cases) % 10 == 0:
            index = {str(i): at for at, i in enumerate(ids)}
            cases.append({"filter": f, "match": sorted(index[str(p.id)] for p in found)})
    lines = [json.dumps(p, ensure_ascii=False) for p in points]
    print('{"points": [\n' + ",\n".join(lines) + '\n],\n"cases": [')
    print(",\n".join(json.dumps(c, ensure_ascii=False) for c in cases) + "\n]}")


main()
