"""What an application does with the vendor's SDK of whatever major version runs this: python sdk_client.py URL GRPC KEY SCENARIO."""

import asyncio
import sys

import pinecone

URL, GRPC, KEY, SCENARIO = sys.argv[1:]
MAJOR = int(pinecone.__version__.partition(".")[0])
VECTOR = [1.0, 2.0, 3.0, 4.0]


def rest():
    client = pinecone.Pinecone(api_key=KEY, host=URL)
    host = client.describe_index("docs").host
    assert "docs" in [each.name for each in client.list_indexes()]
    return client.Index(host=host if "127.0.0.1" not in host or "://" in host else f"http://{host}")


def grpc():
    if MAJOR >= 9:
        return pinecone.GrpcIndex(host=GRPC, api_key=KEY, secure=False)
    from pinecone.grpc import GRPCClientConfig, PineconeGRPC

    return PineconeGRPC(api_key=KEY, host=URL).Index(host=GRPC, grpc_config=GRPCClientConfig(secure=False))


def every_operation(index):
    index.upsert(vectors=[("a", VECTOR, {"n": 1}), {"id": "b", "values": VECTOR}], namespace="n")
    assert index.fetch(ids=["a"], namespace="n").vectors["a"].metadata == {"n": 1.0}
    found = index.query(vector=VECTOR, top_k=2, namespace="n", filter={"n": {"$eq": 1}}, include_metadata=True)
    assert [match.id for match in found.matches] == ["a"]
    listed = [
        getattr(item, "id", item) for page in index.list(namespace="n") for item in getattr(page, "vectors", page)
    ]
    assert listed == ["a", "b"], listed
    index.update(id="b", values=[4.0, 3.0, 2.0, 1.0], set_metadata={"m": "x"}, namespace="n")
    assert index.describe_index_stats().namespaces["n"].vector_count == 2
    index.delete(ids=["a"], namespace="n")
    index.delete(delete_all=True, namespace="n")


def write_and_fail(index):
    try:
        index.upsert(vectors=[("a", VECTOR)], namespace="n")
    except Exception as error:  # noqa: BLE001 (each version has its own)
        print(type(error).__name__, getattr(error, "status_code", None) or getattr(error, "status", ""))
    else:
        raise SystemExit("it was done")


async def write_with_asyncio():
    if MAJOR >= 9:
        async with pinecone.AsyncPinecone(api_key=KEY, host=URL) as client, await client.index(host=URL) as index:
            await index.upsert(vectors=[("a", VECTOR)], namespace="n")
    else:
        async with pinecone.PineconeAsyncio(api_key=KEY, host=URL) as client, client.IndexAsyncio(host=URL) as index:
            await index.upsert(vectors=[("a", VECTOR)], namespace="n")


if SCENARIO == "operations":
    every_operation(rest())
    every_operation(grpc())
elif SCENARIO == "asyncio":
    try:
        asyncio.run(write_with_asyncio())
    except Exception as error:  # noqa: BLE001 (each version has its own)
        print(type(error).__name__)
else:
    write_and_fail(rest() if SCENARIO == "rest" else grpc())
