"""Tasks of `<migration>.operate`: a verb of the command line, with its arguments from the trigger form; what destroys asks a person."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowFailException
from airflow.sdk import Param, get_current_context, task

from vectorferry.core.model import ABANDON, FORGET, OPERATION, SIDES, TAINT
from vectorferry.orchestration.approval import BoundApproval
from vectorferry.orchestration.log_teller import OPERATED, LogTeller
from vectorferry.orchestration.retries import RETRYING
from vectorferry.orchestration.task_session import own_evidence, run_desk, run_session
from vectorferry.spec.migration import MigrationSpec

if TYPE_CHECKING:
    from vectorferry.verbs.desk import Desk

VERB, ROUTER, REASON, NAMESPACE, RECORD = "verb", "router", "reason", "namespace", "record"
SIDE, LIMIT, EXCUSED, FILE, REMOVE = "side", "limit", "excused", "file", "remove"
WHILE_SERVING = "while_serving"
APPROVE, ACT = "approve_operation", "operate"
DESTROYS = (ABANDON, TAINT, FORGET)
TAKES: Mapping[str, tuple[str, ...]] = {
    FORGET: (ROUTER,),
    "compare": (LIMIT, EXCUSED),
    "backup": (SIDE,),
    "observe": (FILE,),
    "loadtest": (WHILE_SERVING,),
    "excuse": (RECORD, NAMESPACE, REASON),
    "prune": (REMOVE,),
    TAINT: (REASON,),
}
"""The fields that a verb takes; the others are left as they are."""
NEEDED = (ROUTER, REASON, RECORD, FILE)
OPERATE: Mapping[str, Any] = {
    # It does nothing before it is asked to, and a question that waits for an answer keeps nobody from a look at the status.
    "is_paused_upon_creation": False,
    "max_active_runs": 16,
}
OPERATE_DOC = """# Operate

Does what an operator does on a command line. Trigger it, choose a *verb*, and fill in the fields that name it; what the command would print
is in the log of `operate`.

| verb | what it does | fields |
|---|---|---|
| status | where the migration stands, and what is in the way of the next step | |
| register | makes the migration known, so that routers can join | |
| members | lists the routers | |
| compare | reads both sides in full; fails where they differ | limit, excused |
| backup | backs a side up to staging | side |
| observe | what applications ask that the target cannot serve | file |
| replan | cuts the plan anew, as long as nothing was exported under it | |
| loadtest | searches the target at ever higher rates (`checks.load`), until it leaves its budget | while_serving |
| excuse | leaves one record behind that the other side rejects | record, namespace, reason |
| prune | lists what retention no longer keeps, and removes it | remove |
| forget | removes a router that is known to be gone | router |
| taint | has every record settled anew | reason |
| abandon | removes what an unfinished migration left | |

**forget, taint and abandon destroy something**: what they would do is put to an approver first, under *Required actions* of
`approve_operation`, and only an answer that is in the journal lets them begin. The log of `look` says at once where they cannot be done.
"""


def operate_form() -> dict[str, Param]:
    """The fields of its trigger form. One that a verb does not take is left as it is, or refused."""

    def text(title: str, told: str) -> Param:
        return Param(None, type=["null", "string"], title=title, description=told)

    return {
        VERB: Param("status", type="string", enum=list(OPERATED), title="Verb", description="What to do."),
        ROUTER: text("Router", "forget: its id, as `members` lists it."),
        REASON: text("Reason", "taint, excuse: why; kept in the audit trail."),
        RECORD: text("Record", "excuse: the id of the record."),
        NAMESPACE: text("Namespace", "excuse: of the record; empty for the default one."),
        SIDE: Param("target", type="string", enum=list(SIDES), title="Side", description="backup: which collection."),
        LIMIT: Param(
            20, type="integer", minimum=1, title="Limit", description="compare: how many differing ids to list."
        ),
        EXCUSED: Param(
            False,
            type="boolean",
            title="Excused",
            description="compare: let the target lack what the journal says is excused.",
        ),
        FILE: text("File", "observe: what a gateway counted (`--observe FILE`), at a path that workers can read."),
        WHILE_SERVING: Param(
            False,
            type="boolean",
            title="While serving",
            description="loadtest: also where the target serves applications already.",
        ),
        REMOVE: Param(False, type="boolean", title="Remove", description="prune: remove it; else it is only listed."),
    }


def wire_operate(spec: MigrationSpec) -> None:
    """The tasks. What destroys nothing goes past the question."""
    operating = Operating(spec)
    look = task.branch(task_id="look", **RETRYING)(operating.look)()
    asked = BoundApproval(task_id=APPROVE, spec=spec, kind=OPERATION)
    done = task(task_id=ACT, trigger_rule="none_failed_min_one_success", **RETRYING)(operating.operate)()
    look >> [asked, done]
    asked >> done


@dataclass(frozen=True)
class Operating:
    """The tasks, as methods."""

    spec: MigrationSpec

    def look(self) -> str:
        """Refuse a form that makes no sense, and look at what would be destroyed; returns which task comes next."""
        from vectorferry.engine import pipeline

        verb, given = _form()
        if verb not in DESTROYS:
            return ACT
        with run_session(self.spec, upgrade=True) as session:
            pipeline.prepare_operation(session, verb, given)
        return APPROVE

    def operate(self) -> None:
        """Do it; what destroys is refused unless the journal holds an approval of exactly this."""
        from vectorferry.engine import pipeline

        verb, given = _form()
        if verb in DESTROYS:
            with run_session(self.spec) as session:
                pipeline.require_operation(session, own_evidence(session, OPERATION).hash, verb, given)
        if not _done(verb, run_desk(self.spec, LogTeller(self.spec.migration)), given):
            raise AirflowFailException(f"{verb}: the answer is no, see above")


def _form() -> tuple[str, Mapping[str, Any]]:
    """The verb, and the fields that it takes. Raises AirflowFailException, naming the field, where the form makes no sense."""
    context = get_current_context()
    form, params = operate_form(), context["params"]
    if unknown := sorted({*(context["dag_run"].conf or {})} - {*form}):
        raise AirflowFailException(f"field {unknown[0]!r} is not known; there are {', '.join(form)}")
    verb = params[VERB]
    values = {name: _plain(params[name]) for name in form}
    takes = TAKES.get(verb, ())
    for name, value in values.items():
        if name not in (VERB, *takes) and value != _plain(form[name].value):
            users = ", ".join(each for each in OPERATED if name in TAKES.get(each, ()))
            raise AirflowFailException(
                f"field {name!r} is for {users}, and {verb} has no use for it: leave it as it is"
            )
        if name in takes and name in NEEDED and not value:
            raise AirflowFailException(f"field {name!r} is empty, and {verb} needs it: {form[name].description}")
    return verb, {name: values[name] for name in takes}


def _plain(value: Any) -> Any:
    return "" if value is None else value.strip() if isinstance(value, str) else value


def _done(verb: str, desk: "Desk", given: Mapping[str, Any]) -> bool:
    """Do it; whether the answer was yes.."""
    from vectorferry.verbs import compare, load, members, observe, records, removal, status

    def agreed() -> bool:
        if not given[REMOVE]:
            desk.tell.note("nothing was removed: trigger it again with the field `remove` ticked")
        return bool(given[REMOVE])

    verbs: Mapping[str, Callable[[], bool | None]] = {
        "status": lambda: status.status(desk),
        "replan": lambda: records.replan(desk),
        "register": lambda: members.register(desk),
        "members": lambda: members.members(desk),
        "forget": lambda: members.members(desk, given[ROUTER]),
        "compare": lambda: compare.compare(desk, given[LIMIT], excused=given[EXCUSED]),
        "backup": lambda: records.backup(desk, given[SIDE]),
        "observe": lambda: observe.observe(desk, Path(given[FILE])),
        "loadtest": lambda: load.loadtest(desk, {"while_serving": True} if given[WHILE_SERVING] else {}),
        "excuse": lambda: records.excuse(desk, given[NAMESPACE], given[RECORD], given[REASON]),
        "prune": lambda: removal.prune(desk, agreed),
        "taint": lambda: records.taint(desk, given[REASON]),
        "abandon": lambda: removal.abandon(desk, lambda: True),
    }
    return verbs[verb]() is not False
