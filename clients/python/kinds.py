"""Datatypes of vectors, the parameters of a search, and the settings of a collection."""

import grpc
import numpy as np
from qdrant_client import models as m
from truth import similarity, unit, vector


class Kinds:
    """Parts of a suite that has client, name, factor, over and the checks."""

    def fresh(self, suffix, **config):
        name = f"{self.name}_{suffix}"
        if self.client.collection_exists(name):
            self.client.delete_collection(name)
        self.check(f"create {suffix}", self.client.create_collection(name, shard_number=3, replication_factor=self.factor, **config), True)
        return name

    def datatypes(self):
        """What is stored is what the datatype can hold, and so are the scores."""
        if self.over == "memory":
            return
        c = self.client
        kinds = {"half": (m.Datatype.FLOAT16, m.Distance.DOT), "unit": (m.Datatype.FLOAT16, m.Distance.COSINE),
                 "byte": (m.Datatype.UINT8, m.Distance.DOT), "far": (m.Datatype.UINT8, m.Distance.EUCLID)}
        name = self.fresh("datatypes", vectors_config={k: m.VectorParams(size=9, distance=d, datatype=t) for k, (t, d) in kinds.items()})
        shown = c.get_collection(name).config.params.vectors
        self.check("datatypes are shown", {k: v.datatype for k, v in shown.items()}, {k: t for k, (t, _) in kinds.items()})

        def given(kind, i):
            return [(x + 1) * 127.4 for x in vector(i, 9)] if kind in ("byte", "far") else vector(i, 9)

        def stored(kind, v):
            if kind in ("byte", "far"):
                return np.trunc(np.asarray(v))
            v = np.asarray(v, dtype=np.float32)
            return (unit(v).astype(np.float32) if kind == "unit" else v).astype(np.float16).astype(np.float64)

        c.upsert(name, points=[m.PointStruct(id=i, vector={k: given(k, i) for k in kinds}) for i in range(80)], wait=True)
        got = c.retrieve(name, ids=list(range(80)), with_vectors=True)
        for k, (_, d) in kinds.items():
            self.check(f"{k}: stored", {r.id: list(map(float, r.vector[k])) for r in got}, {i: stored(k, given(k, i)).tolist() for i in range(80)})
            q = given(k, 999)
            asked = stored(k, q) if k in ("byte", "far") else q
            ranked = sorted(((similarity(m.Distance.DOT, stored(k, given(k, i)), unit(asked)) if k == "unit" else
                              similarity(d, stored(k, given(k, i)), asked), i) for i in range(80)), reverse=d != m.Distance.EUCLID)
            self.hits(f"{k}: rank", c.query_points(name, query=q, using=k, limit=80).points, ranked)
        code = grpc.StatusCode.INVALID_ARGUMENT
        for what, k, x in (("a byte above 255", "byte", 256), ("a byte below 0", "byte", -1), ("more than a half", "half", 70000)):
            self.refused(what, 400, code, lambda k=k, x=x: c.upsert(name, points=[m.PointStruct(id=1, vector={k: [x] * 9})], wait=True))
        c.delete_collection(name)

    def params(self):
        """Parameters trade speed for accuracy; what is exact stays so."""
        if self.over == "memory":
            return
        c, q = self.client, vector(10_006)
        ask = lambda **p: lambda: c.query_points(self.name, query=q, limit=5, search_params=m.SearchParams(**p))
        want = self.truth.nearest(q)
        given = {"exact": {"exact": True}, "exact and more": {"exact": True, "hnsw_ef": 200, "quantization": m.QuantizationSearchParams(ignore=False, rescore=True, oversampling=1.0)}}
        for what, p in given.items():
            got = ask(**p)().points
            self.check(f"search params, {what}: count", len(got), 5)
            self.hits(f"search params, {what}", got, want)
        for what, p in {"hnsw_ef": {"hnsw_ef": 64}, "acorn": {"acorn": m.AcornSearchParams(enable=True, max_selectivity=0.3)},
                        "quantization": {"quantization": m.QuantizationSearchParams(ignore=True)}}.items():
            self.check(f"search params, {what}: count", len(ask(**p)().points), 5)
        if self.over == "grpc":  # over REST the client itself refuses them
            return
        bad = {"hnsw_ef": 0}, {"quantization": {"oversampling": 0.5}}, {"acorn": {"enable": True, "max_selectivity": 1.5}}
        for p in bad:
            r = self.http.post(f"/collections/{self.name}/points/query", json={"query": q, "params": p})
            self.check(f"search params {p}", (r.status_code, "params." in r.json()["status"]["error"]), (422, True))

    def settings(self):
        """What a collection was made with, and its changes, are shown as they are."""
        if self.over == "memory":
            return
        c, code = self.client, grpc.StatusCode
        name = self.fresh("settings", vectors_config={"a": m.VectorParams(size=4, distance=m.Distance.DOT, on_disk=True, hnsw_config=m.HnswConfigDiff(m=8)),
                                                      "b": m.VectorParams(size=4, distance=m.Distance.DOT)},
                          hnsw_config=m.HnswConfigDiff(ef_construct=64), optimizers_config=m.OptimizersConfigDiff(indexing_threshold=5000),
                          quantization_config=m.ScalarQuantization(scalar=m.ScalarQuantizationConfig(type=m.ScalarType.INT8, quantile=0.75, always_ram=True)))
        got = c.get_collection(name).config
        self.check("hnsw_config with defaults", (got.hnsw_config.m, got.hnsw_config.ef_construct, got.hnsw_config.full_scan_threshold), (16, 64, 10000))
        o = got.optimizer_config
        self.check("optimizer_config with defaults", (o.deleted_threshold, o.vacuum_min_vector_number, o.default_segment_number, o.indexing_threshold), (0.2, 1000, 0, 5000))
        self.check("of a vector", (got.params.vectors["a"].hnsw_config.m, got.params.vectors["a"].on_disk), (8, True))
        self.check("quantization", (got.quantization_config.scalar.quantile, got.quantization_config.scalar.always_ram), (0.75, True))
        c.update_collection(name, hnsw_config=m.HnswConfigDiff(m=24), optimizers_config=m.OptimizersConfigDiff(deleted_threshold=0.5),
                            vectors_config={"b": m.VectorParamsDiff(hnsw_config=m.HnswConfigDiff(m=0), on_disk=True)}, quantization_config=m.Disabled.DISABLED)
        got = c.get_collection(name).config
        self.check("changed, what was not named stays", (got.hnsw_config.m, got.hnsw_config.ef_construct, got.optimizer_config.deleted_threshold,
                                                          got.optimizer_config.indexing_threshold), (24, 64, 0.5, 5000))
        self.check("changed, of a vector", (got.params.vectors["b"].hnsw_config.m, got.params.vectors["b"].on_disk, got.params.vectors["a"].hnsw_config.m), (0, True, 8))
        self.check("quantization off", got.quantization_config, None)
        update = lambda **kw: lambda: c.update_collection(name, **kw)
        self.refused("m of 1", 422, code.INVALID_ARGUMENT, update(hnsw_config=m.HnswConfigDiff(m=1)))
        self.refused("ef_construct of 3", 422, code.INVALID_ARGUMENT, update(hnsw_config=m.HnswConfigDiff(ef_construct=3)))
        self.refused("a vector that is not there", 400, code.INVALID_ARGUMENT, update(vectors_config={"c": m.VectorParamsDiff(on_disk=True)}))
        c.upsert(name, points=[m.PointStruct(id=1, vector={"a": [1, 2, 3, 4]})], wait=True)
        self.check("a point under changed settings", c.count(name, exact=True).count, 1)
        c.delete_collection(name)
