"""Planning: cuts the source into partitions once and for all, and prepares the queries."""

import time
from collections.abc import Iterable, Sequence
from functools import partial

from vectorferry.core.errors import GateError
from vectorferry.core.model import KeyRange, Partition
from vectorferry.core.vector_columns import to_json as vectors_to_json
from vectorferry.engine.checks.keyword import keyword_fields
from vectorferry.engine.checks.query_set import prepare_queries
from vectorferry.engine.members import require_routers
from vectorferry.engine.plan.merged_ids import require_unique_ids
from vectorferry.engine.plan.partition_size import unmappable
from vectorferry.engine.plan.partitioning import pack, split_listing
from vectorferry.engine.plan.preflight import Preflight
from vectorferry.engine.scope import in_scope
from vectorferry.engine.session import Session, StepProgress
from vectorferry.engine.sync.touched import WATERMARK
from vectorferry.engine.transfer.listing import LISTING, Listing, begin_listing
from vectorferry.engine.transfer.staged import NAMED, SEARCHABLE, SPARSE_ONLY
from vectorferry.journal import Plan
from vectorferry.staging import Staging

UNCUT = "uncut"
"""In a plan's details: the fingerprint of all that it moves, however that is cut."""


def plan(session: Session, found: Preflight, *, mappable: int | None = None) -> Plan:
    """The plan in force, or a new one.

    Raises PlanMismatch where the journal holds a plan of another spec, and GateError where an expected router does not follow, or where
    the plan has more partitions than are `mappable`: it is kept, and can be cut anew.
    """
    fingerprint = session.spec.plan_fingerprint
    existing = session.journal.plans.current(session.migration)
    if existing is not None:
        made = session.journal.plans.require(session.migration, fingerprint)
    else:
        made = session.journal.plans.save(_cut(session, found))
    if why := unmappable(session.spec, found.namespaces, found.size, made, mappable):
        raise GateError(why)
    prepare_queries(session, made)
    return made


def plan_id(session: Session, cuts: int = 1) -> str:
    """The name of a plan that was cut for the `cuts`-th time; it ends with its journal's.

    With the journal in the name, staging that a lost journal left behind is never taken for this plan's.
    """
    again = f"{cuts}-" if cuts > 1 else ""
    return f"{session.migration}-{session.spec.plan_fingerprint[:12]}-{again}{session.journal.id[:6]}"


def _cut(session: Session, found: Preflight) -> Plan:
    name = plan_id(session)
    staged = session.staging.at(name)
    if session.spec.routers:
        require_routers(session)
    watermark = _watermark(session, staged) if session.spec.routers else None
    chosen = _chosen(session) if session.spec.routers else found.namespaces
    namespaces = sorted(chosen, key=lambda n: n.encode())
    able = session.source.capabilities
    listing = None if able.lists_ranges else _listed(session, staged, namespaces)
    partitions = partitions_of(session, namespaces, listing, found.size.rows)
    require_unique_ids(session, namespaces, partial(_pages, session, listing))
    details = {"namespaces": namespaces, "rows": sum(p.rows for p in partitions), "metric": str(found.source.metric)}
    details |= {"dimension": found.source.dimension, **batch_limits(session), UNCUT: session.spec.uncut_fingerprint}
    details |= {NAMED: vectors_to_json(found.source.named)} if found.source.named else {}
    searchable = sorted(keyword_fields(session))
    details |= {SEARCHABLE: searchable} if searchable else {}
    details |= {SPARSE_ONLY: True} if found.source.dimension is None and found.source.sparse else {}
    details |= {} if watermark is None else {WATERMARK: watermark}
    return Plan(
        id=name,
        migration=session.migration,
        fingerprint=session.spec.plan_fingerprint,
        key_order=able.key_order,
        listing="" if listing is None else f"{name}/{LISTING}",
        partitions=partitions,
        details=details,
    )


def _listed(session: Session, staged: Staging, namespaces: Sequence[str]) -> Listing:
    listing = begin_listing(staged, namespaces, session.source.capabilities.key_order)
    for namespace in namespaces:
        listing.write(session, namespace)
    return listing


def partitions_of(
    session: Session, namespaces: Sequence[str], listing: Listing | None, rows: int
) -> tuple[Partition, ...]:
    """Partitions of about `rows` rows that cover these namespaces, each of one cohort: by the listing where the source reads no ranges."""
    spans: list[KeyRange] = []
    for done, namespace in enumerate(namespaces, start=1):
        spans += (
            session.source.split(namespace, rows)
            if listing is None
            else split_listing(namespace, listing.keys(namespace), rows)
        )
        session.report(StepProgress("plan", namespace, done, len(namespaces), unit="namespaces"))
    of_cohorts: dict[str, list[KeyRange]] = {cohort.name: [] for cohort in session.spec.cohorts}
    for span in spans:
        of_cohorts[session.spec.cohort_of(span.namespace)].append(span)
    partitions: list[Partition] = []
    for cohort, mine in of_cohorts.items():
        partitions += pack(mine, rows, cohort=cohort, first=len(partitions))
    return tuple(partitions)


def _watermark(session: Session, staged: Staging) -> int:
    """The generation up to which all writes show in what is listed from now on. A plan that was cut short keeps its first one."""
    path = "watermark.json"
    if not staged.exists(path):
        watermark = session.journal.records.quiet_watermark(session.migration)
        time.sleep(session.source.capabilities.visibility_delay)
        staged.write_json(path, {WATERMARK: watermark})
    return int(staged.read_json(path)[WATERMARK])


def _chosen(session: Session) -> Iterable[str]:
    # Looked at anew: preflight may have looked before the first write to a namespace, which the watermark takes for listed.
    return in_scope(session.spec.namespaces, session.source.describe().namespaces)


def batch_limits(session: Session) -> dict[str, int]:
    """The most rows and bytes that a plan's loads send in one write."""
    able = session.target.capabilities
    most = min(session.spec.partitions.batch_rows or able.max_batch_rows, able.max_batch_rows)
    return {"batch_rows": most, "batch_bytes": able.max_batch_bytes}


def _pages(session: Session, listing: Listing | None, namespace: str) -> Iterable[Sequence[str]]:
    """The ids of a namespace, as they were listed where the source cannot read ranges."""
    return session.source.list_ids(KeyRange(namespace)) if listing is None else listing.pages(namespace)
