"""Settling of one batch: makes the follower agree with the authority, id by id. Rule 6 of the protocol."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from vectorferry.core.errors import LeaseLost, RetryableError, StoreError
from vectorferry.core.model import Phase, Rejection
from vectorferry.engine.session import Session
from vectorferry.engine.transfer.sender import put
from vectorferry.journal import Claim, Claimed
from vectorferry.stores.base import VectorStore
from vectorferry.stores.caller import Caller, permitted_by

MOST_IDS = 500
# A record that the follower refuses stays dirty; it is tried again, in case that it was written anew.
REFUSED_AGAIN_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Settled:
    """What one round came to: ids now clean, ids that were written meanwhile, and what the follower refuses to hold."""

    clean: int
    moved: int
    refused: tuple[Rejection, ...] = ()


@dataclass(frozen=True, slots=True)
class _Sides:
    authority: VectorStore
    follower: VectorStore
    caller: Caller
    forward: bool


def settle_batch(session: Session, cohort: str, *, most: int = MOST_IDS) -> Settled | None:
    """Settle up to `most` dirty ids on which nobody works; None where there are none now.

    Raises a store's error, leaving its ids dirty: they are not touched again before nothing that was sent can land.
    """
    asked = time.monotonic()
    claim = session.journal.claims.take(
        session.migration, cohort, most=most, lease=session.lease, deadline=session.deadline
    )
    if claim is None:
        return None
    sides = _sides(session, claim.phase)
    # What was acknowledged before the claim must be seen by the read: a store may answer with less for this long.
    time.sleep(sides.authority.capabilities.visibility_delay)
    rounds = list(_rounds(session, claim, sides, asked + session.lease))
    clean = sum(each.clean for each in rounds)
    refused = tuple(rejection for each in rounds for rejection in each.refused)
    return Settled(clean, len(claim.ids) - clean - len(refused), refused)


def _sides(session: Session, phase: Phase) -> _Sides:
    if phase.source_is_authority:
        return _Sides(session.source, session.target, session.target_caller, forward=True)
    return _Sides(session.target, session.source, session.source_caller, forward=False)


def _rounds(session: Session, claim: Claim, sides: _Sides, until: float) -> Iterator[Settled]:
    left = [list(ids) for _, ids in groupby(claim.ids, key=lambda each: each.namespace)]
    try:
        while left:
            yield _round(session, claim, sides, left.pop(0), until)
    finally:
        # After a failure: nothing was sent for these.
        session.journal.claims.release(claim, [each for ids in left for each in ids])


def _round(session: Session, claim: Claim, sides: _Sides, ids: Sequence[Claimed], until: float) -> Settled:
    claims = session.journal.claims
    began = time.monotonic()
    try:
        with permitted_by(lambda: _require_time(until)):
            kept, rejected = _copy(sides, ids)
    except StoreError as error:
        # Also where a retry was answered: the try before it may land after all, on top of what is written next.
        late = isinstance(error, RetryableError) or sides.caller.unanswered_since(began)
        claims.release(claim, ids, after=session.deadline if late else REFUSED_AGAIN_SECONDS)
        raise
    if sides.caller.unanswered_since(began):
        claims.release(claim, ids, after=session.deadline)
        return Settled(0, len(ids))
    refused = {item.id: item for item in rejected}
    excused = [each for each in ids if each.excused and (each.id in refused or each.id in kept)]
    stuck = [each for each in ids if each.id in refused and not each.excused]
    done = [each for each in ids if each not in excused and each not in stuck]
    claims.release(claim, stuck, after=REFUSED_AGAIN_SECONDS)
    clean = claims.settled(claim, done) + claims.settled(claim, excused, unexcused=False)
    return Settled(clean, len(done) + len(excused) - clean, tuple(refused[each.id] for each in stuck))


def _copy(sides: _Sides, ids: Sequence[Claimed]) -> tuple[frozenset[str], Sequence[Rejection]]:
    """Put what the authority has, delete what it has not; returns the ids left alone, and what the follower refuses."""
    namespace = ids[0].namespace
    batch = sides.authority.fetch(namespace, [each.id for each in ids])
    there = set(batch.column("id").to_pylist())
    # `again`: a mirrored write, or an earlier settler's, may have lost its client.
    rejected = put(sides.follower, batch, again=True).rejected if len(batch) else ()
    absent = [each for each in ids if each.id not in there]
    # On the way back, an excused record is in the old authority only because the new one cannot hold it.
    kept = frozenset(each.id for each in absent if each.excused and not sides.forward)
    if gone := [each.id for each in absent if each.id not in kept]:
        sides.follower.delete(namespace, gone)
    return kept, rejected


def _require_time(until: float) -> None:
    if time.monotonic() >= until:
        raise LeaseLost("the claim on these ids ran out: another settler may have them")
