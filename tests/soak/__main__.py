"""`make soak MINUTES=5`, or `PYTHONPATH=tests python -m soak --help`."""

import argparse
import os
import sys
import tempfile
from dataclasses import fields
from pathlib import Path

from soak.running import folder_below, soak
from soak.settings import Settings
from soak.summary import Demands

GAP_SECONDS = 3.0


def main() -> int:
    """Give 0 if nothing was found and enough was done."""
    options = _parser().parse_args()
    chaos = options.chaos != "no"
    folder = folder_below(Path(options.folder))
    given = {name: getattr(options, name) for name in _NAMES if getattr(options, name) is not None}
    settings = Settings(folder, chaos=chaos, **(given if chaos else _CALM | given))
    done = soak(settings, _demands(settings), print, os.environ.update)
    for text in done.shortcomings:
        print(f"NOT GOOD: {text}; everything is in {folder}")
    return 1 if done.shortcomings else 0


_NAMES = [f.name for f in fields(Settings) if f.name not in ("folder", "chaos", "migration", "journal", "connections")]
_CALM = {"finish": False, "delay": 0.0, "stale": 0.0, "writers": 3, "lease": 10.0, "worker_lease": 10.0}


def _yes(text: str) -> bool:
    return text == "yes"


def _demands(settings: Settings) -> Demands:
    seconds = settings.minutes * 60
    if not settings.chaos:
        return Demands(0, settings.switches or int(settings.minutes), 0, gap=GAP_SECONDS, errors=False)
    switches, kills = max(1, int(settings.minutes / 2)), int(4 * settings.minutes)
    return Demands(0.3 * settings.rate * seconds, switches, kills, database_kills=switches)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m soak", description=__doc__)
    parser.add_argument(
        "--chaos", choices=["yes", "no"], default="yes", help="kill and stop processes, and inject faults"
    )
    parser.add_argument("--folder", default=tempfile.gettempdir(), help="where the run makes its folder")
    for each in fields(Settings):
        if each.name in _NAMES:
            kind = _yes if isinstance(each.default, bool) else type(each.default)
            parser.add_argument(f"--{each.name.replace('_', '-')}", type=kind, default=None, help=f"{each.default}")
    return parser


if __name__ == "__main__":
    sys.exit(main())
