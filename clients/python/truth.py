"""What a collection must hold, computed here: the second opinion of every check."""

import math
import uuid

import numpy as np
from qdrant_client import models as m

DIM, COUNT, SHARDS = 300, 600, 6
ABSENT = object()


def vector(i, dim=DIM):
    """Numbers of a small congruential generator, equal in every language of this folder."""
    out, state = [], (i * 7919 + 17) % 233280
    for _ in range(dim):
        state = (state * 9301 + 49297) % 233280
        out.append(state / 116640 - 1)
    return out


def point_id(i):
    return str(uuid.UUID(int=(0x5EED << 64) + i)) if i % 10 == 9 else i


def payload(i):
    p = {
        "n": i,
        "color": ("red", "green", "blue")[i % 3],
        "price": i / 4,
        "tags": [f"t{i % 5}", f"s{i % 7}"],
        "flag": i % 2 == 0,
        "place": {"lon": i * 37 % 360 - 180, "lat": i * 17 % 180 - 90},
        "nested": {"deep": i % 11, "list": [{"a": i % 3, "b": i % 2}, {"a": i % 4, "b": 7}]},
    }
    if i % 4:
        p["maybe"] = (None, None, [], "x")[i % 4]
    return p


def metres(a, b):
    """The angle between two directions, on a sphere."""
    def direction(p):
        lon, lat = math.radians(p["lon"]), math.radians(p["lat"])
        return math.cos(lat) * math.cos(lon), math.cos(lat) * math.sin(lon), math.sin(lat)
    return 6371008.8 * math.acos(max(-1, min(1, sum(x * y for x, y in zip(direction(a), direction(b))))))


def order(ids):
    """Numbers first, then UUIDs by their bytes."""
    return sorted(ids, key=lambda i: (isinstance(i, str), uuid.UUID(i).int if isinstance(i, str) else i))


def unit(v):
    v = np.asarray(v, dtype=np.float64)
    return v / np.linalg.norm(v)


def similarity(distance, a, b):
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    match distance:
        case m.Distance.COSINE:
            return float(unit(a) @ unit(b))
        case m.Distance.DOT:
            return float(a @ b)
        case m.Distance.EUCLID:
            return float(np.linalg.norm(a - b))
        case m.Distance.MANHATTAN:
            return float(np.abs(a - b).sum())


def same(a, b):
    """Equality of JSON values: 1, 1.0 and True are three things, floats are equal within a float32's precision."""
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b))
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, float) or isinstance(b, float):
        return isinstance(a, float) and isinstance(b, float) and math.isclose(a, b, rel_tol=2e-5, abs_tol=2e-5)
    return a == b


class Points:
    """What the collection must hold: the second opinion of every check."""

    def __init__(self, distance):
        self.distance, self.vectors, self.payloads = distance, {}, {}

    def nearest(self, query, keep=lambda i, p: True, threshold=None):
        hits = [(similarity(self.distance, query, v), i) for i, v in self.vectors.items() if keep(i, self.payloads[i])]
        up = self.distance in (m.Distance.COSINE, m.Distance.DOT)
        if threshold is not None:
            hits = [h for h in hits if (h[0] >= threshold if up else h[0] <= threshold)]
        return sorted(hits, key=lambda h: -h[0] if up else h[0])


def filled():
    """A collection as it is after `upsert`."""
    truth = Points(m.Distance.COSINE)
    for i in range(COUNT):
        truth.vectors[point_id(i)], truth.payloads[point_id(i)] = vector(i), payload(i)
    return truth
