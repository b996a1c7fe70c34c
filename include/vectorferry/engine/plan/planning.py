"""Planning: cuts the source into partitions once and for all, and prepares the queries."""

import time
from collections.abc import Iterable, Sequence
from functools import partial

from vectorferry.core.model import KeyRange, Partition
from vectorferry.core.vector_columns import to_json as vectors_to_json
from vectorferry.engine.checks.keyword import keyword_fields
from vectorferry.engine.checks.query_set import prepare_queries
from vectorferry.engine.members import require_routers
from vectorferry.engine.plan.merged_ids import require_unique_ids
from vectorferry.engine.plan.partitioning import pack, split_listing
from vectorferry.engine.plan.preflight import Preflight
from vectorferry.engine.scope import in_scope
from vectorferry.engine.session import Session, StepProgress
from vectorferry.engine.sync.touched import WATERMARK
from vectorferry.engine.transfer.listing import begin_listing, list_namespace
from vectorferry.engine.transfer.staged import NAMED, SEARCHABLE, SPARSE_ONLY, listed_pages
from vectorferry.journal import Plan
from vectorferry.spec.migration import MigrationSpec
from vectorferry.staging import Staging


def plan(session: Session, found: Preflight) -> Plan:
    """The plan in force, or a new one.

    Raises PlanMismatch where the journal holds a plan of another spec, GateError where an expected router does not follow.
    """
    fingerprint = session.spec.plan_fingerprint
    existing = session.journal.plans.current(session.migration)
    if existing is not None:
        made = session.journal.plans.require(session.migration, fingerprint)
    else:
        made = session.journal.plans.save(_cut(session, found, fingerprint))
    prepare_queries(session, made)
    return made


def _cut(session: Session, found: Preflight, fingerprint: str) -> Plan:
    # With the journal in the name, staging that a lost journal left behind is never taken for this plan's.
    plan_id = f"{session.migration}-{fingerprint[:12]}-{session.journal.id[:6]}"
    staged = session.staging.at(plan_id)
    if session.spec.routers:
        require_routers(session)
    watermark = _watermark(session, staged) if session.spec.routers else None
    chosen = _chosen(session) if session.spec.routers else found.namespaces
    namespaces = sorted(chosen, key=lambda n: n.encode())
    able = session.source.capabilities
    begin_listing(staged, namespaces)
    spans: list[KeyRange] = []
    for number, namespace in enumerate(namespaces):
        spans += _ranges(session, staged, namespaces, number) if not able.lists_ranges else _split(session, namespace)
        session.report(StepProgress("plan", namespace, number + 1, len(namespaces), unit="namespaces"))
    require_unique_ids(session, namespaces, partial(_pages, session, staged, namespaces))
    partitions = _packed(session.spec, spans)
    listing = "" if able.lists_ranges else "listing"
    details = {"namespaces": namespaces, "rows": sum(p.rows for p in partitions), "metric": str(found.source.metric)}
    details |= {"dimension": found.source.dimension, **_batch_limits(session)}
    details |= {NAMED: vectors_to_json(found.source.named)} if found.source.named else {}
    searchable = sorted(keyword_fields(session))
    details |= {SEARCHABLE: searchable} if searchable else {}
    details |= {SPARSE_ONLY: True} if found.source.dimension is None and found.source.sparse else {}
    details |= {} if watermark is None else {WATERMARK: watermark}
    return Plan(
        id=plan_id,
        migration=session.migration,
        fingerprint=fingerprint,
        key_order=able.key_order,
        listing=listing,
        partitions=partitions,
        details=details,
    )


def _packed(spec: MigrationSpec, spans: Sequence[KeyRange]) -> tuple[Partition, ...]:
    """Partitions of one cohort each."""
    partitions: tuple[Partition, ...] = ()
    for cohort in spec.cohorts:
        mine = (span for span in spans if spec.cohort_of(span.namespace) == cohort.name)
        partitions += pack(mine, spec.partitions.rows, cohort=cohort.name, first=len(partitions))
    return partitions


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


def _batch_limits(session: Session) -> dict[str, int]:
    able = session.target.capabilities
    most = min(session.spec.partitions.batch_rows or able.max_batch_rows, able.max_batch_rows)
    return {"batch_rows": most, "batch_bytes": able.max_batch_bytes}


def _ranges(session: Session, staged: Staging, namespaces: list[str], number: int) -> list[KeyRange]:
    list_namespace(session, staged, number, namespaces[number])
    pages = listed_pages(staged, namespaces, namespaces[number])
    return list(split_listing(namespaces[number], pages, session.spec.partitions.rows))


def _pages(session: Session, staged: Staging, namespaces: list[str], namespace: str) -> Iterable[Sequence[str]]:
    """The ids of a namespace, as they were listed where the source cannot read ranges."""
    if session.source.capabilities.lists_ranges:
        return session.source.list_ids(KeyRange(namespace))
    return listed_pages(staged, namespaces, namespace)


def _split(session: Session, namespace: str) -> list[KeyRange]:
    return list(session.source.split(namespace, session.spec.partitions.rows))
