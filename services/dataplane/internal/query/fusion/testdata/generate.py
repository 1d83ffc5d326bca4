"""Writes oracle.json: what the published Python client makes of random rankings.

    python generate.py >oracle.json        with the packages of clients/python/requirements.txt
"""

import copy
import json
import random

import numpy as np
from qdrant_client.hybrid import fusion
from qdrant_client.http import models
from qdrant_client import QdrantClient

rng = random.Random(7)


def ranking():
    ids = rng.sample(range(1, 13), rng.randint(0, 8))
    scores = sorted((round(rng.uniform(-2, 3), 2) for _ in ids), reverse=True)
    if rng.random() < 0.2:
        scores = [1.0] * len(ids)
    return [models.ScoredPoint(id=i, version=0, score=s) for i, s in zip(ids, scores)]


def pairs(points):
    return [[p.id, p.score] for p in points]


fused = []
for i in range(120):
    lists = [ranking() for _ in range(rng.randint(1, 4))]
    case = {"lists": [pairs(l) for l in lists]}
    if i % 3 == 0:
        case["dbsf"] = True
        got = fusion.distribution_based_score_fusion(copy.deepcopy(lists), 100)
    else:
        case["k"] = rng.choice([1, 2, 60])
        case["weights"] = [rng.choice([0.5, 1.0, 3.0, 0.0]) for _ in lists] if i % 3 == 1 else None
        got = fusion.reciprocal_rank_fusion(copy.deepcopy(lists), 100, case["k"], case["weights"])
    case["fused"] = pairs(got)
    fused.append(case)

spread = []
for i in range(60):
    distance = list(models.Distance)[i % 4]
    client = QdrantClient(":memory:")
    client.create_collection("c", vectors_config=models.VectorParams(size=4, distance=distance))
    vectors = [[round(rng.uniform(-1, 1), 3) for _ in range(4)] for _ in range(12)]
    client.upsert("c", [models.PointStruct(id=j, vector=v) for j, v in enumerate(vectors)])
    target = [round(rng.uniform(-1, 1), 3) for _ in range(4)]
    diversity, candidates, limit = round(rng.random(), 2), rng.randint(4, 12), rng.randint(1, 6)
    nearest = client.query_points("c", query=target, limit=candidates, with_vectors=True).points
    query = models.NearestQuery(nearest=target, mmr=models.Mmr(diversity=diversity, candidates_limit=candidates))
    got = client.query_points("c", query=query, limit=limit).points
    spread.append({"distance": distance.value, "lambda": 1 - diversity, "limit": limit, "target": target,
                   "vectors": [p.vector for p in nearest], "taken": [[n.id for n in nearest].index(p.id) for p in got]})

print(json.dumps({"fused": fused, "spread": spread}))
