"""Assets: the collections and files of a migration, as Airflow's lineage shows them, and what other DAGs may be scheduled on."""

from typing import Any
from urllib.parse import quote

from airflow.sdk import Asset, get_current_context

from vectorferry.core.model import Side
from vectorferry.spec.migration import MigrationSpec


def collection(spec: MigrationSpec, side: Side) -> Asset:
    """A collection, called `<connection>/<collection>`: the same one in every migration that reads or writes it."""
    place = getattr(spec, side)
    return Asset(f"{quote(place.connection, safe='')}/{quote(place.collection, safe='')}")


def staging(spec: MigrationSpec) -> Asset:
    """The staged files, `<migration>.staging`."""
    return Asset(f"{spec.migration}.staging")


def cut_over(spec: MigrationSpec) -> Asset:
    """`<migration>.cut_over`: the target has the authority; `extra` has the hash of the evidence, and the phase."""
    return Asset(f"{spec.migration}.cut_over")


def reconciled(spec: MigrationSpec) -> Asset:
    """`<migration>.reconciled`: both sides were compared; `extra` has the figures."""
    return Asset(f"{spec.migration}.reconciled")


def undecided(spec: MigrationSpec) -> Asset:
    """`<migration>.undecided` has `<migration>.repair` run: something was found that a person has to decide."""
    return Asset(f"{spec.migration}.undecided")


def backed_up(spec: MigrationSpec) -> Asset:
    """`<migration>.backup`: the target was backed up; `extra` has rows, bytes and where it lies."""
    return Asset(f"{spec.migration}.backup")


def tell(asset: Asset, **extra: Any) -> None:
    """What the event of an asset says, once the task that runs now succeeds."""
    get_current_context()["outlet_events"][asset].extra = extra
