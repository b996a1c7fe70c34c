"""Records of applications: what was fetched can be put back as it is, every vector of it."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vectorferry.core.errors import NotDone
from vectorferry.core.records import fingerprints
from vectorferry.router.values import Record, put_of, records_of

FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)
DENSE = st.lists(FLOATS, min_size=3, max_size=3)
SPARSE = st.dictionaries(st.integers(0, 1000), FLOATS, max_size=3).map(
    lambda found: {"indices": list(found), "values": list(found.values())}
)
OF_NAME = {"image": DENSE, "title": DENSE, "tokens": st.lists(DENSE, min_size=1, max_size=3), "words": SPARSE}
NAMED = st.fixed_dictionaries({}, optional=OF_NAME)
RECORDS = st.lists(st.tuples(st.none() | DENSE, NAMED, st.none() | SPARSE), min_size=1, max_size=4).map(
    lambda rows: [Record(f"r{n}", dense, {"n": n}, sparse, named) for n, (dense, named, sparse) in enumerate(rows)]
)


@given(RECORDS)
def test_what_was_fetched_is_put_back_as_it_was(records: list[Record]) -> None:
    batch = put_of("n", records).batch
    found = records_of(batch)
    assert list(found) == [record.id for record in records]
    for record in records:
        assert found[record.id].named.keys() == record.named.keys()
        assert found[record.id].vector == record.vector
    assert fingerprints(put_of("n", list(found.values())).batch) == fingerprints(batch)


def test_a_change_of_metadata_keeps_every_vector() -> None:
    named = {"image": [1.0, 2.0], "tokens": [[1.0, 0.0], [0.0, 1.0]], "words": {"indices": [7], "values": [0.5]}}
    before = records_of(put_of("n", [Record("a", [1.0], {"n": 1}, None, named)]).batch)["a"]
    after = records_of(put_of("n", [Record(before.id, before.vector, {"n": 2}, before.sparse, before.named)]).batch)[
        "a"
    ]
    assert after.named == named


@pytest.mark.parametrize(
    ("named", "told"),
    [
        ([{"image": [1.0, 2.0]}, {"image": [1.0]}], "'image'"),
        ([{"image": [1.0, 2.0]}, {"image": [[1.0, 2.0]]}], "'image' of 'r0' is dense, that of 'r1' multi"),
        ([{"image": "no vector"}], "'image' of 'r0' is not of numbers"),
        ([{"image": [[1.0, 2.0], [1.0]]}], "'image' of 'r0' is not of numbers"),
        ([{"image": []}], "'image' of 'r0' has the shape"),
        ([{"image": np.zeros((1, 2, 3))}], "'image' of 'r0' has the shape"),
    ],
)
def test_what_is_no_vector_is_refused_by_name(named: list[dict[str, Any]], told: str) -> None:
    with pytest.raises(NotDone, match=told):
        put_of("n", [Record(f"r{row}", [1.0], {}, None, each) for row, each in enumerate(named)])
