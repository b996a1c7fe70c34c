"""The vendor's SDKs 6 to 10 for Python on a gateway, each in an environment of its own, which has to be given.

    uv venv sdk-6 && uv pip install --python sdk-6 'pinecone[asyncio,grpc]==6.0.2'
    VECTORFERRY_SDKS=sdk-6/bin/python:sdk-7/bin/python pytest tests/router/test_sdk_versions.py -s

Without, this shows nothing; test_gateway.py speaks the versions by bytes.
"""

import os
import subprocess
from pathlib import Path

import pytest

from router.planting import eventually, raising
from router.test_pinecone_gateway import KEY, Front, front
from vectorferry.core.errors import OutcomeUnknown, Unavailable

__all__ = ["front"]
GIVEN = [Path(each) for each in os.environ.get("VECTORFERRY_SDKS", "").split(":") if each]
CLIENT = Path(__file__).with_name("sdk_client.py")


@pytest.mark.parametrize("python", GIVEN or [pytest.param(None, marks=pytest.mark.skip("no environment is given"))])
def test_an_sdk(front: Front, python: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gateway = front.start()

    def run(scenario: str) -> str:
        command = [python, CLIENT, gateway.url, gateway.grpc_target("docs"), KEY, scenario]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout.strip()

    run("operations")
    eventually(lambda: front.pair.settle() == front.pair.dirty() == 0)
    for kind in (OutcomeUnknown, Unavailable):
        for scenario in ("rest", "grpc", "asyncio"):
            asked = raising(kind, monkeypatch)
            print(f"\n{python.parts[-3]} {scenario} {kind.__name__}: {run(scenario)}, sent {len(asked)} times")
