"""A bad spec is refused with file, line, what is wrong and the nearest valid key."""

from pathlib import Path

import pytest

from vectorferry.core.errors import SpecError
from vectorferry.spec.loader import load_spec, parse_spec
from vectorferry.spec.upkeep import Holds, Reconcile

GOOD = """\
migration: docs
source: {connection: a, collection: x}
target:
  connection: b
  collection: y
staging: {url: /tmp/staging}
writers: none
"""


def problems(text: str) -> list[str]:
    with pytest.raises(SpecError) as caught:
        parse_spec(text, "s.yaml")
    return [str(problem) for problem in caught.value.problems]


def test_a_minimal_spec_has_the_documented_defaults() -> None:
    spec = parse_spec(GOOD, "s.yaml")
    assert spec.limits.excused == 0
    assert spec.approval.four_eyes
    assert spec.namespaces.chosen("")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            ("  collection: y", "  collection: y\n  metrc: cosine"),
            "s.yaml:6: target.metrc: is not a known key (did you mean 'metric'?)",
        ),
        (("writers: none", "writers: nobody"), "s.yaml:7: writers: Input should be 'none'"),
        (
            ("writers: none", "writers: {expected: 0}"),
            "s.yaml:7: writers.expected: Input should be greater than or equal to 1",
        ),
        (("writers: none", "writers: {}"), "s.yaml:7: writers.expected: is required (add `expected:`)"),
        (
            ("writers: none", "writers: {expected: 2, expect: 1}"),
            "s.yaml:7: writers.expect: is not a known key (did you mean 'expected'?)",
        ),
        (("writers: none", "writers: 3"), "s.yaml:7: writers: Input should be 'none', or {expected: N}"),
        (
            ("writers: none", "writers: {expected: 2}\nswitch: {hold: soon}"),
            "s.yaml:8: switch.hold: 'soon' is no duration",
        ),
        (
            ("writers: none", "writers: {expected: 2}\nnamespaces: {exclude: [old]}"),
            "s.yaml:1: writers: {expected: N} moves all namespaces",
        ),
        (("staging: {url: /tmp/staging}", ""), "s.yaml:1: staging: is required (add `staging:`)"),
        (("writers: none", "writers: none\nlimits: {lease: soon}"), "s.yaml:8: limits.lease: 'soon' is no duration"),
        (
            ("writers: none", "writers: none\ncapacity: {target: {memory: 16 gigs}}"),
            "s.yaml:8: capacity.target.memory: '16 gigs' is no size; write a number with kB",
        ),
        (
            ("writers: none", "writers: none\ncapacity: {target: {disk: 0GB}}"),
            "s.yaml:8: capacity.target.disk: ",
        ),
        (("writers: none", "writers: none\ncapacity: {warn: 0.99}"), "s.yaml:8: capacity: warn is above pause"),
        (("writers: none", "writers: none\nwriters: none"), "s.yaml:8: writers: is given twice"),
        (
            ("writers: none", "writers: none\npartitions: {rows: 0}"),
            "s.yaml:8: partitions.rows: Input should be greater than or equal to 1",
        ),
        (
            ("writers: none", "writers: none\nfields: {year: date}"),
            "s.yaml:8: fields.year: Input should be 'string', 'number'",
        ),
        (("migration: docs", "migration: 1 2"), "s.yaml:1: migration: String should match pattern"),
        (("writers: none", "writers: [none"), "s.yaml:8: is not valid YAML"),
    ],
)
def test_each_mistake_names_its_line(change: tuple[str, str], said: str) -> None:
    found = problems(GOOD.replace(*change))
    assert any(line.startswith(said) for line in found), found


def test_every_mistake_is_listed_at_once_in_file_order() -> None:
    found = problems("migration: docs\nsource: {connection: a}\nwriters: nobody\n")
    assert [line.split(":")[1] for line in found] == sorted(line.split(":")[1] for line in found)
    assert len(found) == 4


def test_source_and_target_must_differ() -> None:
    same = GOOD.replace("connection: b", "connection: a").replace("collection: y", "collection: x")
    assert "source and target are the same collection" in problems(same)[0]


def test_a_filter_that_is_wrong_names_the_operator() -> None:
    text = GOOD + "checks:\n  filters:\n    recorded:\n      - {year: {$near: 3}}\n"
    assert "s.yaml:11: checks.filters.recorded.0: operator $near on 'year' is unknown" in problems(text)[0]


def test_a_missing_file_and_a_list_are_explained(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="cannot be read"):
        load_spec(tmp_path / "no.yaml")
    assert "is not a mapping" in problems("- a\n")[0]


def test_fingerprints_bind_what_matters() -> None:
    spec = parse_spec(GOOD, "s.yaml")
    described = parse_spec(GOOD + "description: words\nowner: me\n", "s.yaml")
    stricter = parse_spec(GOOD + "checks: {recall: {threshold: 0.99}}\n", "s.yaml")
    smaller = parse_spec(GOOD + "partitions: {rows: 5}\n", "s.yaml")
    wider = parse_spec(GOOD + "partitions: {parallel: 9}\n", "s.yaml")
    assert wider.plan_fingerprint == spec.plan_fingerprint
    assert described.fingerprint == wider.fingerprint == spec.fingerprint
    assert stricter.fingerprint != spec.fingerprint
    assert stricter.plan_fingerprint == spec.plan_fingerprint
    assert smaller.plan_fingerprint != spec.plan_fingerprint


def test_the_terminal_cannot_hold_four_eyes() -> None:
    assert "needs four_eyes: false" in problems(GOOD + "approval: {terminal: true}\n")[0]


def test_routers_and_how_they_switch() -> None:
    none, live = parse_spec(GOOD, "s.yaml"), parse_spec(GOOD.replace("none", "{expected: 3}"), "s.yaml")
    assert (none.routers, live.routers) == (0, 3)
    assert (live.switch.hold.total_seconds(), live.switch.backlog) == (10, 1000)
    assert live.plan_fingerprint != none.plan_fingerprint
    assert live.plan_fingerprint == parse_spec(GOOD.replace("none", "{expected: 4}"), "s.yaml").plan_fingerprint
    again = type(live).model_validate(live.model_dump(mode="json", exclude_defaults=True))
    assert again.fingerprint == live.fingerprint


@pytest.mark.parametrize(
    ("written", "size"),
    [("16GiB", 16 << 30), ("1.5 GB", 1_500_000_000), ("100kB", 100_000), ("2KiB", 2048), ("3TB", 3 * 10**12), (42, 42)],
)
def test_sizes(written: str | int, size: int) -> None:
    assert Holds.model_validate({"disk": written}).disk == size


@pytest.mark.parametrize("cron", ["0 2 * * *", "*/90 1-5,7 1 jan mon-fri", "0 4 * * sun", "@daily"])
def test_schedules(cron: str) -> None:
    assert Reconcile.model_validate({"schedule": cron}).schedule == cron


@pytest.mark.parametrize("wrong", ["at night", "0 25 * * *", "0 2 * *", "0 2 * * * *", 2])
def test_what_is_no_schedule_is_named(wrong: object) -> None:
    told = problems(GOOD + f"reconcile: {{schedule: {wrong!r}}}\n")
    assert "is no cron expression; write minute, hour" in told[0]


def test_no_schedule() -> None:
    assert parse_spec(GOOD + "reconcile: {schedule: none}\n", "s.yaml").reconcile.schedule is None
