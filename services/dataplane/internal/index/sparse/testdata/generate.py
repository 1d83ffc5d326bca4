"""Writes oracle.json: what the in-memory mode of the published Python client
answers for seeded random sparse vectors. Run with qdrant-client 1.20.0:

    python3 generate.py > oracle.json
"""

import json
import random

from qdrant_client import QdrantClient, models

rng = random.Random(5)


def vector():
    dims = sorted(rng.sample(range(9), rng.randint(1, 4)))
    return {"indices": dims, "values": [round(rng.gauss(0.5, 1), 3) for _ in dims]}


client = QdrantClient(":memory:")
cases = []
for idf in [False, True]:
    name = str(idf)
    params = models.SparseVectorParams(modifier=models.Modifier.IDF if idf else None)
    client.create_collection(name, vectors_config={}, sparse_vectors_config={"s": params})
    # One row shares no dimension with the query, one shares a weight of 0.
    rows = [vector() for _ in range(20)] + [{"indices": [9], "values": [1]}, {"indices": [7], "values": [0]}]
    client.upsert(name, [models.PointStruct(id=i, vector={"s": models.SparseVector(**r)}) for i, r in enumerate(rows)])
    query = {"indices": [2, 5, 7, 11], "values": [1.5, -0.25, 0.75, 3]}
    hits = client.query_points(name, query=models.SparseVector(**query), using="s", limit=len(rows)).points
    cases.append({"idf": idf, "rows": rows, "query": query, "hits": [[h.id, h.score] for h in hits]})
print(json.dumps(cases))
