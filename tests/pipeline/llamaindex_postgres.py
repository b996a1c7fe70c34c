"""What an application does with LlamaIndex's vector store for PostgreSQL: llamaindex_postgres.py URL TABLE, then JSON on standard input.

{"add": [{"id", "text", "vector", "metadata", "parent"}]} makes the table and adds nodes; {"ask": [[question, vector], …]} answers with
everything that the library gives, as JSON. It runs in an environment of its own: it wants an older SQLAlchemy than this project has.
"""

import json
import sys

from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores.types import FilterOperator, MetadataFilter, MetadataFilters, VectorStoreQuery
from llama_index.vector_stores.postgres import PGVectorStore

URL, TABLE = sys.argv[1:]
FILTERS = (
    None,
    MetadataFilters(filters=[MetadataFilter(key="file", value="file 1.md")]),
    MetadataFilters(filters=[MetadataFilter(key="page", value=30, operator=FilterOperator.LT)]),
)


def node_of(given):
    node = TextNode(
        id_=given["id"],
        text=given["text"],
        metadata=given["metadata"],
        relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id=given["parent"])},
    )
    node.embedding = given["vector"]
    return node


def answers(store, question, vector):
    for mode in ("default", "hybrid", "sparse"):
        for where in FILTERS:
            asked = VectorStoreQuery(
                query_embedding=vector, query_str=question, similarity_top_k=6, sparse_top_k=6, mode=mode, filters=where
            )
            found = store.query(asked)
            nodes = [[n.node_id, n.get_content(), n.metadata, n.ref_doc_id] for n in found.nodes]
            yield sorted(
                zip(nodes, (round(s, 5) for s in found.similarities), strict=True), key=lambda hit: (-hit[1], hit[0][0])
            )


plain = URL.replace("postgresql://", "")
store = PGVectorStore.from_params(
    connection_string=f"postgresql+psycopg2://{plain}?options=-csearch_path%3Dpublic",
    async_connection_string=f"postgresql+asyncpg://{plain}",
    table_name=TABLE,
    embed_dim=16,
    hybrid_search=True,
    use_jsonb=True,
)
asked = json.load(sys.stdin)
store.add([node_of(each) for each in asked.get("add", ())])
print(json.dumps([list(answers(store, *each)) for each in asked.get("ask", ())]))
