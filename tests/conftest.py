"""Fixtures for every test, and which of them run side by side.

`make test` runs two processes. Each has servers of its own, which cost 1.3 s of CPU to start: so names need to be unique within a process
only, and no test sees another process's records, connections or restarts.
"""

import signal
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling

pytest_plugins = ["servers"]

# How long an example takes says more of what else the machine does than of the code.
settings.register_profile("vectorferry", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("vectorferry")

# Never two of them at once: an Airflow is four busy processes, and what they share (the stack of tests/orchestration) is started once.
AIRFLOW = ("tests/orchestration/", "tests/workers/", "tests/local/demo/", "tests/local/servers/test_airflow.py")
# What takes longest begins first, so that both processes end at about the same time.
FIRST = (
    *AIRFLOW,
    "tests/pipeline/",
    "tests/router/",
    "tests/soak/",
    "tests/model/",
    "tests/test_benchmarks.py",
    "tests/drift/",
)


def pytest_configure() -> None:
    # What a shell starts in the background ignores Ctrl-C, and so do its children: some tests send it to theirs.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


class Side(LoadScopeScheduling):  # type: ignore[misc]
    """Gives each file to one process, and everything that starts an Airflow to the same one."""

    def _split_scope(self, nodeid: str) -> str:
        return "airflow" if nodeid.startswith(AIRFLOW) else nodeid.partition("::")[0]


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Side:
    return Side(config, log)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: _place(item.nodeid))


def _place(nodeid: str, first: Sequence[str] = FIRST) -> int:
    return next((n for n, path in enumerate(first) if nodeid.startswith(path)), len(first))
