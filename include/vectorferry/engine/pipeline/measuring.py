"""Measuring: asks both databases how full they are, and how fast they answer."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from vectorferry.core.capacity import Seen
from vectorferry.core.model import Side

if TYPE_CHECKING:
    from vectorferry.engine.session import Session


def measured(session: "Session") -> tuple[Seen, ...]:
    """How full both databases are, as far as they can be measured."""
    from vectorferry.engine.capacity import measured

    return measured(session)


def sample(session: "Session") -> Mapping[Side, str]:
    """Keep how fast both sides answer now, and what waits to be settled; returns why a side could not be searched."""
    from vectorferry.engine.checks.latency_probe import sample_latency
    from vectorferry.engine.sync.backlog import sample_backlog

    sample_backlog(session.journal, session.migration)
    return sample_latency(session)
