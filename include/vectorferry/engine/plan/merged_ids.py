"""Ids that several namespaces have, which a mapping would put into one: found over all records before a plan is made."""

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from vectorferry.core.errors import GateError
from vectorferry.engine.diff.key_set import hashes
from vectorferry.engine.session import Session, StepProgress
from vectorferry.stores.mapped import mapping_of

_SHOWN = 5
Pages = Callable[[str], Iterable[Sequence[str]]]
"""The ids of a namespace, in pages."""


def require_unique_ids(session: Session, namespaces: Sequence[str], pages: Pages) -> None:
    """Raise GateError where the mapping merges namespaces and an id is in two of them; memory is 16 bytes a record."""
    if mapping_of(session.spec).merge is None:
        return
    doubled = _doubled(session, namespaces, pages)
    if not len(doubled):
        return
    places: dict[str, list[str]] = {}
    for namespace in namespaces:
        for page in pages(namespace):
            found = np.isin(hashes("", page)[:, 0], doubled)
            for id_ in (id_ for id_, is_doubled in zip(page, found.tolist(), strict=True) if is_doubled):
                places.setdefault(id_, []).append(namespace)
    if shown := list(_told(places)):
        more = f" and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""
        raise GateError(
            f"`mapping.namespaces` puts all namespaces into one, where ids must be unique, and these are not: {'; '.join(shown[:_SHOWN])}"
            f"{more}. Nothing was changed: give each a name of its own with `mapping.namespaces.rename`, move fewer namespaces, or change "
            "the ids in the source"
        )


def _doubled(
    session: Session, namespaces: Sequence[str], pages: Pages
) -> "np.ndarray[tuple[int], np.dtype[np.uint64]]":
    """Hashes that occur more than once."""
    parts, seen = [np.empty(0, np.uint64)], 0
    for namespace in namespaces:
        for page in pages(namespace):
            parts.append(hashes("", page)[:, 0])
            seen += len(page)
        session.report(StepProgress("unique ids", namespace or "(default)", seen, unit="ids"))
    values, counts = np.unique(np.concatenate(parts), return_counts=True)
    return values[counts > 1]


def _told(places: dict[str, list[str]]) -> Iterator[str]:
    # A hash may be that of two ids; what counts is the id itself.
    for id_, found in places.items():
        if len(found) > 1:
            yield f"{id_!r} in {' and '.join(name or '(default)' for name in found[:3])}"
