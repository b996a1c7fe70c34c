"""Filters that a target can serve: names each declared or recorded filter that it does not support."""

from collections.abc import Iterator, Mapping

import orjson

from vectorferry.core.errors import FilterError
from vectorferry.core.filters import Filter, Group, fields_of, parse_filter
from vectorferry.core.model import FieldType
from vectorferry.engine.checks.filter_cases import EQUATED, RANGED, spelt
from vectorferry.engine.checks.query_file import recorded_filters
from vectorferry.spec.migration import MigrationSpec
from vectorferry.stores.base import Capabilities, VectorStore
from vectorferry.stores.mapped import mapping_of

_RANGES = ("$gt", "$gte", "$lt", "$lte")


def unsupported_filters(spec: MigrationSpec, target: VectorStore) -> list[str]:
    """The recorded filters of the spec and of its query file that the target does not support, naming operator and field."""
    texts = [spelt(parse_filter(raw)) for raw in spec.checks.filters.recorded]
    if spec.checks.recall.queries:
        texts += recorded_filters(spec.checks.recall.queries)
    found = list[str]()
    for text in dict.fromkeys(texts):
        where = parse_filter(orjson.loads(text))
        told = dict.fromkeys(mapped_filter_problems(where, spec, target.capabilities))
        found += (f"filter {text}: {target.name} {each}" for each in told)
    return found


def mapped_filter_problems(where: Filter, spec: MigrationSpec, able: Capabilities) -> Iterator[str]:
    """What of a filter in the source's words the target of a spec does not support, its mapping included."""
    mapping = mapping_of(spec)
    unindexed = {key for key, options in spec.fields.options.items() if not options.filterable}
    for key in sorted(fields_of(where) & unindexed) if not able.filters_any_field else ():
        yield f"cannot filter by {key!r}, which is declared with `filterable: false`"
    for key in sorted(fields_of(where) & {*spec.mapping.drop}):
        yield f"does not get {key!r}, which stays behind (`mapping.drop`)"
    try:
        mapping.filter_to_target(where)
    except FilterError as error:
        yield f"does not support {error}"
    yield from filter_problems(where, {**mapping.casts, **spec.fields}, able)


def filter_problems(where: Filter, fields: Mapping[str, FieldType], able: Capabilities) -> Iterator[str]:
    """What of a filter a target with these declared fields does not support, naming operator and field."""
    if isinstance(where, Group):
        if where.operator not in able.filter_operators:
            yield f"does not support {where.operator}"
        for child in where.children:
            yield from filter_problems(child, fields, able)
    elif where.operator not in able.filter_operators:
        yield f"does not support {where.operator} on {where.field!r}"
    elif not able.filters_any_field and where.field not in fields:
        yield f"can filter by declared fields only: declare {where.field!r} under `fields`"
    elif not able.filters_any_field and where.operator in _RANGES and fields[where.field] not in RANGED:
        yield f"does not support {where.operator} on {where.field!r}, which is declared as {fields[where.field]}"
    elif not able.filters_any_field and _is_unequal(where.operator, fields[where.field]):
        kind = fields[where.field]
        way = f": declare it as {'strings' if kind.is_list else 'string'}" if kind.item is FieldType.TEXT else ""
        yield f"does not support {where.operator} on {where.field!r}, which is declared as {kind}{way}"


def _is_unequal(operator: str, kind: FieldType) -> bool:
    """Whether an index cannot answer for a field of this type: words equal nothing, and nobody knows which records have a place."""
    return kind.item not in EQUATED and (operator != "$exists" or kind is FieldType.GEO)
