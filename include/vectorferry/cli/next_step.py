"""Next step: what to do after a command, by how it ended, with the commands written out for the spec that was given."""

import re
import sys
from collections.abc import Mapping

from vectorferry.core.errors import (
    CheckFailed,
    ConnectionMissing,
    DatabaseMissing,
    FilterError,
    GateError,
    JournalError,
    JournalRefused,
    JournalUnavailable,
    LeaseLost,
    MetricsMissing,
    NoRoom,
    NotApproved,
    NotSettled,
    PhaseConflict,
    PlanMismatch,
    PreflightFailed,
    RecordError,
    RetryableError,
    SourceChanged,
    SpecError,
    StagingCorrupt,
    StagingError,
    StagingFull,
    StagingRefused,
    StoreError,
    Unauthorized,
    Unsupported,
    VectorferryError,
)

_COMMAND = re.compile(r"vectorferry [a-z]+(?P<arguments>[^`]*)(?=`)")
_FOR_A_SPEC = re.compile(r"(`vectorferry [a-z-]+ )SPEC")
_AGAIN = "run the same command again once that is over; what is done is not done twice"
_STATUS = "`vectorferry status SPEC` shows where the migration stands and what is in the way"
# The most special class of an error counts.
_STEPS: Mapping[type[VectorferryError], str] = {
    VectorferryError: _STATUS,
    SpecError: "mend the file; `vectorferry validate SPEC` checks it without touching a database (docs/spec.md has all keys)",
    ConnectionMissing: "set the connection and run the same command again; README.md (Name the connections) has examples",
    MetricsMissing: "install the extra that is named, then run the same command again",
    RecordError: "mend the record or the question where it is named, then run the same command again",
    FilterError: "mend the filter where it is named, then run the same command again",
    StoreError: "see to the database that is named, then run the same command again",
    RetryableError: _AGAIN,
    DatabaseMissing: "correct the database of the connection that is named, then run the same command again",
    Unauthorized: "correct the key or the rights of the connection that is named, then run the same command again",
    Unsupported: "change the spec where it asks for that; `vectorferry plan SPEC` tells beforehand what a database cannot do",
    StagingError: "see to the place that is named, then run the same command again",
    StagingRefused: "correct `staging.url` or the rights of `staging.connection`, then run the same command again",
    StagingFull: "make room there (`vectorferry prune SPEC` lists what is no longer kept), then run the same command again",
    StagingCorrupt: "bring the file back to where it lay; a migration that lost it begins anew after `vectorferry abandon SPEC`",
    JournalRefused: "correct the connection that is named, or its rights, then run the same command again",
    JournalError: "`vectorferry register SPEC` makes the journal ready, and the migration known to it",
    JournalUnavailable: _AGAIN,
    LeaseLost: _AGAIN,
    PlanMismatch: "undo the change of the spec; `vectorferry replan SPEC` goes by a change of `partitions`; or begin anew: "
    "`vectorferry abandon SPEC` lists what would be removed",
    PhaseConflict: f"{_STATUS}; then run the same command again",
    NotSettled: f"`vectorferry settle SPEC` settles what is left, or names what the other side rejects; {_STATUS}",
    GateError: _STATUS,
    PreflightFailed: "mend what is listed; nothing was changed, and `vectorferry plan SPEC` looks again",
    CheckFailed: "`vectorferry compare SPEC` names what differs; mend it and run the same command again",
    NoRoom: "make room in the database that is named, then run the same command again: it goes on where it stopped",
    NotApproved: "`vectorferry run SPEC` asks again; or trigger the DAG and answer in the Airflow UI",
    SourceChanged: "stop whoever writes the source, or declare `writers`; then begin anew with `vectorferry abandon SPEC`",
}


def after_error(error: VectorferryError) -> str:
    """What to do about an error that ended a command: the command that its message names, else what goes for its class."""
    step = next(_STEPS[kind] for kind in type(error).__mro__ if kind in _STEPS)
    if step == _STATUS and (named := _COMMAND.search(str(error))):
        return f"`{named[0]}`" if named["arguments"] else f"`{named[0]} SPEC`"
    return step


def written_out(step: str) -> str:
    """A step as one line, with the spec of this command in the place of SPEC."""
    return f"Next: {for_this_spec(step)}"


def for_this_spec(text: str) -> str:
    """A text whose commands have the spec of this command in the place of SPEC."""
    given = next((each for each in sys.argv[1:] if each.endswith((".yaml", ".yml"))), "SPEC")
    return _FOR_A_SPEC.sub(lambda command: f"{command[1]}{given}", text)
