"""Sampled records: keys, sizes and kinds of values of some of the source, and what the target rejects of them."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from vectorferry.core.errors import RecordError
from vectorferry.core.model import CollectionInfo, Rejection
from vectorferry.engine.plan.field_types import KeySample, KeySeen, fitted
from vectorferry.engine.plan.mapped_keys import MappedKey, mapped_keys
from vectorferry.engine.plan.source_sample import sampled
from vectorferry.engine.plan.target_definition import target_definition
from vectorferry.engine.session import Session, StepProgress
from vectorferry.engine.transfer.metadata_profile import Profile
from vectorferry.stores.as_moved import left_behind
from vectorferry.stores.base import VectorStore
from vectorferry.stores.batching import payload_bytes
from vectorferry.stores.row_limits import NO_SPARSE

_QUOTED = re.compile("'[^']*'")
_EXCUSE = "set `limits.unheld: excuse` to leave such rows behind"


@dataclass
class Sample:
    """What was seen; `sizes` maps namespaces to the mean size of their records, weighted by their rows in `row_bytes`."""

    profile: Profile = field(default_factory=Profile)
    keys: KeySample = field(default_factory=KeySample)
    problems: list[str] = field(default_factory=list)
    sizes: dict[str, tuple[int, float]] = field(default_factory=dict)

    @property
    def row_bytes(self) -> float | None:
        """Mean size of a record of the source; None where none was seen."""
        rows = sum(rows for rows, _ in self.sizes.values())
        return sum(rows * mean for rows, mean in self.sizes.values()) / rows if rows else None


def sample_of(session: Session, namespaces: Mapping[str, int]) -> Sample:
    """Look at some records of each namespace, and ask the target whether it takes them."""
    found = Sample()
    rejected: list[Rejection] = []
    for namespace, batch in sampled(session.source, tuple(namespaces)):
        if isinstance(batch, RecordError):
            found.problems.append(f"source {session.source.name}: {batch}")
            continue
        metadata = batch.column("metadata").to_pylist()
        found.profile.see(metadata)
        found.keys.see(metadata)
        if len(batch):
            found.sizes[namespace] = namespaces[namespace], float(payload_bytes(batch).mean())
        rejected += session.target.rejections(batch)
        session.report(StepProgress("preflight", namespace, found.profile.rows, unit="rows looked at"))
    if session.spec.limits.unheld == "refuse":
        found.problems += _rejected(session, rejected, found.profile.rows)
    return found


def _rejected(session: Session, rejections: Sequence[Rejection], looked_at: int) -> Iterator[str]:
    """One line for each reason, with its count and its first places."""
    for told, reason, rows in rejected_lines(session.target, rejections, looked_at):
        yield f"{told}; {_advice(session, reason, every=rows == looked_at > 1)}"


def rejected_lines(
    target: VectorStore, rejections: Sequence[Rejection], looked_at: int
) -> Iterator[tuple[str, str, int]]:
    """A sentence for each reason for which the target rejects rows of a sample, with the reason and how many they are."""
    by_reason: dict[str, list[Rejection]] = {}
    for rejection in rejections:
        by_reason.setdefault(_QUOTED.sub("'…'", rejection.reason), []).append(rejection)
    for found in by_reason.values():
        places = ", ".join(f"{each.namespace or '(default)'}/{each.id}" for each in found[:3])
        more = f" and {len(found) - 3} more" if len(found) > 3 else ""
        reason, rows = found[0].reason, len(found)
        yield f"{target.name} rejects {places}{more}: {reason} ({rows} of {looked_at} looked at)", reason, rows


def _advice(session: Session, reason: str, *, every: bool) -> str:
    """The way on; `every` record that was looked at is rejected for this reason."""
    ways = ["name another target, for none would be left" if every else _EXCUSE]
    if reason == NO_SPARSE:
        ways = ["name a target that holds sparse vectors", *([] if every else ways)]
        if session.spec.routers:
            ways.append("move without writers, which allows `source.sparse: leave`")
        else:
            ways.append("set `source.sparse: leave` to move dense vectors and metadata, and have the evidence say so")
    return ", or ".join(ways)


def seen_keys(session: Session, source: CollectionInfo, seen: Sample) -> tuple[KeySeen, ...]:
    """The keys of the metadata that was seen, and which type of field fits each."""
    found = seen.keys.keys(integers=session.source.capabilities.integers_beyond_53_bits)
    return fitted(found, session.target, target_definition(session, source))


def keys_in_target(session: Session, keys: Sequence[KeySeen], rows: int) -> tuple[MappedKey, ...]:
    """The same in the target's terms, and those that stay behind."""
    left = left_behind(session.source)
    dropped = {key: count / rows for key, count in left.keys.items()} if left and rows else {}
    return mapped_keys(session.spec, session.target.capabilities, keys, dropped)
