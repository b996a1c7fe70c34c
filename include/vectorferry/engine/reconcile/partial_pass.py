"""Partial pass: reads what routers wrote since the last reconciliation, and the next records of each side in turn."""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from vectorferry.core.equality import Equality
from vectorferry.core.model import SIDES, Side
from vectorferry.engine.diff.row_diff import aligned, row_differences
from vectorferry.engine.reconcile.drift import Drift, read_drift
from vectorferry.engine.reconcile.fingerprint_spill import scan_after
from vectorferry.engine.reconcile.preconditions import Pair
from vectorferry.engine.reconcile.run_state import ReconciliationRun, folder_of
from vectorferry.engine.reconcile.suspects import keep_suspects, table_of
from vectorferry.engine.session import StepProgress
from vectorferry.engine.sync.touched_check import differing, pages
from vectorferry.journal import ENDED, Outcome, Scope

_PAGE = 1_000
Place = tuple[str, str | None]
"""A namespace, and the id after which reading goes on in it."""


def read_share(reading: ReconciliationRun, pair: Pair, share: float) -> bool:
    """Find suspects among the touched records and the next `share` of each side; False where a ceiling was reached before."""
    counts = reading.get("counts", {})
    if reading.get("places") is None:
        # Kept first: a share that reads nothing, because nothing changed or it paused before, hands them on.
        reading.keep(places=_places_reached(reading))
    _take_over_unrepaired(reading)
    steps: dict[str, Callable[[], bool]] = {"touched": partial(_touched, reading)}
    steps |= {side: partial(_walk, reading, pair, side, share) for side in SIDES}
    # First what is behind: where every run ends at its ceiling, the rest would never be read.
    return all(steps[name]() for name in sorted(steps, key=lambda name: counts.get(name, 0)))


def _places_reached(reading: ReconciliationRun) -> dict[str, Place]:
    """Where the last share of each side ended, by side; of a share that came to no end nothing is known to be equal."""
    last = reading.session.journal.reconciliations.latest(
        reading.run.migration, *ENDED, Outcome.PAUSED, scope=Scope.SHARE
    )
    return {} if last is None else last.state.get("places", {})


def _take_over_unrepaired(reading: ReconciliationRun) -> None:
    """Have looked at again what was found last and not repaired: what this share reads lies elsewhere, and would be equal."""
    if reading.get("taken_over") is not None:
        return
    runs = reading.session.journal.reconciliations
    migration = reading.run.migration
    found = (runs.latest(migration, *ENDED), runs.latest(migration, Outcome.PAUSED, scope=Scope.SHARE))
    last = max((run for run in found if run is not None), key=lambda run: run.id, default=None)
    drift: Sequence[Drift] = ()
    if last is not None and last.outcome is not Outcome.REPAIRED and last.figures and last.figures["repairs"]:
        drift = read_drift(folder_of(reading.session, last.id))
    keys = [key for each in drift for key in each.keys]
    names, ids = zip(*keys, strict=True) if keys else ((), ())
    found_now = keep_suspects(reading, reading.get("steps", 0), table_of(names, ids))
    reading.keep(**found_now, taken_over=len(keys), steps=reading.get("steps", 0) + 1)


def _touched(reading: ReconciliationRun) -> bool:
    """Compare what was written since the last reconciliation; goes on after the last page that was kept."""
    session = reading.session
    after = reading.get("touched_after")
    if after == "end":
        return True
    rows = session.journal.records.touched(
        session.migration, reading.get("since"), after=tuple(after) if after else None
    )
    for namespace, page in pages(rows):
        if reading.exhausted():
            return False
        ids = [row.id for row in page]
        found = dict.fromkeys(each.id for each in differing(session, namespace, ids))
        _note(reading, namespace, list(found), touched_after=(namespace, ids[-1]), touched=len(ids))
    reading.keep(touched_after="end")
    return True


def _walk(reading: ReconciliationRun, pair: Pair, side: Side, share: float) -> bool:
    """Look the next records of a side up on the other one, from where the last share ended."""
    if side in reading.get("walked", []):
        return True
    info = pair.source if side == "source" else pair.target
    wanted = math.ceil(info.rows * share)
    places = reading.get("places")
    seen = reading.get("counts", {}).get(side, 0) - reading.get("base", {}).get(side, 0)
    for place, ids, found in _pages(reading, pair, side, places.get(side)):
        if seen >= wanted:
            break
        places = {**places, side: place}
        seen += len(ids)
        _note(reading, place[0], found, places=places, **{side: len(ids)})
        reading.session.report(StepProgress("reconcile", side, seen, wanted))
        if reading.exhausted():
            return False
    reading.keep(walked=[*reading.get("walked", []), side])
    return True


def _pages(
    reading: ReconciliationRun, pair: Pair, side: Side, place: Place | None
) -> Iterator[tuple[Place, Sequence[str], Sequence[str]]]:
    """Each page of a side: where it ends, its ids, and those of them that the other side has not, or has otherwise.

    Goes round once, from a place on: the namespaces after it, those before it, and what comes before it in its own.
    """
    equality = Equality.between(*(reading.session.store(each).capabilities for each in SIDES))
    for namespace, last in _round(pair.namespaces, place):
        for batch in scan_after(reading.session.store(side), namespace, last, _PAGE):
            ids = batch.column("id").to_pylist()
            if not ids:
                continue
            other = reading.session.store("target" if side == "source" else "source").fetch(namespace, ids)
            there, found, missing = aligned(batch, other)
            differ = dict.fromkeys(each.id for each in row_differences(there, found, equality))
            yield (namespace, ids[-1]), ids, [*missing, *differ]


def _round(namespaces: Sequence[str], place: Place | None) -> Iterator[Place]:
    if place is None:
        yield from ((name, None) for name in namespaces)
        return
    name, last = place
    if name in namespaces:
        yield name, last
    yield from ((each, None) for each in namespaces if each.encode() > name.encode())
    yield from ((each, None) for each in namespaces if each.encode() <= name.encode())


def _note(reading: ReconciliationRun, namespace: str, suspects: Sequence[str], **done: object) -> None:
    """Keep suspects first, then how far it is: a page that is read again replaces what it found before."""
    counts = Counter(reading.get("counts", {}))
    counts.update({name: value for name, value in done.items() if isinstance(value, int)})
    number = reading.get("steps", 0)
    found = keep_suspects(reading, number, table_of([namespace] * len(suspects), suspects))
    counts.update(suspects=len(suspects))
    kept = {name: value for name, value in done.items() if not isinstance(value, int)}
    reading.keep(**kept, **found, counts=dict(counts), steps=number + 1)
