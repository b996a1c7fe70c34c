"""What a router does with its one write (rules 2, 3, 4, 10), and how its lease ends and begins again."""

from collections.abc import Callable, Iterator
from typing import Any

from model.explorer import Label
from model.state import (
    AUTHORITY,
    COPY,
    DONE,
    EVICTED,
    LAPSED,
    LIVE,
    LOADED,
    NAMES,
    OFF,
    OTHER,
    PATCH,
    TRACKED,
    WRITABLE,
    Late,
    Router,
    Rules,
    State,
    patched,
    readable,
    store_of,
    with_router,
)

Moves = Iterator[tuple[Label, State]]
ACTORS = ("router 0", "router 1")
GONE = Router(life=EVICTED)  # one that had nothing in flight: the phase it was in no longer matters


def router_steps(m: Rules, s: State, i: int) -> Moves:
    r = s.routers[i]
    yield from BY_PC[r.pc](m, s, i, r)
    if m.config.lapse:
        yield from lease(m, s, i, r)


def idle(m: Rules, s: State, i: int, r: Router) -> Moves:
    if r.life != LIVE:
        return
    if r.phase != s.phase and not ("off_late" in m.on and any(late.owner == f"off {i}" for late in s.late)):
        yield (ACTORS[i], "acknowledges", NAMES[s.phase]), _with(s, i, r._replace(phase=s.phase, op_phase=s.phase))
    if not r.finished and WRITABLE[r.phase]:
        yield from begin(m, s, i, r)


def begin(m: Rules, s: State, i: int, r: Router) -> Moves:
    """Open an intent, where the phase is tracked; refuse what either store rejects."""
    value, tracked = m.config.values[i], TRACKED[r.phase]
    if tracked and refuses(m, s, i, r):
        yield (ACTORS[i], "refuses", value), _with(s, i, r._replace(finished=True))
        return
    after = (s.acked, s.after[1]) if i == 0 else (s.after[0], s.acked)
    changes = m.moved(s, but=i) if tracked and m.intents else {}
    pc = "read" if is_partial(m, i) and "native_update" not in m.on else "write"
    opened = r._replace(pc=pc, op_phase=r.phase, may_clean=tracked and may_clean(m, s, i))
    routers = with_router(s._replace(routers=changes.pop("routers", s.routers)), i, opened)
    label = (ACTORS[i], "opens", f"{value} in {NAMES[r.phase]}")
    yield label, s._replace(routers=routers, after=after, **changes)


def refuses(m: Rules, s: State, i: int, r: Router) -> bool:
    """A partial update of an excused row results in what B rejects, or was made from what B has instead."""
    if is_partial(m, i) and s.excused:
        return AUTHORITY[r.phase] == "A" or "refuse_partial" in m.on
    return "refuse" in m.on and not m.holds("B", m.config.values[i])


def may_clean(m: Rules, s: State, i: int) -> bool:
    """Rule 10, at the open: the row is clean, has no other intent, its partition is loaded, the write is whole."""
    if not m.config.mirror:
        return False
    return not (
        ("mirror_clean" in m.on and s.dirty)
        or ("mirror_alone" in m.on and m.opens(s))
        or ("mirror_loaded" in m.on and s.load != LOADED)
        or ("mirror_whole" in m.on and is_partial(m, i))
    )


def is_partial(m: Rules, i: int) -> bool:
    return m.config.values[i] == PATCH


def read(m: Rules, s: State, i: int, r: Router) -> Moves:
    """Only where the store cannot merge: the whole record is made here, of what is read now."""
    store = AUTHORITY[r.op_phase]
    for value in readable(store_of(s, store)):
        yield (ACTORS[i], "reads", f"{value} from {store}"), _with(s, i, r._replace(pc="write", seen=patched(value)))


def write(m: Rules, s: State, i: int, r: Router) -> Moves:
    if r.life != LIVE and "lapsed_silent" in m.on:
        return
    store, value = AUTHORITY[r.op_phase], r.seen or m.config.values[i]
    if m.holds(store, value):
        pc = "lift" if "lift_before_ack" in m.on and must_lift(m, s, r) else "ack"
        changes = m.stored(s, store, value, i)
        yield (ACTORS[i], "writes", f"{value} to {store}"), _with(s, i, r._replace(pc=pc), **changes)
    unsure = r._replace(pc=after_failure(m, r), may_clean=r.may_clean and "sure_of_authority" not in m.on)
    yield (ACTORS[i], "fails", f"{value} to {store}"), _with(s, i, unsure)
    if m.can_time_out(s) and m.holds(store, value):
        owner = "nobody" if r.life == EVICTED else ACTORS[i] if TRACKED[r.op_phase] else f"off {i}"
        late = (*s.late, Late(store, value, owner, i))
        yield (ACTORS[i], "times out", f"{value} to {store}"), _with(s, i, unsure, late=late)
        if "no_retry" not in m.on:
            yield (ACTORS[i], "times out", f"{value} to {store}, sends again"), s._replace(late=late)


def after_failure(m: Rules, r: Router) -> str:
    return "close" if "mirror_after_done" in m.on else after_ack(m, r)


def must_lift(m: Rules, s: State, r: Router) -> bool:
    return s.excused and TRACKED[r.op_phase] and "router_lifts" in m.on


def lift(m: Rules, s: State, i: int, r: Router) -> Moves:
    """A write that is done ends the row's excuse, in the journal, before anybody hears that it is done."""
    if r.life == LIVE:
        pc = "ack" if "lift_before_ack" in m.on else after_ack(m, r)
        yield (ACTORS[i], "lifts the excuse", ""), _with(s, i, r._replace(pc=pc), excused=False)


def ack(m: Rules, s: State, i: int, r: Router) -> Moves:
    """Also after the lease: the write was sent before, so its intent was open or the row dirty when it took effect."""
    pc = "lift" if "lift_before_ack" not in m.on and must_lift(m, s, r) else after_ack(m, r)
    label = (ACTORS[i], "ACKNOWLEDGES", m.config.values[i])
    yield label, _with(s, i, r._replace(pc=pc), acked=s.acked | 1 << i)


def after_ack(m: Rules, r: Router) -> str:
    return "mirror" if m.config.mirror and TRACKED[r.op_phase] else "close"


def mirror(m: Rules, s: State, i: int, r: Router) -> Moves:
    """The second write, to the follower: state is copied, so a partial update is read back first."""
    if r.life != LIVE and "lapsed_silent" in m.on:
        return
    source = AUTHORITY[r.op_phase]
    store = OTHER[source]
    values = readable(store_of(s, source)) if is_partial(m, i) else (m.config.values[i],)
    unsure = r._replace(pc="close", may_clean=r.may_clean and "sure_of_follower" not in m.on)
    yield (ACTORS[i], "fails to mirror", f"to {store}"), _with(s, i, unsure)
    for value in values:
        if not m.holds(store, value):
            continue
        label = (ACTORS[i], "mirrors", f"{value} to {store}")
        yield label, _with(s, i, r._replace(pc="close"), **m.stored(s, store, value))
        if m.can_time_out(s):
            owner = "nobody" if r.life == EVICTED else ACTORS[i]
            late = (*s.late, Late(store, value, owner, COPY))
            yield (ACTORS[i], "times out mirroring", f"{value} to {store}"), _with(s, i, unsure, late=late)


def close(m: Rules, s: State, i: int, r: Router) -> Moves:
    if r.life != LIVE:
        return
    changes: dict[str, Any] = {}
    if not m.intents and TRACKED[r.op_phase]:
        changes = {"dirty": True, "overtaken": s.settler[0] != ""}
    elif r.may_clean:
        changes = {"dirty": False}
    action = "closes and cleans" if r.may_clean else "closes"
    yield (ACTORS[i], action, ""), _with(s, i, Router(phase=r.phase, op_phase=r.phase, finished=True), **changes)


def lease(m: Rules, s: State, i: int, r: Router) -> Moves:
    """Leases lapse in tracked phases; a member is evicted once nothing that it sent can land."""
    untracked = r.phase in (OFF, DONE) or (r.pc != "idle" and r.op_phase in (OFF, DONE))
    if r.life == LIVE and not untracked:
        yield (ACTORS[i], "lapses", ""), _with(s, i, r._replace(life=LAPSED))
    if r.life == LAPSED and not ("wait_d" in m.on and any(late.owner == ACTORS[i] for late in s.late)):
        late = tuple(x._replace(owner="nobody") if x.owner == ACTORS[i] else x for x in s.late)
        evicted = r._replace(life=EVICTED, may_clean=False)
        if "lapsed_reads" in m.on:
            evicted = forget(evicted)
        yield ("journal", "evicts", ACTORS[i]), _with(s, i, evicted, late=late)
    if r.life == EVICTED and m.orphans_close:
        finished = r.finished or r.pc != "idle"
        yield (
            (ACTORS[i], "rejoins", NAMES[s.phase]),
            _with(s, i, Router(phase=s.phase, op_phase=s.phase, finished=finished)),
        )


def forget(r: Router) -> Router:
    """Leave out what no longer matters of a member that does not read."""
    return r._replace(phase=r.op_phase) if r.pc != "idle" else GONE._replace(finished=r.finished)


def _with(s: State, i: int, router: Router, **changes: Any) -> State:
    return s._replace(routers=with_router(s, i, router), **changes)


BY_PC: dict[str, Callable[[Rules, State, int, Router], Moves]] = {
    "idle": idle,
    "read": read,
    "write": write,
    "lift": lift,
    "ack": ack,
    "mirror": mirror,
    "close": close,
}
