"""Capacity forecast: how full the target will be after the load, from a measurement and a projection."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from vectorferry.core.capacity import Fill, Seen
from vectorferry.core.errors import TerminalError
from vectorferry.core.model import CollectionDefinition, CollectionInfo, Footprint, Side
from vectorferry.engine.capacity import measure
from vectorferry.engine.session import Session, reaching


@dataclass(frozen=True, slots=True)
class Outlook:
    """How full both sides are, what people should know of it, and what stands in the way."""

    fills: tuple[Fill, ...]
    warnings: tuple[str, ...]
    problems: tuple[str, ...]


def outlook(session: Session, source: CollectionInfo, rows: int, row_bytes: float | None) -> Outlook:
    """Both sides now, and the target with `rows` more records of `row_bytes` each (None where none was sampled).

    What a record takes is the target store's stated rule (`footprint`): a projection, which is refused above a limit and warned of above
    `capacity.warn`. Where nothing tells what is used, the projection is judged alone; where nothing tells a limit, nothing is judged.
    """
    from_here, there = _source(session), _reached(session, "target")
    taken = _footprint(session, source, row_bytes)
    added = {"memory": _times(rows, taken.memory), "disk": _times(rows, taken.disk), "rows": rows}
    fills = tuple(replace(fill, added=added[fill.what]) for fill in there.fills)
    return Outlook(
        tuple(fill for fill in (*from_here.fills, *fills) if _tells(fill)),
        tuple(_warnings(session, from_here, fills)),
        tuple(_problems(there, fills)),
    )


def _source(session: Session) -> Seen:
    try:
        return _reached(session, "source")
    except TerminalError as error:
        # A login that may only read records is enough for a source.
        return Seen("source", session.source.name, problem=str(error))


def _reached(session: Session, side: Side) -> Seen:
    with reaching(side, getattr(session.spec, side).connection):
        return measure(session, side)


def _footprint(session: Session, source: CollectionInfo, row_bytes: float | None) -> Footprint:
    if row_bytes is None or (source.dimension is None and not source.named):
        return Footprint(None, None)
    return session.target.footprint(
        CollectionDefinition(source.dimension, source.metric, named=source.named), row_bytes
    )


def _times(rows: int, each: float | None) -> int | None:
    return None if each is None else round(rows * each)


def _tells(fill: Fill) -> bool:
    known = fill.used is not None or fill.added is not None
    return fill.limit is not None or (known and fill.what != "rows")


def _warnings(session: Session, source: Seen, target: tuple[Fill, ...]) -> Iterator[str]:
    if source.problem:
        yield f"the source's capacity cannot be measured: {source.problem}"
    for fill in (*source.fills, *target):
        if fill.share > session.spec.capacity.warn:
            yield f"{fill} is more than capacity.warn, {session.spec.capacity.warn:.0%}"
        if fill.limit is not None and fill.used is None:
            yield f"capacity.{fill.side}.{fill.what} cannot be watched: the database does not tell what it uses of it (docs/checks.md)"


def _problems(target: Seen, fills: tuple[Fill, ...]) -> Iterator[str]:
    if target.read_only:
        yield f"target {target.store} is read-only, as a database whose disk is full"
    for fill in fills:
        if fill.share > 1:
            yield f"{fill} is more than there is: make room, move less, or raise capacity.{fill.side}.{fill.what}"
