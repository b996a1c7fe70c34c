"""The judge finds each kind of loss that is planted, and nothing in histories that are right."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from soak.gathering import at_the_end, gather
from soak.history import PRESENT, Read, State, Told, Value, Write, divergences, judge
from soak.logbook import Logbook, lines_of
from soak.values import WRONG, metadata_of, number_of, value_of, vector_of

KEY = ("ns", "k")


def v(number: int, mark: str = "") -> Value:
    return (number, number, mark)


def put(number: int, call: float, end: float, *, sure: bool = True) -> Write:
    return Write(f"put {number}", call, end, sure, put=v(number))


def delete(call: float, end: float, *, sure: bool = True) -> Write:
    return Write("delete", call, end, sure)


def read(found: State, call: float, end: float, *, last: bool = False) -> Read:
    return Read("read", call, end, found, last=last)


def kind(writes: list[Write], reads: list[Read], refused: frozenset[int] = frozenset(), first: State = None) -> str:
    finding = judge(KEY, Told(writes, reads, refused, first))
    return finding.kind if finding else ""


PLANTED = {
    "lost": ([put(1, 0, 1)], [read(None, 2, 3, last=True)]),
    "stale": ([put(1, 0, 1), put(2, 2, 3)], [read(v(1), 4, 5), read(v(2), 6, 7)]),
    "resurrected": ([put(1, 0, 1), delete(2, 3)], [read(v(1), 4, 5)]),
    "wrong value": ([put(1, 0, 1)], [read(v(9), 2, 3)]),
}


@pytest.mark.parametrize("expected", PLANTED)
def test_a_planted_fault_is_found(expected: str) -> None:
    assert kind(*PLANTED[expected]) == expected


def test_the_effect_of_a_refused_write_is_found() -> None:
    assert kind([put(1, 0, 1)], [read(v(2), 4, 5)], frozenset({2})) == "effect of a refused write"
    assert kind([put(1, 0, 1)], [read(v(1), 4, 5)], frozenset({2})) == ""


def test_an_acknowledged_write_that_was_undone_is_lost() -> None:
    assert kind([put(1, 0, 1), put(2, 2, 3)], [read(v(1), 4, 4, last=True)]) == "lost"


def test_a_late_effect_of_an_unknown_write_is_found_after_its_time_only() -> None:
    late = put(2, 2, 6, sure=False)
    assert kind([put(1, 0, 1), late], [read(v(1), 5, 5), read(v(2), 7, 8)]) == ""
    assert kind([put(1, 0, 1), late], [read(v(1), 6.5, 6.6), read(v(2), 7, 8)]).startswith("late effect")
    assert kind([put(1, 0, 1), late], [read(v(1), 7, 8), read(v(1), 9, 9, last=True)]) == ""


def test_an_unknown_write_takes_effect_once() -> None:
    perhaps = put(2, 2, 9, sure=False)
    assert kind([put(1, 0, 1), perhaps, put(3, 4, 5)], [read(v(2), 3, 3.5), read(v(2), 6, 7)]) != ""


def test_two_concurrent_reads_may_not_see_two_orders() -> None:
    both = [put(1, 0, 9), put(2, 0, 9)]
    assert kind(both, [read(v(1), 1, 2), read(v(2), 3, 4)]) == ""
    assert kind(both, [read(v(1), 1, 2), read(v(2), 3, 4), read(v(1), 5, 6)]) != ""


def test_a_record_that_is_half_of_each_write_is_wrong() -> None:
    assert kind([put(1, 0, 1), put(2, 2, 3)], [read((1, 2, ""), 4, 5)]) != ""


def test_a_partial_update_changes_one_field_of_what_is_there() -> None:
    update = Write("update", 2, 3, True, merge=(None, 7))
    assert kind([put(1, 0, 1), update], [read((1, 7, ""), 4, 5)]) == ""
    assert kind([put(1, 0, 1), update], [read(v(1), 4, 5)]) != ""
    assert kind([update], [read(None, 4, 5)]) == ""


def test_a_delete_by_filter_takes_what_has_the_mark() -> None:
    gone = Write("delete", 2, 3, True, only="m")
    assert kind([gone], [read(None, 4, 5)], first=v(1, "m")) == ""
    assert kind([gone], [read(v(1, "m"), 4, 5)], first=v(1, "m")) != ""
    assert kind([gone], [read(v(1, "x"), 4, 5)], first=v(1, "x")) == ""


def test_a_search_says_that_a_record_is_there() -> None:
    assert kind([put(1, 0, 1), delete(2, 3)], [read(PRESENT, 4, 5)]) == "resurrected"
    assert kind([put(1, 0, 1), delete(2, 3)], [read(PRESENT, 2.5, 5)]) == ""


def test_sides_that_differ_are_found() -> None:
    one, other = {KEY: v(1), ("ns", "a"): v(2)}, {KEY: (1, 2, ""), ("ns", "b"): v(3)}
    assert [found.key for found in divergences(one, other)] == [("ns", "a"), ("ns", "b"), KEY]
    assert divergences(one, dict(one)) == []


# --- Histories that are right


@st.composite
def histories(draw: st.DrawFn) -> Told:
    """A key that changes at one moment within each write, and is read at one moment within each read."""
    moments, writes, reads, refused = [], [], [], set()
    for number in range(1, draw(st.integers(1, 9))):
        call = draw(st.floats(0, 10))
        took = draw(st.floats(0.01, 4))
        at = call + took * draw(st.floats(0, 1))
        kind = draw(st.sampled_from(["put", "delete", "update", "unknown", "lost", "refused", "read", "read"]))
        if kind == "refused":
            refused.add(number)
            continue
        if kind == "read":
            reads.append((at, call, call + took))
            continue
        effect = {"put": None if kind == "delete" else v(number)}
        if kind == "update":
            effect = {"merge": draw(st.sampled_from([(number, None), (None, number)]))}
        write = Write(f"{kind} {number}", call, call + took, kind not in ("unknown", "lost"), **effect)
        writes.append(write)
        if kind != "lost":
            moments.append((at, number, write))
    return Told(writes, [*_answers(moments, reads), _at_rest(moments)], frozenset(refused))


def _answers(moments: list, reads: list) -> list[Read]:
    return [read(_state(moments, at), call, end) for at, call, end in reads]


def _at_rest(moments: list) -> Read:
    return read(_state(moments, 99), 99, 99, last=True)


def _state(moments: list, at: float) -> State:
    state: State = None
    for when, _, write in sorted(moments, key=lambda each: each[:2]):
        state = write.applied(state) if when <= at else state
    return state


@given(histories())
def test_nothing_is_found_in_a_history_that_is_right(told: Told) -> None:
    assert judge(KEY, told) is None


@given(histories(), st.integers(90, 99))
def test_a_value_that_nobody_wrote_is_always_found(told: Told, number: int) -> None:
    wrong = read(v(number), 50, 51)
    found = judge(KEY, Told(told.writes, [*told.reads, wrong], told.refused))
    assert found is not None
    assert found.kind == "wrong value"


# --- From logbooks


@given(st.integers(0, 2**40))
def test_a_vector_tells_its_number(number: int) -> None:
    vector = vector_of(number)
    length = sum(x * x for x in vector) ** 0.5
    assert number_of(vector) == number_of([x / length for x in vector]) == number
    assert value_of(vector, json.loads(json.dumps(metadata_of(number, "m")))) == [number, number, "m"]
    assert number_of([0.0] * 8) == number_of([1.0]) == WRONG


def logged(path: Path, *lines: dict) -> dict:
    book = Logbook(path)
    for line in lines:
        book.note(**line)
    with path.open("ab") as file:
        file.write(b'{"at": 9, "op": "cut sho')
    return {"writer.1": lines_of(path)}


def test_outcomes_become_windows(tmp_path: Path) -> None:
    lines = [
        {"at": 1.0, "op": "a", "do": "put", "ns": "ns", "values": {"k": [1, 1, ""], "l": [2, 2, ""]}},
        {"at": 2.0, "op": "a", "end": "done"},
        {"at": 3.0, "op": "b", "do": "delete", "ns": "ns", "ids": ["k"]},
        {"at": 3.5, "op": "b", "end": "unknown", "within": 2.0},
        {"at": 4.0, "op": "c", "do": "update", "ns": "ns", "id": "k", "metadata": 3},
        {"at": 4.1, "op": "c", "end": "not done"},
        {"at": 4.5, "op": "e", "do": "put", "ns": "ns", "values": {"l": [5, 5, ""]}},
        {"at": 6.0, "op": "d", "do": "fetch", "ns": "ns", "ids": ["k", "l"]},
        {"at": 6.1, "op": "d", "end": "done", "found": {"l": [2, 2, ""]}},
    ]
    told = gather(logged(tmp_path / "log", *lines), {"writer.1": 7.0}, deadline=3.0, first={}, lag=lambda *_: 0.5)
    assert [(w.call, w.end, w.sure) for w in told.history["ns", "k"].writes] == [(1.0, 2.0, True), (3.0, 5.5, False)]
    assert [(w.call, w.end, w.sure) for w in told.history["ns", "l"].writes] == [(1.0, 2.0, True), (4.5, 10.0, False)]
    assert told.history["ns", "k"].refused == {3}
    assert [(r.call, r.end, r.found) for r in told.history["ns", "k"].reads] == [(5.5, 6.1, None)]
    assert told.outcomes["put", "killed"] == told.outcomes["put", "done"] == 1
    assert (told.records, told.gaps) == (2, {"writer.1": 0.0})
    at_the_end(told, {("ns", "l"): v(2), ("ns", "new"): v(8)}, 20.0)
    kinds = {key[1]: found.kind for key, each in told.history.items() if (found := judge(key, each))}
    assert kinds == {"new": "wrong value"}
