"""The calls of the Python client that no other part makes: cluster, uploads, snapshots, and the asynchronous client; and which
of all its calls were made in the end."""

import asyncio
import inspect

import grpc
from qdrant_client import AsyncQdrantClient, QdrantClient
from qdrant_client import models as m
from truth import vector

# These ask no server.
LOCAL = {"get_embedding_size", "list_image_models", "list_late_interaction_multimodal_models", "list_late_interaction_text_models",
         "list_sparse_models", "list_text_models"}


class Recorded(QdrantClient):
    """The client, and which of its methods were looked up, by this program or by the client itself."""

    used = set()

    def __getattribute__(self, name):
        if not name.startswith("_"):
            Recorded.used.add(name)
        return super().__getattribute__(name)


def offered():
    return {n for n, f in inspect.getmembers(QdrantClient) if not n.startswith("_") and callable(f)} - LOCAL


class Calls:
    def other_calls(self):
        name, c = self.name + "_calls", self.client
        c.recreate_collection(name, vectors_config=m.VectorParams(size=8, distance=m.Distance.DOT))
        c.upload_points(name, [m.PointStruct(id=i, vector=vector(i, 8), payload={"n": i}) for i in range(50)], batch_size=16, wait=True)
        c.upload_collection(name, [vector(i, 8) for i in range(50, 90)], payload=[{"n": i} for i in range(50, 90)], ids=list(range(50, 90)), batch_size=16, wait=True)
        self.check("uploaded", sorted((p.id, p.payload["n"]) for p in c.scroll(name, limit=200)[0]), [(i, i) for i in range(90)])
        copy = QdrantClient(":memory:")
        c.migrate(copy, [name], batch_size=30)
        self.check("migrated", copy.count(name).count, 90)
        copy.close()
        self.async_calls(name)
        if self.over == "memory":
            c.delete_collection(name)
            return
        self.check("shard keys of automatic sharding", list(c.list_shard_keys(name).shard_keys or []), [])
        self.check("the cluster's status", c.cluster_status().status, "enabled")
        self.check("the state fetched anew", c.recover_current_peer(), True)
        self.check("an unknown peer is removed", c.remove_peer(4), True)
        self.refused("drop of the last replica", 400, grpc.StatusCode.INVALID_ARGUMENT, lambda: c.cluster_collection_update(
            name, m.DropReplicaOperation(drop_replica=m.Replica(shard_id=0, peer_id=c.cluster_status().peer_id))))
        for what, call in {
            "cluster_telemetry": lambda: c.cluster_telemetry(), "get_optimizations": lambda: c.get_optimizations(name),
            "list_snapshots": lambda: c.list_snapshots(name), "create_snapshot": lambda: c.create_snapshot(name),
            "delete_snapshot": lambda: c.delete_snapshot(name, "s"), "recover_snapshot": lambda: c.recover_snapshot(name, "http://127.0.0.1:1/s"),
            "list_full_snapshots": lambda: c.list_full_snapshots(), "create_full_snapshot": lambda: c.create_full_snapshot(),
            "delete_full_snapshot": lambda: c.delete_full_snapshot("s"), "list_shard_snapshots": lambda: c.list_shard_snapshots(name, 0),
            "create_shard_snapshot": lambda: c.create_shard_snapshot(name, 0), "delete_shard_snapshot": lambda: c.delete_shard_snapshot(name, 0, "s"),
            "recover_shard_snapshot": lambda: c.recover_shard_snapshot(name, 0, "http://127.0.0.1:1/s"),
        }.items():
            self.refused(f"{what} says that it is not built", 501, grpc.StatusCode.UNIMPLEMENTED, call)
        c.delete_collection(name)

    def async_calls(self, name):
        """The asynchronous client finds what the other one finds."""
        where, sync = self.where, self.client

        async def run():
            c = AsyncQdrantClient(**where)
            try:
                await c.upsert(name, [m.PointStruct(id=i, vector=vector(i, 8), payload={"n": i}) for i in range(90, 100)], wait=True)
                self.check("asynchronous count", (await c.count(name)).count, 100)
                query = {"query": vector(1234, 8), "limit": 7, "query_filter": m.Filter(must=[m.FieldCondition(key="n", range=m.Range(gte=20))])}
                a, b = await asyncio.gather(c.query_points(name, **query), c.query_points(name, with_payload=False, **query))
                want = [(p.id, p.score) for p in sync.query_points(name, **query).points]
                self.check("asynchronous query", [(p.id, p.score) for p in a.points], want)
                self.check("two at a time", [(p.id, p.score) for p in b.points], want)
                await c.set_payload(name, {"mark": True}, points=[1, 2])
                self.check("asynchronous retrieve", [p.payload for p in await c.retrieve(name, [1])], [{"n": 1, "mark": True}])
                await c.delete(name, m.PointIdsList(points=list(range(90, 100))))
                page, _ = await c.scroll(name, limit=200)
                self.check("asynchronous scroll", [p.id for p in page], list(range(90)))
            finally:
                await c.close()

        if self.over != "memory":
            asyncio.run(run())

    def covered(self):
        missing = offered() - Recorded.used - {"close"}
        self.ok(f"calls covered: {len(offered()) - len(missing)} of {len(offered())}", not missing or self.over == "memory", ", ".join(sorted(missing)))
