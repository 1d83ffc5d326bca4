"""Checks queries that rank by more than one vector, groups and distance matrices, on the points of `upsert`."""

import math

import numpy as np
from qdrant_client import models as m
from truth import COUNT, similarity, unit, vector


def fused(lists, score):
    """Sums of scores by place, the best first."""
    sums = {}
    for hits in lists:
        for place, (_, i) in enumerate(hits):
            sums[i] = sums.get(i, 0) + score(place)
    return sorted(((s, i) for i, s in sums.items()), key=lambda h: -h[0])


class Queries:
    def queries(self):
        c, name, truth = self.client, self.name, self.truth
        p, q = vector(30_001), vector(30_002)
        low = lambda i, it: it["n"] < 400
        small = m.Filter(must=[m.FieldCondition(key="n", range=m.Range(lt=400))])
        both = [m.Prefetch(query=p, limit=40), m.Prefetch(query=q, limit=30)]
        lists = [truth.nearest(p, low)[:40], truth.nearest(q, low)[:30]]
        found = set(i for hits in lists for _, i in hits)

        def asked(what, want, **how):
            got = c.query_points(name, limit=25, query_filter=small, **how).points
            self.hits(what, got, want)
            self.check(f"{what}: as many as asked for", len(got), min(25, len(want)))
            return got

        asked("rrf", fused(lists, lambda at: 1 / (at + 2)), query=m.FusionQuery(fusion=m.Fusion.RRF), prefetch=both)
        asked("rrf with k", fused(lists, lambda at: 1 / (at + 60)), query=m.RrfQuery(rrf=m.Rrf(k=60)), prefetch=both)
        normal = {}
        for hits in lists:
            scores = np.array([s for s, _ in hits])
            for s, i in hits:
                normal[i] = normal.get(i, 0) + 0.5 + (s - scores.mean()) / (6 * scores.std(ddof=1))
        want = sorted(((s, i) for i, s in normal.items()), key=lambda h: -h[0])
        got = asked("dbsf", want, query=m.FusionQuery(fusion=m.Fusion.DBSF), prefetch=both, with_payload=True)
        self.check("dbsf: payload", [h.payload for h in got], [truth.payloads[h.id] for h in got])
        asked("rescored", truth.nearest(vector(30_003), lambda i, _: i in found), query=vector(30_003), prefetch=both)
        price = lambda i: truth.payloads[i]["price"]
        formula = m.SumExpression(sum=["$score", m.MultExpression(mult=[0.01, "price"]), m.FieldCondition(key="color", match=m.MatchValue(value="red"))])
        if self.over != "memory":
            score = dict((i, s) for s, i in lists[0])
            want = sorted(((score.get(i, 0) + price(i) / 100 + (truth.payloads[i]["color"] == "red"), i) for i in found), key=lambda h: -h[0])
            asked("formula", want, query=m.FormulaQuery(formula=formula), prefetch=both)
        mean = 2 * (unit(truth.vectors[3]) + unit(p) * np.linalg.norm(p)) / 2 - unit(truth.vectors[4])
        examples = m.RecommendInput(positive=[3, p], negative=[4])
        asked("recommend", truth.nearest(mean, lambda i, it: low(i, it) and i not in (3, 4)), query=m.RecommendQuery(recommend=examples))
        self.spread(p)
        some = {h.id for h in c.query_points(name, query=m.SampleQuery(sample=m.Sample.RANDOM), limit=COUNT // 2).points}
        self.check("a sample", len(some), COUNT // 2)
        self.grouped(q)
        self.matrix()

    def spread(self, q):
        near = self.truth.nearest(q)[:30]
        left, taken = [i for _, i in near], []
        sim = lambda a, b: similarity(m.Distance.COSINE, self.truth.vectors[a], self.truth.vectors[b])
        score = {i: s for s, i in near}
        while len(taken) < 8:
            best = max(left, key=lambda i: 0.3 * score[i] - 0.7 * max(sim(i, j) for j in taken) if taken else score[i])
            left.remove(best)
            taken.append(best)
        mmr = m.NearestQuery(nearest=q, mmr=m.Mmr(diversity=0.7, candidates_limit=30))
        self.check("mmr", [h.id for h in self.client.query_points(self.name, query=mmr, limit=8).points], taken)

    def grouped(self, q):
        groups = {}
        for s, i in self.truth.nearest(q):
            for tag in self.truth.payloads[i]["tags"]:
                groups.setdefault(tag, []).append((s, i))
        got = self.client.query_points_groups(self.name, group_by="tags", query=q, limit=4, group_size=20, with_payload=False).groups
        self.check("groups: the best", [g.id for g in got], list(groups)[:4])
        for g in got:
            self.hits(f"group {g.id}", g.hits, groups[g.id])
            self.check(f"group {g.id}: size", len(g.hits), 20)

    def matrix(self):
        some = m.Filter(must=[m.HasIdCondition(has_id=[1, 2, 3, 4, 5])])
        pairs = self.client.search_matrix_pairs(self.name, query_filter=some, sample=50, limit=2).pairs
        self.check("matrix", len(pairs), 10)
        sim = lambda a, b: similarity(m.Distance.COSINE, self.truth.vectors[a], self.truth.vectors[b])
        bad = [p for p in pairs if p.a == p.b or not math.isclose(p.score, sim(p.a, p.b), abs_tol=2e-5)]
        self.ok("matrix: scores", not bad, bad[:2])
        grid = self.client.search_matrix_offsets(self.name, query_filter=some, sample=50, limit=2)
        self.check("matrix by offsets", (grid.ids, len(grid.scores)), ([1, 2, 3, 4, 5], 10))
