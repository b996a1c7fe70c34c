"""What a Weaviate server must have: a version, and gRPC that is reached, and how to come by them."""

from collections.abc import Iterator

from vectorferry.core.errors import Unavailable
from vectorferry.stores.caller import Caller
from vectorferry.stores.server_versions import too_old, version_of
from vectorferry.stores.weaviate.client import Link

OLDEST = (1, 29)
"""The first that counts over gRPC."""


def version_told(link: Link, call: Caller) -> str:
    """The version as the server tells it, empty where it does not. Raises Unavailable where REST does not answer."""
    meta = call(lambda: link.get("/meta")) or {}
    return str(meta.get("version", ""))


def unusable(link: Link, call: Caller) -> Iterator[str]:
    """What keeps a server from being used; it is asked over both its ports. Raises Unavailable where REST does not answer."""
    yield from too_old("the server is Weaviate", version_of(version_told(link, call)), OLDEST)
    try:
        call(link.check_grpc)
    except Unavailable as error:
        yield (
            f"answers over REST, but not over gRPC at {link.grpc_target} ({error}): open that port, or set grpc_host and grpc_port "
            "in the extra of the connection"
        )
