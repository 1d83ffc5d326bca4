"""Random filters: one entry for each kind of condition of the API."""

from datetime import datetime, timedelta, timezone

from qdrant_client import models as m
from values import BOUNDS, FLOATS, INTEGERS, NO_TIMES, PLACES, TIMES, UUIDS, WORDS

PATHS = ["k", "i", "f", "b", "u", "when", "at", "t", "n", "n.a", "n.list", "n.list[]", "n.list[].x", "n.list[].y", "n.list[].z", "n.list[0].x", "mixed", "mixed.p",
         "mixed[]", "mixed[].x", '"a.b"', "ключ", "nowhere", "n.nowhere"]
KEYWORDS = ["k", "u", "n.list[].y", "n.list[0].y", "mixed", "mixed.p", "mixed[]", '"a.b"', "t", "nowhere"]
NUMBERS = ["i", "f", "n.a", "n.list[].x", "n.list[].z", "n.list[0].x", "mixed", "mixed.p", "mixed[]", "ключ", "k"]


def path(rng, paths=PATHS):
    return rng.choice(paths) if rng.random() < 0.9 else rng.choice(PATHS)


def bounds(rng, values):
    out = {rng.choice(["gt", "gte"]): rng.choice(values)} if rng.random() < 0.7 else {}
    if rng.random() < 0.7 or not out:
        out[rng.choice(["lt", "lte"])] = rng.choice(values)
    return out


def field(**kw):
    return lambda rng, key: m.FieldCondition(key=key, **{k: f(rng) for k, f in kw.items()})


def geo(rng):
    lon, lat = rng.choice(PLACES)
    return m.GeoPoint(lon=lon, lat=lat)


def ring(rng, lon, lat, size):
    """A quadrilateral with its sides aslant, so that no place lies on one."""
    a, b = size * (0.8 + rng.random()), size * (0.8 + rng.random())
    corners = [(lon - a, lat - 0.91 * b), (lon + 0.93 * a, lat - b), (lon + 1.07 * a, lat + b), (lon - 1.03 * a, lat + 0.97 * b)]
    return m.GeoLineString(points=[m.GeoPoint(lon=x, lat=y) for x, y in corners + corners[:1]])


def polygon(rng):
    lon, lat = rng.choice(PLACES[:4] + PLACES[6:])
    holes = [ring(rng, lon, lat, 1.5)] if rng.random() < 0.5 else None
    return m.GeoPolygon(exterior=ring(rng, lon, lat, rng.choice([4, 16])), interiors=holes)


def box(rng):
    lon, lat = rng.choice(PLACES)
    west, east = lon - rng.uniform(1, 30), lon + rng.uniform(1, 30)
    wrap = lambda x: (x + 180) % 360 - 180
    return m.GeoBoundingBox(top_left=m.GeoPoint(lon=wrap(west), lat=min(90, lat + rng.uniform(1, 20))),
                            bottom_right=m.GeoPoint(lon=wrap(east), lat=max(-90, lat - rng.uniform(1, 20))))


def moment(rng):
    return datetime(2024, 1, 2, 3, 4, 5, tzinfo=timezone.utc) + timedelta(seconds=rng.choice([0, -1, 1, 0.123456, -4 * 3600, 86400 * 500, -86400 * 20000]))


def several(rng, values):
    return rng.sample(values, rng.randrange(0, 4))


def match(rng):
    kinds = [lambda: m.MatchValue(value=rng.choice([*WORDS, *UUIDS, ""])), lambda: m.MatchValue(value=rng.choice(INTEGERS)), lambda: m.MatchValue(value=rng.random() < 0.5),
             lambda: m.MatchAny(any=several(rng, WORDS + UUIDS)), lambda: m.MatchAny(any=several(rng, INTEGERS)),
             lambda: m.MatchExcept(**{"except": several(rng, WORDS + UUIDS)}), lambda: m.MatchExcept(**{"except": several(rng, INTEGERS)})]
    return rng.choice(kinds)()


def fulltext(rng):
    words = lambda n: " ".join(rng.sample(WORDS, n))
    return rng.choice([lambda: m.MatchText(text=words(1)), lambda: m.MatchTextAny(text_any=words(rng.randrange(1, 4))), lambda: m.MatchPhrase(phrase=words(rng.randrange(1, 3))),
                       lambda: m.MatchPrefix(prefix=rng.choice(WORDS)[:rng.randrange(0, 4)])])()


def has_id(rng, world):
    return m.HasIdCondition(has_id=[world.an_id(rng) for _ in range(rng.randrange(0, 6))])


def has_slice(rng, world):
    total = rng.randrange(1, 5)
    return m.SliceCondition(slice=m.Slice(total=total, index=rng.randrange(total)))


def nested(rng, world):
    inside = rng.choice([lambda: m.FieldCondition(key="x", match=m.MatchValue(value=rng.choice(INTEGERS[:7]))), lambda: m.FieldCondition(key="x", range=m.Range(**bounds(rng, INTEGERS[:7]))),
                         lambda: m.FieldCondition(key="y", match=m.MatchAny(any=several(rng, WORDS[:4]))), lambda: m.FieldCondition(key="z", values_count=m.ValuesCount(**bounds(rng, range(4)))),
                         lambda: m.IsEmptyCondition(is_empty=m.PayloadField(key="z")), lambda: m.IsNullCondition(is_null=m.PayloadField(key="z"))])
    clauses = {c: [inside() for _ in range(rng.randrange(1, 3))] for c in ("must", "must_not", "should") if rng.random() < 0.5}
    return m.NestedCondition(nested=m.Nested(key=rng.choice(["n.list", "n.list[]", "mixed", "n"]), filter=m.Filter(**clauses or {"must": [inside()]})))


def on(paths, **kw):
    make = field(**kw)
    return lambda rng, world: make(rng, path(rng, paths))


# Kind of condition: weight, maker.
CONDITIONS = {
    "match": (6, on(KEYWORDS + NUMBERS + ["b"], match=match)),
    "text": (3, on(["t", "k", "mixed"], match=fulltext)),
    "range": (4, on(NUMBERS, range=lambda rng: m.Range(**bounds(rng, BOUNDS + FLOATS)))),
    "datetime": (3, on(["when", "when", "mixed", "k"], range=lambda rng: m.DatetimeRange(**bounds(rng, [moment(rng), moment(rng)])))),
    "geo_bounding_box": (1, on(["at"], geo_bounding_box=box)),
    "geo_radius": (1, on(["at"], geo_radius=lambda rng: m.GeoRadius(center=geo(rng), radius=rng.choice([10.0, 4e5, 1.1e6, 9e6])))),
    "geo_polygon": (1, on(["at"], geo_polygon=polygon)),
    "values_count": (2, on(PATHS, values_count=lambda rng: m.ValuesCount(**bounds(rng, range(4))))),
    "is_empty": (2, lambda rng, world: m.IsEmptyCondition(is_empty=m.PayloadField(key=path(rng)))),
    "is_null": (2, lambda rng, world: m.IsNullCondition(is_null=m.PayloadField(key=path(rng)))),
    "is_empty of a field": (1, on(PATHS, is_empty=lambda rng: rng.random() < 0.5)),
    "is_null of a field": (1, on(PATHS, is_null=lambda rng: rng.random() < 0.5)),
    "has_id": (2, has_id),
    "has_vector": (2, lambda rng, world: m.HasVectorCondition(has_vector=rng.choice(world.vectors))),
    "slice": (1, has_slice),
    "nested": (3, nested),
    "filter": (2, lambda rng, world: any_filter(rng, world, depth=1)),
}


def condition(rng, world, depth):
    kinds = [k for k in CONDITIONS if depth < 1 or k != "filter"]
    kind = rng.choices(kinds, [CONDITIONS[k][0] for k in kinds])[0]
    return CONDITIONS[kind][1](rng, world)


def any_filter(rng, world, depth=0):
    """One to three clauses of one to three conditions."""
    many = lambda: [condition(rng, world, depth) for _ in range(rng.choice([1, 1, 1, 2, 3]))]
    out = {c: many() if rng.random() < 0.8 else condition(rng, world, depth) for c in rng.sample(["must", "must_not", "should"], rng.choice([0, 1, 1, 2]))}
    if not out or rng.random() < 0.15:
        conditions = many()
        out["min_should"] = m.MinShould(conditions=conditions, min_count=rng.randrange(1, len(conditions) + 2))
    return m.Filter(**out)


def maybe_filter(rng, world, share=0.6):
    return any_filter(rng, world) if rng.random() < share else None
