"""Fit of a mapping: what of it the source's namespaces and a sample of its records contradict, or never need."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from vectorferry.core.model import CollectionInfo
from vectorferry.spec.migration import MigrationSpec
from vectorferry.stores.mapped import mapping_of


def mapping_problems(spec: MigrationSpec, source: CollectionInfo, namespaces: Iterable[str]) -> Iterator[str]:
    """Namespaces and vectors that are to become others which the source has, too, and vectors that it has not."""
    mapping = mapping_of(spec)
    for name in namespaces:
        if reason := mapping.unfit_namespace(name):
            yield f"{reason}: rename that one, too, or choose another name"
    vectors = {*source.named, *([""] if source.dimension is not None else [])}
    for name in vectors & mapping.vectors.taken.keys():
        yield f"mapping.vectors: {mapping.vectors.taken[name]!r} is to become {name!r}, which the source has, too: rename that one, too"
    for name in mapping.vectors.rename.keys() - vectors:
        known = ", ".join(repr(each) for each in sorted(vectors))
        yield f"mapping.vectors: the source has no vector {name!r}; it has {known or 'none'}"


def mapping_warnings(spec: MigrationSpec, namespaces: Iterable[str], figures: Mapping[str, Any]) -> Iterator[str]:
    """What the mapping names and nobody has: namespaces for certain, keys in a sample."""
    there = set(namespaces)
    for name in spec.mapping.namespaces.rename:
        if name not in there:
            yield f"`mapping.namespaces` renames {name!r}, and no such namespace is moved"
    if spec.mapping.namespaces.merged():
        yield (
            f"{len(there)} namespaces become one: only its records tell how many each has, so that counts, the check of extra records and "
            f"a reconciliation read it {len(there)} times"
        )
    for section, keys in (("rename", spec.mapping.rename), ("cast", spec.mapping.cast)):
        for key in keys:
            if key not in figures["fields"]:
                yield f"`mapping.{section}` names {key!r}, which no record of a sample of {figures['rows']} has; keys are the source's"
