"""Random ids, vectors and payloads. Words and numbers are few, so that filters meet them and scores tie."""

import uuid

from qdrant_client import models as m

# No word is a part of another one: tests for a part of a text and for a word say the same.
WORDS = ["red", "green", "blue", "amber", "teal", "Zürich", "日本", "naïve"]
UUIDS = [str(uuid.UUID(int=(0x5EED << 64) + k * k)) for k in range(8)]
INTEGERS = [-3, -1, 0, 1, 2, 3, 7, 40, 2**31, 2**53 + 1, -(2**63), 2**63 - 1]
BOUNDS = [*INTEGERS[:9], 1e12, -1e12]  # ranges compare as 64-bit floats: beyond 2^53 they round, as docs/differences.md says
FLOATS = [-2.5, -0.25, 0.0, 0.5, 1.0, 1.5, 3.0, 40.75, 1e-7, 1e300]
TIMES = ["2024-01-02T03:04:05Z", "2024-01-02 03:04:05", "2024-01-02T03:04", "2024-01-02", "2024-01-02T03:04:05.123456Z", "2024-01-02T05:04:05+02:00",
         "1969-12-31T23:59:59.999999Z", "2025-06-30 12:00:00.5-03:30", "2031-12-31"]
NO_TIMES = ["yesterday", "2024-13-01", "2024-01-02 12", ""]
PLACES = [(13.4, 52.5), (2.35, 48.85), (-0.12, 51.5), (139.7, 35.7), (179.9, -16.5), (-179.9, -17.0), (0.0, 0.0), (-70.6, -33.4)]
ITEM_KEYS = ["x", "y", "z"]


def point_id(rng):
    return UUIDS[rng.randrange(8)] if rng.random() < 0.15 else rng.randrange(0, 160) if rng.random() < 0.97 else rng.choice([2**64 - 1, 2**53 + 1, 2**63])


def some(rng, one):
    """Mostly one value; a list, nothing in a list, or null now and then."""
    r = rng.random()
    if r < 0.7:
        return one()
    return None if r < 0.75 else [one() for _ in range(rng.randrange(4))]


def text(rng):
    return " ".join(rng.choice(WORDS) for _ in range(rng.randrange(1, 5)))


def anything(rng, depth=2):
    leaf = [None, True, False, rng.choice(INTEGERS), rng.choice(FLOATS), rng.choice(WORDS), rng.choice(TIMES), ""]
    r = rng.random()
    if depth == 0 or r < 0.6:
        return rng.choice(leaf)
    if r < 0.8:
        return [anything(rng, depth - 1) for _ in range(rng.randrange(4))]
    return {rng.choice(["p", "q", "x", "a.b"]): anything(rng, depth - 1) for _ in range(rng.randrange(3))}


def place(rng):
    lon, lat = rng.choice(PLACES)
    return {"lon": lon, "lat": lat}


def item(rng):
    """An element of the list that nested conditions look into."""
    out = {"x": rng.choice(INTEGERS[:7]), "y": rng.choice(WORDS[:4]), "z": some(rng, lambda: rng.choice(INTEGERS[:6]))}
    return {k: v for k, v in out.items() if rng.random() < 0.8}


FIELDS = {
    "k": lambda rng: some(rng, lambda: rng.choice(WORDS)),
    "i": lambda rng: some(rng, lambda: rng.choice(INTEGERS)),
    "f": lambda rng: some(rng, lambda: rng.choice(FLOATS)),
    "b": lambda rng: some(rng, lambda: rng.random() < 0.5),
    "u": lambda rng: some(rng, lambda: rng.choice(UUIDS)),
    "when": lambda rng: some(rng, lambda: rng.choice(TIMES)) if rng.random() < 0.9 else rng.choice(NO_TIMES),
    "at": lambda rng: some(rng, lambda: place(rng)),
    "t": lambda rng: some(rng, lambda: text(rng)),
    "n": lambda rng: {"a": rng.choice(INTEGERS[:7]), "list": [item(rng) for _ in range(rng.randrange(4))]} if rng.random() < 0.9 else anything(rng),
    "mixed": lambda rng: anything(rng),
    # What formulas read: of one kind, or not there.
    "spot": lambda rng: place(rng),
    "a.b": lambda rng: rng.choice(WORDS),
    "ключ": lambda rng: rng.choice(INTEGERS[:7]),
}


def payload(rng, share=0.6):
    return {k: f(rng) for k, f in FIELDS.items() if rng.random() < share}


def number(rng):
    """A float32 whose decimal form is exact."""
    return rng.randrange(-64, 65) / 32


def dense(rng, dim):
    if rng.random() < 0.03:
        return [0.0] * dim
    return [number(rng) for _ in range(dim)] if rng.random() < 0.9 else [float(rng.randrange(-1, 2)) for _ in range(dim)]


def sparse(rng):
    indices = rng.sample([0, 1, 2, 3, 5, 8, 13, 21, 4294967295], rng.randrange(1, 7))
    return m.SparseVector(indices=indices, values=[number(rng) or 1.0 for _ in indices])


def rows(rng, dim):
    return [dense(rng, dim) for _ in range(rng.randrange(1, 4))]
