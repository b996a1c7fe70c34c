"""The judge: is there an order of all operations on a key that explains what every call answered, and what is there in the end?

It shares no code with the product. An operation takes effect at one moment between its call and its end: an acknowledged one certainly,
one whose outcome is unknown perhaps, until some time later; a refused one never. A read sees the key as it is at one moment, which
may lie before its call by as much as the store says that its reads lag. The search goes through the moments in which calls begin and
end, and keeps every state that the key may be in: Wing and Gong's check of linearizability, with the lazy choice of G. Lowe (2017).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

Value = tuple[int, int, str]
"""The number in the vector, the number in the metadata, the mark."""
State = Value | None
Key = tuple[str, str]
PRESENT: Value = (-2, -2, "")
"""What a search says of a record: that it is there."""


@dataclass(frozen=True, slots=True, eq=False)
class Write:
    """A call that changes a key. `sure`: acknowledged, so it took effect by `end`; else it may have, by then.

    `put`: the record that it leaves, None for a delete. `merge`: the fields that a partial update sets, instead. `only`: a delete by
    filter, of a record with this mark and no other.
    """

    name: str
    call: float
    end: float
    sure: bool
    put: State = None
    merge: tuple[int | None, int | None] | None = None
    only: str | None = None

    def applied(self, state: State) -> State:
        if self.only is not None:
            return None if state is not None and state[2] == self.only else state
        if self.merge is None:
            return self.put
        return state and (_or(self.merge[0], state[0]), _or(self.merge[1], state[1]), state[2])

    @property
    def numbers(self) -> set[int]:
        return {number for number in (*(self.put or ())[:2], *(self.merge or ())) if isinstance(number, int)}


@dataclass(frozen=True, slots=True, eq=False)
class Read:
    """What a call said of a key. `call` lies before the true one by as much as the store's reads lag. `last`: in the end, at rest."""

    name: str
    call: float
    end: float
    found: State
    last: bool = False

    def agrees(self, state: State) -> bool:
        return state is not None if self.found == PRESENT else state == self.found


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that no order of the operations explains."""

    kind: str
    key: Key
    text: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.key[0]}/{self.key[1]}: {self.text}"


@dataclass(frozen=True, slots=True)
class Told:
    """All that is known of one key; `refused` are the numbers of writes that were answered with 'not done'."""

    writes: Sequence[Write]
    reads: Sequence[Read]
    refused: frozenset[int] = frozenset()
    first: State = None


@dataclass(frozen=True, slots=True)
class _Case:
    """One way in which it may have gone until now: the key's state, the writes under way that took effect, the reads not yet met."""

    state: State
    done: frozenset[Write]
    unmet: frozenset[Read]

    def then(self, write: Write) -> "_Case":
        state = write.applied(self.state)
        return _Case(state, self.done | {write}, frozenset(read for read in self.unmet if not read.agrees(state)))


def judge(key: Key, told: Told) -> Finding | None:
    """The first read of a key that nothing explains, None where all of them are."""
    cases, under_way = {_Case(told.first, frozenset(), frozenset())}, set[Write]()
    for begins, event in _events(told):
        if begins and isinstance(event, Write):
            under_way.add(event)
        elif begins and isinstance(event, Read):
            cases = {case if event.agrees(case.state) else _unmet(case, event) for case in cases}
        elif isinstance(event, Write):
            cases = _written(cases, under_way, event)
            under_way.discard(event)
        else:
            cases = _least(_reached(cases, under_way, lambda case, read=event: read not in case.unmet))
            if not cases:
                return _finding(key, told, event)
    return None


def _events(told: Told) -> list[tuple[bool, Write | Read]]:
    """Calls and ends in the order of time; of one moment, calls first, which forbids least."""
    every = list(chain(told.writes, told.reads))
    marks = [(each.call, 0, n) for n, each in enumerate(every)] + [(each.end, 1, n) for n, each in enumerate(every)]
    return [(kind == 0, every[n]) for _, kind, n in sorted(marks)]


def _unmet(case: _Case, read: Read) -> _Case:
    return _Case(case.state, case.done, case.unmet | {read})


def _written(cases: set[_Case], under_way: set[Write], write: Write) -> set[_Case]:
    """After the end of a write: a sure one has taken effect in every case, another one in some."""
    took = _reached(cases, under_way, lambda case: write in case.done)
    every = took if write.sure else took | cases
    return _least({_Case(case.state, case.done - {write}, case.unmet) for case in every})


def _reached(cases: set[_Case], under_way: set[Write], wanted: Any) -> set[_Case]:
    """The cases that are as wanted, by as few writes under way as it takes."""
    reached, seen, left = set[_Case](), set(cases), list(cases)
    while left:
        case = left.pop()
        if wanted(case):
            reached.add(case)
            continue
        new = {case.then(write) for write in under_way - case.done} - seen
        seen |= new
        left += new
    return reached


def _least(cases: set[_Case]) -> set[_Case]:
    """Without cases that have more reads to meet than another one, and are the same otherwise."""
    alike: dict[tuple[State, frozenset[Write]], list[_Case]] = {}
    for case in sorted(cases, key=lambda case: len(case.unmet)):
        others = alike.setdefault((case.state, case.done), [])
        if not any(other.unmet <= case.unmet for other in others):
            others.append(case)
    return set(chain.from_iterable(alike.values()))


def divergences(one: Mapping[Key, Value], other: Mapping[Key, Value]) -> list[Finding]:
    """Keys that the two sides, at rest, do not hold alike."""
    return [
        Finding("divergence", key, f"the source holds {one.get(key)}, the target {other.get(key)}")
        for key in sorted(one.keys() | other.keys())
        if one.get(key) != other.get(key)
    ]


def judge_all(history: Mapping[Key, Told]) -> list[Finding]:
    """The findings of every key."""
    return [found for key, told in sorted(history.items()) if (found := judge(key, told)) is not None]


# --- What a finding is called


def _finding(key: Key, told: Told, read: Read) -> Finding:
    lately = sorted((w for w in told.writes if w.call <= read.end), key=lambda write: write.end)[-3:]
    wrote = "; ".join(f"{w.name} {_text(w)} {w.call:.3f}-{w.end:.3f}" for w in lately)
    text = f"{read.name} found {read.found} at {read.call:.3f}-{read.end:.3f}; the last writes: {wrote or 'none'}"
    return Finding(_kind(told, read), key, text)


def _text(write: Write) -> str:
    what = f"mark {write.only!r}" if write.only is not None else f"{write.merge or write.put}"
    return f"{what} ({'done' if write.sure else 'perhaps'})"


def _kind(told: Told, read: Read) -> str:
    numbers = set() if read.found in (None, PRESENT) else set(read.found[:2])  # type: ignore[index]
    if numbers & told.refused:
        return "effect of a refused write"
    if not numbers <= set(chain(*(write.numbers for write in told.writes), (told.first or ())[:2])):
        return "wrong value"
    before = [write for write in told.writes if write.sure and write.end <= read.call]
    newest = max(before, key=lambda write: write.end, default=None)
    if read.found is not None and newest is not None and newest.put is None and newest.merge is None:
        return "resurrected"
    if any(not write.sure and write.end <= read.call and numbers & write.numbers for write in told.writes):
        return "late effect of an unknown write"
    return "stale" if _seen_later(told.reads, read) else "lost"


def _seen_later(reads: Iterable[Read], read: Read) -> bool:
    """Whether a later read found something newer: then it was not lost, but answered too late."""
    return any(other.call > read.end and other.found != read.found and other.found is not None for other in reads)


def _or(new: int | None, old: int) -> int:
    return old if new is None else new
