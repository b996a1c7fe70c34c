"""Export into Parquet: our engine's against the SDK's."""

import shutil
from pathlib import Path

from benchmarks import moves, pinecone_sdk, qdrant_sdk, weaviate_sdk
from benchmarks.moves import Place
from benchmarks.records import Records
from benchmarks.servers import Servers
from benchmarks.timing import Contestant, Race, Rounds, Watch, race

PINECONE = Place("pinecone", "benchmark-source")
WEAVIATE = Place("weaviate", "BenchmarkSource", {"type": "flat"})
QDRANT = Place("qdrant", "BenchmarkSource", {"indexing_threshold": 1_000_000})
NOWHERE = Place("memory", "nowhere")


def from_pinecone(servers: Servers, records: Records, rounds: Rounds, grid: int | None = None) -> Race:
    """Export of an index whose ids are listed, as parts, manifest and profile, against fetch of listed ids."""
    ours = Contestant("export", lambda watch: _ours(servers, PINECONE, records, watch))
    with moves.filled(servers, PINECONE, records):
        others = [_pinecone_sdk(servers, records, settings) for settings in pinecone_sdk.FETCHING[:grid]]
        return race("export from Pinecone", len(records), ours, others, rounds)


def listing_pinecone(servers: Servers, records: Records, rounds: Rounds) -> Race:
    """The listing that a plan begins with, durable and resumable, against the client's; shown, for it is no part of an export."""

    def ours(watch: Watch) -> None:
        with moves.session_of(servers, moves.spec_of(servers, PINECONE, NOWHERE)) as session:
            moves.begin(session)
            with watch:
                moves.list_ids(session)
            session.staging.remove()
            session.target.drop()

    def theirs(watch: Watch) -> None:
        with pinecone_sdk.client(servers, PINECONE.collection, "gRPC") as index, watch:
            found = pinecone_sdk.listed(index)
        assert len(found) == len(records)

    others = [Contestant("gRPC list limit=100", theirs)]
    with moves.filled(servers, PINECONE, records):
        return race("listing of Pinecone", len(records), Contestant("listing", ours), others, rounds, asked=None)


def from_weaviate(servers: Servers, records: Records, rounds: Rounds, grid: int | None = None) -> Race:
    """Export of a collection against the client's iterator and pages."""
    ours = Contestant("export", lambda watch: _ours(servers, WEAVIATE, records, watch))
    with moves.filled(servers, WEAVIATE, records):
        others = [_weaviate_sdk(servers, records, reading) for reading in weaviate_sdk.READING[:grid]]
        return race("export from Weaviate", len(records), ours, others, rounds)


def from_qdrant(servers: Servers, records: Records, rounds: Rounds, grid: int | None = None) -> Race:
    """Export of a collection against the client's scroll."""
    ours = Contestant("export", lambda watch: _ours(servers, QDRANT, records, watch))
    with moves.filled(servers, QDRANT, records):
        others = [_qdrant_sdk(servers, records, reading) for reading in qdrant_sdk.READING[:grid]]
        return race("export from Qdrant", len(records), ours, others, rounds, asked=1.0)


def _ours(servers: Servers, source: Place, records: Records, watch: Watch) -> None:
    with moves.session_of(servers, moves.spec_of(servers, source, NOWHERE)) as session:
        moves.begin(session)
        plan = moves.plan(session)
        with watch:
            files = moves.stage(session, plan)
        records.require_file(*files)
        session.staging.remove()
        session.target.drop()


def _pinecone_sdk(servers: Servers, records: Records, settings: pinecone_sdk.Fetching) -> Contestant:
    def run(watch: Watch) -> None:
        file = _file(servers)
        with pinecone_sdk.client(servers, PINECONE.collection, settings.transport) as index:
            ids = pinecone_sdk.listed(index)
            with watch:
                pinecone_sdk.export(index, ids, settings, file)
        records.require_file(file)

    return Contestant(str(settings), run)


def _weaviate_sdk(servers: Servers, records: Records, reading: weaviate_sdk.Reading) -> Contestant:
    def run(watch: Watch) -> None:
        file = _file(servers)
        with weaviate_sdk.collection(servers, WEAVIATE.collection) as handle, watch:
            reading.export(handle, file)
        records.require_file(file)

    return Contestant(reading.name, run)


def _qdrant_sdk(servers: Servers, records: Records, reading: qdrant_sdk.Reading) -> Contestant:
    def run(watch: Watch) -> None:
        file = _file(servers)
        with qdrant_sdk.client(servers) as client, watch:
            reading.export(client, QDRANT.collection, file)
        records.require_file(file)

    return Contestant(reading.name, run)


def _file(servers: Servers) -> Path:
    folder = servers.folder / "sdk"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder / "export.parquet"
