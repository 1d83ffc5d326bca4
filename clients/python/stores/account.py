"""Documents, what their vectors are, and what a search has to find: computed here, by no store."""

import hashlib
import math
import uuid
from dataclasses import dataclass, field

import numpy as np

DIM = 48
WORDS = "tree root leaf shard peer quorum graph vector river stone cloud night copper iron silver salt".split()


def word_vector(word):
    seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:8], "little")
    return np.random.default_rng(seed).standard_normal(DIM)


def dense(text):
    """The words' vectors added up, at length 1."""
    v = sum((word_vector(w) for w in text.split()), np.zeros(DIM))
    return (v / np.linalg.norm(v)).tolist()


def sparse(text):
    """How often each word stands there, by a number for each word."""
    counts = {}
    for w in text.split():
        index = int.from_bytes(hashlib.sha256(w.encode()).digest()[:4], "little")
        counts[index] = counts.get(index, 0) + 1
    return sorted(counts), [float(counts[i]) for i in sorted(counts)]


def sparse_score(a, b):
    b = dict(zip(*sparse(b)))
    return sum(x * b.get(i, 0) for i, x in zip(*sparse(a)))


@dataclass
class Document:
    number: int
    text: str
    color: str
    price: float

    @property
    def id(self):
        return str(uuid.UUID(int=(0xD0C << 64) + self.number))

    @property
    def meta(self):
        return {"number": self.number, "color": self.color, "price": self.price}


def documents(n=120):
    rng = np.random.default_rng(7)
    return [Document(i, " ".join(rng.choice(WORDS, size=5)), ("red", "green", "blue")[i % 3], i / 4) for i in range(n)]


@dataclass
class Account:
    """What is in a store, as the program knows it."""

    held: dict = field(default_factory=dict)

    def put(self, docs):
        self.held.update({d.id: d for d in docs})

    def drop(self, ids):
        for i in ids:
            self.held.pop(i, None)

    def ids(self, keep=lambda d: True):
        return sorted(i for i, d in self.held.items() if keep(d))

    def scores(self, query, kind="dense", keep=lambda d: True):
        """Each document's score, of those that are kept; sparse ones without a common word are not found."""
        q = np.asarray(dense(query))
        all_ = {i: float(q @ dense(d.text)) if kind == "dense" else sparse_score(query, d.text) for i, d in self.held.items() if keep(d)}
        return all_ if kind == "dense" else {i: s for i, s in all_.items() if s > 0}


class Checks:
    def __init__(self, verbose):
        self.passed = self.failed = 0
        self.verbose, self.at = verbose, ""

    def ok(self, what, good, detail=""):
        self.passed, self.failed = self.passed + bool(good), self.failed + (not good)
        if self.verbose or not good:
            print(f"{'ok  ' if good else 'FAIL'} {self.at}: {what}" + ("" if good else f": {str(detail)[:400]}"), flush=True)

    def same(self, what, got, want):
        self.ok(what, got == want, f"{got}, want {want}")

    def ranked(self, what, got, scores, k):
        """got, pairs of id and score (or none), are the best k by scores; equal ones in any order."""
        best = sorted(scores.values(), reverse=True)[:k]
        bad = [f"{len(got)} found, want {len(best)}"] if len(got) != len(best) else []
        for (i, s), want in zip(got, best):
            mine = scores.get(i)
            if mine is None or not math.isclose(mine, want, abs_tol=1e-4) or s is not None and not math.isclose(s, mine, abs_tol=1e-4):
                bad.append(f"{i}: {s}, computed {mine}, want {want}")
        self.ok(what, not bad and len({i for i, _ in got}) == len(got), "; ".join(bad[:3]))
