"""The approver's guide: every line that a question can have is explained in it."""

import ast
import inspect
import re
from collections.abc import Iterator
from types import ModuleType

import pytest

from vectorferry.questions import cutover, layout, operation, repair, rollback_finalize
from vectorferry.questions.guide import guide
from vectorferry.questions.layout import Question

SECTIONS = {
    cutover: ("Cut over?",),
    rollback_finalize: ("Roll back?", "Finish for good?"),
    repair: ("Repair?",),
    operation: ("Go ahead with an operation?",),
    layout: ("Lines at the end of every question",),
}


def labels(module: ModuleType) -> Iterator[str]:
    """The names of all rows that a module can yield: each is a text, or one of the keys that are kept beside."""
    functions = (each for each in ast.walk(ast.parse(inspect.getsource(module))) if isinstance(each, ast.FunctionDef))
    of_rows = [each for each in functions if each.returns and ast.unparse(each.returns) == "Iterator[tuple[str, str]]"]
    for node in (node for each in of_rows for node in ast.walk(each)):
        match node:
            case ast.Yield(value=ast.Tuple(elts=[ast.Constant(value=str(label)), _])):
                yield label
            case ast.Yield(value=ast.Tuple(elts=[ast.Name(id="row"), _])):
                yield from repair._ROWS
            case ast.Yield():
                raise AssertionError(f"nobody can say which row this is: {ast.unparse(node)}")


def doubts() -> Iterator[str]:
    """What the lines under 'Look at first' begin with."""
    for node in ast.walk(ast.parse(inspect.getsource(cutover))):
        text = node.value if isinstance(node, ast.Constant) else None
        if isinstance(text, str) and (found := re.match(r"\*\*([A-Z][a-z ]+):?\*\*", text)):
            yield found[1]
    yield from (check.capitalize().replace("_", " ") for check in cutover.CHECKS)


def explained(*sections: str) -> set[str]:
    """The lines that these sections of the guide explain; each says in words what it means."""
    found: set[str] = set()
    for section in sections:
        [text] = re.findall(rf"^## {re.escape(section)}\n(.*?)(?=^## |\Z)", guide(), re.MULTILINE | re.DOTALL)
        rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:2] == "| "]
        assert all(len(row) == 3 and row[1] for row in rows)
        found |= {name.strip() for row in rows[1:] for name in row[0].split(",")}
    return found


@pytest.mark.parametrize("module", SECTIONS, ids=lambda module: module.__name__.rpartition(".")[2])
def test_every_line_of_a_question_is_explained(module: ModuleType) -> None:
    told = set(labels(module))
    assert len(told) >= 5
    assert told - explained(*SECTIONS[module]) == set()
    assert explained(*SECTIONS[module]) - told == set(), "the guide explains a line that no question has"


def test_every_doubt_is_explained() -> None:
    told = set(doubts())
    assert {"Excused", "No index", "Latency", "Shadow reads"} <= told
    assert told - explained("Look at first") == set()


def test_it_is_read_in_five_minutes() -> None:
    words = re.sub(r"[|*#`-]", " ", guide()).split()
    assert len(words) < 1800  # a question is of one kind: nobody reads the sections of the others
    general = guide().partition("## Cut over?")[0].split()
    assert len(general) < 450


def test_the_link_to_it_takes_no_line_of_its_own() -> None:
    made = Question("Cut over?", "Approved, it moves.\n\n| | |\n").explained("http://airflow/vectorferry/approving")
    assert made.body == ("Approved, it moves. [What each line means](http://airflow/vectorferry/approving)\n\n| | |\n")
