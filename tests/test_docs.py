"""Documents: every link leads somewhere, and every command that they name exists with its options."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from vectorferry.cli.app import app
from vectorferry.stores.base import VectorStore

ROOT = Path(__file__).parents[1]
DOCUMENTS = [
    *ROOT.glob("*.md"),
    *(ROOT / "docs").glob("*.md"),
    ROOT / "data" / "README.md",
    ROOT / "deploy" / "README.md",
]
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
# In code, or at the beginning of an indented line: elsewhere `make` is a word of English.
COMMAND = re.compile(r"(?:`|^ {4,}|RUN=')vectorferry ([a-z]+)((?: [^`\n#]*)?)", re.MULTILINE)
TARGET = re.compile(r"(?:`|^ {4,})make ([a-z-]+)", re.MULTILINE)
OPTION = re.compile(r"(?<!\S)--[a-z-]+")


def text_of(document: Path) -> str:
    return document.read_text(encoding="utf-8")


def anchors(document: Path) -> set[str]:
    """Those that GitHub gives the headings of a document."""
    headings = re.findall(r"^#+ (.+)$", text_of(document), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def options() -> dict[str, set[str]]:
    """The options of every command, those of a group's commands under the group's name."""

    def of(command: Any) -> Iterator[str]:
        yield from (name for each in command.params for name in each.opts + each.secondary_opts)
        for inner in getattr(command, "commands", {}).values():
            yield from of(inner)

    group: Any = typer.main.get_command(app)
    return {name: {*of(command), "--help"} for name, command in group.commands.items()}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    for link in LINK.findall(text_of(document)):
        if link.startswith(("http:", "https:")):
            continue
        name, _, anchor = link.partition("#")
        file = (document.parent / name).resolve() if name else document
        assert file.exists(), link
        assert not anchor or anchor in anchors(file), link


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_commands_exist(document: Path) -> None:
    known, targets = options(), set(re.findall(r"^([a-z-]+):.*##", text_of(ROOT / "Makefile"), re.MULTILINE))
    for verb, rest in COMMAND.findall(text_of(document)):
        assert verb in known, f"vectorferry {verb}{rest}"
        assert set(OPTION.findall(rest)) <= known[verb], f"vectorferry {verb}{rest}"
    assert set(TARGET.findall(text_of(document))) <= targets | {"ready"}


def test_every_method_of_a_store_is_told_of_to_those_who_write_one() -> None:
    told = text_of(ROOT / "docs" / "adding-a-store.md")
    for name in ("rejections", "obstacles", "inventory", "refuse_alias", "update", "capacity", "footprint", "describe"):
        assert hasattr(VectorStore, name)
        assert f"`{name}" in told, name


REPORT = re.compile(r"\(https://github\.com/[\w.-]+/[\w.-]+/(?:issues|pull)/\d+\)")
TEST = re.compile(r"`([\w/]+\.py)::(test_\w+)`")


def test_every_report_has_a_check_with_a_test_that_exists() -> None:
    rows = [line for line in text_of(ROOT / "docs" / "why-proof.md").splitlines() if line.startswith("| [")]
    assert len(rows) >= 15
    for row in rows:
        report, seen, caught, tests = row.strip("| ").split(" | ")
        assert REPORT.search(report) and seen and caught, row
        named = TEST.findall(tests)
        assert len(named) == tests.count("`") / 2 > 0, tests
        for file, name in named:
            assert re.search(rf"^ *def {name}\(", text_of(ROOT / file), re.MULTILINE), f"{file}::{name}"


def test_vectorferry_tells_why_where_people_begin() -> None:
    assert "(docs/why-proof.md)" in text_of(ROOT / "README.md")
