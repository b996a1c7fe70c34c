"""From a spec to how its two collections are laid out and reached."""

from collections.abc import Mapping
from typing import Any

from vectorferry.spec.migration import MigrationSpec, Source, Target
from vectorferry.stores.base import StoreOptions


def source_options(spec: MigrationSpec) -> StoreOptions:
    """How the source is laid out and reached."""
    return _options(spec, spec.source, dict(spec.source.settings))


def target_options(spec: MigrationSpec) -> StoreOptions:
    """How the target is laid out and reached."""
    return _options(spec, spec.target, dict(spec.target.index))


def _options(spec: MigrationSpec, side: Source | Target, index: Mapping[str, Any]) -> StoreOptions:
    deadline = spec.limits.request_deadline.total_seconds()
    return StoreOptions(spec.fields, side.namespaces_are, index, side.transport, deadline)
