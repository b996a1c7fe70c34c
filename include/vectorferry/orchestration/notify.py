"""Notifiers of the spec: imported when they are needed, and never the reason why something fails."""

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

from vectorferry.orchestration.connections import airflow_connection
from vectorferry.spec.migration import MigrationSpec, Notify

if TYPE_CHECKING:
    from vectorferry.core.capacity import Seen
    from vectorferry.core.model import Side

log = logging.getLogger(__name__)

Callback = Callable[[Any], None]
"""Takes Airflow's context."""


def callbacks(notifiers: Sequence[Notify.Notifier]) -> list[Callback]:
    """One callback for each notifier of the spec."""
    return [partial(_notify, each.notifier, each.arguments) for each in notifiers]


def on_failure(spec: MigrationSpec) -> list[Callback]:
    """What tells people that a run failed (`notify.on_failure`), for the `on_failure_callback` of a DAG."""
    return callbacks(spec.notify.on_failure)


def tell(notifiers: Sequence[Notify.Notifier], context: Any, text: str) -> None:
    """Tell people an alert now; notifiers find it as `alert` in their templates."""
    for each in notifiers:
        _notify(each.notifier, each.arguments, {**context, "alert": text})


def tell_new(
    spec: MigrationSpec, context: Any, measured: "Sequence[Seen]" = (), unanswered: "Mapping[Side, str] | None" = None
) -> None:
    """Tell people every alert that they were not told of yet, with what was measured of the databases, if anything was.

    `unanswered` are sides that were searched in vain.
    """
    from vectorferry.engine import pipeline
    from vectorferry.journal import open_journal

    with open_journal(airflow_connection(spec.journal)) as journal:
        found = pipeline.new_alerts(journal, spec, "watch", measured, unanswered)
    for alert in found:
        log.warning("%s", alert.text)
        tell(spec.notify.on_alert, context, alert.text)


def _notify(path: str, arguments: Mapping[str, Any], context: Any) -> None:
    module, _, name = path.rpartition(".")
    # A mail server that is down must not fail the question that the mail is about.
    try:
        getattr(import_module(module), name)(**arguments)(context)
    except Exception:
        log.exception("notifier %s failed; nobody was told by it", path)
