"""Settling of one batch: makes the follower agree with the authority, id by id. Rule 6 of the protocol."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from vectorferry.core.errors import LeaseLost, RecordError, Refused, RetryableError, StoreError
from vectorferry.core.model import Phase, Rejection
from vectorferry.engine.session import Session
from vectorferry.engine.transfer.sender import put
from vectorferry.journal import Claim, Claimed
from vectorferry.stores.base import VectorStore
from vectorferry.stores.caller import Caller, permitted_by

MOST_IDS = 500
# A record that the follower rejects stays dirty; it is tried again, in case that the follower takes it by then.
REJECTED_AGAIN_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Settled:
    """What one round came to: ids now clean, ids that were written meanwhile, and what the follower rejects."""

    clean: int
    moved: int
    rejected: tuple[Rejection, ...] = ()


@dataclass(frozen=True, slots=True)
class Sides:
    """Who has the authority, and who follows; `caller` is the follower's, `forward` says that the source has the authority."""

    authority: VectorStore
    follower: VectorStore
    caller: Caller
    forward: bool


def settle_batch(session: Session, cohort: str, *, most: int = MOST_IDS) -> Settled | None:
    """Settle up to `most` dirty ids on which nobody works; None where there are none now.

    What a single record fails by is a rejection of that record. Raises any other error of a store, leaving its ids dirty: they are not
    touched again before nothing that was sent can land.
    """
    asked = time.monotonic()
    claim = session.journal.claims.take(
        session.migration, cohort, most=most, lease=session.lease, deadline=session.deadline
    )
    if claim is None:
        return None
    sides = sides_in(session, claim.phase)
    # What was acknowledged before the claim must be seen by the read: a store may answer with less for this long.
    time.sleep(sides.authority.capabilities.visibility_delay)
    rounds = list(_rounds(session, claim, sides, asked + session.lease))
    clean = sum(each.clean for each in rounds)
    rejected = tuple(rejection for each in rounds for rejection in each.rejected)
    return Settled(clean, len(claim.ids) - clean - len(rejected), rejected)


def sides_in(session: Session, phase: Phase) -> Sides:
    """Both sides in a phase."""
    if phase.source_is_authority:
        return Sides(session.source, session.target, session.target_caller, forward=True)
    return Sides(session.target, session.source, session.source_caller, forward=False)


def _rounds(session: Session, claim: Claim, sides: Sides, until: float) -> Iterator[Settled]:
    left = [list(ids) for _, ids in groupby(claim.ids, key=lambda each: each.namespace)]
    try:
        while left:
            ids = left.pop(0)
            done = _round(session, claim, sides, ids, until)
            if done is None:
                # One of them cannot be copied. Each half is a round of its own, so that what was settled meanwhile stays settled.
                left[:0] = [ids[: len(ids) // 2], ids[len(ids) // 2 :]]
            else:
                yield done
    finally:
        # After a failure: nothing was sent for these.
        session.journal.claims.release(claim, [each for ids in left for each in ids])


def _round(session: Session, claim: Claim, sides: Sides, ids: Sequence[Claimed], until: float) -> Settled | None:
    """Settle ids of one namespace; None where nothing is settled, and one of several makes it fail."""
    claims = session.journal.claims
    began = time.monotonic()
    try:
        with permitted_by(lambda: _require_time(until)):
            copied = _copy(sides, ids)
    except (RecordError, StoreError) as error:
        # Also where a retry was answered: the try before it may land after all, on top of what is written next.
        late = isinstance(error, RetryableError) or sides.caller.unanswered_since(began)
        if late or not isinstance(error, (RecordError, Refused)):
            claims.release(claim, ids, after=session.deadline if late else REJECTED_AGAIN_SECONDS)
            raise
        if len(ids) > 1:
            return None
        copied = _Copied({ids[0].id: Rejection(0, ids[0].namespace, ids[0].id, str(error))})
    if sides.caller.unanswered_since(began):
        claims.release(claim, ids, after=session.deadline)
        return Settled(0, len(ids))
    excused = [each for each in ids if each.excused and (each.id in copied.rejected or each.id in copied.kept)]
    stuck = [each for each in ids if each.id in copied.rejected and not each.excused]
    done = [each for each in ids if each not in excused and each not in stuck]
    reasons = [(each, f"{sides.follower.name}: {copied.rejected[each.id].reason}") for each in stuck]
    claims.reject(claim, reasons, after=REJECTED_AGAIN_SECONDS)
    clean = claims.settled(claim, done) + claims.settled(claim, excused, unexcused=False)
    return Settled(clean, len(done) + len(excused) - clean, tuple(copied.rejected[each.id] for each in stuck))


@dataclass(frozen=True, slots=True)
class _Copied:
    """What was not copied: what the follower rejects, by id, and the ids that were left alone."""

    rejected: Mapping[str, Rejection]
    kept: frozenset[str] = frozenset()


def _copy(sides: Sides, ids: Sequence[Claimed]) -> _Copied:
    """Put what the authority has, delete what it has not."""
    namespace = ids[0].namespace
    batch = sides.authority.fetch(namespace, [each.id for each in ids])
    there = set(batch.column("id").to_pylist())
    # `again`: a mirrored write, or an earlier settler's, may have lost its client.
    rejected = put(sides.follower, batch, again=True).rejected if len(batch) else ()
    reasons = {each.id: each for each in rejected}
    absent = [each for each in ids if each.id not in there]
    # On the way back, an excused record is in the old authority only because the new one rejects it.
    kept = frozenset(each.id for each in absent if each.excused and not sides.forward)
    # An excused record is not in the target. What the source has in its place is never deleted.
    stale = [each.id for each in ids if each.excused and each.id in reasons and sides.forward]
    if gone := [*(each.id for each in absent if each.id not in kept), *stale]:
        sides.follower.delete(namespace, gone)
    return _Copied(reasons, kept)


def _require_time(until: float) -> None:
    if time.monotonic() >= until:
        raise LeaseLost("the claim on these ids ran out: another settler may have them")
