"""Haystack's store: haystack_integrations' QdrantDocumentStore with its three retrievers."""

import asyncio

from account import Account, dense, documents, sparse
from haystack import Document
from haystack.dataclasses import SparseEmbedding
from haystack.document_stores.errors import DuplicateDocumentError
from haystack.document_stores.types import DuplicatePolicy
from haystack_integrations.components.retrievers.qdrant import QdrantEmbeddingRetriever, QdrantHybridRetriever, QdrantSparseEmbeddingRetriever
from haystack_integrations.document_stores.qdrant import QdrantDocumentStore


def words(text):
    indices, values = sparse(text)
    return SparseEmbedding(indices=indices, values=values)


def document(d):
    return Document(id=d.id, content=d.text, meta=d.meta, embedding=dense(d.text), sparse_embedding=words(d.text))


def field(name, operator, value):
    return {"field": f"meta.{name}", "operator": operator, "value": value}


def both(operator, *parts):
    return {"operator": operator, "conditions": list(parts)}


def run(checks, where):
    docs, account = documents(), Account()
    store = QdrantDocumentStore(index="haystack", embedding_dim=len(dense("tree")), use_sparse_embeddings=True, recreate_index=True, progress_bar=False, **where)
    checks.same("written", store.write_documents([document(d) for d in docs[:80]]), 80)
    checks.same("written asynchronously", asyncio.run(_write(where, docs[80:])), len(docs) - 80)
    account.put(docs)
    checks.same("count_documents", store.count_documents(), len(account.held))
    try:
        store.write_documents([document(docs[0])], policy=DuplicatePolicy.FAIL)
        checks.ok("a duplicate is refused", False)
    except DuplicateDocumentError:
        checks.ok("a duplicate is refused", True)
    cases = [
        ("equal and at least", both("AND", field("color", "==", "red"), field("price", ">=", 5)), lambda d: d.color == "red" and d.price >= 5),
        ("one or the other", both("OR", field("color", "==", "blue"), field("price", "<", 4)), lambda d: d.color == "blue" or d.price < 4),
        ("in a list", field("color", "in", ["red", "green"]), lambda d: d.color != "blue"),
        ("not in a list", field("color", "not in", ["red", "green"]), lambda d: d.color == "blue"),
        ("none of", both("NOT", field("color", "==", "red"), field("price", "<", 20)), lambda d: d.color != "red" and d.price >= 20),
        ("not equal", field("color", "!=", "red"), lambda d: d.color != "red"),
    ]
    for what, filters, keep in cases:
        checks.same(f"filter_documents, {what}", sorted(d.id for d in store.filter_documents(filters)), account.ids(keep))
        checks.same(f"count_documents_by_filter, {what}", store.count_documents_by_filter(filters), len(account.ids(keep)))

    def found(r):
        return [(d.id, d.score) for d in r["documents"]]

    near, by_words, hybrid = QdrantEmbeddingRetriever(store, top_k=7, scale_score=False), QdrantSparseEmbeddingRetriever(store, top_k=7, scale_score=False), QdrantHybridRetriever(store, top_k=6)
    for query in ("tree root quorum", "silver salt", "river river stone"):
        checks.ranked(f"dense {query!r}", found(near.run(query_embedding=dense(query))), account.scores(query), 7)
        checks.ranked(f"sparse {query!r}", found(by_words.run(query_sparse_embedding=words(query))), account.scores(query, "sparse"), 7)
        for what, filters, keep in cases:
            checks.ranked(f"dense, {what} {query!r}", found(near.run(query_embedding=dense(query), filters=filters)), account.scores(query, keep=keep), 7)
        pairs = found(hybrid.run(query_embedding=dense(query), query_sparse_embedding=words(query)))
        checks.ok(f"hybrid {query!r}", len({i for i, _ in pairs}) == 6 and [s for _, s in pairs] == sorted((s for _, s in pairs), reverse=True), pairs)
    checks.same("update_by_filter", store.update_by_filter(field("number", "<", 10), {"color": "gold"}), 10)
    for d in docs[:10]:
        d.color = "gold"
    checks.same("what was updated", sorted(d.id for d in store.filter_documents(field("color", "==", "gold"))), account.ids(lambda d: d.color == "gold"))
    store.delete_documents([d.id for d in docs[20:30]])
    account.drop(d.id for d in docs[20:30])
    checks.same("delete_by_filter", store.delete_by_filter(field("color", "==", "gold")), 10)
    account.drop(account.ids(lambda d: d.color == "gold"))
    checks.same("what is left", sorted(d.id for d in store.filter_documents()), account.ids())
    checks.ranked("dense after the deletions", found(near.run(query_embedding=dense("copper night"))), account.scores("copper night"), 7)
    store.delete_all_documents()
    checks.same("all deleted", store.count_documents(), 0)


async def _write(where, docs):
    store = QdrantDocumentStore(index="haystack", embedding_dim=len(dense("tree")), use_sparse_embeddings=True, progress_bar=False, **where)
    written = await store.write_documents_async([document(d) for d in docs])
    await store.close_async()
    return written
