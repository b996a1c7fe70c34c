"""What the command line shows: tables and progress for people, one JSON document for machines."""

import getpass
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, astuple, is_dataclass
from typing import TYPE_CHECKING, Any

import orjson
from rich.console import Console as Rich
from rich.markdown import Markdown
from rich.table import Table

from vectorferry.cli.progress import Live

if TYPE_CHECKING:
    from vectorferry.core.capacity import Fill
    from vectorferry.engine.pipeline import (
        Comparison,
        Cost,
        Decision,
        Leftovers,
        Preflight,
        Removal,
        RunOutcome,
        Status,
        Use,
    )
    from vectorferry.engine.session import Session, StepProgress
    from vectorferry.journal import Evidence, Member, Plan


class Console:
    """Shows results on standard output and progress on standard error, so that the former can be piped."""

    def __init__(self, *, json: bool = False) -> None:
        self._json = json
        self._out = Rich(file=sys.stdout, highlight=False)
        self._err = Rich(file=sys.stderr, highlight=False)
        self._live = Live(self._err)

    def report(self, progress: "StepProgress") -> None:
        """Show progress."""
        self._live.show(progress)

    def result(self, value: Any, text: str) -> None:
        """Print a result: `value` for machines, `text` for people."""
        self._live.close()
        if self._json:
            sys.stdout.write(orjson.dumps(value, default=_plain).decode() + "\n")
        else:
            self._out.print(text, markup=False)

    def _table(self, title: str, columns: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
        self._live.close()
        if self._json:
            return
        table = Table(*columns, title=title, title_justify="left")
        for row in rows:
            table.add_row(*(str(cell) for cell in row))
        self._out.print(table)

    def preflight(self, found: "Preflight", plan: "Plan | None" = None) -> None:
        """Show what a migration would move and cost."""
        value = {"rows": found.rows, "namespaces": dict(found.namespaces), "profile": found.profile}
        value |= {
            "proposed_fields": dict(found.proposed),
            "full_pass": asdict(found.pass_cost),
            "load": asdict(found.load_cost),
        }
        value |= {
            "shortest_hold": found.shortest_hold,
            "capacity": [asdict(fill) for fill in found.capacity],
            "warnings": found.warnings,
            "plan": plan.id if plan else None,
            "partitions": len(plan.partitions) if plan else None,
        }
        self._table("Namespaces", ("namespace", "rows"), ((n or "(default)", r) for n, r in found.namespaces.items()))
        costs = (("one pass over the source", found.pass_cost), ("the load", found.load_cost))
        self._table("Cost", ("of", "requests", "hours", "read units", "US$"), (_cost(n, c) for n, c in costs))
        if found.capacity:
            columns = ("of", "used", "projected to come", "limit", "share")
            self._table("Capacity", columns, (_fill(fill) for fill in found.capacity))
        self._table("Metadata keys of a sample", ("key", "types", "share", "values"), _keys(found.profile))
        proposed = ", ".join(f"{name}: {kind}" for name, kind in found.proposed.items()) or "none"
        lines = [f"{found.rows} rows. Fields worth declaring: {proposed}", *(f"warning: {w}" for w in found.warnings)]
        if found.shortest_hold is not None:
            lines.append(f"Shortest possible hold of writes: {found.shortest_hold:g} s")
        if plan:
            lines.append(f"Plan {plan.id}: {len(plan.partitions)} partitions")
        self.result(value, "\n".join(lines))

    def ask_approval(self, session: "Session", evidence: "Evidence") -> bool:
        """Put the question on the terminal and keep the answer; where the spec does not allow that, say how to go on."""
        from vectorferry.engine import pipeline
        from vectorferry.questions.cutover import question

        self._live.close()
        asked = question(session, evidence)
        if not self._json:
            self._out.print(Markdown(asked.body))
        if not session.spec.approval.terminal:
            self._live.note(
                "the spec does not allow an approval on a terminal: trigger the DAG and approve in the Airflow UI"
            )
            return False
        try:
            decision = self._decision()
            reason = self._err.input("reason: ")
        except EOFError:
            self._live.note("no answer came and none was kept: run the command again to be asked again")
            return False
        pipeline.record_answer(
            session, evidence.hash, decision, person=getpass.getuser(), reason=reason, via="terminal"
        )
        return decision == "approve"

    def _decision(self) -> "Decision":
        """One of the two words: a slip of the keyboard is no rejection, which would stand."""
        words: dict[str, Decision] = {"approve": "approve", "reject": "reject"}
        while (answer := self._err.input("approve or reject? ").strip().lower()) not in words:
            pass
        return words[answer]

    def outcome(self, session: "Session", outcome: "RunOutcome") -> None:
        """Show how a run ended and where its files lie."""
        folder = session.staging.locate(outcome.plan.id)
        value: dict[str, Any] = {"plan": outcome.plan.id, "evidence": outcome.evidence.hash, "files": folder}
        if outcome.switched is None:
            self.result(
                value | {"phase": "TRACK_A"},
                f"not approved: nothing has changed, the source has the authority. Files: {folder}",
            )
            return
        value |= {"phase": str(outcome.switched.phase), "approved_by": outcome.switched.approved_by}
        value |= {"hold_seconds": round(outcome.switched.hold_seconds, 3)} if session.spec.routers else {}
        self.result(value, f"cut over: phase {outcome.switched.phase}, the target has the authority. Files: {folder}")

    def status(self, found: "Status", *, again: bool = False) -> None:
        """Show where a migration stands; `again` in the place of what was shown before, on a terminal."""
        if again and not self._json:
            self._out.clear()
        self._table(f"Migration {found.migration}", ("cohort", "phase", "epoch"), found.phases)
        if found.members:
            self._table("Routers", MEMBER_COLUMNS, found.members)
        if found.live:
            columns = (
                "cohort",
                "dirty",
                "rejected",
                "writes open",
                "oldest open (s)",
                "left of the hold (s)",
                "last hold (s)",
            )
            rows = (("-" if value is None else value for value in astuple(each)) for each in found.live)
            self._table("Live writes", columns, rows)
        steps = ((s.step, f"{s.done}/{s.partitions}", s.running, s.rows, s.excused) for s in found.steps)
        self._table("Partitions", ("step", "done", "running", "rows", "excused"), steps)
        self._table("Verdicts", ("check", "passed", "all"), found.verdicts)
        if found.reconciliations:
            runs = ((f"{began:%Y-%m-%d %H:%M}", *rest) for began, *rest in found.reconciliations)
            self._table("Reconciliations", ("began", "scope", "outcome", "records read", "drifted"), runs)
        self._table(
            "Audit",
            ("at", "who", "what", "detail"),
            ((f"{a:%Y-%m-%d %H:%M:%S}", w, x, d) for a, w, x, d in found.audit),
        )
        for title, lines in (("In the way of the next step", found.in_the_way), ("Alerts", found.alerts)):
            if lines:
                self._table(title, ("",), ((line,) for line in lines))
        answers = "; ".join(f"{d} by {w}: {r}" for d, w, r in found.approvals) or "none"
        signable = "can be signed" if found.approvable else "cannot be signed"
        evidence = (
            f"Evidence {found.evidence[:12]} ({signable}); answers: {answers}" if found.evidence else "No evidence yet."
        )
        self.result(found, evidence if found.phases else f"migration {found.migration} was never begun")

    def members(self, found: "Sequence[Member]") -> None:
        """Show the routers of a migration."""
        from vectorferry.engine import pipeline

        rows = [pipeline.member_row(member) for member in found]
        self._table("Routers", MEMBER_COLUMNS, rows)
        names = ("id", "host", "phase", "draining", "lease_left")
        self.result([dict(zip(names, row, strict=True)) for row in rows], f"{len(found)} routers")

    def observed(self, uses: "Sequence[Use]") -> None:
        """Show what applications ask, and what of it the target cannot serve."""
        rows = [(use.kind, use.name or "(default)", use.count, use.problem or "yes") for use in uses]
        self._table("Observed", ("what", "which", "times", "served"), rows)
        self.result(uses, f"{len(uses)} uses, {sum(bool(use.problem) for use in uses)} of them cannot be served")

    def comparison(self, found: "Comparison") -> None:
        """Show whether both sides hold the same records."""
        text = f"source {found.rows_source} rows, target {found.rows_target} rows: "
        text += (
            "equal" if found.equal else f"{found.total} differences\n" + "\n".join(f"  {d}" for d in found.differences)
        )
        self.result(found, text)

    def leftovers(self, found: "Leftovers") -> None:
        """Show what an unfinished migration left."""
        rows = [(name, value) for name, value in asdict(found).items() if value]
        self._table("Left behind", ("what", "where"), rows)

    def removals(self, found: "Sequence[Removal]") -> None:
        """Show what retention does not keep."""
        self._table("No longer kept", ("what", "why"), ((each.path, each.why) for each in found))


MEMBER_COLUMNS = ("id", "host", "phase", "draining", "lease left (s)")


def _cost(name: str, cost: "Cost") -> tuple[object, ...]:
    return name, cost.requests, f"{cost.hours:.2f}", f"{cost.read_units:.0f}", f"{cost.dollars:.2f}"


def _fill(fill: "Fill") -> tuple[object, ...]:
    values = ("-" if value is None else fill.amount(value) for value in (fill.used, fill.added, fill.limit))
    return fill.name, *values, f"{fill.share:.0%}" if fill.limit else "-"


def _keys(profile: Any) -> Iterable[tuple[object, ...]]:
    for key, seen in profile["fields"].items():
        kinds = ", ".join(f"{kind} {count}" for kind, count in seen["kinds"].items())
        yield key, kinds, f"{seen['share']:.0%}", f"{seen['distinct']}{'+' if seen['distinct_capped'] else ''}"


def _plain(value: Any) -> Any:
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else dict(value)
