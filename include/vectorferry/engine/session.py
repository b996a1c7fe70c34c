"""Session: the spec, the journal, both stores and staging, opened for one actor and closed together."""

import logging
import os
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial

from vectorferry.core.datasets import DatasetName
from vectorferry.core.errors import DatabaseMissing, GateError, RetryableError, Unauthorized
from vectorferry.core.model import SIDES, Side, Usage, Verdict
from vectorferry.engine.task_metrics import measured_task
from vectorferry.journal import ControlRow, Journal, JournalPacer, Plan, Spending, open_journal
from vectorferry.spec.connections import Connections, connection_from_environment, storage_options
from vectorferry.spec.limits import Budget
from vectorferry.spec.migration import MigrationSpec
from vectorferry.staging import Staging
from vectorferry.stores.base import StoreOptions, VectorStore
from vectorferry.stores.caller import Caller
from vectorferry.stores.registry import dataset_name, open_store, side_options
from vectorferry.stores.sides import open_side

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StepProgress:
    """One step of progress for people: what is worked on, how much is done, and of how much (None where it is not known).

    A step that works on partitions is reported with nothing done for each of them first, so that all of it is known from the start.
    """

    step: str
    scope: str
    done: int
    total: int | None = None
    note: str = ""
    unit: str = "rows"

    def text(self, elapsed: float, first: int = 0) -> str:
        """As one line; `elapsed` is in seconds since `first` of them were done."""
        if self.note:
            return f"{self.step} {self.scope}: {self.note}"
        of = f" of {self.total:,}" if self.total else ""
        return f"{self.step} {self.scope}: {self.done:,}{of} {self.unit}{pace(self.done - first, elapsed, (self.total or 0) - self.done)}"


MEASURED_SECONDS = 5.0
"""For how long rows are counted before anybody is told of a rate."""


def pace(rows: int, elapsed: float, left: int) -> str:
    """Rows a second, and the seconds that `left` rows take at that rate; empty until it has been measured."""
    if elapsed < MEASURED_SECONDS or rows <= 0:
        return ""
    rate = rows / elapsed
    return f", {rate:,.0f}/s" + (f", {left / rate:,.0f} s left" if left > 0 else "")


Report = Callable[[StepProgress], None]


def silent(progress: StepProgress) -> None:
    """Show no progress."""
    del progress


def tell_nobody(verdicts: Sequence[Verdict]) -> None:
    """Leave verdicts to the journal."""
    del verdicts


@dataclass(frozen=True)
class Session:
    """Open handles for one migration. `actor` is who asked for this run, `run_id` names the run in verdicts and reports.

    `judged` is given each verdict that is kept, passed or not.
    `bundle` has name and version of what brought DAG and spec to Airflow; None elsewhere.
    """

    spec: MigrationSpec
    journal: Journal
    source: VectorStore
    target: VectorStore
    staging: Staging
    actor: str
    run_id: str
    source_caller: Caller
    target_caller: Caller
    report: Report = field(default=silent)
    connections: Connections = field(default=connection_from_environment)
    bundle: Mapping[str, str | None] | None = None
    spending: Spending | None = None
    judged: Callable[[Sequence[Verdict]], None] = field(default=tell_nobody)

    @property
    def migration(self) -> str:
        """Name of the migration."""
        return self.spec.migration

    def store(self, side: Side) -> VectorStore:
        """The store of a side."""
        return self.source if side == "source" else self.target

    @property
    def deadline(self) -> float:
        """D: seconds for which a sent request may still take effect."""
        return self.spec.limits.request_deadline.total_seconds()

    @property
    def lease(self) -> float:
        """Seconds for which a silent worker keeps what it works on."""
        return self.spec.limits.lease.total_seconds()

    @property
    def usage(self) -> Usage:
        """What both stores cost in this session."""
        return self.source.usage + self.target.usage

    @property
    def usage_of_run(self) -> Usage:
        """What all sessions of this run have cost until now, this one included; raises JournalError."""
        if self.spending is None:  # this session keeps nothing
            return self.journal.usage.of_run(self.migration, self.run_id) + self.usage
        self.spending.keep()
        return self.journal.usage.of_run(self.migration, self.run_id) + self.spending.unkept

    def plan(self) -> Plan:
        """The plan in force; raises PlanMismatch where it belongs to another spec, or where there is none."""
        return self.journal.plans.require(self.migration, self.spec.plan_fingerprint)

    def control(self, cohort: str) -> ControlRow:
        """The control row of a cohort as it is now: its phase, epoch, and the deadline of a hold."""
        return self.journal.control.get(self.migration, cohort)

    def staged(self, plan: Plan) -> Staging:
        """The folder of a plan."""
        return self.staging.at(plan.id)

    @property
    def owner(self) -> str:
        """This process, as leases name it."""
        return f"{socket.gethostname()}:{os.getpid()}"


def budgeted_rate(budget: Budget, quota: float | None) -> float | None:
    """Requests a second that this migration may send on a connection; None where neither spec nor vendor limits it."""
    if budget.requests_per_second is not None:
        return budget.requests_per_second
    return None if quota is None else quota * budget.quota_share


_OF_CONNECTIONS = (RetryableError, Unauthorized, DatabaseMissing)


@contextmanager
def reaching(side: str, connection: str) -> Iterator[None]:
    """Say by which connection a database could not be reached, or did not let us in."""
    try:
        yield
    except _OF_CONNECTIONS as error:
        raise type(error)(f"{side} {error}; check the connection {connection!r}") from error


@contextmanager
def naming(stores: Mapping[str, tuple[str, str]]) -> Iterator[None]:
    """The same for whatever ends a command; `stores` maps the names of its stores to side and connection."""
    try:
        yield
    except _OF_CONNECTIONS as error:
        if error.store not in stores:
            raise  # said already, or of another collection
        side, connection = stores[error.store]
        error.add_note(f"This is the {side}: check the connection {connection!r}")
        raise


@contextmanager
def open_session(
    spec: MigrationSpec,
    *,
    actor: str,
    run_id: str,
    connections: Connections = connection_from_environment,
    report: Report = silent,
    upgrade: bool = False,
    bundle: Mapping[str, str | None] | None = None,
    task: str = "command",
    judged: Callable[[Sequence[Verdict]], None] = tell_nobody,
) -> Iterator[Session]:
    """Open both stores, the journal and staging; closes them all, whatever happens. `upgrade` brings the journal's schema up to date.

    `task` is how the metrics call this session, which go to the collector that the environment names, if any.
    """
    with ExitStack() as stack:
        measured = stack.enter_context(measured_task(spec.migration, task))
        journal = stack.enter_context(open_journal(connections(spec.journal), upgrade=upgrade))
        (source, source_caller), (target, target_caller) = (
            _opened(stack, journal, spec, side, partial(open_side, spec, side, connections)) for side in SIDES
        )
        staging = open_staging(spec, connections)
        spending = Spending(journal.usage, spec.migration, run_id, lambda: source.usage + target.usage)
        stack.enter_context(spending.kept())
        session = Session(
            spec,
            journal,
            source,
            target,
            staging,
            actor,
            run_id,
            source_caller,
            target_caller,
            report,
            connections,
            bundle,
            spending,
            judged,
        )
        try:
            with naming(places(spec, source, target)):
                yield session
        finally:
            measured.used(source.usage, target.usage)


def open_staging(spec: MigrationSpec, connections: Connections) -> Staging:
    """The folder of a migration in staging."""
    options = storage_options(connections(spec.staging.connection)) if spec.staging.connection else {}
    return Staging(spec.staging.url, options).at(spec.migration)


def dataset_of(session: Session, side: Side) -> DatasetName:
    """What OpenLineage calls the collection of a side; asks no database."""
    place = getattr(session.spec, side)
    return dataset_name(session.connections(place.connection), place.collection, side_options(session.spec, side))


def places(spec: MigrationSpec, source: VectorStore, target: VectorStore) -> dict[str, tuple[str, str]]:
    """Side and connection of both stores by their names; both of them where one name stands for both, as in two regions."""
    here, there = ("source", spec.source.connection), ("target", spec.target.connection)
    if source.name == target.name:
        return {source.name: ("source, or the target", " or ".join(dict.fromkeys((here[1], there[1]))))}
    return {source.name: here, target.name: there}


@contextmanager
def open_beside(
    session: Session, side: Side, collection: str, options: StoreOptions
) -> Iterator[tuple[VectorStore, Caller]]:
    """Another collection on the connection of a side, within the same budget; closed at the end."""
    connection = getattr(session.spec, side).connection
    opener = partial(open_store, session.connections(connection), collection, options)
    with ExitStack() as stack:
        store, caller = _opened(stack, session.journal, session.spec, side, opener)
        stack.enter_context(
            Spending(session.journal.usage, session.migration, session.run_id, lambda: store.usage).kept()
        )
        with naming({store.name: (side, connection)}):
            yield store, caller


def _opened(
    stack: ExitStack, journal: Journal, spec: MigrationSpec, side: Side, opener: Callable[..., VectorStore]
) -> tuple[VectorStore, Caller]:
    """The store that `opener` opens, with its caller held to the budget of a side's connection."""
    # The quota is known only once the store is open, and the pacer only once the quota is known: the caller is told later.
    caller, connection = Caller(), getattr(spec, side).connection
    store = opener(caller=caller)
    stack.callback(store.close)
    with reaching(side, connection):
        able = store.capabilities
    quotas = [q for q in (able.reads_per_second, able.writes_per_second) if q]
    rate = budgeted_rate(getattr(spec.budgets, side), min(quotas) if quotas else None)
    if rate is not None:
        caller.pace(JournalPacer(journal, connection, rate))
    return store, caller


def plan_of(session: Session) -> Plan:
    """The plan in force, whatever the spec says by now. Raises GateError where nothing was loaded or declared a pair."""
    found = session.journal.plans.current(session.migration)
    if found is None:
        raise GateError(
            f"the journal knows nothing of migration {session.migration}: migrate first, or declare two filled collections a pair "
            "with `vectorferry reconcile SPEC --pair`"
        )
    return found
