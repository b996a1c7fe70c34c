"""The local Qdrant: Qdrant's protocol, gRPC and REST, in front of the vendor's own engine, one shard of it a collection.

What becomes of vectors, payloads, filters, ids and order is the engine's doing; the code here only translates and answers for it.
"""
