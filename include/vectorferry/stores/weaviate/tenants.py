"""Tenants of a collection that are asked, and those that sleep: a sleeping one is never woken unless it is to be read."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from vectorferry.core.errors import Refused

ACTIVE = "ACTIVE"
_NAMED = 10


@dataclass(frozen=True, slots=True)
class Tenants:
    """Names of tenants. `asked` are awake or woken by being asked, `woken` those of them that sleep now, `left` sleep and are left out."""

    asked: tuple[str, ...]
    woken: tuple[str, ...] = ()
    left: tuple[str, ...] = ()


def tenants_to_ask(
    collection: str, states: Mapping[str, str], chosen: Callable[[str], bool], *, wakes: bool, store: str
) -> Tenants:
    """Sort a collection's tenants, given the state of each. Raises Refused where one that is chosen sleeps and is not woken by reading."""
    asleep = {tenant: state for tenant, state in states.items() if state != ACTIVE}
    wanted = {tenant: state for tenant, state in asleep.items() if chosen(tenant)}
    if wanted and not wakes:
        raise Refused(_asleep(collection, wanted), store=store)
    asked = tuple(tenant for tenant in states if tenant not in asleep or tenant in wanted)
    return Tenants(asked, tuple(wanted), tuple(tenant for tenant in asleep if tenant not in wanted))


def _asleep(collection: str, states: Mapping[str, str]) -> str:
    kinds = ", ".join(sorted(set(states.values())))
    names = list(states)
    return (
        f"{len(names)} of its tenants cannot be read, being {kinds}: {_first(names)}. Activate them, with the vendor's client "
        f"`client.collections.use({collection!r}).tenants.activate({names[:_NAMED]!r})`, or leave them out with `namespaces.exclude`"
    )


def woken_note(collection: str, tenants: Sequence[str]) -> str:
    """What people should know of tenants that reading wakes."""
    return (
        f"reading wakes {len(tenants)} tenants of {collection} that sleep ({_first(tenants)}): each takes memory on the server. They stay "
        "ACTIVE, for an application may have come to use them meanwhile; put them back when nothing reads them any more, with "
        f"`client.collections.use({collection!r}).tenants.deactivate({list(tenants[:_NAMED])!r})`"
    )


def _first(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
