"""The Qdrant server of the demo and the tests: the one at QDRANT_URL, else a process on loopback with the vendor's engine."""

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from vectorferry.local.servers.credentials import secret
from vectorferry.local.servers.ports import LOOPBACK, free_run
from vectorferry.local.servers.supervisor import ServerError, Service


@dataclass(frozen=True)
class Qdrant:
    """A Qdrant server: `port` speaks REST, `grpc_port` gRPC; a given one has no `folder`."""

    host: str
    port: int
    grpc_port: int
    api_key: str = field(repr=False)
    secure: bool = False
    folder: Path | None = None

    @property
    def url(self) -> str:
        """The root of its REST interface."""
        return f"{'https' if self.secure else 'http'}://{self.host}:{self.port}"

    def is_ready(self) -> bool:
        """Say whether the server answers that it is ready."""
        try:
            return httpx.get(f"{self.url}/readyz", timeout=2, trust_env=False).is_success
        except httpx.TransportError:
            return False

    def services(self) -> list[Service]:
        """Return the service that runs the server; raises ServerError where a given one does not answer."""
        if self.folder is None:
            if not self.is_ready():
                raise ServerError(f"QDRANT_URL names {self.url}, which does not answer that it is ready")
            return []
        options = (str(self.folder / "data"), "--port", str(self.port), "--grpc-port", str(self.grpc_port))
        return [
            Service(
                "qdrant",
                (sys.executable, "-m", "vectorferry.local.qdrant", *options),
                self.folder,
                ready=lambda _: self.is_ready(),
                env={"QDRANT__SERVICE__API_KEY": self.api_key},
                where=f"{self.url}, gRPC {self.grpc_port}  Qdrant's protocol in front of the vendor's engine",
                grace=20,
            )
        ]


def qdrant(folder: Path) -> Qdrant:
    """Return the server at QDRANT_URL, or one of `folder`. For a given one, QDRANT_GRPC_PORT (6334) and QDRANT_API_KEY say the rest."""
    if url := os.environ.get("QDRANT_URL"):
        return _given(url)
    port, grpc_port = free_run(2)
    return Qdrant(LOOPBACK, port, grpc_port, secret(folder, "api-key"), folder=folder)


def _given(url: str) -> Qdrant:
    parts = urlsplit(url if "//" in url else f"http://{url}")
    secure = parts.scheme == "https"
    return Qdrant(
        host=parts.hostname or LOOPBACK,
        port=parts.port or 6333,
        grpc_port=int(os.environ.get("QDRANT_GRPC_PORT", "6334")),
        api_key=os.environ.get("QDRANT_API_KEY", ""),
        secure=secure,
    )
