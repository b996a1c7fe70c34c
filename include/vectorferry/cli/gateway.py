"""`vectorferry gateway …`: servers that speak a database's own protocol."""

import logging
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vectorferry.core.errors import ConnectionMissing, JournalError
from vectorferry.spec.connections import connection_from_environment

if TYPE_CHECKING:
    from vectorferry.gateway.pinecone.server import Gateway, Serving
    from vectorferry.gateway.pinecone.wire.keys import KeyRing
    from vectorferry.gateway.pinecone.wire.tls import Tls

KEYS = "VECTORFERRY_GATEWAY_API_KEYS"

gateway_app = typer.Typer(
    no_args_is_help=True, help="Servers that speak a database's own protocol in front of a store or a migration."
)


@gateway_app.callback()
def _gateway() -> None:
    """Keep `pinecone` a command of its own, though it is the only one."""


@gateway_app.command("pinecone")
def gateway_pinecone(
    store: Annotated[
        str, typer.Option(metavar="CONNECTION", help="Store behind a local Pinecone, as in AIRFLOW_CONN_<NAME>.")
    ] = "",
    migration: Annotated[
        str, typer.Option(metavar="NAME", help="Registered migration to serve through a router.")
    ] = "",
    journal: Annotated[
        str, typer.Option(metavar="CONNECTION", help="Journal of that migration, as in AIRFLOW_CONN_<NAME>.")
    ] = "vectorferry_journal",
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port of the REST API.")] = 5180,
    grpc_port: Annotated[int, typer.Option(help="First of the gRPC ports, one an index; 0 serves no gRPC.")] = 5181,
    url: Annotated[
        str, typer.Option(help="Where clients reach it, if not under the name that they use: behind a proxy.")
    ] = "",
    tls_cert: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Certificate with its chain (PEM): serve TLS.")
    ] = None,
    tls_key: Annotated[Path | None, typer.Option(metavar="FILE", help="The certificate's key (PEM).")] = None,
    keys: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help=f"API keys, a line `name:key` each, with limits behind it; without it {KEYS}."
        ),
    ] = None,
    drain: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="What requests under way get after SIGTERM.")
    ] = 30.0,
    access_log: Annotated[bool, typer.Option(help="Log a line for every request.")] = False,
    observe: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Count there what is asked; see `vectorferry observe`.")
    ] = None,
    observe_queries: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="With --observe: keep a sample of the queries there, vectors and filters."),
    ] = None,
    collection: Annotated[
        str, typer.Option(help="With --store and --observe: the one collection to serve, as it is.")
    ] = "",
    index: Annotated[
        str, typer.Option(help='Index settings of the store behind it, as JSON; {"type": "none"} is exact.')
    ] = "{}",
    metrics_port: Annotated[
        int, typer.Option(help="Serve Prometheus' /metrics there, without a key; 0 serves none. See docs/metrics.md.")
    ] = 0,
    folder: Annotated[Path, typer.Option(help="The gateway's own folder, for what the store does not keep.")] = Path(),
    faults: Annotated[str, typer.Option(help="Faults to inject, as JSON; see docs/gateway.md.")] = "",
) -> None:
    """Speak Pinecone's wire protocol, REST and gRPC.

    With --store it is a local Pinecone for the vendor's own SDK. With --migration it is the way for applications that are not Python:
    they change their host, and follow the migration through a router. With --store, --collection and --observe it counts what
    applications ask of their present collection.

    Clients must send one of the keys in VECTORFERRY_GATEWAY_API_KEYS (name:key, separated by commas) or in the file --keys.
    """
    from vectorferry.gateway.pinecone.server import Serving, run_gateway

    if bool(store) == bool(migration):
        raise typer.BadParameter(
            "give one of them: --store CONNECTION is a local Pinecone, --migration NAME serves applications through a router",
            param_hint="--store, --migration",
        )
    if bool(collection) != bool(store and observe):
        raise typer.BadParameter(
            "give --store, --collection and --observe together, to count what applications ask of that collection",
            param_hint="--collection",
        )
    if observe_queries and not observe:
        raise typer.BadParameter("give --observe too: both files are written together", param_hint="--observe-queries")
    serving = Serving(
        keys=_keys(keys),
        host=host,
        port=port,
        grpc_port=grpc_port or None,
        tls=_tls(tls_cert, tls_key),
        url=url.rstrip("/"),
        drain=drain,
    )
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("vectorferry").setLevel(logging.INFO)
    logging.getLogger("vectorferry.gateway.access").setLevel(logging.INFO if access_log else logging.WARNING)
    with _measured(host, metrics_port):
        if migration:
            run_gateway(lambda: _before_migration(migration, journal, serving, observe, observe_queries))
        elif observe:
            run_gateway(lambda: _before_store(store, collection, serving, observe, observe_queries))
        else:
            run_gateway(lambda: _local(store, serving, folder, index, faults))


@contextmanager
def _measured(host: str, port: int) -> Iterator[None]:
    """What is measured in this process is served at a port, and sent to the collector that the environment names."""
    from vectorferry.telemetry import sending, serving

    with ExitStack() as stack:
        stack.enter_context(serving(host, port, everywhere=True) if port else sending(everywhere=True))
        yield


def _local(store: str, serving: "Serving", folder: Path, index: str, faults: str) -> "Gateway":
    import orjson

    from vectorferry.gateway.faults import parse_faults
    from vectorferry.gateway.pinecone.emulator import local_pinecone, stores_of
    from vectorferry.stores.base import StoreOptions

    stores = stores_of(connection_from_environment(store), StoreOptions(index=orjson.loads(index)))
    rules, seed = parse_faults(orjson.loads(faults)) if faults else ([], 0)
    return local_pinecone(stores, folder, serving, faults=rules, seed=seed)


def _before_store(store: str, collection: str, serving: "Serving", observe: Path, queries: Path | None) -> "Gateway":
    from vectorferry.gateway.pinecone.observed_store import observing_gateway
    from vectorferry.stores.caller import ONCE, Caller
    from vectorferry.stores.registry import open_store

    # Its callers try again; what is sent after they have given up takes effect when nobody reckons with it any more.
    opened = open_store(connection_from_environment(store), collection, caller=Caller(policy=ONCE))
    return observing_gateway(opened, collection, observe, serving, queries)


def _before_migration(
    migration: str, journal: str, serving: "Serving", observe: Path | None, queries: Path | None
) -> "Gateway":
    """Joins first: a gateway that cannot be a member does not listen."""
    from vectorferry.gateway.pinecone.observing import Observation
    from vectorferry.journal import open_journal
    from vectorferry.router import Router
    from vectorferry.router.pinecone_gateway import gateway_of

    connection = connection_from_environment(journal)
    with open_journal(connection) as opened:
        spec = opened.control.spec(migration)
    if spec is None:
        raise JournalError(
            f"the journal knows no migration {migration!r}: register it with `vectorferry register SPEC`"
        )
    with ExitStack() as cleanup:
        router = Router(migration, connection)
        cleanup.callback(router.close)
        router.open()
        observation = Observation(observe, queries) if observe else None
        gateway = gateway_of(router, spec["source"]["collection"], serving, observation)
        cleanup.pop_all()
    return gateway


def _keys(file: Path | None) -> "KeyRing":
    from vectorferry.gateway.pinecone.wire.keys import KeyFile, Keys

    if file is not None:
        return KeyFile(file)
    given = [entry for entry in os.environ.get(KEYS, "").split(",") if entry.strip()]
    if not given:
        raise ConnectionMissing(f"no API keys: set {KEYS} to the keys that clients may send, separated by commas")
    return Keys.parse(given, limits=False)


def _tls(certificate: Path | None, key: Path | None) -> "Tls | None":
    from vectorferry.gateway.pinecone.wire.tls import Tls

    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        raise typer.BadParameter("TLS needs both --tls-cert and --tls-key", param_hint="--tls-cert, --tls-key")
    return Tls(certificate, key)
