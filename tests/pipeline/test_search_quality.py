"""Search quality on real targets: a made query file, graded judgements and effort, each in the evidence of a whole run."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.worlds import World, qdrant_connection, rows_of, weaviate_connection
from vectorferry.core.model import KeyRange
from vectorferry.engine import pipeline
from vectorferry.engine.checks.query_kinds import MADE
from vectorferry.engine.signoff.evidence import verdicts_of
from vectorferry.engine.signoff.gate import failures
from vectorferry.journal import Evidence
from vectorferry.spec.connections import Connection


def figures_of(evidence: Evidence, check: str) -> dict[str, Any]:
    (found,) = [each for each in verdicts_of(evidence, check) if each["scope"] == "overall"]
    return dict(found["figures"])


def judged(world: World, questions: int = 20) -> str:
    """Grades by the exact order of the source: 2 for the nearest three, 1 for two more."""
    with world.source() as source:
        name = "asyncio"
        ids = [id_ for page in source.list_ids(KeyRange(name)) for id_ in page]
        batch = source.fetch(name, ids)
    vectors = np.stack(batch.column("vector").to_numpy(zero_copy_only=False)).astype(np.float64)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    rows = []
    for number in range(questions):
        order = np.argsort(-(vectors @ vectors[number]))[:5]
        rows += [
            {
                "query": f"q{number}",
                "namespace": name,
                "vector": vectors[number].tolist(),
                "id": ids[row],
                "grade": grade,
            }
            for row, grade in zip(order.tolist(), (2, 2, 2, 1, 1), strict=True)
        ]
    path = world.folder / "judged.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path)
    return str(path)


@pytest.fixture
def filled(world: World) -> World:
    """With two namespaces."""
    world.fill(rows_of("asyncio", "dataclasses"))
    return world


@pytest.fixture(
    params=["postgres", *(pytest.param(name, marks=pytest.mark.long) for name in ("weaviate", "qdrant", "lancedb"))]
)
def target(filled: World, request: pytest.FixtureRequest) -> str:
    """The product that the migration goes to."""
    kind = str(request.param)
    if kind == "weaviate":
        filled.connections["target"] = weaviate_connection(request.getfixturevalue("weaviate"))
        filled.spec_dict["target"]["collection"] = "SearchQuality"
    elif kind == "qdrant":
        filled.connections["target"] = qdrant_connection(request.getfixturevalue("qdrant"))
        filled.spec_dict["target"]["collection"] = "search_quality"
    elif kind == "lancedb":
        filled.connections["target"] = Connection("target", "lancedb", extra={"uri": str(filled.folder / "lance")})
    return kind


def test_kinds_effort_and_judgements_stand_in_the_evidence(filled: World, target: str) -> None:
    file = str(filled.folder / "made.parquet")
    plain = filled.spec
    filled.spec_dict["checks"] |= {"relevance": {"judgements": judged(filled), "min_ndcg": 0.5}}
    filled.spec_dict["checks"]["recall"] |= {"queries": file, "threshold": 0.8}
    if target != "weaviate":
        filled.spec_dict["checks"]["recall"] |= {"effort": 32}
    with filled.source() as source:
        made = pipeline.make_evaluation_set(source, plain, lambda _: None, file=file, queries=90, seed=1)
    with filled.session() as session:
        try:
            evidence = pipeline.run(session, lambda *_: False).evidence
            by_kind = figures_of(evidence, "recall")["by_kind"]
            assert made.kinds.keys() <= by_kind.keys()
            assert set(made.kinds) == set(MADE)
            effort = figures_of(evidence, "effort")
            if target == "weaviate":
                assert effort["curve"] == []
                assert "takes no effort per query" in effort["reason"]
            else:
                assert {point["k"] for point in effort["curve"]} == {1, 10, 100}
                assert {32, effort["proposed"]} <= {point["effort"] for point in effort["curve"] if point["k"] == 10}
                assert effort["used"] == 32
            judged_well = figures_of(evidence, "relevance")
            assert judged_well["queries"] == 20
            assert judged_well["target"]["ndcg"] == judged_well["source"]["ndcg"] == pytest.approx(1)
            plan = session.plan()
            others = [
                each for each in session.journal.evidence.verdicts(plan.id, session.run_id) if each.check != "relevance"
            ]
            assert list(failures(plan, session.spec.checks, others)) == ["relevance of overall: not run"]
        finally:
            session.target.drop()
