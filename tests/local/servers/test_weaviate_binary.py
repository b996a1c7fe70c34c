"""The Weaviate binary is taken where it lies, built once by one of many, and its absence names the way out."""

import multiprocessing
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from vectorferry.local.servers import weaviate_binary as binary

FAKE_GO = """#!/bin/sh
if [ "$1" = env ]; then echo {version}; exit; fi
echo "go: downloading example v1"
echo "example/package"
sleep {seconds}
mkdir -p "$GOBIN" "$GOCACHE" "$GOMODCACHE"
echo built >> "{log}"
printf '#!/bin/sh\\n' > "$GOBIN/weaviate-server"
exit {code}
"""


def executable(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine with an empty cache, no weaviate and, until `go` is called, no Go; what pip installs does not come."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.setenv("VECTORFERRY_UV", str(executable(tmp_path / "uv", "#!/bin/sh\necho no registry >&2\nexit 2\n")))
    return tmp_path


def go(machine: Path, version: str = "go1.26.8", seconds: float = 0, code: int = 0) -> Path:
    log = machine / "builds"
    text = FAKE_GO.format(version=version, seconds=seconds, code=code, log=log)
    executable(machine / "bin" / "go", text)
    return log


def test_the_cached_binary_comes_before_the_one_on_path(machine):
    assert binary.find() is None
    on_path = executable(machine / "bin" / "weaviate", "")
    assert binary.find() == on_path
    cached = executable(machine / "cache" / "vectorferry" / f"weaviate-{binary.VERSION}" / "weaviate", "")
    assert binary.find() == binary.find_or_build() == cached


def test_a_build_is_kept_and_leaves_nothing_else(machine):
    go(machine)
    lines: list[str] = []
    built = binary.find_or_build(lines.append)
    assert os.access(built, os.X_OK)
    assert sorted(path.name for path in built.parent.iterdir()) == ["build.lock", "weaviate"]
    assert "building" in lines[0]
    assert str(built) in lines[-1]


def test_progress_says_what_it_is_at(machine, monkeypatch):
    go(machine, seconds=0.5)
    monkeypatch.setattr(binary, "PROGRESS_EVERY", 0.2)
    lines: list[str] = []
    binary.find_or_build(lines.append)
    assert any("0% compiled  compiling example/package" in line for line in lines)


@pytest.mark.parametrize("version", ["go1.25.9", "devel"])
def test_an_old_go_is_not_used(machine, version):
    log = go(machine, version=version)
    with pytest.raises(binary.WeaviateMissing, match=r"TARGET=pgvector(.|\n)*no registry"):
        binary.find_or_build(lambda line: None)
    assert not log.exists()


def test_a_failed_build_names_the_way_out_and_leaves_no_binary(machine):
    go(machine, code=1)
    with pytest.raises(binary.WeaviateMissing, match=r"make demo TARGET=pgvector(.|\n)*example/package"):
        binary.find_or_build(lambda line: None)
    assert binary.find() is None


def test_two_processes_build_once(machine):
    log = go(machine, seconds=0.5)
    context = multiprocessing.get_context("spawn")
    both = [context.Process(target=binary.find_or_build) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join()
    assert [process.exitcode for process in both] == [0, 0]
    assert log.read_text() == "built\n"


def test_only_the_standard_library_is_imported(machine):
    """It runs before the project's environment is made."""
    package_root = Path(binary.__file__).parents[3]
    command = [sys.executable, "-S", "-m", "vectorferry.local.servers.weaviate_binary"]
    outcome = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": str(package_root)}, capture_output=True, text=True
    )
    assert (outcome.returncode, outcome.stderr) == (1, "")


def test_a_build_says_how_far_it_is_and_how_long_it_will_take() -> None:
    assert binary.how_far(10, 30.0) == ", 1% compiled", "too early to say how long"
    assert binary.how_far(binary.PACKAGES // 2, 100.0) == ", 50% compiled, about 100 s left"
    assert binary.how_far(binary.PACKAGES * 2, 100.0).startswith(", 99% compiled")
