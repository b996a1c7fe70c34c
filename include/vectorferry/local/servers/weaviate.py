"""The Weaviate server of the demo and the tests: the one at WEAVIATE_URL, else a process on loopback."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from vectorferry.local.servers.credentials import secret
from vectorferry.local.servers.ports import LOOPBACK, free_port, free_run
from vectorferry.local.servers.supervisor import ServerError, Service
from vectorferry.local.servers.weaviate_binary import VERSION, find_or_build

USER = "vectorferry"


@dataclass(frozen=True)
class Weaviate:
    """A Weaviate server: `port` speaks HTTP, `grpc_port` gRPC; `command` starts it, and is empty for a given one."""

    host: str
    port: int
    grpc_port: int
    api_key: str = field(repr=False)
    secure: bool = False
    folder: Path | None = None
    command: tuple[str, ...] = ()

    @property
    def url(self) -> str:
        """The root of its HTTP interface."""
        return f"{'https' if self.secure else 'http'}://{self.host}:{self.port}"

    def is_ready(self) -> bool:
        """Say whether the server answers that it is ready."""
        try:
            return httpx.get(f"{self.url}/v1/.well-known/ready", timeout=2, trust_env=False).is_success
        except httpx.TransportError:
            return False

    def services(self) -> list[Service]:
        """Return the service that runs the server; raises ServerError where a given one does not answer."""
        if self.folder is None:
            if not self.is_ready():
                raise ServerError(f"WEAVIATE_URL names {self.url}, which does not answer that it is ready")
            return []
        return [
            Service(
                "weaviate",
                self.command,
                self.folder,
                ready=lambda _: self.is_ready(),
                env=self._environment(self.folder),
                where=f"{self.url}, gRPC {self.grpc_port}  Weaviate {VERSION}",
                grace=20,
            )
        ]

    def _environment(self, folder: Path) -> dict[str, str]:
        # A node's peers, itself included, expect each second port one above the first.
        gossip, data, raft, raft_rpc = free_run(4)
        return {
            "PERSISTENCE_DATA_PATH": str(folder / "data"),
            "GRPC_PORT": str(self.grpc_port),
            # Its gRPC and cluster ports listen on all addresses, whatever it is told: keys keep others out.
            "AUTHENTICATION_ANONYMOUS_ACCESS_ENABLED": "false",
            "AUTHENTICATION_APIKEY_ENABLED": "true",
            "AUTHENTICATION_APIKEY_ALLOWED_KEYS": self.api_key,
            "AUTHENTICATION_APIKEY_USERS": USER,
            "CLUSTER_BASIC_AUTH_USERNAME": USER,
            "CLUSTER_BASIC_AUTH_PASSWORD": self.api_key,
            "AUTOSCHEMA_ENABLED": "false",
            "DEFAULT_VECTORIZER_MODULE": "none",
            "DISABLE_TELEMETRY": "true",
            "GO_PROFILING_DISABLE": "true",
            "CLUSTER_HOSTNAME": "node1",  # its identity in the data folder: must not change
            "CLUSTER_IN_LOCALHOST": "true",
            "CLUSTER_ADVERTISE_ADDR": LOOPBACK,
            "CLUSTER_BIND_ADDR": LOOPBACK,
            "CLUSTER_GOSSIP_BIND_PORT": str(gossip),
            "CLUSTER_DATA_BIND_PORT": str(data),
            "RAFT_PORT": str(raft),
            "RAFT_INTERNAL_RPC_PORT": str(raft_rpc),
            "RAFT_BOOTSTRAP_EXPECT": "1",
            # One node elects itself; there is nobody to wait for.
            "RAFT_HEARTBEAT_TIMEOUT": "1",
            "RAFT_ELECTION_TIMEOUT": "1",
            "LOG_LEVEL": "warning",
        }


def weaviate(folder: Path, port: int = 0) -> Weaviate:
    """Return the server at WEAVIATE_URL, or one of `folder`, at `port` if it is free.

    For a given server, WEAVIATE_GRPC_PORT (50051) and WEAVIATE_API_KEY say the rest. Where its binary is
    missing it is built first, which takes minutes; raises WeaviateMissing where it cannot be.
    """
    if url := os.environ.get("WEAVIATE_URL"):
        return _given(url)
    binary = find_or_build()
    http = free_port(port)
    return Weaviate(
        host=LOOPBACK,
        port=http,
        grpc_port=free_port(),
        api_key=secret(folder, "api-key"),
        folder=folder,
        command=(str(binary), "--host", LOOPBACK, "--port", str(http), "--scheme", "http"),
    )


def _given(url: str) -> Weaviate:
    parts = urlsplit(url if "//" in url else f"http://{url}")
    secure = parts.scheme == "https"
    return Weaviate(
        host=parts.hostname or LOOPBACK,
        port=parts.port or (443 if secure else 8080),
        grpc_port=int(os.environ.get("WEAVIATE_GRPC_PORT", "443" if secure else "50051")),
        api_key=os.environ.get("WEAVIATE_API_KEY", ""),
        secure=secure,
    )
