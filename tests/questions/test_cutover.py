"""The approver's question: every figure of the evidence on one screen of Markdown."""

from types import SimpleNamespace
from typing import Any

from journal.helpers import make_evidence
from vectorferry.core.model import REPAIR, Phase
from vectorferry.questions.cutover import question
from vectorferry.questions.layout import NO_BREAK, Question, plain
from vectorferry.spec.cutover_rules import Switch
from vectorferry.spec.limits import Writers
from vectorferry.spec.migration import MigrationSpec
from vectorferry.spec.table import Table
from vectorferry.stores.pinecone.store import PINECONE

SPEC = MigrationSpec.model_validate(
    {
        "migration": "docs",
        "source": {"connection": "a", "collection": "x"},
        "target": {"connection": "b", "collection": "x"},
        "staging": {"url": "/tmp/s"},
        "writers": "none",
        "approval": {"timeout": "36h", "evidence_age": "30m"},
    }
)
WINDOW = Switch.model_validate(
    {"window": {"days": ["tue", "wed"], "begin": "09:00", "until": "11:00", "timezone": "Europe/Berlin"}}
)
FILTERS = {"filters": 9, "compared_on_target": 8, "refused_by_target": 1, "failed": 0}
SPEED = {"p50_ms": 1.0, "p95_ms": 2.0, "p99_ms": 3.0}


def verdict(check: str, scope: str = "overall", **figures: Any) -> dict[str, Any]:
    return {"check": check, "scope": scope, "passed": True, "figures": figures, "total_differences": 0}


def ask(*verdicts: dict[str, Any], spec: MigrationSpec = SPEC, journal: Any = None, **body: Any) -> Question:
    evidence = {
        "go": True,
        "against": [],
        "source": "pinecone x",
        "target": "weaviate X",
        "namespaces": 2,
        "partitions": 3,
        "rows": {"planned": 1_000_000, "excused": 1},
        "requested_by": "ann",
        "run": "manual__1",
        "verdicts": list(verdicts),
    }
    session: Any = SimpleNamespace(
        spec=spec,
        migration="docs",
        journal=journal,
        source=SimpleNamespace(capabilities=PINECONE),
        target=SimpleNamespace(capabilities=PINECONE),
        staging=SimpleNamespace(locate=lambda path: f"/tmp/s/{path}"),
    )
    return question(session, make_evidence("a" * 64, body=evidence | body), "http://airflow/report")


def rows_of(*verdicts: dict[str, Any], **arguments: Any) -> dict[str, str]:
    """The question's table, by the name of its row."""
    asked = ask(*verdicts, **arguments)
    assert asked.subject == "GO: cut over docs to weaviate X?"
    lines = [line for line in asked.body.splitlines() if line.startswith("| ")][1:]
    return {name.replace(NO_BREAK, " "): value for name, value in (line.strip("| ").split(" | ") for line in lines)}


def doubts_of(*verdicts: dict[str, Any], **arguments: Any) -> list[str]:
    """What the question says to look at first."""
    return [line for line in ask(*verdicts, **arguments).body.splitlines() if line.startswith("- ")]


def test_the_figures_are_those_of_the_evidence() -> None:
    rows = rows_of(
        verdict("counts", "p0000", source=6, target=5),
        verdict("counts", "p0001", source=4, target=4),
        verdict("extras", extra=2),
        verdict("content", "p0000", compared=10),
        verdict("recall", recall=0.99, low=0.98, high=1.0, threshold=0.95),
        verdict("recall", "namespace:", recall=0.97, low=0.96, high=0.98),
        verdict("recall", "namespace:shop", recall=1.0, low=0.99, high=1.0),
        verdict("filters", '{"a":1}'),
        verdict("filters", **FILTERS),
        verdict("latency", source=SPEED, target=SPEED),
        verdict("expectations", expectations=11),
    )
    assert rows["Rows"] == "source **10**, target **9**, excused **1**, only in the target **2**; 2 namespaces"
    assert rows["Checks"] == (
        "10 rows read back, **0** differ; 8 filters, **0** differ; 11 expectations, **0** not met; "
        "p95 of source 2.0 ms, target 2.0 ms"
    )
    assert "worst namespace `(default)` **0.9700** [0.9600, 0.9800]; must reach 0.95" in rows["Recall"]


def test_the_load_that_the_target_holds_is_told_where_it_was_measured() -> None:
    held = verdict("load", held=411.6, required=360.0, limited_by="p99")
    assert rows_of(held)["Checks"].endswith("; the target holds **412 searches/s**, 360 are required")
    assert "Load" not in " ".join(doubts_of(held))
    nothing = verdict("load", held=None, required=360.0, limited_by="client")
    assert "the target holds **not even the peak**" in rows_of(nothing)["Checks"]
    assert doubts_of(nothing)[-1].startswith("- **Load:** the client was the limit")


def test_the_worst_vector_is_shown_and_what_nothing_searches() -> None:
    vectors = {"(without a name)": 0.99, "multi:tokens": 0.97}
    low = {"recall": 0.97, "low": 0.96, "high": 0.98}
    several = {"vector": "multi:tokens", "vectors": vectors, "not_searched": ["sparse:words"]}
    text = rows_of(verdict("recall", **low, threshold=0.95, **several), verdict("recall", "namespace:shop", **low))[
        "Recall"
    ]
    assert "**0.9700** [0.9600, 0.9800]; by `multi:tokens`, the worst of 2 vectors; worst namespace" in text
    assert text.endswith("; **not searched by the target**: `sparse:words`")
    nothing = rows_of(verdict("recall", queries=0, not_searched=["sparse:words"]))["Recall"]
    assert nothing == "not measured; **not searched by the target**: `sparse:words`"


def test_judged_answers_of_the_sides_that_were_asked_are_shown() -> None:
    recall = verdict("recall", recall=0.97, low=0.96, high=0.98, threshold=0.95)
    sides = {"source": {"not_measured": "it has no index"}, "target": {"ndcg": 0.81234}}
    assert "nDCG" not in rows_of(recall)["Recall"]
    text = rows_of(recall, verdict("relevance", queries=40, k=10, **sides))["Recall"]
    assert text.endswith("; nDCG@10 of 40 judged questions: target **0.8123**")
    both = rows_of(recall, verdict("relevance", queries=40, k=10, **sides | {"source": {"ndcg": 0.8}}))["Recall"]
    assert both.endswith(": source **0.8000**, target **0.8123**")


def test_times_and_money_are_spelt_for_people() -> None:
    rows = rows_of()
    assert rows["Report"].endswith("; asked by ann; answer within 36 h; evidence `aaaaaaaaaaaa` lapses after 30 min")
    assert "100,000 read units ($1.60)" in rows["Switch"]


def test_what_was_not_measured_is_said() -> None:
    rows = rows_of()
    assert rows["Recall"] == "not measured"
    assert rows["Checks"].endswith("latency not measured")
    assert "no filters, as no fields are declared" in rows["Checks"]


def test_with_routers_it_tells_of_the_pause_and_who_writes() -> None:
    live = SPEC.model_copy(update={"writers": Writers(expected=2), "switch": Switch.model_validate({"hold": "7s"})})
    members = [SimpleNamespace(lease_left=left) for left in (3.0, 2.0, -1.0)]
    journal = SimpleNamespace(
        members=SimpleNamespace(all=lambda _: members),
        claims=SimpleNamespace(backlog=lambda *_: SimpleNamespace(dirty=1200, open=3)),
    )
    found = {"failed": 2, "dropped": 3, "overlap": 0.9912, "least_overlap": 0.7, "in_order": 0.98, "score_drift": 1e-6}
    searches = {**found, "reads": 1230, "authority": {"p95_ms": 3.1}, "follower": {"p95_ms": 5.25}}
    shadow = {"share": 0.05, "reads": 1230, "seconds": 720, "routers": 2, "search": searches, "fetch": {"reads": 0}}
    verdicts = (verdict("touched", touched=4321, compared=4321), verdict("shadow_reads", **shadow))
    rows = rows_of(*verdicts, spec=live, journal=journal)
    assert rows["Shadows"] == ("**1,230** compared: search same ids **0.9912** (least 0.70), 5 failed")
    assert rows["Writes"] == (
        "**2** routers with a lease of 2 expected, 3 in all; 4,321 records written since the plan; 1,200 to settle, 3 open"
    )
    assert rows["Switch"].startswith("writes wait for at most 7 s, or nothing changes; reads go on")
    assert "vectorferry rollback" in rows["Switch"]
    assert "reads the source once more" not in " ".join(rows.values())


def test_a_repair_tells_what_is_deleted_and_which_side_is_right() -> None:
    figures = {
        "kinds": {"missing": 4, "extra": 1200, "namespace": 1},
        "repairs": 1205,
        "deletions": 1201,
        "scope": "full",
    }
    figures |= {
        "rows_source": 9000,
        "rows_target": 10200,
        "over": ["1201 of them to delete, 100 allowed without asking"],
    }
    found = [("missing", "", "a|b`c\n"), ("missing", "n", "x" * 99), ("extra", "n", "e")]
    drift = verdict("drift") | {"figures": figures | {"file": "/tmp/d.parquet"}}
    drift |= {"differences": [{"kind": kind, "namespace": name, "id": id_} for kind, name, id_ in found]}
    control = [
        SimpleNamespace(cohort=name, phase=phase) for name, phase in (("canary", Phase.TRACK_B), ("all", Phase.TRACK_A))
    ]
    session: Any = SimpleNamespace(
        spec=SPEC,
        migration="docs",
        journal=SimpleNamespace(control=SimpleNamespace(all=lambda _: control)),
        source=SimpleNamespace(name="pinecone x"),
        target=SimpleNamespace(name="weaviate X"),
        staging=SimpleNamespace(locate=lambda path: f"/tmp/s/{path}"),
    )
    body = {"requested_by": "scheduler", "run": "scheduled__1", "verdicts": [drift]}
    asked = question(session, make_evidence("a" * 64, body=body, kind=REPAIR, migration="docs"), "")
    assert asked.subject == "Repair 1,205 records of docs, deleting 1,201?"
    assert "which **deletes 1,201** there" in asked.body
    assert "| Authority | `weaviate X` for canary; what is repaired is `pinecone x` |" in asked.body
    assert "| Deleted | **1,200** extra: `n/e`, …; **1** of a wrong namespace" in asked.body
    assert "| Written | **4** missing: " in asked.body
    assert sum(line.startswith("| ") for line in asked.body.splitlines()) <= 10
    assert "`(default)/a\\|b'c\N{REPLACEMENT CHARACTER}`" in asked.body
    assert all(len(line) < 400 for line in asked.body.splitlines())


def test_what_passed_and_is_doubtful_comes_first() -> None:
    verdicts = (
        verdict("content", "p0000", compared=5, of=10, share=0.5),
        verdict("recall", recall=0.99, low=0.98, high=1.0, threshold=0.95),
        verdict("recall", "namespace:shop", recall=0.96, low=0.93, high=1.0),
        *(verdict("recall", f"namespace:rewritten {n}", queries=0, set_aside=12) for n in range(4)),
    )
    assert doubts_of(*verdicts) == [
        "- **Excused:** 1 rows are left behind; the report lists them with their reasons",
        "- **Content** was compared for a sample only: 50% of the rows, as the spec says",
        "- **Recall** was not measured in 4 namespaces: `rewritten 0`, `rewritten 1`, `rewritten 2`, …",
    ]
    slow = verdict("latency", source=SPEED, target={**SPEED, "p95_ms": 5.0})
    unable = verdict("filters", **FILTERS) | {"reason": "no [such] index"}
    assert doubts_of(*verdicts, slow, unable)[3:] == ["- … and 3 more, in the report"]
    assert doubts_of(slow, unable, rows={"planned": 1, "excused": 0}) == [
        "- **Filters:** 1 are beyond what the target supports",
        "- **Latency:** the target's p95 is 2.5 times the source's",
        "- **Filters:** no \\[such\\] index",
    ]


def test_what_of_the_source_is_neither_moved_nor_checked_is_told() -> None:
    left = {"namespaces": 4, "rows": 1200, "first": ["", "a|b", "c"]}
    table = SPEC.model_copy(
        update={"source": SPEC.source.model_copy(update={"table": Table.model_validate({"where": "tenant = 1"})})}
    )
    told = doubts_of(verdict("extras", not_moved=left), spec=table, rows={"planned": 1, "excused": 0})
    assert told == [
        "- **Namespaces:** 4 of the source, with 1,200 records, stay there, as the spec says: `(default)`, `a\\|b`, `c`, …",
        "- **Condition:** of the source's table only the rows that `source.table.where` names were moved and compared",
    ]


def test_what_stands_against_it_comes_before_what_is_doubtful() -> None:
    against = [f"recall of n{n}: too low" for n in range(3)]
    body = ask(go=False, against=against, against_total=9).body
    assert body.index("recall of n0") < body.index("recall of n2") < body.index("… and 6 more") < body.index("Excused")


def test_without_doubts_nothing_is_said_of_them() -> None:
    assert "Look at first" not in ask(rows={"planned": 10, "excused": 0}).body


def test_a_question_with_many_namespaces_stays_one_screen() -> None:
    """Airflow's buttons stand below the text: at 1,000 pixels there is room for seven rows, and four lines above them."""
    names = [f"namespace:{'long name ' * 20}{n}" for n in range(300)]
    body = ask(
        verdict("recall", recall=0.99, low=0.9, high=1.0, threshold=0.95),
        *(verdict("recall", name, recall=0.96, low=0.93, high=1.0) for name in names[:150]),
        *(verdict("recall", name, queries=0) for name in names[150:]),
        spec=SPEC.model_copy(update={"switch": WINDOW}),
    ).body
    lines = body.splitlines()
    assert sum(line.startswith("| ") for line in lines) <= 8
    assert sum(line.startswith("- ") for line in lines) <= 4
    assert max(map(len, lines)) < 300


def test_the_report_is_a_link_where_it_has_an_address() -> None:
    assert rows_of()["Report"].startswith("[every check with its figures](http://airflow/report); asked by ann")


def test_names_of_the_data_are_no_markup_and_add_no_rows() -> None:
    evil = "a`|\n| Recall | **1.0000** |\n[x](http://y) <b>"
    low = {"recall": 0.5, "low": 0.4, "high": 0.6}
    rows = rows_of(
        verdict("recall", "overall", **low, threshold=0.95),
        verdict("recall", f"namespace:{evil}", **low),
    )
    assert list(rows).count("Recall") == 1
    assert "a'\\|\N{REPLACEMENT CHARACTER}" in rows["Recall"]


def test_what_stands_against_a_cut_over_is_plain_text() -> None:
    assert plain("n/[prod]|x\n**GO**") == "n/\\[prod\\]\\|x\N{REPLACEMENT CHARACTER}\\*\\*GO\\*\\*"
