"""A short soak with real processes: kills, stops and faults while a migration goes forward and back, and nothing is lost."""

import os
from pathlib import Path

import pytest

from soak.running import soak
from soak.settings import Settings
from soak.summary import Demands


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_short_soak_finds_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def apply_env(variables: dict[str, str]) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    seed = int(os.environ.get("VECTORFERRY_SOAK_SEED", "1"))
    settings = Settings(tmp_path, minutes=0.6, rate=25, reads=6, finish=False, seed=seed)
    with capsys.disabled():
        done = soak(settings, Demands(acknowledged=100, switches=1, kills=3), print, apply_env)
    assert done.shortcomings == [], [str(finding) for played in done.rounds for finding in played.findings]
