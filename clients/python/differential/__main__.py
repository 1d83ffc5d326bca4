"""Gives the published client's own engine and Pando the same random operations, and compares every answer.

    python differential [--seed 1] [--ops 2000] [--first 0] [--only KIND,…] [--pando ./pando] [--launcher .bin/peers] [--dir .bin]

The oracle is the engine inside the client (`QdrantClient(":memory:")`). Pando runs twice: one peer with one shard, and three
peers with six shards of two replicas. Operation by operation REST and gRPC take turns, and the peers of the cluster do. A
disagreement is shrunk to the operations that it takes, printed with the seed and its number, and ends the run with code 1.
"""

import argparse
import keyword
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import warnings
from collections import Counter
from copy import deepcopy
from enum import Enum

import grpc
import operations
import queries
from pydantic import BaseModel
from qdrant_client import QdrantClient
from qdrant_client import models as m
from qdrant_client.http.exceptions import UnexpectedResponse

KINDS = operations.OPERATIONS | queries.KINDS
ROUND = 400  # operations on one collection before the next one is made


class Target:
    """A running Pando, and what collections are made with there."""

    def __init__(self, what, peers, args, **made_with):
        self.what, self.made_with = what, made_with
        self.dir = tempfile.mkdtemp(prefix="differential-", dir=args.dir)
        port = free_ports(10 * peers)
        self.log = open(os.path.join(self.dir, "out"), "w")
        self.process = subprocess.Popen([args.launcher, "-pando", args.pando, "-peers", str(peers), "-port", str(port), "-dir", self.dir], stdout=self.log, stderr=self.log)
        self.rest = [port + 10 * k for k in range(peers)]
        self.clients = []

    def ready(self):
        for port in self.rest:
            for _ in range(600):
                if self.process.poll() is not None:
                    break
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5).close()
                    break
                except OSError:
                    time.sleep(0.1)
            else:
                sys.exit(f"{self.what}: no answer at port {port}")
            if self.process.poll() is not None:
                sys.exit(f"{self.what} did not start:\n{open(self.log.name).read()[-2000:]}")
        self.clients = [QdrantClient(host="127.0.0.1", port=p, grpc_port=p + 1, prefer_grpc=over, timeout=60, check_compatibility=False) for over in (False, True) for p in self.rest]

    def turn(self, n):
        """The client of the n-th operation, and how it talks."""
        peers = len(self.rest)
        over, peer = (n + peers // 2) % 2, n // 2 % peers
        return self.clients[over * peers + peer], f"{self.what}, {('REST', 'gRPC')[over]}" + (f", peer {peer + 1}" if peers > 1 else "")

    def stop(self, good):
        """Ends the peers. Their data and logs go if all was well, and stay to be looked at otherwise."""
        for c in self.clients:
            c.close()
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(30)
        self.log.close()
        if good and not code:
            shutil.rmtree(self.dir)
            return True
        print(f"{self.what}: the peers' data and logs are in {self.dir}" + (f"; they ended with code {code}" if code else ""))
        return False


def free_ports(n):
    """The first of n ports that nobody listens on."""
    while True:
        first = random.SystemRandom().randrange(20000, 31000)
        try:
            for port in range(first, first + n):
                with socket.socket() as s:
                    s.bind(("127.0.0.1", port))
            return first
        except OSError:
            continue


def outcome(client, name, call, oracle=False):
    """The answer, or the error, of one call."""
    try:
        kw = deepcopy(call.oracle or call.kw) if oracle else call.kw
        return getattr(client, call.method)(name, **kw), None
    except (ValueError, KeyError, TypeError, UnexpectedResponse, grpc.RpcError) as e:
        return None, e


def compare(call, got, want):
    """What is wrong, or None."""
    (answer, error), (right, refusal) = got, want
    if error and refusal:
        return None
    if error:
        text = error.details() if isinstance(error, grpc.RpcError) else error.content.decode() if isinstance(error, UnexpectedResponse) else repr(error)
        return f"refused: {text[:600]}; the oracle answers {str(right)[:300]}"
    if refusal:
        return f"accepted, and answered {str(answer)[:300]}; the oracle refuses: {refusal!r}"
    return call.agree(answer, right)


class Round:
    """One collection, from its creation on."""

    def __init__(self, name, shape, targets):
        self.name, self.shape, self.targets = name, shape, targets
        self.oracle = QdrantClient(":memory:")
        self.past, self.refused, self.parts = [], Counter(), 0
        self.make(self.oracle, {})
        for t in targets:
            self.make(t.clients[0], t.made_with)
        self.world = operations.World(self.oracle, name, shape)

    def make(self, client, made_with):
        if client.collection_exists(self.name):
            client.delete_collection(self.name)
        client.create_collection(self.name, **self.shape.kw, **made_with)
        for key, schema in operations.INDEXES.items():
            client.create_payload_index(self.name, key, schema)
        if client.collection_exists(queries.OTHER):
            client.delete_collection(queries.OTHER)
        client.create_collection(queries.OTHER, **self.shape.kw, **made_with)
        client.upsert(queries.OTHER, queries.others(self.shape))

    def play(self, n, call):
        """Asks all; the first disagreement as (how, what)."""
        self.past.append((n, call))
        want = outcome(self.oracle, self.name, call, oracle=True)
        self.world.known = self.world.named = None
        if want[1]:
            self.refused[call.method] += 1
        for t in self.targets:
            client, how = t.turn(n)
            if bad := compare(call, outcome(client, self.name, call), want):
                return how, bad
        return None

    def end(self):
        for t in self.targets:
            self.parts = max(self.parts, t.clients[0].get_collection(self.name).segments_count)
            t.clients[0].delete_collection(self.name)
            t.clients[0].delete_collection(queries.OTHER)


def generate(seed, n, world, only):
    """The n-th operation of a seed. It depends on what the oracle holds, which depends on the seed alone."""
    rng = random.Random(f"{seed}/{n}")
    kinds = {k: max(1, weight) for k, (weight, _) in KINDS.items() if (k in only if only else weight)}
    # Something has to be there: every second operation writes until it is, all but a few at the very beginning.
    if len(world.ids) < 40 and rng.random() < (0.5 if world.ids else 0.9):
        kinds = {"upsert": 1}
    while True:
        kind = rng.choices(list(kinds), kinds.values())[0]
        if call := KINDS[kind][1](rng, world):
            return kind, call


def strangers(call, world):
    """The vectors that a call names, may be there, and are not."""
    if call.method.endswith("_vector_name"):
        return set()
    return {n for n in set(world.shape.spare) - set(world.vectors) if f"'{n}'" in spelled(call)}


def shrink(past, name, shape, targets, patience=60):
    """Fewer operations that still end in a disagreement, as ddmin does, within some seconds."""
    end = time.monotonic() + patience

    def fails(ops):
        """These operations up to the first that disagrees, and in what; nothing if none does."""
        again = Round(name, shape, targets)
        try:
            for n, call in ops:
                # What is left out may have made the points and the vectors that a call needs.
                if operations.needs(call) <= set(again.world.ids) and not strangers(call, again.world) and (bad := again.play(n, call)):
                    return again.past, bad[1]
            return None
        finally:
            again.end()

    least, size = fails(past), max(1, len(past) // 2)
    while least and time.monotonic() < end:
        k, ops = 0, least[0]
        while k < len(ops) - 1 and time.monotonic() < end:
            if fewer := fails(ops[:k] + ops[min(k + size, len(ops) - 1):]):
                least, ops = fewer, fewer[0]
            else:
                k += size
        if size == 1:
            break
        size = max(1, size // 2)
    return least


def short(x):
    """An expression that makes x, without what is None."""
    if isinstance(x, BaseModel):
        given = {type(x).model_fields[k].alias or k: v for k, v in x if v is not None}
        if any(not k.isidentifier() or keyword.iskeyword(k) for k in given):
            return f"m.{type(x).__name__}(**{short(given)})"
        return f"m.{type(x).__name__}(" + ", ".join(f"{k}={short(v)}" for k, v in given.items()) + ")"
    if isinstance(x, Enum):
        return f"m.{type(x).__name__}.{x.name}"
    if isinstance(x, dict):
        return "{" + ", ".join(f"{k!r}: {short(v)}" for k, v in x.items()) + "}"
    return "[" + ", ".join(map(short, x)) + "]" if isinstance(x, list) else repr(x)


def spelled(call):
    return f"client.{call.method}(name, " + ", ".join(f"{k}={short(v)}" for k, v in call.kw.items() if v is not None) + ")"


def explain(seed, n, kind, how, bad, current):
    print(f"\ndisagreement at operation {n} of seed {seed} ({kind}; {how}):\n{bad}\n\nits request: {spelled(current.past[-1][1])}\n", flush=True)
    guilty = [t for t in current.targets if how.startswith(t.what)]
    least = shrink(current.past, current.name + "_shrunk", current.shape, guilty)
    if least is None:
        print("the same operations on a new collection agree: it takes what happens beside them")
        return
    fewer, bad = least
    print(f"{bad}\n\n{len(fewer)} of {len(current.past)} operations are enough, after client.create_collection(name, {', '.join(f'{k}={short(v)}' for k, v in current.shape.kw.items())}):")
    for n, call in fewer:
        print(f"  # {n}\n  {spelled(call)}")


def run(args, targets):
    seen, refused, parts, bad, shapes, start = Counter(), Counter(), 0, 0, operations.shapes(), time.monotonic()
    for first in range(args.first // ROUND * ROUND, args.ops, ROUND):
        if bad:
            break
        current = Round(f"differential_{first // ROUND}", shapes[first // ROUND % len(shapes)], targets)
        for n in range(first, min(first + ROUND, args.ops)):
            kind, call = generate(args.seed, n, current.world, args.only)
            seen[kind] += 1
            if wrong := current.play(n, call):
                bad += 1
                explain(args.seed, n, kind, *wrong, current)
                break
            if sys.stdout.isatty():
                print(f"\r{n + 1} of {args.ops} operations, {time.monotonic() - start:.0f} s", end="", flush=True)
        current.end()
        refused, parts = refused + current.refused, max(parts, current.parts)
    print(("\n" if sys.stdout.isatty() else "") + f"seed {args.seed}, {time.monotonic() - start:.0f} s: " + ", ".join(f"{k} {v}" for k, v in seen.most_common())
          + f"; refused by both: {dict(refused)}; segments of a collection: up to {parts}")
    print(f"differential: {sum(seen.values())} operations to each of {len(targets)}, {bad} disagreements")
    return bad == 0


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--ops", type=int, default=2000)
    p.add_argument("--first", type=int, default=0, help="begin with the collection of this operation, as those before have no part in it")
    p.add_argument("--only", default="", help="only these kinds of operations, separated by commas, those included that are not built (weight 0): " + ", ".join(KINDS))
    p.add_argument("--pando", default="./pando", help="the binary")
    p.add_argument("--launcher", default=".bin/peers", help="the program that runs peers, of services/test/peers")
    p.add_argument("--dir", default=".bin", help="where the peers' data are meanwhile")
    args = p.parse_args()
    args.only = set(filter(None, args.only.split(",")))
    if args.only - KINDS.keys():
        p.error(f"--only: there is no kind {', '.join(sorted(args.only - KINDS.keys()))}")
    warnings.simplefilter("ignore")
    # Tails are sealed at a kilobyte, so that answers come from several parts.
    parts = {"optimizers_config": m.OptimizersConfigDiff(indexing_threshold=1)}
    targets, good = [], False
    try:
        targets.append(Target("one shard", 1, args, shard_number=1, **parts))
        targets.append(Target("six shards", 3, args, shard_number=6, replication_factor=2, **parts))
        for t in targets:
            t.ready()
        good = run(args, targets)
    finally:
        stopped = [t.stop(good) for t in targets]
    sys.exit(0 if good and all(stopped) else 1)


if __name__ == "__main__":
    main()
