"""Console: names of the data are shown as they are, whatever markup or control characters they look like."""

import os
import pwd

import pytest

from vectorferry.cli.console import Console
from vectorferry.cli.operator import operator

ODD = ["[prod]", "[/eu]", "[bold red]x", "a\x1b[2Jb", "tab\tname"]


def test_names_are_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console()
    console.table("Migration [x]", ("namespace", "rows"), ((name, 1) for name in ODD))
    console.result({}, "\n".join(ODD))
    said = capsys.readouterr().out
    assert all(said.count(name) == 2 for name in ODD[:3])
    assert "Migration [x]" in said
    assert "\x1b" not in said


def test_the_operator_is_whom_the_system_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, "dana")
    assert operator() == pwd.getpwuid(os.getuid()).pw_name != "dana"
    monkeypatch.setattr(pwd, "getpwuid", lambda _: {}["x"])
    assert operator() == f"uid {os.getuid()}"
