"""Checks a running peer with the published Python client and compares every answer with one computed here.

    python conformance.py [--host 127.0.0.1] [--rest-port 6333] [--grpc-port 6334] [--over rest|grpc|memory] [--async] [-v]
                          [cluster | cluster-down | cluster-back]

`--over memory` runs the same checks against the client's own in-memory engine: a test of this program, not of a peer.
The defaults come from PANDO_HOST, PANDO_REST_PORT and PANDO_GRPC_PORT; a cluster is named by PANDO_PEERS. The last line is
`N passed, M failed`.
"""

import argparse
import asyncio
import math
import os
import sys
import traceback

import grpc
import httpx
from calls import Calls, Counted
from cluster import Cluster, addresses, within
from contract import Contract
from kinds import Kinds
from other_kinds import OtherKinds
from queries import Queries
from qdrant_client import AsyncQdrantClient, QdrantClient
from qdrant_client import grpc as wire
from qdrant_client import models as m
from qdrant_client.http.exceptions import UnexpectedResponse
from truth import ABSENT, COUNT, DIM, SHARDS, Points, filled, metres, order, payload, point_id, same, unit, vector


class Suite(Cluster, Kinds, OtherKinds, Queries, Calls):
    """Each part talks to the next peer; one that breaks off is one failed check."""

    def __init__(self, args):
        self.verbose, self.over, self.mode = args.verbose, args.over, args.mode
        self.passed = self.failed = self.turn = 0
        self.factor = int(os.environ.get("PANDO_FACTOR", "2")) if args.mode else None
        self.kind, self.runner = AsyncQdrantClient if args.asynchronous else QdrantClient, asyncio.Runner()
        self.peers = [self.connect(args, *peer) for peer in addresses(args)]
        self.client, self.http = self.peers[0]
        self.contract = None
        if args.over == "rest":
            self.contract = Contract(self.http.get("/openapi.json").json())
            self.contract.watch({http.base_url.netloc.decode() for _, http in self.peers})
        self.name = f"conformance_py_{args.over}"
        self.truth = Points(m.Distance.COSINE)

    def connect(self, args, host, rest_port, grpc_port):
        key = args.api_key or None
        http = httpx.Client(base_url=f"http://{host}:{rest_port}", timeout=60, headers={"api-key": key} if key else {})
        if args.over == "memory":
            return Counted(self.kind, self.runner, ":memory:"), http
        over_grpc = args.over == "grpc"
        self.where = {"host": host, "port": rest_port, "grpc_port": grpc_port, "https": False, "api_key": key, "prefer_grpc": over_grpc, "timeout": 60}
        return Counted(self.kind, self.runner, **self.where), http

    # -- bookkeeping

    def check(self, what, got, want):
        self.ok(what, same(got, want), f"got {short(got)}, want {short(want)}")

    def ok(self, what, good, detail=""):
        if good:
            self.passed += 1
        else:
            self.failed += 1
        if self.verbose or not good:
            print(f"{'ok  ' if good else 'FAIL'} {self.over}: {what}" + ("" if good else f": {detail}"), flush=True)

    def part(self, what, f):
        self.client, self.http = self.peers[self.turn % len(self.peers)]
        self.turn += 1
        try:
            f()
        except Exception as e:  # a part that breaks off is one failure; the next ones still run
            where = traceback.extract_tb(e.__traceback__)
            ours = os.path.dirname(os.path.abspath(__file__))
            at = next((f"{os.path.basename(t.filename)}:{t.lineno}" for t in reversed(where) if os.path.dirname(t.filename) == ours), "")
            self.ok(what, False, f"{at}: {type(e).__name__}: {str(e)[:500]}")

    def refused(self, what, rest, code, f):
        """f must fail with this HTTP status, over gRPC with this code."""
        try:
            got = f()
        except UnexpectedResponse as e:
            self.ok(what, e.status_code == rest, f"status {e.status_code}, want {rest}: {e.content[:200]}")
        except grpc.RpcError as e:
            self.ok(what, e.code() == code, f"{e.code()}, want {code}: {e.details()[:200]}")
        except Exception as e:
            self.ok(what, self.over == "memory", f"{type(e).__name__}: {e}")
        else:
            self.ok(what, False, f"accepted: {short(got)}")

    def hits(self, what, got, want, vectors=None):
        """Ranked answers: scores as computed, in order; ties may come in any order."""
        scores = {i: s for s, i in want}
        bad = [f"{h.id}: score {h.score}, computed {scores.get(h.id)}" for h in got if not same(float(h.score), scores.get(h.id, math.nan))]
        bad += [f"place {k}: {h.score}, want {s}" for k, (h, (s, _)) in enumerate(zip(got, want)) if not same(float(h.score), s)]
        if len({h.id for h in got}) != len(got):
            bad.append("an id comes twice")
        self.ok(what, not bad, "; ".join(bad[:3]))

    # -- parts

    def run(self):
        if self.mode == "cluster":
            self.sample()
        elif self.mode:
            self.sample_again()
        if self.mode in (None, "cluster"):
            self.checks()
        if self.contract:
            self.ok(f"{self.contract.checked} answers as the OpenAPI document says", self.contract.checked and not self.contract.wrong, "; ".join(self.contract.wrong[:5]))
        print(f"{self.passed} passed, {self.failed} failed")
        return self.failed == 0 and self.passed > 0

    def checks(self):
        self.part("service", self.service)
        nobody_answers = self.failed > 0 and self.passed == 0
        parts = [self.create, self.upsert, self.get, self.query, self.queries, self.filters, self.indexes, self.texts, self.old_search, self.scroll, self.count, self.payloads, self.delete,
                 self.batch, self.knobs, self.named, self.params, self.datatypes, self.sparse, self.multi, self.settings, self.aliases, self.keys, self.info, self.errors, self.drop, self.other_calls, self.covered]
        for f in [] if nobody_answers else parts:
            self.part(f.__name__, f)

    def service(self):
        if self.over == "memory":
            return
        info = self.client.info()
        self.check("the version of the API", info.version.split(".")[:2], ["1", "19"])
        self.check("a commit of 40 characters", len(info.commit or ""), 40)
        for path in ("/healthz", "/livez", "/readyz"):
            self.check(path, self.http.get(path).status_code, 200)
        metrics = self.http.get("/metrics")
        self.check("/metrics", (metrics.status_code, "# TYPE" in metrics.text), (200, True))

    def make(self):
        """The collection, anew."""
        for name in (self.name, self.name + "_named"):
            if self.client.collection_exists(name):
                self.client.delete_collection(name)
        self.check("exists before it is created", self.client.collection_exists(self.name), False)
        made = self.client.create_collection(self.name, vectors_config=m.VectorParams(size=DIM, distance=m.Distance.COSINE),
                                             shard_number=SHARDS, replication_factor=self.factor)
        self.check("create", made, True)
        for client, _ in self.peers:  # the others hear of it a little later
            self.ok("the collection is seen by every peer", within(10, lambda: client.collection_exists(self.name)))

    def create(self):
        self.make()
        self.ok("list", self.name in [c.name for c in self.client.get_collections().collections])

    def upsert(self):
        self.truth = filled()
        rows = [m.PointStruct(id=point_id(i), vector=vector(i), payload=payload(i)) for i in range(COUNT)]
        half = COUNT // 2
        for start in range(0, half, 100):
            done = self.client.upsert(self.name, points=rows[start:start + 100], wait=True)
            self.check(f"upsert a list from {start}", done.status, m.UpdateStatus.COMPLETED)
        ids = [point_id(i) for i in range(half, COUNT)]
        columns = m.Batch(ids=ids, vectors=[self.truth.vectors[i] for i in ids], payloads=[self.truth.payloads[i] for i in ids])
        self.check("upsert in columns", self.client.upsert(self.name, points=columns, wait=True).status, m.UpdateStatus.COMPLETED)
        self.check("count", self.client.count(self.name, exact=True).count, COUNT)
        again = self.client.upsert(self.name, points=rows[:20], wait=True)
        self.check("upsert again", again.status, m.UpdateStatus.COMPLETED)
        self.check("count after upserting again", self.client.count(self.name, exact=True).count, COUNT)
        twice = [m.PointStruct(id=7, vector=vector(1), payload={"n": -1}), rows[7]]
        self.client.upsert(self.name, points=twice, wait=True)
        self.same_points("of equal ids in one request the last counts", [7])
        if self.over != "memory":
            late = self.client.upsert(self.name, points=rows[:5], wait=False)
            self.ok("upsert without waiting", late.status in (m.UpdateStatus.ACKNOWLEDGED, m.UpdateStatus.COMPLETED), late.status)

    def same_points(self, what, ids, name=None):
        got = self.client.retrieve(name or self.name, ids=ids, with_payload=True, with_vectors=True)
        self.check(f"{what}: ids", order(r.id for r in got), order(ids))
        self.check(f"{what}: payloads", {r.id: r.payload for r in got}, {i: self.truth.payloads[i] for i in ids})
        self.check(f"{what}: vectors", {r.id: list(map(float, r.vector)) for r in got}, {i: unit(self.truth.vectors[i]).tolist() for i in ids})

    def get(self):
        for start in range(0, COUNT, 200):
            self.same_points(f"get from {start}", [point_id(i) for i in range(start, start + 200)])
        self.check("get of an absent id", self.client.retrieve(self.name, ids=[10**9]), [])
        some = self.client.retrieve(self.name, ids=[3, 10**9, point_id(9)])
        self.check("get leaves absent ids out", order(r.id for r in some), [3, point_id(9)])
        self.check("vectors are not sent unasked", [r.vector for r in some], [None, None])
        bare = self.client.retrieve(self.name, ids=[3], with_payload=False)[0]
        self.ok("get without payload", not bare.payload, bare.payload)
        part = self.client.retrieve(self.name, ids=[3], with_payload=["color", "nested.deep"])[0]
        self.check("get with some keys", part.payload, {"color": "red", "nested": {"deep": 3}})
        rest = self.client.retrieve(self.name, ids=[3], with_payload=m.PayloadSelectorExclude(exclude=["nested", "tags", "maybe", "place"]))[0]
        self.check("get without some keys", rest.payload, {"n": 3, "color": "red", "price": 0.75, "flag": False})
        if self.over == "rest":
            one = self.http.get(f"/collections/{self.name}/points/3").json()
            self.check("GET of one point", (one["status"], one["result"]["id"], one["result"]["payload"]), ("ok", 3, payload(3)))
            self.check("GET of a point by UUID", self.http.get(f"/collections/{self.name}/points/{point_id(9)}").json()["result"]["id"], point_id(9))
            self.check("GET of an absent point", self.http.get(f"/collections/{self.name}/points/{10**9}").status_code, 404)

    def query(self):
        q, truth = vector(10_001), self.truth
        want = truth.nearest(q)
        ask = self.client.query_points
        top = ask(self.name, query=q, limit=10).points
        self.hits("query by vector", top, want)
        self.check("query: as many as asked for", len(top), 10)
        self.check("query: payload unless refused", [h.payload for h in top], [truth.payloads[h.id] for h in top])
        self.check("query: no vectors unasked", [h.vector for h in top], [None] * 10)
        full = ask(self.name, query=q, limit=5, with_vectors=True, with_payload=False).points
        self.check("query with vectors", [list(map(float, h.vector)) for h in full], [unit(truth.vectors[h.id]).tolist() for h in full])
        self.ok("query without payload", not any(h.payload for h in full))
        every = ask(self.name, query=q, limit=COUNT * 2).points
        self.hits("query for all", every, want)
        self.check("query for all: all of them", len(every), COUNT)
        for i in (point_id(5), point_id(19)):
            near = ask(self.name, query=i, limit=8).points
            self.hits(f"query by id {i}", near, truth.nearest(truth.vectors[i], lambda j, _: j != i))
            self.check(f"query by id {i}: count", len(near), 8)
        self.hits("query with offset", ask(self.name, query=q, limit=7, offset=13).points, want[13:])
        self.check("query with offset past the end", ask(self.name, query=q, limit=7, offset=COUNT).points, [])
        cut = (want[24][0] + want[25][0]) / 2
        above = ask(self.name, query=q, limit=100, score_threshold=cut).points
        self.hits("query with threshold", above, want[:25])
        self.check("query with threshold: count", len(above), 25)
        requests = [m.QueryRequest(query=vector(20_000 + k), limit=3 + k, with_payload=k % 2 == 0) for k in range(5)]
        many = self.client.query_batch_points(self.name, requests=requests)
        self.check("batch: an answer each", [len(r.points) for r in many], [3, 4, 5, 6, 7])
        for k, r in enumerate(many):
            self.hits(f"batch {k}", r.points, truth.nearest(vector(20_000 + k)))
            self.check(f"batch {k}: payload", [bool(h.payload) for h in r.points], [k % 2 == 0] * (3 + k))
        if self.over != "memory":
            plain = ask(self.name, limit=6).points
            self.check("query for nothing: by id", [h.id for h in plain], order(truth.vectors)[:6])

    def cases(self):
        key, val, rng = m.FieldCondition, lambda v: m.MatchValue(value=v), m.Range
        red, flag = key(key="color", match=val("red")), key(key="flag", match=val(True))
        low, ids = key(key="n", range=rng(lt=100)), [3, 4, point_id(9), point_id(19), 10**9]
        deep = m.Filter(should=[key(key="nested.deep", match=val(3)), key(key="nested.deep", match=val(4))])
        has = lambda p, k: p.get(k, ABSENT)
        spot, box = m.GeoPoint(lon=13.4, lat=52.5), m.GeoBoundingBox(top_left=m.GeoPoint(lon=150, lat=40), bottom_right=m.GeoPoint(lon=-160, lat=-30.5))
        ring = lambda west, south, east, north: m.GeoLineString(points=[m.GeoPoint(lon=x, lat=y) for x, y in (
            (west, south), (east, south), (east, north), (west, north), (west, south))])
        within = lambda p, west, south, east, north: west < p["place"]["lon"] < east and south < p["place"]["lat"] < north
        return [
            ("match keyword", m.Filter(must=[red]), lambda i, p: p["color"] == "red"),
            ("match integer", m.Filter(must=[key(key="n", match=val(42))]), lambda i, p: p["n"] == 42),
            ("match bool", m.Filter(must=[flag]), lambda i, p: p["flag"]),
            ("match in a list", m.Filter(must=[key(key="tags", match=val("s3"))]), lambda i, p: "s3" in p["tags"]),
            ("match any", m.Filter(must=[key(key="color", match=m.MatchAny(any=["red", "blue"]))]), lambda i, p: p["color"] != "green"),
            ("match any integer", m.Filter(must=[key(key="n", match=m.MatchAny(any=[1, 2, 99]))]), lambda i, p: p["n"] in (1, 2, 99)),
            ("match except", m.Filter(must=[key(key="color", match=m.MatchExcept(**{"except": ["red"]}))]), lambda i, p: p["color"] != "red"),
            ("match a value of another kind", m.Filter(must=[key(key="n", match=val("42"))]), lambda i, p: False),
            ("match prefix", m.Filter(must=[key(key="color", match=m.MatchPrefix(prefix="gr"))]), lambda i, p: p["color"] == "green"),
            ("values_count", m.Filter(must=[key(key="maybe", values_count=m.ValuesCount(lt=1))]), lambda i, p: has(p, "maybe") in (ABSENT, None, [])),
            ("values_count of a list", m.Filter(must_not=[key(key="tags", values_count=m.ValuesCount(gte=2, lt=3))]), lambda i, p: False),
            ("geo radius", m.Filter(must=[key(key="place", geo_radius=m.GeoRadius(center=spot, radius=3e6))]), lambda i, p: metres(p["place"], spot.model_dump()) < 3e6),
            ("geo box over the antimeridian", m.Filter(must=[key(key="place", geo_bounding_box=box)]),
             lambda i, p: (p["place"]["lon"] > 150 or p["place"]["lon"] < -160) and -30.5 < p["place"]["lat"] < 40),
            ("geo polygon with a hole", m.Filter(must=[key(key="place", geo_polygon=m.GeoPolygon(exterior=ring(-100.5, -60.5, 90.5, 70.5), interiors=[ring(-20.5, -10.5, 30.5, 40.5)]))]),
             lambda i, p: within(p, -100.5, -60.5, 90.5, 70.5) and not within(p, -20.5, -10.5, 30.5, 40.5)),
            ("range lt", m.Filter(must=[low]), lambda i, p: p["n"] < 100),
            ("range gte lte", m.Filter(must=[key(key="price", range=rng(gte=10.25, lte=20.5))]), lambda i, p: 10.25 <= p["price"] <= 20.5),
            ("range gt lt", m.Filter(must=[key(key="price", range=rng(gt=10.25, lt=20.5))]), lambda i, p: 10.25 < p["price"] < 20.5),
            ("range of a text", m.Filter(must=[key(key="color", range=rng(gt=0))]), lambda i, p: False),
            ("has_id", m.Filter(must=[m.HasIdCondition(has_id=ids)]), lambda i, p: i in ids),
            ("must_not has_id", m.Filter(must_not=[m.HasIdCondition(has_id=ids)]), lambda i, p: i not in ids),
            ("is_empty", m.Filter(must=[m.IsEmptyCondition(is_empty=m.PayloadField(key="maybe"))]), lambda i, p: has(p, "maybe") in (ABSENT, None, [])),
            ("is_null", m.Filter(must=[m.IsNullCondition(is_null=m.PayloadField(key="maybe"))]), lambda i, p: has(p, "maybe") is None),
            ("not is_empty", m.Filter(must_not=[m.IsEmptyCondition(is_empty=m.PayloadField(key="maybe"))]), lambda i, p: has(p, "maybe") == "x"),
            ("must and must", m.Filter(must=[red, flag, low]), lambda i, p: p["color"] == "red" and p["flag"] and p["n"] < 100),
            ("should", m.Filter(should=[red, flag]), lambda i, p: p["color"] == "red" or p["flag"]),
            ("must_not", m.Filter(must_not=[red, flag]), lambda i, p: p["color"] != "red" and not p["flag"]),
            ("must, should and must_not", m.Filter(must=[low], should=[red, flag], must_not=[key(key="n", range=rng(gte=50))]),
             lambda i, p: p["n"] < 50 and (p["color"] == "red" or p["flag"])),
            ("min_should", m.Filter(min_should=m.MinShould(conditions=[red, flag, low], min_count=2)),
             lambda i, p: (p["color"] == "red") + p["flag"] + (p["n"] < 100) >= 2),
            ("nested key", m.Filter(must=[key(key="nested.deep", match=val(5))]), lambda i, p: p["nested"]["deep"] == 5),
            ("key into a list", m.Filter(must=[key(key="nested.list[].a", match=val(2))]), lambda i, p: any(e["a"] == 2 for e in p["nested"]["list"])),
            ("filter in a filter", m.Filter(must=[deep, flag]), lambda i, p: p["nested"]["deep"] in (3, 4) and p["flag"]),
            ("filter in a filter in a filter", m.Filter(must_not=[m.Filter(must=[m.Filter(must_not=[deep]), flag])]),
             lambda i, p: not (p["nested"]["deep"] not in (3, 4) and p["flag"])),
            ("nested objects", m.Filter(must=[m.NestedCondition(nested=m.Nested(key="nested.list", filter=m.Filter(
                must=[key(key="a", match=val(2)), key(key="b", match=val(7))])))]),
             lambda i, p: any(e["a"] == 2 and e["b"] == 7 for e in p["nested"]["list"])),
            ("unknown key", m.Filter(must=[key(key="no.such.key", match=val(1))]), lambda i, p: False),
            ("empty filter", m.Filter(), lambda i, p: True),
        ]

    def filters(self, after=""):
        q = vector(10_002)
        for name, given, keep in self.cases():
            what = name + after

            def one(what=what, given=given, keep=keep):
                want = self.truth.nearest(q, keep)
                got = self.client.query_points(self.name, query=q, query_filter=given, limit=COUNT).points
                self.check(f"filter {what}: which", order(h.id for h in got), order(i for _, i in want))
                self.hits(f"filter {what}: rank", got, want)
                self.check(f"filter {what}: count", self.client.count(self.name, count_filter=given, exact=True).count, len(want))
                page, _ = self.client.scroll(self.name, scroll_filter=given, limit=COUNT)
                self.check(f"filter {what}: scroll", [r.id for r in page], order(i for _, i in want))
            self.part(f"filter {what}", one)

    def indexes(self):
        """The same questions over indexed fields, and the same answers."""
        if self.over == "memory":
            return
        c, t = self.client, m.PayloadSchemaType
        fields = {
            "color": m.KeywordIndexParams(type=m.KeywordIndexType.KEYWORD, is_tenant=True, on_disk=True), "n": t.INTEGER, "price": t.FLOAT, "flag": t.BOOL,
            "tags": t.KEYWORD, "maybe": t.KEYWORD, "nested.list[].a": t.INTEGER, "when": t.DATETIME, "ref": t.UUID, "place": t.GEO,
            "nested.deep": m.IntegerIndexParams(type=m.IntegerIndexType.INTEGER, lookup=True, range=False),
        }
        for field, schema in fields.items():
            done = c.create_payload_index(self.name, field_name=field, field_schema=schema, wait=True)
            self.check(f"index {field}", done.status, m.UpdateStatus.COMPLETED)
        self.filters(", indexed")
        got = c.get_collection(self.name).payload_schema
        kinds = {f: s if isinstance(s, t) else t(s.type.value) for f, s in fields.items()}
        self.check("payload_schema: types", {f: i.data_type for f, i in got.items()}, kinds)
        some = {"when": 0, "ref": 0, "maybe": sum(p.get("maybe") == "x" for p in self.truth.payloads.values())}
        self.check("payload_schema: points", {f: i.points for f, i in got.items()}, {f: some.get(f, COUNT) for f in fields})
        color, deep = got["color"].params, got["nested.deep"].params
        self.check("payload_schema: params", (color.is_tenant, color.on_disk, deep.lookup, deep.range), (True, True, True, False))
        self.values(c)
        at = m.Filter(must=[m.FieldCondition(key="when", range=m.DatetimeRange(gte="2024-05-06T07:08:09Z", lt="2024-05-07"))])
        c.set_payload(self.name, payload={"when": "2024-05-06 07:08:09"}, points=[3], wait=True)
        c.set_payload(self.name, payload={"when": ["x", "2024-05-07T01:59:59+02:00"]}, points=[4], wait=True)
        c.set_payload(self.name, payload={"when": "2024-05-07"}, points=[5], wait=True)
        self.check("filter datetime", [r.id for r in c.scroll(self.name, scroll_filter=at)[0]], [3, 4])
        c.delete_payload_index(self.name, field_name="when", wait=True)
        self.check("filter datetime without its index", [r.id for r in c.scroll(self.name, scroll_filter=at)[0]], [3, 4])
        c.delete_payload(self.name, keys=["when"], points=[3, 4, 5], wait=True)
        done = c.delete_payload_index(self.name, field_name="when", wait=True)
        self.check("drop an index that is not there", done.status, m.UpdateStatus.COMPLETED)
        self.ok("payload_schema after dropping", "when" not in c.get_collection(self.name).payload_schema)
        add = lambda field, schema, name=self.name: lambda: c.create_payload_index(name, field_name=field, field_schema=schema)
        self.refused("index on a bad path", 400, grpc.StatusCode.INVALID_ARGUMENT, add("a..b", t.KEYWORD))
        self.refused("index for nothing", 422, grpc.StatusCode.INVALID_ARGUMENT,
                     add("n", m.IntegerIndexParams(type=m.IntegerIndexType.INTEGER, lookup=False, range=False)))
        self.refused("index in an unknown collection", 404, grpc.StatusCode.NOT_FOUND, add("n", t.INTEGER, "no_such"))

    def texts(self):
        """An index on text is the one that changes what a condition means: its tokenizer cuts what is looked for too."""
        if self.over == "memory":
            return
        c, key, points = self.client, "note", [3, 4, 5]
        for i, note in zip(points, ("Running with the Café owner", "a cafe, run down", ["parse fast", "fast parsers run"])):
            c.set_payload(self.name, payload={key: note}, points=[i], wait=True)

        def found(match):
            return [r.id for r in c.scroll(self.name, scroll_filter=m.Filter(must=[m.FieldCondition(key=key, match=match)]))[0]]
        asks = (  # without an index, with it
            ("text", m.MatchText(text="un"), [3, 4, 5], []), ("text: words", m.MatchText(text="run CAFE"), [], [3, 4]),
            ("text: a stop word", m.MatchText(text="the"), [3], []), ("text: over a list", m.MatchText(text="parse run"), [], [5]),
            ("text_any", m.MatchTextAny(text_any="Caf xyz"), [3], []), ("text_any: words", m.MatchTextAny(text_any="owners parsing"), [], [5]),
            ("phrase", m.MatchPhrase(phrase="the Café"), [3], [3, 4]), ("phrase: words", m.MatchPhrase(phrase="parser running"), [], [5]),
            ("phrase: over a list", m.MatchPhrase(phrase="fast fast"), [], []), ("phrase: another order", m.MatchPhrase(phrase="run parsers"), [], []),
        )
        for what, match, plain, _ in asks:
            self.check(f"{what}, without an index", found(match), plain)
        schema = m.TextIndexParams(type=m.TextIndexType.TEXT, tokenizer=m.TokenizerType.WORD, lowercase=True, ascii_folding=True, phrase_matching=True, min_token_len=2,
                                   max_token_len=20, stopwords=m.StopwordsSet(languages=[m.Language.ENGLISH], custom=["owner"]),
                                   stemmer=m.SnowballParams(type=m.Snowball.SNOWBALL, language=m.SnowballLanguage.ENGLISH))
        done = c.create_payload_index(self.name, field_name=key, field_schema=schema, wait=True)
        self.check("index on text", done.status, m.UpdateStatus.COMPLETED)
        for what, match, _, words in asks:
            self.check(f"{what}, with an index", found(match), words)
        kept = c.get_collection(self.name).payload_schema[key]
        self.check("payload_schema of text", (kept.data_type, kept.points, kept.params.min_token_len, kept.params.stemmer.language, kept.params.stopwords.custom),
                   (m.PayloadSchemaType.TEXT, 3, 2, m.SnowballLanguage.ENGLISH, ["owner"]))
        self.refused("index on text with lengths of no word", 422, grpc.StatusCode.INVALID_ARGUMENT, lambda: c.create_payload_index(
            self.name, field_name=key, field_schema=m.TextIndexParams(type=m.TextIndexType.TEXT, min_token_len=9, max_token_len=2)))
        c.delete_payload_index(self.name, field_name=key, wait=True)
        self.check("text without its index", found(asks[0][1]), asks[0][2])
        c.delete_payload(self.name, keys=[key], points=points, wait=True)

    def values(self, c):
        """What the indexes know of values: how many points have each, and their order."""
        red = m.Filter(must=[m.FieldCondition(key="color", match=m.MatchValue(value="red"))])
        rows = self.truth.payloads
        for key, given, get in (("color", None, lambda p: p["color"]), ("flag", red, lambda p: p["flag"]), ("nested.deep", red, lambda p: p["nested"]["deep"])):
            counts = {}
            for p in rows.values():
                if given is None or p["color"] == "red":
                    counts[get(p)] = counts.get(get(p), 0) + 1
            want = sorted(((v, k) for v, k in counts.items()), key=lambda h: (-h[1], h[0]))
            got = [(h.value, h.count) for h in c.facet(self.name, key=key, facet_filter=given, limit=5, exact=True).hits]
            self.check(f"facet of {key}", got, want[:5])
        self.refused("facet of a float", 400, grpc.StatusCode.INVALID_ARGUMENT, lambda: c.facet(self.name, key="price"))
        for what, order, want in (
            ("up", "n", sorted((p["n"], i) for i, p in rows.items())),
            ("down from a value", m.OrderBy(key="n", direction=m.Direction.DESC, start_from=50), sorted(((p["n"], i) for i, p in rows.items() if p["n"] <= 50), reverse=True)),
            ("up by a float", m.OrderBy(key="price", start_from=10.25), sorted((p["price"], i) for i, p in rows.items() if p["price"] >= 10.25)),
        ):
            page, after = c.scroll(self.name, order_by=order, limit=21)
            self.check(f"scroll by a field, {what}", ([(r.order_value, r.id) for r in page], after), (want[:21], None))
        self.refused("scroll by a field without ranges", 400, grpc.StatusCode.INVALID_ARGUMENT, lambda: c.scroll(self.name, order_by="nested.deep"))

    def old_search(self):
        q = vector(10_003)
        want = self.truth.nearest(q, lambda i, p: p["n"] >= 300)
        if self.over == "rest":
            body = {"vector": q, "limit": 9, "offset": 2, "with_payload": True, "filter": {"must": {"key": "n", "range": {"gte": 300}}}}
            got = [m.ScoredPoint(**h) for h in self.http.post(f"/collections/{self.name}/points/search", json=body).json()["result"]]
            batch = self.http.post(f"/collections/{self.name}/points/search/batch", json={"searches": [body, dict(body, limit=2)]}).json()["result"]
            sizes = [len(b) for b in batch]
        elif self.over == "grpc":
            ge = wire.Filter(must=[wire.Condition(field=wire.FieldCondition(key="n", range=wire.Range(gte=300)))])
            body = dict(collection_name=self.name, vector=q, offset=2, filter=ge, with_payload=wire.WithPayloadSelector(enable=True))
            hits = self.client.grpc_points.Search(wire.SearchPoints(limit=9, **body)).result
            got = [m.ScoredPoint(id=h.id.uuid or h.id.num, version=h.version, score=h.score, payload={k: None for k in h.payload}) for h in hits]
            searches = [wire.SearchPoints(limit=9, **body), wire.SearchPoints(limit=2, **body)]
            reply = self.client.grpc_points.SearchBatch(wire.SearchBatchPoints(collection_name=self.name, search_points=searches))
            sizes = [len(b.result) for b in reply.result]
        else:
            return
        self.hits("search", got, want[2:])
        self.check("search: count", len(got), 9)
        self.check("search: payload", [sorted(h.payload) for h in got], [sorted(self.truth.payloads[h.id]) for h in got])
        self.check("search in a batch", sizes, [9, 2])

    def scroll(self):
        for what, given, keep in (("all", None, lambda p: True),
                                  ("filtered", m.Filter(must=[m.FieldCondition(key="flag", match=m.MatchValue(value=False))]), lambda p: not p["flag"])):
            seen, offset, pages = [], None, 0
            while pages == 0 or offset is not None:
                page, offset = self.client.scroll(self.name, scroll_filter=given, limit=37, offset=offset, with_payload=True, with_vectors=False)
                seen, pages = seen + page, pages + 1
                if pages > COUNT:
                    break
            want = order(i for i, p in self.truth.payloads.items() if keep(p))
            self.check(f"scroll {what}: every id once, in order", [r.id for r in seen], want)
            self.check(f"scroll {what}: pages", pages, math.ceil(len(want) / 37))
            self.check(f"scroll {what}: payloads", [r.payload for r in seen], [self.truth.payloads[i] for i in want])
        page, after = self.client.scroll(self.name)
        self.check("scroll: ten by default", ([r.id for r in page], after), (order(self.truth.payloads)[:10], order(self.truth.payloads)[10]))

    def count(self):
        self.check("count all", self.client.count(self.name).count, COUNT)
        green = m.Filter(must=[m.FieldCondition(key="color", match=m.MatchValue(value="green"))])
        near = self.client.count(self.name, count_filter=green, exact=False).count
        self.ok("count about", 0 <= near <= COUNT, near)
        self.check("count exactly", self.client.count(self.name, count_filter=green, exact=True).count, COUNT // 3)

    def payloads(self):
        c, t = self.client, self.truth.payloads
        c.set_payload(self.name, payload={"extra": [1, 2.5, None], "n": 1000}, points=[20], wait=True)
        t[20] = dict(t[20], extra=[1, 2.5, None], n=1000)
        self.same_points("set payload", [20])
        c.set_payload(self.name, payload={"extra": "z"}, points=m.Filter(must=[m.FieldCondition(key="n", range=m.Range(gte=21, lt=24))]), wait=True)
        for i in (21, 22, 23):
            t[i] = dict(t[i], extra="z")
        self.same_points("set payload by filter", [20, 21, 22, 23, 24])
        c.set_payload(self.name, payload={"new": {"x": 1}}, key="nested", points=[24], wait=True)
        t[24] = dict(t[24], nested=dict(t[24]["nested"], new={"x": 1}))
        self.same_points("set payload under a key", [24])
        c.overwrite_payload(self.name, payload={"only": {"this": True}}, points=[25], wait=True)
        t[25] = {"only": {"this": True}}
        self.same_points("overwrite payload", [25])
        c.delete_payload(self.name, keys=["color", "nested.deep", "no_such"], points=[26, 27], wait=True)
        for i in (26, 27):
            t[i] = {k: v for k, v in t[i].items() if k != "color"}
            t[i]["nested"] = {k: v for k, v in t[i]["nested"].items() if k != "deep"}
        self.same_points("delete keys", [26, 27, 28])
        c.clear_payload(self.name, points_selector=[28, point_id(29)], wait=True)
        t[28], t[point_id(29)] = {}, {}
        self.same_points("clear payload", [28, point_id(29), 30])
        odd = {"text": "Grüße, 日本語 🙂 \" \\ \n", "big": 2**62, "small": -(2**62), "float": 1.5, "whole": 2.0, "none": None, "empty": {}, "list": [[], [1, "a", None]]}
        c.upsert(self.name, points=[m.PointStruct(id=30, vector=vector(30), payload=odd)], wait=True)
        t[30] = odd
        self.same_points("payload of every kind", [30])

    def delete(self):
        c = self.client
        c.delete(self.name, points_selector=[31, point_id(39)], wait=True)
        c.delete(self.name, points_selector=m.PointIdsList(points=[10**9]), wait=True)
        by = m.Filter(must=[m.FieldCondition(key="n", range=m.Range(gte=40, lt=50))])
        c.delete(self.name, points_selector=m.FilterSelector(filter=by), wait=True)
        gone = [31, point_id(39)] + [point_id(i) for i in range(40, 50)]
        for i in gone:
            del self.truth.vectors[i], self.truth.payloads[i]
        self.check("deleted ones are absent", c.retrieve(self.name, ids=gone), [])
        self.check("count after delete", c.count(self.name, exact=True).count, COUNT - 12)
        q = vector(10_004)
        got = c.query_points(self.name, query=q, limit=COUNT).points
        self.check("query after delete", len(got), COUNT - 12)
        self.hits("query after delete: rank", got, self.truth.nearest(q))
        c.upsert(self.name, points=[m.PointStruct(id=31, vector=vector(31), payload={"back": True})], wait=True)
        self.truth.vectors[31], self.truth.payloads[31] = vector(31), {"back": True}
        self.same_points("a deleted id stored again", [31])

    def batch(self):
        ops = [
            m.UpsertOperation(upsert=m.PointsList(points=[m.PointStruct(id=5000, vector=vector(5000), payload={"a": 1}), m.PointStruct(id=5001, vector=vector(5001))])),
            m.SetPayloadOperation(set_payload=m.SetPayload(payload={"b": 2}, points=[5000])),
            m.DeletePayloadOperation(delete_payload=m.DeletePayload(keys=["a"], points=[5000])),
            m.UpdateVectorsOperation(update_vectors=m.UpdateVectors(points=[m.PointVectors(id=5000, vector=vector(5002))])),
            m.DeleteOperation(delete=m.PointIdsList(points=[5001])),
        ]
        done = self.client.batch_update_points(self.name, update_operations=ops, wait=True)
        self.check("batch of writes: an answer each", len(done), len(ops))
        self.truth.vectors[5000], self.truth.payloads[5000] = vector(5002), {"b": 2}
        self.same_points("batch of writes, in order", [5000])
        self.check("batch of writes: the deleted one", self.client.retrieve(self.name, ids=[5001]), [])

    def knobs(self):
        """What may be asked for on top: ordering, consistency, and writes that only touch what is (not) there."""
        if self.over == "memory":
            return
        c, t, row = self.client, self.truth, lambda i, p: m.PointStruct(id=i, vector=vector(i), payload=p)
        for o in m.WriteOrdering:
            done = c.upsert(self.name, points=[row(60, payload(60))], wait=True, ordering=o)
            self.check(f"upsert with {o.value} ordering", done.status, m.UpdateStatus.COMPLETED)
        q = vector(10_005)
        for how in (1, *m.ReadConsistencyType):
            got = c.query_points(self.name, query=q, limit=3, consistency=how).points
            self.hits(f"query with consistency {how}", got, t.nearest(q))
            self.check(f"query with consistency {how}: count", len(got), 3)
        c.upsert(self.name, points=[row(61, {"x": 1}), row(7000, {"x": 1})], wait=True, update_mode=m.UpdateMode.INSERT_ONLY)
        t.vectors[7000], t.payloads[7000] = vector(7000), {"x": 1}
        self.same_points("insert only", [61, 7000])
        c.upsert(self.name, points=[row(62, {"x": 2}), row(7001, {"x": 2})], wait=True, update_mode=m.UpdateMode.UPDATE_ONLY)
        t.payloads[62] = {"x": 2}
        self.same_points("update only", [62])
        self.check("update only: nothing new", c.retrieve(self.name, ids=[7001]), [])

    def named(self):
        c, name = self.client, self.name + "_named"
        spaces = {"dot": (8, m.Distance.DOT), "euclid": (4, m.Distance.EUCLID), "manhattan": (5, m.Distance.MANHATTAN)}
        made = c.create_collection(name, vectors_config={k: m.VectorParams(size=s, distance=d) for k, (s, d) in spaces.items()},
                                   shard_number=2, replication_factor=self.factor)
        self.check("create with named vectors", made, True)
        truth = {k: Points(d) for k, (_, d) in spaces.items()}
        rows = []
        for i in range(60):
            vs = {k: vector(i + 100 * n, s) for n, (k, (s, _)) in enumerate(spaces.items()) if not (k == "euclid" and i % 6 == 5)}
            for k, v in vs.items():
                truth[k].vectors[i], truth[k].payloads[i] = v, {"n": i}
            rows.append(m.PointStruct(id=i, vector=vs, payload={"n": i}))
        c.upsert(name, points=rows, wait=True)

        def ranks(what):
            for k, (s, _) in spaces.items():
                q = vector(777, s)
                got = c.query_points(name, query=q, using=k, limit=100, with_vectors=[k]).points
                self.check(f"{what}, {k}: which", order(h.id for h in got), order(truth[k].vectors))
                self.hits(f"{what}, {k}: rank", got, truth[k].nearest(q))
                self.check(f"{what}, {k}: vectors", [{k: list(map(float, h.vector[k]))} for h in got], [{k: truth[k].vectors[h.id]} for h in got])

        ranks("named")
        near = truth["euclid"].nearest(vector(777, 4))
        limit = (near[9][0] + near[10][0]) / 2
        got = c.query_points(name, query=vector(777, 4), using="euclid", limit=100, score_threshold=limit).points
        self.check("threshold of a distance", len(got), 10)
        one = c.retrieve(name, ids=[5], with_vectors=True)[0]
        self.check("a vector may be missing", sorted(one.vector), ["dot", "manhattan"])
        c.update_vectors(name, points=[m.PointVectors(id=3, vector={"dot": vector(9, 8)})], wait=True)
        truth["dot"].vectors[3] = vector(9, 8)
        ranks("after update of a vector")
        c.delete_vectors(name, vectors=["euclid"], points=[4, 6], wait=True)
        for i in (4, 6):
            del truth["euclid"].vectors[i]
        ranks("after delete of a vector")
        self.check("payload after both", [r.payload for r in c.retrieve(name, ids=[3, 4])], [{"n": 3}, {"n": 4}])
        if self.over == "memory":
            return
        made = c.create_vector_name(name, vector_name="late", vector_name_config=m.DenseVectorNameConfig(dense=m.DenseVectorConfig(size=3, distance=m.Distance.DOT)), wait=True)
        self.check("add a vector", made.status, m.UpdateStatus.COMPLETED)
        c.update_vectors(name, points=[m.PointVectors(id=i, vector={"late": [i, 0, 1]}) for i in range(10)], wait=True)
        late = lambda: [h.id for h in c.query_points(name, query=[1.0, 0.0, 0.0], using="late", limit=3).points]
        self.check("the added vector is searched", late(), [9, 8, 7])
        self.check("drop a vector", c.delete_vector_name(name, vector_name="late", wait=True).status, m.UpdateStatus.COMPLETED)
        self.refused("a dropped vector", 400, grpc.StatusCode.INVALID_ARGUMENT, late)
        ranks("after a dropped vector")
        limits = lambda **kw: c.update_collection(name, strict_mode_config=m.StrictModeConfig(**kw))
        self.check("strict mode on", limits(enabled=True, max_query_limit=5, upsert_max_batchsize=1), True)
        self.refused("a limit beyond strict mode", 400, grpc.StatusCode.INVALID_ARGUMENT, lambda: c.scroll(name, limit=6))
        self.refused("a batch beyond strict mode", 400, grpc.StatusCode.INVALID_ARGUMENT, lambda: c.upsert(name, points=rows[:2]))
        self.check("a limit within strict mode", len(c.scroll(name, limit=5)[0]), 5)
        self.check("strict mode off", limits(enabled=False), True)
        self.check("its limits stay", c.get_collection(name).config.strict_mode_config.max_query_limit, 5)
        ranks("after strict mode")

    def aliases(self):
        c, a, b = self.client, self.name + "_alias", self.name + "_alias2"
        act = lambda **kw: c.update_collection_aliases(change_aliases_operations=[m.CreateAliasOperation(create_alias=m.CreateAlias(**kw))])
        self.check("create an alias", act(collection_name=self.name, alias_name=a), True)
        got = c.get_collection_aliases(self.name).aliases
        self.check("aliases of the collection", [(x.alias_name, x.collection_name) for x in got], [(a, self.name)])
        self.ok("all aliases", (a, self.name) in [(x.alias_name, x.collection_name) for x in c.get_aliases().aliases])
        self.check("count through the alias", c.count(a, exact=True).count, len(self.truth.vectors))
        c.set_payload(a, payload={"through": "alias"}, points=[50], wait=True)
        self.truth.payloads[50] = dict(self.truth.payloads[50], through="alias")
        self.same_points("write through the alias", [50])
        c.update_collection_aliases(change_aliases_operations=[m.RenameAliasOperation(rename_alias=m.RenameAlias(old_alias_name=a, new_alias_name=b))])
        self.check("rename", [x.alias_name for x in c.get_collection_aliases(self.name).aliases], [b])
        self.refused("the old name is gone", 404, grpc.StatusCode.NOT_FOUND, lambda: c.count(a))
        c.update_collection_aliases(change_aliases_operations=[m.DeleteAliasOperation(delete_alias=m.DeleteAlias(alias_name=b))])
        self.check("delete the alias", c.get_collection_aliases(self.name).aliases, [])

    def keys(self):
        if self.over == "memory":
            return
        c, name = self.client, self.name + "_keys"
        made = c.create_collection(name, vectors_config=m.VectorParams(size=4, distance=m.Distance.DOT), sharding_method=m.ShardingMethod.CUSTOM,
                                   shard_number=2, replication_factor=self.factor)
        self.check("create with custom sharding", made, True)
        row = lambda i: m.PointStruct(id=i, vector=vector(i, 4), payload={"n": i})
        self.refused("a write without a shard key", 400, grpc.StatusCode.INVALID_ARGUMENT, lambda: c.upsert(name, points=[row(1)], wait=True))
        for key in ("a", 7):
            self.check(f"create shard key {key!r}", c.create_shard_key(name, key), True)
        for i, key in enumerate(["a", 7, m.ShardKeyWithFallback(target="promoted", fallback="a")]):
            c.upsert(name, points=[row(10 * i + j) for j in range(5)], wait=True, shard_key_selector=key)
        self.check("points over all keys", c.count(name, exact=True).count, 15)
        self.check("points of a key", c.count(name, exact=True, shard_key_selector=7).count, 5)
        got = c.query_points(name, query=vector(12, 4), limit=20, shard_key_selector=["a"]).points
        self.check("found under a key", order(h.id for h in got), order([*range(5), *range(20, 25)]))
        self.check("each names its key", {h.shard_key for h in got}, {"a"})
        self.refused("an unknown shard key", 400, grpc.StatusCode.INVALID_ARGUMENT, lambda: c.count(name, shard_key_selector="b"))
        self.check("delete shard key", c.delete_shard_key(name, "a"), True)
        self.check("its points went with it", c.count(name, exact=True).count, 5)
        self.check("drop", c.delete_collection(name), True)

    def info(self):
        i = self.client.get_collection(self.name)
        self.check("status", i.status, m.CollectionStatus.GREEN)
        self.check("size and distance", (i.config.params.vectors.size, i.config.params.vectors.distance), (DIM, m.Distance.COSINE))
        if self.over == "memory":
            return
        self.check("points_count", i.points_count, len(self.truth.vectors))
        self.check("shard_number", i.config.params.shard_number, SHARDS)
        cluster = self.client.collection_cluster_info(self.name)
        self.check("shards of the collection", sorted({s.shard_id for s in cluster.local_shards + cluster.remote_shards}), list(range(SHARDS)))
        if not cluster.remote_shards:
            self.check("points of the shards", sum(s.points_count for s in cluster.local_shards), len(self.truth.vectors))
        if self.over == "rest":
            status = self.http.get("/cluster").json()["result"]
            self.check("cluster", (status["status"], str(status["peer_id"]) in status["peers"]), ("enabled", True))

    def errors(self):
        c, name, code = self.client, self.name, grpc.StatusCode
        point = lambda v, i=1: [m.PointStruct(id=i, vector=v)]
        memory = self.over == "memory"
        self.refused("wrong dimension, upsert", 400, code.INVALID_ARGUMENT, lambda: c.upsert(name, points=point(vector(1, 7), 6000), wait=True))
        self.refused("wrong dimension, query", 400, code.INVALID_ARGUMENT, lambda: c.query_points(name, query=vector(1, 7)))
        self.refused("unknown vector name", 400, code.INVALID_ARGUMENT, lambda: c.query_points(name, query=vector(1), using="nope"))
        for what, f in {"get": lambda: c.retrieve("no_such", ids=[1]), "query": lambda: c.query_points("no_such", query=vector(1)),
                        "upsert": lambda: c.upsert("no_such", points=point(vector(1))), "count": lambda: c.count("no_such"),
                        "info": lambda: c.get_collection("no_such")}.items():
            self.refused(f"unknown collection, {what}", 404, code.NOT_FOUND, f)
        if memory:
            return
        params = m.VectorParams(size=4, distance=m.Distance.DOT)
        self.refused("create twice", 409, code.ALREADY_EXISTS, lambda: c.create_collection(name, vectors_config=params))
        self.refused("a point that is absent", 404, code.NOT_FOUND, lambda: c.query_points(name, query=10**9))
        bad = m.Filter(must=[m.FieldCondition(key="a[", match=m.MatchValue(value=1))])
        self.refused("bad key in a filter", 400, code.INVALID_ARGUMENT, lambda: c.count(name, count_filter=bad))
        self.refused("limit 0", 422, code.INVALID_ARGUMENT, lambda: c.query_points(name, query=vector(1), limit=0))
        self.refused("name with a slash", 422, code.INVALID_ARGUMENT, lambda: c.create_collection("a/b", vectors_config=params))
        self.refused("name of 256 bytes", 422, code.INVALID_ARGUMENT, lambda: c.create_collection("x" * 256, vectors_config=params))
        self.refused("size 0", 422, code.INVALID_ARGUMENT,
                     lambda: c.create_collection("never", vectors_config=m.VectorParams(size=0, distance=m.Distance.DOT)))
        self.refused("replication_factor 0", 422, code.INVALID_ARGUMENT, lambda: c.create_collection("never", vectors_config=params, replication_factor=0))
        self.check("nothing came of it", c.collection_exists("never"), False)
        self.check("nothing was half applied", c.count(name, exact=True).count, len(self.truth.vectors))
        if self.over == "rest":
            self.raw_errors()

    def raw_errors(self):
        base, json = f"/collections/{self.name}", {"content-type": "application/json"}
        for what, want, method, path, body in (
            ("truncated JSON", 400, "POST", "/points/count", '{"filter": {'),
            ("unknown key in a filter", 400, "POST", "/points/count", '{"filter": {"mst": []}}'),
            ("negative id", 400, "POST", "/points", '{"ids": [-1]}'),
            ("fraction as id", 400, "POST", "/points", '{"ids": [1.5]}'),
            ("text that is no UUID as id", 400, "POST", "/points", '{"ids": ["abc"]}'),
            ("unknown path", 404, "POST", "/nonsense/at/all", "{}"),
        ):
            r = self.http.request(method, base + path, content=body, headers=json)
            self.check(what, r.status_code, want)
        r = self.http.get("/collections/no_such")
        self.check("the envelope of an error", ("error" in r.json()["status"], "no_such" in r.json()["status"]["error"], "result" in r.json()), (True, True, False))
        self.check("double and trailing slashes", self.http.get(f"{self.http.base_url}/collections//{self.name}/").status_code, 200)

    def drop(self):
        for name in (self.name, self.name + "_named"):
            self.check(f"drop {name}", self.client.delete_collection(name), True)
            self.check(f"{name} is gone", self.client.collection_exists(name), False)
        if self.over != "memory":
            self.check("drop what is gone", self.client.delete_collection(self.name), False)


def short(x):
    s = repr(x)
    return s if len(s) < 300 else s[:300] + "…"


def main():
    env = os.environ.get
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("mode", nargs="?", choices=["cluster", "cluster-down", "cluster-back"])
    p.add_argument("--host", default=env("PANDO_HOST", "127.0.0.1"))
    p.add_argument("--rest-port", type=int, default=int(env("PANDO_REST_PORT", "6333")))
    p.add_argument("--grpc-port", type=int, default=int(env("PANDO_GRPC_PORT", "6334")))
    p.add_argument("--api-key", default=env("PANDO_API_KEY", ""))
    p.add_argument("--over", choices=["rest", "grpc", "memory"], default="rest")
    p.add_argument("--async", action="store_true", dest="asynchronous", help="with the asynchronous client")
    p.add_argument("-v", "--verbose", action="store_true")
    sys.exit(0 if Suite(p.parse_args()).run() else 1)


if __name__ == "__main__":
    main()
