"""The command line, called in this process: its exit code, and what it wrote."""

import io
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass

import orjson
import pytest

from pipeline.worlds import World
from vectorferry.cli import app


@dataclass(frozen=True)
class Ran:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        """All that it wrote, with the line breaks of a narrow terminal taken out."""
        return " ".join((self.out + self.err).split())

    def json(self) -> object:
        """Its one JSON document."""
        return orjson.loads(self.out)


def vectorferry(*arguments: str, environment: dict[str, str] | None = None, answers: str = "") -> Ran:
    """Run `vectorferry …` with these variables and this standard input."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        for name, value in (environment or {}).items():
            patch.setenv(name, value)
        patch.setattr(sys, "argv", ["vectorferry", *arguments])
        patch.setattr(sys, "stdin", io.StringIO(answers))
        with pytest.raises(SystemExit) as exit_:
            app.main()
    assert isinstance(exit_.value.code, int)
    return Ran(exit_.value.code, out.getvalue(), err.getvalue())


def on(world: World, command: str, *options: str, answers: str = "") -> Ran:
    """Run a command on a world's spec."""
    return vectorferry(command, str(world.spec_file), *options, environment=world.environment(), answers=answers)
