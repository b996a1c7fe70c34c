"""Gateway in front of a router: Pinecone's protocol for applications that change their host only."""

from vectorferry.gateway.pinecone.backends.single import OneIndex
from vectorferry.gateway.pinecone.observing import Observation
from vectorferry.gateway.pinecone.server import Gateway, Serving
from vectorferry.router.pinecone_backend import index_of
from vectorferry.router.router import Router


def gateway_of(router: Router, index: str, serving: Serving, observation: Observation | None = None) -> Gateway:
    """A gateway that serves a router as the index of that name; it is ready while the router is a member, and closes it at its end."""
    data = index_of(router, observation)

    def close() -> None:
        data.close()
        router.close()

    return Gateway(OneIndex(index, data, router.describe, close), serving, ready=lambda: router.is_member)
