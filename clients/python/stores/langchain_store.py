"""LangChain's store: langchain_qdrant.QdrantVectorStore."""

from account import Account, dense, documents, sparse
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_qdrant import QdrantVectorStore, RetrievalMode, SparseEmbeddings, SparseVector
from qdrant_client import models as m


class Dense(Embeddings):
    def embed_documents(self, texts):
        return [dense(t) for t in texts]

    def embed_query(self, text):
        return dense(text)


class Sparse(SparseEmbeddings):
    def embed_documents(self, texts):
        return [self.embed_query(t) for t in texts]

    def embed_query(self, text):
        indices, values = sparse(text)
        return SparseVector(indices=indices, values=values)


def run(checks, client, where):
    docs, account = documents(), Account()
    store = QdrantVectorStore.from_texts(
        [d.text for d in docs[:60]], Dense(), metadatas=[d.meta for d in docs[:60]], ids=[d.id for d in docs[:60]], collection_name="langchain",
        retrieval_mode=RetrievalMode.HYBRID, sparse_embedding=Sparse(), force_recreate=True, **where)
    account.put(docs[:60])
    checks.same("ids that add_documents gives", store.add_documents([Document(d.text, metadata=d.meta) for d in docs[60:]], ids=[d.id for d in docs[60:]]),
                [d.id for d in docs[60:]])
    account.put(docs[60:])
    checks.same("points", client.count("langchain").count, len(account.held))
    got = store.get_by_ids([docs[3].id, docs[99].id])
    checks.same("get_by_ids", sorted((d.metadata["_id"], d.page_content, d.metadata["number"]) for d in got),
                sorted((d.id, d.text, d.number) for d in (docs[3], docs[99])))

    def found(pairs):
        return [(d.metadata["_id"], s) for d, s in pairs]

    red = m.Filter(must=[m.FieldCondition(key="metadata.color", match=m.MatchValue(value="red")), m.FieldCondition(key="metadata.price", range=m.Range(gte=5))])

    def is_red(d):
        return d.color == "red" and d.price >= 5

    for query in ("tree root quorum", "silver salt", "river river stone"):
        plain = QdrantVectorStore(client, "langchain", Dense())
        checks.ranked(f"dense {query!r}", found(plain.similarity_search_with_score(query, k=7)), account.scores(query), 7)
        checks.ranked(f"dense, filtered {query!r}", found(plain.similarity_search_with_score(query, k=5, filter=red)), account.scores(query, keep=is_red), 5)
        by_words = QdrantVectorStore(client, "langchain", sparse_embedding=Sparse(), retrieval_mode=RetrievalMode.SPARSE)
        checks.ranked(f"sparse {query!r}", found(by_words.similarity_search_with_score(query, k=7)), account.scores(query, "sparse"), 7)
        both = store.similarity_search_with_score(query, k=5, filter=red)
        checks.ok(f"hybrid {query!r}", len(both) == 5 and all(is_red(account.held[d.metadata["_id"]]) for d, _ in both)
                  and [s for _, s in both] == sorted((s for _, s in both), reverse=True), both)
        spread = plain.max_marginal_relevance_search(query, k=4, fetch_k=20)
        near = {i for i, _ in sorted(account.scores(query).items(), key=lambda x: -x[1])[:24]}
        checks.ok(f"max_marginal_relevance_search {query!r}", len({d.metadata["_id"] for d in spread}) == 4 and {d.metadata["_id"] for d in spread} <= near, spread)
        floor = sorted(account.scores(query).values())[-4] - 1e-3
        kept = {i: s for i, s in account.scores(query).items() if s >= floor}
        checks.ranked(f"score_threshold {query!r}", found(plain.similarity_search_with_score(query, k=50, score_threshold=floor)), kept, 50)
    changed = documents()[5]
    changed.text = "copper copper copper night night"
    store.add_texts([changed.text], [changed.meta], ids=[changed.id])
    account.put([changed])
    checks.same("a text is replaced", [d.page_content for d in store.get_by_ids([changed.id])], [changed.text])
    gone = [d.id for d in docs[10:40]]
    checks.same("delete", store.delete(gone), True)
    account.drop(gone)
    checks.same("points after the deletion", client.count("langchain").count, len(account.held))
    checks.ranked("dense after the deletion", found(QdrantVectorStore(client, "langchain", Dense()).similarity_search_with_score("copper night", k=9)),
                  account.scores("copper night"), 9)
    client.delete_collection("langchain")
