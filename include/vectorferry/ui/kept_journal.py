"""Kept journal: one for each process of Airflow's server, opened when it is first asked for and again where its connection has changed.

To open a journal takes several round trips and a login; a page that looks every few seconds must not pay for that each time. A
journal that was restarted is reached again by its pool, which tries a connection that has rested before it uses it.
"""

import threading

from vectorferry.journal import Journal, open_journal
from vectorferry.orchestration.connections import airflow_connection
from vectorferry.orchestration.report_link import journal_of_reports
from vectorferry.spec.connections import Connection

_lock = threading.Lock()
_kept: dict[str, tuple[Connection, Journal]] = {}


def kept_journal() -> Journal:
    """The journal whose migrations this server shows; not to be closed. Raises ConnectionMissing, JournalError or JournalUnavailable."""
    connection = airflow_connection(journal_of_reports())
    with _lock:
        known = _kept.get("journal")
        if known is not None and known[0] == connection:
            return known[1]
        opened = open_journal(connection)
        _kept["journal"] = (connection, opened)
    if known is not None:
        known[1].close()
    return opened
