"""Keeping: a side backed up, brought back, rehearsed, and what is no longer kept."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from vectorferry.core.model import Side, Verdict

if TYPE_CHECKING:
    from vectorferry.engine.backup.format import Backup as Backup
    from vectorferry.engine.backup.restore import Restored as Restored
    from vectorferry.engine.backup.retention import Removal as Removal
    from vectorferry.engine.session import Report, Session
    from vectorferry.staging import Staging
    from vectorferry.stores.base import VectorStore


def backup(session: "Session", side: Side = "target") -> "Backup":
    """Back a side up to staging, going on where a killed try stopped."""
    from vectorferry.engine.backup.create import backup

    return backup(session, side)


def open_backup(files: "Staging") -> "Backup":
    """A complete backup in this folder. Raises StagingError where there is none, StagingCorrupt for one that is damaged."""
    from vectorferry.engine.backup.format import open_backup

    return open_backup(files)


def restore(
    backup: "Backup",
    store: "VectorStore",
    *,
    excused: int = 0,
    resume: bool = False,
    index: Mapping[str, Any] | None = None,
    report: "Report",
) -> "Restored":
    """Load a backup into a collection that does not exist yet, or is empty, and read every record back."""
    from vectorferry.engine.backup.restore import Rules, restore

    return restore(backup, store, Rules(excused, resume, index, report=report))


def drill(session: "Session", side: Side = "target", *, fresh: bool = False) -> Verdict:
    """Restore the newest backup of a side into a scratch collection, verify it in full, and drop it again."""
    from vectorferry.engine.backup.drill import drill

    return drill(session, side, fresh=fresh)


def clear_scratch(session: "Session", side: Side = "target") -> bool:
    """Drop the scratch collection that a killed drill of a side left; whether there was one."""
    from vectorferry.engine.backup.drill import clear_scratch

    return clear_scratch(session, side)


def prunable(session: "Session") -> "tuple[Removal, ...]":
    """What retention does not keep."""
    from vectorferry.engine.backup.retention import prunable

    return prunable(session)


def prune(session: "Session", chosen: "Sequence[Removal]") -> "tuple[Removal, ...]":
    """Remove those of them that may still be removed; returns what was."""
    from vectorferry.engine.backup.retention import prune

    return prune(session, chosen)
