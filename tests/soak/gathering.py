"""From the logbooks of all processes to what is known of each key: every call with its window and its outcome."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from soak.history import PRESENT, Finding, Key, Read, State, Told, Value, Write
from soak.logbook import Line

Lag = Callable[[float, float], float]
"""By how many seconds a read that was called and answered at these times may lag behind."""
WRITES = frozenset({"put", "delete", "delete_where", "update"})


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a client: its first line, its last one if it lived to write it, and until when it may take effect."""

    client: str
    began: Line
    ended: Line | None
    end: float

    @property
    def outcome(self) -> str:
        """done, not done, unknown, failed (a read), crashed, or killed."""
        return "killed" if self.ended is None else str(self.ended["end"])

    @property
    def sure(self) -> bool:
        return self.outcome == "done"


@dataclass
class Gathered:
    """Everything that the clients said: by key for the judge, and counted."""

    history: dict[Key, Told]
    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    gaps: dict[str, float] = field(default_factory=dict)
    records: int = 0
    errors: list[Finding] = field(default_factory=list)


def gather(
    logs: Mapping[str, Iterable[Line]],
    died: Mapping[str, float],
    *,
    deadline: float,
    first: Mapping[Key, Value],
    lag: Lag = lambda call, end: 0.0,
) -> Gathered:
    """The histories of all keys. `died` says when a client was killed; what it had sent may take effect for D, `deadline`, after that."""
    calls = [call for name, lines in sorted(logs.items()) for call in _calls(name, lines, died.get(name), deadline)]
    writes, reads = defaultdict[Key, list[Write]](list), defaultdict[Key, list[Read]](list)
    refused = defaultdict[Key, set[int]](set)
    for call in calls:
        if call.outcome == "not done":
            for key, write in _writes(call):
                refused[key] |= write.numbers
        else:
            for key, write in _writes(call):
                writes[key].append(write)
            for key, read in _reads(call, lag):
                reads[key].append(read)
    keys = writes.keys() | reads.keys() | refused.keys() | first.keys()
    history = {key: Told(writes[key], reads[key], frozenset(refused[key]), first.get(key)) for key in keys}
    outcomes = Counter((call.began["do"], call.outcome) for call in calls)
    return Gathered(history, outcomes, _gaps(calls), sum(map(_acknowledged, calls)), list(_errors(calls)))


def at_the_end(gathered: Gathered, rows: Mapping[Key, Value], at: float) -> None:
    """Add what is there at rest, as a last read of every key."""
    for key in gathered.history.keys() | rows.keys():
        told = gathered.history.get(key, Told([], []))
        last = Read("the final dump", at, at, rows.get(key), last=True)
        gathered.history[key] = Told(told.writes, [*told.reads, last], told.refused, told.first)


def _calls(client: str, lines: Iterable[Line], died: float | None, deadline: float) -> Iterator[Call]:
    open_calls: dict[str, Line] = {}
    newest = 0.0
    for line in lines:
        newest = max(newest, line["at"])
        if "do" in line:
            open_calls[line["op"]] = line
        elif "end" in line:
            within = line.get("within", 0.0) if line["end"] == "unknown" else 0.0
            yield Call(client, open_calls.pop(line["op"]), line, line["at"] + within)
    for began in open_calls.values():
        yield Call(client, began, None, (newest if died is None else died) + deadline)


def _writes(call: Call) -> Iterator[tuple[Key, Write]]:
    line = call.began
    if line["do"] not in WRITES:
        return

    def write(id_: str, **effect: Any) -> tuple[Key, Write]:
        return (line["ns"], id_), Write(line["op"], line["at"], call.end, call.sure, **effect)

    if line["do"] == "put":
        yield from (write(id_, put=_value(value)) for id_, value in line["values"].items())
    elif line["do"] == "update":
        yield write(line["id"], merge=(line.get("vector"), line.get("metadata")))
    else:
        yield from (write(id_, only=line.get("mark")) for id_ in line["ids"])


def _reads(call: Call, lag: Lag) -> Iterator[tuple[Key, Read]]:
    line = call.began
    if call.ended is None or not call.sure or line["do"] in WRITES:
        return
    found, begin = call.ended["found"], line["at"] - lag(line["at"], call.end)
    for id_ in line.get("ids", found):
        seen: State = PRESENT if line["do"] == "search" else _value(found.get(id_))
        yield (line["ns"], id_), Read(line["op"], begin, call.end, seen)


def _value(given: Any) -> State:
    return None if given is None else (given[0], given[1], given[2])


def _acknowledged(call: Call) -> int:
    """Written records that were acknowledged."""
    if not call.sure or call.began["do"] not in WRITES:
        return 0
    return len(call.began.get("values", call.began.get("ids", [""])))


def _gaps(calls: Iterable[Call]) -> dict[str, float]:
    """The longest time between two acknowledgements that each client saw."""
    times = defaultdict[str, list[float]](list)
    for call in calls:
        if call.sure and call.began["do"] in WRITES:
            times[call.client].append(call.end)
    return {
        client: max((b - a for a, b in zip(sorted(ends), sorted(ends)[1:], strict=False)), default=0.0)
        for client, ends in times.items()
    }


def _errors(calls: Iterable[Call]) -> Iterator[Finding]:
    """A write that ended in anything but its three outcomes."""
    for call in calls:
        if call.outcome == "crashed" and call.ended is not None:
            yield Finding("error", (call.began["ns"], call.client), f"{call.began['do']}: {call.ended['error']}")
