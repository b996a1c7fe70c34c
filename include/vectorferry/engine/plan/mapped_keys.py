"""Mapped keys: what becomes of each metadata key of the source in the target, by the spec and a sample of the records."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from vectorferry.core.mapping import RecordMapping
from vectorferry.core.model import FieldType
from vectorferry.engine.plan.field_types import KeySeen, is_of
from vectorferry.spec.migration import MigrationSpec
from vectorferry.stores.base import Capabilities
from vectorferry.stores.mapped import mapping_of


@dataclass(frozen=True, slots=True)
class MappedKey:
    """A metadata key on its way. `target` is empty where it stays behind, `source` where only the target has it.

    `type` is that of the target's field, None where it is none there. `share` is of the records looked at, `kinds` maps what the values are
    to the number of records, `unfit` of which are not of the type. `fate` says for a person what becomes of the values.
    """

    source: str
    target: str
    type: FieldType | None
    share: float
    kinds: Mapping[str, int]
    unfit: int
    fate: str


def mapped_keys(
    spec: MigrationSpec, able: Capabilities, seen: Iterable[KeySeen], dropped: Mapping[str, float]
) -> tuple[MappedKey, ...]:
    """Every key that was seen or that the spec names, in order; `able` is what the target can do.

    `dropped` maps keys that stay behind to the share of the records that have them.
    """
    there, mapping = {each.key: each for each in seen}, mapping_of(spec)
    casts = mapping.casts
    declared = {**casts, **spec.fields}
    found = [
        MappedKey(key, "", None, dropped.get(key, 0.0), {}, 0, "stays behind on purpose") for key in spec.mapping.drop
    ]
    for key in sorted({*there, *declared, *mapping.keys.rename}):
        known = there.get(key) or KeySeen(key, 0.0, 0, {}, None)
        kind = declared.get(key)
        unfit = (
            0 if kind is None or key in casts else sum(n for each, n in known.kinds.items() if not is_of(each, kind))
        )
        fate = "; ".join(_fate(known, kind, unfit, able, cast=key in casts))
        found.append(MappedKey(key, mapping.keys.there(key), kind, known.share, known.kinds, unfit, fate))
    return (*_own(mapping), *sorted(found, key=lambda each: each.source))


def _own(mapping: RecordMapping) -> Iterator[MappedKey]:
    if mapping.id_key is not None:
        yield MappedKey("", mapping.id_key, FieldType.STRING, 1.0, {}, 0, "keeps the record's id")
    if mapping.merge:
        yield MappedKey("", mapping.merge.key, FieldType.STRING, 1.0, {}, 0, "keeps the record's namespace")


def _fate(seen: KeySeen, kind: FieldType | None, unfit: int, able: Capabilities, *, cast: bool) -> Iterator[str]:
    found = "filters find" if able.filters_any_field else "no filter finds"
    if not seen.kinds:
        yield "not seen in the sample"
    elif kind is None:
        yield f"kept whole, no field: {found} it"
    elif cast:
        yield f"becomes {kind}; what has no exact form as one is refused"
    elif unfit:
        yield f"{unfit} of another type, kept whole: {found} those"
    else:
        yield "a field"
    if kind is not None and "null" in seen.kinds:
        yield "null counts as missing in filters"
