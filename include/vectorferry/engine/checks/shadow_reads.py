"""Shadow-read check: the verdict on what routers found when they repeated reads of applications on the target."""

from collections.abc import Mapping, Sequence
from typing import Any

from vectorferry.core.model import Phase, Verdict
from vectorferry.engine.session import Session, StepProgress
from vectorferry.journal import Plan, ShadowFigures, ShadowReads, added_up, seconds_of

CHECK = "shadow_reads"
KINDS = ("search", "fetch")
# Routers record what they found every half a minute.
POLL_SECONDS = 1.0


def check_shadow_reads(session: Session, plan: Plan) -> tuple[Verdict, ...]:
    """Fails without as many compared reads, over as long a time, as the spec wants.

    How far the answers agree is shown, not judged: `recall` judges the target against the truth.
    """
    if not session.spec.shadow.share:
        return (Verdict(CHECK, "overall", True, {"share": 0.0}),)
    missing = _missing(session, found := _found(session, plan))
    return (Verdict(CHECK, "overall", not missing, _figures(session, found), reason=missing),)


def shadow_reads_missing(session: Session, plan: Plan, waited: float) -> StepProgress | None:
    """What the spec wants of compared reads and is not there yet; None also after `shadow.wait`: the check says then what is missing."""
    wanted = session.spec.shadow
    if not wanted.share or waited >= wanted.wait.total_seconds():
        return None
    missing = _missing(session, found := _found(session, plan))
    return StepProgress(CHECK, "overall", added_up(found).reads, wanted.min_reads, missing) if missing else None


def _found(session: Session, plan: Plan) -> tuple[ShadowReads, ...]:
    assert plan.created_at is not None, "it is in the journal"
    return session.journal.shadows.since(session.migration, plan.created_at, Phase.TRACK_A)


def _missing(session: Session, found: Sequence[ShadowReads]) -> str:
    """What the spec wants and is not there, for a person; empty where nothing is missing."""
    wanted, reads, seconds = session.spec.shadow, added_up(found).reads, seconds_of(found)
    least = wanted.min_duration.total_seconds() if wanted.min_reads else 0.0
    if reads >= wanted.min_reads and seconds >= least:
        return ""
    return (
        f"{reads} shadow reads over {seconds:.0f} s, the spec wants {wanted.min_reads} over {least:g} s: "
        "wait for more (clear await_shadow_reads, or run again), or change shadow.min_reads and shadow.min_duration"
    )


def _figures(session: Session, found: Sequence[ShadowReads]) -> Mapping[str, Any]:
    wanted = session.spec.shadow
    return {
        "share": wanted.share,
        "min_reads": wanted.min_reads,
        "min_duration": wanted.min_duration.total_seconds(),
        "reads": added_up(found).reads,
        "seconds": round(seconds_of(found), 1),
        "routers": len({row.member for row in found}),
        **{kind: _of_kind(found, kind).summary() for kind in KINDS},
    }


def _of_kind(found: Sequence[ShadowReads], kind: str) -> ShadowFigures:
    return added_up(row for row in found if row.kind == kind)
