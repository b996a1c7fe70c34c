"""Reconciliation on real stores: what drifted is named once and mended, under writes; what is no drift is left alone."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import psycopg
import pyarrow as pa
import pytest

from pipeline.planting import raw_postgres
from pipeline.test_live import approve, assert_equal, assert_nothing_lost, keys_of, live
from pipeline.worlds import World, rows_of
from pipeline.writing import writing
from trail import left_in_trail
from vectorferry.core.errors import CheckFailed, GateError, LeaseLost, NotApproved, Unavailable
from vectorferry.core.model import CollectionDefinition, DifferenceKind, KeyRange, Metric, Phase
from vectorferry.engine import pipeline
from vectorferry.engine.reconcile import fingerprint_spill, repair
from vectorferry.engine.reconcile.drift import Drift, read_drift
from vectorferry.engine.reconcile.preconditions import keep_equal
from vectorferry.engine.reconcile.repair import drift_figures
from vectorferry.engine.reconcile.run_state import folder_of
from vectorferry.engine.session import Session
from vectorferry.engine.transfer.load import load
from vectorferry.journal import Evidence
from vectorferry.stores.base import VectorStore

__all__ = ["live"]
KIND = DifferenceKind


@pytest.fixture
def loaded(filled: World) -> Iterator[tuple[World, Session]]:
    """Both sides hold the same, in TRACK_A; nobody writes."""
    with filled.session() as session:
        _load(session)
        yield filled, session


def _load(session: Session) -> None:
    _, plan = pipeline.prepare(session)
    for partition in plan.partitions:
        pipeline.export_partition(session, plan, partition)
        load(session, plan, partition)


def drift_of(session: Session, found: Evidence) -> dict[tuple[str, str], Drift]:
    figures = drift_figures(found)
    every = read_drift(folder_of(session, figures["reconciliation"]))
    named = {(each.namespace, each.id): each for each in every}
    assert len(named) == len(every) == figures["repairs"]
    return named


def plant(database: str, collection: str = "docs_moved") -> dict[tuple[str, str], KIND]:
    """One of each kind, in the target, by other hands."""
    first = {name: [row["id"] for row in rows_of(name).select(["id"]).to_pylist()] for name in ("email", "wave", "")}
    with raw_postgres(database, collection) as raw:
        raw.delete(("email", first["email"][20]))
        vector, metadata = raw.read(("email", first["email"][21]))
        raw.write(("email", first["email"][21]), [*vector[:-1], vector[-1] + 0.25], metadata)
        raw.write(("email", first["email"][22]), raw.read(("email", first["email"][22]))[0], {"kind": "other"})
        raw.write(("wave", "never written"), vector, metadata)
        moved = raw.read(("", first[""][20]))
        raw.delete(("", first[""][20]))
        raw.write(("wave", first[""][20]), *moved)
    return {
        ("email", first["email"][20]): KIND.MISSING,
        ("email", first["email"][21]): KIND.VECTOR,
        ("email", first["email"][22]): KIND.METADATA,
        ("wave", "never written"): KIND.EXTRA,
        ("", first[""][20]): KIND.NAMESPACE,
    }


def test_equal_sides_are_found_equal(loaded: tuple[World, Session]) -> None:
    _, session = loaded
    found = pipeline.reconcile(session)
    figures = drift_figures(found)
    assert figures["outcome"] == "equal"
    assert figures["rows_source"] == figures["rows_target"] == figures["compared"] > 400
    assert not found.approvable
    assert pipeline.repair(session, found.hash).passed


def test_each_kind_is_named_once_and_mended(
    loaded: tuple[World, Session], database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, session = loaded
    monkeypatch.setattr(fingerprint_spill, "BUCKET_ROWS", 100)  # several buckets, as of a large collection
    planted = plant(database)
    found = pipeline.reconcile(session)
    named = drift_of(session, found)
    assert {key: each.kind for key, each in named.items()} == planted
    assert named["", next(key[1] for key in planted if key[0] == "")].found_in == "wave"
    assert not pipeline.needs_person(found)
    assert pipeline.repair(session, found.hash).passed
    assert_equal(session)
    assert session.journal.reconciliations.all("small")[0].outcome == "repaired"
    assert left_in_trail(session.journal, "mended").detail["records"] == len(planted)
    assert drift_figures(pipeline.reconcile(session))["outcome"] == "equal"


def test_under_writes_nothing_written_is_called_drift(live: World, database: str) -> None:
    with live.session() as session, writing(live, keys_of(live)) as writers:
        outcome = pipeline.run(session, approve)
        assert outcome.switched is not None
        planted = plant(database, "docs")  # the target has the authority now: the source is its copy
        with live.session() as later:
            found = pipeline.reconcile(later)
            assert {key: each.kind for key, each in drift_of(later, found).items()} == planted
            assert pipeline.repair(later, found.hash).passed
        assert_nothing_lost(session, writers)


def test_more_than_the_limit_needs_a_person(filled: World, database: str) -> None:
    filled.spec_dict["reconcile"] = {"repairs": 4, "deletions": 1}
    with filled.session() as session:
        _load(session)
        plant(database)
        found = pipeline.reconcile(session)
        assert drift_figures(found)["over"] == [
            "5 records to repair, 4 allowed without asking",
            "2 of them to delete, 1 allowed without asking",
        ]
        with pytest.raises(NotApproved):
            pipeline.repair(session, found.hash)
        approve(session, found)
        assert pipeline.repair(session, found.hash).passed
        assert_equal(session)


def test_the_limits_are_for_a_period_and_not_for_one_run_of_it(filled: World, database: str) -> None:
    filled.spec_dict["reconcile"] = {"deletions": 3}
    with filled.session() as session:
        _load(session)
        for over in ([], ["2 of them to delete after 2 of this period, 3 allowed without asking"]):
            plant(database)
            found = pipeline.reconcile(session)
            assert drift_figures(found)["over"] == over
            if over:
                approve(session, found)
            assert pipeline.repair(session, found.hash).passed
        plant(database)
        assert drift_figures(pipeline.reconcile(session))["over"], "what was asked for counts as asked, the rest stays"


def test_a_spec_that_wants_only_a_report_mends_nothing(filled: World, database: str) -> None:
    filled.spec_dict["reconcile"] = {"repair": False}
    with filled.session() as session:
        _load(session)
        plant(database)
        found = pipeline.reconcile(session)
        with pytest.raises(CheckFailed, match="repair: false"):
            pipeline.repair(session, found.hash)
        assert len(drift_of(session, pipeline.reconcile(session))) == 5


def _empty(world: World) -> None:
    with world.source() as source:
        for name in source.describe().namespaces:
            source.delete(name, [id_ for page in source.list_ids(KeyRange(name)) for id_ in page])


def test_an_emptied_source_empties_nothing(loaded: tuple[World, Session]) -> None:
    world, session = loaded
    before = session.target.count()
    _empty(world)
    with pytest.raises(GateError, match="has the authority and is empty"):
        pipeline.reconcile(session)
    assert session.target.count() == before
    assert session.journal.records.dirty_count("small") == 0
    assert session.journal.reconciliations.all("small")[0].outcome == "refused"


def test_a_source_that_loses_records_before_the_repair_takes_none_with_it(
    loaded: tuple[World, Session], database: str
) -> None:
    world, session = loaded
    with raw_postgres(database, "docs_moved") as raw:
        for row in rows_of("email", "wave").select(["namespace", "id"]).to_pylist()[:110]:
            raw.write((row["namespace"], row["id"]), [0.5] * 384, {})
    before = session.target.count()
    found = pipeline.reconcile(session)
    assert drift_figures(found)["kinds"] == {"vector": 110}
    with world.source() as source:
        for name in ("email", "wave"):
            source.delete(name, [id_ for page in source.list_ids(KeyRange(name)) for id_ in page])
    with pytest.raises(
        GateError, match=r"110 of the records to repair are not in the authority now, 100 may be deleted"
    ):
        pipeline.repair(session, found.hash)
    assert session.target.count() == before
    assert session.journal.records.dirty_count("small") == 0


def _settling(session: Session, pages: Callable[[int], None]) -> Session:
    """The session, whose repair tells after each page how many records are done."""
    return replace(session, report=lambda told: pages(told.done) if told.step == "repair" else None)


def _differing(session: Session, database: str) -> tuple[Evidence, list[Drift]]:
    """Thirty records whose vector somebody changed in the target, in the order in which they are repaired."""
    with raw_postgres(database, "docs_moved") as raw:
        for row in rows_of("email").select(["namespace", "id"]).to_pylist()[:30]:
            raw.write((row["namespace"], row["id"]), [0.5] * 384, {})
    found = pipeline.reconcile(session)
    assert drift_figures(found)["kinds"] == {"vector": 30}
    return found, list(drift_of(session, found).values())


def test_an_authority_that_is_emptied_between_two_pages_is_not_followed(
    loaded: tuple[World, Session], database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, session = loaded
    monkeypatch.setattr(repair, "_PAGE", 10)
    found, _ = _differing(session, database)
    before = session.target.count()

    def emptied(done: int) -> None:
        with psycopg.connect(database, autocommit=True) as connection:
            connection.execute("DELETE FROM docs")

    with pytest.raises(
        GateError, match=r"stopped after 10 of 30 records, and changed nothing more: .* has the authority and is empty"
    ):
        pipeline.repair(_settling(session, emptied), found.hash)
    assert session.target.count() == before
    assert session.journal.records.dirty_count("small") == 0


def test_what_the_authority_loses_from_page_to_page_is_counted_over_all_of_them(
    filled: World, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled.spec_dict["reconcile"] = {"deletions": 5}
    monkeypatch.setattr(repair, "_PAGE", 10)
    with filled.session() as session:
        _load(session)
        found, drift = _differing(session, database)
        before = session.target.count()

        def loses_three(done: int) -> None:
            with raw_postgres(database, "docs") as raw:
                for each in drift[done : done + 3]:
                    raw.delete((each.namespace, each.id))

        with pytest.raises(
            GateError, match=r"stopped after 20 of 30 records.* 6 of the records to repair .* 5 may be deleted"
        ):
            pipeline.repair(_settling(session, loses_three), found.hash)
        assert session.target.count() == before - 3
        assert session.journal.records.dirty_count("small") == 0


@pytest.mark.parametrize("same_ids", [True, False])
def test_another_collection_is_refused(loaded: tuple[World, Session], database: str, same_ids: bool) -> None:
    _, session = loaded
    change = "vector = (SELECT vector FROM docs_moved LIMIT 1)" if same_ids else "id = 'other ' || id"
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(f"UPDATE docs_moved SET {change}")
    before = session.target.count()
    with pytest.raises(GateError, match="these are no copies of each other"):
        pipeline.reconcile(session)
    assert session.target.count() == before
    assert session.journal.records.dirty_count("small") == 0


def test_excused_records_are_no_drift_and_stay(loaded: tuple[World, Session], database: str) -> None:
    _, session = loaded
    planted = plant(database)
    astray = [("wave", id_) for name, id_ in planted if name == ""]
    session.journal.records.excuse(session.plan(), "p0000", [(*key, "on purpose") for key in [*planted, *astray]])
    before = session.target.fetch("wave", ["never written"])
    found = pipeline.reconcile(session)
    assert drift_figures(found)["outcome"] == "equal"
    assert drift_figures(found)["suspects"] == 6
    assert session.target.fetch("wave", ["never written"]) == before


def test_shares_cover_everything_and_find_what_a_full_pass_finds(loaded: tuple[World, Session], database: str) -> None:
    _, session = loaded
    pipeline.reconcile(session)
    planted = plant(database)
    named: dict[tuple[str, str], Drift] = {}
    read = 0
    for _ in range(5):
        figures = compared(session, 0.25)
        read += figures["rows_source"]
        every = read_drift(folder_of(session, figures["reconciliation"]))
        named |= {(each.namespace, each.id): each for each in every}
    assert session.source.count() < read < 2 * session.source.count()
    # Half of what lies in the wrong namespace may be seen by one share, and the other half by another.
    assert planted.keys() <= named.keys()
    assert named.keys() - planted.keys() <= {("wave", key[1]) for key in planted}


def compared(session: Session, share: float) -> Mapping[str, Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vectorferry.engine.reconcile.reconcile.due_share", lambda _: share)
        return drift_figures(pipeline.reconcile(session, full=False))


def test_a_ceiling_pauses_and_the_next_run_goes_on(filled: World, database: str) -> None:
    with filled.session() as session:
        _load(session)
        pipeline.reconcile(session)
        planted = plant(database)
    filled.spec_dict["reconcile"] = {"ceiling": {"requests": 2}}
    named: dict[tuple[str, str], Drift] = {}
    paused = 0
    for _ in range(40):
        with filled.session() as session:
            figures = compared(session, 0.999)
            named |= {
                (each.namespace, each.id): each for each in read_drift(folder_of(session, figures["reconciliation"]))
            }
        paused += figures["outcome"] == "paused"
        if planted.keys() <= named.keys():
            break
    assert paused > 1
    assert planted.keys() <= named.keys()


def test_a_pass_that_was_cut_short_goes_on_with_what_it_read(
    filled: World, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fingerprint_spill, "PART_ROWS", 60)
    with filled.session() as session:
        _load(session)
        planted = plant(database)
        scans = Cut(session.source, after=3)
        with monkeypatch.context() as patch, pytest.raises(Unavailable, match="cut"):
            patch.setattr(session.source, "scan", scans)
            pipeline.reconcile(session)
        cut = session.journal.reconciliations.all("small")[0]
        assert 0 < cut.state["source"]["rows"] < session.source.count()
        scans.left = 100
        with monkeypatch.context() as patch:
            patch.setattr(session.source, "scan", scans)
            found = pipeline.reconcile(session)
        assert drift_figures(found)["reconciliation"] == cut.id
        assert drift_figures(found)["rows_source"] == session.source.count()
        assert scans.rows < session.source.count() + 200, "what was read before is not read again"
        assert {key: each.kind for key, each in drift_of(session, found).items()} == planted


class Cut:
    """The scan of a store that goes away after some batches."""

    def __init__(self, store: VectorStore, after: int) -> None:
        self._scan, self.left, self.rows = store.scan, after, 0

    def __call__(self, span: KeyRange, *, batch_rows: int = 1000) -> Iterator[pa.RecordBatch]:
        for batch in self._scan(span, batch_rows=30):
            if not self.left:
                raise Unavailable("cut", store="pgvector docs")
            self.left -= 1
            self.rows += len(batch)
            yield batch


def test_a_second_reconciliation_at_the_same_time_ends_the_first(loaded: tuple[World, Session]) -> None:
    world, session = loaded
    with world.session() as other:
        plain = session.source.scan

        def overtaken(span: KeyRange, *, batch_rows: int = 1000) -> Iterator[pa.RecordBatch]:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(session.source, "scan", plain)
                pipeline.reconcile(other)
            return plain(span, batch_rows=batch_rows)

        with pytest.MonkeyPatch.context() as patch, pytest.raises(LeaseLost):
            patch.setattr(session.source, "scan", overtaken)
            pipeline.reconcile(session)


def test_what_did_not_change_is_not_read_again(loaded: tuple[World, Session], database: str) -> None:
    _, session = loaded
    assert drift_figures(pipeline.reconcile(session))["skipped"] == 0
    again = pipeline.reconcile(session)
    assert drift_figures(again)["skipped"] == 5
    assert drift_figures(again)["rows_source"] == 0
    report = folder_of(session, drift_figures(again)["reconciliation"]).read_json("report.json")
    assert "nothing changed since it was found equal" in report["not_read"]["wave"]
    planted = plant(database)
    found = pipeline.reconcile(session)
    assert drift_figures(found)["skipped"] == 2, "three of five namespaces were written"
    assert {key: each.kind for key, each in drift_of(session, found).items()} == planted
    assert pipeline.repair(session, found.hash).passed
    assert drift_figures(pipeline.reconcile(session))["skipped"] == 2, "what was mended has to be read once"
    assert drift_figures(pipeline.reconcile(session))["skipped"] == 5


def test_a_pair_that_others_filled_is_kept_equal(filled: World, database: str) -> None:
    with filled.session() as session:
        with pytest.raises(GateError, match="knows nothing of migration small"):
            pipeline.reconcile(session)
        session.target.create(CollectionDefinition(384, Metric.COSINE, session.spec.fields))
        for name in session.source.describe().namespaces:
            for batch in session.source.scan(KeyRange(name)):
                session.target.upsert(batch)
        keep_equal(session)
        left_in_trail(session.journal, "pair")
        planted = plant(database)
        found = pipeline.reconcile(session)
        assert {key: each.kind for key, each in drift_of(session, found).items()} == planted
        assert pipeline.repair(session, found.hash).passed
        assert_equal(session)
        assert session.journal.control.get("small", "all").phase is Phase.TRACK_A
