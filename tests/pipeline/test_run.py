"""The whole pipeline in one process, on real databases."""

import os
import subprocess
import sys
import time
from typing import NoReturn

import pytest

from pipeline.worlds import World
from vectorferry.core.errors import CheckFailed, GateError, NotApproved, PlanMismatch, RecordError, SourceChanged
from vectorferry.core.model import REPAIR, KeyRange, Phase
from vectorferry.engine import pipeline
from vectorferry.engine.diff.full_compare import compare
from vectorferry.engine.session import Session
from vectorferry.engine.signoff.approval import record_answer, require_approval
from vectorferry.engine.signoff.report import report_path
from vectorferry.journal import Evidence
from vectorferry.staging import read_anywhere


def approve(session: Session, evidence: Evidence) -> bool:
    record_answer(session, evidence.hash, "approve", person="approver", reason="looks right", via="airflow")
    return True


def phase_of(session: Session) -> Phase:
    return session.journal.control.get(session.migration, "all").phase


def test_a_migration_ends_equal_and_audited(filled: World) -> None:
    with filled.session() as session:
        outcome = pipeline.run(session, approve)
        assert outcome.switched is not None
        assert outcome.switched.phase is Phase.TRACK_B
        found = compare(session.source, session.target, session.spec.namespaces, report=session.report, limit=10)
        assert found.equal, found.differences
        assert found.rows_source == found.rows_target > 500
        actions = [row.action for row in session.journal.audit.trail("small")]
        assert [a for a in actions if a in ("create_target", "verified")] == ["create_target", "verified"]
        assert actions.count("phase") == 4


def test_the_evidence_states_what_all_sessions_of_the_run_have_used(filled: World) -> None:
    with filled.session() as session:
        _, plan = pipeline.prepare(session)
        run_id = session.run_id
        for partition in plan.partitions:
            pipeline.move_partition(session, plan, partition)
        moved = session.usage.requests
    with filled.session(run_id=run_id) as session:
        pipeline.wait_and_merge(session, plan)
        for partition in plan.partitions:
            pipeline.check_recall(session, plan, partition)
        pipeline.check_collection(session, plan)
        pipeline.check_expectations(session, plan)
        made = pipeline.evidence(session, plan)
        assert made.body["usage"]["requests"] >= moved + 1
        report = session.staged(plan).locate(report_path(run_id))
        assert f"<td>{made.hash}</td>" in read_anywhere(report).decode(), "beside evidence.json"
        assert moved > 10
    with filled.session() as later:
        assert later.journal.usage.of_run("small", run_id).requests >= made.body["usage"]["requests"]


CHILD = """
import sys
from vectorferry.engine.session import open_session
from vectorferry.journal import usage
from vectorferry.spec.loader import load_spec

usage.KEEP_SECONDS = 0.05
with open_session(load_spec(sys.argv[1]), actor="ann", run_id="killed") as session:
    while True:
        session.source.describe()
"""


def test_a_task_that_is_killed_has_told_what_it_used_until_then(filled: World) -> None:
    path = os.pathsep.join(filter(None, sys.path))
    environment = {**os.environ, **filled.environment(), "PYTHONPATH": path}
    with filled.session(run_id="killed") as session:
        assert session.usage_of_run.requests == 0
        with subprocess.Popen([sys.executable, "-c", CHILD, str(filled.spec_file)], env=environment) as child:
            while not (told := session.usage_of_run.requests):
                assert child.poll() is None
                time.sleep(0.05)
            child.kill()
        session.source.describe()
        assert session.usage_of_run.requests >= told + session.usage.requests > told
        once = session.usage_of_run
        assert session.usage_of_run == once, "what is kept already is not counted twice"


def test_a_rejection_changes_nothing(filled: World) -> None:
    def reject(session: Session, evidence: Evidence) -> bool:
        record_answer(session, evidence.hash, "reject", person="approver", reason="not today", via="airflow")
        return False

    with filled.session() as session:
        outcome = pipeline.run(session, reject)
        assert outcome.switched is None
        assert phase_of(session) is Phase.TRACK_A
        with pytest.raises(NotApproved, match="not today"):
            pipeline.cut_over(session, outcome.plan, outcome.evidence.hash)


def test_a_source_that_changed_is_refused_and_the_hold_steps_back(filled: World) -> None:
    def approve_late(session: Session, evidence: Evidence) -> bool:
        with filled.source() as store:
            store.delete("asyncio", [next(iter(store.list_ids(KeyRange("asyncio"))))[0]])
        return approve(session, evidence)

    with filled.session() as session:
        with pytest.raises(SourceChanged, match="changed since the export"):
            pipeline.run(session, approve_late)
        assert phase_of(session) is Phase.TRACK_A


def test_a_target_that_changed_since_the_evidence_does_not_get_the_authority(filled: World) -> None:
    def approve_late(session: Session, evidence: Evidence) -> bool:
        session.target.delete("wave", [next(iter(session.target.list_ids(KeyRange("wave"))))[-1]])
        return approve(session, evidence)

    with filled.session() as session:
        with pytest.raises(CheckFailed, match="no longer what was checked"):
            pipeline.run(session, approve_late)
        assert phase_of(session) is Phase.TRACK_A
        made = session.journal.evidence.latest("small")
        assert made is not None
        with pytest.raises(NotApproved, match="was approved for a cutover, not for a repair"):
            require_approval(session, made.hash, REPAIR)


def test_a_record_that_cannot_be_read_ends_the_hold(filled: World) -> None:
    def unreadable(*_: object, **__: object) -> NoReturn:
        raise RecordError("namespace 'wave', id 'a': the vector holds NaN or infinity")

    def approve_late(session: Session, evidence: Evidence) -> bool:
        patch.setattr(session.source, "scan", unreadable)
        return approve(session, evidence)

    with filled.session() as session, pytest.MonkeyPatch.context() as patch:
        with pytest.raises(RecordError, match="NaN"):
            pipeline.run(session, approve_late)
        assert phase_of(session) is Phase.TRACK_A


def test_loading_again_after_the_cut_over_writes_nothing(filled: World) -> None:
    with filled.session() as session:
        plan = pipeline.run(session, approve).plan
        ids = next(iter(session.target.list_ids(KeyRange("asyncio"))))
        session.target.delete("asyncio", ids[:5])
        for partition in plan.partitions:
            pipeline.load_partition(session, plan, partition)
        assert len(session.target.fetch("asyncio", ids[:5])) == 0
        with pytest.raises(GateError, match="nothing to begin"):
            pipeline.prepare(session)


def test_a_changed_spec_refuses_the_old_plan(filled: World) -> None:
    with filled.session() as session:
        pipeline.prepare(session)
    filled.spec_dict["partitions"] = {"rows": 50}
    with filled.session() as session, pytest.raises(PlanMismatch, match="abandon"):
        pipeline.prepare(session)


def test_abandon_leaves_no_trace_but_the_audit(filled: World) -> None:
    from vectorferry.engine.cutover.abandon import abandon, leftovers

    with filled.session() as session:
        _, plan = pipeline.prepare(session)
        pipeline.move_partition(session, plan, plan.partitions[0])
        found = leftovers(session)
        assert found.target is not None
        assert found.plan == plan.id
        abandon(session)
        after = leftovers(session)
        assert (after.target, after.staging, after.plan) == (None, None, None)
        assert [row.action for row in session.journal.audit.trail("small")][-1] == "abandon"
    with filled.session() as session:
        assert pipeline.run(session, approve).switched is not None


def test_abandon_is_refused_after_the_cut_over(filled: World) -> None:
    from vectorferry.engine.cutover.abandon import abandon

    with filled.session() as session:
        pipeline.run(session, approve)
        with pytest.raises(GateError, match="can no longer be abandoned"):
            abandon(session)
