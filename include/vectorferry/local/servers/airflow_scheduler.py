"""Airflow's scheduler for the local servers, with what tasks import loaded once.

The LocalExecutor forks a process for each task. What the scheduler has imported a task need not: on two cores, importing the engine and
three SDKs anew takes most tasks longer than their work.
"""

import sys
from importlib import import_module
from runpy import run_module

PRELOADED = (
    "vectorferry.engine.pipeline",
    "vectorferry.engine.checks.ground_truth",
    "vectorferry.stores.pgvector.store",
    "vectorferry.stores.pinecone.store",
    "vectorferry.stores.weaviate.store",
)


def main() -> None:
    """Run `airflow scheduler` with the arguments of this command."""
    for module in PRELOADED:
        import_module(module)
    sys.argv = ["airflow", "scheduler", *sys.argv[1:]]
    run_module("airflow", run_name="__main__")


if __name__ == "__main__":
    main()
