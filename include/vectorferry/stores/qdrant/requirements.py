"""What a Qdrant server must have: a version, and a port that is reached."""

from collections.abc import Iterator

from vectorferry.stores.caller import Caller
from vectorferry.stores.qdrant import messages
from vectorferry.stores.qdrant.client import Wire
from vectorferry.stores.server_versions import too_old, version_of

OLDEST = (1, 13)
"""The first that counts the records that have a vector."""
OLDEST_TO_MAKE = (1, 16)
"""The first whose collections have metadata, by which one of ours is known."""


def version_told(link: Wire, call: Caller) -> str:
    """The version as the server tells it. Raises Unavailable where it does not answer."""
    request = messages.HealthCheckRequest()
    return str(call(lambda: link.call("Qdrant/HealthCheck", request, messages.HealthCheckReply)).version)


def unusable(link: Wire, call: Caller, *, to_make: bool) -> Iterator[str]:
    """What keeps a server from being used, or a collection from being made there. Raises Unavailable where it does not answer."""
    yield from too_old(
        "the server is Qdrant", version_of(version_told(link, call)), OLDEST_TO_MAKE if to_make else OLDEST
    )
