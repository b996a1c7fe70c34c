"""Next steps: whatever a command ends with, it says what to do, in commands that exist and name the spec at hand."""

import re
from collections.abc import Iterator

import pytest

from pipeline.commanding import Ran, on, vectorferry
from pipeline.worlds import World
from vectorferry.cli.app import COMMANDS, app
from vectorferry.cli.next_step import after_error
from vectorferry.core import errors
from vectorferry.core.errors import VectorferryError

APPROVE = "approve\nall checks passed\n"
REJECT = "reject\nlatency too high\n"
NAMED = re.compile(r"`vectorferry ([a-z]+)")
# What needs more than a spec.
OPTIONS = {"excuse": ("--id", "x", "--reason", "y"), "taint": ("--reason", "y"), "rollback": ("--reason", "y", "--yes")}
# These take no spec, or serve until they are stopped.
OF_NO_SPEC = {"schema", "version", "restore", "observe", "gateway", "init", "metrics"}


def kinds(of: type[VectorferryError] = VectorferryError) -> Iterator[type[VectorferryError]]:
    yield of
    for each in of.__subclasses__():
        yield from kinds(each)


def verbs() -> set[str]:
    return {command.__name__ for command in COMMANDS} | {str(group.name) for group in app.registered_groups}


def step_of(ran: Ran) -> str:
    """The step that a command named last; fails where it named none."""
    found = [line for line in (ran.err if ran.code else ran.out + ran.err).splitlines() if line.startswith("Next: ")]
    found = found or [line for line in ran.out.splitlines() if line.startswith("Next: ")]
    assert found, f"no next step in: {ran.out}{ran.err}"
    return found[-1]


@pytest.mark.parametrize(
    "kind", [each for each in kinds() if each.__module__ == errors.__name__], ids=lambda k: k.__name__
)
def test_every_error_says_what_to_do(kind: type[VectorferryError]) -> None:
    said = after_error(kind.__new__(kind))
    assert said != "" and "\n" not in said
    assert set(NAMED.findall(said)) <= verbs()
    assert re.search(r"vectorferry|again|question", said), said


@pytest.mark.parametrize("verb", sorted({each.__name__ for each in COMMANDS} - OF_NO_SPEC))
def test_every_verb_of_a_migration_that_was_never_begun(world: World, verb: str) -> None:
    ran = on(world, verb, *OPTIONS.get(verb, ()), answers=REJECT)
    if ran.code or verb != "prune":
        step = step_of(ran)
        assert set(NAMED.findall(step)) <= verbs()
        assert "SPEC" not in step
        assert verb == "excuse" or str(world.spec_file) in step or "again" in step


def test_a_spec_that_is_not_valid_and_one_that_is_not_there(world: World) -> None:
    world.spec_dict["partitons"] = {}
    for ran in (on(world, "plan"), vectorferry("plan", "nowhere.yaml")):
        assert ran.code == 2
        assert "vectorferry validate" in step_of(ran)


def test_the_way_of_a_migration_is_told_from_step_to_step(world: World) -> None:
    """Followed as it is told, from the first command to the last."""
    assert "`vectorferry plan " in step_of(on(world, "validate"))
    assert "`vectorferry run " in step_of(on(world, "plan"))
    refused = on(world, "run", answers=REJECT)
    assert (refused.code, "`vectorferry run " in step_of(refused)) == (1, True)
    assert "`vectorferry finalize " in step_of(on(world, "run", answers=APPROVE))
    assert "`vectorferry status " in step_of(on(world, "run", answers=APPROVE))
    assert "`vectorferry finalize " in step_of(on(world, "status"))
    assert "`vectorferry run " in step_of(on(world, "abandon", "--yes"))
    assert "drill" in step_of(on(world, "finalize", answers=APPROVE))
    assert "`vectorferry drill " in step_of(on(world, "backup"))
    assert "`vectorferry finalize " in step_of(on(world, "drill"))
    assert "`vectorferry prune " in step_of(on(world, "finalize", answers=APPROVE))
    assert "the migration has ended" in step_of(on(world, "status"))


def test_machines_get_one_document_and_no_next_step(world: World) -> None:
    assert "Next" not in on(world, "validate", "--json").out


@pytest.mark.parametrize("answers", ["", "n\n"])
def test_without_a_yes_nothing_is_removed_and_the_way_is_told(world: World, answers: str) -> None:
    assert on(world, "plan", "--save").code == 0
    ran = on(world, "abandon", answers=answers)
    assert ran.code == 1
    assert "nothing was removed" in ran.text
    assert "--yes" in step_of(ran)


def test_what_the_message_says_goes_before_what_goes_for_its_class() -> None:
    assert (
        after_error(errors.GateError("no drill: run `vectorferry drill SPEC --fresh` first"))
        == "`vectorferry drill SPEC --fresh`"
    )
    assert after_error(errors.GateError("see `vectorferry members`")) == "`vectorferry members SPEC`"
    assert "`vectorferry status SPEC`" in after_error(errors.GateError("no"))
