"""Sparse vectors and multi-vectors."""

import math

import grpc
from qdrant_client import grpc as wire
from qdrant_client import models as m
from truth import order, similarity, vector


def bag(i, size=12, dims=200):
    """A sparse vector, its indices in no order."""
    indices = sorted({(i * 37 + k * k * 11 + k) % dims for k in range(size)}, key=lambda d: (d * 7919) % 211)
    return m.SparseVector(indices=indices, values=[((d * 31 + i * 17) % 97 + 1) / 16 - 2 for d in indices])


def pairs(v):
    return dict(zip(v.indices, map(float, v.values)))


def overlap(a, b, scale=lambda d: 1):
    """The inner product; None where nothing is shared."""
    a, b = pairs(a), pairs(b)
    return sum(a[d] * b[d] * scale(d) for d in a if d in b) if a.keys() & b.keys() else None


def rows(i, dim):
    """A multi-vector of one to four rows."""
    return [vector(1000 * i + k, dim) for k in range(1 + i % 4)]


def max_sim(distance, query, stored):
    """What the answer's score is: sums of the best matches; for Euclid the root of the sum of squares."""
    if distance == m.Distance.EUCLID:
        return math.sqrt(sum(min(similarity(distance, q, s) ** 2 for s in stored) for q in query))
    return sum(max(similarity(distance, q, s) for s in stored) for q in query)


def same_hit(i, score, want):
    return i == want[1] and math.isclose(score, want[0], rel_tol=2e-5, abs_tol=2e-5)


class OtherKinds:
    """Parts of a suite that has client, name, factor, over and the checks."""

    def sparse(self):
        c, count, code = self.client, 90, grpc.StatusCode
        memory = self.over == "memory"
        name = self.fresh("sparse", vectors_config={"d": m.VectorParams(size=4, distance=m.Distance.DOT)}, sparse_vectors_config={
            "bag": m.SparseVectorParams(), "words": m.SparseVectorParams(modifier=m.Modifier.IDF, index=m.SparseIndexParams(full_scan_threshold=1000))})
        shown = c.get_collection(name).config.params.sparse_vectors
        self.check("sparse vectors are shown", (sorted(shown), shown["words"].modifier), (["bag", "words"], m.Modifier.IDF))
        has = lambda i: i % 5 != 4
        points = [m.PointStruct(id=i, vector={"d": vector(i, 4), **({"bag": bag(i), "words": bag(i + 7)} if has(i) else {})}, payload={"n": i}) for i in range(count)]
        c.upsert(name, points=points, wait=True)
        stored = {i: bag(i) for i in range(count) if has(i)}
        got = c.retrieve(name, ids=list(range(count)), with_vectors=True)
        self.check("sparse: stored", {r.id: pairs(r.vector["bag"]) for r in got if "bag" in r.vector}, {i: pairs(v) for i, v in stored.items()})
        if not memory:
            self.ok("sparse: indices ascend", all(r.vector["bag"].indices == sorted(r.vector["bag"].indices) for r in got if "bag" in r.vector))
        rank = lambda q, keep=lambda i: True, of=None, scale=lambda d: 1: sorted(
            ((s, i) for i, v in (of or stored).items() if keep(i) and (s := overlap(q, v, scale)) is not None), reverse=True)

        def asks(what):
            q = bag(1234)
            want = rank(q)
            got = c.query_points(name, query=q, using="bag", limit=count, with_vectors=["bag"], with_payload=True).points
            self.check(f"sparse, {what}: which", order(h.id for h in got), order(i for _, i in want))
            self.hits(f"sparse, {what}: rank", got, want)
            self.check(f"sparse, {what}: vectors", {h.id: pairs(h.vector["bag"]) for h in got}, {i: pairs(stored[i]) for _, i in want})

        asks("as stored")
        q = bag(77)
        low = m.Filter(must=[m.FieldCondition(key="n", range=m.Range(lt=40))])
        self.hits("sparse, filter", c.query_points(name, query=q, using="bag", query_filter=low, limit=count).points, rank(q, lambda i: i < 40))
        want = rank(q)
        self.hits("sparse, page", c.query_points(name, query=q, using="bag", limit=5, offset=3).points, want[3:])
        cut = (want[4][0] + want[5][0]) / 2
        self.check("sparse, threshold", len(c.query_points(name, query=q, using="bag", limit=count, score_threshold=cut).points), 5)
        self.hits("sparse, by id", c.query_points(name, query=3, using="bag", limit=count).points, rank(stored[3], lambda i: i != 3))
        many = c.query_batch_points(name, requests=[m.QueryRequest(query=bag(500 + k), using="bag", limit=4) for k in range(3)])
        for k, r in enumerate(many):
            self.hits(f"sparse, batch {k}", r.points, rank(bag(500 + k)))
        self.check("sparse: has_vector and a page of a scroll", [r.id for r in c.scroll(name, limit=3, with_vectors=["bag"])[0]], [0, 1, 2])
        words = {i: bag(i + 7) for i in range(count) if has(i)}

        def idf(d):
            df = sum(d in v.indices for v in words.values())
            return math.log(1 + (len(words) - df + 0.5) / (df + 0.5))

        if not memory:
            self.hits("sparse, idf", c.query_points(name, query=q, using="words", limit=count).points, rank(q, of=words, scale=idf))
        stored[0] = m.SparseVector(indices=[4294967295, 0], values=[0.5, -1.5])
        c.update_vectors(name, points=[m.PointVectors(id=0, vector={"bag": stored[0]})], wait=True)
        c.delete_vectors(name, vectors=["bag"], points=[1, 2], wait=True)
        for i in (1, 2):
            del stored[i]
        asks("changed")
        self.hits("sparse, greatest index", c.query_points(name, query=m.SparseVector(indices=[4294967295], values=[2.0]), using="bag", limit=3).points, [(1.0, 0)])
        if memory:
            return
        self.older_search(name, q, rank(q))
        c.upsert(name, points=[m.PointStruct(id=1000, vector={"bag": m.SparseVector(indices=[], values=[])})], wait=True)
        self.check("sparse of none", pairs(c.retrieve(name, ids=[1000], with_vectors=True)[0].vector["bag"]), {})
        put = lambda v: lambda: c.upsert(name, points=[m.PointStruct(id=1, vector=v)], wait=True)
        sparse = lambda i, v: m.SparseVector.model_construct(indices=i, values=v)
        self.refused("sparse: an index twice", 422, code.INVALID_ARGUMENT, put({"bag": sparse([1, 1], [1.0, 2.0])}))
        self.refused("sparse: fewer values", 422, code.INVALID_ARGUMENT, put({"bag": sparse([1, 2], [1.0])}))
        self.refused("sparse: numbers for it", 400, code.INVALID_ARGUMENT, put({"bag": [1.0, 2.0]}))
        self.refused("sparse for numbers", 400, code.INVALID_ARGUMENT, put({"d": sparse([1], [1.0])}))
        self.refused("sparse: numbers asked", 400, code.INVALID_ARGUMENT, lambda: c.query_points(name, query=[1.0, 2.0], using="bag"))
        c.delete_collection(name)

    def older_search(self, name, q, want):
        """As older clients ask, and write."""
        if self.over == "rest":
            r = self.http.post(f"/collections/{name}/points/search", json={"vector": {"name": "bag", "vector": {"indices": q.indices, "values": q.values}}, "limit": 7})
            self.check("sparse, older search", [same_hit(h["id"], h["score"], want[k]) for k, h in enumerate(r.json()["result"])], [True] * 7)
            return
        stub = self.client.grpc_points
        r = stub.Search(wire.SearchPoints(collection_name=name, vector=q.values, sparse_indices=wire.SparseIndices(data=q.indices), vector_name="bag", limit=7))
        self.check("sparse, older search", [same_hit(h.id.num, h.score, want[k]) for k, h in enumerate(r.result)], [True] * 7)
        flat = wire.Vector(data=[0.5, 4.0], indices=wire.SparseIndices(data=[9, 2]))
        stub.Upsert(wire.UpsertPoints(collection_name=name, wait=True, points=[wire.PointStruct(
            id=wire.PointId(num=2000), vectors=wire.Vectors(vectors=wire.NamedVectors(vectors={"bag": flat})))]))
        got = self.client.retrieve(name, ids=[2000], with_vectors=True)[0].vector["bag"]
        self.check("sparse, older form of a write", pairs(got), {9: 0.5, 2: 4.0})
        self.client.delete(name, points_selector=[2000], wait=True)

    def multi(self):
        c, count, dim, code = self.client, 60, 6, grpc.StatusCode
        spaces = {"cos": m.Distance.COSINE, "dot": m.Distance.DOT, "far": m.Distance.EUCLID}
        config = m.MultiVectorConfig(comparator=m.MultiVectorComparator.MAX_SIM)
        name = self.fresh("multi", vectors_config={k: m.VectorParams(size=dim, distance=d, multivector_config=config) for k, d in spaces.items()})
        self.check("multi vectors are shown", c.get_collection(name).config.params.vectors["cos"].multivector_config, config)
        c.upsert(name, points=[m.PointStruct(id=i, vector={k: rows(i, dim) for k in spaces}, payload={"n": i}) for i in range(count)], wait=True)
        stored = {i: rows(i, dim) for i in range(count)}
        got = c.retrieve(name, ids=list(range(count)), with_vectors=["dot"])
        self.check("multi: stored", {r.id: [list(map(float, x)) for x in r.vector["dot"]] for r in got}, stored)

        def asks(what):
            for k, d in spaces.items():
                if self.over == "memory" and d == m.Distance.EUCLID:
                    continue
                for query in (rows(503, dim), rows(500, dim)):
                    want = sorted(((max_sim(d, query, v), i) for i, v in stored.items()), reverse=d != m.Distance.EUCLID)
                    got = c.query_points(name, query=query, using=k, limit=count).points
                    self.check(f"multi {k}, {what}: all", len(got), len(stored))
                    self.hits(f"multi {k}, {what}: rank", got, want)

        asks("as stored")
        if self.over != "memory":
            want = sorted(((max_sim(spaces["dot"], stored[7], v), i) for i, v in stored.items() if i != 7), reverse=True)
            self.hits("multi, by id", c.query_points(name, query=7, using="dot", limit=9).points, want)
            one = vector(4242, dim)
            want = sorted(((max_sim(spaces["dot"], [one], v), i) for i, v in stored.items()), reverse=True)
            self.hits("multi, one row asked", c.query_points(name, query=one, using="dot", limit=9).points, want)
        stored[3] = rows(9003, dim)
        c.update_vectors(name, points=[m.PointVectors(id=3, vector={k: stored[3] for k in spaces})], wait=True)
        c.delete(name, points_selector=[4], wait=True)
        del stored[4]
        asks("changed")
        if self.over == "memory":
            return
        put = lambda v: lambda: c.upsert(name, points=[m.PointStruct(id=1, vector={"dot": v})], wait=True)
        self.refused("multi: rows of two lengths", 400, code.INVALID_ARGUMENT, put([[1.0] * dim, [1.0] * (dim - 1)]))
        self.refused("multi: sparse for it", 400, code.INVALID_ARGUMENT, put(m.SparseVector(indices=[1], values=[1.0])))
        c.delete_collection(name)
