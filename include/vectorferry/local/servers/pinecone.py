"""The local Pinecone: the gateway that speaks Pinecone's wire protocol, in front of a pgvector store of its own."""

import sys
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from vectorferry.local.servers.credentials import secret
from vectorferry.local.servers.ports import LOOPBACK, free_run
from vectorferry.local.servers.postgres import Postgres
from vectorferry.local.servers.supervisor import Service

DATABASE = "pinecone"
STORE_CONNECTION = "local_pinecone_store"
EXACT = '{"type": "none"}'  # building an approximate index would cost more than it saves on a laptop's data


@dataclass(frozen=True)
class Pinecone:
    """A local Pinecone: `port` speaks REST for the control and data plane, `grpc_port` gRPC."""

    folder: Path
    postgres: Postgres
    port: int
    grpc_port: int
    api_key: str = field(repr=False)
    host: str = LOOPBACK

    @property
    def url(self) -> str:
        """The control plane's address, as the vendor's SDK takes it for `host`."""
        return f"http://{self.host}:{self.port}"

    def is_ready(self) -> bool:
        """Say whether the control plane lists its indexes."""
        try:
            answer = httpx.get(f"{self.url}/indexes", headers={"Api-Key": self.api_key}, timeout=2, trust_env=False)
        except httpx.TransportError:
            return False
        return answer.is_success

    def services(self) -> list[Service]:
        """Return the service that runs the gateway, to be started after the one that creates its database."""
        options = (
            "--port",
            str(self.port),
            "--grpc-port",
            str(self.grpc_port),
            "--store",
            STORE_CONNECTION,
            "--index",
            EXACT,
        )
        environment = {
            "VECTORFERRY_GATEWAY_API_KEYS": self.api_key,  # not an option: command lines are readable by all users
            f"AIRFLOW_CONN_{STORE_CONNECTION.upper()}": self.postgres.airflow_uri(DATABASE),
        }
        return [
            Service(
                "pinecone",
                (sys.executable, "-m", "vectorferry.cli", "gateway", "pinecone", *options),
                self.folder,
                ready=lambda _: self.is_ready(),
                env=environment,
                after=("postgres-databases",),
                where=f"{self.url}, gRPC {self.grpc_port}  Pinecone's protocol in front of pgvector",
            )
        ]


def pinecone(folder: Path, postgres: Postgres) -> Pinecone:
    """Return the local Pinecone of `folder`, whose records lie in `postgres`."""
    port, grpc_port = free_run(2)
    return Pinecone(folder, postgres, port, grpc_port, secret(folder, "api-key"))
