"""Evidence bundle: one file with all that an auditor needs to check a piece of evidence without journal, staging or databases."""

import hashlib
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from vectorferry import __version__
from vectorferry.core.errors import GateError, StagingCorrupt
from vectorferry.core.model import OPERATION
from vectorferry.engine.signoff.bundle_file import canonical, packed
from vectorferry.engine.signoff.report import report_of
from vectorferry.engine.transfer.staged import manifest_of, manifest_path
from vectorferry.journal import AuditFilter, Evidence, Journal, Plan
from vectorferry.spec.document import read_text
from vectorferry.spec.migration import MigrationSpec
from vectorferry.staging import Staging

EVIDENCE, RECORD, VERDICTS, REPORT = "evidence.json", "record.json", "verdicts.parquet", "report.html"
SPEC, SPEC_TEXT, PLAN, MANIFESTS = "spec.json", "spec.yaml", "plan.json", "manifests.json"
APPROVALS, AUDIT, EXCUSED = "approvals.json", "audit.jsonl", "excused.json"
REQUIRED = frozenset({EVIDENCE, RECORD, VERDICTS, REPORT, SPEC, SPEC_TEXT, PLAN, MANIFESTS, APPROVALS, AUDIT})
NAMES = REQUIRED | {EXCUSED}
_COLUMNS = ("check", "scope", "passed", "reason", "figures", "differences", "total_differences")
VERDICT_SCHEMA = pa.schema(
    [
        *(pa.field(name, pa.string()) for name in ("check", "scope", "reason", "figures", "differences")),
        pa.field("passed", pa.bool_()),
        pa.field("total_differences", pa.int64()),
    ]
)


def found_evidence(journal: Journal, migration: str, text: str) -> Evidence:
    """The evidence that a run made, or whose hash begins with the text; raises GateError where there is none, or more than one."""
    found = [each for each in journal.evidence.find(migration, text) if each.kind != OPERATION] if text else []
    ours = [each for each in found if each.run_id == text] or found
    if not ours:
        raise GateError(f"the journal holds no evidence of {migration} of the run, or with the hash, {text!r}")
    if len({each.hash for each in ours}) > 1 and ours[0].run_id != text:
        raise GateError(f"{len(ours)} pieces of evidence of {migration} begin with {text!r}: give more of the hash")
    return ours[0]


def bundle_of(journal: Journal, staging: Staging, spec: MigrationSpec, spec_file: Path, evidence: Evidence) -> bytes:
    """The bundle of evidence; the same journal and staging give the same bytes.

    Raises GateError where the spec is not that of the evidence, or where the journal's evidence is not what was hashed.
    """
    body = canonical(evidence.body)
    if (found := hashlib.sha256(body).hexdigest()) != evidence.hash:
        raise GateError(
            f"the journal's evidence {evidence.hash[:12]} hashes to {found[:12]}: it is not what was collected"
        )
    if spec.fingerprint != evidence.body["spec"]:
        raise GateError(
            f"the spec is not that of evidence {evidence.hash[:12]} ({spec.fingerprint[:12]}, not {evidence.body['spec'][:12]}): "
            "give the file as it was then, from your version control"
        )
    plan = journal.plans.get(evidence.plan_id)
    if plan is None:
        raise GateError(
            f"the journal has no plan {evidence.plan_id}: the migration was abandoned, and its evidence cannot be bundled"
        )
    answers = journal.approvals.all(evidence.hash)
    files = {
        EVIDENCE: body,
        RECORD: canonical({**_record(evidence), "made_with": __version__}),
        VERDICTS: _parquet(evidence.body["verdicts"]),
        # Of the body as it is hashed, so that whoever checks the bundle can make the same bytes.
        REPORT: report_of(replace(evidence, body=orjson.loads(body)), answers).encode(),
        SPEC: spec.fingerprinted,
        SPEC_TEXT: read_text(spec_file).encode(),
        PLAN: canonical(asdict(plan)),
        MANIFESTS: canonical(_manifests(staging.at(plan.id), plan)),
        APPROVALS: canonical([asdict(each) for each in answers]),
        AUDIT: b"".join(_audit(journal, plan)),
    }
    excused = _excused(journal, evidence)
    return packed(files | ({EXCUSED: excused} if excused is not None else {}))


def _record(evidence: Evidence) -> dict[str, Any]:
    return {name: value for name, value in asdict(evidence).items() if name != "body"}


def _parquet(verdicts: Sequence[Mapping[str, Any]]) -> bytes:
    rows = [
        {
            name: canonical(each[name]).decode() if name in ("figures", "differences") else each[name]
            for name in _COLUMNS
        }
        for each in verdicts
    ]
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, VERDICT_SCHEMA), buffer, compression="none")
    return buffer.getvalue()


def _manifests(staged: Staging, plan: Plan) -> dict[str, Any]:
    """Rows and digests of each partition's staged files, and the digest of the manifest itself; None where staging was pruned."""
    found: dict[str, Any] = {}
    for each in plan.partitions:
        try:
            manifest = manifest_of(staged, each) if staged.exists(manifest_path(each)) else None
        except StagingCorrupt as error:
            raise GateError(
                f"the manifest of partition {each.name} cannot be read, and so not vouched for: {error}"
            ) from error
        found[each.name] = manifest and {
            "rows": manifest["rows"],
            "digest": manifest["digest"],
            "manifest": hashlib.sha256(canonical(manifest)).hexdigest(),
        }
    return found


def _audit(journal: Journal, plan: Plan) -> Iterator[bytes]:
    """The audit trail of the migration since its plan, a line each."""
    for row in journal.audit.oldest_first(plan.migration, AuditFilter(since=plan.created_at)):
        yield canonical(asdict(row)) + b"\n"


def _excused(journal: Journal, evidence: Evidence) -> bytes | None:
    """All records that stay behind, as the evidence's digest has them; None where the journal has others by now."""
    shown = canonical(evidence.body["excused"])
    now = (row._asdict() for row in journal.records.excused(evidence.migration))
    for raw in (
        shown,
        canonical(list(now)) if len(evidence.body["excused"]) < evidence.body["rows"]["excused"] else b"",
    ):
        if hashlib.sha256(raw).hexdigest() == evidence.body["excused_digest"]:
            return raw
    return None
