"""Environments with an Airflow that is already there, and this package's wheel beside it.

Airflow's constraints for a release are the versions that were the newest on that day. They are had here by asking the package index as of
a day on which the release was the newest one itself.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
UV = os.environ.get("VECTORFERRY_UV", str(ROOT / ".tools" / "bin" / "uv"))


@dataclass(frozen=True)
class Release:
    """A version of Airflow, a day on which it was the newest, and the providers that are there with it."""

    version: str
    day: str
    providers: Sequence[str] = ("postgres",)


# Weaviate's client does not take the newest grpcio: whoever moves to Weaviate has the provider, under the same constraints.
RELEASES = (
    Release("3.1.8", "2026-03-15"),
    Release("3.2.2", "2026-06-15"),
    Release("3.3.2", "2026-10-01", ("postgres", "fab", "openlineage", "weaviate")),
)


@dataclass(frozen=True)
class Environment:
    """Where the environment lies; its packages as `uv pip freeze` names them, with and without ours."""

    folder: Path
    before: frozenset[str]
    after: frozenset[str]

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"


def built_wheel(folder: Path) -> Path:
    """The wheel of this checkout."""
    _uv("build", "--wheel", "--no-build-isolation", "--python", sys.executable, "--out-dir", str(folder), str(ROOT))
    [wheel] = folder.glob("*.whl")
    return wheel


def beside_airflow(folder: Path, release: Release, wheel: Path, extras: Sequence[str]) -> Environment:
    """Makes or renews the environment; raises CalledProcessError where the wheel does not fit what is there.

    What is there is given as constraints, so that the installer may add and must change nothing.
    """
    frozen = folder / "airflow.txt"
    if not frozen.is_file() or _wants(release) != (folder / "release.txt").read_text():
        shutil.rmtree(folder, ignore_errors=True)
        _uv("venv", "--quiet", "--python", sys.executable, str(folder))
        _uv("pip", "install", "--quiet", "--python", str(folder), "--exclude-newer", release.day, _airflow(release))
        (folder / "release.txt").write_text(_wants(release))
        frozen.write_text("\n".join(sorted(_freeze(folder))))
    given = frozenset(frozen.read_text().splitlines())
    asked = f"vectorferry[{','.join(extras)}] @ {wheel.as_uri()}"
    _uv(
        *("pip", "install", "--quiet", "--python", str(folder), "--reinstall-package", "vectorferry"),
        "--constraint",
        str(frozen),
        asked,
    )
    return Environment(folder, given, _freeze(folder))


def _wants(release: Release) -> str:
    return f"{_airflow(release)} on {release.day}, Python {sys.version_info.major}.{sys.version_info.minor}"


def _airflow(release: Release) -> str:
    return f"apache-airflow[{','.join(release.providers)}]=={release.version}"


def _freeze(folder: Path) -> frozenset[str]:
    lines = _uv("pip", "freeze", "--quiet", "--python", str(folder)).splitlines()
    return frozenset(line for line in lines if line)


def _uv(*arguments: str) -> str:
    ran = subprocess.run((UV, *arguments), check=True, stdout=subprocess.PIPE, text=True)
    return ran.stdout
