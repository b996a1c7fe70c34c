"""An HTTP request and its answer."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qs


@dataclass(slots=True)
class Request:
    """One request; `headers` have lower case names."""

    method: str
    target: bytes
    headers: dict[str, str]
    body: bytes = b""
    keep_alive: bool = True

    @property
    def path(self) -> str:
        """The path as it was sent: its parts are still percent-encoded."""
        return self.target.partition(b"?")[0].decode("ascii", "replace")

    @property
    def query(self) -> dict[str, list[str]]:
        """The query string, decoded; empty values are kept."""
        return parse_qs(self.target.partition(b"?")[2].decode("ascii", "replace"), keep_blank_values=True)


@dataclass(frozen=True, slots=True)
class Response:
    """One answer."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = "application/json"
