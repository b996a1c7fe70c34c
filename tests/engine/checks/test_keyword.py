"""Records that keyword search does not find by their own words are named; a check that could try none fails."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine.building import Built, build, vectors
from vectorferry.core.model import Verdict
from vectorferry.core.records import canonical_json, make_batch
from vectorferry.engine.checks.keyword import check_keyword, keyword_fields
from vectorferry.engine.signoff.gate import required
from vectorferry.engine.transfer.staged import SEARCHABLE
from vectorferry.spec.migration import MigrationSpec
from vectorferry.stores.memory import MEMORY

WORDLESS = replace(MEMORY, keyword_search=False)
FIELDS = {"body": "text", "notes": "texts", "kind": "string"}
COMMON = "the same words in each record"


def rows(n: int) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = [{"body": f"{COMMON}, and rare{i // 2} of two", "kind": "x"} for i in range(n)]
    return [row | ({"notes": [f"note{i}", "some"]} if i % 3 == 0 else {}) for i, row in enumerate(made)]


def built(folder: Path, metadata: Mapping[str, Sequence[Mapping[str, Any]]], **more: Any) -> Built:
    batches = [
        make_batch(name, [f"r{i}" for i in range(len(some))], vectors(len(some)), [canonical_json(row) for row in some])
        for name, some in metadata.items()
    ]
    made = build(folder, batches, fields=FIELDS, **more)
    details = {**made.plan.details, SEARCHABLE: sorted(keyword_fields(made.session))}
    return replace(made, plan=replace(made.plan, details=details))


def verdict(made: Built) -> Verdict:
    [found] = check_keyword(made.session, made.plan)
    return found


def spoil(made: Built, namespace: str, ids: Sequence[str]) -> None:
    """Take the text of records away in the target."""
    found = made.target.fetch(namespace, ids)
    texts = [canonical_json({"body": "other", "kind": "x"})] * len(found)
    made.target.upsert(make_batch(namespace, ids, vectors(len(found)), texts))


def test_records_are_found_by_their_rare_words(tmp_path: Path) -> None:
    found = verdict(built(tmp_path, {"a": rows(40), "b": rows(5), "": [{"kind": "no text"}]}))
    assert found.passed
    assert found.figures == {"fields": 2, "namespaces": 2, "words": 11, "hybrid": 11}  # of the notes in b two


def test_a_record_that_is_not_found_is_named(tmp_path: Path) -> None:
    made = built(tmp_path, {"a": rows(3), "b": rows(40)})
    spoil(made, "a", ["r0"])
    found = verdict(made)
    assert not found.passed
    assert {(each.namespace, each.id, each.field) for each in found.differences} == {
        ("a", "r0", "body"),
        ("a", "r0", "notes"),
    }
    assert "has the word 'rare0'" in {each.source for each in found.differences}


def test_another_record_with_the_word_must_be_found_too(tmp_path: Path) -> None:
    made = built(tmp_path, {"a": [{"body": "one zebra"}] * 900})
    spoil(made, "a", ["r7", "r8"])
    assert {each.id for each in verdict(made).differences} >= {"r7", "r8"}


def test_what_stayed_behind_is_not_missed(tmp_path: Path) -> None:
    made = built(tmp_path, {"a": rows(4)}, excused=frozenset({("a", "r0")}))
    assert verdict(made).passed
    assert not len(made.target.fetch("a", ["r0"]))


def test_words_that_too_many_records_have_prove_nothing(tmp_path: Path) -> None:
    found = verdict(built(tmp_path, {"a": [{"body": "all alike"}] * 1001}))
    assert not found.passed and "every word tried is in too many records" in found.reason


def test_no_text_is_nothing_to_find(tmp_path: Path) -> None:
    found = verdict(built(tmp_path, {"a": [{"kind": "x"}, {"body": 5}, {"body": ["a list"]}, {"notes": "no list"}]}))
    assert found.passed and found.reason == "no record has text in a searchable field whose words are known"


@pytest.mark.parametrize("target", [MEMORY, WORDLESS])
def test_the_gate_wants_it_only_where_a_field_is_searchable(tmp_path: Path, target: Any) -> None:
    made = built(tmp_path, {"a": rows(4)})
    assert ("keyword", "overall") in required(made.plan, made.session.spec.checks)
    plain = build(tmp_path, [make_batch("a", ["r"], vectors(1), ["{}"])], fields={"kind": "string"}, target=target)
    assert not keyword_fields(plain.session)
    assert check_keyword(plain.session, plain.plan) == ()
    assert ("keyword", "overall") not in required(plain.plan, plain.session.spec.checks)


def test_a_target_without_keyword_search_is_not_asked(tmp_path: Path) -> None:
    made = build(tmp_path, [make_batch("a", ["r"], vectors(1), ['{"body":"x"}'])], fields=FIELDS, target=WORDLESS)
    assert not keyword_fields(made.session)


def test_a_field_whose_words_only_the_database_knows_is_named(tmp_path: Path) -> None:
    made = built(tmp_path, {"a": rows(4)})
    body = {"type": "text", "tokenization": "trigram"}
    spec = MigrationSpec.model_validate(
        made.session.spec.model_dump(mode="json", exclude_defaults=True) | {"fields": {**FIELDS, "body": body}}
    )
    found = verdict(replace(made, session=replace(made.session, spec=spec)))
    assert found.passed and found.figures["not_measured"] == ["body"]
    assert found.reason == "how the text of body becomes words only the database knows"
    assert found.figures["words"] == 2
