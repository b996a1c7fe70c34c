"""Upserts from staged Parquet: our engine's load, with its journal, against the SDK's."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks import moves, pinecone_sdk, qdrant_sdk, weaviate_sdk
from benchmarks.moves import Place
from benchmarks.records import Records
from benchmarks.servers import Servers
from benchmarks.timing import Contestant, Race, Rounds, Watch, race

STAGED = Place("memory", "staged")
QDRANT = Place("qdrant", "BenchmarkTarget", {"indexing_threshold": 1_000_000})
PINECONE = Place("pinecone", "benchmark-target")
# What the gateway stored, read where it lies.
PINECONE_TABLE = Place("backing", "benchmark-target")


def into_pinecone(servers: Servers, records: Records, rounds: Rounds, grid: int | None = None) -> Race:
    """Load of an index against batched upserts over REST and gRPC."""
    with _staged(servers, records) as files:
        ours = Contestant("load", lambda watch: _ours(servers, PINECONE, PINECONE_TABLE, records, watch))
        others = [_pinecone_sdk(servers, records, settings, files) for settings in pinecone_sdk.UPSERTING[:grid]]
        return race("upsert into Pinecone", len(records), ours, others, rounds)


def into_weaviate(servers: Servers, records: Records, rounds: Rounds, index: str, grid: int | None = None) -> Race:
    """Load of a collection with an index of this type against insert_many and batches."""
    target = Place("weaviate", f"BenchmarkTarget{index.title()}", {"type": index})
    with _staged(servers, records) as files:
        ours = Contestant("load", lambda watch: _ours(servers, target, target, records, watch))
        others = [_weaviate_sdk(servers, records, target, way, files) for way in weaviate_sdk.WRITING[:grid]]
        return race(f"upsert into Weaviate, {index}", len(records), ours, others, rounds)


def into_qdrant(servers: Servers, records: Records, rounds: Rounds, grid: int | None = None) -> Race:
    """Load of a collection with the payload indexes of all fields, before HNSW, against upsert and upload_points."""
    with _staged(servers, records) as files:
        ours = Contestant("load", lambda watch: _ours(servers, QDRANT, QDRANT, records, watch))
        others = [_qdrant_sdk(servers, records, way, files) for way in qdrant_sdk.WRITING[:grid]]
        return race("upsert into Qdrant", len(records), ours, others, rounds, asked=1.0)


@contextmanager
def _staged(servers: Servers, records: Records) -> Iterator[list[Path]]:
    """Parquet files with the records, as our export writes them."""
    with moves.filled(servers, STAGED, records):
        spec = moves.spec_of(servers, STAGED, Place("memory", "nowhere"))
        with moves.session_of(servers, spec) as session:
            moves.begin(session)
            yield moves.stage(session, moves.plan(session))
            session.staging.remove()
            session.target.drop()


def _ours(servers: Servers, target: Place, read_from: Place, records: Records, watch: Watch) -> None:
    with moves.empty(servers, target, records.dimension):
        with moves.session_of(servers, moves.spec_of(servers, STAGED, target)) as session:
            moves.begin(session)
            plan = moves.plan(session)
            moves.stage(session, plan)
            with watch:
                moves.send(session, plan)
            session.staging.remove()
        _require(servers, read_from, records)


def _pinecone_sdk(
    servers: Servers, records: Records, settings: pinecone_sdk.Upserting, files: list[Path]
) -> Contestant:
    def run(watch: Watch) -> None:
        with moves.empty(servers, PINECONE, records.dimension):
            with pinecone_sdk.client(servers, PINECONE.collection, settings.transport) as index, watch:
                pinecone_sdk.load(index, settings, files)
            _require(servers, PINECONE_TABLE, records)

    return Contestant(str(settings), run)


def _weaviate_sdk(
    servers: Servers, records: Records, target: Place, way: weaviate_sdk.Writing, files: list[Path]
) -> Contestant:
    def run(watch: Watch) -> None:
        with moves.empty(servers, target, records.dimension):
            with weaviate_sdk.collection(servers, target.collection) as handle:
                weaviate_sdk.prepare(handle)
                with watch:
                    way.load(handle, files)
            _require(servers, target, records)

    return Contestant(way.name, run)


def _qdrant_sdk(servers: Servers, records: Records, way: qdrant_sdk.Writing, files: list[Path]) -> Contestant:
    def run(watch: Watch) -> None:
        with moves.empty(servers, QDRANT, records.dimension):
            with qdrant_sdk.client(servers) as client, watch:
                way.load(client, QDRANT.collection, files)
            _require(servers, QDRANT, records)

    return Contestant(way.name, run)


def _require(servers: Servers, place: Place, records: Records) -> None:
    with moves.opened(servers, place) as store:
        records.require_in(store)
