"""Summary of a reconciliation in words: the same on the command line, in Airflow's log and in alerts."""

from collections.abc import Iterator, Mapping
from typing import Any


def summarize(figures: Mapping[str, Any]) -> str:
    """One reconciliation in a few lines, from the figures that the journal keeps of it."""
    return "\n".join(_lines(figures))


def kinds_of(figures: Mapping[str, Any]) -> str:
    """How many records drifted in which way; empty where none did."""
    return ", ".join(f"{count} {kind}" for kind, count in sorted(figures["kinds"].items()))


def _lines(figures: Mapping[str, Any]) -> Iterator[str]:
    if "reason" in figures:
        yield f"refused: {figures['reason']}"
        return
    rows = f"{figures['rows_source']:,} and {figures['rows_target']:,} records read ({figures['scope']})"
    yield f"{figures['outcome']}: {rows}"
    if figures["skipped"]:
        yield f"{figures['skipped']} namespaces not read: both databases say that nothing changed since they were found equal"
    if kinds := kinds_of(figures):
        yield f"drift: {kinds}; to repair it deletes {figures['deletions']}; listed in {figures['file']}"
    if "repaired" in figures:
        yield f"repaired: {figures['repaired']} records"
    elif figures["over"]:
        yield f"not repaired without a person: {'; '.join(figures['over'])}"
    if figures["paused"]:
        yield f"paused at {figures['paused']}: the next run goes on"
    if figures["second_records"]:
        yield f"{figures['second_records']} ids have a second record on one side"
    if figures["unsettled"]:
        yield f"{figures['unsettled']} records were written again and again meanwhile: settling owns them"
