"""The operations that both engines get: one entry for each kind, to be switched on when it is built."""

from dataclasses import dataclass, field
from functools import partial
from typing import Any, Callable

import agreement
import filters
import values
from qdrant_client import models as m

ALL = 100_000
INDEXES = {"k": m.PayloadSchemaType.KEYWORD, "i": m.PayloadSchemaType.INTEGER, "f": m.PayloadSchemaType.FLOAT, "b": m.PayloadSchemaType.BOOL,
           "u": m.PayloadSchemaType.UUID, "when": m.PayloadSchemaType.DATETIME}
MORE_INDEXES = {"at": m.PayloadSchemaType.GEO, "t": m.PayloadSchemaType.TEXT, "n.a": m.PayloadSchemaType.INTEGER, "n.list[].x": m.PayloadSchemaType.INTEGER,
                "n.list[].y": m.PayloadSchemaType.KEYWORD, "mixed": m.PayloadSchemaType.KEYWORD, "mixed[]": m.PayloadSchemaType.INTEGER,
                '"a.b"': m.PayloadSchemaType.KEYWORD, "ключ": m.PayloadSchemaType.FLOAT, "nowhere": m.PayloadSchemaType.BOOL}


@dataclass
class Call:
    """One request: a method of the client with its arguments, and how its two answers are compared."""
    method: str
    kw: dict[str, Any]
    agree: Callable[[Any, Any], str | None] = agreement.done
    oracle: dict[str, Any] = field(default_factory=dict)  # arguments that the oracle gets instead


@dataclass
class Shape:
    """The vectors of a collection: the arguments of its creation, and a maker of each vector by name."""
    kw: dict[str, Any]
    makers: dict[str, Callable]
    spare: dict[str, Any] = field(default_factory=dict)  # vectors that come and go, by name: what they are made with


def shapes():
    d, one = m.Distance, m.MultiVectorConfig(comparator=m.MultiVectorComparator.MAX_SIM)
    dense = lambda dim: partial(values.dense, dim=dim)
    unnamed = [Shape({"vectors_config": m.VectorParams(size=5, distance=x)}, {"": dense(5)}) for x in (d.COSINE, d.EUCLID)]
    named = {"cos": (5, d.COSINE), "dot": (3, d.DOT), "far": (4, d.EUCLID), "grid": (4, d.MANHATTAN)}
    multi = {"rows": (3, d.DOT), "units": (4, d.COSINE), "places": (2, d.EUCLID), "blocks": (2, d.MANHATTAN)}
    vectors = {k: m.VectorParams(size=n, distance=x) for k, (n, x) in named.items()} | {k: m.VectorParams(size=n, distance=x, multivector_config=one) for k, (n, x) in multi.items()}
    makers = {k: dense(n) for k, (n, _) in named.items()} | {k: partial(values.rows, dim=n) for k, (n, _) in multi.items()} | {"bag": values.sparse, "words": values.sparse}
    late = {"late": dense(3), "later": dense(6), "latest": partial(values.rows, dim=2), "sack": values.sparse}
    added = lambda size, distance, multi=None: m.DenseVectorNameConfig(dense=m.DenseVectorConfig(size=size, distance=distance, multivector_config=multi))
    spare = {"late": added(3, d.DOT), "later": added(6, d.COSINE), "latest": added(2, d.DOT, one), "sack": m.SparseVectorNameConfig(sparse=m.SparseVectorConfig())}
    both = Shape({"vectors_config": vectors, "sparse_vectors_config": {"bag": m.SparseVectorParams(), "words": m.SparseVectorParams(modifier=m.Modifier.IDF)}}, makers | late, spare)
    only = Shape({"vectors_config": {}, "sparse_vectors_config": {"bag": m.SparseVectorParams()}}, {"bag": values.sparse} | late, spare)
    return [both, unnamed[0], both, unnamed[1], both, only]


class World:
    """What the generator knows of a collection: its shape, and what the oracle holds."""

    def __init__(self, oracle, name, shape):
        self.oracle, self.name, self.shape, self.known, self.named = oracle, name, shape, None, None

    @property
    def ids(self):
        if self.known is None:
            self.known = [r.id for r in self.oracle.scroll(self.name, limit=ALL, with_payload=False)[0]]
        return self.known

    @property
    def vectors(self):
        """The names that there are by now."""
        if self.named is None:
            params = self.oracle.get_collection(self.name).config.params
            there = {"", *(params.sparse_vectors or {})} if isinstance(params.vectors, m.VectorParams) else {*params.vectors, *(params.sparse_vectors or {})}
            self.named = [n for n in self.shape.makers if n in there]
        return self.named

    def an_id(self, rng, stranger=0.1):
        return rng.choice(self.ids) if self.ids and rng.random() > stranger else values.point_id(rng)

    def some_ids(self, rng, stranger=0.0):
        """Ids of points that are there, each once; strangers only where the engine may not know them."""
        return list(dict.fromkeys(self.an_id(rng, stranger) for _ in range(rng.randrange(1, 5)))) if self.ids or stranger else []

    def vector(self, rng, name):
        return self.shape.makers[name](rng)

    def point_vectors(self, rng, share=0.8):
        if self.vectors == [""]:
            return self.vector(rng, "")
        return {n: self.vector(rng, n) for n in self.vectors if rng.random() < share}


def needs(call):
    """The ids of the points that an update is about. One that is not there is refused by both engines; what is done of the
    rest is not the same, as docs/differences.md says."""
    if call.method == "batch_update_points":
        steps = [next(iter(op)) for op in call.kw["update_operations"]]
        return set().union(*(named(body.points) for kind, body in steps if kind not in ("upsert", "delete") and getattr(body, "points", None)))
    updates = call.method in ("set_payload", "overwrite_payload", "delete_payload", "clear_payload", "update_vectors", "delete_vectors")
    return named(call.kw.get("points") or call.kw.get("points_selector")) if updates else set()


def named(points):
    return {p.id if isinstance(p, m.PointVectors) else p for p in points} if isinstance(points, list) else set()


# -- writes

def a_point(rng, w):
    return m.PointStruct(id=values.point_id(rng), vector=w.point_vectors(rng), payload=values.payload(rng) if rng.random() < 0.95 else None)


def upsert(rng, w):
    return Call("upsert", {"points": [a_point(rng, w) for _ in range(rng.choice([1, 1, 2, 3, 12]))]})


def upsert_columns(rng, w):
    ids = list({values.point_id(rng): None for _ in range(rng.randrange(1, 6))})
    # Columns have no holes: all points have the same names.
    names = rng.sample(w.vectors, rng.randrange(1, len(w.vectors) + 1))
    columns = {n: [w.vector(rng, n) for _ in ids] for n in names}
    return Call("upsert", {"points": m.Batch(ids=ids, vectors=columns if names != [""] else columns[""], payloads=[values.payload(rng) for _ in ids] if rng.random() < 0.8 else None)})


def selector(rng, w):
    """Points by ids or by a filter."""
    return w.some_ids(rng) if rng.random() < 0.6 and w.ids else m.FilterSelector(filter=filters.any_filter(rng, w))


def narrow(rng, w):
    """A selector that leaves most points alone."""
    return w.some_ids(rng) if rng.random() < 0.7 and w.ids else m.FilterSelector(filter=m.Filter(must=[m.HasIdCondition(has_id=[w.an_id(rng) for _ in range(5)]), filters.any_filter(rng, w)]))


def delete(rng, w):
    if rng.random() < 0.6:
        return Call("delete", {"points_selector": w.some_ids(rng, 0.2)})
    return Call("delete", {"points_selector": narrow(rng, w)})


WRITE_PATHS = ["n", "n.a", "n.list[]", "n.list[0]", "n.list[].p", "n.list[7]", "mixed", "mixed.p", "mixed.p.q", "mixed[]", "mixed[1].x", '"a.b"', '"a.b".c', "fresh.x", "k"]


def set_payload(rng, w):
    kw = {"payload": values.payload(rng, 0.2), "points": selector(rng, w)}
    if rng.random() < 0.4:
        kw |= {"key": rng.choice(WRITE_PATHS), "payload": {rng.choice(["p", "q", "x"]): values.anything(rng) for _ in range(rng.randrange(1, 3))}}
    return Call("set_payload", kw)


def overwrite_payload(rng, w):
    return Call("overwrite_payload", {"payload": values.payload(rng), "points": narrow(rng, w)})


def delete_payload(rng, w):
    return Call("delete_payload", {"keys": rng.sample(filters.PATHS + WRITE_PATHS, rng.randrange(1, 3)), "points": narrow(rng, w)})


def clear_payload(rng, w):
    return Call("clear_payload", {"points_selector": narrow(rng, w)})


def update_vectors(rng, w):
    ids = w.some_ids(rng)
    return Call("update_vectors", {"points": [m.PointVectors(id=i, vector=w.point_vectors(rng, 0.4) or {w.vectors[0]: w.vector(rng, w.vectors[0])}) for i in ids]}) if ids else None


def delete_vectors(rng, w):
    return Call("delete_vectors", {"vectors": rng.sample(w.vectors, rng.randrange(1, 1 + min(2, len(w.vectors)))), "points": narrow(rng, w)})


def steps(rng, w):
    """A list of updates in one request."""
    def one():
        kind = rng.choice([upsert, delete, set_payload, overwrite_payload, delete_payload, clear_payload, update_vectors])
        call = kind(rng, w)
        return None if call is None else step(kind.__name__, call.kw)

    ops = [s for s in (one() for _ in range(rng.randrange(1, 5))) if s]
    # A point that an earlier step deletes is missing in a later one, where the engines differ in what is done before that is said.
    gone = False
    kept = []
    for s in ops:
        if not (gone and not isinstance(s, m.UpsertOperation)):
            kept.append(s)
        gone = gone or isinstance(s, m.DeleteOperation)
    return Call("batch_update_points", {"update_operations": kept}) if kept else None


def step(kind, kw):
    def select(points):
        return {"filter": points.filter} if isinstance(points, m.FilterSelector) else {"points": points}

    match kind:
        case "upsert":
            return m.UpsertOperation(upsert=m.PointsList(points=kw["points"]))
        case "delete" | "clear_payload":
            points = kw["points_selector"]
            points = points if isinstance(points, m.FilterSelector) else m.PointIdsList(points=points)
            return m.DeleteOperation(delete=points) if kind == "delete" else m.ClearPayloadOperation(clear_payload=points)
        case "set_payload":
            return m.SetPayloadOperation(set_payload=m.SetPayload(payload=kw["payload"], key=kw.get("key"), **select(kw["points"])))
        case "overwrite_payload":
            return m.OverwritePayloadOperation(overwrite_payload=m.SetPayload(payload=kw["payload"], **select(kw["points"])))
        case "delete_payload":
            return m.DeletePayloadOperation(delete_payload=m.DeletePayload(keys=kw["keys"], **select(kw["points"])))
    return m.UpdateVectorsOperation(update_vectors=m.UpdateVectors(points=kw["points"]))


def create_index(rng, w):
    key = rng.choice(list(MORE_INDEXES))
    return Call("create_payload_index", {"field_name": key, "field_schema": MORE_INDEXES[key]})


def delete_index(rng, w):
    return Call("delete_payload_index", {"field_name": rng.choice(list(MORE_INDEXES))})


def create_vector(rng, w):
    if not w.shape.spare:
        return None
    name = rng.choice(list(w.shape.spare))
    return Call("create_vector_name", {"vector_name": name, "vector_name_config": w.shape.spare[name]})


def delete_vector(rng, w):
    return Call("delete_vector_name", {"vector_name": rng.choice(list(w.shape.spare))}) if w.shape.spare else None


# -- reads

def with_payload(rng):
    paths = lambda: rng.sample(filters.PATHS, rng.randrange(1, 4))
    return rng.choice([lambda: True, lambda: False, paths, lambda: m.PayloadSelectorInclude(include=paths()), lambda: m.PayloadSelectorExclude(exclude=paths())])()


def with_vectors(rng, w):
    return rng.choice([True, False, rng.sample(w.vectors, rng.randrange(1, len(w.vectors) + 1)) if w.vectors != [""] else True])


def shown(rng, w):
    return {"with_payload": with_payload(rng), "with_vectors": with_vectors(rng, w)}


def retrieve(rng, w):
    ids = list(dict.fromkeys(w.an_id(rng) for _ in range(rng.randrange(1, 8))))
    return Call("retrieve", {"ids": ids, **shown(rng, w)}, agreement.points)


def scroll(rng, w):
    kw = {"scroll_filter": filters.maybe_filter(rng, w), "limit": rng.choice([1, 3, 10, 200]), **shown(rng, w)}
    return Call("scroll", kw | ({"offset": w.an_id(rng)} if rng.random() < 0.5 else {}), agreement.page)


def everything(rng, w):
    return Call("scroll", {"limit": ALL, "with_payload": True, "with_vectors": True}, agreement.page)


def scroll_ordered(rng, w):
    key, starts = rng.choice([("i", values.BOUNDS), ("f", values.FLOATS), ("when", [filters.moment(rng)])])
    order = m.OrderBy(key=key, direction=rng.choice([None, m.Direction.ASC, m.Direction.DESC]), start_from=rng.choice(starts) if rng.random() < 0.4 else None)
    limit = rng.choice([1, 4, 10, 500])
    kw = {"scroll_filter": filters.maybe_filter(rng, w, 0.4), "order_by": order, **shown(rng, w)}
    return Call("scroll", {**kw, "limit": limit}, lambda got, want: agreement.ranked(got[0], want[0], 0, limit, "order_value"), {**kw, "limit": ALL})


def count(rng, w):
    return Call("count", {"count_filter": filters.any_filter(rng, w), "exact": True}, agreement.equal)


def facet(rng, w):
    limit, kw = rng.choice([1, 3, 50]), {"key": rng.choice(["k", "i", "b", "u"]), "facet_filter": filters.maybe_filter(rng, w, 0.4), "exact": True}
    return Call("facet", {**kw, "limit": limit}, partial(agreement.counts, limit=limit), {**kw, "limit": ALL})


def target(rng, w, using):
    """A vector, or a point whose vector is meant."""
    return w.an_id(rng, 0.02) if rng.random() < 0.2 else w.vector(rng, using)


def search(w, kw):
    """All hits of a query, as the oracle has them."""
    try:
        return w.oracle.query_points(w.name, **{**kw, "limit": ALL, "with_payload": False, "with_vectors": False}).points
    except (ValueError, KeyError):
        return []


def threshold(rng, w, kw):
    """A score between two hits that differ by far more than the tolerance."""
    hits = search(w, kw)
    gaps = [(a.score + b.score) / 2 for a, b in zip(hits, hits[1:]) if abs(a.score - b.score) > 100 * agreement.TOLERANCE * max(1, abs(a.score))]
    return rng.choice(gaps) if gaps else None


def asked(rng, w, query, using, bounded=True, **kw):
    """A query of some kind with all that goes with it: filter, page, threshold."""
    kw = {"query": query, "using": using or None, "query_filter": filters.maybe_filter(rng, w), **shown(rng, w), **kw}
    if bounded and rng.random() < 0.3:
        kw["score_threshold"] = threshold(rng, w, kw)
    offset, limit = rng.choice([0, 0, 0, 1, 7]), rng.choice([1, 3, 10, 500])
    exact = {"search_params": m.SearchParams(exact=True)} if "search_params" not in kw and rng.random() < 0.5 else {}
    return Call("query_points", {**kw, **exact, "limit": limit, "offset": offset}, lambda got, want: agreement.ranked(got.points, want.points, offset, limit),
                {**kw, "limit": ALL, "offset": 0})


def nearest(rng, w):
    using = rng.choice(w.vectors)
    scope = {}
    if using == "words":  # without a corpus rows that died since they were indexed count, as docs/differences.md says
        scope = {"search_params": m.SearchParams(idf=m.IdfCorpusParams(corpus=filters.any_filter(rng, w)))}
    return asked(rng, w, target(rng, w, using), using, **scope)


def nearest_batch(rng, w):
    calls = [nearest(rng, w) for _ in range(rng.randrange(1, 4))]
    names = {"query_filter": "filter", "with_payload": "with_payload", "with_vectors": "with_vector", "search_params": "params"}
    request = lambda kw: m.QueryRequest(**{names.get(k, k): v for k, v in kw.items()})
    return Call("query_batch_points", {"requests": [request(c.kw) for c in calls]}, partial(batch, calls), {"requests": [request(c.oracle) for c in calls]})


def batch(calls, got, want):
    if len(got) != len(calls):
        return f"{len(got)} answers to {len(calls)} queries"
    return next((f"query {k}: {bad}" for k, (c, g, x) in enumerate(zip(calls, got, want)) if (bad := c.agree(g, x))), None)


# Kind of operation: weight, maker.
OPERATIONS = {
    "upsert": (10, upsert), "upsert columns": (4, upsert_columns), "delete": (4, delete), "set payload": (6, set_payload), "overwrite payload": (3, overwrite_payload),
    "delete payload": (4, delete_payload), "clear payload": (1, clear_payload), "update vectors": (3, update_vectors), "delete vectors": (2, delete_vectors),
    "batch": (4, steps), "create index": (2, create_index), "delete index": (1, delete_index),
    "create vector": (2, create_vector), "delete vector": (1, delete_vector),
    "retrieve": (4, retrieve), "scroll": (8, scroll), "everything": (2, everything), "scroll ordered": (5, scroll_ordered), "count": (10, count), "facet": (5, facet),
    "nearest": (14, nearest), "nearest batch": (3, nearest_batch),
}
