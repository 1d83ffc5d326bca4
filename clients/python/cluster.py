"""What a cluster is asked: where the replicas are, and the same points through every peer."""

import os
import sys
import time

from qdrant_client import models as m
from truth import COUNT, SHARDS, Points, filled, payload, point_id, vector


class Cluster:
    """The part of a Suite that needs several peers."""

    def sample(self):
        """The sample of Qdrant's documentation: six shards, each on two peers, are twelve replicas."""
        own, self.name = self.name, self.name + "_sample"
        self.part("sample", self.make)
        self.placement(15)
        self.truth = filled()
        ids = list(self.truth.vectors)
        for start in range(0, COUNT, 100):
            self.part("load", lambda: self.store(ids[start:start + 100]))
        self.work()
        self.name, self.truth = own, Points(m.Distance.COSINE)

    def sample_again(self):
        """The same collection in a later run, with a peer down or back."""
        self.name, self.truth = self.name + "_sample", filled()
        if self.mode == "cluster-back":
            self.placement(120)
        self.work()

    def placed(self):
        """The number of shards, and (shard, peer, state) of each replica."""
        info = self.client.collection_cluster_info(self.name)
        local = [(s.shard_id, info.peer_id, s.state) for s in info.local_shards]
        remote = [(s.shard_id, s.peer_id, s.state) for s in info.remote_shards]
        return info.shard_count, sorted(local + remote)

    def placement(self, seconds):
        """Every peer tells of the same replicas, all active after some seconds."""
        want, told = SHARDS * self.factor, []

        def active(replicas):
            return all(state == m.ReplicaState.ACTIVE for *_, state in replicas)

        def whole():
            _, replicas = self.placed()
            return len(replicas) == want and active(replicas)

        def one():
            within(seconds, whole)
            shards, replicas = self.placed()
            told.append(replicas)
            self.ok("all replicas are active", active(replicas), replicas)
            self.check("logical shards", (shards, len({shard for shard, *_ in replicas})), (SHARDS, SHARDS))
            self.check("physical shards", len(replicas), want)
            self.check("no two replicas of a shard on one peer", len({(shard, peer) for shard, peer, _ in replicas}), len(replicas))
            self.check("every peer says the same", replicas, told[0])

        for _ in self.peers:
            self.part("placement", one)

    def store(self, ids):
        rows = [m.PointStruct(id=i, vector=self.truth.vectors[i], payload=self.truth.payloads[i]) for i in ids]
        self.check("upsert", self.client.upsert(self.name, points=rows, wait=True).status, m.UpdateStatus.COMPLETED)

    def work(self):
        """Reads, writes and searches through each peer; leaves the collection as it was."""
        t, peers = self.truth, range(len(self.peers))

        def survey():
            q = vector(10_001)
            self.check("sample: count", self.client.count(self.name, exact=True).count, len(t.vectors))
            self.same_points("sample", list(t.vectors))
            got = self.client.query_points(self.name, query=q, limit=2 * COUNT).points
            self.hits("sample: query", got, t.nearest(q))
            self.check("sample: query for all", len(got), len(t.vectors))

        def write(k):
            old, fresh = point_id(k), point_id(1000 + k)
            t.vectors[fresh], t.payloads[fresh] = vector(k), payload(k)
            self.store([fresh])
            t.payloads[old] = dict(payload(k), through=k)
            self.client.set_payload(self.name, payload={"through": k}, points=[old], wait=True)
            self.same_points("sample: written", [old, fresh])

        def undo(k):
            old, fresh = point_id(k), point_id(1000 + k)
            del t.vectors[fresh], t.payloads[fresh]
            self.client.delete(self.name, points_selector=[fresh], wait=True)
            t.payloads[old] = payload(k)
            self.client.overwrite_payload(self.name, payload=payload(k), points=[old], wait=True)
            self.same_points("sample: undone", [old])

        for _ in peers:
            self.part("survey", survey)
        for k in peers:
            self.part("write", lambda: write(k))
        for _ in peers:
            self.part("survey after writes", survey)
        for k in reversed(peers):
            self.part("undo", lambda: undo(k))
        self.part("survey after all", survey)


def within(seconds, f):
    """Asks again until it is true or the seconds are over."""
    end = time.monotonic() + seconds
    while not f():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def addresses(args):
    """Host, REST port and gRPC port of each peer to talk to: the one named by flags, or those of PANDO_PEERS="rest/grpc,…"
    but the PANDO_DOWN-th."""
    if not args.mode:
        return [(args.host, args.rest_port, args.grpc_port)]
    if not os.environ.get("PANDO_PEERS"):
        sys.exit(f'{args.mode} needs PANDO_PEERS="rest/grpc,…", each host:port')
    peers = [[a.rsplit(":", 1) for a in peer.split("/")] for peer in os.environ["PANDO_PEERS"].split(",")]
    down = int(os.environ.get("PANDO_DOWN", "0")) if args.mode == "cluster-down" else 0
    return [(rest[0], int(rest[1]), int(grpc_address[1])) for k, (rest, grpc_address) in enumerate(peers, 1) if k != down]
