"""A plan under which nothing was exported is cut anew from its listing; what cannot be mapped over is refused before it is listed."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.commanding import on
from pipeline.worlds import World, rows_of
from vectorferry.core.errors import GateError, PlanMismatch, PreflightFailed
from vectorferry.engine import pipeline
from vectorferry.engine.backup.retention import prunable
from vectorferry.gateway.pinecone.emulator import local_pinecone, stores_of
from vectorferry.gateway.pinecone.server import Serving
from vectorferry.gateway.pinecone.wire.keys import Keys
from vectorferry.spec.connections import Connection

ROWS = rows_of("xml.etree", "wave")


@pytest.fixture
def listed(world: World, tmp_path: Path) -> Iterator[World]:
    """A source that is listed, cut into many partitions."""
    serving = Serving(keys=Keys.parse(["key"]), port=0, grpc_port=None)
    with local_pinecone(
        stores_of(Connection(f"replan {tmp_path}", "memory")), tmp_path / "gateway", serving
    ) as gateway:
        world.connections["source"] = Connection("source", "pinecone", gateway.url, password="key")
        world.spec_dict["source"]["collection"] = "listed"
        world.spec_dict["partitions"] = {"rows": 5}
        world.fill(ROWS)
        yield world


def test_a_plan_is_cut_anew_from_the_same_listing(listed: World) -> None:
    with listed.session() as session:
        _, many = pipeline.prepare(session)
    with listed.source() as source:
        source.upsert(rows_of("os/path").to_batches()[0])  # in no listing
    listed.spec_dict["partitions"] = {"rows": 50}
    with listed.session() as session, pytest.raises(PlanMismatch, match="vectorferry replan SPEC"):
        session.plan()
    ran = on(listed, "replan")
    assert ran.code == 0, ran.err
    with listed.session() as session:
        few = session.plan()
        assert len(few.partitions) < len(many.partitions) / 5
        assert few.details["rows"] == many.details["rows"] == sum(each.rows for each in few.partitions) == len(ROWS)
        audited = session.journal.audit.trail("small", "replan")
        assert [each.detail["to"] for each in audited] == [few.id]
        with pytest.raises(PlanMismatch, match="was retired"):
            pipeline.export_partition(session, many, many.partitions[0])
        for partition in few.partitions:
            pipeline.move_partition(session, few, partition)
        assert session.target.count() == len(ROWS)


def test_a_plan_is_cut_again_and_its_listing_is_kept(listed: World, monkeypatch: pytest.MonkeyPatch) -> None:
    listed.spec_dict["backup"] = {"retention": "1d"}
    with listed.session() as session:
        _, first = pipeline.prepare(session)
        second = pipeline.replan(session)
        third = pipeline.replan(session)
        assert len({first.id, second.id, third.id}) == 3
        assert session.plan().partitions == first.partitions
        monkeypatch.setattr(type(session.staging), "modified", lambda *_: None)  # as old as can be
        assert [each.path for each in prunable(session)] == [second.id]


def test_nothing_is_cut_anew_once_it_was_exported_or_where_more_has_changed(listed: World) -> None:
    with listed.session() as session:
        with pytest.raises(PlanMismatch, match="vectorferry plan SPEC --save"):
            pipeline.replan(session)
        _, plan = pipeline.prepare(session)
    listed.spec_dict["namespaces"] = {"exclude": ["wave"]}
    with listed.session() as session, pytest.raises(PlanMismatch, match="than `partitions`"):
        pipeline.replan(session)
    del listed.spec_dict["namespaces"]
    with listed.session() as session:
        pipeline.export_partition(session, plan, plan.partitions[3])
        with pytest.raises(GateError, match="partition p0003 was exported"):
            pipeline.replan(session)
        assert session.plan().id == plan.id


def test_what_cannot_be_mapped_over_is_refused_before_it_is_listed(listed: World) -> None:
    with listed.session() as session:
        pipeline.begin(session)
        for refused in (pipeline.preflight, pipeline.plan):
            with pytest.raises(PreflightFailed, match=r"`partitions.rows: 5` makes about .* maps over 8 at most"):
                refused(session, mappable=8)
        assert not session.staging.exists("")
        assert session.journal.plans.current("small") is None
    del listed.spec_dict["partitions"]
    with listed.session() as session:
        assert len(pipeline.plan(session, mappable=8).partitions) == 1


def test_a_plan_that_is_there_and_cannot_be_mapped_over_is_told_how_to_cut_it_anew(listed: World) -> None:
    with listed.session() as session:
        _, plan = pipeline.prepare(session)
        with pytest.raises(
            PreflightFailed, match=rf"the plan has {len(plan.partitions)} partitions.*`vectorferry replan SPEC`"
        ):
            pipeline.preflight(session, mappable=8)
