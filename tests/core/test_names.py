"""Names travel without collisions and come back."""

import re
import uuid

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from vectorferry.core.names import decode_tenant, encode_property, encode_tenant, is_uuid, record_uuid, record_uuid_text

NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
TRICKY = (
    NAMES
    | st.text("_vfh5FAaé. -", max_size=30)
    | st.sampled_from(["", "vf_", "vfh_", "vf_f_a", "_", "x" * 64, "x" * 65])
)


@given(NAMES, NAMES, NAMES, NAMES)
@example("ab", "c", "a", "bc")
@example("", "1:a", "1", ":a")
def test_records_with_different_keys_have_different_uuids(a: str, b: str, c: str, d: str):
    assume((a, b) != (c, d))
    assert record_uuid(a, b) != record_uuid(c, d)


def test_a_records_uuid_never_changes():
    assert record_uuid("ns", "id-1") == uuid.UUID("f51e7367-409e-527b-80c8-9aaa0633549c")
    assert record_uuid("ns", "id-1").version == 5


@given(TRICKY)
def test_a_tenant_has_a_legal_name_and_comes_back(namespace: str):
    tenant = encode_tenant(namespace)
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,64}", tenant)
    assert decode_tenant(tenant) in (namespace, None)
    assert decode_tenant(tenant) == namespace or len(namespace.encode()) > 20


@given(TRICKY, TRICKY)
def test_tenants_do_not_collide(a: str, b: str):
    assume(a != b)
    assert encode_tenant(a) != encode_tenant(b)


@pytest.mark.parametrize("name", ["docs", "Docs", "a-b_c", "x" * 64, "0"])
def test_a_namespace_that_fits_keeps_its_name(name: str):
    assert encode_tenant(name) == name


def test_a_tenant_made_elsewhere_keeps_its_name():
    assert decode_tenant("some-tenant") == "some-tenant"


@given(
    TRICKY | st.sampled_from(["id", "_id", "vector", "_additional", "a_searchable", "b_nullState", "Key", "x" * 300])
)
def test_a_property_has_a_legal_name(field: str):
    name = encode_property(field)
    assert re.fullmatch(r"[_a-z][_0-9A-Za-z]{0,230}", name)
    assert name not in ("id", "_id", "_additional", "vector")
    assert not name.endswith(("_searchable", "_rangeable", "_temp", "__meta_count", "_propertyLength", "_nullState"))


@given(TRICKY, TRICKY)
@example("Key", "key")
@example("a.b", "a_b")
@example("y" * 300, "y" * 301)
def test_properties_do_not_collide_even_if_the_first_letter_is_lowered(a: str, b: str):
    assume(a != b)
    first, second = encode_property(a), encode_property(b)
    assert first[:1].lower() + first[1:] != second[:1].lower() + second[1:]


@pytest.mark.parametrize("field", ["genre", "year_2", "_private", "camelCase"])
def test_a_field_that_fits_keeps_its_name(field: str):
    assert encode_property(field) == field


@given(st.text(), st.text())
def test_the_text_of_a_records_uuid_is_that_of_the_uuid(namespace: str, id_: str) -> None:
    text = record_uuid_text(namespace, id_)
    assert text == str(record_uuid(namespace, id_))
    assert is_uuid(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        f"{uuid.UUID(int=1)}\n",
        str(uuid.UUID(int=-1 % 2**128)).upper(),
        uuid.UUID(int=1).hex,
        f"{{{uuid.UUID(int=1)}}}",
    ],
)
def test_another_spelling_is_no_uuid(text: str) -> None:
    assert not is_uuid(text)
