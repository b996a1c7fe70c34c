"""The mapping of a spec: what is refused when the file is read, and what a plan binds to."""

import pytest

from vectorferry.core.errors import SpecError
from vectorferry.core.mapping import Names, RecordMapping
from vectorferry.core.model import FieldType
from vectorferry.spec.loader import parse_spec
from vectorferry.stores.mapped import mapping_of

SPEC = """
migration: mapped
source: {connection: a, collection: c}
target: {connection: b, collection: c}
staging: {url: /tmp}
writers: none
"""


def test_a_mapping_is_read():
    text = "mapping: {rename: {a: b}, cast: {n: {to: string}}, namespaces: {rename: {'': main}}, id: source_id}"
    expected = RecordMapping(Names({"a": "b"}), {"n": FieldType.STRING}, Names({"": "main"}), "source_id")
    assert mapping_of(parse_spec(SPEC + text, "spec.yaml")) == expected
    assert not mapping_of(parse_spec(SPEC, "spec.yaml"))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("mapping: {rename: {a: c, b: c}}", "'a' and 'b' would both become 'c'"),
        ("mapping: {rename: {a: a}}", "'a' is renamed to itself"),
        ("mapping: {namespaces: {rename: {a: c, b: c}}}", "mapping.namespaces.rename: 'a' and 'b' would both"),
        ("mapping: {namespaces: {rename: {a: vectorferry-probe}}}", "keeps its name"),
        ("mapping: {vectors: {a: '', b: ''}}", "mapping.vectors: 'a' and 'b' would both become ''"),
        ("mapping: {rename: {a: b}, id: b}", "mapping: 'b' is to keep what the record's metadata has not"),
        ("mapping: {namespaces: {rename: {a: b}, property: k}}", "give one of rename, property and merge"),
        ("mapping: {namespaces: {property: k}, id: k}", "cannot keep both the record's id and its namespace"),
        ("mapping: {namespaces: {merge: {into: vectorferry-probe, key: k}}}", "merge into another one"),
        (
            "mapping: {namespaces: {property: k}, cast: {k: {to: string}}}",
            "'k' is to keep what the record's metadata has not",
        ),
        ("mapping: {drop: [a], rename: {a: b}}", "mapping.drop leaves 'a' behind, and mapping.rename names it, too"),
        ("mapping: {drop: [a]}\nfields: {a: string}", "and fields declares it"),
        (
            "mapping: {drop: [a]}\nchecks: {filters: {recorded: [{a: 1}]}}",
            "a filter of checks.filters.recorded asks for it",
        ),
        (
            "mapping: {drop: [a]}\nchecks: {expectations: [{type: expect_x, kwargs: {column: metadata.a}}]}",
            "checks.expectations looks at it",
        ),
        ("mapping: {cast: {a: {to: geo}}}", "mapping.cast.a: nothing has an exact form as geo"),
        (
            "mapping: {cast: {a: {to: string}}}\nfields: {a: number}",
            "fields.a is number, and mapping.cast makes it string",
        ),
    ],
)
def test_a_mapping_that_cannot_be_is_refused(text, told):
    with pytest.raises(SpecError) as found:
        parse_spec(SPEC + text, "spec.yaml")
    assert told in str(found.value)


def test_a_plan_binds_to_the_mapping_and_an_empty_one_changes_nothing():
    none, empty, some, other = (
        parse_spec(SPEC + text, "spec.yaml")
        for text in ("", "mapping: {}", "mapping: {rename: {a: b}}", "mapping: {rename: {a: c}}")
    )
    assert none.plan_fingerprint == empty.plan_fingerprint
    assert len({each.plan_fingerprint for each in (none, some, other)}) == 3
    assert len({each.fingerprint for each in (none, some, other)}) == 3


def test_nothing_is_dropped_while_routers_write_back():
    with pytest.raises(SpecError, match=r"mapping\.drop needs `writers: none`"):
        parse_spec(SPEC.replace("none", "{expected: 1}") + "mapping: {drop: [a]}", "spec.yaml")


@pytest.mark.parametrize("how", ["property: k", "merge: {into: all, key: k}"])
def test_namespaces_are_not_merged_while_routers_write(how):
    with pytest.raises(SpecError, match="need `writers: none`: two routers"):
        parse_spec(SPEC.replace("none", "{expected: 1}") + f"mapping: {{namespaces: {{{how}}}}}", "spec.yaml")


def test_a_key_may_take_the_name_of_one_that_is_dropped():
    assert parse_spec(SPEC + "mapping: {drop: [title], rename: {titel: title}}", "spec.yaml").mapping.drop == ["title"]
