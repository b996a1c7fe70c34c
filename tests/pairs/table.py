"""docs/pairs.md: the table that `make pairs` writes, and the way back from it."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import ascii_lowercase
from typing import NamedTuple

from pairs.moving import Moved
from pairs.rows import COLLECTIONS, SPACES, TOTAL

PAGE = Path(__file__).parents[2] / "docs" / "pairs.md"
NONE = "none"
HEAD = ("from", "to", "not held by the source", "refused by the target", "moved and equal", "seconds")
TEXT = """\
# Every pair of databases

`make pairs` writes this page. It moves a small collection with every kind of value from each database to each, one of its own product
included, on the servers that the tests use: {sample}.
Each row has one odd thing at most, so that a refusal has one reason.

What the source's database cannot hold is never put there. What the target's cannot, preflight names before anything is written; the same
collection without these rows is moved, with every check that reads a database, and compared by `vectorferry compare` and by a judge that
imports nothing of this project and reads both sides with the vendors' own clients. A row that is not refused by name and does not arrive
as it was ends `make pairs` with an error, and there is no page then.

"""
SECONDS = """\
Seconds are those of both moves of a pair on two busy cores, preflight and checks included: of so few rows they say what a migration
costs that moves nothing. Rates are in [benchmarks.md](benchmarks.md).
"""
_ROW = re.compile(r"^\| (\w+) \| (\w+) \| (.*?) \| (.*?) \| (\d+) \| ([\d.]+) \|$", re.MULTILINE)
_REASON = re.compile(r"^- \*\*(\w)\*\*: (.+)$", re.MULTILINE)


class Cells(NamedTuple):
    """What the table says of a pair, the reasons written out. Seconds are of one machine on one day."""

    unheld: Mapping[str, int]
    refused: Mapping[str, int]
    rows: int


def cells_of(moved: Moved) -> Cells:
    """What the table is to say."""
    return Cells(dict(moved.unheld), dict(moved.refused), moved.rows)


def page_of(found: Sequence[Moved]) -> str:
    """The page."""
    all_reasons = Counter(reason for each in found for reason in (*each.unheld, *each.refused))
    letters = dict(zip(sorted(all_reasons), ascii_lowercase, strict=False))
    lines = [
        *TEXT.format(sample=_sample()).splitlines(),
        f"| {' | '.join(HEAD)} |",
        f"|{'---|' * len(HEAD)}",
        *(_line(each, letters) for each in found),
        "",
        "Each letter, with the number of rows before it, is a reason that was given:",
        "",
        *(f"- **{letter}**: {reason}" for reason, letter in letters.items()),
        "",
        *SECONDS.splitlines(),
    ]
    return "\n".join([*lines, ""])


def _sample() -> str:
    kinds = " and ".join(f"{len(each.rows)} rows under {each.metric}" for each in COLLECTIONS)
    return f"{TOTAL} rows, {kinds}, in {len(SPACES) + 1} namespaces"


def _line(moved: Moved, letters: Mapping[str, str]) -> str:
    told = [_told(reasons, letters) for reasons in (moved.unheld, moved.refused)]
    return f"| {moved.source} | {moved.target} | {' | '.join(told)} | {moved.rows} | {moved.seconds:.1f} |"


def _told(reasons: Mapping[str, int], letters: Mapping[str, str]) -> str:
    return " ".join(f"{count}{letters[reason]}" for reason, count in sorted(reasons.items())) or NONE


def read_page(text: str) -> dict[tuple[str, str], Cells]:
    """What a page says of each pair. Raises KeyError for a letter that it does not explain."""
    reasons = dict(_REASON.findall(text))
    return {
        (source, target): Cells(_read(unheld, reasons), _read(refused, reasons), int(rows))
        for source, target, unheld, refused, rows, _ in _ROW.findall(text)
    }


def _read(told: str, reasons: Mapping[str, str]) -> dict[str, int]:
    return {} if told == NONE else {reasons[each[-1]]: int(each[:-1]) for each in told.split()}
