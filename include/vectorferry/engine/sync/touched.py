"""Touched records: written by routers since the plan, so that checks set them aside and settling owns them."""

from collections.abc import Iterable, Iterator

from vectorferry.engine.session import Session
from vectorferry.journal import Plan

WATERMARK = "watermark"
Key = tuple[str, str]


def watermark_of(plan: Plan) -> int | None:
    """The generation up to which every write had landed before the plan's ids were listed; None where nobody writes."""
    found: int | None = plan.details.get(WATERMARK)
    return found


class Touched:
    """The records touched since a plan, asked about after they were read: what is not touched then was read unchanged."""

    def __init__(self, session: Session, plan: Plan) -> None:
        self._session = session
        self._since = watermark_of(plan)

    @property
    def tracked(self) -> bool:
        """Whether routers write at all; else nothing is ever touched, and nothing is asked."""
        return self._since is not None

    def among(self, namespace: str, ids: Iterable[str]) -> frozenset[str]:
        """Which of these ids were touched until now."""
        wanted = list(ids)
        if self._since is None or not wanted:
            return frozenset()
        records = self._session.journal.records
        return records.touched_among(self._session.migration, self._since, namespace, wanted)

    def without(self, keys: Iterable[Key]) -> Iterator[Key]:
        """The keys, each (namespace, id), that were not touched until now."""
        by_namespace: dict[str, list[str]] = {}
        for namespace, id_ in keys:
            by_namespace.setdefault(namespace, []).append(id_)
        for namespace, ids in by_namespace.items():
            aside = self.among(namespace, ids)
            yield from ((namespace, id_) for id_ in ids if id_ not in aside)
