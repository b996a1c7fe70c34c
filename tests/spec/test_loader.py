"""A bad spec is refused with file, line, what is wrong and the nearest valid key."""

from pathlib import Path

import pytest

from vectorferry.core.errors import SpecError
from vectorferry.core.model import FieldOptions, FieldType
from vectorferry.spec.cutover_rules import Switch
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
            ("writers: none", "writers: none\nfields: {year: day}"),
            "s.yaml:8: fields.year: 'day' is no type of a field: known are 'string', 'text', 'number'",
        ),
        (("migration: docs", "migration: 1 2"), "s.yaml:1: migration: String should match pattern"),
        (("writers: none", "writers: [none"), "s.yaml:7: is not valid YAML"),
    ],
)
def test_each_mistake_names_its_line(change: tuple[str, str], said: str) -> None:
    found = problems(GOOD.replace(*change))
    assert any(line.startswith(said) for line in found), found


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("limits: {lease: .inf}", "8: limits.lease: is no number that a spec can hold: .inf"),
        ("partitions: {rows: .nan}", "8: partitions.rows: is no number that a spec can hold"),
        (f"switch: {{hold: {'9' * 400}s}}", "8: switch.hold: '9999999"),
        (f"capacity: {{target: {{memory: {'9' * 400}GiB}}}}", "8: capacity.target.memory: '9999999"),
        (f"partitions: {{rows: {'9' * 5000}}}", "8: partitions.rows: is no int: 9999999"),
        ("description: !x y", "8: description: has the tag !x (take it out: a spec takes no tags)"),
        ("description: !!binary aGk=", "8: description: has the tag tag:yaml.org,2002:binary"),
        ("description: !!int y", "8: description: is no int: y"),
        ("description: 2026-13-45", "8: description: is a date to YAML: 2026-13-45 (put it in quotes)"),
        ("description: 2026-11-30", "8: description: is a date to YAML: 2026-11-30 (put it in quotes)"),
        ("fields:\n  ? [a, b]\n  : string", "9: fields: has a key that is no text"),
        ("fields: {2026: string}", "8: fields: has the key 2026, which is no text (put it in quotes)"),
        ("tags: &a [*a]", "8: tags.0: is the alias *a (write the value out: a spec takes no aliases)"),
        ("<<: {owner: me}", "8: is merged with <<"),
        ("description: =", None),
        (
            "limits:\n\tlease: 5s",
            "9: is not valid YAML: found character '\\t' that cannot start any token (indent with spaces)",
        ),
        ('description: "a\\0b"', "8: description: holds a NUL"),
        ('description: "\\ud800"', "8: description: holds a NUL or half of a character"),
        ("description: a\x00b", "8: holds the character"),
        ("description: a\u2028b\nowner: 1", "8: holds the line break U+2028, which editors do not show"),
        ("limits:\r  lease: -5", "9: limits.lease: -5s is too short"),
        ("owner: me\n---\nmigration: b", "9: begins another document"),
        ("checks:\n  filters: " + "[" * 3000, "9: checks.filters.0.0"),
        ("tags: " + "{a: " * 3000, "8: tags."),
        ("partitions: {rows: yes}", "8: partitions.rows: Input should not be true"),
        ("source: {}", "8: source: is given twice"),
    ],
)
def test_what_yaml_allows_and_a_spec_does_not(more: str, said: str | None) -> None:
    if said is None:
        assert parse_spec(GOOD + more, "s.yaml").description == "="
    else:
        assert problems(GOOD + more)[0].startswith(f"s.yaml:{said}")


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"", "s.yaml:1: is empty (start with `migration: NAME`)"),
        (b"# only words\n", "s.yaml:1: is empty"),
        (b"migration: docs\nowner: caf\xe9\n", "s.yaml:2: is not UTF-8 (save the file as UTF-8)"),
        (GOOD.encode("utf-16"), "s.yaml:1: is not UTF-8"),
        (b"#" * 2_000_000, "s.yaml:1: is larger than 1,000,000 bytes"),
        (GOOD.replace("/tmp/staging", "~nobody-here/x").encode(), "s.yaml:6: staging.url: is no path"),
    ],
)
def test_files_that_are_no_specs(raw: bytes, said: str, tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    file.write_bytes(raw)
    with pytest.raises(SpecError) as caught:
        load_spec(file)
    assert str(caught.value).removeprefix(f"{tmp_path}/").startswith(said)


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    file.write_bytes(b"\xef\xbb\xbf" + GOOD.encode())
    assert load_spec(file).migration == "docs"


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("limits: {lease: -5}", "limits.lease: -5s is too short; write at least 1s"),
        ("limits: {lease: 2d}", "limits.lease: 2d is too long; write at most 1d"),
        ("limits: {request_deadline: 0s}", "limits.request_deadline: 0s is too short"),
        ("reconcile: {period: 0s}", "reconcile.period: 0s is too short; write at least 1m"),
        ("capacity: {every: 0s}", "capacity.every: 0s is too short; write at least 0.01s"),
        ("notify: {watch_every: 0s}", "notify.watch_every: 0s is too short; write at least 10s"),
        ("checks: {index_timeout: 0s}", "checks.index_timeout: 0s is no time at all; write more than 0s"),
        ("backup: {retention: -1d}", "backup.retention: '-1d' is no duration"),
        ("switch: {hold: 1d}", "switch.hold: 1d is too long; write at most 1h"),
        ("partitions: {rows: 1000000000000}", "partitions.rows: Input should be less than or equal to 1000000000"),
        ("budgets: {source: {quota_share: 0}}", "budgets.source.quota_share: Input should be greater"),
        ("approval: {approvers: ['']}", "approval.approvers.0: String should have at least 1 character"),
        ("tags: [" + "x" * 101 + "]", "tags.0: String should have at most 100 characters"),
        ("capacity: {target: {disk: 9999999TB}}", "capacity.target.disk: '9999999TB' is no size that a database has"),
        ("switch: {window: {begin: '09:00', until: 09:00}}", "switch.window: begin and until are both 09:00"),
        ("switch: {window: {begin: 09:00Z}}", "switch.window.begin: '09:00Z' is no time of day"),
        ("switch: {window: {begin: yes}}", "switch.window.begin: Input should not be true"),
        ("namespaces: {include: [a, 'b*'], exclude: ['a', '*']}", "namespaces: exclude takes away everything"),
        ("reconcile: {schedule: '0 0 30 2 *'}", "reconcile.schedule: '0 0 30 2 *' is no cron expression"),
    ],
)
def test_nonsense_is_refused(more: str, said: str) -> None:
    assert problems(GOOD + more)[0].startswith(f"s.yaml:8: {said}")


@pytest.mark.parametrize(
    ("cohorts", "said"),
    [
        ("[{name: a, namespaces: ['x*']}, {name: b, namespaces: ['xy*', xz]}]", "cohort 'b' has nothing"),
        ("[{name: a, namespaces: ['**']}]", "a cohort of '*' leaves nothing"),
        ("[{name: a, namespaces: ['*a*']}, {name: b, namespaces: ['[abc]']}]", None),
        ("[{name: a, namespaces: ['a?']}, {name: b, namespaces: ['a*']}]", None),
    ],
)
def test_a_cohort_that_can_have_nothing_is_refused(cohorts: str, said: str | None) -> None:
    text = GOOD.replace("none", "{expected: 1}") + f"switch: {{cohorts: {cohorts}}}\n"
    if said is None:
        assert len(parse_spec(text, "s.yaml").cohorts) == 3
    else:
        assert said in problems(text)[0]


def test_an_alias_needs_a_name_of_its_own() -> None:
    assert (
        "an alias needs a name of its own"
        in problems(GOOD.replace("  collection: y", "  collection: y\n  alias: y"))[0]
    )


@pytest.mark.parametrize(("written", "seconds"), [("1.5h", 5400), (".5m", 30), ("3.s", 3), (7, 7), (2.5, 2.5)])
def test_durations(written: str | float, seconds: float) -> None:
    assert Switch.model_validate({"wait_for_routers": written}).wait_for_routers.total_seconds() == seconds


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


def test_fields_have_a_type_or_options_beside_it() -> None:
    text = (
        GOOD
        + "fields: {brand: string, body: {type: text, tokenization: trigram}, plain: {type: uuids, filterable: true}}\n"
    )
    spec = parse_spec(text, "s.yaml")
    assert dict(spec.fields) == {"brand": FieldType.STRING, "body": FieldType.TEXT, "plain": FieldType.UUIDS}
    assert spec.fields.options == {"body": FieldOptions(tokenization="trigram")}
    again = type(spec).model_validate(spec.model_dump(mode="json", exclude_defaults=True))
    assert again == spec and again.plan_fingerprint == spec.plan_fingerprint


def test_a_field_without_options_has_the_fingerprint_of_its_short_form() -> None:
    short = parse_spec(GOOD + "fields: {brand: string, year: number}\n", "s.yaml")
    long = parse_spec(GOOD + "fields: {brand: {type: string}, year: {type: number, filterable: true}}\n", "s.yaml")
    other = parse_spec(GOOD + "fields: {brand: {type: string, searchable: true}, year: number}\n", "s.yaml")
    assert short.plan_fingerprint == long.plan_fingerprint != other.plan_fingerprint
    content = {"fields": {"brand": "string", "year": "number"}}
    assert short.model_dump(mode="json", include={"fields"}) == content  # as the first release wrote it


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("strnig", "fields.brand: 'strnig' is no type of a field: known are 'string', 'text'"),
        ("3", "fields.brand: 3 is no type of a field"),
        ("{searchable: true}", "fields.brand.type: is required"),
        ("{type: strnig}", "fields.brand.type: Input should be 'string', 'text'"),
        ("{type: text, serchable: true}", "did you mean 'searchable'?"),
        ("{type: number, searchable: true}", "are for string, text and lists of them, not for number"),
        ("{type: text, tokenization: words}", "fields.brand.tokenization: Input should be 'word'"),
    ],
)
def test_what_is_no_field_is_named(written: str, said: str) -> None:
    assert said in problems(GOOD + f"fields: {{brand: {written}}}\n")[0]


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


@pytest.mark.parametrize(
    "wrong",
    [
        "at night",
        "0 25 * * *",
        "0 2 * *",
        "0 2 * * * *",
        2,
        "*/0 * * * *",
        "5-1 * * * *",
        "0 0 0 * *",
        "0 0 * sun *",
        "0 0 * * jan",
    ],
)
def test_what_is_no_schedule_is_named(wrong: object) -> None:
    told = problems(GOOD + f"reconcile: {{schedule: {wrong!r}}}\n")
    assert "is no cron expression; write minute, hour" in told[0]


def test_no_schedule() -> None:
    assert parse_spec(GOOD + "reconcile: {schedule: none}\n", "s.yaml").reconcile.schedule is None
