"""`make drift ROWS=100000 DRIFT=1000`, or `PYTHONPATH=tests python -m drift --help`."""

import argparse
import os
import sys
import tempfile
import time
from collections import Counter
from dataclasses import fields
from pathlib import Path

from drift.settings import Settings
from drift.story import Mended, mend, prepared
from drift.world import own_servers, pair_of


def main() -> int:
    """Give 0 if all was found, named and mended, and nothing else was touched."""
    given = {name: value for name, value in vars(_parser().parse_args()).items() if value is not None}
    folder = Path(tempfile.gettempdir()) / f"drift-{time.strftime('%m%d-%H%M%S')}"
    settings = Settings(folder, whole=True, **given)
    print(f"{os.cpu_count()} cores; {settings}", flush=True)
    with own_servers(settings) as servers, prepared(pair_of(settings, servers)) as (story, router):
        kinds = ", ".join(f"{count} {kind}" for kind, count in Counter(each.kind for each in story.planted).items())
        hows = ", ".join(
            f"{count} {how}" for how, count in Counter(each.how for each in story.planted if each.how).items()
        )
        print(f"planted in the follower: {kinds} ({hows}); {len(story.untouchable)} excused", flush=True)
        done = mend(story, router, settings.seed)
    print("\n".join(_lines(done)))
    for wrong in done.wrong[:50]:
        print(f"NOT GOOD: {wrong}")
    return 1 if done.wrong else 0


def _lines(done: Mended) -> list[str]:
    figures = done.first.json if not done.first.code else {}
    return [
        f"reconciled in {done.first.seconds:.1f} s, peak {done.first.peak / 2**20:.0f} MiB, after {done.killed} kills: {figures}",
        f"written meanwhile: {done.written} calls, {done.deleted} of them deletions",
        f"named once each: {len(done.named)}; both sides then held {done.rows} records each, {len(done.wrong)} complaints",
    ]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m drift", description=__doc__)
    for each in fields(Settings):
        if each.name not in ("folder", "name", "asks", "whole"):
            parser.add_argument(f"--{each.name}", type=type(each.default), default=None, help=f"{each.default}")
    return parser


if __name__ == "__main__":
    sys.exit(main())
