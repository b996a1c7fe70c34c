"""Lets LangChain's Pinecone package be imported beside the SDK that this project uses.

langchain-pinecone 0.2.13 asks for SDK 6 or 7. Its vector store uses only what SDK 10 still has, but imports some of it by older names, and
its package imports classes for the vendor's embedding and reranking service, which have moved. The vector store itself is not touched.
"""

import sys
from multiprocessing.pool import ApplyResult
from types import ModuleType

import pinecone.data
from pinecone import AsyncIndex, Index

_OTHERS = {"embeddings": ("PineconeEmbeddings", "PineconeSparseEmbeddings"), "rerank": ("PineconeRerank",)}


def vector_store() -> type:
    """LangChain's `PineconeVectorStore`."""
    pinecone.data._Index, pinecone.data._IndexAsyncio = Index, AsyncIndex
    _module("pinecone.data.index", ApplyResult=ApplyResult)
    for name, classes in _OTHERS.items():
        _module(f"langchain_pinecone.{name}", **dict.fromkeys(classes, object))
    from langchain_pinecone.vectorstores import PineconeVectorStore

    return PineconeVectorStore


def _module(name: str, **content: object) -> None:
    made = ModuleType(name)
    made.__dict__.update(content)
    sys.modules.setdefault(name, made)
