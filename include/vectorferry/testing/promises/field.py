"""Declared fields of every type give back what they take, whatever the values are, and a type that has no place is refused by name."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from vectorferry.core.model import CollectionDefinition, FieldType, Metric
from vectorferry.testing.assertions import assert_kept_or_refused
from vectorferry.testing.fixtures import MakeStore, StoreFixtures
from vectorferry.testing.samples import DIMENSION, new_name, records

_UUID, _PLACE = "6d1c9f5e-0b5a-5a8e-9d0d-2f4f2c1b7a10", {"latitude": 52.5, "longitude": 13.25}
ORDINARY: Mapping[FieldType, Any] = {
    FieldType.STRING: "a b",
    FieldType.TEXT: "Some words, é and 😀.",
    FieldType.NUMBER: 1.5,
    FieldType.INTEGER: 42,
    FieldType.BOOLEAN: False,
    FieldType.DATE: "2024-02-29T12:30:00Z",
    FieldType.UUID: _UUID,
    FieldType.GEO: _PLACE,
    FieldType.OBJECT: {"a": [1, {"b": None}], "": ""},
    FieldType.STRINGS: ["a", ""],
    FieldType.TEXTS: ["some words", "and more"],
    FieldType.NUMBERS: [1.5, -2],
    FieldType.INTEGERS: [1, -2],
    FieldType.BOOLEANS: [True, False],
    FieldType.DATES: ["2024-02-29T12:30:00Z", "1999-12-31T00:00:00.5+05:30"],
    FieldType.UUIDS: [_UUID],
}
ODD: Sequence[Any] = (
    "", " a ", "a\u0000b", 0, -0.0, 1e300, (1 << 53) + 1, (1 << 63) - 1, True, None, [], [None], [1, "a"], [[1]], {}, "NaN", "2024-02-29",
    "2024-02-30T00:00:00Z", "2024-01-31T23:59:59.123456+05:30", "0001-01-01T00:00:00Z", _UUID.upper(), {"latitude": 0.1, "longitude": 200},
)  # fmt: skip
"""What may lie under a key whatever its declared type is."""


class FieldContract(StoreFixtures):
    """Each type of field with its own values, with those of all other types, and with odd ones."""

    @pytest.mark.parametrize("kind", ORDINARY)
    def test_a_field_gives_back_what_it_takes(self, make_store: MakeStore, kind: FieldType) -> None:
        fields = {"field": kind}
        unmade = make_store(fields=fields, create=False)
        if obstacles := unmade.obstacles(CollectionDefinition(DIMENSION, Metric.COSINE, fields)):
            assert all("'field'" in each and kind in each for each in obstacles)
            return
        store = make_store(fields=fields)
        values = [ORDINARY[kind], *(value for other, value in ORDINARY.items() if other is not kind), *ODD]
        metadata = [{"field": value, "beside": row} for row, value in enumerate(values)]
        result = assert_kept_or_refused(
            store, records(new_name(), [f"r{row}" for row in range(len(values))], metadata=metadata)
        )
        refused = {each.row: each.reason for each in result.rejected}
        assert all("field" in reason for reason in refused.values()), refused
        assert 0 not in refused or kind.kind not in store.capabilities.metadata_kinds, refused[0]
