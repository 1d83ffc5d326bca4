"""Runs the stores of LangChain, LlamaIndex and Haystack against a peer, over REST and over gRPC: texts with vectors made by
this program are stored, found (dense, sparse, both), filtered, replaced and deleted, and each answer is held against an account of
what has to be there. The last line is `N passed, M failed`."""

import argparse
import os
import sys
import traceback
import warnings

from account import Checks
from qdrant_client import AsyncQdrantClient, QdrantClient


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="langchain, llama or haystack")
    parser.add_argument("-v", "--verbose", action="store_true", help="print every check")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    host, rest, grpc = os.environ.get("PANDO_HOST", "127.0.0.1"), int(os.environ.get("PANDO_REST_PORT", "6333")), int(os.environ.get("PANDO_GRPC_PORT", "6334"))
    checks = Checks(args.verbose)
    for over in (False, True):
        where = {"host": host, "port": rest, "grpc_port": grpc, "prefer_grpc": over, "https": False}
        for name in ("langchain", "llama", "haystack"):
            if args.only and args.only != name:
                continue
            checks.at = f"{name} over {'gRPC' if over else 'REST'}"
            try:
                program(name, checks, where)
            except Exception as e:  # a store that breaks off is one failure; the others still run
                at = traceback.extract_tb(e.__traceback__)
                ours = next((f"{os.path.basename(f.filename)}:{f.lineno}" for f in reversed(at) if os.path.dirname(f.filename) == os.path.dirname(os.path.abspath(__file__))), "")
                checks.ok("it goes on to its end", False, f"{ours}: {type(e).__name__}: {e}")
    print(f"{checks.passed} passed, {checks.failed} failed")
    return checks.failed == 0 and checks.passed > 0


def program(name, checks, where):
    if name == "langchain":
        import langchain_store
        langchain_store.run(checks, QdrantClient(**where), where)
    elif name == "llama":
        import llama_store
        llama_store.run(checks, QdrantClient(**where), AsyncQdrantClient(**where))
    else:
        import haystack_store
        haystack_store.run(checks, where)


sys.exit(0 if main() else 1)
