"""The local Qdrant as a process: python -m vectorferry.local.qdrant FOLDER --port P --grpc-port P, its key in QDRANT__SERVICE__API_KEY."""

import argparse
import logging
import os
from collections.abc import Sequence
from pathlib import Path

import orjson

from vectorferry.local.qdrant.server import serve


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve the folder that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--port", type=int, default=6333)
    parser.add_argument("--grpc-port", type=int, default=6334)
    parser.add_argument(
        "--faults", default="{}", help='as JSON: {"seed": 7, "rules": [{"kind": "rate_limit", "rate": 0.1}]}'
    )
    asked = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    # The vendor's own name for it; not an option, because command lines are readable by all users.
    serve(
        asked.folder,
        asked.port,
        asked.grpc_port,
        os.environ.get("QDRANT__SERVICE__API_KEY", ""),
        orjson.loads(asked.faults),
    )


if __name__ == "__main__":
    main()
