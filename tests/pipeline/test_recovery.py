"""Crashes between two steps: each resumes or steps back to a named phase, and nobody's collection is dropped or filled by mistake."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from pipeline.worlds import World, postgres_connection, rows_of
from servers import MakeJournal
from vectorferry.core.errors import AlreadyExists, GateError, NotApproved, PreflightFailed, SourceChanged, Unsupported
from vectorferry.core.model import CollectionDefinition, KeyRange, Metric, Phase
from vectorferry.engine import pipeline
from vectorferry.engine.cutover import switch
from vectorferry.engine.cutover.abandon import abandon, leftovers
from vectorferry.engine.plan.begin import begin
from vectorferry.engine.plan.preflight import preflight
from vectorferry.engine.session import Session
from vectorferry.engine.signoff.approval import record_answer
from vectorferry.gateway.pinecone.emulator import local_pinecone, stores_of
from vectorferry.gateway.pinecone.server import Serving
from vectorferry.gateway.pinecone.wire.keys import Keys
from vectorferry.journal import Evidence, Plan
from vectorferry.spec.connections import Connection


class Crash(BaseException):
    """The process ends here."""


def crash(*_: object, **__: object) -> None:
    raise Crash


@contextmanager
def crashing(patch: pytest.MonkeyPatch, place: object, name: str) -> Iterator[None]:
    with patch.context() as patched, pytest.raises(Crash):
        patched.setattr(place, name, crash)
        yield


def never(session: Session, evidence: Evidence) -> bool:
    raise AssertionError("nobody is to be asked again")


def phase_of(session: Session) -> Phase:
    return session.journal.control.get(session.migration, "all").phase


def signed(session: Session) -> tuple[Plan, str]:
    """A loaded migration whose evidence, which says nothing, is approved."""
    _, plan = pipeline.prepare(session)
    for partition in plan.partitions:
        pipeline.export_partition(session, plan, partition)
        pipeline.load_partition(session, plan, partition)
    body = {"requested_by": session.actor}
    made = Evidence("e" * 64, session.migration, plan.id, session.run_id, session.spec.fingerprint, 0, "cutover", body)
    session.journal.evidence.save(replace(made, approvable=True))
    record_answer(session, made.hash, "approve", person="approver", reason="looks right", via="airflow")
    return plan, made.hash


@pytest.mark.parametrize(
    ("place", "name", "left"),
    [
        (switch, "require_unchanged", Phase.HOLD_A),
        (switch, "_point_alias", Phase.HOLD_B),
        (pipeline, "verify", Phase.TRACK_B),
    ],
)
def test_a_switch_that_was_cut_short_is_ended_by_the_next_run(
    filled: World, monkeypatch: pytest.MonkeyPatch, place: object, name: str, left: Phase
) -> None:
    with filled.session() as session:
        plan, digest = signed(session)
        with crashing(monkeypatch, place, name):
            switch.cut_over(session, plan, digest)
            pipeline.verify(session, plan)
        assert phase_of(session) is left
    with filled.session() as session:
        outcome = pipeline.run(session, never)
        assert outcome.switched is not None
        assert phase_of(session) is Phase.TRACK_B
        assert session.journal.audit.trail("small")[-1].action == "verified"
        with pytest.raises(GateError, match="nothing to begin"):
            pipeline.run(session, never)


def test_an_approval_that_lapsed_in_a_hold_ends_the_hold(filled: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with filled.session() as session:
        plan, digest = signed(session)
        with crashing(monkeypatch, switch, "require_unchanged"):
            switch.cut_over(session, plan, digest)
        rules = session.spec.approval.model_copy(update={"evidence_age": timedelta(seconds=0)})
        later = replace(session, spec=session.spec.model_copy(update={"approval": rules}))
        with pytest.raises(NotApproved):
            switch.cut_over(later, plan, digest)
        assert phase_of(session) is Phase.TRACK_A


def test_a_source_that_changed_while_a_hold_was_cut_short_ends_the_hold(
    filled: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    with filled.session() as session:
        plan, digest = signed(session)
        with crashing(monkeypatch, switch, "require_unchanged"):
            switch.cut_over(session, plan, digest)
        session.source.delete("wave", [next(iter(session.source.list_ids(KeyRange("wave"))))[0]])
        with pytest.raises(SourceChanged, match="changed since the export"):
            pipeline.run(session, never)
        assert phase_of(session) is Phase.TRACK_A


def test_a_target_that_refuses_its_alias_ends_the_hold(filled: World) -> None:
    with filled.session() as session:
        plan, digest = signed(session)
        target = session.spec.target.model_copy(update={"alias": "live"})
        aliased = replace(session, spec=session.spec.model_copy(update={"target": target}))
        evidence = session.journal.evidence.get(digest)
        assert evidence is not None
        with pytest.MonkeyPatch.context() as patch, pytest.raises(Unsupported, match="no aliases"):
            patch.setattr(switch, "require_approval", lambda *_: session.journal.approvals.all(digest)[0])
            switch.cut_over(aliased, plan, digest)
        assert phase_of(session) is Phase.TRACK_A


def test_an_alias_that_the_target_cannot_have_is_refused_at_preflight(filled: World) -> None:
    filled.spec_dict["target"]["alias"] = "live"
    with filled.session() as session, pytest.raises(PreflightFailed, match=r"no aliases: take `target\.alias: live`"):
        preflight(session)


def made_elsewhere(world: World, collection: str, rows: int) -> None:
    """A collection that somebody else made in the target's database."""
    with world.source() as source:
        batch = next(iter(source.scan(KeyRange("wave"))))
        info = source.describe()
    other = replace_collection(world, collection)
    with other.source() as store:
        store.create(CollectionDefinition(info.dimension or 0, Metric.COSINE, world.spec.fields))
        store.upsert(batch.slice(0, rows))


def replace_collection(world: World, collection: str) -> World:
    """The same world, reading another collection as its source."""
    changed = world.spec_dict | {"source": world.spec_dict["source"] | {"collection": collection}}
    return World(world.folder, world.connections, changed)


def count_elsewhere(world: World, collection: str) -> int:
    with replace_collection(world, collection).source() as store:
        return store.count()


def test_abandon_never_drops_what_another_spec_named(filled: World) -> None:
    made_elsewhere(filled, "precious", 3)
    with filled.session() as session:
        pipeline.prepare(session)
    filled.spec_dict["target"]["collection"] = "precious"
    with filled.session() as session:
        with pytest.raises(PreflightFailed, match="precious is not empty"):
            pipeline.prepare(session)
        with pytest.raises(GateError, match=r"docs_moved.*restore `target` in the spec"):
            abandon(session)
    assert count_elsewhere(filled, "precious") == 3
    filled.spec_dict["target"]["collection"] = "docs_moved"
    with filled.session() as session:
        assert abandon(session).target == "pgvector docs_moved"
    filled.spec_dict["target"]["collection"] = "precious"
    with filled.session() as session:
        assert abandon(session).target is None
    assert count_elsewhere(filled, "precious") == 3


def test_a_target_that_somebody_makes_meanwhile_is_not_ours(filled: World) -> None:
    with filled.session() as session:
        found = preflight(session)
        made_elsewhere(filled, "docs_moved", 3)
        with pytest.raises(AlreadyExists):
            begin(session, found)
        with pytest.raises(PreflightFailed, match="docs_moved is not empty"):
            pipeline.prepare(session)
        assert leftovers(session).target is None
    assert count_elsewhere(filled, "docs_moved") == 3


def test_a_load_into_an_empty_target_goes_on_after_a_crash(filled: World) -> None:
    made_elsewhere(filled, "docs_moved", 0)
    with filled.session() as session:
        _, plan = pipeline.prepare(session)
        pipeline.move_partition(session, plan, plan.partitions[0])
    with filled.session() as session:
        _, again = pipeline.prepare(session)
        assert again.id == plan.id
        assert leftovers(session).target is None
        abandon(session)
    assert count_elsewhere(filled, "docs_moved") == plan.partitions[0].rows


def test_a_listing_that_was_cut_short_is_not_taken_for_another_namespaces(
    filled: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The listing's parts are numbered by namespace: one more namespace, and each number means another."""
    rows = rows_of("xml.etree", "wave")
    stores = stores_of(Connection("listing", "memory"))
    serving = Serving(keys=Keys.parse(["key"]), port=0, grpc_port=None)
    with local_pinecone(stores, tmp_path / "gateway", serving) as gateway:
        filled.connections["source"] = Connection("source", "pinecone", gateway.url, password="key")
        filled.spec_dict["source"]["collection"] = "listed"
        filled.fill(rows)
        with filled.session() as session, crashing(monkeypatch, type(session.journal.plans), "save"):
            pipeline.prepare(session)
        with filled.source() as source:
            source.upsert(rows_of("os/path").to_batches()[0])
        with filled.session() as session:
            _, plan = pipeline.prepare(session)
            for partition in plan.partitions:
                pipeline.move_partition(session, plan, partition)
            assert session.target.count() == len(rows) + 17


def test_a_target_remembers_its_journal_until_the_migration_is_abandoned(
    filled: World, make_journal_database: MakeJournal
) -> None:
    """An older state of the journal knows nothing of what was moved, of which side has the authority, or of who writes."""
    filled.spec_dict["target"]["adopt"] = True
    other = replace(
        filled, connections={**filled.connections, "journal": postgres_connection("journal", make_journal_database())}
    )
    with filled.session() as session, other.session() as lost:
        source = session.source.describe()
        session.target.create(CollectionDefinition(source.dimension or 0, source.metric, session.spec.fields))
        pipeline.prepare(session)
        assert session.target.marker("small") == str(session.journal.marker("small"))
        with pytest.raises(GateError, match=r"the target knows epoch 1 of journal \S+, and the journal only 0"):
            pipeline.prepare(lost)
        assert lost.journal.control.all("small") == ()
        abandon(session)
        assert session.target.marker("small") is None
        pipeline.prepare(lost)
        assert lost.target.marker("small") == str(lost.journal.marker("small"))
