"""The vendor's asynchronous client, over every operation once."""

import asyncio

from pinecone import AsyncPinecone

from gateway.pinecone.conftest import KEY, Local


async def test_every_operation(local: Local) -> None:
    name = local.create()
    async with (
        AsyncPinecone(api_key=KEY, host=local.gateway.url) as client,
        await client.index(name=name) as index,
    ):
        rows = [{"id": f"a{i}", "values": [1.0, i, 0, 0], "metadata": {"n": i}} for i in range(300)]
        answers = await asyncio.gather(
            *(index.upsert(vectors=rows[at : at + 10], namespace="ns") for at in range(0, 300, 10))
        )
        assert sum(answer.upserted_count for answer in answers) == 300
        pages = [page async for page in index.list(namespace="ns")]
        ids = [item.id for page in pages for item in page.vectors]
        assert ids == sorted(row["id"] for row in rows)
        fetched = await index.fetch(ids=ids, namespace="ns")
        assert {id_: record.metadata["n"] for id_, record in fetched.vectors.items()} == {
            f"a{i}": i for i in range(300)
        }
        found = await index.query(vector=[1.0, 7.0, 0, 0], top_k=1, namespace="ns", filter={"n": {"$lte": 7}})
        assert found.matches[0].id == "a7"
        assert len((await index.fetch_by_metadata(filter={"n": {"$lt": 5}}, namespace="ns")).vectors) == 5
        await index.update(id="a1", set_metadata={"m": 1}, namespace="ns")
        assert (await index.fetch(ids=["a1"], namespace="ns")).vectors["a1"].metadata == {"n": 1.0, "m": 1.0}
        await index.delete(ids=["a1"], namespace="ns")
        assert (await index.describe_index_stats()).total_vector_count == 299
        assert (await index.describe_namespace(name="ns")).record_count == 299
        await index.delete_namespace(name="ns")
        await client.indexes.delete(name)
        assert not await client.indexes.exists(name)
