"""Holds one index of another library and answers requests, a JSON object a line, as services/test/bench/protocol.go has
them. `peers.py NAME`; `peers.py --list` prints a line for each name: the name, its version, or "-" and why it is not there.

Vectors are float32. For the cosine all but Qdrant's engine get them at length 1 and compare inner products; it takes them
as they are. Queries, filters and requests are made before the clock runs, and where a library takes many queries in one call
it is called so, with one thread: what Python costs is nobody's.
"""
import ctypes, gc, gzip, importlib, importlib.metadata, io, json, pathlib, re, shutil, sys, tempfile, time

import numpy as np


def matrix(folder, pattern):
    (name,) = folder.glob(pattern)
    raw = name.read_bytes()
    return np.load(io.BytesIO(gzip.decompress(raw) if name.suffix == ".gz" else raw)).astype(np.float32)


def payloads(folder, rows):
    out = []
    with gzip.open(folder / "base.jsonl.gz", "rt", encoding="utf-8") as lines:
        for line in lines:
            if len(out) == rows:
                break
            out.append(json.loads(line))
            if "summary" in out[-1]:
                out[-1]["tokens"] = sorted(set(re.findall(r"[^\W_]+", out[-1]["summary"].lower())))
    return out


def resident():
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return next(int(line.split()[1]) << 10 for line in open("/proc/self/status") if line.startswith("VmRSS:"))


class Batch:
    """A library that takes all queries in one call."""

    def prepare(self, queries, ask):
        self.tune(ask.get("ef") or 128)
        return lambda: self.find(queries, ask["k"])

    def close(self):
        pass


class Hnswlib(Batch):
    package, module = "hnswlib", "hnswlib"

    def build(self, base, ask):
        self.index = self.library.Index("l2" if ask["distance"] == "Euclid" else "ip", base.shape[1])
        self.index.init_index(len(base), M=ask["m"], ef_construction=ask["ef_construct"], random_seed=1)
        self.index.add_items(base, num_threads=1)

    def tune(self, ef):
        self.index.set_ef(ef)

    def find(self, queries, k):
        return self.index.knn_query(queries, k=k, num_threads=1)[0]


class Faiss(Batch):
    package, module = "faiss-cpu", "faiss"
    codes = False

    def build(self, base, ask):
        faiss = self.library
        faiss.omp_set_num_threads(1)
        metric = faiss.METRIC_L2 if ask["distance"] == "Euclid" else faiss.METRIC_INNER_PRODUCT
        if self.codes:
            self.index = faiss.IndexHNSWSQ(base.shape[1], faiss.ScalarQuantizer.QT_8bit, ask["m"], metric)
        else:
            self.index = faiss.IndexHNSWFlat(base.shape[1], ask["m"], metric)
        self.index.hnsw.efConstruction = ask["ef_construct"]
        self.index.train(base)
        self.index.add(base)

    def tune(self, ef):
        self.index.hnsw.efSearch = ef

    def find(self, queries, k):
        return self.index.search(queries, k)[1]


class FaissCodes(Faiss):
    codes = True


class Usearch(Batch):
    package, module = "usearch", "usearch.index"

    def build(self, base, ask):
        self.index = self.library.Index(ndim=base.shape[1], metric="l2sq" if ask["distance"] == "Euclid" else "ip", dtype="f32", connectivity=ask["m"], expansion_add=ask["ef_construct"])
        self.index.add(np.arange(len(base)), base, threads=1)

    def tune(self, ef):
        self.index.expansion_search = ef

    def find(self, queries, k):
        return self.index.search(queries, k, threads=1).keys


class Qdrant:
    """One segment, so that one graph is searched; writes go to its log as they do by default."""

    package, module = "qdrant-edge-py", "qdrant_edge"

    def build(self, base, ask):
        q = self.library
        self.folder = tempfile.mkdtemp(prefix="pando-bench-", dir=ask.get("scratch") or None)
        graph = q.HnswIndexConfig(m=ask["m"], ef_construct=ask["ef_construct"], full_scan_threshold=10_000, max_indexing_threads=1)
        self.shard = q.EdgeShard.create(self.folder + "/shard", q.EdgeConfig(
            vectors=q.EdgeVectorParams(size=base.shape[1], distance=getattr(q.Distance, ask["distance"]), hnsw_config=graph),
            hnsw_config=graph, optimizers=q.EdgeOptimizersConfig(default_segment_number=1, indexing_threshold=1000), max_search_threads=1))
        payload = ask.get("payloads")
        for field in ask.get("fields") or []:
            kind = q.PayloadSchemaType.Integer if field["type"] == "integer" else q.PayloadSchemaType.Keyword
            self.shard.update(q.UpdateOperation.create_field_index(field["key"], kind))
        for at in range(0, len(base), 256):
            self.shard.update(q.UpdateOperation.upsert_points([
                q.Point(at + i, row.tolist(), payload[at + i] if payload else None) for i, row in enumerate(base[at : at + 256])]))
        self.adding = time.perf_counter()
        while self.shard.optimize():
            pass
        info = self.shard.info()
        if info.indexed_vectors_count < len(base):
            raise RuntimeError(f"{info.indexed_vectors_count} of {len(base)} vectors are indexed in {info.segments_count} segments")

    def filter(self, conditions):
        q = self.library
        must = []
        for c in conditions:
            if c.get("any"):
                values = [int(v) if isinstance(v, float) else v for v in c["any"]]
                match = q.MatchValue(values[0]) if len(values) == 1 else q.MatchAny(values)
                must.append(q.FieldCondition(key=c["key"], match=match))
            else:
                must.append(q.FieldCondition(key=c["key"], range=q.RangeFloat(gte=c.get("gte"), lt=c.get("lt"))))
        return q.Filter(must=must)

    def prepare(self, queries, ask):
        q = self.library
        acorn = q.AcornSearchParams(enable=True, max_selectivity=1.0) if ask.get("acorn") else None
        params = q.SearchParams(hnsw_ef=ask.get("ef") or None, exact=bool(ask.get("exact")), acorn=acorn)
        filters = [self.filter(c) for c in ask.get("filters") or []]
        requests = [
            q.QueryRequest(limit=ask["k"], query=q.Query.Nearest(row.tolist()), with_payload=False, with_vector=False, params=params,
                           filter=filters[min(i, len(filters) - 1)] if filters else None)
            for i, row in enumerate(queries)]
        self.took = []

        def run():
            out = []
            for r in requests:
                begin = time.perf_counter()
                out.append(self.shard.query(r))
                self.took.append(time.perf_counter() - begin)
            return [[p.id for p in found] for found in out]

        return run

    def close(self):
        self.shard.close()
        shutil.rmtree(self.folder)


PEERS = {"hnswlib": Hnswlib, "faiss-hnsw": Faiss, "faiss-hnsw-sq8": FaissCodes, "usearch": Usearch, "qdrant-edge": Qdrant}


class Driver:
    def __init__(self, name):
        self.name, self.peer = name, PEERS[name]()
        self.peer.library = importlib.import_module(self.peer.module)

    def build(self, ask):
        folder = pathlib.Path(ask["folder"])
        base, self.queries = matrix(folder, "base.*.npy*"), matrix(folder, "queries.*.npy*")
        base = base[: ask.get("rows") or len(base)].copy()
        if ask["distance"] == "Cosine" and self.name != "qdrant-edge":
            for rows in (base, self.queries):
                rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        if ask.get("fields"):
            ask["payloads"] = payloads(folder, len(base))
        self.base = base  # kept, so that what is resident grows by the index alone
        before = resident()
        cpu, begin = time.process_time(), time.perf_counter()
        self.peer.build(base, ask)
        out = {"wall": time.perf_counter() - begin, "cpu": time.process_time() - cpu, "before": before, "version": importlib.metadata.version(self.peer.package)}
        out["adding"] = getattr(self.peer, "adding", begin + out["wall"]) - begin
        out["rss"] = resident()
        return out

    def search(self, ask):
        queries = self.queries[: ask.get("queries") or len(self.queries)]
        run = self.peer.prepare(queries, ask)
        ids = run()
        if hasattr(self.peer, "took"):
            self.peer.took.clear()
        cpu, begin, passes = time.process_time(), time.perf_counter(), 0
        while passes == 0 or time.perf_counter() - begin < (ask.get("seconds") or 0):
            run()
            passes += 1
        out = {"wall": (time.perf_counter() - begin) / passes, "cpu": (time.process_time() - cpu) / passes}
        if hasattr(self.peer, "took"):
            out["p50"], out["p99"] = (float(x) for x in np.percentile(self.peer.took, (50, 99)))
        out["ids"] = [[int(x) for x in row if x >= 0] for row in ids]
        return out

    def memory(self, _):
        return {"rss": resident()}


def main():
    if sys.argv[1:] == ["--list"]:
        for name, peer in PEERS.items():
            try:
                importlib.import_module(peer.module)
                print(name, importlib.metadata.version(peer.package))
            except Exception as e:  # whatever keeps a package from being used is to be told
                print(name, "-", f"{peer.package}: {e!r}".replace("\n", " "))
        return
    driver = Driver(sys.argv[1])
    for line in sys.stdin:
        ask = json.loads(line)
        try:
            out = {"build": driver.build, "search": driver.search, "memory": driver.memory}[ask["do"]](ask)
        except Exception as e:  # the other side decides what it means
            out = {"error": repr(e)}
        print(json.dumps(out), flush=True)
    driver.peer.close()


if __name__ == "__main__":
    main()
