"""Soaks with real processes: kills, stops and faults while a migration goes forward and back, and nothing is lost."""

import os
from pathlib import Path

import pytest

from soak.running import soak
from soak.settings import Settings
from soak.summary import Demands

SHORT = Demands(acknowledged=100, switches=1, kills=3)
LONG = Demands(acknowledged=300, switches=2, kills=4)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "target", "minutes", "finish", "demands"),
    [
        ("pinecone", "pgvector", 0.2, False, SHORT),
        pytest.param("pinecone", "pgvector", 2.0, True, LONG, marks=pytest.mark.long),
        pytest.param("pgvector", "qdrant", 0.2, False, SHORT, marks=pytest.mark.long),
    ],
    ids=["short", "long", "qdrant"],
)
def test_a_soak_finds_nothing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    source: str,
    target: str,
    minutes: float,
    finish: bool,
    demands: Demands,
) -> None:
    def apply_env(variables: dict[str, str]) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    seed = int(os.environ.get("VECTORFERRY_SOAK_SEED", "1"))
    settings = Settings(
        tmp_path, source=source, target=target, minutes=minutes, rate=25, reads=6, finish=finish, seed=seed
    )
    with capsys.disabled():
        done = soak(settings, demands, print, apply_env)
    assert done.shortcomings == [], [str(finding) for played in done.rounds for finding in played.findings]
