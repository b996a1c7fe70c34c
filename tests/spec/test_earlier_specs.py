"""Specs of earlier releases mean what they meant: their plans and evidence are bound to these fingerprints."""

import pytest

from vectorferry.core.model import FieldType
from vectorferry.spec.loader import parse_spec

PLAIN = """
migration: docs
source: {connection: pinecone, collection: docs}
target: {connection: weaviate, collection: Docs, alias: DocsLive}
writers: none
staging: {url: /data/staging}
fields: {kind: string, doc-kind: string, public: boolean, lines: number, source.line: number, tags: strings}
partitions: {rows: 2500}
approval: {approvers: [approver]}
"""
LIVE = """
migration: live
source: {connection: pg, collection: items, namespaces_are: property, settings: {type: none}}
target: {connection: weaviate, collection: Items, namespaces_are: property, metric: dot, dimension: 768, index: {quantizer: rq}}
writers: {expected: 3}
staging: {url: "s3://bucket/staging", connection: s3}
switch: {cohorts: [{name: canary, namespaces: [a, "b*"]}], hold: 5s}
checks: {recall: {k: 20, threshold: 0.97}}
limits: {excused: 5, unheld: excuse}
"""
LEAVING = """
migration: leaving
source: {connection: pinecone, collection: hybrid, sparse: leave, transport: rest}
target: {connection: weaviate, collection: Dense}
writers: none
staging: {url: /data/staging}
namespaces: {include: ["eu-*"], exclude: ["eu-test"]}
"""


@pytest.mark.parametrize(
    ("text", "fingerprint", "plan_fingerprint"),
    [
        (
            PLAIN,
            "94eae53fa1766a245c3986d67b5c9ada7162713737d7ad6bbd533b5ab77183b4",
            "0b6bc84509e2c1d18cdbbb87e243b36d491e8088880f145e70329713483a1784",
        ),
        (
            LIVE,
            "b239b65595478b526ea0095d02db734f4fd1817c9a0e63868e2af0d4f6f9a857",
            "ac899e58796ab2499a5df03d28ec0993b4416760d6f8e10db939c5f85b3631ba",
        ),
        (
            LEAVING,
            "dabc7f6fbb9062c20cd86d3f09ec2c83bba8074e2d75671625a2efb7c4b7ad59",
            "dabc7f6fbb9062c20cd86d3f09ec2c83bba8074e2d75671625a2efb7c4b7ad59",
        ),
    ],
)
def test_a_spec_has_the_fingerprints_that_it_had(text: str, fingerprint: str, plan_fingerprint: str) -> None:
    spec = parse_spec(text, "earlier.yaml")
    assert (spec.fingerprint, spec.plan_fingerprint) == (fingerprint, plan_fingerprint)


def test_the_size_that_partitions_once_had_by_default_changes_no_fingerprint() -> None:
    spec, without, other = (
        parse_spec(PLAIN.replace("{rows: 2500}", size), "s.yaml") for size in ("{rows: 10000}", "{}", "{rows: 10001}")
    )
    assert (spec.fingerprint, spec.plan_fingerprint) == (without.fingerprint, without.plan_fingerprint)
    assert spec.plan_fingerprint != other.plan_fingerprint
    assert spec.uncut_fingerprint == other.uncut_fingerprint


def test_the_short_form_of_fields_is_what_it_was() -> None:
    assert dict(parse_spec(PLAIN, "earlier.yaml").fields) == {
        "kind": FieldType.STRING,
        "doc-kind": FieldType.STRING,
        "public": FieldType.BOOLEAN,
        "lines": FieldType.NUMBER,
        "source.line": FieldType.NUMBER,
        "tags": FieldType.STRINGS,
    }
