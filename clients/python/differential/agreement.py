"""When two answers agree: floats within 1e-4, ties in any order, a cut at a tie anywhere in it. Each function returns what is wrong."""

import math
import uuid

TOLERANCE = 1e-4


def close(a, b):
    return math.isclose(a, b, rel_tol=TOLERANCE, abs_tol=TOLERANCE)


def plain(x):
    """Models as dictionaries, numpy numbers as Python's."""
    if hasattr(x, "model_dump"):
        return {k: plain(v) for k, v in x.model_dump(exclude_none=False).items() if k not in ("version", "shard_key")}
    if isinstance(x, dict):
        return {k: plain(v) for k, v in x.items()}
    if isinstance(x, (list, tuple)):
        return [plain(v) for v in x]
    if isinstance(x, uuid.UUID):
        return str(x)
    return x.item() if hasattr(x, "item") else x


def same(a, b, near=close):
    """Equality of JSON values, where 1, 1.0 and True are three things."""
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k], near) for k in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(same(x, y, near) for x, y in zip(a, b))
    if isinstance(a, float) and isinstance(b, float):
        return near(a, b)
    return type(a) is type(b) and a == b


def equal_floats(a, b):
    return a == b


def same_point(got, want):
    """Payloads are equal to the last bit, vectors within the tolerance."""
    return got["id"] == want["id"] and same(got["payload"] or {}, want["payload"] or {}, equal_floats) and same(got["vector"] or {}, want["vector"] or {})


def points(got, want):
    """The same points with the same contents, whatever their order."""
    got, want = plain(got), plain(want)
    ours, theirs = {p["id"]: p for p in got}, {p["id"]: p for p in want}
    if len(ours) != len(got):
        return "a point comes twice"
    if ours.keys() != theirs.keys():
        return f"too many: {sorted(ours.keys() - theirs.keys(), key=str)}, missing: {sorted(theirs.keys() - ours.keys(), key=str)}"
    return next((f"got {ours[i]}\nwant {theirs[i]}" for i in ours if not same_point(ours[i], theirs[i])), None)


def listed(got, want):
    """The same points in the same order."""
    ours, theirs = [p.id for p in got], [p.id for p in want]
    return points(got, want) or (None if ours == theirs else f"order {ours}, want {theirs}")


def page(got, want):
    """A page of a scroll by id, and where the next one begins."""
    return listed(got[0], want[0]) or (None if got[1] == want[1] else f"next page at {got[1]!r}, want {want[1]!r}")


def ranked(got, want, offset=0, limit=10, by="score"):
    """got is what lies from offset to offset + limit in want, which holds all; equals may stand in any order."""
    got, want = plain(got), plain(want)
    cut = want[offset:offset + limit]
    if len(got) != len(cut):
        return f"{len(got)} hits, want {len(cut)}: got {brief(got, by)}, want {brief(cut, by)}"
    left = list(want)
    for k, (g, w) in enumerate(zip(got, cut)):
        at = next((i for i, x in enumerate(left) if x["id"] == g["id"] and close(x[by], g[by])), None)
        if at is None or not close(g[by], w[by]):
            return f"place {k}: {g['id']!r} with {g[by]}, want {w['id']!r} with {w[by]}: got {brief(got, by)}, want {brief(cut, by)}"
        if not same_point(g, left.pop(at)):
            return f"place {k}: got {g}, want {next(x for x in want if x['id'] == g['id'])}"
    return None


def brief(hits, by):
    return [(h["id"], h[by]) for h in hits[:12]]


def counts(got, want, limit):
    """Facets: the most frequent values, equals in any order."""
    got, want = [(type(h.value), h.value, h.count) for h in got.hits], [(type(h.value), h.value, h.count) for h in want.hits]
    good = [g[2] for g in got] == [w[2] for w in want[:limit]] and set(got) <= set(want) and len(set(got)) == len(got)
    return None if good else f"got {[g[1:] for g in got]}, want {[w[1:] for w in want[:limit]]}"


def drawn(got, want, limit):
    """Some of them, in any order."""
    chosen = [p for p in want if p.id in {g.id for g in got}]
    return f"{len(got)} points, want {min(limit, len(want))}" if len(got) != min(limit, len(want)) else points(got, chosen)


def groups(got, want, limit, size):
    """Groups by their best hit; want holds all groups with all hits."""
    want = {(type(g.id), g.id): g.hits for g in want.groups}
    best = lambda groups: [{"id": repr(i), "score": hits[0].score, "payload": None, "vector": None} for i, hits in groups]
    if bad := ranked(best((g.id, g.hits) for g in got.groups), best((i, hits) for (_, i), hits in want.items()), 0, limit):
        return f"groups: {bad}"
    return next((f"group {g.id!r}: {bad}" for g in got.groups if (bad := ranked(g.hits, want[type(g.id), g.id], 0, size))), None)


def neighbours(got, want, limit):
    """Pairs of a distance matrix: of each point its nearest."""
    def rows(pairs):
        out = {}
        for p in pairs:
            out.setdefault(p.a, []).append({"id": p.b, "score": p.score, "payload": None, "vector": None})
        return out

    got, want = rows(got.pairs), rows(want.pairs)
    if got.keys() != want.keys():
        return f"rows {sorted(got, key=str)}, want {sorted(want, key=str)}"
    return next((f"row {a!r}: {bad}" for a in got if (bad := ranked(got[a], want[a], 0, limit))), None)


def equal(got, want):
    return None if plain(got) == plain(want) else f"got {plain(got)}, want {plain(want)}"


def done(got, want):
    """Writes: that both were accepted is all there is to compare."""
    return None
