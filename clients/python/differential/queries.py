"""Kinds of queries beyond the nearest, and what goes with them."""

import random
from functools import partial

import agreement
import filters
import values
from operations import ALL, Call, a_point, asked, search, shown, target
from qdrant_client import models as m


def using(rng, w, without=()):
    """The name of a vector; not of one with idf, whose factors are another matter. None: there is none."""
    names = [n for n in w.vectors if n not in {"words", *without}]
    return rng.choice(names) if names else None


def examples(rng, w, name, least=0):
    return [target(rng, w, name) for _ in range(rng.randrange(least, 4))]


def recommend(rng, w):
    name, strategy = using(rng, w), rng.choice([None, *m.RecommendStrategy])
    most = strategy in (None, m.RecommendStrategy.AVERAGE_VECTOR)
    negative = examples(rng, w, name)
    positive = examples(rng, w, name, 1 if most or not negative else 0)
    return asked(rng, w, m.RecommendQuery(recommend=m.RecommendInput(positive=positive, negative=negative or None, strategy=strategy)), name, bounded=most)


def pairs(rng, w, name, least):
    return [m.ContextPair(positive=target(rng, w, name), negative=target(rng, w, name)) for _ in range(rng.randrange(least, 4))]


def discover(rng, w):
    name = using(rng, w)
    return asked(rng, w, m.DiscoverQuery(discover=m.DiscoverInput(target=target(rng, w, name), context=pairs(rng, w, name, 1))), name, bounded=False)


def context(rng, w):
    name = using(rng, w)
    return asked(rng, w, m.ContextQuery(context=pairs(rng, w, name, 1)), name, bounded=False)


def feedback(rng, w):
    # The oracle takes it for plain vectors only.
    name, number = using(rng, w, ["bag", "sack", "latest", "rows", "units", "places", "blocks"]), lambda: rng.randrange(0, 9) / 8
    if name is None:
        return None
    items = [m.FeedbackItem(example=target(rng, w, name), score=values.number(rng)) for _ in range(rng.randrange(2, 5))]
    strategy = m.NaiveFeedbackStrategy(naive=m.NaiveFeedbackStrategyParams(a=number(), b=number(), c=number()))
    return asked(rng, w, m.RelevanceFeedbackQuery(relevance_feedback=m.RelevanceFeedbackInput(target=target(rng, w, name), feedback=items, strategy=strategy)), name, bounded=False)


def ordered(rng, w):
    limit, offset = rng.choice([1, 4, 10, 500]), rng.choice([0, 0, 3])
    kw = {"query": m.OrderByQuery(order_by=m.OrderBy(key=rng.choice(["i", "f", "when"]), direction=rng.choice([None, *m.Direction]))),
          "query_filter": filters.maybe_filter(rng, w, 0.4), **shown(rng, w)}
    return Call("query_points", {**kw, "limit": limit, "offset": offset}, lambda got, want: agreement.ranked(got.points, want.points, offset, limit, "order_value"),
                {**kw, "limit": ALL})


def unranked(rng, w):
    kw = {"query_filter": filters.maybe_filter(rng, w), "limit": rng.choice([1, 4, 10, 500]), "offset": rng.choice([0, 0, 3]), **shown(rng, w)}
    return Call("query_points", kw, lambda got, want: agreement.listed(got.points, want.points))


def sample(rng, w):
    limit, kw = rng.choice([1, 4, 500]), {"query": m.SampleQuery(sample=m.Sample.RANDOM), "query_filter": filters.maybe_filter(rng, w), **shown(rng, w)}
    return Call("query_points", {**kw, "limit": limit}, lambda got, want: agreement.drawn(got.points, want.points, limit), {**kw, "limit": ALL})


# -- vectors of the points of another collection

OTHER = "differential_other"
OTHER_IDS = range(1, 16)


def others(shape):
    rng = random.Random(0)
    vectors = lambda: shape.makers[""](rng) if "" in shape.makers else {n: make(rng) for n, make in shape.makers.items() if n not in shape.spare}
    return [m.PointStruct(id=i, vector=vectors()) for i in OTHER_IDS]


def looked_up(rng, w):
    name = using(rng, w, w.shape.spare)
    # Each point once: what is right and wrong at once is decided by the last bit of a product.
    left = rng.sample(OTHER_IDS, len(OTHER_IDS))
    there = lambda: w.vector(rng, name) if rng.random() < 0.2 else left.pop()
    some = lambda least: [there() for _ in range(rng.randrange(least, 4))]
    strategy = rng.choice([None, *m.RecommendStrategy])
    query, bounded = rng.choice([
        lambda: (rng.choice(OTHER_IDS), True),
        lambda: (m.RecommendQuery(recommend=m.RecommendInput(positive=some(1), negative=some(0) or None, strategy=strategy)), strategy in (None, m.RecommendStrategy.AVERAGE_VECTOR)),
        lambda: (m.DiscoverQuery(discover=m.DiscoverInput(target=there(), context=[m.ContextPair(positive=there(), negative=there())])), False),
    ])()
    return asked(rng, w, query, name, bounded=bounded, lookup_from=m.LookupLocation(collection=OTHER, vector=name or None))


# -- prefetches: sources whose order is beyond doubt, so that places in it are

FAR = ["far", "grid", "places", "blocks"]  # vectors whose least score is the best


def source(rng, w, without=()):
    name = using(rng, w, without)
    if name is None:
        return None
    kw = {"query": w.vector(rng, name), "using": name or None, "filter": filters.maybe_filter(rng, w, 0.4), "limit": rng.choice([3, 10, 40])}
    hits = search(w, {"query": kw["query"], "using": kw["using"], "query_filter": kw["filter"]})
    near = [abs(a.score - b.score) <= 20 * agreement.TOLERANCE * max(1, abs(a.score)) for a, b in zip(hits, hits[1:])]
    return None if any(near[:kw["limit"]]) else m.Prefetch(**kw)


def sources(rng, w, without=()):
    return [s for s in (source(rng, w, without) for _ in range(6)) if s][:rng.randrange(1, 4)]


def fused(rng, w):
    dbsf = m.FusionQuery(fusion=m.Fusion.DBSF)
    query = rng.choice([m.FusionQuery(fusion=m.Fusion.RRF), dbsf, m.RrfQuery(rrf=m.Rrf(k=rng.choice([None, 1, 2, 60])))])
    # The oracle adds up distances as they are, so that the farthest of a source counts most; an unnamed vector may be one.
    prefetch = sources(rng, w, [*FAR, ""] if query is dbsf else ())
    if not prefetch:
        return None
    if isinstance(query, m.RrfQuery) and rng.random() < 0.5:
        query.rrf.weights = [rng.choice([0.5, 1.0, 3.0]) for _ in prefetch]
    # A filter of the whole goes into the sources, whose order it was not asked for.
    return asked(rng, w, query, "", prefetch=prefetch, query_filter=None, bounded=False)


def rescored(rng, w):
    prefetch, name = sources(rng, w), using(rng, w)
    if len(prefetch) > 1 and rng.random() < 0.4:
        prefetch = [m.Prefetch(prefetch=prefetch[1:], query=m.FusionQuery(fusion=m.Fusion.RRF), limit=500), prefetch[0]]
    return asked(rng, w, w.vector(rng, name), name, prefetch=prefetch, query_filter=None, bounded=False) if prefetch else None


def expression(rng, w, depth=2):
    leaves = [lambda: values.number(rng), lambda: "$score", lambda: "$score[0]", lambda: "ключ", lambda: filters.condition(rng, w, 1)]
    inner = lambda: expression(rng, w, depth - 1)
    places = lambda: m.GeoDistance(geo_distance=m.GeoDistanceParams(origin=filters.geo(rng), to="spot"))
    decay = lambda: m.DecayParamsExpression(x=inner(), target=values.number(rng), scale=rng.choice([0.5, 2.0, 1e6]), midpoint=rng.choice([None, 0.25]))
    nodes = [lambda: m.SumExpression(sum=[inner(), inner()]), lambda: m.MultExpression(mult=[inner(), inner()]), lambda: m.NegExpression(neg=inner()), lambda: m.AbsExpression(abs=inner()),
             lambda: m.DivExpression(div=m.DivParams(left=inner(), right=inner(), by_zero_default=1.5)), lambda: m.SqrtExpression(sqrt=m.AbsExpression(abs=inner())),
             lambda: m.ExpDecayExpression(exp_decay=decay()), lambda: m.GaussDecayExpression(gauss_decay=decay()), lambda: m.LinDecayExpression(lin_decay=decay()), places]
    return rng.choice(leaves if depth == 0 or rng.random() < 0.3 else nodes)()


def formula(rng, w):
    prefetch = sources(rng, w)
    defaults = {"ключ": 0.5, "$score[0]": -1.0, "spot": {"lon": 1.0, "lat": 2.0}}
    return asked(rng, w, m.FormulaQuery(formula=expression(rng, w), defaults=defaults), "", prefetch=prefetch, query_filter=None, bounded=False) if prefetch else None


def diverse(rng, w):
    one = source(rng, w)
    if one is None:
        return None
    mmr = m.Mmr(diversity=rng.choice([None, 0.3, 0.8]), candidates_limit=one.limit)
    kw = {"query": m.NearestQuery(nearest=one.query, mmr=mmr), "using": one.using, "query_filter": one.filter, "limit": rng.choice([1, 3, 10]), **shown(rng, w)}
    return Call("query_points", kw, lambda got, want: agreement.listed(got.points, want.points))


def groups(rng, w):
    name, limit, size = using(rng, w), rng.choice([1, 3, 50]), rng.choice([1, 2, 10])
    kw = {"query": target(rng, w, name), "using": name or None, "group_by": rng.choice(["k", "i", "n.a", "u", "n.list[].y"]), "query_filter": filters.maybe_filter(rng, w, 0.4), **shown(rng, w)}
    return Call("query_points_groups", {**kw, "limit": limit, "group_size": size}, partial(agreement.groups, limit=limit, size=size), {**kw, "limit": ALL, "group_size": ALL})


def matrix(rng, w):
    name = using(rng, w, ["bag", "sack"])
    if name is None:
        return None
    few = m.Filter(must=[m.HasIdCondition(has_id=[w.an_id(rng) for _ in range(12)])])
    kw = {"using": name or None, "query_filter": few, "sample": 100}
    limit = rng.choice([1, 3, 20])
    return Call("search_matrix_pairs", {**kw, "limit": limit}, partial(agreement.neighbours, limit=limit), {**kw, "limit": ALL})


# -- updates with a condition

def upsert_if(rng, w):
    # Each id once: Pando decides on what was stored before the request, the oracle on what the one before it left.
    points = {p.id: p for p in (a_point(rng, w) for _ in range(rng.choice([1, 3, 6])))}
    kw = {"points": list(points.values())}
    if rng.random() < 0.6:
        kw["update_filter"] = filters.any_filter(rng, w)
    if rng.random() < 0.6 or len(kw) == 1:
        kw["update_mode"] = rng.choice(list(m.UpdateMode))
    return Call("upsert", kw)


def update_vectors_if(rng, w):
    ids = w.some_ids(rng)
    points = [m.PointVectors(id=i, vector=w.point_vectors(rng, 0.4) or {w.vectors[0]: w.vector(rng, w.vectors[0])}) for i in ids]
    return Call("update_vectors", {"points": points, "update_filter": filters.any_filter(rng, w)}) if ids else None


KINDS = {
    "unranked": (2, unranked), "recommend": (3, recommend), "discover": (2, discover), "context": (1, context), "feedback": (1, feedback), "ordered": (2, ordered),
    "sample": (1, sample), "fused": (3, fused), "rescored": (2, rescored), "formula": (3, formula), "diverse": (2, diverse), "groups": (3, groups), "matrix": (1, matrix),
    "looked up": (2, looked_up), "upsert if": (3, upsert_if), "update vectors if": (1, update_vectors_if),
}
