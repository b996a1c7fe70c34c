"""The DAG's documentation, drawn from its spec."""

from collections.abc import Iterator
from datetime import timedelta

from vectorferry.orchestration.report_link import migration_link
from vectorferry.spec.limits import Budget
from vectorferry.spec.migration import MigrationSpec


def describe(spec: MigrationSpec) -> str:
    """Markdown for the DAG's page: what moves, what must be proved, who approves, how to operate it."""
    return "\n".join([*_head(spec), *_page(spec), "", *_table(spec), "", *_operation(spec)])


def _head(spec: MigrationSpec) -> Iterator[str]:
    yield f"# {spec.migration}"
    if spec.description:
        yield ""
        yield spec.description


def _page(spec: MigrationSpec) -> Iterator[str]:
    if page := migration_link(spec):
        yield ""
        yield f"[Where it stands]({page}): phases, partitions, evidence, latency and audit on one page."


def _table(spec: MigrationSpec) -> Iterator[str]:
    yield "| | |"
    yield "|---|---|"
    yield from (f"| {name} | {value} |" for name, value in _rows(spec))


def _rows(spec: MigrationSpec) -> Iterator[tuple[str, str]]:
    recall, rules, target = spec.checks.recall, spec.approval, spec.target
    alias = f", then alias `{target.alias}`" if target.alias else ""
    queries = f"`{recall.queries}`" if recall.queries else f"{recall.sample} held-out records a namespace"
    yield "From", f"`{spec.source.collection}` at connection `{spec.source.connection}`"
    yield "To", f"`{target.collection}` at connection `{target.connection}`{alias}"
    yield "Namespaces", _namespaces(spec)
    yield "Typed fields", ", ".join(f"`{name}` ({kind})" for name, kind in spec.fields.items()) or "none"
    if mapped := _mapped(spec):
        yield "In the target", mapped
    cut = f"about {spec.partitions.rows:,} rows each" if spec.partitions.rows else "sized in preflight"
    yield "Partitions", f"{cut}, {spec.partitions.parallel} at a time"
    yield "Budgets", f"source {_budget(spec.budgets.source)}; target {_budget(spec.budgets.target)}"
    yield "Content", f"{spec.checks.content_sample:.0%} of the rows read back and compared"
    yield "Recall", f"recall@{recall.k} of at least {recall.threshold} in every namespace, by {queries}"
    if spec.routers:
        pause = f"a write pause of at most {spec.switch.hold.total_seconds():g} s at the cut-over"
        yield "Writers", f"go on through at least {spec.routers} routers; {pause}"
    yield "Excused rows", f"at most {spec.limits.excused:,}"
    yield "Approvers", _approvers(spec)
    yield (
        "Question",
        f"waits {_hours(rules.timeout)}, with {rules.reminders} reminders; evidence lapses after {_hours(rules.evidence_age)}",
    )
    yield "Staging", f"`{spec.staging.url}`"


def _mapped(spec: MigrationSpec) -> str:
    """What the target calls otherwise, and what stays behind; empty where nothing is."""
    rules = spec.mapping
    names = {**rules.rename, **rules.vectors, **rules.namespaces.rename}
    told = [f"`{old or '(default)'}` is `{new or '(default)'}`" for old, new in names.items()]
    told += [f"`{key}` is cast to {each.to}" for key, each in rules.cast.items()]
    if (into := rules.namespaces.merged()) is not None:
        told.append(f"all namespaces lie in `{into.into or '(default)'}`, under `{into.key}`")
    return "; ".join([*told, *(f"`{key}` stays behind" for key in rules.drop)])


def _namespaces(spec: MigrationSpec) -> str:
    included = spec.namespaces.include
    chosen = "all" if included == ["*"] else ", ".join(f"`{pattern or '(default)'}`" for pattern in included)
    without = ", ".join(f"`{pattern or '(default)'}`" for pattern in spec.namespaces.exclude)
    return f"{chosen} without {without}" if without else chosen


def _budget(budget: Budget) -> str:
    if budget.requests_per_second is not None:
        return f"{budget.requests_per_second:g} requests/s"
    return f"{budget.quota_share:.0%} of the vendor's published quota"


def _hours(span: timedelta) -> str:
    return f"{span.total_seconds() / 3600:.3g} h"


def _approvers(spec: MigrationSpec) -> str:
    people = [*spec.approval.approvers, *(f"whoever has the role {role}" for role in spec.approval.roles)]
    names = ", ".join(people) or "everybody whom Airflow lets answer"
    return f"{names}, but not who triggered the run" if spec.approval.four_eyes else names


def _operation(spec: MigrationSpec) -> Iterator[str]:
    name = spec.migration
    yield "## How to operate it"
    yield "- **Trigger** it as it is for the whole migration. *Dry run* only looks, and prints rows, hours and money."
    yield "- **A partition failed**: read its log, then clear that task with its downstream tasks. The others are not repeated."
    yield "- **No question came**: the log of `evidence` lists what stands against a cut-over."
    yield "- **The question** waits under *Required actions* of `approve_cutover`. Give a reason. Rejected, nothing has changed."
    yield "- **Only an approval in the journal cuts over**: marking `approve_cutover` as successful makes `switch` refuse."
    yield "- **A new run** goes on from what is loaded, and repeats the checks. Clearing an `upsert` that is done writes nothing."
    if spec.routers:
        yield f"- **Routers**: `{name}.operate` lists them; `await_routers` waits for all that are expected."
        yield f"- **Unpause `{name}.settle`**, and leave it on: it settles what they write."
        yield f"- **Undo the cut-over**: `{name}.rollback`. The source has every write that the target took."
    yield f"- **Give up**: `{name}.operate`, verb abandon, removes what an unfinished migration left. Owner: {spec.owner}."
