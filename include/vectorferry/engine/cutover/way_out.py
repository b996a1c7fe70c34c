"""Way out: an error of a verb that moves a phase also says where each cohort stands, and which verbs lead on from there."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from vectorferry.core.errors import VectorferryError
from vectorferry.core.model import Phase
from vectorferry.engine.session import Session
from vectorferry.journal import ControlRow


@contextmanager
def naming_way_out(session: Session) -> Iterator[None]:
    """Give any error of the block a note, once: the phases as they are now, and the verbs that lead out of them."""
    try:
        yield
    except VectorferryError as error:
        if not hasattr(error, "__notes__"):
            error.add_note(_asked(session))
        raise


def ways_out(rows: Iterable[ControlRow], *, routers: bool) -> str:
    """Where cohorts stand, and the verbs that lead on, for a person: a line for each."""
    return "\n".join(f"cohort {row.cohort} is in {row.phase}: {_way(row, routers)}" for row in rows)


def _asked(session: Session) -> str:
    try:
        rows = session.journal.control.all(session.migration)
    except VectorferryError as error:
        return f"where {session.migration} stands now is not known ({error}); once the journal answers, `vectorferry status SPEC` tells"
    return (
        ways_out(rows, routers=bool(session.spec.routers))
        or f"{session.migration} was never begun: `vectorferry run SPEC`"
    )


def _way(row: ControlRow, routers: bool) -> str:
    if row.phase in (Phase.OFF, Phase.TRACK_A):
        return "the source has the authority; `vectorferry run SPEC` goes on, `vectorferry abandon SPEC` gives it up"
    if row.came_from is Phase.TRACK_A:
        return "writers wait; `vectorferry run SPEC` goes on, `vectorferry rollback SPEC` steps back"
    if row.came_from is Phase.TRACK_B:
        return "writers wait; `vectorferry rollback SPEC` goes on"
    if row.phase is Phase.DONE:
        return "`vectorferry finalize SPEC` ends what is left"
    back = "`vectorferry rollback SPEC` leads back" if routers else "`vectorferry run SPEC` verifies it once more"
    return f"the target has the authority; {back}, `vectorferry finalize SPEC` ends it"
