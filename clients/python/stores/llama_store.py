"""LlamaIndex's store: llama_index.vector_stores.qdrant.QdrantVectorStore."""

import asyncio

from account import Account, dense, documents, sparse
from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores import FilterCondition, FilterOperator, MetadataFilter, MetadataFilters, VectorStoreQuery
from llama_index.core.vector_stores.types import VectorStoreQueryMode
from llama_index.vector_stores.qdrant import QdrantVectorStore


def encode(texts):
    pairs = [sparse(t) for t in texts]
    return [i for i, _ in pairs], [v for _, v in pairs]


def node(d):
    n = TextNode(id_=d.id, text=d.text, metadata=d.meta, embedding=dense(d.text))
    n.relationships[NodeRelationship.SOURCE] = RelatedNodeInfo(node_id=f"book-{d.number % 4}")
    return n


def run(checks, client, aclient):
    docs, account = documents(), Account()
    if client.collection_exists("llama"):
        client.delete_collection("llama")
    store = QdrantVectorStore("llama", client=client, aclient=aclient, enable_hybrid=True, sparse_doc_fn=encode, sparse_query_fn=encode, batch_size=32)
    checks.same("ids that add gives", store.add([node(d) for d in docs[:80]]), [d.id for d in docs[:80]])
    account.put(docs[:80])

    async def rest():
        return await store.async_add([node(d) for d in docs[80:]])

    loop = asyncio.get_event_loop_policy().new_event_loop()
    checks.same("ids that async_add gives", loop.run_until_complete(rest()), [d.id for d in docs[80:]])
    account.put(docs[80:])
    checks.same("points", client.count("llama").count, len(account.held))
    checks.same("get_nodes by ids", sorted((n.node_id, n.get_content(), n.metadata["number"]) for n in store.get_nodes([docs[3].id, docs[99].id])),
                sorted((d.id, d.text, d.number) for d in (docs[3], docs[99])))

    def where(condition, *parts):
        return MetadataFilters(filters=[MetadataFilter(key=k, operator=o, value=v) for k, o, v in parts], condition=condition)

    op = FilterOperator
    cases = [
        ("equal and at least", where(FilterCondition.AND, ("color", op.EQ, "red"), ("price", op.GTE, 5.0)), lambda d: d.color == "red" and d.price >= 5),
        ("one or the other", where(FilterCondition.OR, ("color", op.EQ, "blue"), ("price", op.LT, 4.0)), lambda d: d.color == "blue" or d.price < 4),
        ("in a list", where(FilterCondition.AND, ("color", op.IN, ["red", "green"])), lambda d: d.color != "blue"),
        ("not in a list", where(FilterCondition.AND, ("color", op.NIN, ["red", "green"])), lambda d: d.color == "blue"),
        ("not equal", where(FilterCondition.AND, ("color", op.NE, "red")), lambda d: d.color != "red"),
    ]
    for what, filters, keep in cases:
        checks.same(f"get_nodes, {what}", sorted(n.node_id for n in store.get_nodes(filters=filters, limit=500)), account.ids(keep))

    def found(r):
        return list(zip(r.ids, r.similarities))

    def ask(query, mode, k, filters=None):
        return VectorStoreQuery(query_embedding=dense(query), query_str=query, similarity_top_k=k, sparse_top_k=k, mode=mode, filters=filters)

    mode = VectorStoreQueryMode
    for query in ("tree root quorum", "silver salt", "river river stone"):
        checks.ranked(f"dense {query!r}", found(store.query(ask(query, mode.DEFAULT, 7))), account.scores(query), 7)
        checks.ranked(f"sparse {query!r}", found(store.query(ask(query, mode.SPARSE, 7))), account.scores(query, "sparse"), 7)
        for what, filters, keep in cases:
            checks.ranked(f"dense, {what} {query!r}", found(store.query(ask(query, mode.DEFAULT, 5, filters))), account.scores(query, keep=keep), 5)
        both = store.query(ask(query, mode.HYBRID, 6))
        checks.ok(f"hybrid {query!r}", len(set(both.ids)) == 6 and set(both.ids) <= set(account.held), both.ids)
        checks.ranked(f"asynchronous {query!r}", found(loop.run_until_complete(store.aquery(ask(query, mode.DEFAULT, 7)))), account.scores(query), 7)
    store.delete("book-1")
    account.drop(d.id for d in docs if d.number % 4 == 1)
    checks.same("points after the deletion of a document", client.count("llama").count, len(account.held))
    store.delete_nodes(node_ids=[docs[0].id, docs[2].id])
    account.drop([docs[0].id, docs[2].id])
    store.delete_nodes(filters=cases[0][1])
    account.drop(account.ids(cases[0][2]))
    checks.same("nodes that are left", sorted(n.node_id for n in store.get_nodes(filters=where(FilterCondition.AND, ("price", op.GTE, 0.0)), limit=500)), account.ids())
    checks.ranked("dense after the deletions", found(store.query(ask("copper night", mode.DEFAULT, 9))), account.scores("copper night"), 9)
    store.clear()
    checks.same("cleared", client.collection_exists("llama"), False)
    loop.run_until_complete(aclient.close())
    loop.close()
