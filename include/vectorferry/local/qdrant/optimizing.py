"""The engine's optimizers, run on a copy of a shard by a process of its own: the binding lets nothing else happen meanwhile.

python -m vectorferry.local.qdrant.optimizing FOLDER
"""

import ctypes
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import qdrant_edge as edge

_PARENT_DEATH = 1  # prctl(2), PR_SET_PDEATHSIG
_NICENESS = 5  # requests come first


class OptimizersFailed(Exception):
    """What is served is as it was; nothing is lost."""


class Optimizing:
    """One run of the optimizers, which can be ended early from another thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._stopped = False

    def run(self, folder: Path) -> bool:
        """Optimize the shard in a folder, which nobody has open; False where it was ended before it was done.

        Raises OptimizersFailed where they ended by themselves.
        """
        command = [sys.executable, "-m", "vectorferry.local.qdrant.optimizing", str(folder)]
        with self._lock:
            if self._stopped:
                return False
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        code = self._process.wait()
        with self._lock:
            if code and not self._stopped:
                raise OptimizersFailed(f"the optimizers ended with exit code {code}; the server's log may say why")
        return not code

    def stop(self) -> None:
        """End the run, and all that would begin later."""
        with self._lock:
            self._stopped = True
            if self._process is not None:
                self._process.kill()


def _main(folder: str) -> None:
    parent = os.getppid()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PARENT_DEATH, signal.SIGKILL)
    if os.getppid() != parent:
        return
    os.nice(_NICENESS)
    shard = edge.EdgeShard.load(folder)
    shard.optimize()
    shard.flush()
    shard.close()


if __name__ == "__main__":
    _main(sys.argv[1])
