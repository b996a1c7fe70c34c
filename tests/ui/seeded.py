"""A journal with migrations in every state that the page shows, through its own API; only times are set behind its back."""

import hashlib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import orjson
import sqlalchemy as sa

from vectorferry.core.model import (
    CUTOVER,
    Cohort,
    Difference,
    DifferenceKind,
    KeyOrder,
    KeyRange,
    Partition,
    Phase,
    Verdict,
)
from vectorferry.engine.monitor.capacity_alerts import MEASURED
from vectorferry.engine.signoff.questions import ASKED
from vectorferry.journal import Evidence, Journal, Outcome, Plan, Scope
from vectorferry.journal.intents import Write
from vectorferry.spec.migration import MigrationSpec

EVIL = "<img src=x onerror=alert(1)>"
ARABIC = "متجر الكتب القديمة"
LONG = "customer-4711-of-a-tenant-whose-name-goes-on-and-on-without-a-single-place-to-break-it" * 2
THRESHOLD, RUN = 0.95, "manual__2026-11-30T20:00:00+00:00"
DIMENSION, ROWS = 384, 12_500
# What is wrong with the migration `catalogue`, by the namespace that has it: the reader of the page has to find each.
DROPPED, SWAPPED, TRUNCATED, WRONG_ID, WRONG_NAMESPACE, STALE, UNNORMALISED, LOW = (
    "books",
    "films",
    "garden",
    "kitchen",
    "music",
    "outdoor",
    "sports",
    "toys",
)
FILTER = '{"price":{"$gt":10}}'
NAMESPACES = (
    "",
    DROPPED,
    SWAPPED,
    TRUNCATED,
    WRONG_ID,
    WRONG_NAMESPACE,
    STALE,
    UNNORMALISED,
    LOW,
    EVIL,
    ARABIC,
    LONG,
    *(f"shop-{n:02}" for n in range(1, 13)),
)


@dataclass(frozen=True)
class Fault:
    """What a check found of one namespace."""

    check: str
    kind: DifferenceKind
    field: str
    reason: str
    differences: int


K = DifferenceKind
FAULTS: Mapping[str, Fault] = {
    DROPPED: Fault("counts", K.MISSING, "", "counts do not balance in books: 12,500 staged, 12,460 in the target", 40),
    SWAPPED: Fault("content", K.VECTOR, "vector", "source and target differ", 2),
    TRUNCATED: Fault("content", K.METADATA, "description", "source and target differ", 311),
    WRONG_ID: Fault("extras", K.EXTRA, "", "1 record of the target is not in the source", 1),
    WRONG_NAMESPACE: Fault("extras", K.NAMESPACE, "", "7 records lie in another namespace", 7),
    STALE: Fault(
        "content", K.METADATA, "stock", "the source moved since the export: 5 rows changed, appeared or vanished", 5
    ),
    UNNORMALISED: Fault("content", K.VECTOR, "vector", "source and target differ", 12_500),
}


def seed(journal: Journal) -> None:
    """All migrations."""
    seed_catalogue(journal)
    seed_articles(journal)
    seed_events(journal, partitions=1000)


def seed_catalogue(journal: Journal) -> None:
    """NO-GO with one fault of every kind, over namespaces of odd names; routers write, and half a day of history is there."""
    name = "catalogue"
    begin(journal, name, cohorts=(Cohort("early", ("books", "films")), Cohort("all")), writers={"expected": 2})
    plan = save_plan(journal, name, NAMESPACES, rows=ROWS)
    complete(journal, plan, ("export", "load"))
    for cohort in ("early", "all"):
        journal.control.mark_loaded(name, cohort)
    join(journal, name)
    verdicts = [*partition_verdicts(plan), *recall_verdicts(), *other_verdicts()]
    against = [f"{v.check} of {v.scope}: {v.reason}" for v in verdicts if not v.passed]
    save_evidence(journal, plan, verdicts, against)
    back_in_time(journal, "evidence", name, 4000, "created_at")
    seed_history(journal, name)
    journal.audit.write(name, "ops", MEASURED, {"target memory": 6_442_450_944, "target disk": 21_474_836_480})


def seed_articles(journal: Journal) -> None:
    """GO; a question waits for its answer."""
    name = "articles"
    begin(journal, name)
    plan = save_plan(journal, name, ("",), rows=ROWS, each=4)
    complete(journal, plan, ("export", "load"))
    journal.control.mark_loaded(name, "all")
    good = [
        *(Verdict("counts", p.name, True, {"source": p.rows, "target": p.rows}) for p in plan.partitions),
        *recall_verdicts(("",)),
    ]
    evidence = save_evidence(journal, plan, good, ())
    asked = {
        "dag": f"{name}.migrate",
        "task": "approve_cutover",
        "run": RUN,
        "evidence": evidence.hash,
        "names": [],
        "roles": [],
    }
    journal.audit.write(name, "airflow", ASKED, asked)


def seed_events(journal: Journal, *, partitions: int) -> None:
    """A run that is going on: every state of a partition is there."""
    name = "events"
    begin(journal, name)
    plan = save_plan(journal, name, (EVIL, "2024", "2025", "2026"), rows=ROWS, each=partitions // 4)
    done = int(len(plan.partitions) * 0.55)
    for each in plan.partitions[:done]:
        complete_one(journal, plan, each.name, ("export", "load"))
    for each in plan.partitions[done : done + 60]:
        complete_one(journal, plan, each.name, ("export",))
    running(journal, plan, plan.partitions[done : done + 2], "load")
    running(journal, plan, plan.partitions[done + 60 : done + 62], "export")


def begin(journal: Journal, name: str, *, cohorts: Sequence[Cohort] = (Cohort(),), writers: Any = "none") -> None:
    """Register, and go to TRACK_A."""
    declared = [{"name": each.name, "namespaces": list(each.patterns)} for each in cohorts[:-1]]
    spec = MigrationSpec.model_validate(
        {
            "migration": name,
            "source": {"connection": "pinecone_production", "collection": name},
            "target": {"connection": "weaviate_eu", "collection": name.title()},
            "staging": {"url": "s3://staging"},
            "writers": writers,
            "capacity": {"target": {"memory": "8GiB"}},
        }
        | ({"switch": {"cohorts": declared}} if declared else {})
    )
    journal.control.register(name, spec.fingerprint, cohorts, "ann", spec=spec.model_dump(mode="json"))
    for cohort in cohorts:
        row = journal.control.get(name, cohort.name)
        journal.control.advance(row, Phase.TRACK_A, actor="ann", reason=f"run {RUN}")


def save_plan(journal: Journal, name: str, namespaces: Sequence[str], *, rows: int, each: int = 2) -> Plan:
    """So many partitions of each namespace."""
    early = {"books", "films"} if name == "catalogue" else set()
    pieces = [(namespace, n) for namespace in namespaces for n in range(each)]
    cut = [
        Partition(
            f"p{index:04}",
            index,
            (KeyRange(namespace, f"k{n}", f"k{n + 1}", rows // each),),
            "early" if namespace in early else "all",
        )
        for index, (namespace, n) in enumerate(pieces)
    ]
    details = {"rows": sum(p.rows for p in cut), "namespaces": list(namespaces), "dimension": DIMENSION}
    fingerprint = journal.control.fingerprint(name)
    return journal.plans.save(
        Plan(f"plan-{name}", name, fingerprint, KeyOrder.ID, "listing.parquet", None, tuple(cut), details)
    )


def complete(journal: Journal, plan: Plan, steps: Iterable[str]) -> None:
    """All partitions have these steps behind them."""
    for each in plan.partitions:
        complete_one(journal, plan, each.name, steps)


def complete_one(journal: Journal, plan: Plan, partition: str, steps: Iterable[str]) -> None:
    rows = plan.partition(partition).rows
    for step in steps:
        journal.attempts.complete(plan.id, partition, step, rows, 0)


def running(journal: Journal, plan: Plan, partitions: Sequence[Partition], step: str) -> None:
    """Somebody works on these, and is half way."""
    for each in partitions:
        held = journal.attempts.begin(plan.id, each.name, step, "worker-1", 3600)
        journal.attempts.progress(held, 0, each.rows // 2)


def join(journal: Journal, name: str) -> None:
    """Two routers, one of which has a write under way, which has left a few records dirty."""
    for router, host in (("shop-api-7f9c", "10.0.3.17"), ("indexer-2b41", "10.0.3.22")):
        journal.members.join(name, router, host=host, pid=7, version="0.1.0", lease=3600, deadline=10)
    journal.intents.open(
        Write(name, "all", "shop-api-7f9c", Phase.TRACK_A, LOW), [f"toy-{n}" for n in range(3)], seconds=3600
    )
    journal.claims.mark_dirty(name, "all", "shop-01", [f"lamp-{n}" for n in range(140)])


def partition_verdicts(plan: Plan) -> list[Verdict]:
    """Counts and content of every partition: the first of a namespace with a fault has it."""
    found, seen = [], set[str]()
    for each in plan.partitions:
        namespace = each.namespaces[0]
        fault = FAULTS.get(namespace) if namespace not in seen else None
        seen.add(namespace)
        for check in ("counts", "content"):
            wrong = fault if fault and fault.check == check else None
            missing = wrong.differences if wrong and wrong.kind is K.MISSING else 0
            figures = {
                "source": each.rows,
                "staged": each.rows,
                "target": each.rows - missing,
                "excused": 0,
                "compared": each.rows,
            }
            found.append(made(check, each.name, namespace, wrong, figures))
    return found


def made(check: str, scope: str, namespace: str, fault: Fault | None, figures: Mapping[str, Any]) -> Verdict:
    if fault is None:
        return Verdict(check, scope, True, figures)
    shown = tuple(
        Difference(fault.kind, namespace, f"sku-{n:05}", fault.field, "a1b2c3", "d4e5f6")
        for n in range(min(5, fault.differences))
    )
    return Verdict(check, scope, False, figures, shown, fault.differences, fault.reason)


def recall_verdicts(namespaces: Sequence[str] = NAMESPACES) -> list[Verdict]:
    """Recall of each namespace; that of LOW is too low. Overall with kinds of queries."""
    found = []
    for place, namespace in enumerate(namespaces):
        recall = 0.8712 if namespace == LOW else 0.999 - 0.0013 * (place % 9)
        low, high = recall - 0.012, min(1.0, recall + 0.008)
        reason = f"the interval [{low:.4f}, {high:.4f}] does not reach {THRESHOLD}" if low < THRESHOLD else ""
        figures = {"recall": recall, "low": low, "high": high, "threshold": THRESHOLD, "queries": 200, "k": 10}
        found.append(Verdict("recall", f"namespace:{namespace}", not reason, figures, reason=reason))
    kinds = {
        "recorded": {"queries": 1200, "recall": 0.991, "low": 0.988, "high": 0.994},
        "held_out": {"queries": 3000, "recall": 0.993, "low": 0.991, "high": 0.995},
        "hardest": {"queries": 400, "recall": 0.962, "low": 0.953, "high": 0.97},
    }
    overall = {
        "recall": 0.9904,
        "low": 0.9881,
        "high": 0.9927,
        "threshold": THRESHOLD,
        "queries": 4600,
        "k": 10,
        "by_kind": kinds,
    }
    return [*found, Verdict("recall", "overall", True, overall)]


def other_verdicts() -> list[Verdict]:
    """Extras, filters, latency, effort, load and relevance."""
    wrong_id, wrong_place = FAULTS[WRONG_ID], FAULTS[WRONG_NAMESPACE]
    shown = (
        Difference(wrong_id.kind, WRONG_ID, "sku-00017-copy"),
        *(Difference(wrong_place.kind, WRONG_NAMESPACE, f"song-{n}", "namespace", "music", "films") for n in range(7)),
    )
    sides = {"p50_ms": 11.2, "p95_ms": 24.8, "p99_ms": 41.5, "max_ms": 88.0, "queries": 500, "rate": 20.0}
    curve = [
        {
            "k": k,
            "effort": effort,
            "recall": r,
            "low": r - 0.004,
            "high": min(1.0, r + 0.004),
            "queries": 300,
            "p50_ms": 2 + effort / 40,
            "p99_ms": 6 + effort / 12,
        }
        for k, base in ((1, 0.97), (10, 0.94), (100, 0.9))
        for effort in (32, 64, 128, 256, 512)
        for r in [1 - (1 - base) * (32 / effort) ** 0.9]
    ]
    steps = [
        {
            "rate": rate,
            "sent_rate": rate * 0.998,
            "p50_ms": 6 + rate / 60,
            "p95_ms": 12 + (rate / 90) ** 1.6,
            "p99_ms": 20 + (rate / 70) ** 2.1,
            "errors": 0 if rate < 480 else 37,
            "sent": rate * 20,
            "client_saturated": False,
        }
        for rate in (80, 160, 240, 320, 400, 480)
    ]
    judged = {"ndcg": 0.741, "ndcg_low": 0.718, "ndcg_high": 0.764, "mrr": 0.688, "mrr_low": 0.66, "mrr_high": 0.716}
    return [
        Verdict(
            "extras",
            "overall",
            False,
            {"target": 299_960, "extra": 1},
            shown,
            8,
            "the target has what the source does not have, or elsewhere",
        ),
        *(
            Verdict("filters", f'{{"color":"{c}"}}', True, {"matched": 900 - 70 * n})
            for n, c in enumerate(("red", "green", "blue"))
        ),
        Verdict(
            "filters",
            FILTER,
            False,
            {"matched": 410},
            (Difference(K.RESULT, "", "sku-00042", FILTER),),
            12,
            "the target returned other records than the filter matches",
        ),
        Verdict("filters", "overall", False, {"filters": 4, "failed": 1}, (), 12, "1 of 4 filters failed"),
        Verdict(
            "latency",
            "overall",
            False,
            {
                "queries": 500,
                "rate": 20.0,
                "source": sides,
                "target": sides | {"p95_ms": 131.0, "p99_ms": 205.0, "max_ms": 400.0},
                "max_p95_ms": 60.0,
            },
            reason="p95 of the target is 131.0 ms, allowed are 60.0 ms",
        ),
        Verdict(
            "effort",
            "overall",
            True,
            {"curve": curve, "threshold": THRESHOLD, "used": 128, "proposed": 64, "reason": ""},
        ),
        Verdict(
            "load",
            "overall",
            True,
            {
                "steps": steps,
                "breaking_point": 480,
                "limited_by": "p99",
                "declared_peak": 80,
                "hardware": {"cores": 8, "memory": "32 GiB"},
            },
        ),
        Verdict(
            "relevance",
            "overall",
            True,
            {
                "queries": 120,
                "k": 10,
                "source": judged,
                "target": {key: value - 0.006 for key, value in judged.items()},
            },
        ),
    ]


def save_evidence(journal: Journal, plan: Plan, verdicts: Sequence[Verdict], against: Sequence[str]) -> Evidence:
    """Verdicts, and the evidence of them."""
    journal.evidence.save_verdicts(plan.id, RUN, verdicts)
    body = {
        "migration": plan.migration,
        "spec": plan.fingerprint,
        "plan": plan.id,
        "run": RUN,
        "requested_by": "ann",
        "bundle": None,
        "collected_at": datetime.now(UTC).isoformat(),
        "go": not against,
        "against": list(against[:10]),
        "against_total": len(against),
        "source": f"pinecone {plan.migration}",
        "target": f"weaviate {plan.migration.title()}",
        "namespaces": len(plan.details["namespaces"]),
        "partitions": len(plan.partitions),
        "dimension": DIMENSION,
        "sparse": "move",
        "dropped": {},
        "mapped": {},
        "rows": {"planned": plan.details["rows"], "staged": plan.details["rows"], "excused": 0},
        "excused": [],
        "excused_digest": "",
        "usage": {"requests": 3507, "read_units": 12.0, "throttled": 0},
        "verdicts": [asdict(v) for v in verdicts],
    }
    plain = orjson.loads(orjson.dumps(body))
    digest = hashlib.sha256(orjson.dumps(plain, option=orjson.OPT_SORT_KEYS)).hexdigest()
    made_of = Evidence(
        digest, plan.migration, plan.id, RUN, plan.fingerprint, 0, CUTOVER, plain, approvable=not against
    )
    return journal.evidence.save(made_of)


def seed_history(journal: Journal, name: str) -> None:
    """Half a day of latency and backlog, and five nights of reconciliation."""
    for n in range(48):
        wave = math.sin(n / 6)
        for side, p50 in (("source", 11.0), ("target", 9.0 + (14.0 if n > 38 else 0.0))):
            figures = {
                "p50_ms": p50 + wave,
                "p95_ms": 2 * p50 + 2 * wave,
                "p99_ms": 4 * p50 + 5 * wave,
                "max_ms": 90.0,
                "queries": 30,
                "from": "probe",
            }
            journal.samples.write(name, "latency", side, figures)
        journal.samples.write(
            name,
            "backlog",
            "all",
            {"dirty": max(0, int(90 + 80 * wave)), "open": 3 + n % 4, "rejected": 0, "oldest_open": 0.4},
        )
    spread(journal, "sample", name, 900, "at")
    for night, (outcome, repairs) in enumerate(
        ((Outcome.EQUAL, 0), (Outcome.EQUAL, 0), (Outcome.REPAIRED, 14), (Outcome.EQUAL, 0), (Outcome.DRIFT, 3))
    ):
        run = journal.reconciliations.begin(
            name, Scope.FULL if night == 0 else Scope.SHARE, f"nightly-{night}", 0, lease=60
        )
        figures = {
            "rows_source": 43_000,
            "rows_target": 43_000,
            "repairs": repairs,
            "deletions": 0,
            "kinds": {"missing": repairs},
        }
        figures |= {"second_records": 0, "over": [], "file": f"s3://staging/{name}/reconcile/{run.id}/drift.parquet"}
        figures |= {"repaired": repairs} if outcome is Outcome.REPAIRED else {}
        journal.reconciliations.end(run, outcome, figures)
    spread(journal, "reconciliation", name, 86_400, "began_at", "ended_at")


def spread(journal: Journal, table: str, name: str, seconds: float, *columns: str) -> None:
    """Rows of a table, so many seconds apart, the newest now. Rows of one moment stay together."""
    sets = ", ".join(f"{column} = {column} - age.n * interval '{seconds} s'" for column in columns)
    scope = "kind, scope" if table == "sample" else "migration"
    back_door(
        journal,
        f"UPDATE vectorferry.{table} t SET {sets} FROM (SELECT id, row_number() OVER (PARTITION BY {scope} ORDER BY id DESC) - 1 AS n "
        f"FROM vectorferry.{table} WHERE migration = :name) age WHERE age.id = t.id",
        name=name,
    )


def back_in_time(journal: Journal, table: str, name: str, seconds: float, column: str) -> None:
    """Make all rows of a migration older."""
    back_door(
        journal,
        f"UPDATE vectorferry.{table} SET {column} = {column} - interval '{seconds} s' WHERE migration = :name",
        name=name,
    )


def back_door(journal: Journal, statement: str, **values: Any) -> None:
    """What no part of the product does: triggers do not hold here."""
    with journal.database.transaction() as connection:
        connection.execute(sa.text("SET LOCAL session_replication_role = replica"))
        connection.execute(sa.text(statement), values)


Seed = Callable[[Journal], None]
