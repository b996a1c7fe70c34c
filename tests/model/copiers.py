"""The loader and the settler: what copies from one store to the other without an application's asking (rules 5, 6, 8)."""

from collections.abc import Iterator
from typing import Any

from model.explorer import Label
from model.state import (
    ABSENT,
    AUTHORITY,
    COPY,
    IDLE,
    LOADED,
    OTHER,
    TRACK_A,
    TRACKED,
    Late,
    Rules,
    State,
    Store,
    readable,
    store_of,
)

Moves = Iterator[tuple[Label, State]]
SENT = ("sent", "", "")


def loader_steps(m: Rules, s: State) -> Moves:
    step, value = s.load
    if step == "not":
        yield from load_starts(m, s)
    elif step == "wait":
        yield load_waited(s)
    elif step == "started":
        for seen in readable(s.a):
            yield ("loader", "reads", f"{seen} from A"), s._replace(load=("read", seen))
    elif step == "read":
        yield from load_writes(m, s, value)
    elif step == "written":
        yield from load_ends(m, s, value)
    elif m.config.reload:
        yield from reload(m, s)


def load_starts(m: Rules, s: State) -> Moves:
    """Rule 5: all have acknowledged, the settler is quiet, nothing of an earlier run can land, A's delay is over."""
    if s.phase != TRACK_A or ("load_after_all" in m.on and not m.all_in(s, (TRACK_A,))):
        return
    if "run_landed" in m.on and any(late.owner == "earlier run" for late in s.late):
        return
    if quiet(m, s):
        yield ("loader", "starts", ""), load_started(m, s)


def load_started(m: Rules, s: State) -> State:
    """A load that starts takes from every mirrored write under way the right to clean the row."""
    routers = s.routers
    if "mirror_no_load" in m.on and any(r.may_clean for r in routers):
        routers = (routers[0]._replace(may_clean=False), routers[1]._replace(may_clean=False))
    if "load_waits" in m.on and s.a.old:
        return s._replace(load=("wait", ""), load_waits=len(s.a.old), routers=routers)
    return s._replace(load=("started", ""), routers=routers)


def load_waited(s: State) -> tuple[Label, State]:
    """What A was told before all members tracked their writes is visible now."""
    a = Store(s.a.value, s.a.old[s.load_waits :])
    return ("loader", "has waited", "delay of A"), s._replace(load=("started", ""), load_waits=0, a=a)


def quiet(m: Rules, s: State) -> bool:
    return "load_alone" not in m.on or (s.settler == IDLE and not any(late.owner == "settler" for late in s.late))


def load_writes(m: Rules, s: State, value: str) -> Moves:
    """A request that times out is sent again; a killed attempt leaves its request behind and a new one starts at once."""
    if value == ABSENT or not m.holds("B", value):
        yield ("loader", "writes nothing", ""), s._replace(load=("written", value))
        return
    changes = m.stored(s, "B", value)
    yield ("loader", "writes", f"{value} to B"), s._replace(load=("written", value), **changes)
    if m.can_time_out(s):
        slow = s._replace(late=(*s.late, Late("B", value, "loader", COPY)))
        yield ("loader", "times out", f"{value} to B, sends again"), slow
        yield ("loader", "is killed", f"{value} to B under way"), slow._replace(load=("started", ""))


def load_ends(m: Rules, s: State, value: str) -> Moves:
    """Loaded once no request of any attempt can land; what only B has becomes dirty."""
    if "load_late" in m.on and any(late.owner == "loader" for late in s.late):
        return
    lacks = value == ABSENT or not m.holds("B", value)
    excused = m.config.excused and not m.holds("B", value)
    seen = (s.b.value,) if "extras_wait" in m.on else readable(s.b)
    t = s._replace(load=LOADED, excused=excused)
    for extra in sorted({"extras" in m.on and lacks and found != ABSENT for found in seen}):
        yield ("loader", "ends", "an extra found" if extra else ""), t._replace(**m.moved(t)) if extra else t


def reload(m: Rules, s: State) -> Moves:
    if quiet(m, s) and (s.phase == TRACK_A or ("reload_in_track_a" not in m.on and TRACKED[s.phase])):
        yield ("operator", "reloads", ""), load_started(m, s)


def settler_steps(m: Rules, s: State) -> Moves:
    step = s.settler[0]
    if step == "":
        if s.dirty and may_settle(m, s):
            yield settle_begins(m, s)
    elif step == "wait":
        yield settle_waited(s)
    elif step == "read":
        yield from settle_reads(m, s)
        yield ("settler", "crashes", ""), s._replace(settler=IDLE, overtaken=False)
    elif step == "write":
        yield from settle_writes(m, s)
        if "claim_one" not in m.on:
            yield settle_claimed_twice(s)
    elif step == "sent":
        yield ("settler", "ends", ""), s._replace(settler=IDLE, dirty=stays_dirty(m, s), overtaken=False)
        yield ("settler", "crashes", ""), s._replace(settler=IDLE, overtaken=False)


def may_settle(m: Rules, s: State) -> bool:
    """Rules 5 and 6: loaded, no open intent, no request of an earlier claim can land."""
    if not TRACKED[s.phase] and not (s.phase > TRACK_A and "settle_stops" not in m.on):
        return False
    if s.load != LOADED and "settle_after_load" in m.on:
        return False
    if "alone" in m.on and m.opens(s):
        return False
    return not ("claim_late" in m.on and any(late.owner == "settler" for late in s.late))


def settle_begins(m: Rules, s: State) -> tuple[Label, State]:
    """Note the generation; what the authority was told before that will be visible after the wait."""
    source = AUTHORITY[s.phase]
    wait = "settle_waits" in m.on and store_of(s, source).old
    settler = ("wait" if wait else "read", source, "")
    return ("settler", "begins", source), s._replace(
        settler=settler, settle_waits=len(store_of(s, source).old) if wait else 0, overtaken=False
    )


def settle_waited(s: State) -> tuple[Label, State]:
    source = s.settler[1]
    store = store_of(s, source)
    changes: dict[str, Any] = {source.lower(): Store(store.value, store.old[s.settle_waits :])}
    return ("settler", "has waited", f"delay of {source}"), s._replace(
        settler=("read", source, ""), settle_waits=0, **changes
    )


def settle_reads(m: Rules, s: State) -> Moves:
    source = s.settler[1]
    for value in readable(store_of(s, source)):
        label = ("settler", "reads", f"{value} from {source}")
        if not m.config.rejected:
            yield label, s._replace(settler=("write", source, value))
        elif source == "A":
            yield label, settle_forth(m, s, value)
        else:
            yield label, settle_back(m, s, value)


def settle_forth(m: Rules, s: State, value: str) -> State:
    """What B rejects stays excused and B goes without; anything else ends the excuse."""
    if m.holds("B", value):
        excused = s.excused and "settle_lifts" not in m.on
        return s._replace(settler=("write", "A", value), excused=excused)
    if not s.excused:
        return s._replace(settler=IDLE, overtaken=False)
    return s._replace(settler=("write", "A", m.config.stand_in))


def settle_back(m: Rules, s: State, value: str) -> State:
    """An excused row stays in A as long as B has nothing of its own; a value written to B ends the excuse first."""
    if s.excused and m.stands_in(value) and "settle_keeps" in m.on:
        return s._replace(settler=SENT)
    excused = s.excused and (m.stands_in(value) or "lift_before_copy" not in m.on)
    return s._replace(settler=("write", "B", value), excused=excused)


def settle_writes(m: Rules, s: State) -> Moves:
    _, source, value = s.settler
    store = OTHER[source]
    yield ("settler", "writes", f"{value} to {store}"), s._replace(settler=SENT, **m.stored(s, store, value))
    if m.can_time_out(s):
        late = (*s.late, Late(store, value, "settler", COPY))
        yield ("settler", "times out", f"{value} to {store}"), s._replace(settler=IDLE, overtaken=False, late=late)


def settle_claimed_twice(s: State) -> tuple[Label, State]:
    """Somebody else takes the id over while the first one is about to write."""
    _, source, value = s.settler
    late = (*s.late, Late(OTHER[source], value, "nobody", COPY))
    return ("settler", "loses its claim to another", ""), s._replace(settler=IDLE, overtaken=False, late=late)


def stays_dirty(m: Rules, s: State) -> bool:
    """Clean only if the generation is the noted one; otherwise the row stays as the newer generation left it."""
    return s.dirty and s.overtaken and "generation" in m.on
