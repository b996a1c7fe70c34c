"""Evidence: everything that a run measured, bound to its spec and plan by one hash; this is what the approver signs."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import orjson

from vectorferry.core.model import CUTOVER, Verdict
from vectorferry.engine.session import Session
from vectorferry.engine.signoff.recall_verdicts import recall_of_namespaces
from vectorferry.engine.signoff.report import write_report
from vectorferry.engine.sync.touched import WATERMARK
from vectorferry.engine.transfer.staged import manifest_of, manifest_path
from vectorferry.journal import Evidence, Plan
from vectorferry.staging import report_folder

SHOWN_EXCUSED = 1_000


def collect(session: Session, plan: Plan, against: Sequence[str], *, approvable: bool, kind: str = CUTOVER) -> Evidence:
    """Bind this run's verdicts into evidence, keep it in the journal and beside the Parquet, and return it.

    `against` is what the gate holds against what is asked for. The hash covers the whole body.
    """
    body = _body(session, plan, against)
    digest = hashlib.sha256(orjson.dumps(body, option=orjson.OPT_SORT_KEYS)).hexdigest()
    made = Evidence(
        hash=digest,
        migration=session.migration,
        plan_id=plan.id,
        run_id=session.run_id,
        spec_fingerprint=_fingerprint(session, kind),
        watermark=_watermark(session, plan),
        kind=kind,
        body=body,
        approvable=approvable,
    )
    session.staged(plan).write_json(evidence_path(session.run_id), {"hash": digest, "body": body})
    write_report(session, plan, made)
    return session.journal.evidence.save(made)


def _fingerprint(session: Session, kind: str) -> str:
    # A cut-over is approved for the thresholds of its own spec. What comes after belongs to what was cut over.
    return session.spec.fingerprint if kind == CUTOVER else session.journal.control.fingerprint(session.migration)


def _watermark(session: Session, plan: Plan) -> int:
    """The generation up to which this evidence speaks: with routers, that at which both sides began to be compared."""
    found = session.journal.evidence.verdicts(plan.id, session.run_id)
    rechecked = [int(v.figures[WATERMARK]) for v in found if v.check in ("touched", "equal") and WATERMARK in v.figures]
    return rechecked[0] if rechecked else session.journal.records.watermark()


def evidence_path(run_id: str) -> str:
    """Where a run's evidence lies under the plan's folder."""
    return f"{report_folder(run_id)}/evidence.json"


def _body(session: Session, plan: Plan, against: Sequence[str]) -> dict[str, Any]:
    verdicts = session.journal.evidence.verdicts(plan.id, session.run_id)
    excused = [row._asdict() for row in session.journal.records.excused(session.migration)]
    manifests = [manifest_of(session.staged(plan), p) for p in plan.partitions if _exported(session, plan, p)]
    body = {
        "migration": session.migration,
        "spec": session.spec.fingerprint,
        "plan": plan.id,
        "run": session.run_id,
        "requested_by": session.actor,
        "bundle": session.bundle,
        "collected_at": datetime.now(UTC).isoformat(),  # also keeps two collections of the same figures apart
        "go": not against,
        "against": list(against[:10]),
        "against_total": len(against),
        "source": session.source.name,
        "target": session.target.name,
        "namespaces": len(plan.details["namespaces"]),
        "partitions": len(plan.partitions),
        "dimension": plan.details.get("dimension"),
        "sparse": session.spec.source.sparse,
        "dropped": _dropped(session, verdicts),
        "mapped": _mapped(session, manifests),
        "rows": {
            "planned": plan.details["rows"],
            "staged": sum(each["rows"] for each in manifests),
            "excused": len(excused),
        },
        "excused": excused[:SHOWN_EXCUSED],
        "excused_digest": hashlib.sha256(orjson.dumps(excused, option=orjson.OPT_SORT_KEYS)).hexdigest(),
        "usage": _usage(session),
        "verdicts": [asdict(v) for v in verdicts],
    }
    plain: dict[str, Any] = orjson.loads(orjson.dumps(body))
    return plain


def _usage(session: Session) -> dict[str, Any]:
    """What all tasks of the run have used; `dollars` are those of the read units, None where no price is known."""
    used = session.usage_of_run
    price = max(store.capabilities.read_unit_price for store in (session.source, session.target))
    return asdict(used) | {"dollars": round(used.read_units / 1e6 * price, 4) if price else None}


def _dropped(session: Session, verdicts: Sequence[Verdict]) -> dict[str, int]:
    """Keys that stayed behind on purpose, each with the number of its values among the source's records that were compared."""
    dropped = dict.fromkeys(sorted(session.spec.mapping.drop), 0)
    for verdict in verdicts:
        for key, values in verdict.figures.get("left_behind", {}).get("keys", {}).items():
            dropped[key] = dropped.get(key, 0) + values
    return dropped


def _mapped(session: Session, manifests: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Keys that the mapping renames or casts, each with the number of staged records that have it."""
    rules = session.spec.mapping
    rows = dict.fromkeys(sorted({*rules.rename, *rules.cast}), 0)
    for key in rows:
        rows[key] = sum(each["profile"].get("fields", {}).get(key, {}).get("rows", 0) for each in manifests)
    return rows


def _exported(session: Session, plan: Plan, partition: Any) -> bool:
    return session.staged(plan).exists(manifest_path(partition))


def verdicts_of(evidence: Evidence, check: str) -> list[Mapping[str, Any]]:
    """The verdicts of one check, as the evidence's body has them."""
    return [v for v in evidence.body["verdicts"] if v["check"] == check]


def worst_recall(verdicts: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The namespace whose recall interval reaches lowest, None where no namespace was measured."""
    measured = [v for v in recall_of_namespaces(verdicts) if "low" in v["figures"]]
    return min(measured, key=lambda v: v["figures"]["low"], default=None)
