"""Airflow 3.3 on loopback: its environment, its users, and the services that run it with the LocalExecutor."""

import base64
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import httpx

from vectorferry.local.servers.airflow_api import AirflowApi
from vectorferry.local.servers.credentials import secret
from vectorferry.local.servers.ports import LOOPBACK, free_port
from vectorferry.local.servers.postgres import Postgres
from vectorferry.local.servers.supervisor import Service

DATABASE = "airflow"
ROLES = {"admin": "admin", "operator": "op", "approver": "user", "viewer": "viewer"}
# With the default of 5, every third short task keeps its slot for five seconds after it has ended.
WORKER_HEARTBEAT = "1"


@dataclass(frozen=True)
class Airflow:
    """An Airflow whose files lie in `folder`, with the DAGs of `checkout`.

    `connections` are Airflow connection URIs (or JSON) by connection id; `variables` more environment for its tasks.
    """

    folder: Path
    checkout: Path
    postgres: Postgres
    port: int
    connections: Mapping[str, str] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """The root of the user interface and the REST API."""
        return f"http://{LOOPBACK}:{self.port}"

    def password(self, user: str) -> str:
        """Return the password of one of the users in ROLES."""
        return secret(self.folder, f"password-{user}", 12)

    def api(self, user: str = "operator") -> AirflowApi:
        """Return a REST client that is logged in as `user` on its first request."""
        return AirflowApi(self.url, user, self.password(user))

    def environment(self) -> dict[str, str]:
        """Return what every process of this Airflow, and the `airflow` command, needs in its environment."""
        return {
            **self._settings(),
            **self._connection_variables(),
            "AIRFLOW_HOME": str(self.folder),
            "NO_PROXY": ",".join(filter(None, [os.environ.get("NO_PROXY"), LOOPBACK, "localhost"])),
            **self.variables,
        }

    def services(self) -> list[Service]:
        """Return the metadata database's migration and, after it, what Airflow's page calls its health.

        No task of ours waits in the triggerer; without one that page is red, and a DAG of other people would wait for ever.
        """
        self._write_passwords()
        return [
            self._service(
                "airflow-database", _module("vectorferry.local.servers.airflow_database"), ("postgres",), oneshot=True
            ),
            self._component("airflow-api-server", ("airflow", "api-server"), "api"),
            self._component(
                "airflow-scheduler", ("vectorferry.local.servers.airflow_scheduler", "--skip-serve-logs"), "scheduler"
            ),
            self._component("airflow-dag-processor", ("airflow", "dag-processor"), "dag_processor"),
            self._component("airflow-triggerer", ("airflow", "triggerer", "--skip-serve-logs"), "triggerer"),
        ]

    def is_healthy(self, component: str, since: float) -> bool:
        """Say whether `scheduler`, `dag_processor` or `triggerer` gave a sign of life after `since`, or the `api` answers."""
        try:
            health = httpx.get(f"{self.url}/api/v2/monitor/health", timeout=5, trust_env=False)
        except httpx.TransportError:
            return False
        if component == "api" or not health.is_success:
            return health.is_success
        heartbeat = health.json()[component][f"latest_{component}_heartbeat"]
        return bool(heartbeat) and datetime.fromisoformat(heartbeat).timestamp() > since

    def _component(self, name: str, module: tuple[str, ...], component: str) -> Service:
        where = f"{self.url}  Airflow" if component == "api" else ""
        command = _module(*module)
        return self._service(name, command, ("airflow-database",), component=component, where=where)

    def _service(
        self,
        name: str,
        command: tuple[str, ...],
        after: tuple[str, ...],
        *,
        component: str = "",
        where: str = "",
        oneshot: bool = False,
    ) -> Service:
        return Service(
            name,
            command,
            self.folder,
            ready=lambda began: self.is_healthy(component, began),
            env=self.environment(),
            cwd=self.checkout,
            after=after,
            oneshot=oneshot,
            where=where,
            grace=15,
            timeout=180,
        )

    def _settings(self) -> dict[str, str]:
        return {
            f"AIRFLOW__{section.upper()}__{name.upper()}": value
            for section, values in self._by_section().items()
            for name, value in values.items()
        }

    def _by_section(self) -> dict[str, dict[str, str]]:
        return {
            "core": {
                "executor": "LocalExecutor",
                "parallelism": str(4 * (os.cpu_count() or 1)),
                "dags_folder": str(self.checkout / "dags"),
                "load_examples": "False",
                "fernet_key": base64.urlsafe_b64encode(bytes.fromhex(secret(self.folder, "fernet", 64))).decode(),
                "execution_api_server_url": f"{self.url}/execution/",
                "simple_auth_manager_users": ",".join(f"{user}:{role}" for user, role in ROLES.items()),
                "simple_auth_manager_passwords_file": str(self._passwords_file),
            },
            "database": {"sql_alchemy_conn": self.postgres.url(DATABASE, driver="psycopg2")},
            "api": {
                "host": LOOPBACK,
                "port": str(self.port),
                "base_url": self.url,
                "secret_key": secret(self.folder, "session"),
            },
            "api_auth": {"jwt_secret": secret(self.folder, "jwt", 128)},
            "workers": {"min_heartbeat_interval": WORKER_HEARTBEAT},
            "scheduler": {"scheduler_idle_sleep_time": "0.3"},
            "dag_processor": {"refresh_interval": "10", "min_file_process_interval": "15"},
            "logging": {"uvicorn_logging_level": "WARNING", "colored_console_log": "False"},
        }

    def _connection_variables(self) -> dict[str, str]:
        return {f"AIRFLOW_CONN_{name.upper()}": uri for name, uri in self.connections.items()}

    @property
    def _passwords_file(self) -> Path:
        return self.folder / "passwords.json"

    def _write_passwords(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._passwords_file.touch(mode=0o600)
        self._passwords_file.write_text(json.dumps({user: self.password(user) for user in ROLES}), encoding="utf-8")


def airflow(
    folder: Path,
    checkout: Path,
    postgres: Postgres,
    *,
    port: int = 0,
    connections: Mapping[str, str] | None = None,
    variables: Mapping[str, str] | None = None,
) -> Airflow:
    """Return the Airflow of `folder`, at `port` if it is free, with its metadata in `postgres`."""
    return Airflow(folder, checkout, postgres, free_port(port), connections or {}, variables or {})


def _module(name: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", name, *arguments)
