"""`make demo`: a whole migration of real data on local servers, left open in the Airflow UI for the approver."""

import argparse
import os
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from vectorferry.core.errors import VectorferryError
from vectorferry.local.demo.data import fill
from vectorferry.local.demo.live import LiveDemo
from vectorferry.local.demo.run import follow
from vectorferry.local.demo.spec import CONNECTIONS, KINDS, Demo, demo_of
from vectorferry.local.servers.airflow import Airflow
from vectorferry.local.servers.stack import FOLDER, Databases, airflow_of, databases
from vectorferry.local.servers.supervisor import Supervisor
from vectorferry.local.servers.weaviate_binary import WeaviateMissing

# What runs here, and what of yours it stands for.
STANDS_FOR = {
    "pinecone": ("the local Pinecone (its wire protocol in front of pgvector)", "Pinecone"),
    "weaviate": ("a real Weaviate", "Weaviate"),
    "pgvector": ("a real PostgreSQL with pgvector", "PostgreSQL with pgvector"),
    "qdrant": ("the local Qdrant (its protocol in front of the vendor's engine)", "Qdrant"),
    "lancedb": ("a real LanceDB on this disk", "LanceDB"),
}


def main() -> int:
    """Run the demo, or a command among its servers; the exit code says how it ended."""
    options = _options()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return _run(options)
    except WeaviateMissing as error:
        print(error, file=sys.stderr)
        return 3
    except VectorferryError as error:
        print(f"\nThe demo failed: {error}", file=sys.stderr)
        return 3
    except KeyboardInterrupt:
        print("\nstopped")
        return 130


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--source", choices=KINDS, default="pinecone")
    parser.add_argument("--target", choices=KINDS, default="weaviate")
    parser.add_argument(
        "--approve", choices=("ask", "auto"), default="ask", help="auto: answer as the approver at once"
    )
    parser.add_argument(
        "--command", default="", help="instead of a migration: run this among the servers of the last demo"
    )
    parser.add_argument("--root", type=Path, default=Path(FOLDER), help="folder for the servers' data")
    parser.add_argument("--live", action="store_true", help="an application writes and searches meanwhile")
    return parser.parse_args()


def _run(options: argparse.Namespace) -> int:
    checkout = Path.cwd()
    root = checkout / options.root
    demo = demo_of(checkout, root, options.source, options.target, live=options.live)
    with Supervisor(root) as supervisor:
        if not options.command:
            _forget_last(root)
        servers = databases(root, frozenset({options.source, options.target}))
        connections = servers.connections(_connection_ids(options))
        _say_who_is_who(options, demo)
        airflow = airflow_of(checkout, root, servers, connections, demo.environment())
        os.environ.update(airflow.environment())
        if options.command:
            supervisor.start(servers.services())
            os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
            return subprocess.call(shlex.split(options.command), cwd=checkout)
        live = LiveDemo(demo, root / "demo") if demo.live else None
        return _migrate(supervisor, servers, airflow, demo, live, auto=options.approve == "auto")


def _connection_ids(options: argparse.Namespace) -> dict[str, str]:
    """Connection ids of the journal and of both sides."""
    return {"journal": "vectorferry_journal"} | {kind: CONNECTIONS[kind] for kind in (options.source, options.target)}


def _forget_last(root: Path) -> None:
    """A demo begins afresh: the records, journal and staging of the last one go, its credentials and logs too."""
    for name in ("postgres", *KINDS, "airflow", "staging", "demo"):
        shutil.rmtree(root / name, ignore_errors=True)


def _say_who_is_who(options: argparse.Namespace, demo: Demo) -> None:
    for role, kind in (("source", options.source), ("target", options.target)):
        here, yours = STANDS_FOR[kind]
        print(f"{role}: {here} stands for your {yours}")
    print(f"spec: {demo.spec_file}")


def _migrate(
    supervisor: Supervisor, servers: Databases, airflow: Airflow, demo: Demo, live: LiveDemo | None, *, auto: bool
) -> int:
    supervisor.start([*servers.services(), *airflow.services()])
    fill(demo)
    if live is not None:
        live.start(supervisor)
    return follow(supervisor, airflow, demo, auto=auto, live=live)


if __name__ == "__main__":
    sys.exit(main())
