"""Check of a bundle: recomputes hash, digests and fingerprints, and holds its files against each other; needs nothing but the file."""

import hashlib
import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from vectorferry import __version__
from vectorferry.core.errors import GateError, VectorferryError
from vectorferry.core.model import CUTOVER, Difference, DifferenceKind, KeyOrder, KeyRange, Partition, Verdict
from vectorferry.engine.signoff.bundle import (
    APPROVALS,
    AUDIT,
    EVIDENCE,
    EXCUSED,
    MANIFESTS,
    NAMES,
    PLAN,
    RECORD,
    REPORT,
    REQUIRED,
    SPEC,
    SPEC_TEXT,
    VERDICTS,
)
from vectorferry.engine.signoff.bundle_file import canonical, unpacked
from vectorferry.engine.signoff.check_names import NOT_RUN
from vectorferry.engine.signoff.gate import failures, required
from vectorferry.engine.signoff.report import report_of
from vectorferry.journal import Approval, Evidence, Plan
from vectorferry.spec.cutover_rules import ApprovalRules
from vectorferry.spec.loader import parse_spec
from vectorferry.spec.migration import MigrationSpec

NOT_PROVEN = (
    "that the journal was honest: who may write to it can make other evidence that fits; give the hash that was approved (`--hash`)",
    "that the checks measured what they say: for that, run them again on the databases",
    "that the persons named are those who answered: Airflow, or the terminal's user, said so",
)
HASH_DIGITS = 12
_SHOWN = 10
_BROKEN = (ValueError, KeyError, TypeError, AttributeError, IndexError, pa.ArrowException, VectorferryError)


@dataclass(frozen=True, slots=True)
class BundleCheck:
    """What came of it: what does not fit (`faults`, none: it verifies), what was left open (`open`), and whose evidence it is."""

    faults: tuple[str, ...]
    open: tuple[str, ...] = ()
    hash: str = ""
    migration: str = ""
    go: bool | None = None


def check_bundle(path: Path, approved: str = "") -> BundleCheck:
    """Check a bundle, without journal, spec, staging or Airflow; `approved` is what its evidence's hash has to begin with.

    Raises GateError where that is too short to tell one piece of evidence from another.
    """
    if approved and len(approved) < HASH_DIGITS:
        raise GateError(f"{approved!r} has less than {HASH_DIGITS} digits: give the hash as the approver was shown it")
    files, wrong = unpacked(path, NAMES)
    wrong = wrong or [f"{name} is missing" for name in sorted(REQUIRED - files.keys())]
    if wrong:
        return BundleCheck(tuple(wrong))
    found = _Check(files).run()
    if found.hash.startswith(approved.lower()):
        return found
    return replace(found, faults=(f"it is of evidence {found.hash}, and not of {approved}", *found.faults))


class _Check:
    """The files of a bundle, each of which is as its manifest says."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self._files = files
        self._open: list[str] = []
        self._body: Mapping[str, Any] = {}
        self._record: Mapping[str, Any] = {}

    def run(self) -> BundleCheck:
        faults = list(self._held(EVIDENCE, self._evidence))
        if not faults:
            steps: tuple[tuple[str, Callable[[], Iterator[str]]], ...] = (
                (VERDICTS, self._verdicts),
                (REPORT, self._report),
                (SPEC, self._spec),
                (PLAN, self._plan),
                (MANIFESTS, self._manifests),
                (EXCUSED, self._excused),
                (APPROVALS, self._approvals),
                (AUDIT, self._audit),
            )
            faults = [fault for name, step in steps for fault in self._held(name, step)]
        go = self._body.get("go")
        return BundleCheck(
            tuple(faults),
            tuple(self._open),
            str(self._record.get("hash", "")),
            str(self._body.get("migration", "")),
            go if isinstance(go, bool) else None,
        )

    def _held(self, name: str, step: Callable[[], Iterator[str]]) -> list[str]:
        """What a step finds; a file that is not of its form is found too."""
        try:
            return list(step())
        except _BROKEN as error:
            return [f"{name} is not of its form: {type(error).__name__}: {error}"]

    def _json(self, name: str) -> Any:
        return orjson.loads(self._files[name])

    def _evidence(self) -> Iterator[str]:
        raw, record, body = self._files[EVIDENCE], self._json(RECORD), self._json(EVIDENCE)
        self._record, self._body = record, body
        if (found := hashlib.sha256(raw).hexdigest()) != record["hash"]:
            yield f"{EVIDENCE} hashes to {found}, {RECORD} says {record['hash']}"
        if canonical(body) != raw:
            yield f"{EVIDENCE} is not written as evidence is hashed"
        for name, told in {"migration": "migration", "plan_id": "plan", "run_id": "run"}.items():
            if record[name] != body[told]:
                yield f"{told} of {EVIDENCE} is {body[told]!r}, {RECORD} says {record[name]!r}"
        if record["kind"] == CUTOVER and record["spec_fingerprint"] != body["spec"]:
            yield f"{RECORD} binds to spec {record['spec_fingerprint']}, {EVIDENCE} to {body['spec']}"
        if body["go"] != (not body["against"]) or body["against_total"] < len(body["against"]):
            yield f"{EVIDENCE} says {'GO' if body['go'] else 'NO-GO'}, with {body['against_total']} reasons against it"
        if record["approvable"] and not body["go"] and record["kind"] == CUTOVER:
            yield f"{RECORD} says that it can be approved, and {EVIDENCE} says NO-GO"

    def _verdicts(self) -> Iterator[str]:
        rows = pq.read_table(io.BytesIO(self._files[VERDICTS])).to_pylist()
        told = self._body["verdicts"]
        if len(rows) != len(told):
            yield f"{VERDICTS} has {len(rows)} verdicts, {EVIDENCE} {len(told)}"
            return
        for row, each in zip(rows, told, strict=True):
            shown = {**row, "figures": orjson.loads(row["figures"]), "differences": orjson.loads(row["differences"])}
            if canonical(shown) != canonical(each):
                yield f"{VERDICTS}: {each['check']} of {each['scope']} is another than in {EVIDENCE}"

    def _report(self) -> Iterator[str]:
        if self._record["hash"] not in self._files[REPORT].decode():
            yield f"{REPORT} is about other evidence"
        elif self._record["made_with"] != __version__:
            self._open.append(
                f"whether {REPORT} shows what {EVIDENCE} says: it was made with {self._record['made_with']}"
            )
        elif self._made_report() != self._files[REPORT]:
            yield f"{REPORT} is not the one that {EVIDENCE} and {APPROVALS} give"

    def _made_report(self) -> bytes:
        told = {name: value for name, value in self._record.items() if name != "made_with"}
        made = Evidence(**{**told, "body": self._body, "created_at": _time(told["created_at"])})
        times = ("question_asked_at", "answered_at")
        answers = (
            Approval(**{**each, **{name: _time(each[name]) for name in times}}) for each in self._json(APPROVALS)
        )
        return report_of(made, tuple(answers)).encode()

    def _spec(self) -> Iterator[str]:
        if (found := hashlib.sha256(self._files[SPEC]).hexdigest()) != self._body["spec"]:
            yield f"{SPEC} has the fingerprint {found}, {EVIDENCE} says {self._body['spec']}"
        if self._told_spec().fingerprinted != self._files[SPEC]:
            yield f"{SPEC_TEXT} says other things than {SPEC}, of which the fingerprint is"

    def _told_spec(self) -> MigrationSpec:
        """The spec of its text; relative paths in it stand for those that they were resolved to."""
        spec, kept = parse_spec(self._files[SPEC_TEXT].decode(), SPEC_TEXT), self._json(SPEC)
        staging = spec.staging.model_copy(update={"url": _resolved(spec.staging.url, kept["staging"]["url"])})
        recall = spec.checks.recall
        if recall.queries:
            queries = _resolved(recall.queries, kept["checks"]["recall"]["queries"])
            recall = recall.model_copy(update={"queries": queries})
        relevance = spec.checks.relevance
        if relevance:
            judgements = _resolved(relevance.judgements, kept["checks"]["relevance"]["judgements"])
            relevance = relevance.model_copy(update={"judgements": judgements})
        checks = spec.checks.model_copy(update={"recall": recall, "relevance": relevance})
        return spec.model_copy(update={"staging": staging, "checks": checks})

    def _plan(self) -> Iterator[str]:
        plan, body = self._made_plan(), self._body
        if plan.id != body["plan"]:
            yield f"{PLAN} is {plan.id}, {EVIDENCE} is of {body['plan']}"
        if plan.migration != body["migration"]:
            yield f"{PLAN} is of migration {plan.migration}"
        # What came after a cut-over may be of a later spec: its plan is not made again.
        if self._record["kind"] == CUTOVER and plan.fingerprint != (found := self._told_spec().plan_fingerprint):
            yield f"{PLAN} binds to {plan.fingerprint}, the spec gives {found}"
        if plan.details["rows"] != body["rows"]["planned"] or len(plan.details["namespaces"]) != body["namespaces"]:
            yield f"{PLAN} has other rows or namespaces than {EVIDENCE}"
        if self._record["kind"] == CUTOVER:
            yield from self._gate(plan)

    def _gate(self, plan: Plan) -> Iterator[str]:
        """Whether the gate, given these verdicts, says what the evidence says."""
        body, checks = self._body, self._told_spec().checks
        verdicts = [_verdict(each) for each in body["verdicts"]]
        whole = len(plan.partitions) == body["partitions"]
        found = [line for line in failures(plan, checks, verdicts) if not line.endswith(NOT_RUN)]
        missing = sorted(required(plan, checks) - {(v.check, v.scope) for v in verdicts})
        if body["go"] and found:
            yield f"{EVIDENCE} says GO, and {len(found)} verdicts are against it; first: {found[0]}"
        if body["go"] and missing and whole and self._record["made_with"] == __version__:
            yield f"{EVIDENCE} says GO without {len(missing)} verdicts that the gate needs; first: {missing[0][0]} of {missing[0][1]}"
        elif body["go"] and missing:
            why = (
                "it is of a part of the plan" if not whole else f"it was made with version {self._record['made_with']}"
            )
            self._open.append(f"whether every verdict is there that was needed: {why}")
        told = [line for line in body["against"] if not line.endswith(NOT_RUN)]
        if found[: len(told)] != told or body["against_total"] < len(found):
            yield f"{EVIDENCE} names other reasons against it than its verdicts give"

    def _made_plan(self) -> Plan:
        told = self._json(PLAN)
        partitions = tuple(
            Partition(p["name"], p["index"], tuple(KeyRange(**r) for r in p["ranges"]), p["cohort"])
            for p in told["partitions"]
        )
        order = KeyOrder(told["key_order"])
        made = datetime.fromisoformat(told["created_at"])
        values = (told["id"], told["migration"], told["fingerprint"], order, told["listing"], made, partitions)
        return Plan(*values, told["details"])

    def _manifests(self) -> Iterator[str]:
        told: Mapping[str, Any] = self._json(MANIFESTS)
        if set(told) != {each.name for each in self._made_plan().partitions}:
            yield f"{MANIFESTS} is of other partitions than {PLAN}"
        if absent := [name for name, each in told.items() if each is None]:
            self._open.append(f"what was staged of {len(absent)} partitions: their files were pruned before the export")
        for verdict in self._body["verdicts"]:
            staged = told.get(verdict["scope"])
            digest = verdict["figures"].get("staged_digest")
            if verdict["check"] == "content" and staged and digest not in (None, staged["digest"]):
                yield f"{MANIFESTS}: {verdict['scope']} was staged as {staged['digest']}, it was checked as {digest}"
        rows = sum(each["rows"] for each in told.values() if each)
        if not absent and len(told) == self._body["partitions"] and rows != self._body["rows"]["staged"]:
            yield f"{MANIFESTS} has {rows} rows, {EVIDENCE} says {self._body['rows']['staged']}"

    def _excused(self) -> Iterator[str]:
        body = self._body
        if EXCUSED not in self._files:
            self._open.append("which records were excused: the journal had others when this was exported")
            return
        if (found := hashlib.sha256(self._files[EXCUSED]).hexdigest()) != body["excused_digest"]:
            yield f"{EXCUSED} has the digest {found}, {EVIDENCE} says {body['excused_digest']}"
        rows = self._json(EXCUSED)
        if len(rows) != body["rows"]["excused"] or rows[: len(body["excused"])] != body["excused"]:
            yield f"{EXCUSED} has other records than {EVIDENCE}"

    def _approvals(self) -> Iterator[str]:
        rules = self._told_spec().approval
        answers = self._json(APPROVALS)
        collected = datetime.fromisoformat(self._body["collected_at"])
        if not answers:
            self._open.append("who approved it: nobody had answered when this was exported")
        for each in answers:
            who = f"{APPROVALS}: the answer of {each['actor'] or 'nobody'}"
            if not each["actor"]:
                yield f"{who} names no person"
            if each["evidence_hash"] != self._record["hash"]:
                yield f"{who} is to evidence {each['evidence_hash']}"
            if datetime.fromisoformat(each["answered_at"]) < collected:
                yield f"{who} is older than the evidence"
            if each["decision"] == "approve":
                yield from (f"{who} {why}" for why in self._not_to_be_given(each, rules))

    def _not_to_be_given(self, each: Mapping[str, Any], rules: ApprovalRules) -> Iterator[str]:
        """Why an approval counts for nothing by the evidence and the spec."""
        if not self._record["approvable"]:
            yield "approves what could not be approved"
        if rules.four_eyes and each["actor"] == self._body["requested_by"]:
            yield "is of the person who asked (approval.four_eyes)"
        if rules.approvers and not rules.roles and each["actor"] not in rules.approvers:
            yield "is of nobody who may approve"
        if each["via"] == "terminal" and not rules.terminal:
            yield "came from a terminal, which the spec does not allow"

    def _audit(self) -> Iterator[str]:
        rows = [orjson.loads(line) for line in self._files[AUDIT].splitlines()]
        ids = [row["id"] for row in rows]
        if ids != sorted(set(ids)):
            yield f"{AUDIT} is not in its order, or has a row twice"
        if strangers := sum(row["migration"] != self._body["migration"] for row in rows):
            yield f"{AUDIT} has {strangers} rows of other migrations"
        if nameless := sum(not row["actor"] for row in rows):
            yield f"{AUDIT} has {nameless} rows without an actor"


def _time(told: str | None) -> datetime | None:
    return None if told is None else datetime.fromisoformat(told)


def _resolved(text: str, kept: str) -> str:
    """A path of the spec's text as it was resolved, if it may have been resolved to that."""
    return kept if "://" not in text and kept.endswith(text.removeprefix("~").removeprefix("./")) else text


def _verdict(told: Mapping[str, Any]) -> Verdict:
    differences = tuple(Difference(**{**each, "kind": DifferenceKind(each["kind"])}) for each in told["differences"])
    return Verdict(**{**told, "differences": differences})


def in_words(found: BundleCheck) -> str:
    """The outcome for people: what does not fit, what was left open, and what no bundle can prove."""
    if found.faults:
        more = f"\n… and {len(found.faults) - _SHOWN} more" if len(found.faults) > _SHOWN else ""
        return "the bundle does NOT verify:\n" + "\n".join(f"- {each}" for each in found.faults[:_SHOWN]) + more
    said = "GO" if found.go else "NO-GO"
    lines = [f"the bundle verifies: evidence {found.hash} of {found.migration}, {said}"]
    lines += [f"left open: {each}" for each in found.open]
    lines += [f"not proven: {each}" for each in NOT_PROVEN]
    return "\n".join(lines)
