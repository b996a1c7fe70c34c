"""Unchanged namespaces: skipped by change token, where both databases say that nothing changed since they were found equal."""

from collections.abc import Mapping, Sequence
from typing import Any

from vectorferry.engine.reconcile.preconditions import Pair
from vectorferry.engine.reconcile.run_state import ReconciliationRun
from vectorferry.engine.session import Session
from vectorferry.journal import ENDED, Scope

UnchangedNamespaces = Mapping[str, Mapping[str, Any]]
"""By namespace: the change tokens of both sides, and when it was read and found equal."""


def tokens_of(session: Session, pair: Pair) -> dict[str, list[str]]:
    """Change tokens of both sides by namespace, where both tell; to be asked before anything is read."""
    found: dict[str, list[str]] = {}
    if not session.spec.reconcile.skip_unchanged:
        return found
    for namespace in pair.namespaces:
        both = [store.change_token(namespace) for store in (session.source, session.target)]
        if None in both:
            # It cannot tell, of any namespace: the other side may have to read much for its answer.
            return {}
        found[namespace] = [token for token in both if token is not None]
    return found


def unchanged(session: Session, tokens: Mapping[str, Sequence[str]]) -> UnchangedNamespaces:
    """The namespaces that the last full pass found equal, and that have not changed since on either side."""
    last = session.journal.reconciliations.latest(session.migration, *ENDED, scope=Scope.FULL)
    known: UnchangedNamespaces = {} if last is None else last.state.get("vouched", {})
    return {name: known[name] for name, both in tokens.items() if name in known and known[name]["tokens"] == list(both)}


def keep_unchanged(reading: ReconciliationRun) -> None:
    """After a full pass: keep which namespaces were equal when they were read, under the tokens taken before."""
    equal = set(reading.get("namespaces")) - set(reading.get("doubtful", []))
    at = reading.run.began_at.isoformat(timespec="seconds")
    read = {name: {"tokens": both, "at": at} for name, both in reading.get("tokens").items() if name in equal}
    reading.keep(vouched={**read, **reading.get("skipped")})


def not_read(reading: ReconciliationRun) -> Mapping[str, str]:
    """Why each namespace that was left out was, for the report."""
    skipped: UnchangedNamespaces = reading.get("skipped")
    return {
        name: f"both databases say that nothing changed since it was found equal at {each['at']}"
        for name, each in skipped.items()
    }
