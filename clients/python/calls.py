"""The calls of the Python client that no other part makes: cluster, uploads, snapshots; and which of all its
calls were made in the end."""

import asyncio
import inspect

import grpc
from qdrant_client import AsyncQdrantClient, QdrantClient
from qdrant_client import models as m
from truth import vector

# These ask no server.
LOCAL = {"close", "get_embedding_size", "list_image_models", "list_late_interaction_multimodal_models", "list_late_interaction_text_models",
         "list_sparse_models", "list_text_models"}


class Counted:
    """A client, and which of its methods this program called; what the client calls itself does not count. The asynchronous
    one is waited for at each call."""

    called = set()

    def __init__(self, kind, runner, *args, **kwargs):
        self.kind, self.runner = kind, runner

        async def make():  # a channel belongs to the loop that runs when it is made
            return kind(*args, **kwargs)

        self.client = runner.run(make())

    def __getattr__(self, name):
        f = getattr(self.client, name)
        return self.counted(name, f) if callable(f) else f

    def counted(self, name, f):
        async def wait(answer):
            return await answer

        def call(*args, **kwargs):
            Counted.called.add(name)
            answer = f(*args, **kwargs)
            return self.runner.run(wait(answer)) if inspect.isawaitable(answer) else answer

        return call


def offered(kind):
    methods = {n for n, f in inspect.getmembers(kind) if not n.startswith("_") and callable(f)} - LOCAL
    return methods - {"migrate"} if kind is AsyncQdrantClient else methods  # that of the asynchronous one raises NotImplementedError


class Calls:
    def other_calls(self):
        name, c = self.name + "_calls", self.client
        c.recreate_collection(name, vectors_config=m.VectorParams(size=8, distance=m.Distance.DOT))
        c.upload_points(name, [m.PointStruct(id=i, vector=vector(i, 8), payload={"n": i}) for i in range(50)], batch_size=16, wait=True)
        c.upload_collection(name, [vector(i, 8) for i in range(50, 90)], payload=[{"n": i} for i in range(50, 90)], ids=list(range(50, 90)), batch_size=16, wait=True)
        self.check("uploaded", sorted((p.id, p.payload["n"]) for p in c.scroll(name, limit=200)[0]), [(i, i) for i in range(90)])
        if c.kind is AsyncQdrantClient:
            self.at_once(name)
        else:
            copy = QdrantClient(":memory:")
            c.migrate(copy, [name], batch_size=30)
            self.check("migrated", copy.count(name).count, 90)
            copy.close()
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

    def at_once(self, name):
        """Questions that are on their way at the same time get each its own answer."""
        c = self.client.client
        ask = lambda i: c.query_points(name, query=vector(i, 8), limit=7)

        async def together():
            return await asyncio.gather(*map(ask, range(200, 220)))

        together, alone = self.runner.run(together()), [self.runner.run(ask(i)) for i in range(200, 220)]
        found = lambda answers: [[(p.id, p.score) for p in a.points] for a in answers]
        self.check("twenty at once", found(together), found(alone))

    def covered(self):
        every = offered(self.client.kind)
        missing = every - Counted.called
        what = f"calls covered: {len(every) - len(missing)} of {len(every)}"
        self.ok(what, not missing or self.over == "memory", ", ".join(sorted(missing)))
        if not missing and not self.verbose:
            print(what)
