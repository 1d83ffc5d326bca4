"""Writes more.json, of the form of oracle.json: places, numbers of values,
slices, beginnings and parts of texts. Run with qdrant-client 1.20.0:

    python3 generate_more.py > more.json
"""

import json
import random
import uuid

from qdrant_client import QdrantClient, models

rng = random.Random(20240612)
TEXTS = ["", "red", "redder", "Red", "a red car", "ünï"]
PATHS = ["p", "l", "l[]", "l[0]", "o.p", "o.l", "c", "c[].p", "c[].l[]", "t", "z"]


def place():
    # Few decimals, so that borders are hit.
    lon, lat = rng.choice([rng.randrange(-180, 181), rng.randrange(-20, 21), 180, -180, 175.5]), rng.choice([rng.randrange(-90, 91), rng.randrange(-20, 21)])
    return {"lon": lon, "lat": lat}


def value(depth=0):
    kind = rng.randrange(12)
    if kind < 5:
        return place()
    if kind < 6:
        return rng.choice([{"lon": 1}, {"lon": "1", "lat": 2}, {"lat": True, "lon": 1}, {}, None, 5, False])
    if kind < 9:
        return rng.choice(TEXTS)
    return [value(depth + 1) for _ in range(rng.randrange(4))] if depth < 2 else None


def payload():
    out = {}
    for key in ("p", "l", "t"):
        if rng.random() < 0.8:
            out[key] = value()
    if rng.random() < 0.8:
        out["o"] = {"p": place(), "l": [value(1) for _ in range(rng.randrange(4))]}
    if rng.random() < 0.8:
        out["c"] = [{"p": place(), "l": value()} if rng.random() < 0.9 else value() for _ in range(rng.randrange(4))]
    return out


def ring():
    n = rng.randrange(3, 7)
    points = [place() if rng.random() < 0.3 else {"lon": rng.randrange(-60, 61, 5), "lat": rng.randrange(-60, 61, 5)} for _ in range(n)]
    return {"points": points + points[:1]}


def condition():
    key, kind = rng.choice(PATHS), rng.randrange(8)
    if kind < 2:
        a, b = place(), place()
        if rng.random() < 0.9 and a["lat"] < b["lat"]:
            a["lat"], b["lat"] = b["lat"], a["lat"]
        return {"key": key, "geo_bounding_box": {"top_left": a, "bottom_right": b}}
    if kind < 3:
        return {"key": key, "geo_radius": {"center": place(), "radius": rng.choice([0.0, 1000.0, 1e6, 5e6, 1.5e7, 2.1e7])}}
    if kind < 5:
        return {"key": key, "geo_polygon": {"exterior": ring(), "interiors": [ring() for _ in range(rng.randrange(3))]}}
    if kind < 6:
        return {"key": key, "values_count": {b: rng.randrange(4) for b in rng.sample(["gt", "gte", "lt", "lte"], rng.randrange(1, 3))}}
    if kind < 7:
        return {"key": key, "match": {rng.choice(["prefix", "substring"]): rng.choice(TEXTS + ["e", "re"])}}
    total = rng.randrange(1, 5)
    return {"slice": {"total": total, "index": rng.randrange(total)}}


def tree():
    kind = rng.randrange(6)
    if kind < 3:
        return {"must": [condition()]}
    if kind < 4:
        return {"must_not": [condition()]}
    if kind < 5:
        return {"must": [{"nested": {"key": rng.choice(["c", "c[]", "l", "o.l"]), "filter": {"must": [{**condition(), "key": rng.choice(["p", "l", "l[]"])}]}}}]}
    return {"should": [condition(), condition()], "must_not": [condition()]}


def main():
    ids = list(range(40)) + [str(uuid.UUID(int=rng.getrandbits(128), version=4)) for _ in range(24)]
    client = QdrantClient(":memory:")
    client.create_collection("c", vectors_config={"u": models.VectorParams(size=1, distance=models.Distance.DOT)})
    points = [{"id": i, "vectors": ["u"], "payload": payload()} for i in ids]
    client.upsert("c", [models.PointStruct(id=p["id"], vector={"u": [1.0]}, payload=p["payload"]) for p in points])
    cases = []
    while len(cases) < 600:
        f = tree()
        if "slice" in json.dumps(f) and "nested" in json.dumps(f):
            continue
        found, _ = client.scroll("c", scroll_filter=models.Filter.model_validate(f), limit=1000, with_payload=False)
        if 0 < len(found) < len(ids) or len(cases) % 10 == 0:
            index = {str(i): at for at, i in enumerate(ids)}
            cases.append({"filter": f, "match": sorted(index[str(p.id)] for p in found)})
    lines = [json.dumps(p, ensure_ascii=False) for p in points]
    print('{"points": [\n' + ",\n".join(lines) + '\n],\n"cases": [')
    print(",\n".join(json.dumps(c, ensure_ascii=False) for c in cases) + "\n]}")


main()
