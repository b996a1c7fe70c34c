"""Text of a proposed spec: YAML with a comment for whatever both databases said."""

import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from typing import Any

import yaml

from vectorferry.engine.plan.field_types import KeySeen
from vectorferry.engine.plan.proposal import ADOPT, EXCUSE, LEAVE_SPARSE, Proposal
from vectorferry.stores.base import Capabilities

_WIDTH = 118
_NAMESPACES, _KEYS = 20, 100


def spec_text(found: Proposal) -> str:
    """A whole spec, which `parse_spec` takes as it is."""
    parts = (
        _head(found),
        _source(found),
        _target(found),
        _writers(),
        _namespaces(found),
        _fields(found),
        _rules(found),
    )
    return "\n".join("\n".join(part) + "\n" for part in parts)


def _head(found: Proposal) -> Iterator[str]:
    yield from _comment(
        f"Proposed by `vectorferry init` on {date.today():%Y-%m-%d}, from what both databases said and a sample of {found.sampled:,} "
        "records. Change what you like: docs/spec.md has every key. Next: `vectorferry plan`."
    )
    if found.obstacles:
        yield "#"
        yield "# TO DECIDE, before `vectorferry plan` passes:"
        for each in found.obstacles:
            way = f"{each.what}; put `{each.way}` in force below" if each.way else each.what
            yield from _comment(way, first="#   - ", rest="#     ")
    for note in found.notes:
        yield from _comment(f"Note: {note}")
    yield f"migration: {_scalar(_name(found.source.collection))}"


def _source(found: Proposal) -> Iterator[str]:
    info = found.info
    unnamed = (
        f"vectors of {info.dimension} dimensions, compared by {info.metric}"
        if info.dimension
        else "no dense vector without a name"
    )
    sparse = ", sparse vectors" if info.sparse and found.reads.sparse else ""
    yield from _comment(f"{info.rows:,} records, {unnamed}{sparse}.")
    for name, each in info.named.items():
        length = f", {each.dimension} dimensions" if each.dimension else ""
        yield from _comment(
            f"vector {_shown(name)}: {each.kind}{length}, compared by {each.metric}", first="#   ", rest="#     "
        )
    yield "source:"
    yield f"  connection: {_scalar(found.source.connection.name)}"
    yield f"  collection: {_scalar(found.source.collection)}"
    if table := found.source.table:
        said = table.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        yield f"  table: {_flow(said)}    # all else is found in the catalog (docs/tables.md)"
    if _offered(found, LEAVE_SPARSE):
        yield "  # sparse: leave    # sparse vectors stay behind, and the evidence says so"


def _target(found: Proposal) -> Iterator[str]:
    there = found.target_rows is not None
    yield from _comment(
        f"It is there, with {found.target_rows:,} records." if there else "It is not there yet: the migration makes it."
    )
    yield "target:"
    yield f"  connection: {_scalar(found.target.connection.name)}"
    yield f"  collection: {_scalar(found.target.collection)}"
    if found.alias:
        yield f"  # alias: {_scalar(found.alias)}    # applications that ask for this name follow the cut-over"
    if found.index:
        yield f"  index: {_flow(dict(found.index))}    # as the source has it"
    if _offered(found, ADOPT):
        yield "  # adopt: true    # its records stay where the source has none of the same id"


def _writers() -> Iterator[str]:
    yield from _comment(
        "none: nobody writes the source until the cut-over. Where applications go on writing, {expected: N}, through N routers or more "
        "(docs/applications.md)."
    )
    yield "writers: none"
    yield from _comment(
        "PostgreSQL for the journal: AIRFLOW_CONN_VECTORFERRY_JOURNAL, unless `journal` names another connection."
    )
    yield "journal: vectorferry_journal"
    yield from _comment(
        "Where Parquet and reports go: a folder will do on one machine; several workers need object storage, as in "
        "{url: s3://bucket/staging, connection: staging_bucket}."
    )
    yield "staging: {url: staging}"


def _namespaces(found: Proposal) -> Iterator[str]:
    namespaces = found.info.namespaces
    yield from _comment(f"The source has {len(namespaces):,} namespaces, with so many records:")
    for name in sorted(namespaces, key=lambda each: (-namespaces[each], each))[:_NAMESPACES]:
        yield f"#   {_shown(name) or '(default)'}  {namespaces[name]:,}"
    if len(namespaces) > _NAMESPACES:
        yield f"#   and {len(namespaces) - _NAMESPACES:,} more"
    yield 'namespaces: {include: ["*"]}'
    if found.info.asleep:
        yield f"# namespaces: {_flow({'exclude': list(found.info.asleep)})}    # without those that sleep"


def _fields(found: Proposal) -> Iterator[str]:
    yield from _comment(
        f"Metadata keys of {found.sampled:,} records. A field has a type, and the target filters by it; keys that are no field are moved "
        "all the same."
    )
    fields = [each for each in found.keys if each.fits]
    yield "fields:" if fields else "fields: {}"
    for each in fields:
        yield f"  {_scalar(each.key)}: {each.fits}    # {_told(each)}"
    others = [each for each in found.keys if not each.fits]
    for each in others[:_KEYS]:
        yield from _comment(f"{_shown(each.key) or '(empty)'}: {each.why}: {_told(each)}", first="  # ", rest="  #   ")
    if len(others) > _KEYS:
        yield f"  # and {len(others) - _KEYS:,} keys more"


def _told(seen: KeySeen) -> str:
    kinds = dict(sorted(seen.kinds.items()))
    # One kind, and it is what the field is: no need to say so.
    told = "" if seen.fits and list(kinds) == [seen.fits.value] else f"{_listed(kinds)}; "
    nulls = "; a null counts as missing where one filters" if "null" in kinds else ""
    return f"{told}in {seen.share:.0%} of them, {seen.distinct:,} different{nulls}"


def _listed(kinds: Mapping[str, int]) -> str:
    return ", ".join(f"{kind} {count:,}" for kind, count in kinds.items())


def _rules(found: Proposal) -> Iterator[str]:
    yield from _comment(
        "Requests a second on each connection; without a number, a quarter of what its vendor publishes."
    )
    yield "budgets:"
    yield f"  source: {{quota_share: 0.25}}    # {_quota(found.reads)}"
    yield f"  target: {{quota_share: 0.25}}    # {_quota(found.writes)}"
    if found.source.connection.name == found.target.connection.name:
        yield "  # Both sides are on one connection, and share what it may send."
    if _offered(found, EXCUSE):
        yield "# limits: {unheld: excuse, excused: 1000}    # up to so many rows stay behind, each with its reason"
    yield "checks:"
    yield "  recall: {threshold: 0.95}    # `queries` adds real questions to those made of held-out records"
    yield "approval:"
    yield "  approvers: []    # user names; empty: everybody whom Airflow lets answer"


def _quota(able: Capabilities) -> str:
    if able.reads_per_second is None:
        return f"{able.product} publishes no quota: without requests_per_second there is no limit"
    return (
        f"{able.product} publishes {able.reads_per_second:g} reads and {able.writes_per_second or 0:g} writes a second"
    )


def _offered(found: Proposal, way: str) -> bool:
    return any(each.way == way for each in found.obstacles)


def _name(collection: str) -> str:
    name = re.sub("[^A-Za-z0-9_-]+", "_", collection).lower().strip("_-")[:63]
    return name if re.match("[a-z]", name) else f"move_{name}"[:63].rstrip("_-")


def _scalar(value: str) -> str:
    """A text as a value or key of YAML: bare where YAML reads it so, else in quotes with everything odd escaped."""
    if re.fullmatch("[A-Za-z][A-Za-z0-9_.-]*", value) and yaml.safe_load(value) == value:
        return value
    return yaml.safe_dump(value, default_style='"', width=10**9, allow_unicode=True).strip()


def _flow(value: dict[str, Any]) -> str:
    return yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10**9, allow_unicode=True).strip()


def _shown(text: str) -> str:
    return text if text.isprintable() else _scalar(text)


def _comment(text: str, *, first: str = "# ", rest: str = "# ") -> Iterable[str]:
    plain = "".join(c if c.isprintable() else " " for c in text)
    return textwrap.wrap(plain, _WIDTH, initial_indent=first, subsequent_indent=rest, break_on_hyphens=False)
