"""Writes oracle.json: what the in-memory mode of the published Python client
answers for seeded random multi-vectors. Run with qdrant-client 1.20.0:

    python3 generate.py > oracle.json
"""

import json
import random

from qdrant_client import QdrantClient, models

rng = random.Random(5)


def vectors(most):
    return [[round(rng.gauss(0, 1), 3) for _ in range(3)] for _ in range(rng.randint(1, most))]


client = QdrantClient(":memory:")
cases = []
for number, distance in [(1, "COSINE"), (2, "EUCLID"), (3, "DOT"), (4, "MANHATTAN")]:
    comparator = models.MultiVectorConfig(comparator=models.MultiVectorComparator.MAX_SIM)
    params = models.VectorParams(size=3, distance=models.Distance[distance], multivector_config=comparator)
    client.create_collection(distance, vectors_config=params)
    rows = [vectors(4) for _ in range(12)]
    client.upsert(distance, [models.PointStruct(id=i, vector=r) for i, r in enumerate(rows)])
    query = vectors(3)
    hits = client.query_points(distance, query=query, limit=len(rows)).points
    cases.append({"distance": number, "rows": rows, "query": query, "hits": [[h.id, h.score] for h in hits]})
print(json.dumps(cases))
