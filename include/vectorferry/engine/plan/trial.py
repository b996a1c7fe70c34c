"""Trial: what only trying tells, in small: whether staging is writable, and whether a side takes a probe and gives it back."""

from collections.abc import Iterator

from vectorferry.core.errors import StagingRefused, TerminalError
from vectorferry.core.model import CollectionInfo
from vectorferry.engine.probe.same_place import shows
from vectorferry.engine.probe.trial import refusal
from vectorferry.engine.session import Session, reaching


def staging_problems(session: Session) -> Iterator[str]:
    """Staging that cannot be written to."""
    try:
        session.staging.try_out()
    except StagingRefused as error:
        connection = session.spec.staging.connection
        hint = (
            f"check the connection {connection!r}"
            if connection
            else "name a connection with a key as `staging.connection`"
            if "://" in session.spec.staging.url
            else "correct `staging.url`"
        )
        yield f"staging {error}; {hint}"


def probe_problems(session: Session, source: CollectionInfo, target: CollectionInfo | None) -> Iterator[str]:
    """What only writing tells: a probe in the source where routers need it, and in a target that is there and is another one."""
    if target is not None and _is_source(session, target):
        yield (
            f"target {session.target.name} is the source itself, by another name or connection: what is moved would be moved onto itself. "
            "Name a collection of its own"
        )
        return
    sides = [("source", session.source, session.spec.source.connection, source)] if session.spec.routers else []
    if target is not None:
        sides.append(("target", session.target, session.spec.target.connection, target))
    for side, store, connection, there in sides:
        with reaching(side, connection):
            reason = refusal(store, there, search=side == "target")
        if reason:
            needed = "routers write to both sides" if side == "source" else "it is to be loaded"
            yield f"{side} {store.name}: {reason}, and {needed}; see to the rights of the connection {connection!r}"


def _is_source(session: Session, target: CollectionInfo) -> bool:
    """Whether both sides are one collection, which names and connections do not tell: a server has several, and aliases."""
    if session.source.capabilities.product != session.target.capabilities.product:
        return False
    try:
        return shows(session.target, target, session.source)
    except TerminalError:
        return False  # it takes no probe, which is told by itself
