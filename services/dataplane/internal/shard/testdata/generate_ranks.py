"""Writes ranks.json: what the in-memory mode of the published Python client answers to
queries by several vectors, of every kind and distance. Run with qdrant-client 1.20.0:

    python3 generate_ranks.py > ranks.json
"""

import json
import random

from qdrant_client import QdrantClient, models

SIZE = 4
POINTS = 20
ROUNDS = 2
DISTANCES = [(1, "COSINE"), (2, "EUCLID"), (3, "DOT"), (4, "MANHATTAN")]

rng = random.Random(11)


def dense():
    return [round(rng.gauss(0, 1), 4) for _ in range(SIZE)]


def multi():
    return [dense() for _ in range(rng.randint(1, 3))]


def sparse():
    indices = sorted(rng.sample(range(10), rng.randint(1, 5)))
    return {"indices": indices, "values": [round(rng.gauss(0, 1), 4) for _ in indices]}


def vector(v):
    return models.SparseVector(**v) if isinstance(v, dict) else v


def some(make, n):
    return [make() for _ in range(n)]


def pairs(make, n):
    return [[make(), make()] for _ in range(n)]


def context(ps):
    return [models.ContextPair(positive=vector(p), negative=vector(n)) for p, n in ps]


def recommend(case, strategy):
    inputs = {k: [vector(v) for v in case[k]] or None for k in ("positive", "negative")}
    return models.RecommendQuery(recommend=models.RecommendInput(strategy=strategy, **inputs))


def query(case):
    match case["kind"]:
        case "best_score":
            return recommend(case, models.RecommendStrategy.BEST_SCORE)
        case "sum_scores":
            return recommend(case, models.RecommendStrategy.SUM_SCORES)
        case "discover":
            found = models.DiscoverInput(target=vector(case["target"]), context=context(case["pairs"]))
            return models.DiscoverQuery(discover=found)
        case "context":
            return models.ContextQuery(context=context(case["pairs"]))
    naive = models.NaiveFeedbackStrategyParams(a=case["a"], b=case["b"], c=case["c"])
    items = [models.FeedbackItem(example=v, score=s) for v, s in zip(case["positive"], case["scores"])]
    return models.RelevanceFeedbackQuery(
        relevance_feedback=models.RelevanceFeedbackInput(
            target=case["target"], feedback=items, strategy=models.NaiveFeedbackStrategy(naive=naive)
        )
    )


def cases(make):
    for kind in ("best_score", "sum_scores"):
        for liked, disliked in ((1, 0), (3, 0), (2, 2), (0, 2)):
            yield {"kind": kind, "positive": some(make, liked), "negative": some(make, disliked)}
    for n in (1, 2, 4):
        yield {"kind": "discover", "target": make(), "pairs": pairs(make, n)}
        yield {"kind": "context", "pairs": pairs(make, n)}
    if make is dense:  # the in-memory mode knows no others
        for scores in ([0.9], [0.9, 0.2], [0.1, 0.8, 0.8, 0.5]):
            factors = {k: round(rng.uniform(0.1, 1.5), 2) for k in "abc"}
            yield {"kind": "feedback", "target": make(), "positive": some(make, len(scores)), "scores": scores, **factors}


comparator = models.MultiVectorConfig(comparator=models.MultiVectorComparator.MAX_SIM)
names = {"sparse": sparse}
config = {}
for number, distance in DISTANCES:
    names[f"dense{number}"], names[f"multi{number}"] = dense, multi
    config[f"dense{number}"] = models.VectorParams(size=SIZE, distance=models.Distance[distance])
    config[f"multi{number}"] = models.VectorParams(
        size=SIZE, distance=models.Distance[distance], multivector_config=comparator
    )
client = QdrantClient(":memory:")
client.create_collection("c", vectors_config=config, sparse_vectors_config={"sparse": models.SparseVectorParams()})
points = [{n: make() for n, make in sorted(names.items()) if rng.random() < 0.9} for _ in range(POINTS)]
client.upsert("c", [models.PointStruct(id=i, vector={n: vector(v) for n, v in p.items()}) for i, p in enumerate(points)])
asked = []
for _ in range(ROUNDS):
    for name, make in sorted(names.items()):
        for case in cases(make):
            hits = client.query_points("c", query=query(case), using=name, limit=POINTS).points
            asked.append({"using": name, **case, "hits": [[h.id, round(h.score, 6)] for h in hits]})
print(json.dumps({"points": points, "cases": asked}, separators=(",", ":")))
